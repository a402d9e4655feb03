/*
 * server.h - what the parts of the load server know of each other, from the ground up: verdict.c says what a
 * run is to be and what came of it; conn.c moves bytes: buffers, TLS, HTTP, WebSocket frames; judge.c pushes
 * messages and checks what comes back; server.c starts, measures and ends the run. One thread, one run per
 * process, so the state is global.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "span.h"

#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.YmVuY2g"

/* verdict.c */

enum mode { ECHO, RATE, REQUEST, IDLE, START, MODES };

struct options {
  enum mode mode;
  int window, conns, chats, server_cpu, client_cpu;
  double rate, warm, seconds, settle, limit;
  const char *cert, *key, *label;
};

extern struct options opt;
extern const char *const mode_names[MODES];
extern pid_t child; /* the client; 0: none */

double now(void);
double clock_seconds(clockid_t clock);
/* The run is worth nothing: say why and end. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
void *must(void *memory);

struct tally {
  uint64_t pushes, open_pushes, answers, requests, errors;
  int authorized;
  bool timing; /* keep the latency of answers */
  double *latency;
  size_t latencies, latency_cap;
  char first_error[200];
};

extern struct tally tally;

/* The client broke a rule: count it, keep the words of the first time. */
__attribute__((format(printf, 1, 2))) void violation(const char *format, ...);

/* conn.c */

enum stage { TLS_HANDSHAKE, HTTP, WEBSOCKET };

struct buffer {
  char *data;
  size_t len, cap, off; /* off: bytes at the front already used */
};

struct conn {
  int fd;
  enum stage stage;
  struct ssl_st *ssl; /* NULL without TLS */
  struct buffer in, out;
  struct conn *next_touched;
  uint64_t last_id; /* of the client's requests; they must increase */
  uint32_t mask;    /* of the last frame */
  int mask_repeats;
  bool authorized, touched, wants_out, dead;
};

/* The handlers of what a connection receives. */
struct conn_ops {
  void (*text)(struct conn *c, const char *text, size_t len); /* one message */
  void (*closed)(struct conn *c);                             /* by the client */
};

/* Listen on a free port of the loopback address, with TLS if there is a certificate. Returns the port. */
int conns_listen(const char *cert, const char *key, const struct conn_ops *ops);
/* Wait up to `timeout` ms for events and handle them; what is to be sent is kept. */
void conns_wait(int timeout);
/* Send what was kept, one write for each connection, and free the dead ones. */
void conns_flush(void);

void put(struct buffer *b, const char *bytes, size_t n);
void put_text(struct buffer *b, const char *text);
/* A decimal number with at least `digits` digits. */
void put_number(struct buffer *b, uint64_t n, int digits);

/* The buffer in which the text of the next frame is put together; frame_end sends it. */
struct buffer *frame_begin(void);
void frame_end(struct conn *c);

/* judge.c */

/* Push what the window allows at the time `t`. */
void push_more(double t);
extern const struct conn_ops judge;

#endif
