/*
 * session/lua.c - what Lua sees of a session, and how a session reaches Lua.
 * Lua sees: core.session(options) -> session.
 * Owns: the userdata, which is the session itself; while it is active the registry holds it and the user's
 * functions, so that Lua cannot collect it.
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_T "trueconf.Session"
enum { ODDITY_SHOWN = 120 /* bytes of a frame */ };

/* ---- telling Lua --------------------------------------------------------------------------------- */

bool session_push_function(lua_State *L, const char *key) {
  luaL_checkstack(L, 8, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TFUNCTION)
    return true;
  lua_pop(L, 1);
  return false;
}

struct told { /* what one of the user's functions is told */
  struct session *session;
  const struct change *change;
  const struct reason *reason;
  const char *kind;
  uint64_t count;
  struct slice text;
};

static int l_tell_state(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  const struct change *change = told->change;
  if (!session_push_function(L, &told->session->state_key))
    return 0;
  lua_pushstring(L, session_state_name(change->now));
  lua_pushstring(L, session_state_name(change->old));
  if (change->reason.err)
    push_reason(L, &change->reason);
  else
    lua_pushnil(L);
  if (change->now == STATE_BACKOFF)
    lua_pushnumber(L, change->pause);
  else
    lua_pushnil(L);
  rt_spawn(told->session->rt, L, 4);
  return 0;
}

static bool tell_state(struct session *session, const struct change *change) {
  struct told told = {.session = session, .change = change};
  return rt_protected(rt_runner(session->rt), l_tell_state, &told);
}

/* A bot that is never told of its end would wait for ever: when memory is short, once more a little later. */
void session_tell_state(struct session *session, enum state old) {
  struct change change = {.old = old, .now = session->state, .pause = session->pause};
  if (session->has_reason)
    change.reason = session->reason;
  if (!session->untold_count && tell_state(session, &change))
    return;
  if (!session->untold_count)
    rt_timer_start(session->rt, &session->retelling, RT_AGAIN);
  if (session->untold_count == MOST_UNTOLD)
    change.old = session->untold[--session->untold_count].old;
  session->untold[session->untold_count++] = change;
}

static void on_retelling(struct rt_timer *timer) {
  struct session *session = (struct session *)(void *)((char *)timer - offsetof(struct session, retelling));
  rt_enqueue(session->rt, &session->telling);
}

static void release(struct session *session);

static void run_telling(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct session *session = (struct session *)(void *)((char *)job - offsetof(struct session, telling));
  (void)L;
  while (session->untold_count) {
    if (!tell_state(session, session->untold)) {
      rt_timer_start(rt, &session->retelling, RT_AGAIN);
      return;
    }
    memmove(session->untold, session->untold + 1, (size_t)--session->untold_count * sizeof *session->untold);
  }
  if (!session->active)
    release(session);
}

static int l_trace(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  if (!session_push_function(L, &told->session->trace_key))
    return 0;
  lua_pushstring(L, told->kind);
  lua_pushlstring(L, told->text.at, told->text.length);
  rt_call(told->session->rt, L, 2, "on_trace");
  return 0;
}

void session_trace(struct session *session, const char *direction, const char *frame, size_t length) {
  struct told told = {.session = session, .kind = direction, .text = {frame, length}};
  if (session->traced)
    rt_protected(rt_runner(session->rt), l_trace, &told);
}

static int l_oddity(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  if (!session_push_function(L, &told->session->oddity_key))
    return 0;
  lua_pushstring(L, told->kind);
  lua_pushinteger(L, (lua_Integer)told->count);
  lua_pushlstring(L, told->text.at, told->text.length);
  rt_call(told->session->rt, L, 3, "on_oddity");
  return 0;
}

void session_oddity(struct session *session, uint64_t *counter, const char *kind, const char *text,
                    size_t length) {
  struct told told = {.session = session, .kind = kind, .count = ++*counter};
  told.text = (struct slice){text, length < ODDITY_SHOWN ? length : ODDITY_SHOWN};
  rt_protected(rt_runner(session->rt), l_oddity, &told);
}

static int l_unsaved(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  if (!session_push_function(L, &told->session->unsaved_key))
    return 0;
  push_reason(L, told->reason);
  rt_call(told->session->rt, L, 1, "on_unsaved");
  return 0;
}

void session_unsaved(struct session *session, const struct reason *reason) {
  struct told told = {.session = session, .reason = reason};
  rt_protected(rt_runner(session->rt), l_unsaved, &told);
}

/* ---- active sessions ----------------------------------------------------------------------------- */

static const char session_functions[][16] = {"on_request",   "on_trace",  "on_state",
                                             "token_source", "on_oddity", "on_unsaved"};
enum { FUNCTION_COUNT = 6 };

static const void *function_key(const struct session *session, int which) {
  const char *const keys[FUNCTION_COUNT] = {&session->request_key, &session->trace_key,
                                            &session->state_key,   &session->source_key,
                                            &session->oddity_key,  &session->unsaved_key};
  return keys[which];
}

/* Active: the registry holds the userdata (on top of L's stack at `index`) and its functions. */
/* Calls that can raise come first: a session that could not be anchored is not active. */
static void activate(lua_State *L, int index, struct session *session) {
  if (session->active)
    return;
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    lua_getiuservalue(L, index, i + 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, function_key(session, i));
  }
  lua_pushvalue(L, index);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &session->self_key);
  session->active = true;
  if (!session->untold_count) /* else it is still held */
    rt_ref(session->rt);
}

/* Setting a key to nil allocates nothing. */
static int l_release(lua_State *L) {
  const struct session *session = lua_touserdata(L, 1);
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, function_key(session, i));
  }
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &session->self_key);
  return 0;
}

static void release(struct session *session) {
  rt_unref(session->rt);
  rt_protected(rt_runner(session->rt), l_release, session);
}

void session_deactivate(struct session *session) {
  if (!session->active)
    return;
  session->active = false;
  if (!session->untold_count) /* else run_telling does it */
    release(session);
}

struct ready_op { /* wait_ready and stop */
  struct op op;
  struct session *session;
  struct ready_op *next;
  struct rt_timer timer;
  bool for_end, timed_out;
};

void session_settle_waiting(struct session *session) {
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

/* ---- options ------------------------------------------------------------------------------------- */

static char *opt_text(lua_State *L, const char *field) {
  char *text = NULL;
  int type = lua_getfield(L, 1, field);
  if (type == LUA_TSTRING) {
    text = strdup(lua_tostring(L, -1));
    if (!text) /* not to be taken for an option that was not given */
      luaL_error(L, "out of memory for option '%s'", field);
  } else if (type != LUA_TNIL) {
    luaL_error(L, "option '%s' must be a string, got a %s", field, lua_typename(L, type));
  }
  lua_pop(L, 1);
  return text;
}

static const double most_number = 1e12;

static double opt_number(lua_State *L, const char *field, double standard, double least) {
  double value = standard;
  int type = lua_getfield(L, 1, field);
  if (type == LUA_TNUMBER)
    value = lua_tonumber(L, -1);
  else if (type != LUA_TNIL)
    luaL_error(L, "option '%s' must be a number, got a %s", field, lua_typename(L, type));
  if (!(value >= least && value < most_number)) {
    char text[2][32];
    snprintf(text[0], sizeof text[0], "%.10g", least);
    snprintf(text[1], sizeof text[1], "%.0f", most_number);
    luaL_error(L, "option '%s' must be at least %s and below %s", field, text[0], text[1]);
  }
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
  headers_read(L, 1, "headers", &config->headers);
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
  headers_free(&config->headers);
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
  session_leave_socket(session);
  rt_timer_stop(session->rt, &session->timer);
  rt_timer_stop(session->rt, &session->retelling);
  rt_dequeue(session->rt, &session->telling);
  rt_dequeue(session->rt, &session->due);
  rt_dequeue(session->rt, &session->pump);
  session->untold_count = 0;
  session->state = STATE_CLOSED;
}

static void room_closing(struct rt *rt, void *state) {
  struct sessions *room = state;
  (void)rt;
  room->granting = INT_MAX / 2; /* nobody's turn comes any more */
  while (room->list.next != &room->list) {
    struct session *session =
        (struct session *)(void *)((char *)room->list.next - offsetof(struct session, link));
    session_deactivate(session);
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
  session_init(session);
  session->retelling.fire = on_retelling;
  session->telling.run = run_telling;
  read_config(L, &session->config);
  check_config(L, &session->config);
  if (session->config.fixed_token) {
    session->token = strdup(session->config.fixed_token);
    if (!session->token)
      return luaL_error(L, "out of memory for the token");
  }
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

bool session_in_trouble(const struct session *session) {
  return session->attempts && session->state != STATE_READY && session->reason.err != ERR_NONE;
}

/* A TIMEOUT that names the trouble behind it, if there is one. */
int session_fail_late(lua_State *L, const struct session *session) {
  const struct reason *reason = &session->reason;
  if (!session_in_trouble(session))
    return fail(L, ERR_TIMEOUT, 0, "there was no connection in time");
  fail(L, ERR_TIMEOUT, 0, "there was no connection in time; the last attempt failed with %s: %s",
       err_name(reason->err), reason->message);
  push_reason(L, reason);
  lua_setfield(L, -2, "cause");
  return 2;
}

static int ready_push(lua_State *L, struct op *op) {
  struct ready_op *wait = (struct ready_op *)op;
  struct session *session = wait->session;
  if (wait->timed_out)
    return session_fail_late(L, session);
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
  lua_pushstring(L, session_state_name(check_session(L)->state));
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
  lua_pushboolean(L, epoch == session->epoch && session->state == STATE_READY && session_ack(session, id));
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
                  session_state_name(session->state));
  return 1;
}

/* core.token_expiry(answer, token) -> UNIX milliseconds */
static int l_token_expiry(lua_State *L) {
  size_t length;
  const char *answer = luaL_checklstring(L, 1, &length), *token = luaL_checkstring(L, 2);
  lua_pushinteger(L, token_expiry((struct slice){answer, length}, token, rt_now(rt_get(L))));
  return 1;
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
  static const luaL_Reg functions[] = {{"session", l_session},
                                       {"transitions", l_session_transitions},
                                       {"transition", l_session_transition},
                                       {"token_expiry", l_token_expiry},
                                       {NULL, NULL}};
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
