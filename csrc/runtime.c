/*
 * runtime.c - the loop, the ready queue, the clock, and waiting.
 * Lua sees: run, stop, step, fd, timeout, spawn, sleep, timer, signal, waiter, now, monotonic, random,
 * virtual_time, advance, on_error, close.
 * Owns: the libuv loop and its four housekeeping handles, the timer heap, the ready queue.
 * Coroutines are resumed in one place only, rt_resume, reached only from rt_turn; so handlers never run
 * inside libuv, lws, curl or each other.
 * SPDX-License-Identifier: MIT
 */
#include "runtime.h"

#include "errors.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1e9
#define NS_PER_MS 1000000u
enum {
  JOBS_PER_TURN = 4096,   /* then the sockets get their turn, however many jobs wait */
  QUIET_TURNS = 3,        /* turns without any event before virtual time moves */
  STALL_MS = 200,         /* real time after which virtual time no longer waits for a silent party */
  RANDOM_POOL = 4096,     /* bytes of system randomness fetched at once */
  WAKE_VALUES = 8,
};

struct rt {
  uv_loop_t loop;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  uv_timer_t timer;
  bool open, closing, stopping;
  lua_State *main;
  lua_State *runner;  /* the thread inside run, step or a driven wait; NULL: the loop stands still */
  struct op *parking; /* the op that the coroutine being resumed waits for; NULL: a bare yield */
  long refs;          /* what keeps run() from returning */
  long coroutines;    /* started by spawn and not finished */

  struct rt_job *jobs, **jobs_tail;
  size_t job_count;
  struct rt_flush *flushes, **flushes_tail;
  struct rt_list ops, signals;

  struct rt_timer **heap;
  size_t timers, heap_capacity;
  uint64_t armed; /* due time the uv timer is set to; 0: not set */

  struct {
    bool on;
    uint64_t now, target; /* nanoseconds */
    int64_t start;        /* UNIX milliseconds at now == 0 */
    uint64_t seed[2];
    struct op *advancing;
    int quiet;               /* turns without an event */
    uint64_t seen, seen_at;  /* the activity last seen, and the real time it was seen at */
  } virtual;
  uint64_t activity; /* counts events, to see a quiet turn */
  long underway;     /* what other parties owe us: lookups, transfers, handshakes */

  unsigned char pool[RANDOM_POOL];
  size_t pool_left;

  void *rooms[ROOM_COUNT];
  const struct rt_room_ops *room_ops[ROOM_COUNT];
};

static const char RT_KEY, PENDING_KEY, ON_ERROR_KEY; /* only their addresses matter */
#define RT_T "trueconf.runtime"
#define TIMER_T "trueconf.Timer"
#define SIGNAL_T "trueconf.Signal"
#define WAITER_T "trueconf.Waiter"

/* ---- lists ----------------------------------------------------------------------------------- */

void rt_list_init(struct rt_list *head) { head->next = head->prev = head; }

void rt_list_add(struct rt_list *head, struct rt_list *item) {
  item->next = head;
  item->prev = head->prev;
  head->prev->next = item;
  head->prev = item;
}

void rt_list_remove(struct rt_list *item) {
  if (!item->next) return;
  item->next->prev = item->prev;
  item->prev->next = item->next;
  item->next = item->prev = NULL;
}

/* ---- clock and random source ------------------------------------------------------------------- */

uint64_t rt_monotonic(struct rt *rt) { return rt->virtual.on ? rt->virtual.now : uv_hrtime(); }

int64_t rt_now(struct rt *rt) {
  struct timespec now;
  if (rt->virtual.on) return rt->virtual.start + (int64_t)(rt->virtual.now / NS_PER_MS);
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* xorshift128+: reproducible runs under virtual time, never used for secrets of a real run. */
static uint64_t seeded_random(struct rt *rt) {
  uint64_t a = rt->virtual.seed[0], b = rt->virtual.seed[1];
  rt->virtual.seed[0] = b;
  a ^= a << 23;
  rt->virtual.seed[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
  return rt->virtual.seed[1] + b;
}

static void system_random(void *bytes, size_t length) {
  unsigned char *at = bytes;
  while (length) {
    ssize_t n = getrandom(at, length > 256 ? 256 : length, 0); /* up to 256 bytes are never cut short */
    if (n > 0) {
      at += n;
      length -= (size_t)n;
    } else if (n < 0 && errno != EINTR) {
      abort(); /* without randomness there are no masks, no tokens: nothing safe is left to do */
    }
  }
}

void rt_random(struct rt *rt, void *bytes, size_t length) {
  unsigned char *at = bytes;
  while (length) {
    size_t n = length;
    if (rt->virtual.on) {
      uint64_t x = seeded_random(rt);
      if (n > sizeof x) n = sizeof x;
      memcpy(at, &x, n);
    } else {
      if (!rt->pool_left) {
        system_random(rt->pool, sizeof rt->pool);
        rt->pool_left = sizeof rt->pool;
      }
      if (n > rt->pool_left) n = rt->pool_left;
      rt->pool_left -= n;
      memcpy(at, rt->pool + rt->pool_left, n);
      memset(rt->pool + rt->pool_left, 0, n); /* what was handed out is not kept */
    }
    at += n;
    length -= n;
  }
}

double rt_random_unit(struct rt *rt) {
  uint64_t x;
  rt_random(rt, &x, sizeof x);
  return (double)(x >> 11) / 9007199254740992.0; /* 53 bits */
}

/* ---- the timer heap ---------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *handle);

static void heap_put(struct rt *rt, size_t place, struct rt_timer *timer) {
  rt->heap[place] = timer;
  timer->place = place;
}

static void heap_up(struct rt *rt, struct rt_timer *timer) {
  size_t place = timer->place;
  for (; place > 1 && rt->heap[place / 2]->due > timer->due; place /= 2)
    heap_put(rt, place, rt->heap[place / 2]);
  heap_put(rt, place, timer);
}

static void heap_down(struct rt *rt, struct rt_timer *timer) {
  size_t place = timer->place, child;
  for (; (child = place * 2) <= rt->timers; place = child) {
    if (child < rt->timers && rt->heap[child + 1]->due < rt->heap[child]->due) child++;
    if (rt->heap[child]->due >= timer->due) break;
    heap_put(rt, place, rt->heap[child]);
  }
  heap_put(rt, place, timer);
}

static bool heap_grow(struct rt *rt) {
  size_t capacity = rt->heap_capacity ? rt->heap_capacity * 2 : 64;
  struct rt_timer **grown;
  if (rt->timers + 1 < rt->heap_capacity) return true;
  grown = realloc(rt->heap, capacity * sizeof *grown);
  if (!grown) return false;
  rt->heap = grown;
  rt->heap_capacity = capacity;
  return true;
}

/* Set the uv timer to the first due time, if that is earlier than what it is set to. A timer that
 * was stopped leaves the uv timer as it is: it fires for nothing and is set again. */
static void arm(struct rt *rt) {
  uint64_t now, due;
  if (!rt->timers || rt->virtual.on || rt->closing) return;
  due = rt->heap[1]->due;
  if (rt->armed && rt->armed <= due) return;
  now = uv_hrtime();
  rt->armed = due;
  uv_update_time(&rt->loop);
  uv_timer_start(&rt->timer, on_timer, due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

void rt_timer_stop(struct rt *rt, struct rt_timer *timer) {
  struct rt_timer *last;
  if (!timer->place) return;
  last = rt->heap[rt->timers--];
  if (last != timer) {
    heap_put(rt, timer->place, last);
    heap_up(rt, last);
    heap_down(rt, last);
  }
  timer->place = 0;
}

void rt_timer_start(struct rt *rt, struct rt_timer *timer, double seconds) {
  double ns = seconds > 0 ? seconds * NS_PER_S : 0;
  rt_timer_stop(rt, timer);
  if (!heap_grow(rt)) {
    timer->fire(timer);
    return;
  }
  timer->due = rt_monotonic(rt) + (ns < 9e18 ? (uint64_t)ns : (uint64_t)9e18);
  timer->place = ++rt->timers;
  heap_up(rt, timer);
  arm(rt);
}

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
  arm(rt);
}

/* ---- the ready queue --------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *handle) { (void)handle; /* its being active keeps the poll from blocking */ }

static void wake_loop(struct rt *rt) {
  rt->activity++;
  if (rt->open && !uv_is_active((uv_handle_t *)&rt->idle)) uv_idle_start(&rt->idle, on_idle);
}

void rt_enqueue(struct rt *rt, struct rt_job *job) {
  if (job->queued) return;
  job->queued = true;
  job->next = NULL;
  *rt->jobs_tail = job;
  rt->jobs_tail = &job->next;
  rt->job_count++;
  wake_loop(rt);
}

static struct rt_job *next_job(struct rt *rt) {
  struct rt_job *job = rt->jobs;
  if (!job) return NULL;
  rt->jobs = job->next;
  if (!rt->jobs) rt->jobs_tail = &rt->jobs;
  rt->job_count--;
  job->queued = false;
  return job;
}

void rt_dequeue(struct rt *rt, struct rt_job *job) {
  struct rt_job **at = &rt->jobs;
  if (!job->queued) return;
  while (*at && *at != job) at = &(*at)->next;
  if (!*at) return;
  *at = job->next;
  if (!*at) rt->jobs_tail = at;
  rt->job_count--;
  job->queued = false;
}

void rt_flush_later(struct rt *rt, struct rt_flush *flush) {
  if (flush->queued) return;
  flush->queued = true;
  flush->next = NULL;
  *rt->flushes_tail = flush;
  rt->flushes_tail = &flush->next;
  wake_loop(rt);
}

void rt_flush_forget(struct rt *rt, struct rt_flush *flush) {
  struct rt_flush **at = &rt->flushes;
  if (!flush->queued) return;
  while (*at && *at != flush) at = &(*at)->next;
  if (!*at) return;
  *at = flush->next;
  if (!*at) rt->flushes_tail = at;
  flush->queued = false;
}

static void run_flushes(struct rt *rt) {
  struct rt_flush *flush;
  while ((flush = rt->flushes)) {
    rt->flushes = flush->next;
    if (!rt->flushes) rt->flushes_tail = &rt->flushes;
    flush->queued = false;
    flush->run(flush);
  }
}

static int l_drain(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  struct rt_job *job;
  int budget = JOBS_PER_TURN;
  while (budget-- > 0 && (job = next_job(rt))) {
    job->run(rt, L, job);
    lua_settop(L, 1);
  }
  return 0;
}

static void advance(struct rt *rt);

/* The one drain point, before and after each poll. */
static void rt_turn(struct rt *rt) {
  lua_State *L = rt->runner;
  if (!L) return; /* the loop is being emptied on the way out */
  if (rt->jobs) {
    lua_pushcfunction(L, l_drain);
    lua_pushlightuserdata(L, rt);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) { /* only for lack of memory: jobs catch what Lua raises */
      lua_warning(L, "trueconf: out of memory while running handlers", 0);
      lua_pop(L, 1);
    }
  }
  run_flushes(rt);
  if (rt->virtual.advancing) advance(rt);
  if (!rt->jobs && !rt->flushes && !rt->virtual.advancing) uv_idle_stop(&rt->idle);
}

static void on_prepare(uv_prepare_t *handle) { rt_turn(handle->data); }
static void on_check(uv_check_t *handle) { rt_turn(handle->data); }

/* ---- opening and closing ----------------------------------------------------------------------- */

static void loop_init(lua_State *L, struct rt *rt) {
  int status = uv_loop_init(&rt->loop);
  if (status) luaL_error(L, "cannot make an event loop: %s", uv_strerror(status));
  rt->prepare.data = rt->check.data = rt->idle.data = rt->timer.data = rt;
  rt->loop.data = rt;
  uv_prepare_init(&rt->loop, &rt->prepare);
  uv_check_init(&rt->loop, &rt->check);
  uv_idle_init(&rt->loop, &rt->idle);
  uv_timer_init(&rt->loop, &rt->timer);
  uv_prepare_start(&rt->prepare, on_prepare);
  uv_check_start(&rt->check, on_check);
  rt->armed = 0;
  rt->stopping = rt->closing = false;
  rt->open = true;
}

static struct rt *rt_peek(lua_State *L) {
  struct rt *rt;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &RT_KEY);
  rt = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rt;
}

struct rt *rt_get(lua_State *L) {
  struct rt *rt = rt_peek(L);
  if (!rt->open) loop_init(L, rt);
  return rt;
}

lua_State *rt_runner(struct rt *rt) { return rt->runner ? rt->runner : rt->main; }
uv_loop_t *rt_loop(struct rt *rt) { return &rt->loop; }
void rt_ref(struct rt *rt) { rt->refs++; }
void rt_unref(struct rt *rt) { rt->refs--; }
void rt_underway(struct rt *rt, int change) { rt->underway += change; }

void *rt_room(struct rt *rt, enum rt_room room) { return rt->rooms[room]; }

void rt_set_room(struct rt *rt, enum rt_room room, void *state, const struct rt_room_ops *ops) {
  rt->rooms[room] = state;
  rt->room_ops[room] = ops;
}

static void rooms_closing(struct rt *rt) {
  for (int room = ROOM_COUNT - 1; room >= 0; room--) /* sessions before sockets before the wire */
    if (rt->rooms[room] && rt->room_ops[room]->closing) rt->room_ops[room]->closing(rt, rt->rooms[room]);
}

static void rooms_closed(struct rt *rt) {
  for (int room = ROOM_COUNT - 1; room >= 0; room--) {
    if (rt->rooms[room] && rt->room_ops[room]->closed) rt->room_ops[room]->closed(rt, rt->rooms[room]);
    rt->rooms[room] = NULL;
  }
}

/* Nobody waits any more: stop the work of every op and, if Lua still runs, let each know. */
static void give_up_ops(struct rt *rt) {
  struct rt_list *item, *next;
  for (item = rt->ops.next; item != &rt->ops; item = next) {
    struct op *op = (struct op *)(void *)((char *)item - offsetof(struct op, link));
    next = item->next;
    if (op->done) continue;
    if (op->cancel) op->cancel(op);
    op->closed = true;
    op_settle(op);
  }
}

static void close_handles(struct rt *rt) {
  uv_close((uv_handle_t *)&rt->prepare, NULL);
  uv_close((uv_handle_t *)&rt->check, NULL);
  uv_close((uv_handle_t *)&rt->idle, NULL);
  uv_close((uv_handle_t *)&rt->timer, NULL);
}

static void close_signals(struct rt *rt);

static void loop_close(struct rt *rt) {
  rt->runner = NULL;
  rooms_closing(rt);
  close_handles(rt);
  close_signals(rt);
  uv_run(&rt->loop, UV_RUN_DEFAULT);
  rooms_closed(rt);
  uv_run(&rt->loop, UV_RUN_DEFAULT);
  rt->open = false;
  uv_loop_close(&rt->loop);
  free(rt->heap);
  rt->heap = NULL;
  rt->heap_capacity = rt->timers = 0;
  rt->jobs = NULL;
  rt->jobs_tail = &rt->jobs;
  rt->flushes = NULL;
  rt->flushes_tail = &rt->flushes;
  rt->job_count = 0;
  rt->refs = rt->underway = 0;
}

/* At the end of the Lua state no coroutine may run any more: work is stopped, nobody is told. */
static int l_rt_gc(lua_State *L) {
  struct rt *rt = lua_touserdata(L, 1);
  if (rt->open) {
    rt->closing = true;
    give_up_ops(rt);
    loop_close(rt);
  }
  return 0;
}

/* ---- reporting --------------------------------------------------------------------------------- */

/* Tell on_error's handler, or the warning system, of the error `message` (popped from L). */
static void report(lua_State *L, const char *what) {
  const char *text = luaL_tolstring(L, -2, NULL); /* message, traceback, text */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY) == LUA_TFUNCTION) {
    lua_pushvalue(L, -4);
    lua_pushvalue(L, -4);
    lua_pushstring(L, what);
    if (lua_pcall(L, 3, 0, 0) == LUA_OK) {
      lua_pop(L, 3);
      return;
    }
  }
  lua_warning(L, "trueconf: error in ", 1);
  lua_warning(L, what, 1);
  lua_warning(L, ": ", 1);
  lua_warning(L, text, 1);
  lua_warning(L, "\n", 1);
  lua_warning(L, lua_isstring(L, -3) ? lua_tostring(L, -3) : "", 0);
  lua_pop(L, 4);
}

static int with_traceback(lua_State *L) { /* error -> {error, traceback} */
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  lua_rawseti(L, -3, 2);
  lua_pop(L, 1);
  return 1;
}

void rt_call(struct rt *rt, lua_State *L, int nargs, const char *what) {
  int base = lua_gettop(L) - nargs;
  (void)rt;
  lua_pushcfunction(L, with_traceback);
  lua_insert(L, base);
  if (lua_pcall(L, nargs, 0, base) != LUA_OK) {
    if (lua_istable(L, -1)) {
      lua_rawgeti(L, -1, 1);
      lua_rawgeti(L, -2, 2);
    } else { /* an error in the message handler: no memory */
      lua_pushvalue(L, -1);
      lua_pushliteral(L, "");
    }
    report(L, what);
  }
  lua_settop(L, base - 1);
}

static int close_thread(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
  return lua_closethread(co, from);
#else
  (void)from;
  return lua_resetthread(co);
#endif
}

/* A coroutine died of the error on its stack: report it, then run its <close> variables. */
static void bury(lua_State *L, lua_State *co) {
  luaL_checkstack(L, 4, NULL);
  lua_pushvalue(co, -1);
  lua_xmove(co, L, 1);
  luaL_traceback(L, co, luaL_tolstring(L, -1, NULL), 0);
  lua_remove(L, -2); /* the text, keeping error and traceback */
  report(L, "a coroutine");
  close_thread(co, L);
}

/* ---- spawn and resume -------------------------------------------------------------------------- */

/* The only lua_resume. `co` is anchored by the caller for the time of the call. */
static void rt_resume(struct rt *rt, lua_State *L, lua_State *co, int nargs) {
  int nresults = 0, status;
  rt->parking = NULL;
  status = lua_resume(co, L, nargs, &nresults);
  if (status == LUA_YIELD && rt->parking) {
    lua_pop(co, nresults);
    return;
  }
  rt->coroutines--;
  if (status == LUA_OK) {
    lua_pop(co, nresults);
  } else if (status == LUA_YIELD) {
    lua_settop(co, 0);
    luaL_where(L, 0);
    lua_pushliteral(L, "coroutine.yield called outside of a waiting function; "
                       "only the functions of trueconf may suspend this coroutine");
    luaL_traceback(L, co, lua_tostring(L, -1), 0);
    report(L, "a coroutine");
    lua_pop(L, 1);
    close_thread(co, L);
  } else {
    bury(L, co);
  }
}

static void anchor(lua_State *L, const void *key, int index) {
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, key);
  lua_pop(L, 1);
}

/* Take what was anchored and leave it on the stack. Clearing an existing slot cannot allocate. */
static void unanchor(lua_State *L, const void *key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
  lua_rawgetp(L, -1, key);
  lua_pushnil(L);
  lua_rawsetp(L, -3, key);
  lua_remove(L, -2);
}

struct start {
  struct rt_job job;
  int nargs;
};

static void run_start(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct start *start = (struct start *)job;
  int nargs = start->nargs;
  lua_State *co;
  unanchor(L, start);
  free(start);
  co = lua_tothread(L, -1);
  if (co) rt_resume(rt, L, co, nargs);
}

void rt_spawn(struct rt *rt, lua_State *L, int nargs) {
  struct start *start = malloc(sizeof *start);
  lua_State *co;
  if (!start) luaL_error(L, "out of memory");
  memset(start, 0, sizeof *start);
  start->job.run = run_start;
  start->nargs = nargs;
  co = lua_newthread(L); /* fn, args..., thread */
  lua_insert(L, -nargs - 2);
  lua_xmove(L, co, nargs + 1);
  anchor(L, start, -1);
  rt->coroutines++;
  rt_enqueue(rt, &start->job);
}

static int l_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  rt_spawn(rt_get(L), L, lua_gettop(L) - 1);
  return 1;
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static void run_op(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct op *op = (struct op *)job;
  lua_State *co = op->co;
  if (!co) return; /* the main thread drives the loop and looks at op->done itself */
  unanchor(L, op);
  rt_resume(rt, L, co, 0);
  lua_pop(L, 1);
}

void *op_new(lua_State *L, size_t size, const char *tname, const char *what) {
  struct rt *rt = rt_get(L);
  struct op *op;
  if (rt->closing) luaL_error(L, "cannot wait for %s: trueconf is closing", what);
  if (!lua_isyieldable(L) && rt->runner)
    luaL_error(L, "cannot wait for %s here: start a coroutine with trueconf.spawn", what);
  op = lua_newuserdatauv(L, size, 1);
  memset(op, 0, size);
  op->rt = rt;
  op->what = what;
  op->job.run = run_op;
  if (tname) luaL_setmetatable(L, tname);
  return op;
}

void op_settle(struct op *op) {
  if (op->done) return;
  op->done = true;
  rt_enqueue(op->rt, &op->job);
}

bool op_settle_now(struct rt *rt, lua_State *L, struct op *op) {
  if (op->done) return true;
  op->done = true;
  if (!op->co) {
    rt_enqueue(rt, &op->job);
    return false;
  }
  run_op(rt, L, &op->job);
  return true;
}

static void op_drop(struct op *op) {
  rt_dequeue(op->rt, &op->job);
  rt_list_remove(&op->link);
}

static int op_results(lua_State *L, struct op *op) {
  rt_list_remove(&op->link);
  if (op->closed) return fail(L, ERR_CLOSED, 0, "trueconf was closed while waiting for %s", op->what);
  return op->push(L, op);
}

static int op_k(lua_State *L, int status, lua_KContext context) {
  struct op *op = (struct op *)context;
  (void)status;
  if (!op->done || op->job.queued) { /* resumed by someone other than the loop */
    if (!op->done && op->cancel) op->cancel(op);
    op->done = true;
    op_drop(op);
    lua_pushnil(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, op);
    return luaL_error(L, "coroutine resumed while waiting for %s", op->what);
  }
  return op_results(L, op);
}

static bool alive(struct rt *rt) { return rt->refs > 0 || rt->jobs || rt->flushes || rt->virtual.advancing; }

/* The main thread outside the loop: turn the loop until the op is done. */
static int op_drive(lua_State *L, struct op *op) {
  struct rt *rt = op->rt;
  rt_list_add(&rt->ops, &op->link);
  rt->runner = L;
  while (!op->done && alive(rt))
    uv_run(&rt->loop, UV_RUN_ONCE);
  rt->runner = NULL;
  if (op->done) {
    rt_dequeue(rt, &op->job);
    return op_results(L, op);
  }
  if (op->cancel) op->cancel(op);
  op->done = true;
  op_drop(op);
  return luaL_error(L, "waiting for %s, but nothing is left that could bring it", op->what);
}

int op_wait(lua_State *L, struct op *op) {
  if (!lua_isyieldable(L)) return op_drive(L, op);
  op->co = L;
  lua_pushthread(L);
  anchor(L, op, -1);
  lua_pop(L, 1);
  rt_list_add(&op->rt->ops, &op->link);
  op->rt->parking = op;
  return lua_yieldk(L, 0, (lua_KContext)op, op_k);
}

/* ---- sleep, waiters, timers, signals ----------------------------------------------------------- */

struct sleep_op {
  struct op op;
  struct rt_timer timer;
};

static struct sleep_op *sleep_of(struct rt_timer *timer) {
  return (struct sleep_op *)(void *)((char *)timer - offsetof(struct sleep_op, timer));
}

static void sleep_over(struct rt_timer *timer) {
  struct sleep_op *sleep = sleep_of(timer);
  rt_unref(sleep->op.rt);
  op_settle(&sleep->op);
}

static void sleep_cancel(struct op *op) {
  rt_timer_stop(op->rt, &((struct sleep_op *)op)->timer);
  rt_unref(op->rt);
}

static int sleep_push(lua_State *L, struct op *op) {
  (void)L;
  (void)op;
  return 0;
}

static double check_seconds(lua_State *L, int index) {
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0 && seconds < 1e10, index, "seconds, 0 or more, expected");
  return seconds;
}

static int l_sleep(lua_State *L) {
  double seconds = check_seconds(L, 1);
  struct sleep_op *sleep = op_new(L, sizeof *sleep, NULL, "the end of a sleep");
  sleep->op.push = sleep_push;
  sleep->op.cancel = sleep_cancel;
  sleep->timer.fire = sleep_over;
  rt_ref(sleep->op.rt);
  rt_timer_start(sleep->op.rt, &sleep->timer, seconds);
  return op_wait(L, &sleep->op);
}

struct waiter {
  struct wait_op *op; /* who waits; NULL: nobody */
  int values;         /* stored as user values; -1: not woken */
};

struct wait_op {
  struct op op;
  struct rt_timer timer;
  struct waiter *waiter;
  bool timed;
};

static void wait_forget(struct wait_op *wait) {
  wait->waiter->op = NULL;
  if (wait->timed) {
    rt_timer_stop(wait->op.rt, &wait->timer);
    rt_unref(wait->op.rt);
  }
}

static void wait_timed_out(struct rt_timer *timer) {
  struct wait_op *wait = (struct wait_op *)(void *)((char *)timer - offsetof(struct wait_op, timer));
  wait_forget(wait);
  op_settle(&wait->op);
}

static void wait_cancel(struct op *op) { wait_forget((struct wait_op *)op); }

static int push_woken(lua_State *L, struct waiter *waiter) {
  luaL_checkstack(L, WAKE_VALUES, NULL);
  for (int i = 1; i <= waiter->values; i++)
    lua_getiuservalue(L, 1, i);
  return waiter->values;
}

static int wait_push(lua_State *L, struct op *op) {
  struct waiter *waiter = ((struct wait_op *)op)->waiter;
  if (waiter->values < 0) return fail(L, ERR_TIMEOUT, 0, "nothing came within the time given");
  return push_woken(L, waiter);
}

static int l_waiter_wait(lua_State *L) {
  struct waiter *waiter = luaL_checkudata(L, 1, WAITER_T);
  double seconds = luaL_opt(L, check_seconds, 2, -1);
  struct wait_op *wait;
  if (waiter->values >= 0) return push_woken(L, waiter);
  if (waiter->op) return luaL_error(L, "another coroutine waits here already");
  lua_settop(L, 1);
  wait = op_new(L, sizeof *wait, NULL, "a waiter to be woken");
  wait->op.push = wait_push;
  wait->op.cancel = wait_cancel;
  wait->waiter = waiter;
  waiter->op = wait;
  if (seconds >= 0) {
    wait->timed = true;
    wait->timer.fire = wait_timed_out;
    rt_ref(wait->op.rt);
    rt_timer_start(wait->op.rt, &wait->timer, seconds);
  }
  return op_wait(L, &wait->op);
}

static int l_waiter_wake(lua_State *L) {
  struct waiter *waiter = luaL_checkudata(L, 1, WAITER_T);
  int values = lua_gettop(L) - 1;
  luaL_argcheck(L, values <= WAKE_VALUES, WAKE_VALUES + 2, "at most 8 values");
  if (waiter->values >= 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  for (int i = values; i >= 1; i--)
    lua_setiuservalue(L, 1, i);
  waiter->values = values;
  if (waiter->op) {
    struct wait_op *wait = waiter->op;
    wait_forget(wait);
    op_settle(&wait->op);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_waiter(lua_State *L) {
  struct waiter *waiter = lua_newuserdatauv(L, sizeof *waiter, WAKE_VALUES);
  waiter->op = NULL;
  waiter->values = -1;
  luaL_setmetatable(L, WAITER_T);
  return 1;
}

struct timer {
  struct rt *rt;
  struct rt_timer timer;
  struct rt_job job;
};

static void timer_fired(struct rt_timer *timer) {
  struct timer *t = (struct timer *)(void *)((char *)timer - offsetof(struct timer, timer));
  rt_enqueue(t->rt, &t->job);
}

static void run_timer(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct timer *t = (struct timer *)(void *)((char *)job - offsetof(struct timer, job));
  rt_unref(rt);
  unanchor(L, t);
  lua_getiuservalue(L, -1, 1);
  rt_spawn(rt, L, 0);
}

static int l_timer(lua_State *L) {
  double seconds = check_seconds(L, 1);
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
  anchor(L, t, -1);
  rt_ref(rt);
  rt_timer_start(rt, &t->timer, seconds);
  return 1;
}

static int l_timer_cancel(lua_State *L) {
  struct timer *t = luaL_checkudata(L, 1, TIMER_T);
  if (!t->timer.place && !t->job.queued) return 0;
  rt_timer_stop(t->rt, &t->timer);
  rt_dequeue(t->rt, &t->job);
  rt_unref(t->rt);
  unanchor(L, t);
  return 0;
}

struct signal_watch { /* freed in the close callback: libuv needs it after Lua has let go */
  uv_signal_t handle;
  struct rt_list link;
  struct rt *rt;
  struct rt_job job;
};

static const struct {
  const char *name;
  int number;
} signals[] = {{"SIGINT", SIGINT}, {"SIGTERM", SIGTERM}, {"SIGHUP", SIGHUP}, {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}};
static const char *const signal_names[] = {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", NULL};

static void on_signal(uv_signal_t *handle, int number) {
  struct signal_watch *watch = handle->data;
  (void)number;
  rt_enqueue(watch->rt, &watch->job);
}

static void run_signal(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct signal_watch *watch = (struct signal_watch *)(void *)((char *)job - offsetof(struct signal_watch, job));
  lua_rawgetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
  if (lua_rawgetp(L, -1, watch) != LUA_TUSERDATA) return;
  lua_getiuservalue(L, -1, 1);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (signals[i].number == watch->handle.signum) lua_pushstring(L, signals[i].name);
  rt_spawn(rt, L, 1);
}

static void on_signal_closed(uv_handle_t *handle) { free(handle->data); }

static void signal_stop(struct signal_watch *watch) {
  rt_dequeue(watch->rt, &watch->job);
  rt_list_remove(&watch->link);
  rt_unref(watch->rt);
  uv_close((uv_handle_t *)&watch->handle, on_signal_closed);
}

static int l_signal_close(lua_State *L) {
  struct signal_watch **box = luaL_checkudata(L, 1, SIGNAL_T), *watch = *box;
  if (!watch) return 0;
  *box = NULL;
  unanchor(L, watch);
  signal_stop(watch);
  return 0;
}

static int l_signal(lua_State *L) {
  int which = luaL_checkoption(L, 1, NULL, signal_names);
  struct rt *rt = rt_get(L);
  struct signal_watch **box, *watch;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  luaL_setmetatable(L, SIGNAL_T);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  watch = calloc(1, sizeof *watch);
  if (!watch) return luaL_error(L, "out of memory");
  watch->rt = rt;
  watch->job.run = run_signal;
  watch->handle.data = watch;
  uv_signal_init(&rt->loop, &watch->handle);
  uv_signal_start(&watch->handle, on_signal, signals[which].number);
  rt_list_add(&rt->signals, &watch->link);
  anchor(L, watch, -1);
  rt_ref(rt);
  *box = watch;
  return 1;
}

static void close_signals(struct rt *rt) {
  while (rt->signals.next != &rt->signals)
    signal_stop((struct signal_watch *)(void *)((char *)rt->signals.next - offsetof(struct signal_watch, link)));
}

/* core.close leaves Lua its boxes: empty them. */
static void empty_signal_boxes(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    struct signal_watch **box = luaL_testudata(L, -1, SIGNAL_T);
    if (box && *box) {
      signal_stop(*box);
      *box = NULL;
    }
  }
  lua_pop(L, 1);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
}

/* ---- virtual time ------------------------------------------------------------------------------ */

/* Has nothing happened for some turns? A party that owes an answer is waited for, but not for longer
 * than a moment of real time: it may be silent on purpose. */
static bool quiet(struct rt *rt) {
  static const struct timespec moment = {0, 100000};
  uint64_t real = uv_hrtime();
  if (rt->activity != rt->virtual.seen) {
    rt->virtual.seen = rt->activity;
    rt->virtual.seen_at = real;
    rt->virtual.quiet = 0;
    return false;
  }
  if (rt->underway && real - rt->virtual.seen_at < (uint64_t)STALL_MS * NS_PER_MS) rt->virtual.quiet = 0;
  if (++rt->virtual.quiet >= QUIET_TURNS) return true;
  nanosleep(&moment, NULL); /* gives the kernel time to carry what was sent on loopback */
  return false;
}

static void advance(struct rt *rt) {
  struct op *op = rt->virtual.advancing;
  if (!quiet(rt)) return;
  rt->virtual.quiet = 0;
  if (rt->timers && rt->heap[1]->due <= rt->virtual.target) {
    if (rt->heap[1]->due > rt->virtual.now) rt->virtual.now = rt->heap[1]->due;
    fire_due(rt);
    return;
  }
  rt->virtual.now = rt->virtual.target;
  rt->virtual.advancing = NULL;
  op_settle(op);
}

static void advance_cancel(struct op *op) { op->rt->virtual.advancing = NULL; }

static int l_advance(lua_State *L) {
  double seconds = check_seconds(L, 1);
  struct rt *rt = rt_get(L);
  struct op *op;
  if (!rt->virtual.on) return luaL_error(L, "advance needs virtual time: call virtual_time(true) first");
  if (rt->virtual.advancing) return luaL_error(L, "time is being advanced by another coroutine");
  op = op_new(L, sizeof *op, NULL, "virtual time");
  op->push = sleep_push;
  op->cancel = advance_cancel;
  rt->virtual.target = rt->virtual.now + (uint64_t)(seconds * NS_PER_S);
  rt->virtual.advancing = op;
  rt->virtual.quiet = 0;
  wake_loop(rt);
  return op_wait(L, op);
}

static int l_virtual_time(lua_State *L) {
  bool on = lua_toboolean(L, 1);
  struct rt *rt = rt_get(L);
  if (rt->timers) return luaL_error(L, "the clock can be replaced only while no timer runs");
  rt->virtual.on = on;
  rt->virtual.now = NS_PER_MS;
  rt->virtual.start = luaL_optinteger(L, 2, 1767225600000); /* 2026-01-01 */
  rt->virtual.seed[0] = (uint64_t)luaL_optinteger(L, 3, 1) * 0x9e3779b97f4a7c15u + 1;
  rt->virtual.seed[1] = 0x2545f4914f6cdd1du;
  return 0;
}

/* ---- running ----------------------------------------------------------------------------------- */

static struct rt *enter(lua_State *L) {
  struct rt *rt = rt_get(L);
  if (rt->runner) luaL_error(L, "the loop is running already");
  rt->runner = L;
  return rt;
}

static int l_run(lua_State *L) {
  struct rt *rt = enter(L);
  rt->stopping = false;
  while (!rt->stopping && alive(rt))
    uv_run(&rt->loop, UV_RUN_ONCE);
  rt->runner = NULL;
  return 0;
}

static int l_stop(lua_State *L) {
  struct rt *rt = rt_get(L);
  rt->stopping = true;
  wake_loop(rt);
  return 0;
}

static int l_step(lua_State *L) {
  struct rt *rt = enter(L);
  uv_run(&rt->loop, UV_RUN_NOWAIT);
  rt->runner = NULL;
  lua_pushboolean(L, alive(rt));
  return 1;
}

static int l_fd(lua_State *L) {
  lua_pushinteger(L, uv_backend_fd(rt_loop(rt_get(L))));
  return 1;
}

static int l_timeout(lua_State *L) {
  int ms;
  uv_update_time(rt_loop(rt_get(L)));
  ms = uv_backend_timeout(rt_loop(rt_get(L)));
  if (ms < 0) return 0;
  lua_pushnumber(L, ms / 1000.0);
  return 1;
}

static int l_close(lua_State *L) {
  struct rt *rt = rt_peek(L);
  if (!rt->open) return 0;
  if (rt->runner) return luaL_error(L, "close cannot be called while the loop runs");
  rt->closing = true;
  give_up_ops(rt);
  rt->runner = L;
  for (int turns = 0; rt->jobs && turns < 1000; turns++)
    rt_turn(rt);
  empty_signal_boxes(L);
  loop_close(rt);
  rt->closing = false;
  rt->virtual.on = false;
  return 0;
}

static int l_now(lua_State *L) {
  lua_pushinteger(L, rt_now(rt_peek(L)));
  return 1;
}

static int l_monotonic(lua_State *L) {
  lua_pushnumber(L, (double)rt_monotonic(rt_peek(L)) / NS_PER_S);
  return 1;
}

static int l_random(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_Buffer buffer;
  luaL_argcheck(L, n >= 0 && n <= 1 << 20, 1, "0 to 1048576 bytes");
  rt_random(rt_peek(L), luaL_buffinitsize(L, &buffer, (size_t)n), (size_t)n);
  luaL_pushresultsize(&buffer, (size_t)n);
  return 1;
}

static int l_uuid(lua_State *L) {
  unsigned char b[16];
  char text[37];
  rt_random(rt_peek(L), b, sizeof b);
  b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
  b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
  snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
           b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  lua_pushlstring(L, text, 36);
  return 1;
}

static int l_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY);
  return 0;
}

static void count_handle(uv_handle_t *handle, void *arg) {
  if (!uv_is_closing(handle)) ++*(int *)arg;
}

static int l_stats(lua_State *L) {
  struct rt *rt = rt_peek(L);
  int pending = 0, handles = 0;
  if (rt->open) uv_walk(&rt->loop, count_handle, &handles);
  for (struct rt_list *item = rt->ops.next; item != &rt->ops; item = item->next)
    pending++;
  lua_createtable(L, 0, 12);
  lua_pushinteger(L, pending), lua_setfield(L, -2, "pending");
  lua_pushinteger(L, (lua_Integer)rt->job_count), lua_setfield(L, -2, "ready");
  lua_pushinteger(L, (lua_Integer)rt->timers), lua_setfield(L, -2, "timers");
  lua_pushinteger(L, rt->coroutines), lua_setfield(L, -2, "coroutines");
  lua_pushinteger(L, rt->refs), lua_setfield(L, -2, "refs");
  lua_pushinteger(L, handles), lua_setfield(L, -2, "handles");
  for (int room = 0; room < ROOM_COUNT; room++) {
    if (!rt->rooms[room] || !rt->room_ops[room]->name) continue;
    lua_pushinteger(L, rt->room_ops[room]->count(rt->rooms[room]));
    lua_setfield(L, -2, rt->room_ops[room]->name);
  }
  return 1;
}

/* ---- registration ------------------------------------------------------------------------------ */

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  if (gc) {
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
}

static void make_rt(lua_State *L) {
  struct rt *rt;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &RT_KEY) != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  rt = lua_newuserdatauv(L, sizeof *rt, 0);
  memset(rt, 0, sizeof *rt);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  rt->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  rt->jobs_tail = &rt->jobs;
  rt->flushes_tail = &rt->flushes;
  rt_list_init(&rt->ops);
  rt_list_init(&rt->signals);
  if (luaL_newmetatable(L, RT_T)) {
    lua_pushcfunction(L, l_rt_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &RT_KEY);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &PENDING_KEY);
}

void runtime_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"run", l_run},
                                       {"stop", l_stop},
                                       {"step", l_step},
                                       {"fd", l_fd},
                                       {"timeout", l_timeout},
                                       {"close", l_close},
                                       {"spawn", l_spawn},
                                       {"sleep", l_sleep},
                                       {"timer", l_timer},
                                       {"signal", l_signal},
                                       {"waiter", l_waiter},
                                       {"now", l_now},
                                       {"monotonic", l_monotonic},
                                       {"random", l_random},
                                       {"uuid", l_uuid},
                                       {"virtual_time", l_virtual_time},
                                       {"advance", l_advance},
                                       {"on_error", l_on_error},
                                       {"stats", l_stats},
                                       {NULL, NULL}};
  static const luaL_Reg timer_methods[] = {{"cancel", l_timer_cancel}, {NULL, NULL}};
  static const luaL_Reg signal_methods[] = {{"close", l_signal_close}, {NULL, NULL}};
  static const luaL_Reg waiter_methods[] = {{"wait", l_waiter_wait}, {"wake", l_waiter_wake}, {NULL, NULL}};
  make_rt(L);
  new_type(L, TIMER_T, timer_methods, NULL);
  new_type(L, SIGNAL_T, signal_methods, NULL);
  new_type(L, WAITER_T, waiter_methods, NULL);
  luaL_setfuncs(L, functions, 0);
}
