// What the drivers in C share: the clock, the answers on standard output, and the progress file.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD_BYTES 100
#define WARM_UP 200

static inline void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline const char* setting(const char* name) {
  const char* value = getenv(name);
  if (value == NULL) {
    fprintf(stderr, "%s is not set: run.sh sets it\n", name);
    exit(2);
  }
  return value;
}

static inline double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static inline void print_seconds(double begin_us) {
  printf("{\"seconds\": %.6f}\n", (now_us() - begin_us) * 1e-6);
}

static inline void print_micros(const double* micros, long count) {
  printf("{\"micros\": [");
  for (long i = 0; i < count; ++i) printf("%s%.1f", i == 0 ? "" : ",", micros[i]);
  printf("]}\n");
}

// Jobs done. A thread of its own makes the progress file as long as there are, every 10 ms, so that
// a job costs one addition.
static atomic_long jobs_done;

static inline void* write_progress(void* unused) {
  (void)unused;
  const int fd = open(setting("PEERS_DONE"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail("PEERS_DONE");
  const struct timespec pause = {.tv_sec = 0, .tv_nsec = 10 * 1000 * 1000};
  for (long written = 0;;) {
    const long done = atomic_load(&jobs_done);
    if (done != written && ftruncate(fd, done) != 0) fail("PEERS_DONE");
    written = done;
    nanosleep(&pause, NULL);
  }
  return NULL;
}

static inline void start_progress(void) {
  pthread_t thread;
  errno = pthread_create(&thread, NULL, write_progress, NULL);
  if (errno != 0) fail("a thread");
}
