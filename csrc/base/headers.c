/*
 * base/headers.c - the option `headers`: a table of names and values as lines of an HTTP request.
 * Lua sees: the option table of core.http, core.socket and core.session.
 * SPDX-License-Identifier: MIT
 */
#include "base/headers.h"

#include "base/field.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The line of the entry with its name at -2 and its value at -1. NULL: no memory. */
static char *make_line(lua_State *L, const char *field) {
  size_t name_length, value_length, size;
  const char *name, *value;
  char *line;
  if (lua_type(L, -2) != LUA_TSTRING)
    luaL_error(L, "option '%s': names must be strings, got %s", field, luaL_typename(L, -2));
  name = lua_tolstring(L, -2, &name_length);
  if (!field_is_token(name, name_length))
    luaL_error(L, "option '%s': '%s' cannot be a header name", field, name);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "option '%s': %s: string expected, got %s", field, name, luaL_typename(L, -1));
  value = lua_tolstring(L, -1, &value_length);
  if (field_has_control(value, value_length))
    luaL_error(L, "option '%s': %s: it contains a control character", field, name);
  size = name_length + value_length + sizeof ": ";
  line = malloc(size);
  if (line && strspn(value, " \t") == value_length)
    snprintf(line, size, "%s;", name);
  else if (line)
    snprintf(line, size, "%s: %s", name, value);
  return line;
}

static size_t count_entries(lua_State *L, int table) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    count++;
  return count;
}

/* No metamethods: both passes must see the same entries. */
void headers_read(lua_State *L, int table, const char *field, struct headers *out) {
  int top = lua_gettop(L), from = top + 1;
  lua_pushstring(L, field);
  if (lua_rawget(L, table) == LUA_TNIL) {
    lua_settop(L, top);
    return;
  }
  if (!lua_istable(L, from))
    luaL_error(L, "option '%s': table expected, got %s", field, luaL_typename(L, from));
  out->lines = calloc(count_entries(L, from) + 1, sizeof *out->lines);
  for (lua_pushnil(L); out->lines && lua_next(L, from); lua_pop(L, 1)) {
    out->lines[out->count] = make_line(L, field);
    if (!out->lines[out->count])
      break;
    out->count++;
  }
  if (!out->lines || lua_gettop(L) > from)
    luaL_error(L, "out of memory for option '%s'", field);
  lua_settop(L, top);
}

/* Values may be secrets. */
void headers_free(struct headers *headers) {
  for (size_t i = 0; i < headers->count; i++) {
    explicit_bzero(headers->lines[i], strlen(headers->lines[i]));
    free(headers->lines[i]);
  }
  free((void *)headers->lines);
  headers->lines = NULL;
  headers->count = 0;
}

const char *header_value(const char *line, const char *name) {
  size_t length = strlen(name);
  if (strncasecmp(line, name, length) != 0 || (line[length] != ':' && line[length] != ';'))
    return NULL;
  return line + length + 1;
}
