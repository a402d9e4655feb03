/*
 * session/waiting.c - waits for a session to be ready, or for its end.
 * Owns: a list of ops, each on the stack of the coroutine that waits.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include <assert.h>

struct ready_op { /* of wait_ready and of stop */
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

static void leave(struct ready_op *wait) {
  struct ready_op **at = &wait->session->waiting;
  while (*at && *at != wait)
    at = &(*at)->next;
  assert(*at);
  *at = wait->next;
}

static void on_late(struct rt_timer *timer) {
  struct ready_op *wait = container_of(timer, struct ready_op, timer);
  leave(wait);
  wait->timed_out = true;
  op_settle(&wait->op);
}

static void ready_cancel(struct op *op) {
  struct ready_op *wait = (struct ready_op *)op;
  rt_timer_stop(op->rt, &wait->timer);
  leave(wait);
}

/* A TIMEOUT that names the trouble behind it, if there is one. */
static int fail_late(lua_State *L, const struct session *session) {
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
    return fail_late(L, session);
  if (!wait->for_end && session->state == STATE_FAILED)
    return fail_reason(L, &session->reason);
  if (!wait->for_end && session->state == STATE_CLOSED)
    return fail(L, ERR_CLOSED, 0, "the session was closed");
  lua_pushboolean(L, 1);
  return 1;
}

int session_wait(lua_State *L, struct session *session, bool for_end, double seconds) {
  struct ready_op *wait =
      op_new(L, sizeof *wait, NULL, for_end ? "the session to close" : "the session to be ready");
  wait->op.push = ready_push;
  wait->op.cancel = ready_cancel;
  wait->session = session;
  wait->for_end = for_end;
  wait->timer.fire = on_late;
  wait->next = session->waiting;
  session->waiting = wait;
  if (seconds >= 0)
    rt_timer_start(session->rt, &wait->timer, seconds);
  return op_wait(L, &wait->op);
}
