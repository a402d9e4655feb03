/*
 * base/tidy.c - finds values that lua-cjson would encode wrongly.
 * Lua sees: core.json_is_plain, core.is_utf8.
 * Owns nothing and allocates nothing, so that Lua may raise anywhere. Recursion ends at JSON_MAX_DEPTH.
 * SPDX-License-Identifier: MIT
 */
#include "base/tidy.h"

#include "base/json.h"
#include "base/utf8.h"

#include <lauxlib.h>

#define LEVEL_SLOTS 6                        /* of the Lua stack, for one level of a walk */
#define PLAIN ((lua_Integer)100000000000000) /* below it lua-cjson's %.14g prints whole numbers in full */
#define MARK 2                               /* index of json.array's metatable, an argument */
#define EXACT 3                              /* index of the argument that asks for more */

/* core.is_utf8(text) -> boolean; as strict as utf8.len */
static int l_is_utf8(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_pushboolean(L, utf8_valid(text, length));
  return 1;
}

static bool is_null(lua_State *L, int index) {
  return lua_islightuserdata(L, index) && !lua_touserdata(L, index);
}

/* The checks below test the value on top. A failed check leaves its values on the stack. */
static bool is_plain(lua_State *L, int depth);

static bool is_plain_string(lua_State *L, int index) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  return utf8_valid(text, length);
}

static bool is_plain_number(lua_State *L) {
  if (lua_isinteger(L, -1)) {
    lua_Integer integer = lua_tointeger(L, -1);
    return integer > -PLAIN && integer < PLAIN;
  }
  if (lua_toboolean(L, EXACT))
    return false; /* 1.0 is not 1 */
  lua_Number number = lua_tonumber(L, -1);
  return number > -(lua_Number)PLAIN && number < (lua_Number)PLAIN &&
         number == (lua_Number)(lua_Integer)number;
}

/* Are the keys 1..length, and no others? */
static bool is_plain_array(lua_State *L, lua_Unsigned length, int depth) {
  int table = lua_gettop(L);
  lua_Unsigned keys = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), keys++) {
    if (!lua_isinteger(L, -2) || (lua_Unsigned)lua_tointeger(L, -2) - 1 >= length || !is_plain(L, depth))
      return false;
  }
  return keys == length;
}

static bool is_plain_object(lua_State *L, int depth) {
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !is_plain_string(L, -2) || !is_plain(L, depth))
      return false;
  }
  return true;
}

static bool is_plain_table(lua_State *L, int depth) {
  bool marked = false;
  if (depth > JSON_MAX_DEPTH || !lua_checkstack(L, LEVEL_SLOTS))
    return false;
  if (lua_getmetatable(L, -1)) {
    marked = lua_rawequal(L, -1, MARK);
    lua_pop(L, 1);
    if (!marked)
      return false;
  }
  lua_Unsigned length = lua_rawlen(L, -1);
  return length ? is_plain_array(L, length, depth + 1) : !marked && is_plain_object(L, depth + 1);
}

static bool is_plain(lua_State *L, int depth) {
  switch (lua_type(L, -1)) {
  case LUA_TSTRING:
    return is_plain_string(L, -1);
  case LUA_TNUMBER:
    return is_plain_number(L);
  case LUA_TBOOLEAN:
    return true;
  case LUA_TLIGHTUSERDATA:
    return is_null(L, -1) && !lua_toboolean(L, EXACT);
  case LUA_TTABLE:
    return is_plain_table(L, depth);
  default:
    return false;
  }
}

/* core.json_is_plain(value, array_mark, exact) -> boolean */
static int l_is_plain(lua_State *L) {
  luaL_checkany(L, 1);
  luaL_checktype(L, MARK, LUA_TTABLE);
  lua_settop(L, EXACT);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, is_plain(L, 1));
  return 1;
}

void tidy_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"json_is_plain", l_is_plain},
      {"is_utf8", l_is_utf8},
      {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
