/*
 * session.c - one account's standing connection: the state machine and what Lua sees of it.
 * Lua sees: core.session(options) -> session; transitions, transition.
 * Owns: the socket, the token request, the timer of the state. Freed when Lua lets go, which it cannot
 * while the session is active: then the registry holds it.
 * Events are handled at the drain point or inside a call from Lua, never inside a library's callback.
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_T "trueconf.Session"
enum { ODDITY_SHOWN = 120 /* bytes of a frame */ };

/* ---- the transition table ------------------------------------------------------------------------ */

enum guard { ALWAYS, HAS_TOKEN, DENIALS_LEFT, RENEWABLE, FIXED_TOKEN, GUARD_COUNT };

static void do_connect(struct session *session);
static void do_request_token(struct session *session);
static void do_renew_token(struct session *session);
static void do_authorize(struct session *session);
static void do_begin(struct session *session);
static void do_wait(struct session *session);
static void do_deny(struct session *session);
static void do_close(struct session *session);
static void do_finish(struct session *session);
static void do_fail(struct session *session);

static const char *const state_names[STATE_COUNT] = {
    "idle", "token", "connecting", "authorizing", "ready", "backoff", "closing", "closed", "failed"};
static const char *const event_names[EVENT_COUNT] = {
    "start",   "token_ok",    "token_denied", "token_rejected", "token_error", "opened", "lost",
    "auth_ok", "auth_denied", "auth_expired", "auth_error",     "due",         "stop"};
static const char *const guard_names[GUARD_COUNT] = {NULL, "has_token", "denials_left", "renewable",
                                                     "fixed_token"};

struct transition {
  enum state from;
  enum event event;
  enum guard guard;
  enum state to;
  void (*action)(struct session *session);
  const char *action_name;
};

#define DO(action) do_##action, #action
/* The first row whose state, event and guard fit is taken. An event without a row is counted. */
static const struct transition table[] = {
    {STATE_IDLE, EVENT_START, HAS_TOKEN, STATE_CONNECTING, DO(connect)},
    {STATE_IDLE, EVENT_START, ALWAYS, STATE_TOKEN, DO(request_token)},

    {STATE_TOKEN, EVENT_TOKEN_OK, ALWAYS, STATE_CONNECTING, DO(connect)},
    {STATE_TOKEN, EVENT_TOKEN_DENIED, DENIALS_LEFT, STATE_BACKOFF, DO(deny)},
    {STATE_TOKEN, EVENT_TOKEN_DENIED, ALWAYS, STATE_FAILED, DO(fail)},
    {STATE_TOKEN, EVENT_TOKEN_REJECTED, ALWAYS, STATE_FAILED, DO(fail)},
    {STATE_TOKEN, EVENT_TOKEN_ERROR, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_TOKEN, EVENT_DUE, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_TOKEN, EVENT_STOP, ALWAYS, STATE_CLOSED, DO(finish)},

    {STATE_CONNECTING, EVENT_OPENED, ALWAYS, STATE_AUTHORIZING, DO(authorize)},
    {STATE_CONNECTING, EVENT_LOST, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_CONNECTING, EVENT_STOP, ALWAYS, STATE_CLOSING, DO(close)},

    {STATE_AUTHORIZING, EVENT_AUTH_OK, ALWAYS, STATE_READY, DO(begin)},
    {STATE_AUTHORIZING, EVENT_AUTH_DENIED, DENIALS_LEFT, STATE_BACKOFF, DO(deny)},
    {STATE_AUTHORIZING, EVENT_AUTH_DENIED, ALWAYS, STATE_FAILED, DO(fail)},
    {STATE_AUTHORIZING, EVENT_AUTH_EXPIRED, FIXED_TOKEN, STATE_FAILED, DO(fail)},
    {STATE_AUTHORIZING, EVENT_AUTH_EXPIRED, RENEWABLE, STATE_TOKEN, DO(renew_token)},
    {STATE_AUTHORIZING, EVENT_AUTH_EXPIRED, DENIALS_LEFT, STATE_BACKOFF, DO(deny)},
    {STATE_AUTHORIZING, EVENT_AUTH_EXPIRED, ALWAYS, STATE_FAILED, DO(fail)},
    {STATE_AUTHORIZING, EVENT_AUTH_ERROR, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_AUTHORIZING, EVENT_DUE, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_AUTHORIZING, EVENT_LOST, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_AUTHORIZING, EVENT_STOP, ALWAYS, STATE_CLOSING, DO(close)},

    {STATE_READY, EVENT_LOST, ALWAYS, STATE_BACKOFF, DO(wait)},
    {STATE_READY, EVENT_STOP, ALWAYS, STATE_CLOSING, DO(close)},

    {STATE_BACKOFF, EVENT_DUE, HAS_TOKEN, STATE_CONNECTING, DO(connect)},
    {STATE_BACKOFF, EVENT_DUE, ALWAYS, STATE_TOKEN, DO(request_token)},
    {STATE_BACKOFF, EVENT_STOP, ALWAYS, STATE_CLOSED, DO(finish)},

    {STATE_CLOSING, EVENT_LOST, ALWAYS, STATE_CLOSED, DO(finish)},

    {STATE_CLOSED, EVENT_START, HAS_TOKEN, STATE_CONNECTING, DO(connect)},
    {STATE_CLOSED, EVENT_START, ALWAYS, STATE_TOKEN, DO(request_token)},

    {STATE_FAILED, EVENT_START, HAS_TOKEN, STATE_CONNECTING, DO(connect)},
    {STATE_FAILED, EVENT_START, ALWAYS, STATE_TOKEN, DO(request_token)},
};
#undef DO
enum { TABLE_ROWS = sizeof table / sizeof *table };

static const struct transition *find_row(enum state state, enum event event, const bool guards[GUARD_COUNT]) {
  for (int i = 0; i < TABLE_ROWS; i++)
    if (table[i].from == state && table[i].event == event && guards[table[i].guard])
      return &table[i];
  return NULL;
}

static void evaluate(struct session *session, bool guards[GUARD_COUNT]) {
  guards[ALWAYS] = true;
  guards[HAS_TOKEN] = token_usable(session);
  guards[DENIALS_LEFT] = session->denials + 1 < session->config.max_denials;
  guards[RENEWABLE] = token_renewable(session) && !session->renewed;
  guards[FIXED_TOKEN] = session->config.fixed_token != NULL;
}

/* ---- telling Lua --------------------------------------------------------------------------------- */

static bool push_function(lua_State *L, const char *key) {
  luaL_checkstack(L, 8, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TFUNCTION)
    return true;
  lua_pop(L, 1);
  return false;
}

static void tell_state(struct session *session, enum state old) {
  lua_State *L = rt_runner(session->rt);
  if (!push_function(L, &session->state_key))
    return;
  lua_pushstring(L, state_names[session->state]);
  lua_pushstring(L, state_names[old]);
  if (session->has_reason)
    push_reason(L, &session->reason);
  else
    lua_pushnil(L);
  rt_spawn(session->rt, L, 3);
  lua_pop(L, 1);
}

void session_trace(struct session *session, const char *direction, const char *frame, size_t length) {
  lua_State *L = rt_runner(session->rt);
  if (!session->traced || !push_function(L, &session->trace_key))
    return;
  lua_pushstring(L, direction);
  lua_pushlstring(L, frame, length);
  rt_call(session->rt, L, 2, "on_trace");
}

void session_oddity(struct session *session, uint64_t *counter, const char *kind, const char *text,
                    size_t length) {
  lua_State *L = rt_runner(session->rt);
  ++*counter;
  if (!push_function(L, &session->oddity_key))
    return;
  lua_pushstring(L, kind);
  lua_pushinteger(L, (lua_Integer)*counter);
  lua_pushlstring(L, text, length < ODDITY_SHOWN ? length : ODDITY_SHOWN);
  rt_call(session->rt, L, 3, "on_oddity");
}

/* ---- running the table --------------------------------------------------------------------------- */

static const char session_functions[][16] = {"on_request", "on_trace", "on_state", "token_source",
                                             "on_oddity"};
enum { FUNCTION_COUNT = 5 };

static const void *function_key(const struct session *session, int which) {
  const char *const keys[FUNCTION_COUNT] = {&session->request_key, &session->trace_key, &session->state_key,
                                            &session->source_key, &session->oddity_key};
  return keys[which];
}

/* Active: the registry holds the userdata (on top of L's stack at `index`) and its functions. */
static void activate(lua_State *L, int index, struct session *session) {
  if (session->active)
    return;
  session->active = true;
  rt_ref(session->rt);
  lua_pushvalue(L, index);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &session->self_key);
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    lua_getiuservalue(L, index, i + 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, function_key(session, i));
  }
}

static void deactivate(struct session *session) {
  lua_State *L = rt_runner(session->rt);
  if (!session->active)
    return;
  session->active = false;
  rt_unref(session->rt);
  luaL_checkstack(L, 2, NULL);
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, function_key(session, i));
  }
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &session->self_key);
}

struct ready_op { /* wait_ready and stop */
  struct op op;
  struct session *session;
  struct ready_op *next;
  struct rt_timer timer;
  bool for_end, timed_out;
};

static void settle_waiting(struct session *session) {
  struct ready_op **at = &session->waiting, *wait;
  bool ended = session->state == STATE_CLOSED || session->state == STATE_FAILED;
  while ((wait = *at)) {
    if (!ended && (wait->for_end || session->state != STATE_READY)) {
      at = &wait->next;
      continue;
    }
    *at = wait->next;
    rt_timer_stop(session->rt, &wait->timer);
    op_settle(&wait->op);
  }
}

void session_reason(struct session *session, const struct reason *reason) {
  session->reason = *reason;
  session->has_reason = true;
}

void session_event(struct session *session, enum event event) {
  bool guards[GUARD_COUNT];
  enum state old = session->state;
  const struct transition *row;
  evaluate(session, guards);
  row = find_row(old, event, guards);
  if (!row) {
    session_oddity(session, &session->count.stray_events, "event", event_names[event],
                   strlen(event_names[event]));
    return;
  }
  rt_timer_stop(session->rt, &session->timer);
  rt_dequeue(session->rt, &session->due);
  session->state = row->to;
  if (row->to == STATE_CLOSED)
    session->has_reason = false; /* it was asked for */
  tell_state(session, old);
  settle_waiting(session);
  if (row->to != STATE_FAILED && row->to != STATE_BACKOFF)
    session->has_reason = false;
  row->action(session);
  if (row->to == STATE_CLOSED || row->to == STATE_FAILED)
    deactivate(session);
}

static void on_timer(struct rt_timer *timer) {
  struct session *session = (struct session *)(void *)((char *)timer - offsetof(struct session, timer));
  rt_enqueue(session->rt, &session->due);
}

static void run_due(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct session *session = (struct session *)(void *)((char *)job - offsetof(struct session, due));
  struct reason reason;
  (void)rt;
  (void)L;
  if (session->state != STATE_BACKOFF) {
    reason_set(&reason, ERR_TIMEOUT, 0,
               session->state == STATE_TOKEN ? "no token came in time" : "no answer to auth in time");
    session_reason(session, &reason);
  }
  session_event(session, EVENT_DUE);
}

static void run_pump(struct rt *rt, lua_State *L, struct rt_job *job) {
  (void)rt;
  (void)L;
  calls_pump((struct session *)(void *)((char *)job - offsetof(struct session, pump)));
}

/* ---- the connection ------------------------------------------------------------------------------ */

bool session_send(struct session *session, const char *frame, size_t length) {
  if (!session->socket || !wire_send(socket_wire(session->socket), WIRE_FIN | WIRE_TEXT, frame, length))
    return false;
  if (session->traced)
    session_trace(session, "out", frame, length);
  return true;
}

static void on_opened(struct socket *socket, lua_State *L) {
  (void)L;
  session_event(socket_owner(socket), EVENT_OPENED);
}

/* The connection is over, or this session is done with it. */
static void leave_socket(struct session *session) {
  struct wire *wire;
  if (!session->socket)
    return;
  wire = socket_wire(session->socket);
  session->before.frames_in += wire->count.frames_in;
  session->before.frames_out += wire->count.frames_out;
  session->before.bytes_in += wire->count.bytes_in;
  session->before.bytes_out += wire->count.bytes_out;
  socket_free(session->socket);
  session->socket = NULL;
}

static void on_gone(struct socket *socket, lua_State *L) {
  struct session *session = socket_owner(socket);
  (void)L;
  session_reason(session, socket_reason(socket));
  leave_socket(session);
  session_event(session, EVENT_LOST);
}

static void classify_auth(struct session *session, int code) {
  struct reason reason;
  enum event event = EVENT_AUTH_ERROR;
  if (code == 201 || code == 202 || code == 204)
    event = EVENT_AUTH_DENIED;
  if (code == 203)
    event = EVENT_AUTH_EXPIRED;
  reason_set(&reason,
             event == EVENT_AUTH_DENIED    ? ERR_AUTH_FAILED
             : event == EVENT_AUTH_EXPIRED ? ERR_TOKEN_EXPIRED
                                           : ERR_SERVER,
             code, "auth was answered with %d %s (%s)", code, server_error_name(code),
             server_error_meaning(code));
  session_reason(session, &reason);
  session_event(session, event);
}

static void on_auth_answer(struct session *session, struct slice payload) {
  struct slice value;
  struct buffer user = {0};
  int code = 0;
  if (scan_find(payload, "errorCode", &value) && scan_int(value, &code) && code != 0) {
    classify_auth(session, code);
    return;
  }
  free(session->user_id);
  session->user_id = NULL;
  if (scan_find(payload, "userId", &value) && scan_string(value, &user) && buffer_append(&user, "", 1))
    session->user_id = strdup(user.data);
  buffer_free(&user);
  session_event(session, EVENT_AUTH_OK);
}

static void on_response(struct session *session, lua_State *L, const struct frame *frame) {
  if (session->state == STATE_AUTHORIZING && frame->has_id && frame->id == session->auth_id)
    on_auth_answer(session, frame->payload);
  else
    calls_answer(session, L, frame);
}

static bool send_ack(struct session *session, lua_Integer id) {
  struct buffer *frame = &session_room(session)->scratch;
  frame->length = 0;
  return buffer_puts(frame, "{\"type\":2,\"id\":") && buffer_number(frame, (uint32_t)id) &&
         buffer_append(frame, "}", 1) && session_send(session, frame->data, frame->length);
}

/* A request of the server: Lua decides about the ack; without a handler it is acknowledged here. */
static void on_request(struct session *session, lua_State *L, const struct frame *frame) {
  if (!push_function(L, &session->request_key)) {
    send_ack(session, frame->id);
    return;
  }
  lua_pushlstring(L, frame->method.at, frame->method.length);
  if (frame->payload.at)
    lua_pushlstring(L, frame->payload.at, frame->payload.length);
  else
    lua_pushliteral(L, "{}");
  lua_pushinteger(L, frame->id);
  lua_pushinteger(L, session->epoch);
  rt_call(session->rt, L, 4, "on_request");
}

static void on_message(struct socket *socket, lua_State *L, const char *data, size_t length, bool binary) {
  struct session *session = socket_owner(socket);
  struct frame frame;
  (void)binary; /* a frame is JSON, however it is marked */
  if (session->traced)
    session_trace(session, "in", data, length);
  if (!scan_frame(data, length, &frame) || !frame.has_id)
    frame.type = 0; /* reserved, never sent */
  if (frame.type == 2)
    on_response(session, L, &frame);
  else if (frame.type == 1 && frame.method.at)
    on_request(session, L, &frame);
  else
    session_oddity(session, &session->count.garbage, "frame", data, length);
}

static void on_drained(struct socket *socket, lua_State *L) {
  (void)L;
  calls_pump(socket_owner(socket));
}

/* ---- actions ------------------------------------------------------------------------------------- */

static void do_connect(struct session *session) {
  static const struct socket_ops ops = {on_opened, on_message, on_gone, on_drained};
  struct session_config *config = &session->config;
  struct socket_options options = {0};
  options.url = &config->url;
  options.subprotocol = "json.v1";
  options.tls = &config->tls;
  options.proxy = config->proxy;
  options.connect_timeout = config->connect_timeout;
  options.limits = &config->limits;
  session->count.connects++;
  session->epoch++;
  session->socket = socket_connect(session->rt, &options, &ops, session);
  if (!session->socket)
    session_event(session, EVENT_LOST);
}

static void do_request_token(struct session *session) {
  token_load(session);
  if (token_usable(session)) {
    session_event(session, EVENT_TOKEN_OK);
    return;
  }
  rt_timer_start(session->rt, &session->timer, session->config.token_timeout);
  token_request(session);
}

static void do_renew_token(struct session *session) {
  leave_socket(session);
  token_forget(session);
  rt_timer_start(session->rt, &session->timer, session->config.token_timeout);
  token_request(session);
}

static bool auth_frame(struct session *session, const char *token, struct buffer *frame) {
  const struct session_config *config = &session->config;
  frame->length = 0;
  return buffer_printf(
             frame, "{\"type\":1,\"id\":%u,\"method\":\"auth\",\"payload\":{\"token\":", session->auth_id) &&
         scan_quote(frame, token, strlen(token)) &&
         buffer_printf(frame,
                       ",\"tokenType\":\"JWT\",\"receiveUnread\":%s,\"receiveSystemMessageEnvelopes\":%s}}",
                       config->receive_unread ? "true" : "false", config->receive_system ? "true" : "false");
}

static void do_authorize(struct session *session) {
  struct buffer *frame = &session_room(session)->scratch;
  session->calls.next_id = session->auth_id = 1;
  rt_timer_start(session->rt, &session->timer, session->config.auth_timeout);
  if (auth_frame(session, session->token, frame))
    wire_send(socket_wire(session->socket), WIRE_FIN | WIRE_TEXT, frame->data, frame->length);
  if (session->traced && auth_frame(session, "***", frame))
    session_trace(session, "out", frame->data, frame->length);
}

static void do_begin(struct session *session) {
  session->denials = session->attempts = 0;
  session->renewed = false;
  calls_pump(session);
}

static void do_wait(struct session *session) {
  const struct session_config *config = &session->config;
  double delay = config->backoff_min * pow(2, session->attempts < 30 ? session->attempts : 30);
  token_cancel(session);
  leave_socket(session);
  calls_lost(session);
  if (delay > config->backoff_max)
    delay = config->backoff_max;
  session->attempts++;
  rt_timer_start(session->rt, &session->timer, delay + config->backoff_jitter * rt_random_unit(session->rt));
}

static void do_deny(struct session *session) {
  session->denials++;
  if (token_renewable(session))
    token_forget(session);
  do_wait(session);
}

static void do_close(struct session *session) {
  struct reason reason;
  reason_set(&reason, ERR_CLOSED, 0, "the session was closed");
  calls_fail(session, &reason);
  socket_close(session->socket, WIRE_NORMAL, NULL);
}

static void do_finish(struct session *session) {
  struct reason reason;
  reason_set(&reason, ERR_CLOSED, 0, "the session was closed");
  token_cancel(session);
  leave_socket(session);
  calls_fail(session, &reason);
  session->attempts = session->denials = 0;
}

static void do_fail(struct session *session) {
  token_cancel(session);
  leave_socket(session);
  if (token_renewable(session))
    token_forget(session);
  calls_fail(session, &session->reason);
  session->attempts = session->denials = 0;
}

/* ---- options ------------------------------------------------------------------------------------- */

static char *opt_text(lua_State *L, const char *field) {
  char *text = NULL;
  int type = lua_getfield(L, 1, field);
  if (type == LUA_TSTRING)
    text = strdup(lua_tostring(L, -1));
  else if (type != LUA_TNIL)
    luaL_error(L, "option '%s' must be a string, got a %s", field, lua_typename(L, type));
  lua_pop(L, 1);
  return text;
}

static double opt_number(lua_State *L, const char *field, double standard, double least) {
  double value = standard;
  int type = lua_getfield(L, 1, field);
  if (type == LUA_TNUMBER)
    value = lua_tonumber(L, -1);
  else if (type != LUA_TNIL)
    luaL_error(L, "option '%s' must be a number, got a %s", field, lua_typename(L, type));
  if (!(value >= least && value < 1e12))
    luaL_error(L, "option '%s' must be at least %f", field, least);
  lua_pop(L, 1);
  return value;
}

static bool opt_boolean(lua_State *L, const char *field, bool standard) {
  bool value = lua_getfield(L, 1, field) == LUA_TNIL ? standard : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_numbers(lua_State *L, struct session_config *config) {
  config->connect_timeout = opt_number(L, "connect_timeout", 10, 0.001);
  config->token_timeout = opt_number(L, "token_timeout", 15, 0.001);
  config->auth_timeout = opt_number(L, "auth_timeout", 10, 0.001);
  config->call_timeout = opt_number(L, "call_timeout", 30, 0.001);
  config->backoff_min = opt_number(L, "backoff_min", 1, 0.001);
  config->backoff_max = opt_number(L, "backoff_max", 60, config->backoff_min);
  config->backoff_jitter = opt_number(L, "backoff_jitter", 1, 0);
  config->limits.close_timeout = opt_number(L, "close_timeout", 3, 0);
  config->limits.ping_interval = opt_number(L, "ping_interval", 30, 0);
  config->limits.pong_timeout = opt_number(L, "pong_timeout", 10, 0.001);
  config->limits.max_frame = (size_t)opt_number(L, "max_frame", 16 << 20, 125);
  config->limits.max_unsent = (size_t)opt_number(L, "max_unsent", 4 << 20, 4096);
  config->max_denials = (int)fmin(opt_number(L, "max_denials", 3, 1), 1e6);
  config->window = (int)fmin(opt_number(L, "window", 64, 1), 65536);
  config->queue = (int)fmin(opt_number(L, "queue", 1024, 0), 1e9);
}

static void read_config(lua_State *L, struct session_config *config) {
  char *url = opt_text(L, "url");
  const char *wrong = url ? url_parse(&config->url, url) : "option 'url' is missing";
  free(url);
  if (wrong)
    luaL_error(L, "url: %s", wrong);
  config->token_url = opt_text(L, "token_url");
  config->username = opt_text(L, "username");
  config->password = opt_text(L, "password");
  config->fixed_token = opt_text(L, "token");
  config->token_file = opt_text(L, "token_file");
  config->proxy = opt_text(L, "proxy");
  config->receive_unread = opt_boolean(L, "receive_unread", true);
  config->receive_system = opt_boolean(L, "receive_system", false);
  tls_options_read(L, 1, "tls", &config->tls);
  read_numbers(L, config);
}

static void check_config(lua_State *L, const struct session_config *config) {
  struct url url;
  const char *wrong;
  if (!config->fixed_token && !config->has_source) {
    if (!config->username || !config->password || !config->token_url)
      luaL_error(L,
                 "options 'username', 'password' and 'token_url', or 'token', or 'token_source' are needed");
    if ((wrong = url_parse(&url, config->token_url)))
      luaL_error(L, "token_url: %s", wrong);
    if (!url.tls && !url.loopback && !opt_boolean(L, "allow_plaintext", false))
      luaL_error(L, "the password would go to %s unencrypted; use https, or set 'allow_plaintext'", url.host);
  }
  if (!config->url.tls && !config->url.loopback && !opt_boolean(L, "allow_plaintext", false))
    luaL_error(L, "the token would go to %s unencrypted; use wss, or set 'allow_plaintext'",
               config->url.host);
}

static void config_free(struct session_config *config) {
  char **const secrets[] = {&config->password, &config->fixed_token};
  for (size_t i = 0; i < 2; i++)
    if (*secrets[i])
      explicit_bzero(*secrets[i], strlen(*secrets[i]));
  free(config->token_url);
  free(config->username);
  free(config->password);
  free(config->fixed_token);
  free(config->token_file);
  free(config->proxy);
  tls_options_free(&config->tls);
  memset(config, 0, sizeof *config);
}

/* ---- Lua ----------------------------------------------------------------------------------------- */

static void room_closing(struct rt *rt, void *state);
static void room_closed(struct rt *rt, void *state) {
  (void)rt;
  buffer_free(&((struct sessions *)state)->scratch);
  free(state);
}

struct sessions *session_room(const struct session *session) {
  return rt_room(session->rt, ROOM_SESSION);
}

static long room_count(void *state) {
  return ((struct sessions *)state)->count;
}

static struct sessions *get_room(lua_State *L, struct rt *rt) {
  static const struct rt_room_ops ops = {room_closing, room_closed, "sessions", room_count};
  struct sessions *room = rt_room(rt, ROOM_SESSION);
  if (room)
    return room;
  room = calloc(1, sizeof *room);
  if (!room) {
    luaL_error(L, "out of memory"); /* does not return */
    abort();
  }
  rt_list_init(&room->list);
  room->last_waiting = &room->first_waiting;
  rt_set_room(rt, ROOM_SESSION, room, &ops);
  return room;
}

/* Let go of everything that lives on the loop. */
static void session_detach(struct session *session) {
  struct sessions *room = session->link.next ? rt_room(session->rt, ROOM_SESSION) : NULL;
  if (!room)
    return;
  room->count--;
  rt_list_remove(&session->link);
  token_cancel(session);
  leave_socket(session);
  rt_timer_stop(session->rt, &session->timer);
  rt_dequeue(session->rt, &session->due);
  rt_dequeue(session->rt, &session->pump);
  session->state = STATE_CLOSED;
}

static void room_closing(struct rt *rt, void *state) {
  struct sessions *room = state;
  (void)rt;
  room->granting = INT_MAX / 2; /* nobody's turn comes any more */
  while (room->list.next != &room->list) {
    struct session *session =
        (struct session *)(void *)((char *)room->list.next - offsetof(struct session, link));
    deactivate(session);
    session_detach(session);
  }
}

static int l_session_gc(lua_State *L) {
  struct session *session = luaL_checkudata(L, 1, SESSION_T);
  session_detach(session);
  token_forget(session);
  free(session->user_id);
  config_free(&session->config);
  return 0;
}

static void attach(lua_State *L, struct session *session) {
  struct sessions *room;
  if (session->link.next)
    return;
  session->rt = rt_get(L);
  room = get_room(L, session->rt);
  rt_list_add(&room->list, &session->link);
  room->count++;
}

static int l_session(lua_State *L) {
  struct session *session;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  session = lua_newuserdatauv(L, sizeof *session, FUNCTION_COUNT);
  memset(session, 0, sizeof *session);
  session->rt = rt_get(L);
  luaL_setmetatable(L, SESSION_T);
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    int type = lua_getfield(L, 1, session_functions[i]);
    if (type != LUA_TFUNCTION && type != LUA_TNIL)
      luaL_error(L, "option '%s' must be a function, got a %s", session_functions[i], lua_typename(L, type));
    if (i == 1)
      session->traced = type == LUA_TFUNCTION;
    if (i == 3)
      session->config.has_source = type == LUA_TFUNCTION;
    lua_setiuservalue(L, 2, i + 1);
  }
  session->timer.fire = on_timer;
  session->due.run = run_due;
  session->pump.run = run_pump;
  read_config(L, &session->config);
  check_config(L, &session->config);
  if (session->config.fixed_token)
    session->token = strdup(session->config.fixed_token);
  attach(L, session);
  return 1;
}

static struct session *check_session(lua_State *L) {
  return luaL_checkudata(L, 1, SESSION_T);
}

static int l_start(lua_State *L) {
  struct session *session = check_session(L);
  if (session->active)
    return 0;
  attach(L, session);
  activate(L, 1, session);
  session_event(session, EVENT_START);
  return 0;
}

static void ready_timed_out(struct rt_timer *timer) {
  struct ready_op *wait = (struct ready_op *)(void *)((char *)timer - offsetof(struct ready_op, timer));
  struct ready_op **at = &wait->session->waiting;
  while (*at && *at != wait)
    at = &(*at)->next;
  if (*at)
    *at = wait->next;
  wait->timed_out = true;
  op_settle(&wait->op);
}

static void ready_cancel(struct op *op) {
  struct ready_op *wait = (struct ready_op *)op;
  rt_timer_stop(op->rt, &wait->timer);
  ready_timed_out(&wait->timer);
}

static int ready_push(lua_State *L, struct op *op) {
  struct ready_op *wait = (struct ready_op *)op;
  struct session *session = wait->session;
  if (wait->timed_out)
    return fail(L, ERR_TIMEOUT, 0, "the session did not become ready in time");
  if (!wait->for_end && session->state == STATE_FAILED)
    return fail_reason(L, &session->reason);
  if (!wait->for_end && session->state == STATE_CLOSED)
    return fail(L, ERR_CLOSED, 0, "the session was closed");
  lua_pushboolean(L, 1);
  return 1;
}

static int wait_for(lua_State *L, struct session *session, bool for_end, double seconds) {
  struct ready_op *wait =
      op_new(L, sizeof *wait, NULL, for_end ? "the session to close" : "the session to be ready");
  wait->op.push = ready_push;
  wait->op.cancel = ready_cancel;
  wait->session = session;
  wait->for_end = for_end;
  wait->timer.fire = ready_timed_out;
  wait->next = session->waiting;
  session->waiting = wait;
  if (seconds >= 0)
    rt_timer_start(session->rt, &wait->timer, seconds);
  return op_wait(L, &wait->op);
}

static int l_wait_ready(lua_State *L) {
  struct session *session = check_session(L);
  double seconds = luaL_optnumber(L, 2, -1);
  if (session->state == STATE_READY) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (session->state == STATE_FAILED)
    return fail_reason(L, &session->reason);
  if (!session->active)
    return fail(L, ERR_CLOSED, 0, "the session is not running");
  return wait_for(L, session, false, seconds);
}

static int l_stop(lua_State *L) {
  struct session *session = check_session(L);
  if (!session->active)
    return 0;
  if (session->state != STATE_CLOSING)
    session_event(session, EVENT_STOP);
  if (!session->active)
    return 0;
  return wait_for(L, session, true, -1);
}

static int l_state(lua_State *L) {
  lua_pushstring(L, state_names[check_session(L)->state]);
  return 1;
}

static int l_user_id(lua_State *L) {
  struct session *session = check_session(L);
  if (!session->user_id)
    return 0;
  lua_pushstring(L, session->user_id);
  return 1;
}

static int l_ack(lua_State *L) {
  struct session *session = check_session(L);
  lua_Integer id = luaL_checkinteger(L, 2), epoch = luaL_checkinteger(L, 3);
  lua_pushboolean(L, epoch == session->epoch && session->state == STATE_READY && send_ack(session, id));
  return 1;
}

static int l_damaged(lua_State *L) {
  check_session(L)->count.garbage++;
  return 0;
}

static int l_drop(lua_State *L) {
  struct session *session = check_session(L);
  if (session->socket)
    socket_drop(session->socket, ERR_DISCONNECTED, "the connection was dropped on request");
  return 0;
}

static void put_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

static int l_session_stats(lua_State *L) {
  struct session *session = check_session(L);
  const struct session_counters *count = &session->count;
  const struct wire *wire = session->socket ? socket_wire(session->socket) : NULL;
  lua_createtable(L, 0, 16);
  put_count(L, "frames_in", session->before.frames_in + (wire ? wire->count.frames_in : 0));
  put_count(L, "frames_out", session->before.frames_out + (wire ? wire->count.frames_out : 0));
  put_count(L, "bytes_in", session->before.bytes_in + (wire ? wire->count.bytes_in : 0));
  put_count(L, "bytes_out", session->before.bytes_out + (wire ? wire->count.bytes_out : 0));
  put_count(L, "unsent", wire ? wire_unsent(wire) : 0);
  put_count(L, "connects", count->connects);
  put_count(L, "calls", count->calls);
  put_count(L, "stale", count->stale);
  put_count(L, "duplicate", count->duplicate);
  put_count(L, "garbage", count->garbage);
  put_count(L, "unexpected", count->unexpected);
  put_count(L, "stray_events", count->stray_events);
  put_count(L, "in_flight", (uint64_t)session->calls.in_flight);
  put_count(L, "queued", (uint64_t)session->calls.queued);
  put_count(L, "epoch", (uint64_t)session->epoch);
  return 1;
}

static int l_session_tostring(lua_State *L) {
  struct session *session = check_session(L);
  lua_pushfstring(L, "trueconf.Session (%s:%d, %s)", session->config.url.host, session->config.url.port,
                  state_names[session->state]);
  return 1;
}

static void put_text(lua_State *L, const char *field, const char *text) {
  if (!text)
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static int l_transitions(lua_State *L) {
  lua_createtable(L, TABLE_ROWS, 0);
  for (int i = 0; i < TABLE_ROWS; i++) {
    lua_createtable(L, 0, 5);
    put_text(L, "from", state_names[table[i].from]);
    put_text(L, "event", event_names[table[i].event]);
    put_text(L, "guard", guard_names[table[i].guard]);
    put_text(L, "to", state_names[table[i].to]);
    put_text(L, "action", table[i].action_name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int find_name(lua_State *L, int index, const char *const *names, int count) {
  const char *name = luaL_checkstring(L, index);
  for (int i = 0; i < count; i++)
    if (names[i] && !strcmp(names[i], name))
      return i;
  return luaL_argerror(L, index, "unknown name");
}

static int l_transition(lua_State *L) {
  enum state state = (enum state)find_name(L, 1, state_names, STATE_COUNT);
  enum event event = (enum event)find_name(L, 2, event_names, EVENT_COUNT);
  bool guards[GUARD_COUNT] = {true};
  const struct transition *row;
  for (int i = 1; i < GUARD_COUNT && lua_istable(L, 3); i++) {
    lua_getfield(L, 3, guard_names[i]);
    guards[i] = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  row = find_row(state, event, guards);
  if (!row)
    return 0;
  lua_pushstring(L, state_names[row->to]);
  lua_pushstring(L, row->action_name);
  return 2;
}

void session_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"start", l_start},
                                     {"stop", l_stop},
                                     {"state", l_state},
                                     {"user_id", l_user_id},
                                     {"wait_ready", l_wait_ready},
                                     {"request", l_session_request},
                                     {"ack", l_ack},
                                     {"damaged", l_damaged},
                                     {"drop", l_drop},
                                     {"stats", l_session_stats},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"session", l_session}, {"transitions", l_transitions}, {"transition", l_transition}, {NULL, NULL}};
  luaL_newmetatable(L, SESSION_T);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_session_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, l_session_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
