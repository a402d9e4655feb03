/*
 * scan.c - the scanner of frames against the JSON reader: it takes every object that the reader takes, and
 * finds the same type, id and method in it. It reads its own quoted texts back unchanged.
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/json.h"
#include "base/scan.h"
#include "base/utf8.h"

#include <lauxlib.h>

static lua_State *L;

/* Leaves the object that the reader makes of the text, if it makes one. */
static bool decode(const char *text, size_t size) {
  lua_settop(L, 1);
  lua_getfield(L, 1, "json_decode");
  lua_pushlstring(L, text, size);
  lua_newtable(L);
  lua_call(L, 2, 1);
  return lua_istable(L, -1);
}

static void check_number(const char *key, bool has, uint32_t number) {
  lua_getfield(L, 2, key);
  if (has)
    CHECK(lua_isinteger(L, -1) && lua_tointeger(L, -1) == (lua_Integer)number, "%s %u", key, number);
  lua_pop(L, 1);
}

static void check_text(struct slice value, const char *key) {
  struct buffer out = {0};
  const char *expected;
  size_t length;
  lua_getfield(L, 2, key);
  expected = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
  if (scan_string(value, &out))
    CHECK(expected && out.length == length && !memcmp(out.data ? out.data : "", expected, length), "%s", key);
  else
    CHECK(!expected, "%s is a string", key);
  lua_pop(L, 1);
  buffer_free(&out);
}

static void check_quoting(const char *text, size_t size) {
  struct buffer quoted = {0}, back = {0};
  CHECK(scan_quote(&quoted, text, size), "quote");
  CHECK(scan_string((struct slice){quoted.data, quoted.length}, &back), "read again");
  if (utf8_valid(text, size))
    CHECK(back.length == size && (!size || !memcmp(back.data, text, size)), "other bytes");
  buffer_free(&quoted);
  buffer_free(&back);
}

/* Slices are inside of the text, and none of the functions looks beyond them. */
static void look_into(const char *text, size_t size, struct slice value) {
  struct buffer out = {0};
  double number;
  int whole;
  CHECK(value.at >= text && value.at + value.length <= text + size, "a slice beyond the text");
  scan_number(value, &number);
  scan_int(value, &whole);
  scan_is_null(value);
  scan_string(value, &out);
  buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  struct slice value;
  struct frame frame;
  bool object, scanned;
  if (!L) {
    L = luaL_newstate();
    lua_newtable(L);
    json_open(L);
  }
  object = decode(text, size) && memchr(text, '{', strspn(text, " \t\r\n") + 1);
  scanned = scan_frame(text, size, &frame);
  if (scanned && frame.payload.at)
    look_into(text, size, frame.payload);
  if (scan_find((struct slice){text, size}, "payload", &value))
    look_into(text, size, value);
  if (object) {
    CHECK(scanned, "the reader takes this object");
    check_number("type", frame.has_type, frame.type);
    check_number("id", frame.has_id, frame.id);
    if (scan_find((struct slice){text, size}, "method", &value))
      check_text(value, "method");
  }
  check_quoting(text, size);
  return 0;
}
