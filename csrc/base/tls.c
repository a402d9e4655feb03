/*
 * base/tls.c - reads the option `tls`: how the other side is trusted.
 * Lua sees: the option table { verify, ca_file, pin } of core.http, core.socket and core.session.
 * SPDX-License-Identifier: MIT
 */
#include "base/tls.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define PIN_PREFIX "sha256//"
enum { PIN_DIGITS = 43 }; /* 32 bytes in base64, then one "=" */

void tls_options_init(struct tls_options *options) {
  options->verify = true;
  options->ca_file = options->pin = NULL;
}

void tls_options_free(struct tls_options *options) {
  free(options->ca_file);
  free(options->pin);
  tls_options_init(options);
}

static bool is_base64(const char *text, size_t length) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return strspn(text, digits) == length;
}

/* One or more pins joined by ";". */
static bool is_pin(const char *pin) {
  for (;;) {
    if (strncmp(pin, PIN_PREFIX, strlen(PIN_PREFIX)) != 0)
      return false;
    pin += strlen(PIN_PREFIX);
    if (!is_base64(pin, PIN_DIGITS) || pin[PIN_DIGITS] != '=')
      return false;
    pin += PIN_DIGITS + 1;
    if (*pin == '\0')
      return true;
    if (*pin++ != ';')
      return false;
  }
}

/* The string `key` of the table on top, left on the stack above it; NULL: nil. */
static const char *string_field(lua_State *L, const char *field, const char *key) {
  size_t length;
  const char *value;
  if (lua_getfield(L, -1, key) == LUA_TNIL)
    return NULL;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "option '%s.%s': string expected, got %s", field, key, luaL_typename(L, -1));
  value = lua_tolstring(L, -1, &length);
  if (length == 0 || strlen(value) != length)
    luaL_error(L, "option '%s.%s': %s", field, key, length ? "it contains a zero byte" : "it is empty");
  return value;
}

static bool is_known(const char *key) {
  return strcmp(key, "verify") == 0 || strcmp(key, "ca_file") == 0 || strcmp(key, "pin") == 0;
}

static void check_keys(lua_State *L, const char *field) {
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_type(L, -2) != LUA_TSTRING || !is_known(lua_tostring(L, -2)))
      luaL_error(L, "unknown option '%s.%s'", field, luaL_tolstring(L, -2, NULL));
    lua_pop(L, 1);
  }
}

static bool read_verify(lua_State *L, const char *field) {
  bool verify;
  if (lua_getfield(L, -1, "verify") != LUA_TNIL && !lua_isboolean(L, -1))
    luaL_error(L, "option '%s.verify': boolean expected, got %s", field, luaL_typename(L, -1));
  verify = lua_isnil(L, -1) || lua_toboolean(L, -1);
  lua_pop(L, 1);
  return verify;
}

/* Everything is checked before anything is copied, so that raising leaks nothing. */
int tls_options_read(lua_State *L, int table_index, const char *field, struct tls_options *out) {
  int top = lua_gettop(L);
  const char *ca_file, *pin;
  tls_options_init(out);
  if (lua_getfield(L, table_index, field) == LUA_TNIL) {
    lua_settop(L, top);
    return 0;
  }
  if (!lua_istable(L, -1))
    luaL_error(L, "option '%s': table expected, got %s", field, luaL_typename(L, -1));
  check_keys(L, field);
  out->verify = read_verify(L, field);
  ca_file = string_field(L, field, "ca_file");
  lua_pushvalue(L, top + 1);
  pin = string_field(L, field, "pin");
  if (pin && !is_pin(pin))
    luaL_error(L, "option '%s.pin': \"sha256//\" and 44 characters of base64 expected", field);
  out->ca_file = ca_file ? strdup(ca_file) : NULL;
  out->pin = pin ? strdup(pin) : NULL;
  lua_settop(L, top);
  if ((ca_file && !out->ca_file) || (pin && !out->pin)) {
    tls_options_free(out);
    luaL_error(L, "out of memory");
  }
  return 1;
}
