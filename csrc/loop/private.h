/*
 * loop/private.h - shared by the files of the runtime: struct rt and the functions between them.
 * From the ground up, none needs one below it in this list:
 *   queue.c         lists, the ready queue, flushes
 *   runtime.c       struct rt, its loop opened
 *   random.c        the random source
 *   clock.c         the clock, the timers
 *   busy.c          closing coroutines that block the loop
 *   wait.c          coroutines and waiting calls, the reporting of errors
 *   virtual_time.c  time that is moved by hand
 *   pause.c         sleep, waiter and timer, as Lua sees them
 *   signals.c       signals, as Lua sees them
 *   loop.c          turning and closing the loop
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_RUNTIME_PRIVATE_H
#define TRUECONF_RUNTIME_PRIVATE_H

#include "loop/runtime.h"

#define FOREVER 9e18 /* nanoseconds: 285 years */
#define NS_PER_S 1e9
#define NS_PER_MS UINT64_C(1000000)
enum { RANDOM_POOL = 4096 }; /* bytes of system randomness fetched at once */

struct rt {
  uv_loop_t loop;
  void (*turn)(struct rt *rt); /* loop.c: called before and after each poll */
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  uv_timer_t timer;
  bool open, closing, stopping;
  bool finished; /* the Lua state is being closed */
  lua_State *main;
  lua_State *runner; /* the thread inside run, step or a driven wait; NULL: the loop stands still */

  long refs;       /* objects that keep run() from returning */
  long coroutines; /* started by spawn and not finished */
  int spares;      /* coroutines that have returned and are used again */
  struct {
    lua_State *co;    /* NULL: none */
    bool parked;      /* it has yielded in op_wait */
    bool reusable;    /* nobody holds it: when it has returned it is used again */
    bool busy;        /* busy.c made it yield, because it blocked the loop */
    struct rt *outer; /* whose coroutine has turned this loop, on the same thread */
  } resumed;          /* the coroutine that the drain point runs */
  struct busy *busy;  /* NULL: no watcher */
  int cancels;        /* core.cancel inside of core.cancel */
  struct rt_list ops, signals;

  struct rt_job *jobs, **jobs_tail;
  size_t job_count;
  struct rt_flush *flushes, **flushes_tail;
  bool before_flush; /* Lua functions must run before the flushes of this turn */

  struct rt_timer **heap; /* its first place is 1 */
  size_t timers, heap_capacity;
  uint64_t armed;         /* due time the uv timer is set to; 0: not set */
  uint64_t looking_since; /* when timers that are late gave way to input; 0: they do not */
  uint64_t starts;        /* of timers, ever */

  struct {
    bool on;
    uint64_t now, target; /* nanoseconds */
    int64_t start;        /* UNIX milliseconds at now == 0 */
    uint64_t seed[2];
    bool to_next; /* when timers have fired, it has been advanced far enough */
    struct op *advancing;
    int quiet;              /* turns without an event */
    uint64_t seen, seen_at; /* the activity last seen, and the real time it was seen at */
  } virtual;
  uint64_t activity; /* counts events, to see a quiet turn */
  long underway;     /* results that other parties owe us: lookups, transfers, handshakes */
  long at_work;      /* threads that work for us and will end by themselves */

  unsigned char pool[RANDOM_POOL];
  size_t pool_left;

  void *slots[SLOT_COUNT];
  const struct rt_slot_ops *slot_ops[SLOT_COUNT];
};

/* The runtime of this Lua state, whether its loop is open or not. */
struct rt *rt_peek(lua_State *L);
/* Make it, push it. `turn` is left to the caller. */
struct rt *rt_make(lua_State *L);
/* True if something can still happen. */
bool rt_alive(const struct rt *rt);

/* ---- queue.c: the ready queue --------------------------------------------------------------------- */

struct rt_job *rt_next_job(struct rt *rt);
void rt_run_flushes(struct rt *rt);
/* Wake the loop: the next poll must not block. */
void rt_wake(struct rt *rt);
/* Empty the queue, so that the owners of its jobs may queue them again on another loop. */
void rt_drop_jobs(struct rt *rt);

/* ---- clock.c ------------------------------------------------------------------------------------ */

/* Set the uv timer to the first due time. */
void rt_arm(struct rt *rt);
/* Fire the timers that are due. */
void rt_fire_due(struct rt *rt);
/* True if the next poll will bring input. Of a long message only the last piece counts as an event. */
bool rt_has_input(struct rt *rt);
/* Forget all timers; none fires. */
void rt_drop_timers(struct rt *rt);
void rt_seed(struct rt *rt, uint64_t seed);

/* ---- virtual_time.c ----------------------------------------------------------------------------- */

/* Once per turn, while `virtual.advancing`: go to the next due time if nothing else happens. */
void rt_advance(struct rt *rt);

/* ---- wait.c ------------------------------------------------------------------------------------- */

void rt_unanchor_all(lua_State *L);

/* At the drain point: run the function below `nargs` values on L in a coroutine of its own until it waits or
 * ends; pops them. */
void rt_begin(struct rt *rt, lua_State *L, int nargs);
/* The same in two steps: only the first raises, for lack of memory. It leaves the coroutine on L in place of
 * the function and its arguments; the second pops it. */
lua_State *rt_coroutine(lua_State *L, int nargs);
void rt_begin_coroutine(struct rt *rt, lua_State *L, lua_State *co, int nargs);

/* Stop the work of every op and settle it with CLOSED. */
void rt_give_up_ops(struct rt *rt);
/* At the end of a drain: call the functions of core.before_flush. */
void rt_run_before_flush(struct rt *rt, lua_State *L);
/* Drop these functions: none is for the next loop. */
void rt_forget_before_flush(struct rt *rt, lua_State *L);

/* ---- busy.c ------------------------------------------------------------------------------------- */

/* Before and after a coroutine is resumed. */
void busy_enter(struct rt *rt);
void busy_leave(struct rt *rt);
/* Push why a coroutine that was made to yield is ended. */
void busy_push_complaint(struct rt *rt, lua_State *L);
/* Stop the watcher. */
void busy_stop(struct rt *rt);

/* ---- signals.c ---------------------------------------------------------------------------------- */

void rt_close_signals(struct rt *rt);

/* ---- for Lua ------------------------------------------------------------------------------------ */

/* Argument `index`: a number of seconds. */
double rt_check_seconds(lua_State *L, int index);
/* `push` of an op that brings no values. */
int rt_push_nothing(lua_State *L, struct op *op);

/* Each adds its functions to the table on top. */
void clock_open(lua_State *L);
void virtual_time_open(lua_State *L);
void random_open(lua_State *L);
void wait_open(lua_State *L);
void pause_open(lua_State *L);
void signals_open(lua_State *L);
void busy_open(lua_State *L);

#endif
