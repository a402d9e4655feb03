/*
 * loop/pause.c - waiting without another party: for the clock, or for another coroutine.
 * Lua sees: sleep, timer, waiter.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include "base/errors.h"

#include <string.h>

#define TIMER_T "trueconf.Timer"
#define WAITER_T "trueconf.Waiter"
enum { WAKE_VALUES = 8 };

/* ---- sleep -------------------------------------------------------------------------------------- */

struct sleep_op {
  struct op op;
  struct rt_timer timer;
};

static void sleep_over(struct rt_timer *timer) {
  struct sleep_op *sleep = container_of(timer, struct sleep_op, timer);
  rt_unref(sleep->op.rt);
  op_settle(&sleep->op);
}

static void sleep_cancel(struct op *op) {
  rt_timer_stop(op->rt, &((struct sleep_op *)op)->timer);
  rt_unref(op->rt);
}

static int l_sleep(lua_State *L) {
  double seconds = rt_check_seconds(L, 1);
  struct sleep_op *sleep = op_new(L, sizeof *sleep, NULL, "the end of a sleep");
  sleep->op.push = rt_push_nothing;
  sleep->op.cancel = sleep_cancel;
  sleep->timer.fire = sleep_over;
  rt_ref(sleep->op.rt);
  rt_timer_start(sleep->op.rt, &sleep->timer, seconds);
  return op_wait(L, &sleep->op);
}

/* ---- waiter ------------------------------------------------------------------------------------- */

struct waiter {
  struct wait_op *op; /* of the waiting coroutine, or NULL */
  int values;         /* stored as user values; -1: not woken */
};

struct wait_op {
  struct op op;
  struct rt_timer timer;
  struct waiter *waiter; /* the owner that the op holds */
  bool timed;
};

/* The op settles, or is cancelled: leave the waiter to the next one. */
static void wait_leave(struct wait_op *wait) {
  wait->waiter->op = NULL;
  if (!wait->timed)
    return;
  rt_timer_stop(wait->op.rt, &wait->timer);
  rt_unref(wait->op.rt);
}

static void wait_cancel(struct op *op) {
  wait_leave((struct wait_op *)op);
}

static void wait_timed_out(struct rt_timer *timer) {
  struct wait_op *wait = container_of(timer, struct wait_op, timer);
  wait_leave(wait);
  op_settle(&wait->op);
}

/* The waiter is at 1. */
static int push_woken(lua_State *L, const struct waiter *waiter) {
  luaL_checkstack(L, WAKE_VALUES, NULL);
  for (int i = 1; i <= waiter->values; i++)
    lua_getiuservalue(L, 1, i);
  return waiter->values;
}

static int wait_push(lua_State *L, struct op *op) {
  const struct waiter *waiter = ((struct wait_op *)op)->waiter;
  if (waiter->values < 0)
    return fail(L, ERR_TIMEOUT, 0, "nothing came within the time given");
  return push_woken(L, waiter);
}

static void wait_start_timer(struct wait_op *wait, double seconds) {
  wait->timed = true;
  wait->timer.fire = wait_timed_out;
  rt_ref(wait->op.rt);
  rt_timer_start(wait->op.rt, &wait->timer, seconds);
}

static int l_waiter_wait(lua_State *L) {
  struct waiter *waiter = luaL_checkudata(L, 1, WAITER_T);
  double seconds = luaL_opt(L, rt_check_seconds, 2, -1);
  struct wait_op *wait;
  if (waiter->values >= 0)
    return push_woken(L, waiter);
  if (waiter->op)
    return luaL_error(L, "another coroutine waits here already");
  wait = op_new(L, sizeof *wait, NULL, "a waiter to be woken");
  wait->op.push = wait_push;
  wait->op.cancel = wait_cancel;
  wait->waiter = waiter;
  waiter->op = wait;
  if (seconds >= 0)
    wait_start_timer(wait, seconds);
  return op_wait(L, &wait->op);
}

static int l_waiter_wake(lua_State *L) {
  struct waiter *waiter = luaL_checkudata(L, 1, WAITER_T);
  struct wait_op *wait = waiter->op;
  int values = lua_gettop(L) - 1;
  luaL_argcheck(L, values <= WAKE_VALUES, WAKE_VALUES + 2, "at most 8 values");
  if (waiter->values < 0) {
    for (int i = values; i >= 1; i--)
      lua_setiuservalue(L, 1, i);
    waiter->values = values;
    if (wait) {
      wait_leave(wait);
      op_settle(&wait->op);
    }
    lua_pushboolean(L, 1);
  } else {
    lua_pushboolean(L, 0);
  }
  return 1;
}

static int l_waiter(lua_State *L) {
  struct waiter *waiter = lua_newuserdatauv(L, sizeof *waiter, WAKE_VALUES);
  waiter->op = NULL;
  waiter->values = -1;
  luaL_setmetatable(L, WAITER_T);
  return 1;
}

/* ---- timer -------------------------------------------------------------------------------------- */

struct timer { /* anchored until it has fired or is cancelled; its function is its user value */
  struct rt *rt;
  struct rt_timer timer;
  struct rt_job job;
};

static void timer_fired(struct rt_timer *timer) {
  struct timer *t = container_of(timer, struct timer, timer);
  rt_enqueue(t->rt, &t->job);
}

static int l_fire(lua_State *L) {
  struct timer *t = lua_touserdata(L, 1);
  struct rt *rt = t->rt;
  lua_State *co;
  rt_anchored(L, t);
  lua_getiuservalue(L, -1, 1);
  co = rt_coroutine(L, 0);
  rt_unref(rt);
  rt_unanchor(L, t);
  lua_pop(L, 1);
  rt_begin_coroutine(rt, L, co, 0); /* now: a function that was cancelled must not run */
  return 0;
}

/* A coroutine that could not begin for lack of memory begins a little later. */
static void run_timer(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct timer *t = container_of(job, struct timer, job);
  if (!rt_protected(L, l_fire, t))
    rt_timer_start(rt, &t->timer, RT_AGAIN);
}

static int l_timer(lua_State *L) {
  double seconds = rt_check_seconds(L, 1);
  struct rt *rt = rt_get(L);
  struct timer *t;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  t = lua_newuserdatauv(L, sizeof *t, 1);
  memset(t, 0, sizeof *t);
  t->rt = rt;
  t->timer.fire = timer_fired;
  t->job.run = run_timer;
  luaL_setmetatable(L, TIMER_T);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  rt_anchor(L, t, -1);
  rt_ref(rt);
  rt_timer_start(rt, &t->timer, seconds);
  return 1;
}

static int l_timer_cancel(lua_State *L) {
  struct timer *t = luaL_checkudata(L, 1, TIMER_T);
  if (!t->timer.place && !t->job.queued)
    return 0;
  rt_timer_stop(t->rt, &t->timer);
  rt_dequeue(t->rt, &t->job);
  rt_unref(t->rt);
  rt_unanchor(L, t);
  return 0;
}

void pause_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"sleep", l_sleep}, {"timer", l_timer}, {"waiter", l_waiter}, {NULL, NULL}};
  static const luaL_Reg timer_methods[] = {{"cancel", l_timer_cancel}, {NULL, NULL}};
  static const luaL_Reg waiter_methods[] = {{"wait", l_waiter_wait}, {"wake", l_waiter_wake}, {NULL, NULL}};
  rt_new_type(L, TIMER_T, timer_methods, NULL);
  rt_new_type(L, WAITER_T, waiter_methods, NULL);
  luaL_setfuncs(L, functions, 0);
}
