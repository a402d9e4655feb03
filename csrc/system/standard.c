/*
 * system/standard.c - prepares the three standard streams and the signal of broken pipes.
 * Lua sees: core.flush_output, core.add_variable.
 * SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In a program that was started without one of the streams, a socket would get its number: printed text would
 * go to the server, and libwebsockets aborts. */
static void fill_streams(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
      return; /* there is no such device, or another thread was quicker */
}

/* Ignore SIGPIPE from the start, before libwebsockets does: the reader of the log may close its pipe at any
 * time. A handler that the program has set stays. */
static void ignore_broken_pipes(void) {
  struct sigaction action;
  if (!sigaction(SIGPIPE, NULL, &action) && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
    signal(SIGPIPE, SIG_IGN);
}

static bool has_reader(void) {
  struct pollfd polled = {.fd = STDOUT_FILENO};
  return poll(&polled, 1, 0) <= 0 || !(polled.revents & POLLERR);
}

/* errno of a failed write of the standard output; 0: none. Lua's print() flushes, but ignores errors. */
static int output_trouble(void) {
  int fd;
  if (fflush(stdout))
    return errno;
  if (ferror(stdout))
    return has_reader() ? EIO : EPIPE;
  fd = dup(STDOUT_FILENO);
  return fd >= 0 && close(fd) ? errno : 0; /* a file system on the network may tell only now */
}

/* core.flush_output() -> true; all that was printed has been taken */
static int l_flush_output(lua_State *L) {
  int code = output_trouble();
  if (code)
    return fail(L, ERR_IO, code, "cannot write the output: %s",
                code == EIO ? "it could not be written; is the disk full?" : strerror(code));
  lua_pushboolean(L, 1);
  return 1;
}

/* core.add_variable(name, value): to the environment of the process, unless it is there. Before other threads
 * are, which may read it meanwhile. */
static int l_add_variable(lua_State *L) {
  if (setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 0))
    return luaL_error(L, "cannot set %s: %s", lua_tostring(L, 1), strerror(errno));
  return 0;
}

void standard_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"add_variable", l_add_variable}, {"flush_output", l_flush_output}, {NULL, NULL}};
  fill_streams();
  ignore_broken_pipes();
  luaL_setfuncs(L, functions, 0);
}
