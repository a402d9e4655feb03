/*
 * loop/busy.c - closes coroutines that block the loop.
 * Lua sees: busy_limit(seconds).
 * A loop in a coroutine that never waits would stop everything else, and no timer could end it. So another
 * thread looks now and then whether the same coroutine still runs. If it has for longer than the limit, that
 * thread sends a signal to the loop's thread, whose handler sets a hook in the coroutine, as lua.c does for
 * SIGINT. The hook yields, which nothing in the coroutine can catch; resume() then gives the coroutine up.
 * While nobody is too busy, this costs two stores for each resume.
 * The signal is SIGURG: nobody minds it by default, and debuggers pass it on.
 * Owns: struct busy with its thread, from busy_limit() until the runtime closes.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* dladdr */ /* NOLINT(bugprone-reserved-identifier) */
#include "loop/private.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOKS_PER_LIMIT = 4 };

struct busy {
  double limit; /* seconds */
  pthread_t watcher;
  pid_t process; /* of the watcher: after fork() the child has no such thread */
  uv_mutex_t lock;
  uv_cond_t wake;
  bool over;
  _Atomic unsigned long turn;    /* odd while a coroutine runs */
  _Atomic unsigned long suspect; /* the turn that has lasted too long */
  _Atomic pthread_t loop;        /* the thread that runs it */
};

/* Read by the handler of the signal, on the loop's thread. The model initial-exec gives each thread its copy
 * from the start: with others the first use calls malloc(), which the signal may have interrupted. */
static _Thread_local struct rt *volatile running __attribute__((tls_model("initial-exec")));
static struct sigaction previous; /* the handler before ours */

/* ---- on the loop's thread ----------------------------------------------------------------------- */

static bool is_suspect(struct busy *busy) {
  unsigned long turn = atomic_load(&busy->turn);
  return turn % 2 == 1 && turn == atomic_load(&busy->suspect);
}

/* If the coroutine cannot yield, raise an error; it has the limit once more to clean up. */
static void on_instruction(lua_State *L, lua_Debug *ar) {
  struct rt *rt = running;
  bool caught = rt && rt->busy && rt->resumed.co == L && is_suspect(rt->busy);
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  if (!caught)
    return;
  if (!lua_isyieldable(L)) {
    atomic_fetch_add(&rt->busy->turn, 2);
    luaL_error(L, "the coroutine has blocked the loop for %f s without waiting", rt->busy->limit);
  }
  rt->resumed.busy = true;
  lua_yield(L, 0);
}

static void on_urgent(int number, siginfo_t *info, void *context) {
  struct rt *rt = running;
  if (rt && rt->busy && rt->resumed.co && is_suspect(rt->busy))
    lua_sethook(rt->resumed.co, on_instruction, LUA_MASKCOUNT, 1);
  else if (previous.sa_flags & SA_SIGINFO)
    previous.sa_sigaction(number, info, context);
  else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
    previous.sa_handler(number);
}

void busy_enter(struct rt *rt) {
  struct busy *busy = rt->busy;
  rt->resumed.busy = false;
  rt->resumed.outer = running;
  running = rt;
  if (!busy)
    return;
  atomic_store_explicit(&busy->loop, pthread_self(), memory_order_relaxed);
  atomic_fetch_add_explicit(&busy->turn, 1, memory_order_release);
}

void busy_leave(struct rt *rt) {
  running = rt->resumed.outer;
  if (rt->busy && atomic_load_explicit(&rt->busy->turn, memory_order_relaxed) % 2 == 1)
    atomic_fetch_add_explicit(&rt->busy->turn, 1, memory_order_release);
}

void busy_push_complaint(struct rt *rt, lua_State *L) {
  lua_pushfstring(L, "the coroutine has blocked the loop for %f s without waiting; it was closed",
                  rt->busy ? rt->busy->limit : 0);
}

/* ---- the watcher -------------------------------------------------------------------------------- */

static void *watch(void *argument) {
  struct busy *busy = argument;
  uint64_t period = (uint64_t)(busy->limit * NS_PER_S / LOOKS_PER_LIMIT), since = uv_hrtime();
  unsigned long seen = 0;
  uv_mutex_lock(&busy->lock);
  while (!busy->over) {
    unsigned long turn;
    uv_cond_timedwait(&busy->wake, &busy->lock, period);
    turn = atomic_load_explicit(&busy->turn, memory_order_acquire);
    if (turn != seen) {
      seen = turn;
      since = uv_hrtime();
    } else if (turn % 2 == 1 && uv_hrtime() - since >= (uint64_t)(busy->limit * NS_PER_S) && !busy->over) {
      atomic_store(&busy->suspect, turn);
      pthread_kill(atomic_load_explicit(&busy->loop, memory_order_relaxed), SIGURG);
    }
  }
  uv_mutex_unlock(&busy->lock);
  return NULL;
}

/* The watcher blocks all signals, so that the process gets them on other threads. */
static int start_watcher(struct busy *busy) {
  sigset_t all, before;
  int status;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  status = pthread_create(&busy->watcher, NULL, watch, busy);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

/* Lua unmaps the module with the state that has loaded it, unless it is held elsewhere. */
static void stay_mapped(void) {
  Dl_info module;
  if (dladdr(&previous, &module))
    dlopen(module.dli_fname, RTLD_NOW | RTLD_NOLOAD);
}

/* The handler stays for the life of the process: another Lua state may need it. */
static void mind_signal(void) {
  static atomic_flag done = ATOMIC_FLAG_INIT;
  struct sigaction action = {0};
  if (atomic_flag_test_and_set(&done))
    return;
  stay_mapped();
  action.sa_sigaction = on_urgent;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGURG, NULL, &previous); /* before the handler looks at it, in whichever thread */
  sigaction(SIGURG, &action, NULL);
}

/* After fork() there is no watcher: waiting for it, or for its condition to be left, would never end. */
static void end_watcher(struct busy *busy) {
  if (busy->process != getpid())
    return;
  uv_mutex_lock(&busy->lock);
  busy->over = true;
  uv_cond_signal(&busy->wake);
  uv_mutex_unlock(&busy->lock);
  pthread_join(busy->watcher, NULL);
  uv_cond_destroy(&busy->wake);
  uv_mutex_destroy(&busy->lock);
}

void busy_stop(struct rt *rt) {
  struct busy *busy = rt->busy;
  if (running == rt) /* called in one of its coroutines */
    running = rt->resumed.outer;
  if (!busy)
    return;
  end_watcher(busy);
  rt->busy = NULL;
  free(busy);
}

static void start(lua_State *L, struct rt *rt, double limit) {
  struct busy *busy = calloc(1, sizeof *busy);
  if (!busy) {
    luaL_error(L, "out of memory");
    return;
  }
  busy->limit = limit;
  busy->process = getpid();
  uv_mutex_init(&busy->lock);
  uv_cond_init(&busy->wake);
  mind_signal();
  if (start_watcher(busy)) {
    uv_cond_destroy(&busy->wake);
    uv_mutex_destroy(&busy->lock);
    free(busy);
    luaL_error(L, "no thread can be started to watch over busy coroutines");
    return;
  }
  rt->busy = busy;
}

static int l_busy_limit(lua_State *L) {
  double limit = rt_check_seconds(L, 1);
  struct rt *rt = rt_get(L);
  if (rt->busy && rt->busy->limit == limit)
    return 0;
  busy_stop(rt);
  if (limit > 0)
    start(L, rt, limit);
  return 0;
}

void busy_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"busy_limit", l_busy_limit}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
