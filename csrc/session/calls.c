/*
 * session/calls.c - requests in flight: id, deadline, waiter, window (protocol 4.2, 4.3).
 * Lua sees: session:request(method, payload, timeout, read).
 * Owns: the queue and the table of calls; a call itself is an op on its waiter's stack.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- queue and table ----------------------------------------------------------------------------- */

static void queue_insert(struct calls *calls, struct call *call, struct call *before) {
  assert(call->stage == CALL_OVER);
  call->stage = CALL_QUEUED;
  call->next = before;
  call->prev = before ? before->prev : calls->last;
  *(call->prev ? &call->prev->next : &calls->first) = call;
  *(before ? &before->prev : &calls->last) = call;
  calls->queued++;
}

static void queue_remove(struct calls *calls, struct call *call) {
  assert(call->stage == CALL_QUEUED && calls->queued > 0);
  *(call->prev ? &call->prev->next : &calls->first) = call->next;
  *(call->next ? &call->next->prev : &calls->last) = call->prev;
  calls->queued--;
  call->stage = CALL_OVER;
}

static struct call **bucket(struct calls *calls, uint32_t id) {
  return &calls->buckets[id % CALL_BUCKETS];
}

static struct call *table_find(const struct calls *calls, uint32_t id) {
  struct call *call = calls->buckets[id % CALL_BUCKETS];
  while (call && call->id != id)
    call = call->next;
  return call;
}

static void table_insert(struct calls *calls, struct call *call) {
  struct call **at = bucket(calls, call->id);
  assert(call->stage == CALL_OVER && !table_find(calls, call->id));
  call->stage = CALL_SENT;
  call->prev = NULL;
  call->next = *at;
  if (*at)
    (*at)->prev = call;
  *at = call;
  calls->in_flight++;
}

static void table_remove(struct calls *calls, struct call *call) {
  assert(call->stage == CALL_SENT && calls->in_flight > 0);
  *(call->prev ? &call->prev->next : bucket(calls, call->id)) = call->next;
  if (call->next)
    call->next->prev = call->prev;
  calls->in_flight--;
  call->stage = CALL_OVER;
}

/* Take a call out of its queue or table; returns the outcome of its request so far. */
static enum outcome take_out(struct call *call) {
  struct calls *calls = &call->session->calls;
  enum outcome outcome = call->stage == CALL_QUEUED ? OUTCOME_NOT_SENT : OUTCOME_UNKNOWN;
  rt_timer_stop(call->op.rt, &call->timer);
  if (call->stage == CALL_QUEUED)
    queue_remove(calls, call);
  if (call->stage == CALL_SENT)
    table_remove(calls, call);
  buffer_free(&call->payload);
  return outcome;
}

/* ---- settling ------------------------------------------------------------------------------------ */

static void call_fail(struct call *call, const struct reason *reason) {
  call->outcome = take_out(call);
  call->reason = *reason;
  op_settle(&call->op);
}

/* The refusal in the answer on top. */
static int push_refusal(lua_State *L, const struct call *call, int code) {
  const char *description;
  lua_getfield(L, -1, "errorDescription");
  description = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pushnil(L);
  push_server_error(L, code, call->method, description);
  return 2;
}

static int push_damaged(lua_State *L, const struct call *call, const char *why) {
  fail(L, ERR_PROTOCOL, 0, "the answer to %s is damaged: %s", call->method, why);
  set_outcome(L, OUTCOME_UNKNOWN, call->method);
  return 2;
}

/* Push the value of the answer's payload; NULL and nothing pushed: it has none. false: it is no JSON, and why
 * is pushed. */
static bool push_answer(lua_State *L, const struct call *call) {
  struct json_complaint complaint;
  if (call->decoder) {
    lua_pushvalue(call->decoder, call->decoded);
    lua_xmove(call->decoder, L, 1);
  } else if (!call->answer.at) {
    lua_pushnil(L);
  } else if (!json_read(L, call->answer, &complaint)) {
    json_push_complaint(L, &complaint);
    return false;
  }
  if (lua_isnil(L, -1)) { /* missing, or null */
    lua_pop(L, 1);
    lua_newtable(L);
  }
  return true;
}

/* errorCode of the answer on top, without its fraction; what is beyond an int becomes the nearest. 0: none.
 */
static int error_code(lua_State *L) {
  lua_Number code = 0;
  if (lua_getfield(L, -1, "errorCode") == LUA_TNUMBER)
    code = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return code >= INT_MAX ? INT_MAX : code <= INT_MIN ? INT_MIN : (int)code;
}

static int push_results(lua_State *L, struct call *call) {
  int code;
  luaL_checkstack(L, 8, NULL);
  if (call->reason.err != ERR_NONE) {
    int results = fail_reason(L, &call->reason);
    set_outcome(L, call->outcome, call->method);
    return results;
  }
  if (!push_answer(L, call))
    return push_damaged(L, call, lua_tostring(L, -1));
  if (!lua_istable(L, -1))
    return push_damaged(L, call, "its payload is no object");
  code = error_code(L);
  return code ? push_refusal(L, call, code) : 1;
}

static int l_results(lua_State *L) {
  return push_results(L, lua_touserdata(L, 1));
}

/* An answer that was kept is freed even if the results cannot be pushed. */
static int call_push(lua_State *L, struct op *op) {
  struct call *call = (struct call *)op;
  int top = lua_gettop(L), status;
  if (!call->kept.data)
    return push_results(L, call);
  lua_pushcfunction(L, l_results);
  lua_pushlightuserdata(L, call);
  status = lua_pcall(L, 1, LUA_MULTRET, 0);
  buffer_free(&call->kept);
  return status == LUA_OK ? lua_gettop(L) - top : lua_error(L);
}

/* The caller has gone, but an answer may still come. */
static void leave_in_flight(struct call *call) {
  struct session *session = call->session;
  struct calls *calls = &session->calls;
  if (call->stage != CALL_SENT)
    return;
  calls->stale[calls->stale_at++ % STALE_IDS] = call->id;
  rt_enqueue(session->rt, &session->pump); /* the window has room */
}

static void call_cancel(struct op *op) {
  struct call *call = (struct call *)op;
  leave_in_flight(call);
  take_out(call);
}

static void on_deadline(struct rt_timer *timer) {
  struct call *call = container_of(timer, struct call, timer);
  struct reason reason;
  leave_in_flight(call);
  if (call->stage == CALL_SENT)
    reason_set(&reason, ERR_TIMEOUT, 0, "no response to %s in time", call->method);
  else
    reason_set(&reason, ERR_TIMEOUT, 0, "%s could not be sent in time%s%.110s", call->method,
               session_in_trouble(call->session) ? "; the last attempt to connect failed: " : "",
               session_in_trouble(call->session) ? call->session->reason.message : "");
  call_fail(call, &reason);
}

/* ---- sending ------------------------------------------------------------------------------------- */

/* 1, 2, 3, ... and, after 2^32-1, from 1 again past the ids still in flight. */
static uint32_t next_id(struct calls *calls) {
  do {
    if (++calls->next_id == 0)
      calls->next_id = 1;
  } while (table_find(calls, calls->next_id));
  return calls->next_id;
}

static bool send_call(struct call *call, const char *payload, size_t length) {
  struct session *session = call->session;
  struct buffer *frame = &session_slot(session)->scratch;
  uint32_t last = session->calls.next_id;
  call->id = next_id(&session->calls);
  frame->length = 0;
  if (buffer_puts(frame, "{\"type\":1,\"id\":") && buffer_number(frame, call->id) &&
      buffer_puts(frame, ",\"method\":\"") && buffer_puts(frame, call->method) &&
      buffer_puts(frame, "\",\"payload\":") && buffer_append(frame, payload, length) &&
      buffer_append(frame, "}", 1) && session_send(session, frame->data, frame->length))
    return true;
  session->calls.next_id = last; /* the id was not used */
  return false;
}

void calls_pump(struct session *session) {
  struct calls *calls = &session->calls;
  struct call *call;
  while (session->state == STATE_READY && calls->in_flight < session->config.window &&
         (call = calls->first)) {
    if (!send_call(call, call->payload.data, call->payload.length))
      return; /* the wire calls us when it has space */
    queue_remove(calls, call);
    table_insert(calls, call);
    if (!call->read)
      buffer_free(&call->payload);
  }
}

/* True for the id of a call whose caller has gone; only once for each. */
static bool was_stale(struct calls *calls, uint32_t id) {
  for (int i = 0; id && i < STALE_IDS; i++) { /* 0 marks a free place, and is no id of ours */
    if (calls->stale[i] != id)
      continue;
    calls->stale[i] = 0;
    return true;
  }
  return false;
}

static void count_stranger(struct session *session, uint32_t id) {
  struct session_counters *count = &session->count;
  char text[32];
  size_t length = (size_t)snprintf(text, sizeof text, "id %u", (unsigned)id);
  if (was_stale(&session->calls, id))
    session_anomaly(session, &count->stale, "late response", text, length);
  else if (id && id <= session->calls.next_id)
    session_anomaly(session, &count->duplicate, "second response", text, length);
  else
    session_anomaly(session, &count->unexpected, "response to nobody", text, length);
}

bool calls_want(const struct session *session, uint32_t id) {
  const struct call *call = table_find(&session->calls, id);
  return call && call->op.co; /* the main thread decodes the text */
}

void calls_answer(struct session *session, lua_State *L, const struct frame *frame) {
  struct call *call = table_find(&session->calls, frame->id);
  if (!call) {
    count_stranger(session, frame->id);
    return;
  }
  take_out(call);
  call->answer = frame->payload;
  if (frame->decoded) {
    call->decoder = L;
    call->decoded = lua_gettop(L);
  }
  if (!call->op.co && frame->payload.at) { /* the main thread looks later: the frame is gone by then */
    call->decoder = NULL;
    if (buffer_append(&call->kept, frame->payload.at, frame->payload.length)) {
      call->answer = (struct slice){call->kept.data, call->kept.length};
    } else {
      call->outcome = OUTCOME_UNKNOWN;
      reason_set(&call->reason, ERR_NOMEM, 0, "no memory for the response to %s", call->method);
    }
  }
  op_settle_now(session->rt, L, &call->op);
  calls_pump(session);
}

/* ---- the end of a connection --------------------------------------------------------------------- */

/* Every request in flight settles once; a read goes back to the head of the queue instead. */
void calls_lost(struct session *session) {
  struct calls *calls = &session->calls;
  struct reason reason;
  reason_set(&reason, ERR_DISCONNECTED, 0, "the connection was lost before the response came");
  for (int i = 0; i < CALL_BUCKETS; i++) {
    while (calls->buckets[i]) {
      struct call *call = calls->buckets[i];
      if (call->read) {
        table_remove(calls, call);
        queue_insert(calls, call, calls->first);
      } else {
        call_fail(call, &reason);
      }
    }
  }
  assert(!calls->in_flight);
  memset(calls->stale, 0, sizeof calls->stale);
}

void calls_fail(struct session *session, const struct reason *reason) {
  struct calls *calls = &session->calls;
  while (calls->first)
    call_fail(calls->first, reason);
  for (int i = 0; i < CALL_BUCKETS; i++)
    while (calls->buckets[i])
      call_fail(calls->buckets[i], reason);
  assert(!calls->in_flight && !calls->queued);
}

/* ---- Lua ----------------------------------------------------------------------------------------- */

static int refuse(lua_State *L, enum err err, const char *method, const char *message) {
  lua_pushnil(L);
  push_error(L, err, 0, message);
  set_outcome(L, OUTCOME_NOT_SENT, method);
  return 2;
}

static const char *check_method(lua_State *L, int index) {
  size_t length;
  const char *method = luaL_checklstring(L, index, &length);
  luaL_argcheck(L, length > 0 && length < sizeof((struct call *)NULL)->method, index,
                "1 to 63 characters expected");
  for (size_t i = 0; i < length; i++)
    luaL_argcheck(L, method[i] > ' ' && method[i] < 127 && method[i] != '"' && method[i] != '\\', index,
                  "a method name is ASCII without spaces and quotes");
  return method;
}

static bool can_send_now(const struct session *session) {
  const struct calls *calls = &session->calls;
  return session->state == STATE_READY && !calls->first && calls->in_flight < session->config.window;
}

int l_session_request(lua_State *L) {
  struct session *session = luaL_checkudata(L, 1, SESSION_T);
  const char *method = check_method(L, 2);
  size_t length;
  const char *payload = luaL_checklstring(L, 3, &length);
  double timeout = luaL_optnumber(L, 4, session->config.call_timeout);
  bool read = lua_toboolean(L, 5);
  struct call *call;
  if (session->state == STATE_FAILED) {
    fail_reason(L, &session->reason);
    set_outcome(L, OUTCOME_NOT_SENT, method);
    return 2;
  }
  if (!session->active || session->state == STATE_CLOSING)
    return refuse(L, ERR_CLOSED, method, "the session is not running");
  if (length + 200 > session->config.limits.max_unsent)
    return refuse(L, ERR_LIMIT, method, "the request is larger than the option max_unsent allows");
  if (!can_send_now(session) && session->calls.queued >= session->config.queue)
    return refuse(L, ERR_LIMIT, method, "too many requests are waiting to be sent (option queue)");
  call = op_new(L, sizeof *call, NULL, "a response");
  call->op.push = call_push;
  call->op.cancel = call_cancel;
  call->session = session;
  call->stage = CALL_OVER; /* in no queue yet */
  call->timer.fire = on_deadline;
  call->read = read;
  memcpy(call->method, method, strlen(method) + 1); /* check_method has measured it */
  session->count.calls++;
  if (can_send_now(session) && !read && send_call(call, payload, length)) {
    table_insert(&session->calls, call);
  } else {
    if (!buffer_append(&call->payload, payload, length)) {
      op_drop(L, &call->op);
      return refuse(L, ERR_NOMEM, method, "no memory for the request");
    }
    queue_insert(&session->calls, call, NULL);
    calls_pump(session);
  }
  rt_timer_start(session->rt, &call->timer, timeout);
  return op_wait(L, &call->op);
}
