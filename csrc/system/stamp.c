/*
 * system/stamp.c - whether a file is still the one that was read.
 * Lua sees: core.file_stamp.
 * SPDX-License-Identifier: MIT
 */
#include "system/input.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

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

void stamp_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"file_stamp", l_file_stamp}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
