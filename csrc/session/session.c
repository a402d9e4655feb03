/*
 * session/session.c - the ground of a session, used by every other file: its calls of Lua, and its
 * connection. Owns: the values in the registry for an active session: the userdata, which is the session
 * itself, so that Lua cannot collect it, and the user's functions. Calls none of the other files. The state
 * machine is above the files that report events to it; hence the pointer session->event.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include <assert.h>
#include <string.h>

enum { ANOMALY_SHOWN = 120 /* bytes of a frame */ };

const char *const session_state_names[STATE_COUNT] = {
    "idle", "token", "connecting", "authorizing", "ready", "backoff", "closing", "closed", "failed"};

struct session_slot *session_slot(const struct session *session) {
  return rt_slot(session->rt, SLOT_SESSION);
}

void session_event(struct session *session, enum event event) {
  assert(session->active && session->link.next);
  session->event(session, event);
}

void session_reason(struct session *session, const struct reason *reason) {
  session->reason = *reason;
  session->has_reason = true;
}

bool session_in_trouble(const struct session *session) {
  return session->attempts && session->state != STATE_READY && session->reason.err != ERR_NONE;
}

/* ---- calling Lua --------------------------------------------------------------------------------- */

bool session_push_function(lua_State *L, const struct session *session, enum session_function which) {
  luaL_checkstack(L, 8, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &session->function_keys[which]) == LUA_TFUNCTION)
    return true;
  lua_pop(L, 1);
  return false;
}

struct told { /* arguments of one of the user's functions */
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
  if (!session_push_function(L, told->session, FN_STATE))
    return 0;
  lua_pushstring(L, session_state_names[change->now]);
  lua_pushstring(L, session_state_names[change->old]);
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

/* Without the report of its end a bot would wait for ever: when memory is lacking, report it a little later.
 */
void session_tell_state(struct session *session, enum state old) {
  struct change change = {.old = old, .now = session->state, .pause = session->pause};
  if (session->has_reason)
    change.reason = session->reason;
  if (!session->untold_count && tell_state(session, &change))
    return;
  if (!session->untold_count)
    rt_timer_start(session->rt, &session->retelling, RT_AGAIN);
  assert(session->untold_count <= MOST_UNTOLD);
  if (session->untold_count == MOST_UNTOLD)
    change.old = session->untold[--session->untold_count].old;
  session->untold[session->untold_count++] = change;
}

static void on_retelling(struct rt_timer *timer) {
  struct session *session = container_of(timer, struct session, retelling);
  rt_enqueue(session->rt, &session->telling);
}

static void release(struct session *session);

static void run_telling(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct session *session = container_of(job, struct session, telling);
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
  if (!session_push_function(L, told->session, FN_TRACE))
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

static int l_anomaly(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  if (!session_push_function(L, told->session, FN_ANOMALY))
    return 0;
  lua_pushstring(L, told->kind);
  lua_pushinteger(L, (lua_Integer)told->count);
  lua_pushlstring(L, told->text.at, told->text.length);
  rt_call(told->session->rt, L, 3, "on_anomaly");
  return 0;
}

void session_anomaly(struct session *session, uint64_t *counter, const char *kind, const char *text,
                     size_t length) {
  struct told told = {.session = session, .kind = kind, .count = ++*counter};
  told.text = (struct slice){text, length < ANOMALY_SHOWN ? length : ANOMALY_SHOWN};
  rt_protected(rt_runner(session->rt), l_anomaly, &told);
}

static int l_unsaved(lua_State *L) {
  const struct told *told = lua_touserdata(L, 1);
  if (!session_push_function(L, told->session, FN_UNSAVED))
    return 0;
  push_reason(L, told->reason);
  rt_call(told->session->rt, L, 1, "on_unsaved");
  return 0;
}

void session_unsaved(struct session *session, const struct reason *reason) {
  struct told told = {.session = session, .reason = reason};
  rt_protected(rt_runner(session->rt), l_unsaved, &told);
}

void session_init(struct session *session, void (*event)(struct session *session, enum event event)) {
  session->event = event;
  session->retelling.fire = on_retelling;
  session->telling.run = run_telling;
}

/* ---- active sessions ----------------------------------------------------------------------------- */

/* Calls that can raise come first: a session that could not be anchored is not active. */
void session_activate(lua_State *L, int index, struct session *session) {
  assert(!session->active && session->link.next);
  for (int i = 0; i < FUNCTION_COUNT; i++) {
    lua_getiuservalue(L, index, i + 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &session->function_keys[i]);
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
    lua_rawsetp(L, LUA_REGISTRYINDEX, &session->function_keys[i]);
  }
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &session->self_key);
  return 0;
}

static void release(struct session *session) {
  assert(!session->active && !session->untold_count);
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

/* ---- the connection ------------------------------------------------------------------------------ */

bool session_send(struct session *session, const char *frame, size_t length) {
  if (!session->socket || !wire_send(socket_wire(session->socket), WIRE_FIN | WIRE_TEXT, frame, length))
    return false;
  session_trace(session, "out", frame, length);
  return true;
}

bool session_ack(struct session *session, lua_Integer id) {
  struct buffer *frame = &session_slot(session)->scratch;
  frame->length = 0;
  return buffer_puts(frame, "{\"type\":2,\"id\":") && buffer_number(frame, (uint32_t)id) &&
         buffer_append(frame, "}", 1) && session_send(session, frame->data, frame->length);
}

/* The connection is over, or this session is done with it. */
void session_leave_socket(struct session *session) {
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
