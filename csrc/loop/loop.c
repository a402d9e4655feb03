/*
 * loop/loop.c - the life of the loop: its turns with the one drain point, its end, and running it.
 * Lua sees: run, stop, step, fd, timeout, close, stats.
 * The roof of the room: the other files queue jobs, this file runs them.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#define RT_T "trueconf.runtime"
enum {
  JOBS_PER_TURN = 4096, /* then the sockets get their turn, however many jobs wait */
  LAST_TURNS = 16,      /* for coroutines that get CLOSED because the runtime closes */
};

/* ---- a turn ------------------------------------------------------------------------------------- */

static int l_drain(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  struct rt_job *job;
  int budget = JOBS_PER_TURN;
  while (budget-- > 0 && (job = rt_next_job(rt))) {
    job->run(rt, L, job);
    lua_settop(L, 1);
  }
  if (rt->before_flush)
    rt_run_before_flush(rt, L);
  return 0;
}

static void drain(struct rt *rt, lua_State *L) {
  lua_pushcfunction(L, l_drain);
  lua_pushlightuserdata(L, rt);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK)
    return;
  /* Jobs catch errors of Lua, so this is a lack of memory. The other jobs are still queued. */
  lua_warning(L, "trueconf: a handler was lost: ", 1);
  lua_warning(L, lua_isstring(L, -1) ? lua_tostring(L, -1) : "error", 0);
  lua_pop(L, 1);
}

/* The one drain point, before and after each poll. */
static void turn(struct rt *rt) {
  if (!rt->runner)
    return; /* the loop is being emptied on the way out */
  if (rt->jobs || rt->before_flush)
    drain(rt, rt->runner);
  rt_run_flushes(rt);
  if (rt->virtual.advancing)
    rt_advance(rt);
  if (!rt->jobs && !rt->before_flush && !rt->flushes && !rt->virtual.advancing)
    uv_idle_stop(&rt->idle);
}

/* ---- closing ------------------------------------------------------------------------------------ */

static void slots_closing(struct rt *rt) {
  for (int slot = SLOT_COUNT - 1; slot >= 0; slot--) /* sessions before sockets before the wire */
    if (rt->slots[slot] && rt->slot_ops[slot]->closing)
      rt->slot_ops[slot]->closing(rt, rt->slots[slot]);
}

static void slots_closed(struct rt *rt) {
  for (int slot = SLOT_COUNT - 1; slot >= 0; slot--) {
    if (rt->slots[slot] && rt->slot_ops[slot]->closed)
      rt->slot_ops[slot]->closed(rt, rt->slots[slot]);
    rt->slots[slot] = NULL;
  }
}

static void close_handles(struct rt *rt) {
  uv_close((uv_handle_t *)&rt->prepare, NULL);
  uv_close((uv_handle_t *)&rt->check, NULL);
  uv_close((uv_handle_t *)&rt->idle, NULL);
  uv_close((uv_handle_t *)&rt->timer, NULL);
  rt_close_signals(rt);
}

/* Nothing of this loop may reach the next one. */
static void forget_all(struct rt *rt) {
  rt_drop_jobs(rt);
  rt_drop_timers(rt);
  while (rt->ops.next != &rt->ops)
    rt_list_remove(rt->ops.next);
  rt->refs = rt->underway = rt->at_work = rt->coroutines = 0;
  rt->virtual.on = false;
  rt->virtual.advancing = NULL;
}

static void loop_close(lua_State *L, struct rt *rt) {
  rt->runner = NULL;
  busy_stop(rt);
  slots_closing(rt);
  close_handles(rt);
  uv_run(&rt->loop, UV_RUN_DEFAULT);
  rt_drop_jobs(rt); /* their owners may go next */
  slots_closed(rt);
  uv_run(&rt->loop, UV_RUN_DEFAULT);
  forget_all(rt);
  rt->open = false;
  if (uv_loop_close(&rt->loop))
    lua_warning(L, "trueconf: the loop was closed with handles on it", 0);
}

/* At the end of the Lua state no coroutine may run any more: stop all work without a result. */
static int l_rt_gc(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  rt->finished = rt->closing = true;
  if (!rt->open)
    return 0;
  rt_give_up_ops(rt);
  loop_close(L, rt);
  return 0;
}

static int l_close(lua_State *L) {
  struct rt *rt = rt_peek(L);
  size_t turns = LAST_TURNS;
  if (!rt->open)
    return 0;
  if (rt->runner)
    return luaL_error(L, "close cannot be called while the loop runs");
  rt->closing = true;
  rt_give_up_ops(rt);
  rt->runner = L;
  for (turns += rt->job_count / JOBS_PER_TURN; (rt->jobs || rt->before_flush) && turns; turns--)
    turn(rt);
  loop_close(L, rt);
  rt_unanchor_all(L);
  rt_forget_before_flush(rt, L);
  rt->closing = false;
  return 0;
}

/* ---- running ------------------------------------------------------------------------------------ */

static struct rt *enter(lua_State *L) {
  struct rt *rt = rt_get(L);
  if (rt->runner)
    luaL_error(L, "the loop is running already");
  rt->runner = L;
  return rt;
}

static int l_run(lua_State *L) {
  struct rt *rt = enter(L);
  rt->stopping = false;
  while (!rt->stopping && rt_alive(rt))
    uv_run(&rt->loop, UV_RUN_ONCE);
  rt->runner = NULL;
  return 0;
}

static int l_stop(lua_State *L) {
  struct rt *rt = rt_get(L);
  rt->stopping = true;
  rt_wake(rt);
  return 0;
}

static int l_step(lua_State *L) {
  struct rt *rt = enter(L);
  uv_run(&rt->loop, UV_RUN_NOWAIT);
  rt->runner = NULL;
  lua_pushboolean(L, rt_alive(rt));
  return 1;
}

static int l_fd(lua_State *L) {
  lua_pushinteger(L, uv_backend_fd(rt_loop(rt_get(L))));
  return 1;
}

static int l_timeout(lua_State *L) {
  uv_loop_t *loop = rt_loop(rt_get(L));
  int ms;
  uv_update_time(loop);
  ms = uv_backend_timeout(loop);
  if (ms < 0)
    return 0;
  lua_pushnumber(L, ms / 1000.0);
  return 1;
}

/* ---- statistics --------------------------------------------------------------------------------- */

static void count_handle(uv_handle_t *handle, void *arg) {
  if (!uv_is_closing(handle))
    ++*(lua_Integer *)arg;
}

static void set_count(lua_State *L, const char *name, lua_Integer count) {
  lua_pushinteger(L, count);
  lua_setfield(L, -2, name);
}

static int l_stats(lua_State *L) {
  static const char *const names[] = {"transfers", "sockets", "listeners", "sessions"};
  struct rt *rt = rt_peek(L);
  lua_Integer pending = 0, handles = 0;
  if (rt->open)
    uv_walk(&rt->loop, count_handle, &handles);
  for (struct rt_list *item = rt->ops.next; item != &rt->ops; item = item->next)
    pending++;
  lua_createtable(L, 0, 12);
  set_count(L, "pending", pending);
  set_count(L, "ready", (lua_Integer)rt->job_count);
  set_count(L, "timers", (lua_Integer)rt->timers);
  set_count(L, "coroutines", rt->coroutines);
  set_count(L, "refs", rt->refs);
  set_count(L, "handles", handles);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    set_count(L, names[i], 0); /* until the slot is first filled */
  for (int slot = 0; slot < SLOT_COUNT; slot++)
    if (rt->slots[slot] && rt->slot_ops[slot]->name)
      set_count(L, rt->slot_ops[slot]->name, rt->slot_ops[slot]->count(rt->slots[slot]));
  return 1;
}

/* ---- registration ------------------------------------------------------------------------------- */

static void make_rt(lua_State *L) {
  rt_make(L)->turn = turn;
  luaL_newmetatable(L, RT_T);
  lua_pushcfunction(L, l_rt_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

void runtime_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"run", l_run},         {"stop", l_stop},   {"step", l_step},   {"fd", l_fd},
      {"timeout", l_timeout}, {"close", l_close}, {"stats", l_stats}, {NULL, NULL}};
  if (!rt_peek(L))
    make_rt(L);
  luaL_setfuncs(L, functions, 0);
  wait_open(L);
  clock_open(L);
  virtual_time_open(L);
  random_open(L);
  pause_open(L);
  signals_open(L);
  busy_open(L);
}
