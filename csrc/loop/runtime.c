/*
 * loop/runtime.c - struct rt: one per Lua state, its loop opened when first needed. The ground of the room:
 * the other files use it, and it needs none of them. Owns: struct rt with the libuv loop and its four
 * housekeeping handles, which loop.c turns and closes. SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include "base/explain.h"

#include <string.h>

static const char RT_KEY; /* only its address matters */
#define MOST_SECONDS 1e10

/* ---- small questions and changes ---------------------------------------------------------------- */

lua_State *rt_runner(struct rt *rt) {
  return rt->runner ? rt->runner : rt->main;
}

uv_loop_t *rt_loop(struct rt *rt) {
  return &rt->loop;
}

void rt_ref(struct rt *rt) {
  rt->refs++;
}

void rt_unref(struct rt *rt) {
  rt->refs--;
}

void rt_underway(struct rt *rt, int change) {
  rt->underway += change;
}

void rt_at_work(struct rt *rt, int change) {
  rt->at_work += change;
}

bool rt_alive(const struct rt *rt) {
  return rt->refs > 0 || rt->jobs || rt->flushes || rt->before_flush || rt->virtual.advancing;
}

void *rt_slot(struct rt *rt, enum rt_slot slot) {
  return rt->slots[slot];
}

void rt_set_slot(struct rt *rt, enum rt_slot slot, void *state, const struct rt_slot_ops *ops) {
  rt->slots[slot] = state;
  rt->slot_ops[slot] = ops;
}

/* ---- opening ------------------------------------------------------------------------------------ */

static void on_prepare(uv_prepare_t *handle) {
  struct rt *rt = handle->data;
  rt->turn(rt);
}

static void on_check(uv_check_t *handle) {
  struct rt *rt = handle->data;
  rt->turn(rt);
}

static void loop_open(lua_State *L, struct rt *rt) {
  int status = explain_shortage(SETUP_DESCRIPTORS) ? UV_EMFILE : uv_loop_init(&rt->loop);
  if (status == UV_EMFILE) /* libuv would end the process where it gets none for its signals */
    luaL_error(L,
               "cannot make an event loop: no file descriptor is left for it: raise the limit (ulimit -n)");
  if (status)
    luaL_error(L, "cannot make an event loop: %s", uv_strerror(status));
  rt->prepare.data = rt->check.data = rt->idle.data = rt->timer.data = rt->loop.data = rt;
  uv_prepare_init(&rt->loop, &rt->prepare);
  uv_check_init(&rt->loop, &rt->check);
  uv_idle_init(&rt->loop, &rt->idle);
  uv_timer_init(&rt->loop, &rt->timer);
  uv_prepare_start(&rt->prepare, on_prepare);
  uv_check_start(&rt->check, on_check);
  rt->armed = 0;
  rt->open = true;
}

struct rt *rt_peek(lua_State *L) {
  struct rt *rt;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &RT_KEY);
  rt = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rt;
}

struct rt *rt_get(lua_State *L) {
  struct rt *rt = rt_peek(L);
  if (rt->finished) /* called by a finalizer */
    luaL_error(L, "trueconf cannot be used any more: the Lua state is being closed");
  if (!rt->open)
    loop_open(L, rt);
  return rt;
}

struct rt *rt_make(lua_State *L) {
  struct rt *rt = lua_newuserdatauv(L, sizeof *rt, 0);
  memset(rt, 0, sizeof *rt);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  rt->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  rt->jobs_tail = &rt->jobs;
  rt->flushes_tail = &rt->flushes;
  rt_list_init(&rt->ops);
  rt_list_init(&rt->signals);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &RT_KEY);
  return rt;
}

/* ---- for the other files ------------------------------------------------------------------------- */

void rt_new_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods) {
  luaL_newmetatable(L, name);
  if (metamethods)
    luaL_setfuncs(L, metamethods, 0);
  if (methods) {
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}

double rt_check_seconds(lua_State *L, int index) {
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0 && seconds < MOST_SECONDS, index, "seconds, from 0 to below 1e10, expected");
  return seconds;
}

int rt_push_nothing(lua_State *L, struct op *op) {
  (void)L;
  (void)op;
  return 0;
}
