/*
 * host_test.c - a program with several Lua states, whose own loop polls what each of them names: run by
 * core/runtime_spec.lua. Prints "ok".
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATES = 3, MOST_WAKE_UPS = 2000 };

/* Each state talks to a listener of its own, sleeps, and counts. */
static const char script[] =
    "local core = require 'trueconf.core'\n"
    "local listener = assert(core.listen { websocket_paths = { '/' },\n"
    "  on_frame = function(connection, data) connection:send(data) end })\n"
    "count = 0\n"
    "core.spawn(function()\n"
    "  local socket = assert(core.socket { url = 'ws://127.0.0.1:' .. listener:port() .. '/' })\n"
    "  for i = 1, 20 do\n"
    "    assert(socket:send(tostring(i)))\n"
    "    assert(socket:receive(5) == tostring(i))\n"
    "    core.sleep(0.001)\n"
    "    count = count + 1\n"
    "  end\n"
    "  socket:close()\n"
    "  listener:close()\n"
    "end)\n"
    "return core\n";

static void die(lua_State *L, const char *what) {
  fprintf(stderr, "%s: %s\n", what, L ? lua_tostring(L, -1) : "");
  exit(1);
}

/* The core's table stays at index 1. */
static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_dostring(L, script))
    die(L, "script");
  return L;
}

/* Call core[name]() and leave its result. */
static void call(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  if (lua_pcall(L, 0, 1, 0))
    die(L, name);
}

static bool step(lua_State *L) {
  bool alive;
  call(L, "step");
  alive = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return alive;
}

static int descriptor(lua_State *L) {
  int fd;
  call(L, "fd");
  fd = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return fd;
}

/* The sooner of `ms` and what the state allows; -1: no limit. */
static int sooner(lua_State *L, int ms) {
  int own;
  call(L, "timeout");
  own = lua_isnil(L, -1) ? -1 : (int)(lua_tonumber(L, -1) * 1000);
  lua_pop(L, 1);
  return ms < 0 || (own >= 0 && own < ms) ? own : ms;
}

static int counted(lua_State *L) {
  int count;
  lua_getglobal(L, "count");
  count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return count;
}

/* Step a state only when its descriptor or its timeout says so. Without limit nothing may be left to do. */
static void serve(lua_State **states, bool *alive) {
  struct pollfd fds[STATES];
  int timeout = -1, own[STATES];
  for (int i = 0; i < STATES; i++) {
    fds[i] = (struct pollfd){descriptor(states[i]), POLLIN, 0};
    own[i] = sooner(states[i], -1);
    timeout = sooner(states[i], timeout);
  }
  if (poll(fds, STATES, timeout < 0 ? 5000 : timeout) == 0 && timeout < 0)
    die(NULL, "nothing came, and nobody had asked to be woken");
  for (int i = 0; i < STATES; i++)
    if (fds[i].revents || (own[i] >= 0 && own[i] <= timeout))
      alive[i] = step(states[i]);
}

static bool any(const bool *alive) {
  for (int i = 0; i < STATES; i++)
    if (alive[i])
      return true;
  return false;
}

int main(void) {
  lua_State *states[STATES];
  bool alive[STATES];
  int turns = 0;
  for (int i = 0; i < STATES; i++) {
    states[i] = open_state();
    alive[i] = true;
  }
  while (any(alive) && turns++ < MOST_WAKE_UPS)
    serve(states, alive);
  for (int i = 0; i < STATES; i++) {
    if (counted(states[i]) != 20)
      die(NULL, "a state has not come to its end");
    if (i != 1)
      lua_close(states[i]);
  }
  /* The state in the middle lives on; a new one is closed with everything under way. */
  states[0] = open_state();
  for (int i = 0; i < 5; i++)
    step(states[0]);
  lua_close(states[0]);
  step(states[1]);
  lua_close(states[1]);
  if (turns >= MOST_WAKE_UPS)
    die(NULL, "the states ask to be woken all the time");
  puts("ok");
  return 0;
}
