/*
 * loop/runtime.h - the loop every object of the module lives on.
 * One struct rt per Lua state, in a userdata that luaopen makes first and Lua therefore collects
 * last; a pointer to it never goes stale. The loop inside is opened by the first call that needs
 * it and can be closed and opened again.
 *
 * Prefixes tell where a function may run: l_ is called by Lua; on_ by a library or a timer (copy, mark,
 * queue: never Lua, and no call that could bring the library back into it); run_ is a job and at_ what a job
 * of ours calls, both at the drain point, where Lua may be called; rt_ belongs to the loop's core; op_ is a
 * waiting call; _k a continuation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_RUNTIME_H
#define TRUECONF_RUNTIME_H

#include "base/container.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct rt;

/* ---- the ready queue: jobs that library callbacks leave for the drain point -------------- */

struct rt_job {
  struct rt_job *next;
  /* Runs at the drain point, on the thread that runs the loop, inside one lua_pcall. It may call
   * Lua through rt_call and rt_resume. It must leave the stack as it was. */
  void (*run)(struct rt *rt, lua_State *L, struct rt_job *job);
  void (*drop)(struct rt_job *job); /* called in place of `run` when the loop closes; may be NULL */
  bool queued;
};

/* Queue a job; a job already queued stays where it is. Safe from every callback. */
void rt_enqueue(struct rt *rt, struct rt_job *job);
/* Take a job out before its owner is freed. O(n) in the queue, for teardown only. */
void rt_dequeue(struct rt *rt, struct rt_job *job);

/* ---- flushing: runs once per drain after all jobs, so that what one turn wrote leaves together */

struct rt_flush {
  struct rt_flush *next;
  void (*run)(struct rt_flush *flush);
  bool queued;
};
void rt_flush_later(struct rt *rt, struct rt_flush *flush);
void rt_flush_forget(struct rt *rt, struct rt_flush *flush);

/* ---- timers: one heap on the replaceable clock, one uv timer under it -------------------- */

struct rt_timer {
  void (*fire)(struct rt_timer *timer); /* on the loop, not at the drain point: queue a job */
  uint64_t due;                         /* nanoseconds of rt_monotonic */
  uint64_t order;                       /* of starting, for those due at the same time */
  size_t place;                         /* 1-based place in the heap, 0: not armed */
};

/* Arm (or arm again) to fire once after `seconds`. Never fails: on lack of memory it fires at once. */
void rt_timer_start(struct rt *rt, struct rt_timer *timer, double seconds);
void rt_timer_stop(struct rt *rt, struct rt_timer *timer);

uint64_t rt_monotonic(struct rt *rt);                      /* nanoseconds */
int64_t rt_now(struct rt *rt);                             /* UNIX milliseconds */
void rt_random(struct rt *rt, void *bytes, size_t length); /* never fails, or aborts */
double rt_random_unit(struct rt *rt);                      /* 0 <= x < 1 */

/* ---- the runtime ------------------------------------------------------------------------- */

struct rt_list { /* head of a doubly linked list of live objects, for teardown and stats */
  struct rt_list *next, *prev;
};
void rt_list_init(struct rt_list *head);
void rt_list_add(struct rt_list *head, struct rt_list *item);
void rt_list_remove(struct rt_list *item); /* harmless for an item not in a list (next == NULL) */

/* The runtime of this Lua state, its loop open. Raises a Lua error if the loop cannot be made. */
struct rt *rt_get(lua_State *L);
uv_loop_t *rt_loop(struct rt *rt);

/* Keep core.run() from returning while an operation is running. */
void rt_ref(struct rt *rt);
void rt_unref(struct rt *rt);
/* Another party owes us a result (+1), or has given it (-1): virtual time stands still meanwhile. */
void rt_underway(struct rt *rt, int change);
/* The same for a thread that ends by itself and is waited for however long it takes. */
void rt_at_work(struct rt *rt, int change);

/* Rooms of the core keep their data per runtime here, and are called when the loop closes. `closing`: close
 * your handles, and do not settle ops any more (the runtime has done it); the loop turns afterwards until it
 * is empty. `closed`: free the rest. */
enum rt_slot { SLOT_WIRE, SLOT_HTTP, SLOT_SOCKET, SLOT_LISTENER, SLOT_SESSION, SLOT_COUNT };
struct rt_slot_ops {
  void (*closing)(struct rt *rt, void *state);
  void (*closed)(struct rt *rt, void *state);
  const char *name; /* of the number of objects in stats(); NULL: not shown */
  long (*count)(void *state);
};
void *rt_slot(struct rt *rt, enum rt_slot slot);
void rt_set_slot(struct rt *rt, enum rt_slot slot, void *state, const struct rt_slot_ops *ops);

/* ---- keeping objects of Lua alive --------------------------------------------------------- */

/* Keep the value at `index` from the collector under `key`, an address, until it is let go or the loop has
 * been closed. Raises for lack of memory. */
void rt_anchor(lua_State *L, const void *key, int index);
/* Push what is anchored under `key`, or nil. */
void rt_anchored(lua_State *L, const void *key);
/* The same, and release it. Cannot fail: clearing an existing slot does not allocate. */
void rt_unanchor(lua_State *L, const void *key);

/* ---- calling Lua at the drain point ------------------------------------------------------- */

/* Run `function`, which gets `argument` as light userdata, protected: an error for lack of memory goes to the
 * warning system. false: it did not run to its end. For code that must go on when Lua has no memory. */
bool rt_protected(lua_State *L, lua_CFunction function, void *argument);
#define RT_AGAIN 0.1 /* seconds until a step that lacked memory is tried again */
/* Call the function below `nargs` values on L, protected; an error is reported, not raised. false: memory ran
 * out, so the call may be lost. */
bool rt_call(struct rt *rt, lua_State *L, int nargs, const char *what);
/* Start the function below `nargs` values on L in a coroutine of its own, queued as ready; pops
 * them, pushes the thread. Raises only for lack of memory. */
void rt_spawn(struct rt *rt, lua_State *L, int nargs);

/* The thread that runs the loop: what a job gets as L. While the loop stands still, the main thread.
 * Never from a callback of a library. Check the stack before pushing on it. */
lua_State *rt_runner(struct rt *rt);

/* ---- waiting calls ------------------------------------------------------------------------ */

/*
 * A waiting call is a full userdata that begins with a struct op, made by op_new on the stack of
 * the caller. The order is: op_new (checks that waiting is possible here, raises if not), start
 * the work, `return op_wait(L, op)`; nothing should raise in between. The code that finishes the work
 * stores its result in the op and calls op_settle, exactly once; `push` builds the results later, on
 * the waiting coroutine, where raising an error is safe. `cancel` is called when the wait ends early
 * (the loop closes, or other code has resumed the coroutine): stop the work, and do not touch the op
 * again. An op settles once: after op_settle or cancel the owner must have forgotten it.
 *
 * In a coroutine the op lives until it has settled or was cancelled, even if the coroutine ends, and with it
 * the value at index 1 when op_new was called: the object whose method waits. Other values for the work can
 * replace it, as user value 1 of the op. A coroutine that was closed while it waited is not resumed; its work
 * goes on to its end.
 */
struct op {
  struct rt_job job; /* first: the drain casts */
  struct rt_list link;
  struct rt *rt;
  lua_State *co;
  const char *what; /* for messages: "an HTTP response" */
  int (*push)(lua_State *L, struct op *op);
  void (*cancel)(struct op *op);
  bool done, closed; /* closed: settled because the runtime closes */
  bool parked;       /* the coroutine has yielded in op_wait */
  bool spawned;      /* the coroutine is still the loop's, counted, and resumed by nobody else */
  bool reusable;     /* see core.begin */
};

/* Push a userdata of `size` bytes, zeroed, with the metatable `tname` (may be NULL: no __gc). Raises
 * CLOSED, as an error object, while the runtime closes. */
void *op_new(lua_State *L, size_t size, const char *tname, const char *what);
/* Drop an op: for an l_ function that fails between op_new and op_wait, before it raises or returns. */
void op_drop(lua_State *L, struct op *op);
/* Wait. As the last act of an l_ function: `return op_wait(L, op);` */
int op_wait(lua_State *L, struct op *op);
/* The result is there. From any callback; the coroutine goes on at the drain point. */
void op_settle(struct op *op);
/* The same at the drain point: the coroutine goes on before this returns, so that `push` may read
 * memory that is valid only now. Returns false, without having called push, if the main thread waits
 * (op->co == NULL): then copy what push needs. */
bool op_settle_now(struct rt *rt, lua_State *L, struct op *op);

/* ---- registration ------------------------------------------------------------------------- */

/* Make the metatable `name`. Methods and metamethods end with NULL; either may be NULL for none. */
void rt_new_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods);

void runtime_open(lua_State *L); /* adds run, stop, spawn, sleep, ... to the table on top */

#endif
