/*
 * loop/clock.c - the clock, real or virtual, and the timers on it.
 * Lua sees: now, monotonic.
 * Owns: the heap of timers; the timers themselves are parts of their owners, who stop them before they end.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

enum {
  FIRST_CAPACITY = 64,
  LATE_MS = 100,
  LOOK_MS = 100, /* time in which input comes before late timers */
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

void rt_fire_due(struct rt *rt) {
  uint64_t now = rt_monotonic(rt);
  while (rt->timers && rt->heap[1]->due <= now) {
    struct rt_timer *timer = rt->heap[1];
    rt_timer_stop(rt, timer);
    rt->activity++;
    timer->fire(timer);
  }
}

bool rt_has_input(struct rt *rt) {
  struct pollfd loop = {uv_backend_fd(&rt->loop), POLLIN, 0};
  return poll(&loop, 1, 0) > 0;
}

/* After the process was stopped, or after a long turn, libuv runs timers first; but an answer that came in
 * time must be read before its timer fires. */
static bool must_look_first(struct rt *rt) {
  uint64_t now = rt_monotonic(rt), since = rt->looking_since ? rt->looking_since : now;
  bool late = rt->timers && now > rt->heap[1]->due + LATE_MS * NS_PER_MS;
  bool look = late && now - since < LOOK_MS * NS_PER_MS && rt_has_input(rt);
  rt->looking_since = look ? since : 0;
  return look;
}

static void on_timer(uv_timer_t *handle) {
  struct rt *rt = handle->data;
  if (must_look_first(rt)) {
    uv_timer_start(handle, on_timer, 1, 0);
    return;
  }
  rt->armed = 0;
  rt_fire_due(rt);
  rt_arm(rt);
}

/* A stopped timer does not change the uv timer, which then fires without effect and is set again. */
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

/* Round up to a nanosecond: a loop that waits for the rest by timers would otherwise stop virtual time. */
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

/* ---- Lua ---------------------------------------------------------------------------------------- */

static int l_now(lua_State *L) {
  lua_pushinteger(L, rt_now(rt_peek(L)));
  return 1;
}

static int l_monotonic(lua_State *L) {
  lua_pushnumber(L, (double)rt_monotonic(rt_peek(L)) / NS_PER_S);
  return 1;
}

void clock_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"now", l_now}, {"monotonic", l_monotonic}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
