/*
 * system/input.c - reads the standard input of a program while the loop runs.
 * Lua sees: core.readable, core.read.
 * The descriptor is polled on a thread of libuv's pool: an uv_poll_t would make it non-blocking, and with it
 * the terminal of the shell that has started us; nor does one take files.
 * SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/errors.h"
#include "loop/offload.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FOR_EVER 1e9 /* seconds */
enum { MOST_BYTES = 65536 };

struct readable_op {
  struct offload_op wait;
  int code; /* errno; 0: it can be waited */
};

struct readable { /* the work */
  struct offload offload;
  int fd, wake;
};

static void readable_work(struct offload *offload) {
  struct readable *work = (struct readable *)offload;
  struct pollfd polled[] = {{.fd = work->fd, .events = POLLIN}, {.fd = work->wake, .events = POLLIN}};
  while (poll(polled, 2, -1) < 0 && errno == EINTR)
    ;
}

static void readable_interrupt(struct offload *offload) {
  static const uint64_t one = 1;
  ssize_t written = write(((struct readable *)offload)->wake, &one, sizeof one);
  (void)written; /* cannot fail: the counter is far from its end */
}

static void readable_finish(struct offload *offload, struct op *op) {
  (void)offload;
  ((struct readable_op *)op)->code = 0;
}

static int readable_push(lua_State *L, struct op *op) {
  int code = ((struct readable_op *)op)->code;
  if (code)
    return fail(L, ERR_IO, code, "cannot wait for the input: %s", strerror(code));
  lua_pushboolean(L, 1);
  return 1;
}

static void readable_destroy(struct offload *offload) {
  close(((struct readable *)offload)->wake);
  free(offload);
}

static struct offload *readable_new(int fd) {
  struct readable *work = calloc(1, sizeof *work);
  if (!work)
    return NULL;
  work->fd = fd;
  work->wake = eventfd(0, EFD_CLOEXEC);
  if (work->wake < 0) {
    free(work);
    return NULL;
  }
  work->offload = (struct offload){.work = readable_work,
                                   .interrupt = readable_interrupt,
                                   .patience = FOR_EVER,
                                   .finish = readable_finish,
                                   .destroy = readable_destroy};
  return &work->offload;
}

/* core.readable(fd) -> true: core.read would not wait */
static int l_readable(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  struct readable_op *op = op_new(L, sizeof *op, NULL, "input");
  struct offload *work = readable_new(fd);
  op->wait.op.push = readable_push;
  op->code = errno; /* should there be no work */
  return offload_wait(L, &op->wait, work);
}

/* core.read(fd) -> what is there; nil alone: the end */
static int l_read(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), code;
  char bytes[MOST_BYTES];
  ssize_t count;
  while ((count = read(fd, bytes, sizeof bytes)) < 0 && errno == EINTR)
    ;
  if (count == 0)
    return 0;
  code = errno;
  if (count < 0)
    return fail(L, ERR_IO, code, "cannot read the input: %s", strerror(code));
  lua_pushlstring(L, bytes, (size_t)count);
  return 1;
}

void input_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"readable", l_readable}, {"read", l_read}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
