/*
 * base/options.c - tables that Lua gives, read option by option.
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_among(const char *name, const char *const known[]) {
  for (; *known; known++)
    if (strcmp(*known, name) == 0)
      return true;
  return false;
}

void options_check_names(lua_State *L, int table, const char *what, const char *const known[]) {
  assert(table > 0);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    if (lua_type(L, -2) != LUA_TSTRING || !is_among(lua_tostring(L, -2), known))
      luaL_error(L, "unknown %s '%s'", what, luaL_tolstring(L, -2, NULL));
}

static int push(lua_State *L, int table, const char *name) {
  assert(table > 0);
  lua_pushstring(L, name);
  return lua_rawget(L, table);
}

static void refuse(lua_State *L, const char *what, const char *name, const char *expected) {
  luaL_error(L, "%s '%s': %s expected, got %s", what, name, expected, luaL_typename(L, -1));
}

int options_push(lua_State *L, int table, const char *what, const char *name, int type) {
  int own = push(L, table, name);
  if (own != LUA_TNIL && own != type)
    refuse(L, what, name, lua_typename(L, type));
  return own;
}

const char *options_text(lua_State *L, int table, const char *what, const char *name, size_t *length) {
  const char *text = NULL;
  size_t own = 0;
  if (options_push(L, table, what, name, LUA_TSTRING) != LUA_TNIL)
    text = lua_tolstring(L, -1, &own);
  if (length)
    *length = own;
  else if (text && strlen(text) != own)
    luaL_error(L, "%s '%s': it contains a zero byte", what, name);
  lua_pop(L, 1);
  return text;
}

const char *options_required_text(lua_State *L, int table, const char *what, const char *name,
                                  size_t *length) {
  const char *text = options_text(L, table, what, name, length);
  if (!text)
    luaL_error(L, "%s '%s': string expected, got nil", what, name);
  return text;
}

char *options_copy_text(lua_State *L, int table, const char *what, const char *name) {
  const char *text = options_text(L, table, what, name, NULL);
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) /* it must not look like a missing option */
    luaL_error(L, "out of memory for %s '%s'", what, name);
  return copy;
}

bool options_boolean(lua_State *L, int table, const char *what, const char *name, bool otherwise) {
  bool value = otherwise;
  if (options_push(L, table, what, name, LUA_TBOOLEAN) != LUA_TNIL)
    value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

double options_number(lua_State *L, int table, const char *what, const char *name, double least, double most,
                      double otherwise) {
  int type = options_push(L, table, what, name, LUA_TNUMBER);
  double value = type == LUA_TNIL ? otherwise : lua_tonumber(L, -1);
  if (type != LUA_TNIL && !(value >= least && value <= most)) {
    char range[96];
    snprintf(range, sizeof range, "%.14g to %.14g expected, got %.14g", least, most, value);
    luaL_error(L, "%s '%s': %s", what, name, range);
  }
  lua_pop(L, 1);
  return value;
}

double options_seconds(lua_State *L, int table, const char *what, const char *name, double otherwise) {
  static const double LEAST = 0.001, MOST = 1e7;
  return options_number(L, table, what, name, LEAST, MOST, otherwise);
}

lua_Integer options_integer(lua_State *L, int table, const char *what, const char *name, lua_Integer least,
                            lua_Integer most, lua_Integer otherwise) {
  int is_integer = 1, type = push(L, table, name);
  lua_Integer value = type == LUA_TNIL ? otherwise : lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || type == LUA_TSTRING)
    refuse(L, what, name, "integer");
  if (type != LUA_TNIL && value < least && most == LUA_MAXINTEGER)
    luaL_error(L, "%s '%s': %I or more expected, got %I", what, name, (LUAI_UACINT)least, (LUAI_UACINT)value);
  if (type != LUA_TNIL && (value < least || value > most))
    luaL_error(L, "%s '%s': %I to %I expected, got %I", what, name, (LUAI_UACINT)least, (LUAI_UACINT)most,
               (LUAI_UACINT)value);
  lua_pop(L, 1);
  return value;
}
