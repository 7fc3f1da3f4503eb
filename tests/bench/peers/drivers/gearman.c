// Drives gearmand by libgearman: submit single|bulk N, latency N, work.
#include <libgearman/gearman.h>

#include "driver.h"

enum { kBatch = 100, kWorkerThreads = 4 };

static void check(gearman_return_t result, const char* what) {
  if (result == GEARMAN_SUCCESS) return;
  fprintf(stderr, "gearman: %s: %s\n", what, gearman_strerror(result));
  exit(1);
}

static void submit_single(gearman_client_st* client, const char* payload, long count) {
  char handle[GEARMAN_JOB_HANDLE_SIZE];
  for (long i = 0; i < count; ++i) {
    check(gearman_client_do_background(client, "noop", NULL, payload, PAYLOAD_BYTES, handle),
          "submit");
  }
}

static void submit_bulk(gearman_client_st* client, const char* payload, long count) {
  for (long i = 0; i < count;) {
    for (int k = 0; k < kBatch && i < count; ++k, ++i) {
      gearman_return_t result;
      gearman_client_add_task_background(client, NULL, NULL, "noop", NULL, payload, PAYLOAD_BYTES,
                                         &result);
      check(result, "add to a batch");
    }
    check(gearman_client_run_tasks(client), "submit a batch");
    gearman_client_task_free_all(client);
  }
}

static void latency(gearman_client_st* client, const char* payload, long count) {
  double* micros = calloc((size_t)count, sizeof *micros);
  for (long i = -WARM_UP; i < count; ++i) {
    size_t size;
    gearman_return_t result;
    const double begin = now_us();
    void* answer = gearman_client_do(client, "echo", NULL, payload, PAYLOAD_BYTES, &size, &result);
    check(result, "run");
    if (i >= 0) micros[i] = now_us() - begin;
    free(answer);
  }
  print_micros(micros, count);
}

static gearman_return_t run_noop(gearman_job_st* job, void* context) {
  (void)job;
  (void)context;
  atomic_fetch_add(&jobs_done, 1);
  return GEARMAN_SUCCESS;
}

static gearman_return_t run_echo(gearman_job_st* job, void* context) {
  (void)context;
  return gearman_job_send_complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

// A connection a thread, one job at a time on each.
static void* work(void* port) {
  gearman_worker_st* worker = gearman_worker_create(NULL);
  check(gearman_worker_add_server(worker, "127.0.0.1", *(in_port_t*)port), "connect");
  check(
      gearman_worker_define_function(worker, "noop", 4, gearman_function_create(run_noop), 0, NULL),
      "noop");
  check(
      gearman_worker_define_function(worker, "echo", 4, gearman_function_create(run_echo), 0, NULL),
      "echo");
  for (;;) check(gearman_worker_work(worker), "work");
}

int main(int argc, char** argv) {
  in_port_t port = (in_port_t)atoi(setting("PEERS_PORT"));
  if (argc == 2 && strcmp(argv[1], "work") == 0) {
    start_progress();
    for (int i = 1; i < kWorkerThreads; ++i) {
      pthread_t thread;
      errno = pthread_create(&thread, NULL, work, &port);
      if (errno != 0) fail("a thread");
    }
    work(&port);
  }
  char payload[PAYLOAD_BYTES];
  memset(payload, 'x', sizeof payload);
  gearman_client_st* client = gearman_client_create(NULL);
  check(gearman_client_add_server(client, "127.0.0.1", port), "connect");
  check(gearman_client_echo(client, "x", 1), "connect");
  const long count = argc > 2 ? atol(argv[argc - 1]) : 0;
  if (argc == 3 && strcmp(argv[1], "latency") == 0) {
    latency(client, payload, count);
    return 0;
  }
  if (argc != 4 || strcmp(argv[1], "submit") != 0) {
    fprintf(stderr, "usage: gearman submit single|bulk N | latency N | work\n");
    return 2;
  }
  const double begin = now_us();
  (strcmp(argv[2], "bulk") == 0 ? submit_bulk : submit_single)(client, payload, count);
  print_seconds(begin);
  return 0;
}
