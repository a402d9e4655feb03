/*
 * server.c - a load server that starts a client as its child, measures it from outside and judges what it
 * says.
 *
 *   server --mode echo|rate|request|idle|start [options] -- CLIENT ARG...
 *
 * It speaks the part of the Bridge protocol a bot needs (token endpoint, WebSocket, auth, sendMessage both
 * ways) over loopback, plain or TLS, and prints one JSON line. A client learns what to do from BENCH_* in its
 * environment. Raw epoll, one thread, no JSON library and one write per connection and turn, so that it is
 * never the bottleneck. It is strict (judge.c), so that nobody wins by leaving work out.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server.h"

enum phase { CONNECTING, WARMING, MEASURING, DRAINING, DONE };

/* The state of client and server at one moment. */
struct sample {
  double at, client_cpu, server_cpu;
  uint64_t messages;
};

/* BENCH_MODE knows nothing of "start": such a client is an echo client that is stopped early */
static const char *const client_modes[MODES] = {"echo", "rate", "req", "idle", "echo"};

static clockid_t child_clock;
static enum phase phase = CONNECTING;
static double started_at, ready_at, ready_cpu, phase_at;
static struct sample before, after;
static long rss_kb, private_kb;

/* Clocks and /proc -------------------------------------------------------------------------------- */

/* Sum of the lines of /proc/CHILD/`file` that begin with `key`, in KiB. */
static long proc_kb(const char *file, const char *key) {
  char path[64], line[256];
  long sum = 0;
  FILE *f;
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
  f = fopen(path, "r");
  if (!f)
    return -1;
  while (fgets(line, sizeof line, f))
    if (strncmp(line, key, strlen(key)) == 0)
      sum += strtol(strchr(line, ':') + 1, NULL, 10);
  fclose(f);
  return sum;
}

static void measure_memory(void) {
  rss_kb = proc_kb("status", "VmRSS:");
  private_kb = proc_kb("smaps_rollup", "Private_");
}

static struct sample take_sample(void) {
  return (struct sample){.at = now(),
                         .client_cpu = clock_seconds(child_clock),
                         .server_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID),
                         .messages = opt.mode == REQUEST ? tally.requests : tally.answers};
}

/* The course of a run ----------------------------------------------------------------------------- */

static void enter(enum phase next) {
  phase = next;
  phase_at = now();
}

static void begin_measuring(void) {
  before = take_sample();
  tally.timing = opt.mode == RATE;
  enter(MEASURING);
}

static void end_measuring(void) {
  after = take_sample();
  tally.timing = false;
  measure_memory();
  enter(opt.mode == REQUEST ? DONE : DRAINING);
}

static void on_all_authorized(void) {
  ready_at = now();
  ready_cpu = clock_seconds(child_clock);
  enter(opt.mode == START ? DONE : WARMING);
  if (opt.mode == START)
    measure_memory();
}

static void advance(double t) {
  switch (phase) {
  case CONNECTING:
    if (tally.authorized >= (opt.mode == IDLE ? opt.conns : 1))
      on_all_authorized();
    break;
  case WARMING:
    if (opt.mode == IDLE && t - phase_at >= opt.settle) {
      measure_memory();
      enter(DONE);
    } else if (opt.mode != IDLE && t - phase_at >= opt.warm && tally.answers + tally.requests > 0) {
      begin_measuring();
    }
    break;
  case MEASURING:
    if (t - phase_at >= opt.seconds)
      end_measuring();
    break;
  case DRAINING:
    if (tally.open_pushes > 0 && t - phase_at > opt.settle) {
      violation("%llu pushes without ack or answer", (unsigned long long)tally.open_pushes);
      tally.open_pushes = 0;
    }
    if (tally.open_pushes == 0)
      enter(DONE);
    break;
  case DONE:
    break;
  }
}

static void check_child(double t) {
  static double checked_at;
  int status;
  if (t - checked_at < 0.05)
    return;
  checked_at = t;
  if (waitpid(child, &status, WNOHANG) == child) {
    child = 0;
    fail("the client ended by itself, %s %d", WIFEXITED(status) ? "status" : "signal",
         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
  if (t - started_at > opt.limit)
    fail("no end within %g s; %d connections authorized, %llu pushes open, violations: %llu %s", opt.limit,
         tally.authorized, (unsigned long long)tally.open_pushes, (unsigned long long)tally.errors,
         tally.first_error);
}

static void turn(void) {
  double t;
  /* in rate mode it never sleeps: its own waking up would be part of the latency */
  conns_wait(opt.mode == RATE && phase != CONNECTING ? 0 : 10);
  t = now();
  if ((opt.mode == ECHO || opt.mode == RATE) && (phase == WARMING || phase == MEASURING))
    push_more(t);
  conns_flush();
  advance(t);
  check_child(t);
}

/* The line ---------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(int percent) {
  return tally.latencies ? tally.latency[(tally.latencies - 1) * (size_t)percent / 100] * 1e6 : 0;
}

static void print_rates(void) {
  double seconds = after.at - before.at;
  uint64_t n = after.messages - before.messages;
  double each = n ? 1e6 / (double)n : 0;
  printf(",\"window\":%d,\"chats\":%d,\"messages\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"cpu_us\":%.3f",
         opt.window, opt.chats, (unsigned long long)n, seconds, (double)n / seconds,
         (after.client_cpu - before.client_cpu) * each);
  printf(",\"client_load\":%.3f,\"server_load\":%.3f", (after.client_cpu - before.client_cpu) / seconds,
         (after.server_cpu - before.server_cpu) / seconds);
  if (opt.mode == RATE) {
    qsort(tally.latency, tally.latencies, sizeof *tally.latency, by_value);
    printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f", percentile(50), percentile(90),
           percentile(99));
  }
}

static void print_line(void) {
  struct rusage usage;
  kill(child, SIGKILL);
  wait4(child, NULL, 0, &usage);
  printf("{\"label\":\"%s\",\"mode\":\"%s\",\"tls\":%s", opt.label, mode_names[opt.mode],
         opt.cert ? "true" : "false");
  if (opt.mode == IDLE)
    printf(",\"conns\":%d", tally.authorized);
  if (opt.mode == ECHO || opt.mode == RATE || opt.mode == REQUEST)
    print_rates();
  printf(",\"ready_ms\":%.2f,\"ready_cpu_ms\":%.2f,\"rss_kb\":%ld,\"private_kb\":%ld,\"peak_kb\":%ld",
         (ready_at - started_at) * 1e3, ready_cpu * 1e3, rss_kb, private_kb, usage.ru_maxrss);
  printf(",\"errors\":%llu", (unsigned long long)tally.errors);
  if (tally.errors > 0) { /* what a client sent may be in it */
    for (char *p = tally.first_error; *p; p++)
      if (*p == '"' || *p == '\\' || (unsigned char)*p < 32 || (unsigned char)*p > 126)
        *p = '\'';
    printf(",\"first_error\":\"%s\"", tally.first_error);
  }
  printf("}\n");
}

/* Start ------------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void usage(void) {
  fprintf(stderr, "usage: server --mode echo|rate|request|idle|start [options] -- CLIENT ARG...\n"
                  "  --window N     pushes or requests in flight (64; rate: always 1)\n"
                  "  --chats N      chats the pushes come from in turn (64)\n"
                  "  --rate N       rate: pushes per second (500)\n"
                  "  --conns N      idle: connections (1)\n"
                  "  --seconds S    measured time (3)      --warm S   before it (0.5)\n"
                  "  --settle S     after it: for acks and answers that are missing, or before the memory\n"
                  "                 of idle connections is read (1)\n"
                  "  --limit S      give up (30)\n"
                  "  --cert FILE --key FILE                TLS\n"
                  "  --pin S,C      pin the server to core S and the client to core C\n"
                  "  --label TEXT   how the client is called in the JSON line\n");
  exit(2);
}

static double number(const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0')
    usage();
  return value;
}

static void read_mode(const char *name) {
  int m = 0;
  while (m < MODES && strcmp(name, mode_names[m]) != 0)
    m++;
  if (m == MODES)
    usage();
  opt.mode = (enum mode)m;
}

static void read_pins(const char *text) {
  char *comma;
  opt.server_cpu = (int)strtol(text, &comma, 10);
  if (*comma != ',')
    usage();
  opt.client_cpu = (int)number(comma + 1);
}

/* An option is one of three kinds: whole number, number, text; --mode and --pin are read by themselves. */
static const struct {
  const char *name;
  int *whole;
  double *real;
  const char **text;
  void (*read)(const char *value);
} options[] = {
    {"--mode", .read = read_mode},       {"--pin", .read = read_pins},     {"--window", .whole = &opt.window},
    {"--chats", .whole = &opt.chats},    {"--conns", .whole = &opt.conns}, {"--rate", .real = &opt.rate},
    {"--seconds", .real = &opt.seconds}, {"--warm", .real = &opt.warm},    {"--settle", .real = &opt.settle},
    {"--limit", .real = &opt.limit},     {"--cert", .text = &opt.cert},    {"--key", .text = &opt.key},
    {"--label", .text = &opt.label},
};

static void set_option(const char *name, const char *value) {
  size_t i = 0, n = sizeof options / sizeof options[0];
  while (i < n && strcmp(name, options[i].name) != 0)
    i++;
  if (i == n || !value)
    usage();
  if (options[i].read)
    options[i].read(value);
  else if (options[i].whole)
    *options[i].whole = (int)number(value);
  else if (options[i].real)
    *options[i].real = number(value);
  else
    *options[i].text = value;
}

/* Returns the client's command. */
static char **read_options(char **argv) {
  char **arg = argv + 1;
  for (; *arg && strcmp(*arg, "--") != 0; arg += 2)
    set_option(arg[0], arg[1]);
  if (!arg[0] || !arg[1] || opt.window < 1 || opt.chats < 1 || opt.conns < 1 || opt.rate <= 0 ||
      opt.seconds <= 0 || (opt.cert != NULL) != (opt.key != NULL))
    usage();
  if (opt.mode == RATE)
    opt.window = 1;
  if (!opt.label)
    opt.label = arg[1];
  return arg + 1;
}

static void raise_file_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

static void export_number(const char *name, int value) {
  char text[16];
  snprintf(text, sizeof text, "%d", value);
  setenv(name, text, 1);
}

static void pin(int cpu) {
  cpu_set_t set;
  if (cpu < 0)
    return;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void start_client(char **command, int port) {
  setenv("BENCH_MODE", client_modes[opt.mode], 1);
  setenv("BENCH_UNIQUE", "1", 1); /* message ids are not used twice */
  setenv("BENCH_TOKEN", TOKEN, 1);
  setenv("BENCH_TLS", opt.cert ? "1" : "", 1);
  if (opt.cert)
    setenv("BENCH_CERT", opt.cert, 1);
  export_number("BENCH_PORT", port);
  export_number("BENCH_WINDOW", opt.window);
  export_number("BENCH_CONNS", opt.mode == IDLE ? opt.conns : 1);
  started_at = now();
  child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is for the JSON line */
    pin(opt.client_cpu);
    execvp(command[0], command);
    fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
    _exit(127);
  }
  clock_getcpuclockid(child, &child_clock);
  pin(opt.server_cpu);
}

int main(int argc, char **argv) {
  char **command = read_options(argv);
  (void)argc;
  signal(SIGPIPE, SIG_IGN);
  raise_file_limit();
  start_client(command, conns_listen(opt.cert, opt.key, &judge));
  while (phase != DONE)
    turn();
  print_line();
  return tally.errors > 0 ? 3 : 0;
}
