/*
 * base/fields.c - tables that Lua gives, read field by field.
 * SPDX-License-Identifier: MIT
 */
#include "base/fields.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

static bool is_among(const char *name, const char *const known[]) {
  for (; *known; known++)
    if (strcmp(*known, name) == 0)
      return true;
  return false;
}

void fields_check_names(lua_State *L, int table, const char *what, const char *const known[]) {
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
    if (!is_among(name, known))
      luaL_error(L, "%s: unknown field '%s'", what, name);
  }
}

lua_Integer fields_integer(lua_State *L, int table, const char *what, const char *name, lua_Integer least,
                           lua_Integer otherwise) {
  int is_integer = 1;
  lua_Integer value = otherwise;
  if (lua_getfield(L, table, name) != LUA_TNIL)
    value = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || lua_type(L, -1) == LUA_TSTRING)
    luaL_error(L, "%s '%s': integer expected, got %s", what, name, luaL_typename(L, -1));
  if (lua_type(L, -1) != LUA_TNIL && value < least)
    luaL_error(L, "%s '%s': %I or more expected, got %I", what, name, (LUAI_UACINT)least, (LUAI_UACINT)value);
  lua_pop(L, 1);
  return value;
}
