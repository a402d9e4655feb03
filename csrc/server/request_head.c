/*
 * server/request_head.c - what Lua sees of the head of a request: escapes are decoded, names are in small
 * letters, and the values of a field that comes more than once are joined (RFC 9110, 5.3). Owns: nothing. The
 * bytes are the exchange's. SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *start_of(const struct exchange *exchange, struct head_part part) {
  return exchange->text.data + part.at;
}

static int digit(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Decode escapes, which the reader has checked, into room for `length` bytes. Returns how many there are. */
static size_t decode(char *into, const char *at, size_t length, bool is_query) {
  const char *end = at + length;
  char *from = into;
  for (; at < end; at++) {
    *into++ = *at == '%' ? (char)(digit(at[1]) * 16 + digit(at[2])) : is_query && *at == '+' ? ' ' : *at;
    if (*at == '%')
      at += 2;
  }
  return (size_t)(into - from);
}

bool request_is_guarded(const struct exchange *exchange) {
  const char *guarded = exchange->peer->listener->rules.guarded_path;
  const char *at = start_of(exchange, exchange->head.path), *end = at + exchange->head.path.length;
  size_t length = strlen(guarded);
  if (!length || exchange->head.absolute || (size_t)(end - at) < length || memcmp(at, guarded, length) != 0)
    return false;
  for (at += length; at < end; at++)
    if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-' && (*at != '/' || at[-1] == '/'))
      return false;
  return true;
}

char *request_path(const struct exchange *exchange) {
  struct head_part path = exchange->head.path;
  char *text = malloc((size_t)path.length + 2);
  size_t length;
  if (!text)
    return NULL;
  length = decode(text, start_of(exchange, path), path.length, false);
  if (!length) /* of an absolute target */
    text[length++] = '/';
  text[length] = 0;
  return text;
}

char *request_field(const struct exchange *exchange, const char *name) {
  struct head_field field;
  for (size_t at = 0; head_next_field(&exchange->head, exchange->text.data, &at, &field);)
    if (head_is_word(start_of(exchange, field.name), field.name.length, name))
      return strndup(start_of(exchange, field.value), field.value.length);
  return strdup("");
}

/* ---- for Lua ------------------------------------------------------------------------------------- */

static void push_decoded(lua_State *L, const char *at, size_t length, bool is_query) {
  luaL_Buffer text;
  char *into = luaL_buffinitsize(L, &text, length);
  luaL_pushresultsize(&text, decode(into, at, length, is_query));
}

static void push_path(lua_State *L, const struct exchange *exchange) {
  struct head_part path = exchange->head.path;
  if (path.length)
    push_decoded(L, start_of(exchange, path), path.length, false);
  else
    lua_pushliteral(L, "/");
}

/* Of fields that come twice in a query, the last one counts. */
static void push_query(lua_State *L, const struct exchange *exchange) {
  const char *at = start_of(exchange, exchange->head.query), *end = at + exchange->head.query.length;
  lua_createtable(L, 0, 4);
  while (at < end) {
    const char *to = memchr(at, '&', (size_t)(end - at)), *sign;
    to = to ? to : end;
    sign = memchr(at, '=', (size_t)(to - at));
    if (to > at) {
      push_decoded(L, at, (size_t)((sign ? sign : to) - at), true);
      push_decoded(L, sign ? sign + 1 : to, sign ? (size_t)(to - sign - 1) : 0, true);
      lua_rawset(L, -3);
    }
    at = to + 1;
  }
}

static void push_name(lua_State *L, const char *name, size_t length) {
  luaL_Buffer text;
  char *into = luaL_buffinitsize(L, &text, length);
  for (size_t i = 0; i < length; i++)
    into[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
  luaL_pushresultsize(&text, length);
}

/* Set one field of the table on top. */
static void set_field(lua_State *L, const char *name, size_t name_length, const char *value, size_t length) {
  push_name(L, name, name_length);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushlstring(L, value, length);
  } else {
    lua_pushstring(L, head_is_word(name, name_length, "cookie") ? "; " : ", ");
    lua_pushlstring(L, value, length);
    lua_concat(L, 3);
  }
  lua_rawset(L, -3);
}

/* RFC 9112, 3.2.2: the host of an absolute target stands for that of the field. */
static void push_fields(lua_State *L, const struct exchange *exchange) {
  struct head_field field;
  lua_createtable(L, 0, 12);
  for (size_t at = 0; head_next_field(&exchange->head, exchange->text.data, &at, &field);) {
    const char *name = start_of(exchange, field.name);
    bool is_host = head_is_word(name, field.name.length, "host");
    struct head_part value = is_host ? exchange->head.host : field.value;
    set_field(L, name, field.name.length, start_of(exchange, value), value.length);
  }
}

void request_push_head(lua_State *L, const struct exchange *exchange) {
  lua_createtable(L, 0, 9);
  lua_pushstring(L, exchange->head.method);
  lua_setfield(L, -2, "method");
  push_path(L, exchange);
  lua_setfield(L, -2, "path");
  push_query(L, exchange);
  lua_setfield(L, -2, "query");
  push_fields(L, exchange);
  lua_setfield(L, -2, "headers");
  lua_pushstring(L, exchange->peer->address);
  lua_setfield(L, -2, "peer");
  lua_pushboolean(L, request_is_guarded(exchange));
  lua_setfield(L, -2, "guarded");
  if (exchange->head.chunked)
    return;
  lua_pushinteger(L, (lua_Integer)exchange->head.length);
  lua_setfield(L, -2, "content_length");
}
