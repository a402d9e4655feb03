/*
 * scan.c - the scanner of frames against the JSON reader: it takes every object that the reader takes, and
 * finds the same type, id and method in it. The reader of frames finds the same again, and in the payload
 * what the reader of texts finds. The scanner reads its own quoted texts back unchanged.
 *
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
  lua_call(L, 1, 1);
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

static bool same_slice(struct slice a, struct slice b) {
  return a.at == b.at && a.length == b.length;
}

/* Both values on top, by what they are; tables member by member. Pops the second. */
static bool same_value(void) {
  bool same;
  int a, b;
  luaL_checkstack(L, 8, NULL);
  b = lua_gettop(L);
  a = b - 1;
  same = lua_rawequal(L, a, b) && lua_isinteger(L, a) == lua_isinteger(L, b);
  if (lua_istable(L, a) && lua_istable(L, b)) {
    size_t left = 0;
    same = lua_getmetatable(L, a) == lua_getmetatable(L, b);
    lua_settop(L, b);
    for (lua_pushnil(L); same && lua_next(L, a); lua_pop(L, 1), left++) {
      lua_pushvalue(L, -2);
      lua_rawget(L, b);
      same = same_value();
    }
    lua_settop(L, b);
    for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1))
      left--;
    same = same && !left;
  }
  lua_settop(L, a);
  return same;
}

static bool want(const struct frame *frame, void *wanted) {
  CHECK(frame->has_type && frame->has_id, "not known yet");
  return *(bool *)wanted;
}

/* `found` is what the scanner has found. */
static void check_one_pass(struct slice text, bool scanned, const struct frame *found, bool wanted) {
  struct frame frame;
  struct json_complaint complaint;
  int top = lua_gettop(L);
  if (!json_read_frame(L, text, &frame, want, &wanted)) {
    CHECK(lua_gettop(L) == top, "something was left");
    return;
  }
  CHECK(lua_gettop(L) == top + 1, "one value");
  CHECK(scanned, "the scanner refuses it");
  CHECK(frame.has_type == found->has_type && frame.type == found->type, "type");
  CHECK(frame.has_id == found->has_id && frame.id == found->id, "id");
  CHECK(same_slice(frame.method, found->method) && same_slice(frame.payload, found->payload), "slices");
  CHECK(frame.decoded || lua_isnil(L, -1), "a value that was not wanted");
  CHECK(!wanted || frame.decoded == (frame.payload.at != NULL), "decoded");
  if (frame.decoded) {
    CHECK(json_read(L, frame.payload, &complaint), "%s", complaint.wrong);
    CHECK(same_value(), "another value");
  }
  lua_settop(L, top);
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
  lua_settop(L, 1);
  scanned = scan_frame(text, size, &frame);
  check_one_pass((struct slice){text, size}, scanned, &frame, true);
  check_one_pass((struct slice){text, size}, scanned, &frame, false);
  object = decode(text, size) && memchr(text, '{', strspn(text, " \t\r\n") + 1);
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
