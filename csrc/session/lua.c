/*
 * session/lua.c - a session's methods for Lua, and the sessions of a runtime.
 * Lua sees: core.session(options) -> session.
 * Owns: the userdata, which is the session itself.
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include "base/options.h"
#include "session/private.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- the sessions of a runtime ------------------------------------------------------------------- */

static void slot_closing(struct rt *rt, void *state);

static void slot_closed(struct rt *rt, void *state) {
  (void)rt;
  buffer_free(&((struct session_slot *)state)->scratch);
  free(state);
}

static long slot_count(void *state) {
  return ((struct session_slot *)state)->count;
}

static struct session_slot *get_slot(lua_State *L, struct rt *rt) {
  static const struct rt_slot_ops ops = {slot_closing, slot_closed, "sessions", slot_count};
  struct session_slot *slot = rt_slot(rt, SLOT_SESSION);
  if (slot)
    return slot;
  slot = calloc(1, sizeof *slot);
  if (!slot) {
    luaL_error(L, "out of memory"); /* does not return */
    abort();
  }
  rt_list_init(&slot->list);
  slot->last_waiting = &slot->first_waiting;
  rt_set_slot(rt, SLOT_SESSION, slot, &ops);
  return slot;
}

/* Release everything on the loop. */
static void session_detach(struct session *session) {
  if (!session->link.next)
    return;
  assert(session_slot(session)->count > 0); /* active, if the Lua state ends meanwhile */
  session_slot(session)->count--;
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

static void slot_closing(struct rt *rt, void *state) {
  struct session_slot *slot = state;
  (void)rt;
  slot->granting = INT_MAX / 2; /* no session gets its turn any more */
  while (slot->list.next != &slot->list) {
    struct session *session = container_of(slot->list.next, struct session, link);
    session_deactivate(session);
    session_detach(session);
  }
}

static int l_session_gc(lua_State *L) {
  struct session *session = luaL_checkudata(L, 1, SESSION_T);
  session_detach(session);
  token_forget(session);
  free(session->user_id);
  session_config_free(&session->config);
  return 0;
}

static void attach(lua_State *L, struct session *session) {
  struct session_slot *slot;
  if (session->link.next)
    return;
  session->rt = rt_get(L);
  slot = get_slot(L, session->rt);
  rt_list_add(&slot->list, &session->link);
  slot->count++;
}

/* ---- a session ----------------------------------------------------------------------------------- */

/* The user's functions, in the table at 1, become user values of the session at 2. */
static void read_functions(lua_State *L, struct session *session) {
  static const char *const names[FUNCTION_COUNT] = {
      [FN_REQUEST] = "on_request",  [FN_TRACE] = "on_trace",     [FN_STATE] = "on_state",
      [FN_SOURCE] = "token_source", [FN_ANOMALY] = "on_anomaly", [FN_UNSAVED] = "on_unsaved",
  };
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    bool given = options_push(L, 1, "option", names[i], LUA_TFUNCTION) == LUA_TFUNCTION;
    if (i == FN_TRACE)
      session->traced = given;
    if (i == FN_REQUEST)
      session->handling = given;
    if (i == FN_SOURCE)
      session->config.has_source = given;
    lua_setiuservalue(L, 2, i + 1);
  }
}

static int l_session(lua_State *L) {
  struct session *session;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  session = lua_newuserdatauv(L, sizeof *session, FUNCTION_COUNT);
  memset(session, 0, sizeof *session);
  session->rt = rt_get(L);
  luaL_setmetatable(L, SESSION_T);
  machine_init(session);
  read_functions(L, session);
  session_config_read(L, &session->config);
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
  session_activate(L, 1, session);
  session_event(session, EVENT_START);
  return 0;
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
  return session_wait(L, session, false, seconds);
}

static int l_stop(lua_State *L) {
  struct session *session = check_session(L);
  if (!session->active)
    return 0;
  if (session->state != STATE_CLOSING)
    session_event(session, EVENT_STOP);
  if (!session->active)
    return 0;
  return session_wait(L, session, true, -1);
}

static int l_state(lua_State *L) {
  lua_pushstring(L, session_state_names[check_session(L)->state]);
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

/* The payload of a request as it came; only while on_request handles it. */
static int l_payload_text(lua_State *L) {
  struct slice text = check_session(L)->request;
  if (!text.at)
    return 0;
  lua_pushlstring(L, text.at, text.length);
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
                  session_state_names[session->state]);
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
                                     {"payload_text", l_payload_text},
                                     {"damaged", l_damaged},
                                     {"drop", l_drop},
                                     {"stats", l_session_stats},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__gc", l_session_gc}, {"__tostring", l_session_tostring}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"session", l_session},
                                       {"transitions", l_session_transitions},
                                       {"transition", l_session_transition},
                                       {"token_expiry", l_token_expiry},
                                       {NULL, NULL}};
  rt_new_type(L, SESSION_T, methods, metamethods);
  luaL_setfuncs(L, functions, 0);
}
