/*
 * loop/clock.c - the clock, the timers on it, and virtual time.
 * Lua sees: now, monotonic, virtual_time, advance.
 * Owns: the heap of timers; the timers themselves are parts of their owners, who stop them before they end.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define FOREVER 9e18                         /* nanoseconds: 285 years */
#define DEFAULT_START INT64_C(1767225600000) /* 2026-01-01, UTC */
#define LATEST_START (INT64_C(1) << 53)      /* what a float can tell; as a time before 1970, the earliest */
enum {
  FIRST_CAPACITY = 64,
  QUIET_TURNS = 3, /* turns without any event before virtual time moves */
  STALL_MS = 200,  /* real time after which virtual time no longer waits for a silent party */
};

uint64_t rt_monotonic(struct rt *rt) {
  return rt->virtual.on ? rt->virtual.now : uv_hrtime();
}

int64_t rt_now(struct rt *rt) {
  struct timespec now;
  if (rt->virtual.on)
    return rt->virtual.start + (int64_t)(rt->virtual.now / NS_PER_MS);
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the heap ----------------------------------------------------------------------------------- */

/* Timers due at the same time fire in the order they were started in. */
static bool earlier(const struct rt_timer *a, const struct rt_timer *b) {
  return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_put(struct rt *rt, size_t place, struct rt_timer *timer) {
  rt->heap[place] = timer;
  timer->place = place;
}

static void heap_up(struct rt *rt, struct rt_timer *timer) {
  size_t place = timer->place;
  for (; place > 1 && earlier(timer, rt->heap[place / 2]); place /= 2)
    heap_put(rt, place, rt->heap[place / 2]);
  heap_put(rt, place, timer);
}

static void heap_down(struct rt *rt, struct rt_timer *timer) {
  size_t place = timer->place, child;
  for (; (child = place * 2) <= rt->timers; place = child) {
    if (child < rt->timers && earlier(rt->heap[child + 1], rt->heap[child]))
      child++;
    if (!earlier(rt->heap[child], timer))
      break;
    heap_put(rt, place, rt->heap[child]);
  }
  heap_put(rt, place, timer);
}

static bool heap_grow(struct rt *rt) {
  size_t capacity = rt->heap_capacity ? rt->heap_capacity * 2 : FIRST_CAPACITY;
  struct rt_timer **grown;
  if (rt->timers + 1 < rt->heap_capacity)
    return true;
  grown = realloc(rt->heap, capacity * sizeof *grown);
  if (!grown)
    return false;
  rt->heap = grown;
  rt->heap_capacity = capacity;
  return true;
}

/* ---- timers ------------------------------------------------------------------------------------- */

static void fire_due(struct rt *rt) {
  uint64_t now = rt_monotonic(rt);
  while (rt->timers && rt->heap[1]->due <= now) {
    struct rt_timer *timer = rt->heap[1];
    rt_timer_stop(rt, timer);
    rt->activity++;
    timer->fire(timer);
  }
}

static void on_timer(uv_timer_t *handle) {
  struct rt *rt = handle->data;
  rt->armed = 0;
  fire_due(rt);
  rt_arm(rt);
}

/* A timer that was stopped leaves the uv timer as it is: it fires for nothing and is set again. */
void rt_arm(struct rt *rt) {
  uint64_t now, due;
  if (!rt->timers || rt->virtual.on || !rt->open || rt->closing)
    return;
  due = rt->heap[1]->due;
  if (rt->armed && rt->armed <= due)
    return;
  now = uv_hrtime();
  rt->armed = due;
  uv_update_time(&rt->loop);
  uv_timer_start(&rt->timer, on_timer, due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

void rt_timer_stop(struct rt *rt, struct rt_timer *timer) {
  struct rt_timer *last;
  if (!timer->place)
    return;
  last = rt->heap[rt->timers--];
  if (last != timer) {
    heap_put(rt, timer->place, last);
    heap_up(rt, last);
    heap_down(rt, last);
  }
  timer->place = 0;
}

/* The rest of a nanosecond is one: or who waits for it by timers again and again would stop virtual time. */
static double whole_ns(double seconds) {
  double ns = seconds * NS_PER_S;
  return ns > 0 && ns < 1 ? 1 : ns;
}

void rt_timer_start(struct rt *rt, struct rt_timer *timer, double seconds) {
  double ns = seconds > 0 ? whole_ns(seconds) : 0;
  rt_timer_stop(rt, timer);
  if (!heap_grow(rt)) {
    timer->fire(timer);
    return;
  }
  timer->due = rt_monotonic(rt) + (uint64_t)(ns < FOREVER ? ns : FOREVER);
  timer->order = ++rt->starts;
  timer->place = ++rt->timers;
  heap_up(rt, timer);
  rt_arm(rt);
}

void rt_drop_timers(struct rt *rt) {
  for (; rt->timers; rt->timers--)
    rt->heap[rt->timers]->place = 0; /* its owner may stop it, or start it on another loop */
  free(rt->heap);
  rt->heap = NULL;
  rt->heap_capacity = 0;
}

/* ---- virtual time ------------------------------------------------------------------------------- */

/* Will the next poll bring something? Of a long message only the last piece is an event. */
static bool has_input(struct rt *rt) {
  struct pollfd loop = {uv_backend_fd(&rt->loop), POLLIN, 0};
  return poll(&loop, 1, 0) > 0;
}

/* Has nothing happened for some turns? A party that owes an answer is waited for, but not for longer
 * than a moment of real time: it may be silent on purpose. */
static bool is_quiet(struct rt *rt) {
  static const struct timespec moment = {0, 100000};
  uint64_t real = uv_hrtime();
  if (rt->activity != rt->virtual.seen || has_input(rt)) {
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
    fire_due(rt);
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

static int l_now(lua_State *L) {
  lua_pushinteger(L, rt_now(rt_peek(L)));
  return 1;
}

static int l_monotonic(lua_State *L) {
  lua_pushnumber(L, (double)rt_monotonic(rt_peek(L)) / NS_PER_S);
  return 1;
}

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

void clock_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"now", l_now},
                                       {"monotonic", l_monotonic},
                                       {"advance", l_advance},
                                       {"virtual_time", l_virtual_time},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
