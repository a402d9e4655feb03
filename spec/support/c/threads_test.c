/*
 * threads_test.c - a program with a Lua state in each of several threads, which run the same script at the
 * same time: run by core/threads_spec.lua. The first argument is the script, the others are given to it,
 * before them the number of the thread. Prints "ok". SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 3 };

static pthread_barrier_t begin; /* so that they meet where something is made once for all */
static int argument_count;
static char **arguments;
static atomic_int next_number = 1;

static void *run(void *unused) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_loadfile(L, arguments[1]))
    goto fail;
  lua_pushinteger(L, next_number++);
  for (int i = 2; i < argument_count; i++)
    lua_pushstring(L, arguments[i]);
  pthread_barrier_wait(&begin);
  if (lua_pcall(L, argument_count - 1, 0, 0))
    goto fail;
  lua_close(L);
  return unused;
fail:
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  _Exit(1);
}

int main(int argc, char **argv) {
  pthread_t threads[THREADS];
  if (argc < 2)
    return 2;
  argument_count = argc;
  arguments = argv;
  pthread_barrier_init(&begin, NULL, THREADS);
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, run, NULL))
      return 2;
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  puts("ok");
  return 0;
}
