/*
 * server/private.h - shared by the files of the server, from the ground up:
 *   head.c            the head of a request, read strictly; has a header of its own, for it stands alone
 *   chunked.c         a chunked body, likewise
 *   multipart.c       a form, likewise
 *   upload.c          a request's body, if that goes to disk
 *   served_file.c     a file as the body of an answer
 *   tls.c             certificates
 *   peer.c            the ground: a listener's clients and their requests
 *   admission.c       closing connections when there is no room
 *   answer.c          composing and writing an answer
 *   request_head.c    the head of a request for Lua
 *   request_body.c    receiving its body
 *   connection.c      a WebSocket connection
 *   upgrade.c         accepting requests for WebSocket connections
 *   request.c         the life of a request, and its methods for Lua
 *   listen_options.c  reading the options of core.listen
 *   listener.c        the roof: the listening socket, accepting, closing, callbacks of lws
 * A file calls those above it in this list. The ground calls the roof by two pointers: listener->peer_gone
 * and exchange->handle. SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SERVER_PRIVATE_H
#define TRUECONF_SERVER_PRIVATE_H

#include "base/container.h"
#include "loop/runtime.h"
#include "server/chunked.h"
#include "server/head.h"
#include "ws/wire.h"

#include <assert.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>

enum {
  HEAD_SECONDS = 10,      /* from accepting, TLS included, or its first byte to the end of a head */
  BODY_SECONDS = 10,      /* between two pieces of a body */
  KEEPALIVE_SECONDS = 60, /* an idle HTTP connection is kept */
  CLOSE_MS = 3000,        /* a closing listener waits so long for its clients */
};

struct connection_box;
struct upload;
struct served_file;

/* One per runtime. All listeners share one vhost of lws, for its whole life. */
struct server {
  struct rt *rt;
  struct lws_vhost *vhost;
  struct rt_list listeners;
  long count;
  struct peer *adopting; /* being handed to lws just now */
};

/* The user values of a Listener's userdata. */
enum {
  ON_HTTP = 1,
  ON_HEAD,
  ON_OPEN,
  ON_FRAME,
  ON_CLOSE,
  CONNECTIONS /* [light userdata peer] = Connection */
};

/* The rules of a listener, fixed when it is made. */
struct listen_rules {
  char subprotocol[64];
  char guarded_path[32]; /* below it are answers for those alone who begin with it as it is; "": none */
  bool any_subprotocol;  /* a client that offers others alone gets none */
  bool admits;           /* Lua tells which WebSocket connections are to be kept; others may be evicted */
  bool spares_loopback;  /* max_per_address is not for this machine's own addresses */
  long max_connections, max_http;
  long max_per_address; /* of HTTP, and of WebSocket while not admitted; 0: any number */
  double slow_after;    /* seconds of a request or an answer, after which */
  long least_rate;      /* so many bytes in a second are to be moved */
  size_t max_body;
  struct wire_limits limits;
};

struct listener {
  struct rt_list link;
  struct server *server;
  struct listener **box; /* the pointer inside Lua's userdata, which is anchored until the end */
  struct rt_list peers, closers;
  long sockets, apart, others;                  /* peers by kind: WebSocket, those of paths apart, HTTP */
  void (*peer_gone)(struct listener *listener); /* from wherever a peer is freed; never calls Lua */

  int fd, port;
  uv_poll_t poll;
  uv_timer_t timer; /* pause of accepting; deadline of closing. Real time: it bounds what the system does */
  int handles;      /* of these two, not yet closed */
  bool paused, closing;
  struct rt_job finished;

  SSL_CTX *tls; /* NULL: none */
  char *paths;  /* to be upgraded, each with its zero and its own subprotocol with a zero; at the end "" */
  bool asks;    /* on_head decides what becomes of a body */
  int refuse_status; /* 0: upgrades are welcome */
  struct listen_rules rules;
  struct rt_job evictions;
};

/* One accepted TCP connection. It begins as HTTP and may become a WebSocket connection. */
struct peer {
  struct rt_list link;
  struct listener *listener;
  struct lws *wsi; /* while it is HTTP; then wire.wsi */
  int fd;
  char address[46];
  bool loopback;
  uint64_t since; /* it has been idle, or a WebSocket connection; nanoseconds of uv_hrtime */
  bool is_socket;
  bool admitted, evicted;
  bool heard;              /* it has had an answer */
  bool apart;              /* its path has a subprotocol of its own */
  const char *subprotocol; /* of its path, once it is to be upgraded */
  bool offered;            /* the client named our subprotocol */
  bool dropped;            /* by Lua: no frame is handed over any more */

  uint64_t due; /* real time at which its patience ends, nanoseconds of uv_hrtime; 0: it has no deadline */
  struct head head;    /* of the request that comes */
  struct buffer inbox; /* what came and cannot be read yet: a part of a head, requests behind one at work */
  struct exchange *exchange; /* the request being received, handled or answered; NULL: idle */
  struct exchange *upgrade;  /* the one that opened a connection apart, until Lua has its head */

  struct wire wire;
  struct rt_job opened;
  struct connection_box *box;
};

enum phase {
  ASKING, /* queued for the drain point, where on_head says what becomes of the body */
  RECEIVING,
  READY,     /* complete, queued for the drain point */
  HANDLING,  /* Lua has it */
  ANSWERING, /* the answer is being written */
  LINGERING  /* the answer is written, what still comes is thrown away */
};

/* One HTTP request and its answer. The peer owns it while it is received and answered, Lua's userdata while a
 * handler works on it; whoever comes last frees it. */
struct exchange {
  struct peer *peer; /* NULL: the client is gone */
  enum phase phase;
  struct rt_job job;
  /* The roof's answer to a complete request; the job runs it. */
  void (*handle)(struct rt *rt, lua_State *L, struct rt_job *job);
  struct head head;          /* as it was read */
  struct buffer text;        /* its bytes */
  bool keep;                 /* the connection goes on after the answer */
  bool asked;                /* on_head was */
  bool early;                /* more has come with the head: the client does not wait for 100 Continue */
  size_t received, max_body; /* of the body */
  size_t cut_after;          /* bytes of it after which the connection ends; SIZE_MAX: never */
  double rate, owed;         /* bytes of it to read in a second, 0: any; seconds to wait for that */
  struct upload *upload;     /* NULL: the body stays in memory */
  struct served_file *file;  /* NULL: the answer's body is in `out` */
  struct rt_timer pause;     /* of a limited file, of a body that is read slowly */
  struct chunked chunked;
  struct buffer body;
  struct buffer out; /* LWS_PRE bytes of headroom, then the answer or a piece of it */
  size_t sent;       /* of out, with the headroom */
  size_t discarded;
  uint64_t began; /* this request or answer, nanoseconds of uv_hrtime */
  uint64_t moved; /* bytes of it since */
  bool paced;     /* it is we who slow it down */
};

/* ---- upload.c ------------------------------------------------------------------------------------ */

/* Read save_to or form of the table at `table` into a new *upload, left NULL if there is neither. Raises for
 * misuse, also with *upload set: the caller frees it. */
void upload_read(lua_State *L, int table, struct upload **upload);
/* These return 0, or the status to refuse the request with. */
int upload_begin(struct upload *upload, const char *content_type);
int upload_take(struct upload *upload, const char *data, size_t length);
int upload_end(struct upload *upload);
/* Set body_file or parts of the table on top; the files are Lua's from now on. */
void upload_hand_over(lua_State *L, struct upload *upload);
/* Removes the files that were not handed over. */
void upload_free(struct upload *upload);

/* ---- served_file.c ------------------------------------------------------------------------------- */

struct served_range {
  const char *path;
  lua_Integer offset, length; /* -1: to the end */
  lua_Integer rate;           /* bytes per second; 0: no limit */
  lua_Integer cut_after;      /* bytes after which the connection is cut; -1: never */
};
enum served { SERVED_PIECE, SERVED_LATER, SERVED_ALL, SERVED_CUT };
/* Read the table at `table`, which must stay as long as the range. Raises for misuse. */
void served_file_read_options(lua_State *L, int table, struct served_range *range);
/* NULL: `reason` says why. `now` in nanoseconds of rt_monotonic, as below. */
struct served_file *served_file_open(const struct served_range *range, uint64_t now, struct reason *reason);
uint64_t served_file_length(const struct served_file *file);
/* Read the next piece, of at most *length bytes, and set *length; SERVED_LATER: not before so many *seconds.
 */
enum served served_file_next(struct served_file *file, uint64_t now, void *into, size_t *length,
                             double *seconds);
void served_file_free(struct served_file *file);

/* ---- tls.c --------------------------------------------------------------------------------------- */

/* A context with this certificate; NULL: `reason` says why. */
SSL_CTX *server_tls_new(const char *cert_file, const char *key_file, struct reason *reason);
/* Let each connection that begins with `base` go on with its listener's context. */
void server_tls_choose(SSL_CTX *base, struct server *server);

/* ---- peer.c -------------------------------------------------------------------------------------- */

struct rt *peer_rt(const struct peer *peer);
/* Push the userdata of its listener. */
void peer_push_listener(lua_State *L, const struct peer *peer);
void peer_hand_to_lws(struct peer *peer);
/* Count it in, +1, or out, -1, as what it is now. */
void peer_count(const struct peer *peer, int change);
/* End an HTTP connection and free the peer. Not from inside a callback of lws for it. */
void peer_drop(struct peer *peer);
/* Free a peer lws has already done with. */
void peer_free(struct peer *peer);
/* Drop an HTTP connection after so many seconds of real time; 0: never. The timeouts of lws would end too,
 * but they are one setting for both ends, and each piece of a body begins them anew. */
void peer_expect(struct peer *peer, int seconds);
/* Feed the timer of lws; returns what its callback must return. */
int peer_on_timer(struct peer *peer);
/* True if a request is being handled or answered. */
bool peer_is_busy(const struct peer *peer);

/* NULL: no memory. */
struct exchange *exchange_new(struct peer *peer);
void exchange_free(struct exchange *exchange);
/* End the pause between two pieces of the body, so that the exchange can be answered or given up. */
void exchange_end_pause(struct exchange *exchange);
/* All of the request is here: queue it for its handler. Returns 0, as a callback of lws may. */
int exchange_complete(struct exchange *exchange);

/* ---- admission.c --------------------------------------------------------------------------------- */

/* These two may end HTTP connections: not from inside a callback of lws. */
/* End one, of this address if it is not NULL; false: there is none that could go. */
bool admission_give_up(struct listener *listener, const char *address);
/* True if this address may have another connection. */
bool admission_fits_address(struct listener *listener, const char *address, bool loopback);
/* Make room for a WebSocket connection; false: all are to stay. */
bool admission_evict(struct listener *listener, bool apart);
bool admission_is_too_slow(const struct exchange *exchange);

/* Functions below that return int and say no more return what a callback of lws must: -1 ends the connection.
 */

/* ---- answer.c ------------------------------------------------------------------------------------ */

/* Compose the answer in `out`: status line; then the caller's headers; then the end of the head and the body,
 * a string or exchange->file. false: no memory. */
bool answer_begin(struct exchange *exchange, int status);
bool answer_end(struct exchange *exchange, int status, const char *body, size_t length);
bool answer_end_with_file(struct exchange *exchange, int status);
/* Write it as soon as the system takes it. */
void answer_start(struct exchange *exchange);
/* Answer without Lua; `more` holds header lines. false: no memory. */
bool answer_plainly(struct exchange *exchange, int status, const char *more);
/* Refuse a request that is not wanted whole, or cannot be understood; the connection ends. */
int answer_refusing(struct exchange *exchange, int status, const char *more);
int answer_on_writeable(struct peer *peer);

/* ---- request_head.c ------------------------------------------------------------------------------ */

/* Does the target name the guarded path, or something below it, spelled out? */
bool request_is_guarded(const struct exchange *exchange);
/* The path as Lua sees it, to be freed; NULL: no memory. */
char *request_path(const struct exchange *exchange);
/* The value of the first field of this name, to be freed, "" if there is none; NULL: no memory. */
char *request_field(const struct exchange *exchange, const char *name);
/* Push a table with the head. */
void request_push_head(lua_State *L, const struct exchange *exchange);

/* ---- request_body.c ------------------------------------------------------------------------------ */

/* Make ready for the body, or have Lua asked first. */
int body_await(struct exchange *exchange);
int body_ask(struct exchange *exchange);
/* Take bytes of the body from *at on, and move that. */
int body_read_on(struct exchange *exchange, const char **at, const char *end);

/* ---- connection.c -------------------------------------------------------------------------------- */

/* The upgrade is done. */
void connection_established(struct peer *peer);
/* Free what belongs to the connection, for teardown: Lua's userdata is emptied. */
void connection_forget(struct peer *peer);
void connection_open(lua_State *L);

/* ---- upgrade.c ----------------------------------------------------------------------------------- */

bool upgrade_is_asked(const struct exchange *exchange);
/* Answer a request for a WebSocket connection. If it is let in, the exchange is given up and the peer is one.
 */
int upgrade_answer(struct exchange *exchange);

/* ---- request.c ----------------------------------------------------------------------------------- */

/* Bytes have come, or there is room for an answer. */
int request_on_bytes(struct peer *peer, const char *in, size_t length);
int request_on_writeable(struct peer *peer);
void request_open(lua_State *L);

/* ---- listen_options.c ---------------------------------------------------------------------------- */

/* The options of core.listen; their strings are Lua's, on its stack. */
struct listen_options {
  const char *host, *cert_file, *key_file, *paths;
  size_t paths_length;
  int port;
  struct listen_rules rules;
};
/* Read the table at 1. Raises for misuse. */
void listen_options_read(lua_State *L, struct listen_options *options);
/* Move the handlers of that table into the user values of the Listener at `box`. */
void listen_options_read_handlers(lua_State *L, int box);

#endif
