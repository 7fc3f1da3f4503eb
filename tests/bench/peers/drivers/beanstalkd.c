// Drives beanstalkd by its text protocol: submit single|bulk N, work.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "driver.h"

// Commands that are sent before the first is answered, by bulk and by the worker.
enum { kPipeline = 64 };

static int server;
static char input[1 << 20];
static size_t input_begin;
static size_t input_end;

static void connect_to(int port) {
  server = socket(AF_INET, SOCK_STREAM, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(server, (const struct sockaddr*)&address, sizeof address) != 0) fail("connect");
  const int on = 1;
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void send_all(const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t sent = write(server, bytes, size);
    if (sent <= 0) fail("write");
    bytes += sent;
    size -= (size_t)sent;
  }
}

static void receive(void) {
  memmove(input, input + input_begin, input_end - input_begin);
  input_end -= input_begin;
  input_begin = 0;
  const ssize_t got = read(server, input + input_end, sizeof input - input_end);
  if (got <= 0) fail("read");
  input_end += (size_t)got;
}

static char* end_of_line(void) {
  return memmem(input + input_begin, input_end - input_begin, "\r\n", 2);
}

static const char* next_line(void) {
  char* end;
  while ((end = end_of_line()) == NULL) receive();
  *end = '\0';
  const char* line = input + input_begin;
  input_begin = (size_t)(end - input) + 2;
  return line;
}

static void skip(size_t size) {
  while (input_end - input_begin < size) receive();
  input_begin += size;
}

static void submit(long count, long together) {
  char put[PAYLOAD_BYTES + 64];
  int size = sprintf(put, "put 0 0 60 %d\r\n", PAYLOAD_BYTES);
  memset(put + size, 'x', PAYLOAD_BYTES);
  size += PAYLOAD_BYTES;
  size += sprintf(put + size, "\r\n");
  char* puts = malloc((size_t)(size * together));
  for (long i = 0; i < together; ++i) memcpy(puts + i * size, put, (size_t)size);
  for (long sent = 0; sent < count; sent += together) {
    if (together > count - sent) together = count - sent;
    send_all(puts, (size_t)(together * size));
    for (long i = 0; i < together; ++i) {
      const char* answer = next_line();
      if (strncmp(answer, "INSERTED ", 9) == 0) continue;
      fprintf(stderr, "beanstalkd: put: %s\n", answer);
      exit(1);
    }
  }
}

// Reserves one job; returns its id, or 0 when none waits.
static unsigned long reserved(void) {
  const char* answer = next_line();
  unsigned long id;
  unsigned long bytes;
  if (strcmp(answer, "TIMED_OUT") == 0) return 0;
  if (sscanf(answer, "RESERVED %lu %lu", &id, &bytes) != 2) {
    fprintf(stderr, "beanstalkd: reserve: %s\n", answer);
    exit(1);
  }
  skip(bytes + 2);
  return id;
}

// One write deletes the jobs of the last turn and asks for kPipeline more, without waiting for
// them: a connection that waits for a job is deaf for what follows. When there was none, the next
// turn waits for one.
static void work(void) {
  static char output[kPipeline * 96];
  unsigned long ids[kPipeline];
  int held = 0;
  for (;;) {
    size_t size = 0;
    for (int i = 0; i < held; ++i) size += (size_t)sprintf(output + size, "delete %lu\r\n", ids[i]);
    const int asked = held == 0 ? 1 : kPipeline;
    for (int i = 0; i < asked; ++i) {
      const char* reserve = held == 0 ? "reserve\r\n" : "reserve-with-timeout 0\r\n";
      size += (size_t)sprintf(output + size, "%s", reserve);
    }
    send_all(output, size);
    for (int i = 0; i < held; ++i) {
      const char* answer = next_line();
      if (strcmp(answer, "DELETED") != 0) {
        fprintf(stderr, "beanstalkd: delete: %s\n", answer);
        exit(1);
      }
      atomic_fetch_add(&jobs_done, 1);
    }
    held = 0;
    for (int i = 0; i < asked; ++i) {
      const unsigned long id = reserved();
      if (id != 0) ids[held++] = id;
    }
  }
}

int main(int argc, char** argv) {
  connect_to(atoi(setting("PEERS_PORT")));
  if (argc == 2 && strcmp(argv[1], "work") == 0) {
    start_progress();
    work();
  }
  if (argc != 4 || strcmp(argv[1], "submit") != 0) {
    fprintf(stderr, "usage: beanstalkd submit single|bulk N | work\n");
    return 2;
  }
  const double begin = now_us();
  submit(atol(argv[3]), strcmp(argv[2], "bulk") == 0 ? kPipeline : 1);
  print_seconds(begin);
  return 0;
}
