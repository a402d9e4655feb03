/*
 * busy_test.c - programs in which others mind SIGURG, too, or have several Lua states: run by
 * core/busy_spec.lua. The argument names the case. Prints "ok". SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4 };

static atomic_int urgent; /* signals that came to us */

static void on_urgent(int number) {
  (void)number;
  urgent++;
}

static void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  _Exit(1);
}

static void run(lua_State *L, const char *code) {
  if (luaL_dostring(L, code))
    die(lua_tostring(L, -1));
}

static int l_urge(lua_State *L) {
  (void)L;
  raise(SIGURG);
  return 0;
}

static int l_nest(lua_State *L);

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_register(L, "urge", l_urge);
  lua_register(L, "nest", l_nest);
  run(L, "core = require 'trueconf.core'; core.busy_limit(0.2)\n"
         "errors = {}; core.on_error(function(err) errors[#errors + 1] = err end)\n");
  return L;
}

/* The loop of another state turns inside of a coroutine of this one. */
static int l_nest(lua_State *L) {
  lua_State *inner = open_state();
  (void)L;
  run(inner, "core.spawn(function() core.sleep(0.01) end); core.run()");
  lua_close(inner);
  return 0;
}

/* It makes tables: ThreadSanitizer lets a signal through only where its own functions are called, as in
 * malloc(). */
static const char endless[] = "core.spawn(function() while true do local _ = {} end end); core.run()\n"
                              "assert(#errors == 1 and errors[1]:find 'blocked the loop', errors[1])";

static void nested(void) {
  lua_State *L = open_state();
  run(L, "core.spawn(function() nest(); while true do local _ = {} end end); core.run()\n"
         "assert(#errors == 1 and errors[1]:find 'blocked the loop', errors[1])\n"
         "core.sleep(1)");
  if (urgent)
    die("a loop at rest has got signals");
  lua_close(L);
}

static void others(void) {
  lua_State *L = open_state();
  raise(SIGURG);
  run(L, "core.spawn(urge); core.run(); assert(#errors == 0, errors[1])");
  if (urgent != 2)
    die("a signal of somebody else was lost");
  run(L, endless);
  if (urgent != 2)
    die("a signal of ours went to somebody else");
  lua_close(L);
}

static void closed(void) {
  lua_close(open_state());
  raise(SIGURG);
  if (urgent != 1)
    die("the signal was lost");
}

static void *in_thread(void *unused) {
  lua_State *L = open_state();
  run(L, endless);
  lua_close(L);
  return unused;
}

static void threads(void) {
  pthread_t all[THREADS];
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&all[i], NULL, in_thread, NULL))
      die("no thread");
  for (int i = 0; i < THREADS; i++)
    pthread_join(all[i], NULL);
}

static void forks(void) {
  lua_State *L = open_state();
  pid_t child;
  int status;
  run(L, "core.sleep(0.1)"); /* until its threads wait */
  child = fork();
  if (child == 0) {
    alarm(20);
    lua_close(L);
    _exit(0);
  }
  if (waitpid(child, &status, 0) != child || status != 0)
    die("a child cannot close the Lua state");
  run(L, endless);
  lua_close(L);
}

static void urge(void) {
  raise(SIGURG);
  puts(urgent == 1 ? "ok" : "the signal was lost");
}

/* A coroutine ends the process and its state. */
static void exits(void) {
  lua_State *L = open_state();
  atexit(urge);
  run(L, "core.spawn(function() os.exit(true, true) end); core.run()");
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(void);
  } cases[] = {{"nested", nested},   {"others", others}, {"closed", closed},
               {"threads", threads}, {"forks", forks},   {"exits", exits}};
  signal(SIGURG, on_urgent);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      puts("ok");
      return 0;
    }
  die("no such case");
}
