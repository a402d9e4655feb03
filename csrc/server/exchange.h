/*
 * server/exchange.h - one HTTP request and its answer, as the files that deal with it share them.
 *   request.c       its life, and what Lua sees of it
 *   request_head.c  reading its head
 *   request_body.c  receiving its body
 *   answer.c        composing and writing the answer
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_EXCHANGE_H
#define TRUECONF_EXCHANGE_H

#include "server/peer.h"

enum { BODY_SECONDS = 10 /* between two pieces of a body */ };

enum phase {
  ASKING, /* queued for the drain point, where on_head says what becomes of the body */
  RECEIVING,
  READY,     /* complete, queued for the drain point */
  HANDLING,  /* Lua has it */
  ANSWERING, /* the answer is being written */
  LINGERING  /* the answer is written, what still comes is thrown away */
};

/* RFC 9112, 7.1. lws hands over a chunked body as it comes. */
struct chunks {
  enum { SIZE, EXTENSION, DATA, DATA_END, TRAILER } at;
  size_t left; /* bytes of the chunk */
  int line;    /* characters of the line so far */
};

struct exchange {
  struct peer *peer; /* NULL: the client is gone */
  enum phase phase;
  struct rt_job job;
  bool head;                         /* the answer has no body */
  bool keep;                         /* the connection goes on after the answer */
  bool old;                          /* HTTP/1.0: going on has to be said */
  bool chunked;                      /* struct chunks tells where the body ends */
  bool linger;                       /* refused early: more may come */
  bool asked;                        /* on_head was */
  bool expects;                      /* 100 Continue */
  bool ended;                        /* the body was complete before on_head was asked */
  size_t length, received, max_body; /* of the body */
  size_t cut_after;                  /* bytes of it after which the connection ends; SIZE_MAX: never */
  double rate, owed;                 /* bytes of it to read in a second, 0: any; seconds to wait for that */
  struct upload *upload;             /* NULL: the body stays in memory */
  struct served_file *file;          /* NULL: the answer's body is in `out` */
  struct rt_timer pause;             /* of a limited file, of a body that is read slowly */
  struct chunks chunks;
  struct buffer fields; /* kind, name, zero, value, zero; ... */
  struct buffer body;   /* while ASKING, as it comes on the wire */
  struct buffer out;    /* LWS_PRE bytes of headroom, then the answer or a piece of it */
  size_t sent;          /* of out, with the headroom */
  size_t discarded;
  uint64_t began; /* this request or answer, nanoseconds of uv_hrtime */
  uint64_t moved; /* bytes of it since */
  bool paced;     /* it is we who slow it down */
};

struct http_method {
  const char *name;
  enum lws_token_indexes token;
  bool has_body; /* also without Content-Length, as lws sees it: it then waits for 100 MiB */
};

/* Functions that return int and say no more return what a callback of lws must: -1 ends the connection. */

/* request.c */
void exchange_free(struct exchange *exchange);
/* All of it is here: hand it to Lua. */
int exchange_complete(struct exchange *exchange);
/* Push a table of what the head says. */
void request_push_head(lua_State *L, const struct exchange *exchange);

/* request_head.c */
/* NULL: one that is not served. */
const struct http_method *head_method(struct lws *wsi);
/* Copy method, path, query and headers; false: no memory. */
bool head_read(struct exchange *exchange, struct lws *wsi, const struct http_method *method);
void head_read_keep_alive(struct exchange *exchange, struct lws *wsi);
bool head_expects_invitation(struct lws *wsi);
/* "" if there is none. */
const char *head_content_type(const struct exchange *exchange);

/* request_body.c */
/* Where the body ends (RFC 9112, 6.3). Returns a status to refuse it with, or 0. */
int body_read_framing(struct exchange *exchange, struct lws *wsi, const struct http_method *method);
/* Make ready for the body, or have Lua asked first. */
int body_await(struct exchange *exchange);
int body_ask(struct exchange *exchange);
int body_on_bytes(struct exchange *exchange, const char *in, size_t length);
int body_on_complete(struct exchange *exchange);
/* What is to become of the exchange does not wait for the pause between two pieces of the body. */
void body_end_pause(struct exchange *exchange);

/* answer.c */
/* Compose the answer in `out`: status line; then the caller's headers; then the end of the head and the body,
 * a string or exchange->file. false: no memory. */
bool answer_begin(struct exchange *exchange, int status);
bool answer_end(struct exchange *exchange, int status, const char *body, size_t length);
bool answer_end_with_file(struct exchange *exchange, int status);
/* Write it as soon as the system takes it. */
void answer_start(struct exchange *exchange);
/* Answer without Lua. false: no memory. */
bool answer_plainly(struct exchange *exchange, int status);
/* Refuse a request whose body has not come or cannot be understood. */
int answer_refusing(struct exchange *exchange, int status);
int answer_on_writeable(struct peer *peer);

#endif
