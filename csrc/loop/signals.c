/*
 * loop/signals.c - signals, each arrival handled in a coroutine of its own.
 * Lua sees: signal(name, fn) -> Signal (Signal:close).
 * Owns: struct watch, freed in the close callback, for libuv needs it after Lua has let go.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include <signal.h>
#include <stdlib.h>

#define SIGNAL_T "trueconf.Signal"

static const char *const names[] = {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", NULL};
static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

struct watch {
  uv_signal_t handle;
  struct rt_list link;
  struct rt *rt;
  struct rt_job job;
  struct rt_timer again;
  struct watch **box; /* the userdata, anchored under the watch; its user value is the function */
  const char *name;
};

static void on_signal(uv_signal_t *handle, int number) {
  struct watch *watch = handle->data;
  (void)number;
  rt_enqueue(watch->rt, &watch->job);
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static int l_begin(lua_State *L) {
  struct watch *watch = lua_touserdata(L, 1);
  rt_anchored(L, watch);
  lua_getiuservalue(L, -1, 1);
  lua_pushstring(L, watch->name);
  rt_begin(watch->rt, L, 1);
  return 0;
}

static void on_again(struct rt_timer *timer) {
  struct watch *watch = container_of(timer, struct watch, again);
  rt_enqueue(watch->rt, &watch->job);
}

/* A signal must not be lost for lack of memory: once more a little later. */
static void run_signal(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct watch *watch = container_of(job, struct watch, job);
  if (!rt_protected(L, l_begin, watch))
    rt_timer_start(rt, &watch->again, RT_AGAIN);
}

static void watch_stop(struct watch *watch) {
  *watch->box = NULL;
  rt_dequeue(watch->rt, &watch->job);
  rt_timer_stop(watch->rt, &watch->again);
  rt_list_remove(&watch->link);
  rt_unref(watch->rt);
  uv_close((uv_handle_t *)&watch->handle, on_closed);
}

void rt_close_signals(struct rt *rt) {
  while (rt->signals.next != &rt->signals)
    watch_stop(container_of(rt->signals.next, struct watch, link));
}

static struct watch *watch_new(struct rt *rt, int which) {
  struct watch *watch = calloc(1, sizeof *watch);
  if (!watch)
    return NULL;
  watch->rt = rt;
  watch->job.run = run_signal;
  watch->again.fire = on_again;
  watch->name = names[which];
  if (uv_signal_init(&rt->loop, &watch->handle)) {
    free(watch);
    return NULL;
  }
  watch->handle.data = watch;
  rt_list_add(&rt->signals, &watch->link);
  rt_ref(rt);
  return watch;
}

static int l_signal_close(lua_State *L) {
  struct watch **box = luaL_checkudata(L, 1, SIGNAL_T), *watch = *box;
  if (!watch)
    return 0;
  rt_unanchor(L, watch);
  watch_stop(watch);
  return 0;
}

static int l_signal(lua_State *L) {
  int which = luaL_checkoption(L, 1, NULL, names), status;
  struct rt *rt = rt_get(L);
  struct watch **box, *watch;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  luaL_setmetatable(L, SIGNAL_T);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  *box = watch = watch_new(rt, which);
  if (!watch)
    return luaL_error(L, "cannot watch %s: out of memory", names[which]);
  watch->box = box;
  rt_anchor(L, watch, -1);
  status = uv_signal_start(&watch->handle, on_signal, numbers[which]);
  if (status) {
    rt_unanchor(L, watch);
    watch_stop(watch);
    return luaL_error(L, "cannot watch %s: %s", names[which], uv_strerror(status));
  }
  return 1;
}

/* The collector only gets a watch that could not be anchored, or at the end of the state. */
static int l_signal_gc(lua_State *L) {
  struct watch **box = luaL_checkudata(L, 1, SIGNAL_T);
  if (*box)
    watch_stop(*box);
  return 0;
}

void signals_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"signal", l_signal}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"close", l_signal_close}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", l_signal_gc}, {NULL, NULL}};
  rt_new_type(L, SIGNAL_T, methods, metamethods);
  luaL_setfuncs(L, functions, 0);
}
