/*
 * session/machine.c - the state machine of a session.
 * Lua sees the table through core.transitions and core.transition.
 * Owns: the socket, the token request, the timer of the state.
 * Events are handled at the drain point or inside a call from Lua, never inside a library's callback.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double STABLE = 60, MOST_RETRY_AFTER = 300; /* seconds */

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

static const char *const event_names[EVENT_COUNT] = {
    "start",         "token_ok", "token_denied", "token_rejected", "token_error", "opened", "lost",
    "misconfigured", "auth_ok",  "auth_denied",  "auth_expired",   "auth_error",  "due",    "stop"};
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
    {STATE_CONNECTING, EVENT_MISCONFIGURED, ALWAYS, STATE_FAILED, DO(fail)},
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

/* ---- running the table --------------------------------------------------------------------------- */

/* A connection that has lasted as long as the longest pause resets the backoff: a failure after it is a new
 * one. So a server that accepts a bot and drops it at once is not asked again every second. */
static void forget_attempts(struct session *session) {
  double least = fmin(session->config.backoff_max, STABLE);
  uint64_t since = session->ready_since;
  session->ready_since = 0;
  if (since && (double)(rt_monotonic(session->rt) - since) / 1e9 >= least)
    session->attempts = 0;
}

/* The server may ask for a longer pause (Retry-After), within bounds. */
static void plan_pause(struct session *session) {
  const struct session_config *config = &session->config;
  double delay, wanted = session->reason.retry_after;
  forget_attempts(session);
  delay = fmin(config->backoff_min * pow(2, fmin(session->attempts, 30)), config->backoff_max);
  delay = fmax(delay, fmin(wanted, fmax(MOST_RETRY_AFTER, config->backoff_max)));
  session->attempts++;
  session->pause = delay + config->backoff_jitter * rt_random_unit(session->rt);
}

static void take_event(struct session *session, enum event event) {
  bool guards[GUARD_COUNT];
  enum state old = session->state;
  const struct transition *row;
  evaluate(session, guards);
  row = find_row(old, event, guards);
  if (!row) {
    session_anomaly(session, &session->count.stray_events, "event", event_names[event],
                    strlen(event_names[event]));
    return;
  }
  rt_timer_stop(session->rt, &session->timer);
  rt_dequeue(session->rt, &session->due);
  session->state = row->to;
  if (row->to == STATE_CLOSED)
    session->has_reason = false; /* the user asked for it */
  if (row->to == STATE_BACKOFF)
    plan_pause(session);
  session_tell_state(session, old);
  session_settle_waiting(session);
  session->has_reason = false; /* it belongs to this change, not to the next one */
  row->action(session);
  if (row->to == STATE_CLOSED || row->to == STATE_FAILED)
    session_deactivate(session);
}

static void on_timer(struct rt_timer *timer) {
  struct session *session = container_of(timer, struct session, timer);
  rt_enqueue(session->rt, &session->due);
}

static void run_due(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct session *session = container_of(job, struct session, due);
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
  calls_pump(container_of(job, struct session, pump));
}

void machine_init(struct session *session) {
  session_init(session, take_event);
  session->timer.fire = on_timer;
  session->due.run = run_due;
  session->pump.run = run_pump;
}

/* ---- the connection ------------------------------------------------------------------------------ */

static void at_opened(struct socket *socket, lua_State *L) {
  (void)L;
  session_event(socket_owner(socket), EVENT_OPENED);
}

static void at_gone(struct socket *socket, lua_State *L) {
  struct session *session = socket_owner(socket);
  bool wrong = session->state == STATE_CONNECTING && socket_reason(socket)->err == ERR_CONFIG;
  (void)L;
  session_reason(session, socket_reason(socket));
  session_leave_socket(session);
  session_event(session, wrong ? EVENT_MISCONFIGURED : EVENT_LOST);
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

/* Note our own id. Without it a bot would take its own messages for those of others and answer them, so the
 * login fails then. After the first time the id is known. */
static bool note_user(struct session *session, struct slice payload) {
  struct slice value;
  struct buffer user = {0};
  struct reason reason;
  bool told = scan_find(payload, "userId", &value) && scan_string(value, &user) && user.length;
  char *id = told && buffer_append(&user, "", 1) ? strdup(user.data) : NULL;
  buffer_free(&user);
  if (id) {
    free(session->user_id);
    session->user_id = id;
  }
  if (session->user_id)
    return true;
  reason_set(
      &reason, told ? ERR_NOMEM : ERR_PROTOCOL, 0,
      told ? "no memory for the id of the account"
           : "auth was answered without a userId: the bot cannot tell its own messages from those of others");
  session_reason(session, &reason);
  return false;
}

static void at_auth_answer(struct session *session, struct slice payload) {
  struct slice value;
  int code = 0;
  if (scan_find(payload, "errorCode", &value) && scan_int(value, &code) && code != 0) {
    classify_auth(session, code);
    return;
  }
  session_event(session, note_user(session, payload) ? EVENT_AUTH_OK : EVENT_AUTH_ERROR);
}

static void at_response(struct session *session, lua_State *L, const struct frame *frame) {
  if (session->state == STATE_AUTHORIZING && frame->id == session->auth_id)
    at_auth_answer(session, frame->payload);
  else
    calls_answer(session, L, frame);
}

/* Push the value of a request's payload and nil; or nil and the complaint, if it is no JSON. */
static void push_payload(lua_State *L, const struct frame *frame, int value) {
  struct json_complaint complaint;
  if (frame->decoded) {
    lua_pushvalue(L, value);
  } else if (!frame->payload.at) {
    lua_newtable(L);
  } else if (!json_read(L, frame->payload, &complaint)) {
    lua_pushnil(L);
    json_push_complaint(L, &complaint);
    return;
  }
  lua_pushnil(L);
}

/* A request of the server, the value of its payload on top: Lua decides about the ack; without a handler it
 * is acknowledged here. When memory is lacking, the request comes again over a new connection. */
static void at_request(struct session *session, lua_State *L, const struct frame *frame) {
  int value = lua_gettop(L);
  bool called;
  if (!session_push_function(L, session, FN_REQUEST)) {
    session_ack(session, frame->id);
    return;
  }
  lua_pushlstring(L, frame->method.at, frame->method.length);
  push_payload(L, frame, value);
  lua_pushinteger(L, frame->id);
  lua_insert(L, -2);
  lua_pushinteger(L, session->epoch);
  lua_insert(L, -2);
  session->request = frame->payload.at ? frame->payload : (struct slice){"{}", 2};
  called = rt_call(session->rt, L, 5, "on_request");
  session->request = (struct slice){NULL, 0};
  if (!called)
    luaL_error(L, "not enough memory for a request of the server");
}

/* The payload of a response that nobody waits for is not decoded; that of auth is read as text. */
static bool wants_payload(const struct frame *frame, void *owner) {
  const struct session *session = owner;
  return frame->type == 2 ? calls_want(session, frame->id) : session->handling;
}

static void at_message(struct socket *socket, lua_State *L, const char *data, size_t length, bool binary) {
  struct session *session = socket_owner(socket);
  struct frame frame;
  int top = lua_gettop(L);
  (void)binary; /* a frame is JSON in either case */
  session_trace(session, "in", data, length);
  if (!json_read_frame(L, (struct slice){data, length}, &frame, wants_payload, session)) {
    lua_pushnil(L);
    if (!scan_frame(data, length, &frame))
      frame.type = 0; /* reserved, never sent */
  }
  if (!frame.has_id || !frame.has_type)
    frame.type = 0;
  if (frame.type == 2)
    at_response(session, L, &frame);
  else if (frame.type == 1 && frame.method.at)
    at_request(session, L, &frame);
  else
    session_anomaly(session, &session->count.garbage, "frame", data, length);
  lua_settop(L, top);
}

static void at_drained(struct socket *socket, lua_State *L) {
  (void)L;
  calls_pump(socket_owner(socket));
}

/* ---- actions ------------------------------------------------------------------------------------- */

static void do_connect(struct session *session) {
  static const struct socket_ops ops = {at_opened, at_message, at_gone, at_drained};
  struct session_config *config = &session->config;
  struct socket_options options = {0};
  struct reason reason;
  options.url = &config->url;
  options.subprotocol = "json.v1";
  options.tls = &config->tls;
  options.proxy = config->proxy;
  options.headers = &config->headers;
  options.connect_timeout = config->connect_timeout;
  options.limits = &config->limits;
  assert(!session->socket && !session->transfer && !session->waiting_for_turn);
  session->count.connects++;
  session->epoch++;
  session->socket = socket_connect(session->rt, &options, &ops, session);
  if (session->socket)
    return;
  reason_set(&reason, ERR_NOMEM, 0, "no memory for a connection");
  session_reason(session, &reason);
  session_event(session, EVENT_LOST);
}

static void do_request_token(struct session *session) {
  assert(!session->socket && !session->transfer && !session->waiting_for_turn);
  token_load(session);
  if (token_usable(session)) {
    session_event(session, EVENT_TOKEN_OK);
    return;
  }
  rt_timer_start(session->rt, &session->timer, session->config.token_timeout);
  token_request(session);
}

static void do_renew_token(struct session *session) {
  session_leave_socket(session);
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
  struct buffer *frame = &session_slot(session)->scratch;
  assert(session->socket && session->token && !session->calls.in_flight);
  session->calls.next_id = session->auth_id = 1; /* a new connection counts from 1 */
  rt_timer_start(session->rt, &session->timer, session->config.auth_timeout);
  if (!auth_frame(session, session->token, frame) ||
      !wire_send(socket_wire(session->socket), WIRE_FIN | WIRE_TEXT, frame->data, frame->length)) {
    socket_drop(session->socket, ERR_NOMEM, "no memory for auth");
    return;
  }
  if (auth_frame(session, "***", frame))
    session_trace(session, "out", frame->data, frame->length);
}

static void do_begin(struct session *session) {
  assert(session->socket && session->user_id);
  session->denials = 0;
  session->ready_since = rt_monotonic(session->rt);
  session->renewed = false;
  calls_pump(session);
}

static void do_wait(struct session *session) {
  token_cancel(session);
  session_leave_socket(session);
  calls_lost(session);
  rt_timer_start(session->rt, &session->timer, session->pause);
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
  assert(session->socket);
  calls_fail(session, &reason);
  socket_close(session->socket, WIRE_NORMAL, NULL);
}

static void do_finish(struct session *session) {
  struct reason reason;
  reason_set(&reason, ERR_CLOSED, 0, "the session was closed");
  token_cancel(session);
  session_leave_socket(session);
  calls_fail(session, &reason);
  session->attempts = session->denials = 0;
}

static void do_fail(struct session *session) {
  token_cancel(session);
  session_leave_socket(session);
  if (token_renewable(session))
    token_forget(session);
  calls_fail(session, &session->reason);
  session->attempts = session->denials = 0;
}

/* ---- the table for Lua --------------------------------------------------------------------------- */

static void put_text(lua_State *L, const char *field, const char *text) {
  if (!text)
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

int l_session_transitions(lua_State *L) {
  lua_createtable(L, TABLE_ROWS, 0);
  for (int i = 0; i < TABLE_ROWS; i++) {
    lua_createtable(L, 0, 5);
    put_text(L, "from", session_state_names[table[i].from]);
    put_text(L, "event", event_names[table[i].event]);
    put_text(L, "guard", guard_names[table[i].guard]);
    put_text(L, "to", session_state_names[table[i].to]);
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

int l_session_transition(lua_State *L) {
  enum state state = (enum state)find_name(L, 1, session_state_names, STATE_COUNT);
  enum event event = (enum event)find_name(L, 2, event_names, EVENT_COUNT);
  bool guards[GUARD_COUNT] = {true}; /* ALWAYS */
  const struct transition *row;
  for (int i = 1; i < GUARD_COUNT && lua_istable(L, 3); i++) {
    lua_getfield(L, 3, guard_names[i]);
    guards[i] = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  row = find_row(state, event, guards);
  if (!row)
    return 0;
  lua_pushstring(L, session_state_names[row->to]);
  lua_pushstring(L, row->action_name);
  return 2;
}
