/*
 * private_file.c - small files that only their owner may read.
 * Lua sees: core.private_folder, core.read_private, core.write_private.
 * Blocking: for the start of a program and for commands.
 * SPDX-License-Identifier: MIT
 */
#include "secrets.h"

#include "buffer.h"
#include "errors.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OTHERS = S_IRWXG | S_IRWXO };

static int fail_file(lua_State *L, const char *verb, const char *path) {
  int code = errno;
  return fail(L, ERR_IO, code, "cannot %s %s: %s", verb, path, strerror(code));
}

/* core.private_folder(path): there when this returns true */
static int l_private_folder(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat status;
  if (mkdir(path, S_IRWXU) && errno != EEXIST)
    return fail_file(L, "make the folder", path);
  if (stat(path, &status))
    return fail_file(L, "use the folder", path);
  if (!S_ISDIR(status.st_mode))
    return fail(L, ERR_IO, ENOTDIR, "cannot use %s: it is not a folder", path);
  if (status.st_uid != geteuid() && status.st_uid != 0)
    return fail(L, ERR_IO, EPERM, "cannot use the folder %s: it is somebody else's", path);
  if (status.st_mode & (S_IWGRP | S_IWOTH))
    return fail(L, ERR_IO, EPERM, "cannot use the folder %s: others may write to it; run chmod go-w", path);
  lua_pushboolean(L, 1);
  return 1;
}

static bool read_all(int fd, struct buffer *text) {
  char chunk[4096];
  ssize_t count;
  while ((count = read(fd, chunk, sizeof chunk)) != 0)
    if (count > 0 ? !buffer_append(text, chunk, (size_t)count) : errno != EINTR)
      return false;
  return true;
}

static bool is_private(int fd) {
  struct stat status;
  return !fstat(fd, &status) && !(status.st_mode & OTHERS);
}

/* core.read_private(path) -> text; nil alone: there is no such file */
static int l_read_private(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct buffer text = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC), results = 1;
  if (fd < 0 && errno == ENOENT)
    return 0;
  if (fd < 0)
    return fail_file(L, "read", path);
  if (!is_private(fd))
    results = fail(L, ERR_IO, EPERM, "will not use %s: others may read it; run chmod 600", path);
  else if (!read_all(fd, &text))
    results = fail_file(L, "read", path);
  else
    lua_pushlstring(L, text.data ? text.data : "", text.length);
  close(fd);
  buffer_free(&text);
  return results;
}

static bool write_all(int fd, const char *data, size_t length) {
  while (length) {
    ssize_t count = write(fd, data, length);
    if (count < 0 && errno != EINTR)
      return false;
    if (count > 0) {
      data += count;
      length -= (size_t)count;
    }
  }
  return !fsync(fd);
}

/* Write the text beside its place, with mode 0600. On failure errno says why and nothing is left. */
static bool write_beside(const char *beside, const char *data, size_t length) {
  int fd, code;
  bool ok;
  unlink(beside); /* what a process of the same number has left when it was killed */
  fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0)
    return false;
  ok = write_all(fd, data, length);
  code = errno;
  if (close(fd) && ok) {
    ok = false;
    code = errno;
  }
  if (!ok)
    unlink(beside);
  errno = code;
  return ok;
}

/* Give the finished file its name: a reader sees the old text or the new one. */
static bool put_in_place(const char *beside, const char *path, bool new_only) {
  int code;
  bool ok = !(new_only ? link(beside, path) : rename(beside, path));
  code = errno;
  if (new_only || !ok)
    unlink(beside);
  errno = code;
  return ok;
}

/* core.write_private(path, text[, new_only]) -> true; false: new_only, and there is one */
static int l_write_private(lua_State *L) {
  size_t length;
  const char *path = luaL_checkstring(L, 1), *data = luaL_checklstring(L, 2, &length);
  bool new_only = lua_toboolean(L, 3);
  char beside[PATH_MAX];
  int needed = snprintf(beside, sizeof beside, "%s.%ld.tmp", path, (long)getpid());
  luaL_argcheck(L, needed > 0 && (size_t)needed < sizeof beside, 1, "path too long");
  if (!write_beside(beside, data, length))
    return fail_file(L, "write", path);
  if (put_in_place(beside, path, new_only))
    lua_pushboolean(L, 1);
  else if (new_only && errno == EEXIST)
    lua_pushboolean(L, 0);
  else
    return fail_file(L, "write", path);
  return 1;
}

void private_file_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"private_folder", l_private_folder},
                                       {"read_private", l_read_private},
                                       {"write_private", l_write_private},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
