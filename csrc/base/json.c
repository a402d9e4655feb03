/*
 * base/json.c - JSON text (RFC 8259, nothing else) to Lua values, in one pass.
 * Lua sees: core.json_decode, core.JSON_MAX_DEPTH; json.lua names the errors.
 * Owns nothing: strings under way are Lua's, so that Lua may raise anywhere. Recursion ends at
 * JSON_MAX_DEPTH.
 * SPDX-License-Identifier: MIT
 */
#include "base/json.h"

#include "base/scan.h"
#include "base/utf8.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define LEVEL_SLOTS 8                   /* of the Lua stack, for one level */
#define EXACT ((lua_Number)(1LL << 53)) /* whole floats up to here have one spelling */
#define SAFE_DIGITS 18                  /* as many fit into a 64-bit integer, whatever they are */
#define MARK 2                          /* index of json.array's metatable */

struct reader {
  lua_State *L;
  const char *text, *at, *end;
  bool mend;  /* U+FFFD for bytes that are not UTF-8 */
  bool exact; /* a number with a point or an exponent is a float */
  const char *wrong;
};

/* Always false. The first complaint stays. */
static bool fail(struct reader *reader, const char *at, const char *wrong) {
  if (!reader->wrong) {
    reader->wrong = wrong;
    reader->at = at;
  }
  return false;
}

static void skip_space(struct reader *reader) {
  const char *at = reader->at, *end = reader->end;
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  reader->at = at;
}

/* Take a sign if it comes next. */
static bool take(struct reader *reader, char sign) {
  if (reader->at == reader->end || *reader->at != sign)
    return false;
  reader->at++;
  return true;
}

/* ---- strings ------------------------------------------------------------------------------------- */

/* Skip plain characters; stops at a quote, a backslash, or a byte that is not allowed in a string. */
static const char *skip_plain(const char *at, const char *end) {
  while (at < end) {
    size_t step = 1;
    if ((unsigned char)*at < ' ' || *at == '"' || *at == '\\')
      break;
    if ((unsigned char)*at >= 0x80 && !(step = utf8_sequence(at, (size_t)(end - at))))
      break;
    at += step;
  }
  return at;
}

/* Read the escape or broken sequence at which skip_plain has stopped; NULL: it is not allowed. */
static const char *take_odd(struct reader *reader, const char *at, luaL_Buffer *out) {
  const char *end = reader->end;
  if (*at == '\\') {
    uint32_t character;
    const char *after = scan_escape(at + 1, end, &character);
    if (!after)
      return fail(reader, at, "no such escape"), NULL;
    luaL_addsize(out, utf8_encode(luaL_prepbuffsize(out, 4), character));
    return after;
  }
  if ((unsigned char)*at < ' ')
    return fail(reader, at, "a control character in a string"), NULL;
  if (!reader->mend)
    return fail(reader, at, "not UTF-8"), NULL;
  luaL_addstring(out, UTF8_REPLACEMENT);
  return at + utf8_broken(at, (size_t)(end - at));
}

/* `at` is behind the plain beginning of a string; pushes the whole. */
static bool read_odd_string(struct reader *reader, const char *from, const char *at) {
  luaL_Buffer out;
  luaL_buffinit(reader->L, &out);
  while (at < reader->end && *at != '"') {
    luaL_addlstring(&out, from, (size_t)(at - from));
    from = take_odd(reader, at, &out);
    if (!from)
      return false;
    at = skip_plain(from, reader->end);
  }
  if (at == reader->end)
    return fail(reader, at, "a string without an end");
  luaL_addlstring(&out, from, (size_t)(at - from));
  luaL_pushresult(&out);
  reader->at = at + 1;
  return true;
}

/* The quote has been taken. */
static bool read_string(struct reader *reader) {
  const char *from = reader->at, *at = skip_plain(from, reader->end);
  if (at == reader->end || *at != '"')
    return read_odd_string(reader, from, at);
  lua_pushlstring(reader->L, from, (size_t)(at - from));
  reader->at = at + 1;
  return true;
}

/* ---- numbers ------------------------------------------------------------------------------------- */

static const char *skip_digits(const char *at, const char *end) {
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at;
}

/* Push the number of the digits, the nearest float if they are too many. Lua reads them as they are written,
 * whatever the locale's decimal point is. */
static bool push_number(struct reader *reader, const char *from, const char *end) {
  lua_State *L = reader->L;
  lua_Number number;
  lua_pushlstring(L, from, (size_t)(end - from));
  if (!lua_stringtonumber(L, lua_tostring(L, -1)))
    return fail(reader, from, "a number with too many digits");
  lua_remove(L, -2);
  if (lua_isinteger(L, -1))
    return true;
  number = lua_tonumber(L, -1);
  if (!isfinite(number))
    return fail(reader, from, "a number that is too large");
  if (!reader->exact && number >= -EXACT && number <= EXACT && number == (lua_Number)(lua_Integer)number) {
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)number);
  }
  return true;
}

static void push_integer(lua_State *L, const char *at, const char *end, bool negative) {
  lua_Integer n = 0;
  for (; at < end; at++)
    n = n * 10 + (*at - '0');
  lua_pushinteger(L, negative ? -n : n);
}

static bool read_number(struct reader *reader) {
  const char *from = reader->at, *end = reader->end, *digits = from + (*from == '-'), *at, *part;
  at = skip_digits(digits, end);
  if (at == digits)
    return fail(reader, from, "a value is missing");
  if (*digits == '0' && at - digits > 1)
    return fail(reader, from, "a number that begins with 0");
  part = at;
  if (at < end && *at == '.') {
    at = skip_digits(part = at + 1, end);
    if (at == part)
      return fail(reader, at, "digits are missing");
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    part = at + 1;
    if (part < end && (*part == '+' || *part == '-'))
      part++;
    at = skip_digits(part, end);
    if (at == part)
      return fail(reader, at, "digits are missing");
  }
  reader->at = at;
  if (part != at || at - digits > SAFE_DIGITS)
    return push_number(reader, from, at);
  push_integer(reader->L, digits, at, digits != from);
  return true;
}

/* ---- values -------------------------------------------------------------------------------------- */

static bool read_value(struct reader *reader, int depth);

/* A null in an array is left out, so that the array has no holes. */
static bool read_array(struct reader *reader, int depth) {
  lua_State *L = reader->L;
  lua_Integer count = 0;
  lua_newtable(L);
  skip_space(reader);
  if (!take(reader, ']')) {
    do {
      if (!read_value(reader, depth))
        return false;
      if (lua_isnil(L, -1))
        lua_pop(L, 1);
      else
        lua_rawseti(L, -2, ++count);
      skip_space(reader);
    } while (take(reader, ','));
    if (!take(reader, ']'))
      return fail(reader, reader->at, "',' or ']' is missing");
  }
  if (count)
    return true;
  lua_pushvalue(L, MARK);
  lua_setmetatable(L, -2);
  return true;
}

static bool read_member(struct reader *reader, int depth) {
  skip_space(reader);
  if (!take(reader, '"'))
    return fail(reader, reader->at, "a key is missing");
  if (!read_string(reader))
    return false;
  skip_space(reader);
  if (!take(reader, ':'))
    return fail(reader, reader->at, "':' is missing");
  if (!read_value(reader, depth))
    return false;
  lua_rawset(reader->L, -3);
  return true;
}

/* Of a key that comes twice the last value counts, a null too. */
static bool read_object(struct reader *reader, int depth) {
  lua_newtable(reader->L);
  skip_space(reader);
  if (take(reader, '}'))
    return true;
  do {
    if (!read_member(reader, depth))
      return false;
    skip_space(reader);
  } while (take(reader, ','));
  return take(reader, '}') || fail(reader, reader->at, "',' or '}' is missing");
}

static bool read_nested(struct reader *reader, int depth) {
  if (depth >= JSON_MAX_DEPTH)
    return fail(reader, reader->at, "nested too deep");
  luaL_checkstack(reader->L, LEVEL_SLOTS, NULL);
  return *reader->at++ == '{' ? read_object(reader, depth + 1) : read_array(reader, depth + 1);
}

/* Take the word if it comes next. */
static bool take_word(struct reader *reader, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
    return fail(reader, reader->at, "a value is missing");
  reader->at += length;
  return true;
}

/* Push a value. */
static bool read_value(struct reader *reader, int depth) {
  skip_space(reader);
  if (reader->at == reader->end)
    return fail(reader, reader->at, "a value is missing");
  switch (*reader->at) {
  case '{':
  case '[':
    return read_nested(reader, depth);
  case '"':
    reader->at++;
    return read_string(reader);
  case 't':
    lua_pushboolean(reader->L, 1);
    return take_word(reader, "true");
  case 'f':
    lua_pushboolean(reader->L, 0);
    return take_word(reader, "false");
  case 'n':
    lua_pushnil(reader->L);
    return take_word(reader, "null");
  default:
    return read_number(reader);
  }
}

/* core.json_decode(text, array_mark, mend, exact) -> value, or nil, the complaint, the byte */
static int l_decode(lua_State *L) {
  struct reader reader = {.L = L};
  size_t length;
  reader.text = reader.at = luaL_checklstring(L, 1, &length);
  reader.end = reader.text + length;
  luaL_checktype(L, MARK, LUA_TTABLE);
  reader.mend = lua_toboolean(L, 3);
  reader.exact = lua_toboolean(L, 4);
  if (read_value(&reader, 0)) {
    skip_space(&reader);
    if (reader.at == reader.end)
      return 1;
    fail(&reader, reader.at, "more than one value");
  }
  lua_pushnil(L);
  lua_pushstring(L, reader.wrong);
  lua_pushinteger(L, reader.at - reader.text + 1);
  return 3;
}

void json_open(lua_State *L) {
  lua_pushcfunction(L, l_decode);
  lua_setfield(L, -2, "json_decode");
  lua_pushinteger(L, JSON_MAX_DEPTH);
  lua_setfield(L, -2, "JSON_MAX_DEPTH");
}
