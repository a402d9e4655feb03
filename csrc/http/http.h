/*
 * http/http.h - HTTP transfers on the loop.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_HTTP_H
#define TRUECONF_HTTP_H

#include "base/buffer.h"
#include "base/errors.h"
#include "base/tls.h"
#include "loop/runtime.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_transfer;

/* A part of a multipart form: either `data` or `path`. */
struct http_part {
  const char *name;
  const char *data;
  size_t length;
  const char *path;     /* stream this regular file */
  const char *filename; /* NULL: none for data, the last component of the path for a file */
  const char *type;     /* content type; NULL: none for data, curl's guess for a file name */
};

/* How far a transfer is; totals are 0 while unknown. */
struct http_progress {
  int64_t sent, to_send, received, to_receive;
};

/* Everything is copied by http_start. Zero means the default; a `timeout` of 0 means none. */
struct http_request {
  const char *method; /* NULL: GET, POST with a body or parts */
  const char *url;
  const char *const *headers; /* NULL-terminated "Name: value", checked by the caller; may be NULL */
  const char *const *further; /* the same, behind them */
  const char *body;           /* NULL: none */
  size_t body_length;
  const struct http_part *parts;
  size_t part_count;
  const char *save_to;           /* the body of a status 2xx goes into this file, not into memory */
  bool resume;                   /* append it to that file itself, which stays on failure */
  const struct tls_options *tls; /* NULL: verify against the system's trust */
  const char *proxy;             /* see proxy_settle */
  double connect_timeout;        /* until the request can be sent; default 10 */
  double idle_timeout;           /* no byte moved for so long; default 30 */
  double timeout;                /* the whole transfer */
  size_t max_body;               /* of a body; default 8 MiB in memory, none in a file */
  /* Called at the drain point when bytes have moved, at most once per turn; may be NULL. */
  void (*progress)(struct rt *rt, lua_State *L, void *owner, const struct http_progress *progress);
};

/* The end of a transfer, which is gone when this returns. Called at the drain point, never inside
 * http_start. status 0: it failed for `reason`; otherwise any status is a success, `reason` is NULL
 * and `body` is what was kept in memory (never NULL). */
typedef void (*http_done)(void *owner, int status, const char *body, size_t length,
                          const struct reason *reason);

/* NULL: no memory. Every other failure, a malformed URL too, arrives through `done`. */
struct http_transfer *http_start(struct rt *rt, const struct http_request *request, http_done done,
                                 void *owner);
/* Cancel it: `done` is not called any more, an incomplete file is removed. Not to be called inside `done`. */
void http_cancel(struct http_transfer *transfer);

/* Inside `done` only: the headers as "name\0value\0...", names in lower case; move the body out. */
const char *http_headers(const struct http_transfer *transfer, size_t *length);
/* Seconds that the answer asks to wait; 0: it does not ask. */
double http_retry_after(const struct http_transfer *transfer);
void http_take_body(struct http_transfer *transfer, struct buffer *out);
/* Inside `done` only: the body went into the file save_to. */
bool http_saved(const struct http_transfer *transfer);
/* Inside `done` only: the same, or with `resume` the beginning of an interrupted body. */
bool http_kept(const struct http_transfer *transfer);

void http_open(lua_State *L); /* adds http to the table on top */

#endif
