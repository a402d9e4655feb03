/*
 * tidy.c - what lua-cjson leaves to do: correct what it has decoded, see what it would encode wrongly.
 * Lua sees: core.json_tidy, core.json_is_plain, core.json_has_empty_array, core.JSON_MAX_DEPTH, core.is_utf8;
 * json.lua puts them together.
 * Owns nothing and allocates nothing, so that Lua may raise anywhere. Recursion ends at MAX_DEPTH.
 * SPDX-License-Identifier: MIT
 */
#include "tidy.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_DEPTH 100                        /* far above what the protocol nests */
#define LEVEL_SLOTS 6                        /* of the Lua stack, for one level of a walk */
#define EXACT ((lua_Integer)1 << 53)         /* whole numbers up to here have one spelling */
#define PLAIN ((lua_Integer)100000000000000) /* below it lua-cjson's %.14g prints whole numbers in full */
#define MARK 2                               /* index of json.array's metatable, an argument of both walks */

/* Text ------------------------------------------------------------------------------------------ */

/* Which second bytes a lead byte allows: fewer than all 64 where they would spell a shorter sequence's
 * character, a surrogate, or something past U+10FFFF. */
static bool second_fits(unsigned char lead, unsigned char second) {
  switch (lead) {
  case 0xE0:
    return second >= 0xA0 && second <= 0xBF;
  case 0xED:
    return second >= 0x80 && second <= 0x9F;
  case 0xF0:
    return second >= 0x90 && second <= 0xBF;
  case 0xF4:
    return second >= 0x80 && second <= 0x8F;
  default:
    return second >= 0x80 && second <= 0xBF;
  }
}

/* Bytes of the character at `at`, which is not ASCII; 0: not UTF-8. */
static size_t sequence(const unsigned char *at, size_t left) {
  unsigned char lead = *at;
  if (lead < 0xC2 || lead > 0xF4)
    return 0;
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (left < length || !second_fits(lead, at[1]))
    return 0;
  for (size_t i = 2; i < length; i++)
    if ((at[i] & 0xC0) != 0x80)
      return 0;
  return length;
}

/* Skip ASCII, eight bytes at a time where there are so many. */
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end) {
  for (uint64_t bytes; end - at >= (ptrdiff_t)sizeof bytes; at += sizeof bytes) {
    memcpy(&bytes, at, sizeof bytes);
    if (bytes & UINT64_C(0x8080808080808080))
      break;
  }
  while (at < end && *at < 0x80)
    at++;
  return at;
}

static bool is_utf8(const char *text, size_t length) {
  const unsigned char *at = (const unsigned char *)text, *end = at + length;
  while ((at = skip_ascii(at, end)) < end) {
    do {
      size_t step = sequence(at, (size_t)(end - at));
      if (!step)
        return false;
      at += step;
    } while (at < end && *at >= 0x80);
  }
  return true;
}

/* core.is_utf8(text) -> boolean; as strict as utf8.len */
static int l_is_utf8(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_pushboolean(L, is_utf8(text, length));
  return 1;
}

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}

static bool has_empty_array(const char *at, const char *end) {
  while ((at = memchr(at, '[', (size_t)(end - at)))) {
    at = skip_space(at + 1, end);
    if (at < end && *at == ']')
      return true;
  }
  return false;
}

/* core.json_has_empty_array(text) -> boolean; true also for one inside of a string */
static int l_has_empty_array(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_pushboolean(L, has_empty_array(text, text + length));
  return 1;
}

/* Decoded values -------------------------------------------------------------------------------- */

static bool is_null(lua_State *L, int index) {
  return lua_islightuserdata(L, index) && !lua_touserdata(L, index);
}

/* Key and value are on top, as lua_next leaves them. Assigning to a key that is there keeps lua_next going.
 */
static void set_integer(lua_State *L, int table, lua_Integer integer) {
  lua_pushvalue(L, -2);
  lua_pushinteger(L, integer);
  lua_rawset(L, table);
}

/* True if the number is what newer versions of lua-cjson answer for any past the range of integers. */
static bool tidy_integer(lua_State *L, int table) {
  lua_Integer integer = lua_tointeger(L, -1);
  if (integer >= -EXACT && integer <= EXACT)
    return false;
  lua_pushvalue(L, -2);
  lua_pushnumber(L, (lua_Number)integer);
  lua_rawset(L, table);
  return integer == LUA_MAXINTEGER || integer == LUA_MININTEGER;
}

static void tidy_float(lua_State *L, int table) {
  lua_Number number = lua_tonumber(L, -1);
  if (number >= -(lua_Number)EXACT && number <= (lua_Number)EXACT &&
      number == (lua_Number)(lua_Integer)number)
    set_integer(L, table, (lua_Integer)number);
}

/* A null in an object leaves its key out; true if the table is an array. */
static bool tidy_null(lua_State *L, int table) {
  if (lua_type(L, -2) != LUA_TSTRING)
    return true;
  lua_pushvalue(L, -2);
  lua_pushnil(L);
  lua_rawset(L, table);
  return false;
}

/* Remove the nulls of an array, and mark it if nothing is left. */
static void close_up(lua_State *L, int array) {
  lua_Integer length = (lua_Integer)lua_rawlen(L, array), kept = 0;
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, array, i);
    if (is_null(L, -1))
      lua_pop(L, 1);
    else
      lua_rawseti(L, array, ++kept);
  }
  for (lua_Integer i = kept + 1; i <= length; i++) {
    lua_pushnil(L);
    lua_rawseti(L, array, i);
  }
  if (!kept) {
    lua_pushvalue(L, MARK);
    lua_setmetatable(L, array);
  }
}

/* The table is on top, and stays there. True: a number has been cut off. */
static bool tidy(lua_State *L, int depth) {
  int table = lua_gettop(L);
  bool cut = false, holes = false;
  if (depth > MAX_DEPTH)
    luaL_error(L, "nested deeper than %d", MAX_DEPTH);
  luaL_checkstack(L, LEVEL_SLOTS, NULL);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
      if (!lua_isinteger(L, -1))
        tidy_float(L, table);
      else if (tidy_integer(L, table))
        cut = true;
      break;
    case LUA_TTABLE:
      if (tidy(L, depth + 1))
        cut = true;
      break;
    case LUA_TLIGHTUSERDATA:
      if (is_null(L, -1) && tidy_null(L, table))
        holes = true;
      break;
    default:
      break;
    }
  }
  if (holes)
    close_up(L, table);
  return cut;
}

/* core.json_tidy(decoded, array_mark) -> cut */
static int l_tidy(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, MARK, LUA_TTABLE);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, tidy(L, 1));
  return 1;
}

/* Values to encode ------------------------------------------------------------------------------ */

/* The checks below look at the value on top. Once one fails, what it has left on the stack stays there. */
static bool is_plain(lua_State *L, int depth);

static bool is_plain_string(lua_State *L, int index) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  return is_utf8(text, length);
}

static bool is_plain_number(lua_State *L) {
  if (lua_isinteger(L, -1)) {
    lua_Integer integer = lua_tointeger(L, -1);
    return integer > -PLAIN && integer < PLAIN;
  }
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
  if (depth > MAX_DEPTH || !lua_checkstack(L, LEVEL_SLOTS))
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
    return is_null(L, -1);
  case LUA_TTABLE:
    return is_plain_table(L, depth);
  default:
    return false;
  }
}

/* core.json_is_plain(value, array_mark) -> boolean */
static int l_is_plain(lua_State *L) {
  luaL_checkany(L, 1);
  luaL_checktype(L, MARK, LUA_TTABLE);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, is_plain(L, 1));
  return 1;
}

void tidy_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"json_tidy", l_tidy},
      {"json_is_plain", l_is_plain},
      {"json_has_empty_array", l_has_empty_array},
      {"is_utf8", l_is_utf8},
      {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
  lua_pushinteger(L, MAX_DEPTH);
  lua_setfield(L, -2, "JSON_MAX_DEPTH");
}
