/*
 * loop/virtual_time.c - time that moves only on command, and only when nothing else happens.
 * Lua sees: virtual_time, advance.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include <time.h>

#define DEFAULT_START INT64_C(1767225600000) /* 2026-01-01, UTC */
#define LATEST_START (INT64_C(1) << 53)      /* what a float can tell; as a time before 1970, the earliest */
enum {
  QUIET_TURNS = 3, /* turns without any event before virtual time moves */
  STALL_MS = 200,  /* real time after which virtual time no longer waits for a silent party */
};

/* True if nothing has happened for some turns. A party that owes an answer is waited for, but only for a
 * moment of real time: it may be silent on purpose. */
static bool is_quiet(struct rt *rt) {
  static const struct timespec moment = {0, 100000};
  uint64_t real = uv_hrtime();
  if (rt->activity != rt->virtual.seen || rt_has_input(rt)) {
    rt->virtual.seen = rt->activity;
    rt->virtual.seen_at = real;
    rt->virtual.quiet = 0;
    return false;
  }
  if (rt->at_work > 0 || (rt->underway > 0 && real - rt->virtual.seen_at < STALL_MS * NS_PER_MS))
    rt->virtual.quiet = 0;
  if (++rt->virtual.quiet >= QUIET_TURNS)
    return true;
  nanosleep(&moment, NULL); /* gives the kernel time to carry what was sent on loopback */
  return false;
}

void rt_advance(struct rt *rt) {
  struct op *op = rt->virtual.advancing;
  if (!is_quiet(rt))
    return;
  rt->virtual.quiet = 0;
  if (rt->timers && rt->heap[1]->due <= rt->virtual.target) {
    if (rt->heap[1]->due > rt->virtual.now)
      rt->virtual.now = rt->heap[1]->due;
    if (rt->virtual.to_next)
      rt->virtual.target = rt->virtual.now;
    rt_fire_due(rt);
    return;
  }
  rt->virtual.now = rt->virtual.target;
  rt->virtual.advancing = NULL;
  op_settle(op);
}

static void advance_cancel(struct op *op) {
  op->rt->virtual.advancing = NULL;
}

/* ---- Lua ---------------------------------------------------------------------------------------- */

static int l_advance(lua_State *L) {
  uint64_t step = (uint64_t)(rt_check_seconds(L, 1) * NS_PER_S + 0.5);
  bool to_next = lua_toboolean(L, 2);
  struct rt *rt = rt_get(L);
  struct op *op;
  if (!rt->virtual.on)
    return luaL_error(L, "advance needs virtual time: call virtual_time(true) first");
  if (rt->virtual.advancing)
    return luaL_error(L, "time is being advanced by another coroutine");
  luaL_argcheck(L, (double)rt->virtual.now + (double)step < FOREVER, 1, "virtual time ends after 285 years");
  op = op_new(L, sizeof *op, NULL, "virtual time");
  op->push = rt_push_nothing;
  op->cancel = advance_cancel;
  rt->virtual.target = rt->virtual.now + step;
  rt->virtual.to_next = to_next;
  rt->virtual.advancing = op;
  rt->virtual.quiet = 0;
  rt_wake(rt);
  return op_wait(L, op);
}

static int l_virtual_time(lua_State *L) {
  bool on = lua_toboolean(L, 1);
  int64_t start = luaL_optinteger(L, 2, DEFAULT_START);
  uint64_t seed = (uint64_t)luaL_optinteger(L, 3, 1);
  struct rt *rt = rt_get(L);
  luaL_argcheck(L, start >= -LATEST_START && start <= LATEST_START, 2, "UNIX milliseconds expected");
  if (rt->timers || rt->virtual.advancing)
    return luaL_error(L, "the clock can be replaced only while no timer runs");
  rt->virtual.on = on;
  rt->virtual.now = NS_PER_MS;
  rt->virtual.start = start - 1; /* `now` begins with a millisecond, for 0 is no time */
  rt_seed(rt, seed);
  return 0;
}

void virtual_time_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"advance", l_advance}, {"virtual_time", l_virtual_time}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
