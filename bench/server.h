/*
 * server.h - what the three parts of the load server know of each other.
 * server.c starts, measures and ends a run; judge.c pushes messages and checks what comes back; conn.c moves
 * bytes: buffers, TLS, HTTP, WebSocket frames. One thread, one run per process, so the state is global.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scan.h"

#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.YmVuY2g"

/* server.c */

enum mode { ECHO, RATE, REQUEST, IDLE, START, MODES };

struct options {
  enum mode mode;
  int window, conns, chats, server_cpu, client_cpu;
  double rate, warm, seconds, settle, limit;
  const char *cert, *key, *label;
};

extern struct options opt;

double now(void);
/* The run is worth nothing: say why and end. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
void *must(void *memory);

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

/* Listen on a free port of the loopback address, with TLS if there is a certificate. Returns the port. */
int conns_listen(const char *cert, const char *key);
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
/* Push what the window allows at the time `t`. */
void push_more(double t);
void on_text(struct conn *c, const char *text, size_t len);
void on_closed(struct conn *c);

#endif
