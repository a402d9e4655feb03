/*
 * verdict.c - the ground of the load server: what a run is to be, and what is said of it in the end.
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "server.h"

const char *const mode_names[MODES] = {"echo", "rate", "request", "idle", "start"};

struct options opt = {
    .mode = ECHO,
    .window = 64,
    .conns = 1,
    .chats = 64,
    .server_cpu = -1,
    .client_cpu = -1,
    .rate = 500,
    .warm = 0.5,
    .seconds = 3,
    .settle = 1,
    .limit = 30,
};

struct tally tally;
pid_t child;

double clock_seconds(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

double now(void) {
  return clock_seconds(CLOCK_MONOTONIC);
}

void violation(const char *format, ...) {
  va_list args;
  if (tally.errors++ > 0)
    return;
  va_start(args, format);
  vsnprintf(tally.first_error, sizeof tally.first_error, format, args);
  va_end(args);
}

void fail(const char *format, ...) {
  char why[200];
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  printf("{\"label\":\"%s\",\"mode\":\"%s\",\"tls\":%s,\"failed\":\"%s\"}\n", opt.label, mode_names[opt.mode],
         opt.cert ? "true" : "false", why);
  fflush(stdout);
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  exit(1);
}

void *must(void *memory) {
  if (!memory)
    fail("out of memory");
  return memory;
}
