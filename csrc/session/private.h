/*
 * session/private.h - shared by the files of a session: struct session, and the functions of each.
 *   lua.c      a session's methods for Lua, the sessions of a runtime
 *   options.c  the options that Lua gives
 *   machine.c  the state machine: token -> connecting -> authorizing -> ready -> backoff
 *   token.c    the source of the token, its expiry, the file it is kept in
 *   calls.c    requests in flight: id, deadline, waiter, window
 *   waiting.c  waits for the session to be ready, or for its end
 *   session.c  the ground of a session, used by all of them
 * Each calls only those below it.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SESSION_PRIVATE_H
#define TRUECONF_SESSION_PRIVATE_H

#include "base/container.h"
#include "base/json.h"
#include "http/http.h"
#include "ws/socket.h"

#define SESSION_T "trueconf.Session"

enum state {
  STATE_IDLE,
  STATE_TOKEN,
  STATE_CONNECTING,
  STATE_AUTHORIZING,
  STATE_READY,
  STATE_BACKOFF,
  STATE_CLOSING,
  STATE_CLOSED,
  STATE_FAILED,
  STATE_COUNT
};

enum event {
  EVENT_START,          /* the user starts the session */
  EVENT_TOKEN_OK,       /* a token was obtained */
  EVENT_TOKEN_DENIED,   /* 400 invalid_grant, 401, 403: the credentials are refused */
  EVENT_TOKEN_REJECTED, /* another 400, CONFIG: the request itself is wrong */
  EVENT_TOKEN_ERROR,    /* 404, 5xx, DNS, refused, timeout: worth another try */
  EVENT_OPENED,         /* the WebSocket handshake is over */
  EVENT_LOST,           /* the connection could not be made, or is gone */
  EVENT_MISCONFIGURED,  /* CONFIG: with these settings it never can be made */
  EVENT_AUTH_OK,
  EVENT_AUTH_DENIED,  /* 201, 202, 204 */
  EVENT_AUTH_EXPIRED, /* 203 */
  EVENT_AUTH_ERROR,   /* any other code */
  EVENT_DUE,          /* the timer of the state */
  EVENT_STOP,         /* the user stops the session */
  EVENT_COUNT
};

/* ---- calls --------------------------------------------------------------------------------------- */

enum call_stage { CALL_QUEUED, CALL_SENT, CALL_OVER };

struct call { /* an op; lives on the stack of the coroutine that waits */
  struct op op;
  struct session *session;
  struct call *next, *prev; /* in the queue, or in its bucket */
  struct rt_timer timer;
  uint32_t id;
  enum call_stage stage;
  bool read; /* may be repeated by itself */
  char method[64];
  struct buffer payload; /* kept while queued, and for reads */
  lua_State *decoder;  /* the answer's value is on its stack while push runs; NULL: there is its text alone */
  int decoded;         /* at this index */
  struct slice answer; /* valid while push runs */
  struct buffer kept;  /* the answer, if the main thread waits for it */
  struct reason reason; /* when it failed without an answer */
  enum outcome outcome;
};

enum { CALL_BUCKETS = 32, STALE_IDS = 16 };

struct calls {
  struct call *buckets[CALL_BUCKETS]; /* sent, by id */
  struct call *first, *last;          /* queued */
  uint32_t next_id;
  int in_flight, queued;
  uint32_t stale[STALE_IDS]; /* ids whose callers gave up, to tell late answers from wrong ones */
  unsigned stale_at;
};

/* ---- the session ---------------------------------------------------------------------------------- */

struct session_config {
  struct url url;
  char *token_url, *username, *password, *fixed_token, *token_file, *proxy;
  bool has_source; /* a Lua function gets the token */
  bool receive_unread, receive_system;
  struct tls_options tls;
  struct headers headers;
  double connect_timeout, token_timeout, auth_timeout, call_timeout;
  double backoff_min, backoff_max, backoff_jitter;
  struct wire_limits limits;
  int max_denials, window, queue;
};

struct session_counters {
  uint64_t connects, calls, stale, duplicate, garbage, unexpected, stray_events;
};

/* The functions that the user may give. */
enum session_function { FN_REQUEST, FN_TRACE, FN_STATE, FN_SOURCE, FN_ANOMALY, FN_UNSAVED, FUNCTION_COUNT };

enum { MOST_UNTOLD = 4 }; /* then the newest takes the place of the last */

struct change { /* of the state, for on_state */
  enum state old, now;
  struct reason reason; /* err == ERR_NONE: none */
  double pause;         /* seconds, of a backoff */
};

struct session { /* the Lua userdata itself; anchored in the registry while it is active */
  struct rt *rt;
  struct rt_list link;
  struct session_config config;
  void (*event)(struct session *session, enum event event); /* the state machine */
  enum state state;
  bool active;   /* anchored; keeps run() from returning */
  bool traced;   /* there is an on_trace */
  bool handling; /* there is an on_request */
  bool has_reason;
  bool waiting_for_turn; /* to ask for a token */
  struct session_counters count;
  struct wire_counters before; /* of the connections that are gone */

  char *token;
  int64_t token_expires; /* UNIX milliseconds; 0: not known */
  int denials, attempts; /* attempts: since a connection was stable */
  bool file_read;        /* the token file was looked at */
  bool unsaved;          /* the last token could not be written to it */
  bool renewed;          /* a fresh token was taken since the session was last ready */
  uint64_t ready_since;  /* rt_monotonic; 0: it is not, or was not */
  double pause;          /* seconds of the present backoff */
  struct http_transfer *transfer;
  struct session *next_waiting; /* for its turn to ask for a token */
  unsigned source_run;          /* counts runs of the token function, so that a late result is ignored */

  struct slice request; /* payload of the request that on_request gets now */
  uint32_t auth_id;
  struct socket *socket;
  int64_t epoch;        /* counts connections */
  char *user_id;        /* NULL before the first authorization */
  struct reason reason; /* of the last change of state */

  struct rt_timer timer;
  struct rt_job due, pump; /* the state's timer fired; the window has room again */
  struct calls calls;
  struct ready_op *waiting;          /* waits for ready or for the end */
  struct change untold[MOST_UNTOLD]; /* not reported for lack of memory; reported later, in order */
  int untold_count;
  struct rt_timer retelling;
  struct rt_job telling;
  /* Registry keys, by address: the userdata itself and the user's functions, while active. */
  char self_key, function_keys[FUNCTION_COUNT];
};

struct session_slot { /* data per runtime */
  struct rt_list list;
  long count;
  struct session *first_waiting, **last_waiting; /* for a token request to end */
  int granting;                                  /* token requests under way */
  struct buffer scratch;                         /* for building a frame */
};

/* ---- session.c ----------------------------------------------------------------------------------- */

extern const char *const session_state_names[STATE_COUNT];
/* Once, before all else; `event` is the state machine's. */
void session_init(struct session *session, void (*event)(struct session *session, enum event event));
struct session_slot *session_slot(const struct session *session);
/* An event of an active session, for the state machine. At the drain point or inside a call from Lua. */
void session_event(struct session *session, enum event event);
/* Set the reason the next transition reports. */
void session_reason(struct session *session, const struct reason *reason);
/* True without a connection, when session->reason says why. */
bool session_in_trouble(const struct session *session);
/* Push one of the user's functions; false and nothing pushed: there is none. */
bool session_push_function(lua_State *L, const struct session *session, enum session_function which);
void session_tell_state(struct session *session, enum state old);
void session_trace(struct session *session, const char *direction, const char *frame, size_t length);
/* An anomaly of the server, no reason to fail: count it, and report its name and text to on_anomaly. */
void session_anomaly(struct session *session, uint64_t *counter, const char *kind, const char *text,
                     size_t length);
/* Report to on_unsaved why the token is not in its file. */
void session_unsaved(struct session *session, const struct reason *reason);
/* It begins: the registry holds the userdata, which is at `index`, and its functions. Raises for lack of
 * memory. */
void session_activate(lua_State *L, int index, struct session *session);
/* It has ended: Lua may collect it. */
void session_deactivate(struct session *session);
/* Send one frame of our own and show it to the observer. false: no room, or not connected. */
bool session_send(struct session *session, const char *frame, size_t length);
bool session_ack(struct session *session, lua_Integer id);
/* Release the connection, in any state. */
void session_leave_socket(struct session *session);

/* ---- waiting.c ----------------------------------------------------------------------------------- */

/* As the last act of an l_ function: wait until the session is ready, or with `for_end` until it has ended.
 * Below 0 seconds: for ever. */
int session_wait(lua_State *L, struct session *session, bool for_end, double seconds);
/* Wake the waits for the state that the session has now. */
void session_settle_waiting(struct session *session);

/* ---- calls.c ------------------------------------------------------------------------------------- */

int l_session_request(lua_State *L);
/* A call waits for the response with this id, and takes its decoded payload. */
bool calls_want(const struct session *session, uint32_t id);
/* A response frame, the value of its payload on top; at the drain point. */
void calls_answer(struct session *session, lua_State *L, const struct frame *frame);
void calls_pump(struct session *session);
void calls_lost(struct session *session);                              /* the connection is gone */
void calls_fail(struct session *session, const struct reason *reason); /* the session has ended */

/* ---- token.c ------------------------------------------------------------------------------------- */

bool token_usable(struct session *session);
bool token_renewable(const struct session *session);
void token_request(struct session *session);
void token_cancel(struct session *session);
void token_forget(struct session *session);
void token_load(struct session *session);
/* Expiry in UNIX milliseconds of a token endpoint's answer (protocol 3.1); `now` likewise. */
int64_t token_expiry(struct slice answer, const char *token, int64_t now);

/* ---- machine.c ----------------------------------------------------------------------------------- */

void machine_init(struct session *session);
int l_session_transitions(lua_State *L);
int l_session_transition(lua_State *L);

/* ---- options.c ----------------------------------------------------------------------------------- */

/* Read and check the table at 1. Raises on misuse; what was read until then has to be freed. */
void session_config_read(lua_State *L, struct session_config *config);
void session_config_free(struct session_config *config);

#endif
