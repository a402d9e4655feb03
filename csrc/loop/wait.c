/*
 * loop/wait.c - coroutines, waiting calls, and reports of uncaught errors.
 * Lua sees: spawn, begin, cancel, on_error, before_flush.
 * Coroutines are resumed in one place only, resume(), reached only from the drain point; so handlers never
 * run inside libuv, lws, curl or each other.
 * Owns: the table of anchors in the registry, which keeps objects alive that the loop still needs.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include "base/errors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Only their addresses matter. */
static const char ANCHORS_KEY, ON_ERROR_KEY, BEFORE_FLUSH_KEY, LIBRARY_KEY, SPARES_KEY;
enum { OWNER = 1, THREAD, OP_VALUES = THREAD }; /* user values of an op */
enum { MOST_SPARES = 64 };
enum { MOST_CANCELS = 100 }; /* inside of each other, each on the stack of C: half of what Lua takes */

/* ---- anchors ------------------------------------------------------------------------------------ */

void rt_anchor(lua_State *L, const void *key, int index) {
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, key);
  lua_pop(L, 1);
}

void rt_anchored(lua_State *L, const void *key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY);
  lua_rawgetp(L, -1, key);
  lua_remove(L, -2);
}

void rt_unanchor(lua_State *L, const void *key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY);
  lua_rawgetp(L, -1, key);
  lua_pushnil(L);
  lua_rawsetp(L, -3, key);
  lua_remove(L, -2);
}

void rt_unanchor_all(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY);
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4); /* a field may be cleared while the table is walked */
  }
  lua_pop(L, 1);
}

/* ---- reporting ---------------------------------------------------------------------------------- */

static int l_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Push the text of the value on top. If __tostring fails, a substitute is pushed. */
static const char *push_text(lua_State *L) {
  lua_pushcfunction(L, l_text);
  lua_pushvalue(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushfstring(L, "(error object is a %s value without a text)", luaL_typename(L, -1));
  }
  return lua_tostring(L, -1);
}

static void warn(lua_State *L, const char *what, const char *text) {
  lua_warning(L, "trueconf: error in ", 1);
  lua_warning(L, what, 1);
  lua_warning(L, ": ", 1);
  lua_warning(L, text, 0);
}

/* A loop in a coroutine ends with CLOSED when the runtime closes: nothing to report. */
static bool is_farewell(struct rt *rt, lua_State *L, int index) {
  bool farewell;
  if (!rt->closing || !lua_istable(L, index))
    return false;
  index = lua_absindex(L, index);
  lua_pushliteral(L, "name");
  farewell = lua_rawget(L, index) == LUA_TSTRING && !strcmp(lua_tostring(L, -1), err_name(ERR_CLOSED));
  lua_pop(L, 1);
  return farewell;
}

bool rt_protected(lua_State *L, lua_CFunction function, void *argument) {
  int top = lua_gettop(L);
  bool ok = lua_checkstack(L, 4);
  if (ok) {
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
  }
  if (!ok) {
    const char *text =
        lua_gettop(L) > top && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not enough memory";
    lua_warning(L, "trueconf: something was left out: ", 1);
    lua_warning(L, text, 0);
  }
  lua_settop(L, top);
  return ok;
}

/* Tell the handler of on_error, or the warning system, of the error and the traceback on top; pops both. */
static void report(struct rt *rt, lua_State *L, const char *what) {
  int traceback = lua_gettop(L), error = traceback - 1;
  luaL_checkstack(L, 8, NULL);
  if (!is_farewell(rt, L, error)) {
    bool told = false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY) == LUA_TFUNCTION) {
      lua_pushvalue(L, error);
      lua_pushvalue(L, traceback);
      lua_pushstring(L, what);
      told = lua_pcall(L, 3, 0, 0) == LUA_OK;
      if (!told)
        warn(L, "the handler of on_error", push_text(L));
    }
    if (!told)
      warn(L, what, lua_tostring(L, traceback));
  }
  lua_settop(L, error - 1);
}

/* Error -> {error, traceback} */
static int l_with_traceback(lua_State *L) {
  lua_settop(L, 1);
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, 1);
  lua_pushvalue(L, 1);
  luaL_traceback(L, L, push_text(L), 1);
  lua_rawseti(L, 2, 2);
  lua_settop(L, 2);
  return 1;
}

/* (rt, what, error, with_traceback): report what a call has raised. */
static int l_report_call(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  const char *what = lua_touserdata(L, 2);
  if (lua_toboolean(L, 4)) {
    lua_rawgeti(L, 3, 1);
    lua_rawgeti(L, 3, 2);
  } else { /* no memory: l_with_traceback was not called, or failed */
    lua_pushvalue(L, 3);
    push_text(L);
  }
  report(rt, L, what);
  return 0;
}

bool rt_call(struct rt *rt, lua_State *L, int nargs, const char *what) {
  int base = lua_gettop(L) - nargs, status;
  lua_pushcfunction(L, l_with_traceback);
  lua_insert(L, base);
  status = lua_pcall(L, nargs, 0, base);
  if (status != LUA_OK) {
    lua_pushcfunction(L, l_report_call);
    lua_pushlightuserdata(L, rt);
    lua_pushlightuserdata(L, (void *)what);
    lua_pushvalue(L, -4);
    lua_pushboolean(L, status == LUA_ERRRUN);
    if (lua_pcall(L, 4, 0, 0) != LUA_OK)
      warn(L, what, "not enough memory to tell it");
  }
  lua_settop(L, base - 1);
  return status != LUA_ERRMEM;
}

static int l_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1))
    luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY);
  lua_insert(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY);
  return 1;
}

/* ---- the end of a coroutine --------------------------------------------------------------------- */

/* (rt, error, co): report an error that comes from the coroutine. */
static int l_report_of(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  lua_State *co = lua_touserdata(L, 3);
  lua_pushvalue(L, 2);
  luaL_traceback(L, co, push_text(L), 0);
  lua_remove(L, -2);
  report(rt, L, "a coroutine");
  return 0;
}

/* Report the error on top of L, which comes from `co`; pops it. Never raises: the coroutine has still to be
 * closed. */
static void report_of(struct rt *rt, lua_State *L, lua_State *co) {
  lua_pushcfunction(L, l_report_of);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, rt);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, co);
  if (lua_pcall(L, 3, 0, 0) == LUA_OK)
    return;
  warn(L, "a coroutine", "not enough memory to tell it");
  lua_pop(L, 1);
}

/* Run the <close> variables of a coroutine that is dead or given up. */
static int close_thread(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
  return lua_closethread(co, from);
#else
  (void)from;
  return lua_resetthread(co);
#endif
}

/* The coroutine died of the error on its stack. An error in a <close> variable comes out in its place. */
static void bury(struct rt *rt, lua_State *L, lua_State *co) {
  if (!lua_checkstack(L, 8)) {
    close_thread(co, L);
    return;
  }
  lua_pushvalue(co, -1);
  lua_xmove(co, L, 1);
  lua_pushvalue(L, -1);
  report_of(rt, L, co);
  if (close_thread(co, L) != LUA_OK) {
    lua_xmove(co, L, 1);
    if (!lua_rawequal(L, -1, -2))
      report_of(rt, L, co);
    else
      lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

struct given_up {
  struct rt *rt;
  lua_State *co;
};

static int l_tell_given_up(lua_State *L) {
  const struct given_up *given = lua_touserdata(L, 1);
  if (given->rt->resumed.busy)
    busy_push_complaint(given->rt, L);
  else
    lua_pushliteral(L, "coroutine.yield called outside of a waiting function; "
                       "only the functions of trueconf may suspend this coroutine");
  report_of(given->rt, L, given->co);
  return 0;
}

/* The coroutine has called coroutine.yield, or busy.c made it yield: nothing will resume it. */
static void give_up(struct rt *rt, lua_State *L, lua_State *co) {
  struct given_up given = {rt, co};
  rt_protected(L, l_tell_given_up, &given);
  if (close_thread(co, L) == LUA_OK || !lua_checkstack(L, 8))
    return;
  lua_xmove(co, L, 1);
  report_of(rt, L, co);
}

/* ---- spawn and resume --------------------------------------------------------------------------- */

/* Push a coroutine that has returned, with its stack and call records as they have grown, or a new one. */
static lua_State *push_spare(struct rt *rt, lua_State *L) {
  if (!rt->spares)
    return lua_newthread(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &SPARES_KEY);
  lua_rawgeti(L, -1, rt->spares);
  lua_pushnil(L);
  lua_rawseti(L, -3, rt->spares--);
  lua_remove(L, -2);
  return lua_tothread(L, -1);
}

/* Never raises: the table has room for all. */
static void keep_spare(struct rt *rt, lua_State *L, lua_State *co) {
  assert(lua_status(co) == LUA_OK && lua_gettop(co) == 0);
  if (rt->spares == MOST_SPARES || !lua_checkstack(L, 2))
    return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &SPARES_KEY);
  lua_pushthread(co);
  lua_xmove(co, L, 1);
  lua_rawseti(L, -2, ++rt->spares);
  lua_pop(L, 1);
}

/* The only lua_resume. The caller holds `co` for the time of the call. */
static void resume(struct rt *rt, lua_State *L, lua_State *co, int nargs, bool reusable) {
  int nresults = 0, status;
  bool parked;
  rt->resumed.co = co;
  rt->resumed.parked = false;
  rt->resumed.reusable = reusable;
  busy_enter(rt);
  status = lua_resume(co, L, nargs, &nresults);
  busy_leave(rt);
  parked = rt->resumed.parked;
  rt->resumed.co = NULL;
  if (status == LUA_OK || status == LUA_YIELD)
    lua_pop(co, nresults);
  if (status == LUA_YIELD && parked)
    return;
  rt->coroutines--;
  if (status == LUA_YIELD)
    give_up(rt, L, co);
  else if (status != LUA_OK)
    bury(rt, L, co);
  else if (reusable)
    keep_spare(rt, L, co);
}

struct start { /* a coroutine that is to begin, anchored under its own address */
  struct rt_job job;
  lua_State *co;
  int nargs;
  bool reusable;
};

static void run_start(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct start *start = (struct start *)job;
  lua_State *co = start->co;
  int nargs = start->nargs;
  bool reusable = start->reusable;
  rt_unanchor(L, co);
  free(start);
  if (lua_status(co) == LUA_OK && lua_gettop(co) == nargs + 1)
    resume(rt, L, co, nargs, reusable);
  else
    rt->coroutines--; /* other code has begun it, or closed it: it is no longer ours */
  lua_pop(L, 1);
}

/* The job of a coroutine that never began. */
static void drop_start(struct rt_job *job) {
  free(job);
}

/* Move the function below `nargs` values from L to the coroutine on top, which is left on L. */
static lua_State *load(lua_State *L, lua_State *co, int nargs) {
  if (!lua_checkstack(co, nargs + 1))
    luaL_error(L, "too many arguments for a coroutine");
  lua_insert(L, -nargs - 2); /* fn, args..., thread */
  lua_xmove(L, co, nargs + 1);
  return co;
}

/* Move the function below `nargs` values from L to a new coroutine, which is left on L. */
lua_State *rt_coroutine(lua_State *L, int nargs) {
  return load(L, lua_newthread(L), nargs);
}

void rt_begin(struct rt *rt, lua_State *L, int nargs) {
  rt_begin_coroutine(rt, L, rt_coroutine(L, nargs), nargs);
}

void rt_begin_coroutine(struct rt *rt, lua_State *L, lua_State *co, int nargs) {
  rt->coroutines++;
  resume(rt, L, co, nargs, false);
  lua_pop(L, 1);
}

/* Begin the coroutine on top at the drain point. */
static void begin_later(struct rt *rt, lua_State *L, lua_State *co, int nargs, bool reusable) {
  struct start *start;
  rt_anchor(L, co, -1);
  start = calloc(1, sizeof *start);
  if (!start) {
    rt_unanchor(L, co);
    luaL_error(L, "out of memory");
    return;
  }
  start->job.run = run_start;
  start->job.drop = drop_start;
  start->co = co;
  start->nargs = nargs;
  start->reusable = reusable;
  rt->coroutines++;
  rt_enqueue(rt, &start->job);
}

void rt_spawn(struct rt *rt, lua_State *L, int nargs) {
  begin_later(rt, L, rt_coroutine(L, nargs), nargs, false);
}

static int l_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  rt_spawn(rt_get(L), L, lua_gettop(L) - 1);
  return 1;
}

/* core.begin(fn, ...): as core.spawn, in a coroutine that nobody is handed and that is used again */
static int l_begin(lua_State *L) {
  struct rt *rt = rt_get(L);
  int nargs = lua_gettop(L) - 1;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  begin_later(rt, L, load(L, push_spare(rt, L), nargs), nargs, true);
  return 0;
}

/* ---- before the flushes ------------------------------------------------------------------------- */

static int l_before_flush(lua_State *L) {
  struct rt *rt = rt_get(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &BEFORE_FLUSH_KEY) == LUA_TNIL) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &BEFORE_FLUSH_KEY);
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  rt->before_flush = true;
  rt_wake(rt);
  return 0;
}

void rt_forget_before_flush(struct rt *rt, lua_State *L) {
  rt->before_flush = false;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &BEFORE_FLUSH_KEY);
}

/* Functions registered meanwhile run in the next turn. */
void rt_run_before_flush(struct rt *rt, lua_State *L) {
  lua_Integer count;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &BEFORE_FLUSH_KEY);
  rt_forget_before_flush(rt, L);
  count = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    rt_call(rt, L, 0, "a function of before_flush");
  }
  lua_pop(L, 1);
}

/* ---- waiting calls ------------------------------------------------------------------------------ */

static void run_op(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct op *op = (struct op *)job;
  lua_State *co = op->co;
  if (!co)
    return; /* the main thread drives the loop and looks at op->done itself */
  rt_list_remove(&op->link);
  rt_unanchor(L, op); /* holds the op, and with it the thread */
  if (op->parked && lua_status(co) == LUA_YIELD)
    resume(rt, L, co, 0, op->reusable);
  else if (op->spawned)
    rt->coroutines--; /* it was closed while it waited */
  lua_pop(L, 1);
}

/* core.library(folder): the library's own Lua files, whose lines no error should name */
static int l_library(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &LIBRARY_KEY);
  return 0;
}

/* Push where the caller of the library is, "file:line: ", or "" if that is no Lua. */
static void push_place(lua_State *L) {
  const char *library;
  lua_Debug frame;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &LIBRARY_KEY);
  library = lua_tostring(L, -1);
  for (int level = 1; lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline > 0 && (!library || strncmp(frame.source, library, strlen(library)) != 0)) {
      lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
      lua_remove(L, -2);
      return;
    }
  }
  lua_pop(L, 1);
  lua_pushliteral(L, "");
}

static int refuse_waiting(lua_State *L, const char *format, const char *what) {
  push_place(L);
  lua_pushfstring(L, format, what);
  lua_concat(L, 2);
  return lua_error(L);
}

/* Since Lua 5.4.4 the collector answers nothing while it runs a finalizer. */
static bool in_finalizer(lua_State *L) {
  return lua_gc(L, LUA_GCCOUNT) < 0;
}

/* Coroutines that the loop has resumed may wait, and the main thread while the loop stands still. The yield
 * of another coroutine would go to the code that has resumed it, which knows nothing of waiting. */
static void check_waiting(lua_State *L, struct rt *rt, const char *what) {
  if (rt->closing) {
    lua_pushfstring(L, "cannot wait for %s: trueconf is closing", what);
    push_error(L, ERR_CLOSED, 0, lua_tostring(L, -1));
    lua_error(L);
  }
  if (rt->resumed.co == L && lua_isyieldable(L))
    return;
  if (rt->runner && !lua_isyieldable(L))
    refuse_waiting(L, "cannot wait for %s here: start a coroutine with trueconf.spawn", what);
  if (L != rt->main)
    refuse_waiting(
        L, "cannot wait for %s in a coroutine that is not trueconf's: start it with trueconf.spawn", what);
  if (in_finalizer(L))
    refuse_waiting(L, "cannot wait for %s in a finalizer: start a coroutine with trueconf.spawn", what);
}

/* Keep op and thread until the op has settled, whatever becomes of the coroutine's stack. */
static void hold(lua_State *L, struct op *op) {
  op->co = L;
  lua_pushthread(L);
  lua_setiuservalue(L, -2, THREAD);
  rt_anchor(L, op, -1);
  rt_list_add(&op->rt->ops, &op->link);
}

void *op_new(lua_State *L, size_t size, const char *tname, const char *what) {
  struct rt *rt = rt_get(L);
  struct op *op;
  bool owned = lua_gettop(L) > 0;
  check_waiting(L, rt, what);
  op = lua_newuserdatauv(L, size, OP_VALUES);
  memset(op, 0, size);
  op->rt = rt;
  op->what = what;
  op->job.run = run_op;
  if (tname)
    luaL_setmetatable(L, tname);
  if (owned) {
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, OWNER);
  }
  if (lua_isyieldable(L))
    hold(L, op);
  return op;
}

void op_settle(struct op *op) {
  if (op->done)
    return;
  op->done = true;
  rt_enqueue(op->rt, &op->job);
}

bool op_settle_now(struct rt *rt, lua_State *L, struct op *op) {
  if (op->done)
    return true;
  op->done = true;
  if (!op->parked) {
    rt_enqueue(rt, &op->job);
    return false;
  }
  run_op(rt, L, &op->job);
  return true;
}

/* The wait for this op has ended early. */
static void op_abandon(struct op *op) {
  if (!op->done && op->cancel)
    op->cancel(op);
  op->done = true;
  rt_dequeue(op->rt, &op->job);
  rt_list_remove(&op->link);
}

static int push_results(lua_State *L, struct op *op) {
  if (op->closed)
    return fail(L, ERR_CLOSED, 0, "trueconf was closed while waiting for %s", op->what);
  return op->push(L, op);
}

/* The coroutine no longer waits for this op, and no longer belongs to the loop. */
static void op_leave(lua_State *L, struct op *op) {
  if (op->spawned)
    op->rt->coroutines--;
  op->spawned = false;
  op_abandon(op);
  rt_unanchor(L, op);
  lua_pop(L, 1);
}

void op_drop(lua_State *L, struct op *op) {
  if (op->co)
    op_leave(L, op);
  else
    op_abandon(op);
}

/* Other code than the loop has resumed the coroutine: from here on that code runs it. */
static int stray_resume(lua_State *L, struct op *op) {
  op_leave(L, op);
  return refuse_waiting(L, "coroutine resumed while waiting for %s", op->what);
}

static int op_k(lua_State *L, int status, lua_KContext context) {
  struct op *op = (struct op *)context;
  (void)status;
  op->parked = false;
  return !op->done || op->job.queued ? stray_resume(L, op) : push_results(L, op);
}

/* The main thread outside the loop: turn the loop until the op is done. */
static int op_drive(lua_State *L, struct op *op) {
  struct rt *rt = op->rt;
  bool done;
  rt_list_add(&rt->ops, &op->link);
  rt->runner = L;
  while (!op->done && rt_alive(rt))
    uv_run(&rt->loop, UV_RUN_ONCE);
  rt->runner = NULL;
  done = op->done;
  op_abandon(op);
  if (!done)
    return luaL_error(L, "waiting for %s, but nothing can bring it any more", op->what);
  return push_results(L, op);
}

int op_wait(lua_State *L, struct op *op) {
  struct rt *rt = op->rt;
  if (!op->co)
    return op_drive(L, op);
  op->parked = op->spawned = rt->resumed.parked = true;
  op->reusable = rt->resumed.reusable;
  return lua_yieldk(L, 0, (lua_KContext)op, op_k);
}

void rt_give_up_ops(struct rt *rt) {
  struct rt_list *item, *next;
  for (item = rt->ops.next; item != &rt->ops; item = next) {
    struct op *op = container_of(item, struct op, link);
    next = item->next;
    if (op->done)
      continue;
    if (op->cancel)
      op->cancel(op);
    op->closed = true;
    op_settle(op);
  }
}

/* ---- ending a coroutine that waits --------------------------------------------------------------- */

static struct op *op_of(struct rt *rt, lua_State *co) {
  for (struct rt_list *item = rt->ops.next; item != &rt->ops; item = item->next) {
    struct op *op = container_of(item, struct op, link);
    if (op->co == co && op->parked)
      return op;
  }
  return NULL;
}

static bool has_not_begun(lua_State *co) {
  lua_Debug frame;
  return lua_status(co) == LUA_OK && !lua_getstack(co, 0, &frame) && lua_gettop(co) > 0;
}

/* Close the coroutine. Lua 5.4.4 does not count these calls of C. */
static void end_thread(struct rt *rt, lua_State *L, lua_State *co) {
  int status;
  rt->cancels++;
  status = close_thread(co, L);
  rt->cancels--;
  if (status == LUA_OK)
    return;
  lua_xmove(co, L, 1);
  report_of(rt, L, co);
}

/* core.cancel(thread) -> cancelled */
static int l_cancel(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  struct rt *rt = rt_get(L);
  struct op *op;
  luaL_argexpected(L, co, 1, "coroutine");
  if (rt->cancels >= MOST_CANCELS)
    return luaL_error(L, "too many coroutines that end each other (%d)", rt->cancels);
  op = lua_status(co) == LUA_YIELD ? op_of(rt, co) : NULL;
  if (op)
    op_leave(L, op);
  lua_pushboolean(L, op || has_not_begun(co));
  if (lua_toboolean(L, -1))
    end_thread(rt, L, co);
  return 1;
}

void wait_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"library", l_library},
                                       {"spawn", l_spawn},
                                       {"begin", l_begin},
                                       {"cancel", l_cancel},
                                       {"on_error", l_on_error},
                                       {"before_flush", l_before_flush},
                                       {NULL, NULL}};
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY) == LUA_TNIL) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &ANCHORS_KEY);
    lua_createtable(L, MOST_SPARES, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &SPARES_KEY);
  }
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
