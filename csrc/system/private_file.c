/*
 * system/private_file.c - small files, most of them readable for their owner alone.
 * Lua sees: core.private_folder, core.private_file, core.read_file, core.read_private, core.write_private.
 * Blocking: for the start of a program and for commands.
 * SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20 };

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
    return fail(L, ERR_IO, EPERM, "cannot use the folder %s: it belongs to another user", path);
  if (status.st_mode & (S_IWGRP | S_IWOTH))
    return fail(L, ERR_IO, EPERM, "cannot use the folder %s: others may write to it; run chmod go-w", path);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.read_private(path[, limit[, patience]]) -> text; nil alone: there is no such file
 * core.read_file(path[, limit[, patience]]) -> text, is_private; the same */
static int read_file(lua_State *L, bool only_private) {
  const char *path = luaL_checkstring(L, 1);
  size_t limit = (size_t)luaL_optinteger(L, 2, MOST_BYTES);
  int patience = (int)luaL_optinteger(L, 3, PIPE_PATIENCE);
  struct buffer text = {0};
  struct reason why = {0};
  bool is_private = true;
  bool ok = only_private ? plain_file_read_private(path, limit, patience, &text, &why)
                         : plain_file_read(path, limit, patience, &text, &is_private, &why);
  if (ok)
    lua_pushlstring(L, text.data ? text.data : "", text.length);
  buffer_free(&text);
  if (!ok)
    return why.code == ENOENT ? 0 : fail_reason(L, &why);
  if (only_private)
    return 1;
  lua_pushboolean(L, is_private);
  return 2;
}

static int l_read_private(lua_State *L) {
  return read_file(L, true);
}

static int l_read_file(lua_State *L) {
  return read_file(L, false);
}

/* core.write_private(path, text[, new_only]) -> true; false: new_only, and there is one */
static int l_write_private(lua_State *L) {
  size_t length;
  const char *path = luaL_checkstring(L, 1), *data = luaL_checklstring(L, 2, &length);
  bool new_only = lua_toboolean(L, 3), ok;
  struct replacement file;
  struct reason why = {0};
  ok = replacement_fill(&file, path, S_IRUSR | S_IWUSR, data, length, &why) &&
       (new_only ? replacement_commit_new(&file, &why) : replacement_commit(&file, true, &why));
  if (!ok && !(new_only && why.code == EEXIST))
    return fail_reason(L, &why);
  lua_pushboolean(L, ok);
  return 1;
}

/* core.private_file(path) -> true: there, made if it was missing, and for its owner alone. For a library that
 * opens it by its name and follows links. An existing file is not opened: closing it would release SQLite's
 * locks, if this process has it open already. */
static int l_private_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct reason why = {0};
  struct stat status;
  char *target = plain_file_target(path, &why);
  int fd, code;
  if (!target)
    return fail_reason(L, &why);
  fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  code = errno;
  if (fd >= 0)
    close(fd);
  else if (code == EEXIST && !stat(target, &status))
    plain_file_check_private(&status, path, &why);
  else
    reason_set(&why, ERR_IO, code, "cannot write %s: %s", path, strerror(code));
  free(target);
  if (why.err)
    return fail_reason(L, &why);
  lua_pushboolean(L, 1);
  return 1;
}

void private_file_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"private_folder", l_private_folder}, {"private_file", l_private_file},
                                       {"read_file", l_read_file},           {"read_private", l_read_private},
                                       {"write_private", l_write_private},   {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
