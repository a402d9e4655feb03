/*
 * server/peer.h - what the files of the listener share: listeners and the clients connected to them.
 *   listener.c    the listening socket, accepting, closing, what lws calls
 *   arrival.c     a client's first request line, before lws reads it
 *   admission.c   who has to go when there is no room
 *   upgrade.c     which requests may become WebSocket connections
 *   request.c     an HTTP request: received, handled by Lua, answered; see exchange.h
 *   upload.c      its body, if that goes to disk
 *   served_file.c a file as the body of its answer
 *   connection.c  a WebSocket connection
 *   tls.c  certificates
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_PEER_H
#define TRUECONF_PEER_H

#include "loop/runtime.h"
#include "ws/wire.h"

#include <openssl/ssl.h>

struct arrival;
struct exchange;
struct connection_box;

/* One per runtime. All listeners share one vhost of lws, for its whole life: lws picks the vhost of a
 * request by Host header and port, not by where it came in, and never frees one it once left that way. */
struct server {
  struct rt *rt;
  struct lws_vhost *vhost;
  struct rt_list listeners;
  long count;
  struct peer *adopting; /* being handed to lws just now */
  char subprotocol[64];  /* the name lws offers; set to the listener's before each upgrade */
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

struct listener {
  struct rt_list link;
  struct server *server;
  struct listener **box; /* the pointer inside Lua's userdata, which is anchored until the end */
  struct rt_list peers, closers;
  long sockets, apart, others; /* peers by kind: WebSocket, those of paths apart, HTTP */

  int fd, port;
  uv_poll_t poll;
  uv_timer_t timer; /* pause of accepting; deadline of closing. Real time: it bounds what the system does */
  int handles;      /* of these two, not yet closed */
  bool paused, closing;
  struct rt_job finished;

  SSL_CTX *tls; /* NULL: none */
  char *
      paths; /* that may be upgraded, each with its zero and its own subprotocol with a zero; at the end "" */
  char subprotocol[64];
  char guarded_path[32]; /* below it are answers for those alone who begin with it as it is; "": none */
  int refuse_status;     /* 0: upgrades are welcome */
  bool any_subprotocol;  /* a client that offers others alone gets none */
  bool asks;             /* on_head decides what becomes of a body */
  bool admits;           /* Lua tells which WebSocket connections are to be kept; others may be evicted */
  long max_connections, max_http;
  long max_per_address; /* of HTTP, and of WebSocket while not admitted; 0: any number */
  bool spares_loopback; /* that is not for this machine's own addresses */
  double slow_after;    /* seconds of a request or an answer, after which */
  long least_rate;      /* so many bytes in a second are to be moved */
  struct rt_job evictions;
  size_t max_body;
  struct wire_limits limits;
};

/* One accepted TCP connection. It begins as HTTP and may become a WebSocket connection. */
struct peer {
  struct rt_list link;
  struct listener *listener;
  struct lws *wsi;         /* while it is HTTP; then wire.wsi */
  struct arrival *arrival; /* until lws has it */
  bool guarded;            /* its first request line named the guarded path; over TLS that cannot be seen */
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
  struct exchange *exchange; /* the request being received, handled or answered; NULL: idle */
  struct exchange *upgrade;  /* the one that opened a connection apart, until Lua has its head */

  struct wire wire;
  struct rt_job opened;
  struct connection_box *box;
};

/* listener.c */
struct rt *peer_rt(const struct peer *peer);
/* Push the userdata of the listener. */
void push_listener(lua_State *L, const struct listener *listener);
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

/* arrival.c */
/* Look at the first request line, which must begin within so many seconds, then hand the peer to lws. false:
 * no memory. */
bool arrival_begin(struct peer *peer, int seconds);
void arrival_forget(struct peer *peer);

/* admission.c */
/* These two may end HTTP connections: not from inside a callback of lws. */
/* End one, of this address if it is not NULL; false: there is none that could go. */
bool admission_give_up(struct listener *listener, const char *address);
/* May this address have another connection? */
bool admission_fits_address(struct listener *listener, const char *address, bool loopback);
/* Make room for a WebSocket connection; false: all are to stay. */
bool admission_evict(struct listener *listener, bool apart);
bool admission_is_too_slow(const struct exchange *exchange);

/* upgrade.c */
/* Decide about LWS_CALLBACK_HTTP_CONFIRM_UPGRADE; returns what the callback must return. */
int upgrade_decide(struct peer *peer, char *upgrade);
/* Write a whole answer from inside a callback; `more` holds header lines. */
int write_refusal(const struct peer *peer, int status, const char *more);
/* lws is about to accept the upgrade. */
void upgrade_accepted(const struct peer *peer);

/* answer.c */
enum { HTTP_DATE = 40 };
const char *http_phrase(int status);
/* The date of an answer (RFC 9110, 5.6.7), of UNIX milliseconds. */
void http_date(int64_t now, char date[HTTP_DATE]);

/* request.c */
/* Feed the HTTP callbacks of lws; returns what the callback must return. */
int request_on(struct peer *peer, enum lws_callback_reasons why, const void *in, size_t length);
/* The client is gone, or will be: forget the request. */
void request_forget(struct peer *peer);
/* Is a request being handled or answered, which is worth waiting for? */
bool request_pending(const struct peer *peer);
/* Keep the head of an upgrade in peer->upgrade; false: no memory. */
bool request_keep_head(struct peer *peer);
/* Push that head as a table, and forget it. */
void request_push_kept_head(lua_State *L, struct peer *peer);
void request_open(lua_State *L);

/* upload.c */
struct upload;
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

/* served_file.c */
struct served_file;
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

/* connection.c */
/* The upgrade is done. */
void connection_established(struct peer *peer, struct lws *wsi);
/* Free what belongs to the connection, for teardown: Lua's userdata is emptied. */
void connection_forget(struct peer *peer);
void connection_open(lua_State *L);

/* tls.c */
/* A context with this certificate; NULL: `reason` says why. */
SSL_CTX *server_tls_new(const char *cert_file, const char *key_file, struct reason *reason);
/* Let each connection that begins with `base` go on with its listener's context. */
void server_tls_choose(SSL_CTX *base, struct server *server);

#endif
