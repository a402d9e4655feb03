/*
 * system/named_file.c - files that a script or a user names, read and put in place while the loop goes on.
 * Lua sees: core.source(path) -> Source (size, read, close), core.file_stamp, core.file_target,
 * core.replace_file.
 * Owns: the descriptor in each Source; a poll handle for as long as a read waits, freed in its close
 * callback. Borrows: the runtime. Loop thread only, except the work of replace_file, which waits for the disk
 * on a thread of libuv's pool.
 * SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/plain_file.h"
#include "loop/offload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE_T "trueconf.Source"
enum { PIECE = 65536 };

/* ---- reading ------------------------------------------------------------------------------------ */

struct source {
  int fd; /* -1: closed */
  bool is_pipe;
  struct read_op *op; /* the waiting call, or NULL */
};

struct waiting { /* freed when libuv has closed it */
  uv_poll_t handle;
  struct read_op *op;
};

struct read_op {
  struct op op;
  struct source *source;   /* the owner that the op holds */
  struct waiting *waiting; /* NULL: it is over, or there was no memory */
};

static void on_waiting_closed(uv_handle_t *handle) {
  free(handle->data);
}

/* The op settles, or is cancelled: leave the source to the next one. */
static void read_leave(struct read_op *read) {
  struct waiting *waiting = read->waiting;
  assert(read->source->op == read && waiting);
  read->waiting = NULL;
  read->source->op = NULL;
  rt_unref(read->op.rt);
  rt_underway(read->op.rt, -1);
  uv_close((uv_handle_t *)&waiting->handle, on_waiting_closed);
}

static void read_cancel(struct op *op) {
  read_leave((struct read_op *)op);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
  struct read_op *read = ((struct waiting *)handle->data)->op;
  (void)status; /* read() returns the error */
  (void)events;
  read_leave(read);
  op_settle(&read->op);
}

static int push_piece(lua_State *L, const struct source *source) {
  char bytes[PIECE];
  ssize_t count;
  int code;
  if (source->fd < 0)
    return fail(L, ERR_CLOSED, 0, "the file was closed");
  while ((count = read(source->fd, bytes, sizeof bytes)) < 0 && errno == EINTR)
    ;
  code = errno;
  if (count < 0 && code != EAGAIN)
    return fail(L, ERR_IO, code, "cannot read the file: %s", strerror(code));
  if (count == 0)
    return 0;
  lua_pushlstring(L, bytes, count > 0 ? (size_t)count : 0);
  return 1;
}

static int read_push(lua_State *L, struct op *op) {
  return push_piece(L, ((struct read_op *)op)->source);
}

/* A FIFO that nobody has opened for writing yet is waited for too, though read() would tell its end. */
static bool would_wait(const struct source *source) {
  struct pollfd polled = {.fd = source->fd, .events = POLLIN};
  return source->is_pipe && source->fd >= 0 && poll(&polled, 1, 0) == 0;
}

static struct waiting *waiting_new(struct rt *rt, struct read_op *op, int fd) {
  struct waiting *waiting = calloc(1, sizeof *waiting);
  if (!waiting)
    return NULL;
  waiting->op = op;
  if (uv_poll_init(rt_loop(rt), &waiting->handle, fd)) {
    free(waiting);
    return NULL;
  }
  waiting->handle.data = waiting;
  uv_poll_start(&waiting->handle, UV_READABLE, on_readable);
  rt_ref(rt);
  rt_underway(rt, 1);
  return waiting;
}

/* Source:read() -> bytes; nil alone: the end */
static int l_source_read(lua_State *L) {
  struct source *source = luaL_checkudata(L, 1, SOURCE_T);
  struct read_op *read;
  lua_settop(L, 1);
  if (source->op)
    return luaL_error(L, "another coroutine reads here already");
  if (!would_wait(source))
    return push_piece(L, source);
  read = op_new(L, sizeof *read, NULL, "a file");
  read->op.push = read_push;
  read->op.cancel = read_cancel;
  read->source = source;
  read->waiting = waiting_new(read->op.rt, read, source->fd);
  if (read->waiting)
    source->op = read;
  else
    op_settle(&read->op);
  return op_wait(L, &read->op);
}

/* Source:size() -> bytes; nil: only reading to the end tells, as of a pipe, or of a file in /proc */
static int l_source_size(lua_State *L) {
  const struct source *source = luaL_checkudata(L, 1, SOURCE_T);
  struct stat status;
  char byte;
  if (source->is_pipe || source->fd < 0 || fstat(source->fd, &status))
    return 0;
  if (S_ISREG(status.st_mode) && !status.st_size && pread(source->fd, &byte, 1, 0) > 0)
    return 0;
  lua_pushinteger(L, status.st_size);
  return 1;
}

static int l_source_close(lua_State *L) {
  struct source *source = luaL_checkudata(L, 1, SOURCE_T);
  struct read_op *read = source->op;
  if (read) {
    read_leave(read);
    op_settle(&read->op);
  }
  if (source->fd >= 0)
    close(source->fd);
  source->fd = -1;
  return 0;
}

/* core.source(path) */
static int l_source(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct source *source = lua_newuserdatauv(L, sizeof *source, 0);
  struct reason why;
  struct stat status;
  *source = (struct source){.fd = -1};
  luaL_setmetatable(L, SOURCE_T);
  source->fd = plain_file_open(path, &status, &why);
  if (source->fd < 0)
    return fail_reason(L, &why);
  source->is_pipe = S_ISFIFO(status.st_mode);
  return 1;
}

/* core.file_stamp(path) -> text; nil: it cannot be seen. An editor may write into the file or put another in
 * its place. */
static int l_file_stamp(lua_State *L) {
  struct stat status;
  char stamp[128];
  if (stat(luaL_checkstring(L, 1), &status))
    return 0;
  snprintf(stamp, sizeof stamp, "%jx.%jx.%jd.%jd.%ld", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino,
           (intmax_t)status.st_size, (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  lua_pushstring(L, stamp);
  return 1;
}

/* ---- putting in place --------------------------------------------------------------------------- */

/* core.file_target(path) -> path: where it is written, links followed */
static int l_file_target(lua_State *L) {
  struct reason why;
  char *target = plain_file_target(luaL_checkstring(L, 1), &why);
  if (!target)
    return fail_reason(L, &why);
  lua_pushstring(L, target);
  free(target);
  return 1;
}

struct replace_op {
  struct offload_op wait;
  struct reason why;
};

struct replace_work {
  struct offload offload;
  struct reason why;
  bool new_only;
  char *to, from[]; /* both in this block */
};

static void replace_work(struct offload *offload) {
  struct replace_work *work = (struct replace_work *)offload;
  struct replacement file = {.fd = open(work->from, O_RDONLY | O_CLOEXEC)};
  if (file.fd >= 0)
    file.beside = strdup(work->from);
  if (!file.beside)
    reason_set(&work->why, ERR_IO, errno, "cannot read %s: %s", work->from, strerror(errno));
  else
    file.target = plain_file_target(work->to, &work->why);
  if (!file.target)
    replacement_drop(&file);
  else if (work->new_only)
    replacement_commit_new(&file, &work->why);
  else
    replacement_commit(&file, true, &work->why);
}

static void replace_finish(struct offload *offload, struct op *op) {
  ((struct replace_op *)op)->why = ((struct replace_work *)offload)->why;
}

static void replace_destroy(struct offload *offload) {
  free(offload);
}

static int replace_push(lua_State *L, struct op *op) {
  const struct reason *why = &((struct replace_op *)op)->why;
  if (why->err)
    return fail_reason(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

static struct offload *replace_new(const char *from, const char *to, bool new_only) {
  size_t first = strlen(from) + 1, second = strlen(to) + 1;
  struct replace_work *work = calloc(1, sizeof *work + first + second);
  if (!work)
    return NULL;
  memcpy(work->from, from, first);
  work->to = memcpy(work->from + first, to, second);
  work->new_only = new_only;
  work->offload =
      (struct offload){.work = replace_work, .finish = replace_finish, .destroy = replace_destroy};
  return &work->offload;
}

/* core.replace_file(from, to[, new_only]) -> true: `from` has the name `to`, also after a power failure */
static int l_replace_file(lua_State *L) {
  const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
  bool new_only = lua_toboolean(L, 3);
  struct replace_op *op = op_new(L, sizeof *op, NULL, "the disk");
  op->wait.op.push = replace_push;
  reason_set(&op->why, ERR_NOMEM, 0, "no memory is left to write %s", to); /* should there be no work */
  return offload_wait(L, &op->wait, replace_new(from, to, new_only));
}

void named_file_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"source", l_source},
                                       {"file_stamp", l_file_stamp},
                                       {"file_target", l_file_target},
                                       {"replace_file", l_replace_file},
                                       {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"read", l_source_read}, {"size", l_source_size}, {"close", l_source_close}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", l_source_close}, {"__close", l_source_close}, {NULL, NULL}};
  rt_new_type(L, SOURCE_T, methods, metamethods);
  luaL_setfuncs(L, functions, 0);
}
