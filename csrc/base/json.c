/*
 * base/json.c - JSON text (RFC 8259, nothing else) to Lua values, in one pass.
 * Lua sees: core.json_decode, core.json_keys, core.json_array_mark, core.JSON_MAX_DEPTH; json.lua names the
 * errors.
 * Owns, in the registry: the metatable that marks empty arrays, and the known keys. Strings under way are
 * Lua's, so that Lua may raise anywhere. Recursion ends at JSON_MAX_DEPTH.
 * SPDX-License-Identifier: MIT
 */
#include "base/json.h"

#include "base/utf8.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum {
  HELD = 24, /* members that wait on the stack until their table is made, as large as needed */
  LEVEL_SLOTS = 2 * HELD + 8, /* of the Lua stack, for one level */
  SAFE_DIGITS = 18,           /* as many fit into a 64-bit integer, whatever they are */
  KEY_PLACES = 512,
};
#define EXACT ((lua_Number)(1LL << 53)) /* whole floats up to here have one spelling */

static const char MARK_KEY, KEYS_KEY; /* of the registry */

/* The keys of the schema, interned once. The table is closed after that: the sender of a text must not choose
 * what is kept. Each key has one place; of two for the same place, the second is read as any other string. */
struct keys { /* a userdata; its user value is an array of the strings, by place */
  bool closed;
  struct key {
    const char *text; /* NULL: free */
    size_t length;
  } places[KEY_PLACES];
};

struct reader {
  lua_State *L;
  const char *text, *at, *end;
  const struct keys *keys; /* NULL: none are known */
  int strings;             /* stack index of its user value */
  bool mend;               /* U+FFFD for bytes that are not UTF-8 */
  bool exact;              /* a number with a point or an exponent is a float */
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

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight bytes, the first in the lowest bits. */
static uint64_t load(const char *at) {
  uint64_t bytes;
  memcpy(&bytes, at, sizeof bytes);
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  bytes = __builtin_bswap64(bytes);
#endif
  return bytes;
}

/* Of eight bytes: the lowest bit that is set belongs to the first control character, quote, backslash, or
 * byte from 0x80. */
static uint64_t find_odd(uint64_t bytes) {
  uint64_t quotes = bytes ^ EACH('"'), backslashes = bytes ^ EACH('\\');
  return (((bytes - EACH(' ')) & ~bytes) | ((quotes - EACH(1)) & ~quotes) |
          ((backslashes - EACH(1)) & ~backslashes) | bytes) &
         EACH(0x80);
}

/* Skip printable ASCII without quotes and backslashes. */
static const char *skip_ascii(const char *at, const char *end) {
  for (; end - at >= 8; at += 8) {
    uint64_t odd = find_odd(load(at));
    if (odd)
      return at + __builtin_ctzll(odd) / 8;
  }
  while (at < end && *at >= ' ' && *at != '"' && *at != '\\' && (unsigned char)*at < 0x80)
    at++;
  return at;
}

/* Skip plain characters; stops at a quote, a backslash, or a byte that is not allowed in a string. */
static const char *skip_plain(const char *at, const char *end) {
  size_t step;
  while ((at = skip_ascii(at, end)) < end && (unsigned char)*at >= 0x80) {
    do {
      step = utf8_sequence(at, (size_t)(end - at));
      at += step;
    } while (step && at < end && (unsigned char)*at >= 0x80);
    if (!step)
      break;
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

/* Move the held values, which are on top of the array at `table`, into it, behind `count` others. The array
 * is made now if there is none yet. */
static void fill_array(lua_State *L, int table, int count, int held) {
  if (lua_isnil(L, table)) {
    lua_createtable(L, held, 0);
    lua_replace(L, table);
  }
  for (int i = count + held; i > count; i--)
    lua_rawseti(L, table, i);
}

/* A null in an array is left out, so that the array has no holes. */
static bool read_array(struct reader *reader, int depth) {
  lua_State *L = reader->L;
  int table, count = 0, held = 0;
  lua_pushnil(L);
  table = lua_gettop(L);
  skip_space(reader);
  if (!take(reader, ']')) {
    do {
      if (!read_value(reader, depth))
        return false;
      if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
      } else if (++held == HELD) {
        fill_array(L, table, count, held);
        count += held;
        held = 0;
      }
      skip_space(reader);
    } while (take(reader, ','));
    if (!take(reader, ']'))
      return fail(reader, reader->at, "',' or ']' is missing");
  }
  fill_array(L, table, count, held);
  if (count + held)
    return true;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &MARK_KEY);
  lua_setmetatable(L, table);
  return true;
}

static unsigned key_place(const char *text, size_t length) {
  const unsigned char *bytes = (const unsigned char *)text;
  return (unsigned)(length * 31 + bytes[0] + (size_t)bytes[length / 2] * 7 + (size_t)bytes[length - 1] * 19) %
         KEY_PLACES;
}

static void push_key(struct reader *reader, const char *text, size_t length) {
  if (reader->keys && length) {
    unsigned place = key_place(text, length);
    const struct key *key = &reader->keys->places[place];
    if (key->length == length && !memcmp(key->text, text, length)) {
      lua_rawgeti(reader->L, reader->strings, place + 1);
      return;
    }
  }
  lua_pushlstring(reader->L, text, length);
}

/* Push the key of a member; what follows the colon is to be read. */
static bool read_key(struct reader *reader) {
  const char *from, *at;
  skip_space(reader);
  if (!take(reader, '"'))
    return fail(reader, reader->at, "a key is missing");
  from = reader->at;
  at = skip_plain(from, reader->end);
  if (at < reader->end && *at == '"') {
    push_key(reader, from, (size_t)(at - from));
    reader->at = at + 1;
  } else if (!read_odd_string(reader, from, at)) {
    return false;
  }
  skip_space(reader);
  return take(reader, ':') || fail(reader, reader->at, "':' is missing");
}

/* Move the held members, which are on top of the object at `table`, into it, in their order: of a key that
 * comes twice the last value counts, a null too. */
static void fill_object(lua_State *L, int table, int held, int nulls) {
  if (lua_isnil(L, table)) {
    lua_createtable(L, 0, held - nulls);
    lua_replace(L, table);
  }
  for (int i = 1; i <= 2 * held; i += 2) {
    lua_pushvalue(L, table + i);
    lua_pushvalue(L, table + i + 1);
    lua_rawset(L, table);
  }
  lua_settop(L, table);
}

static bool read_object(struct reader *reader, int depth) {
  lua_State *L = reader->L;
  int table, held = 0, nulls = 0;
  lua_pushnil(L);
  table = lua_gettop(L);
  skip_space(reader);
  if (!take(reader, '}')) {
    do {
      if (!read_key(reader) || !read_value(reader, depth))
        return false;
      nulls += lua_isnil(L, -1);
      if (++held == HELD) {
        fill_object(L, table, held, nulls);
        held = nulls = 0;
      }
      skip_space(reader);
    } while (take(reader, ','));
    if (!take(reader, '}'))
      return fail(reader, reader->at, "',' or '}' is missing");
  }
  fill_object(L, table, held, nulls);
  return true;
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

/* ---- texts and frames ---------------------------------------------------------------------------- */

/* Two values stay on the stack while it is read. */
static void open_reader(struct reader *reader, lua_State *L, const char *text, size_t length) {
  memset(reader, 0, sizeof *reader);
  reader->L = L;
  reader->text = reader->at = text;
  reader->end = text + length;
  luaL_checkstack(L, LEVEL_SLOTS, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &KEYS_KEY);
  reader->keys = lua_touserdata(L, -1);
  lua_getiuservalue(L, -1, 1);
  reader->strings = lua_gettop(L);
}

static bool read_end(struct reader *reader) {
  skip_space(reader);
  return reader->at == reader->end || fail(reader, reader->at, "more than one value");
}

static bool read_text(struct reader *reader) {
  return read_value(reader, 0) && read_end(reader);
}

/* Leave `value` at `base`, and nothing above it. */
static bool finish(lua_State *L, int base, bool ok) {
  if (ok)
    lua_replace(L, base);
  lua_settop(L, ok ? base : base - 1);
  return ok;
}

bool json_read(lua_State *L, struct slice text, struct json_complaint *complaint) {
  struct reader reader;
  int base = lua_gettop(L) + 1;
  open_reader(&reader, L, text.at, text.length);
  reader.mend = true;
  if (finish(L, base, read_text(&reader)))
    return true;
  *complaint = (struct json_complaint){reader.wrong, (size_t)(reader.at - reader.text) + 1};
  return false;
}

void json_push_complaint(lua_State *L, const struct json_complaint *complaint) {
  lua_pushfstring(L, "not JSON: %s at byte %I", complaint->wrong, (LUAI_UACINT)complaint->byte);
}

/* One member of a frame; its value takes the place of the payload's, at `payload`, if it is one. */
static bool read_frame_member(struct reader *reader, struct frame *frame, int payload, json_wants wants,
                              void *owner) {
  lua_State *L = reader->L;
  struct slice key, value;
  bool is_payload, wanted = true;
  if (!read_key(reader))
    return false;
  key.at = lua_tolstring(L, -1, &key.length);
  skip_space(reader);
  value.at = reader->at;
  is_payload = slice_is(key, "payload");
  if (is_payload && frame->has_type && frame->has_id)
    wanted = wants(frame, owner);
  if (!wanted) {
    lua_pushnil(L);
    reader->at = scan_skip(value.at, reader->end);
  } else if (!read_value(reader, 0)) {
    return false;
  }
  if (!reader->at)
    return false;
  value.length = (size_t)(reader->at - value.at);
  frame_take(frame, key, value);
  if (is_payload) {
    frame->decoded = wanted;
    lua_replace(L, payload);
  }
  lua_settop(L, payload);
  return true;
}

bool json_read_frame(lua_State *L, struct slice text, struct frame *frame, json_wants wants, void *owner) {
  struct reader reader;
  int base = lua_gettop(L) + 1, payload;
  memset(frame, 0, sizeof *frame);
  open_reader(&reader, L, text.at, text.length);
  reader.mend = true;
  lua_pushnil(L);
  payload = lua_gettop(L);
  skip_space(&reader);
  if (!take(&reader, '{'))
    return finish(L, base, false);
  skip_space(&reader);
  if (!take(&reader, '}')) {
    do {
      if (!read_frame_member(&reader, frame, payload, wants, owner))
        return finish(L, base, false);
      skip_space(&reader);
    } while (take(&reader, ','));
    if (!take(&reader, '}'))
      return finish(L, base, false);
  }
  return finish(L, base, read_end(&reader));
}

/* core.json_decode(text, mend, exact) -> value, or nil, the complaint, the byte */
static int l_decode(lua_State *L) {
  struct reader reader;
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  open_reader(&reader, L, text, length);
  reader.mend = lua_toboolean(L, 2);
  reader.exact = lua_toboolean(L, 3);
  if (read_text(&reader))
    return 1;
  lua_pushnil(L);
  lua_pushstring(L, reader.wrong);
  lua_pushinteger(L, reader.at - reader.text + 1);
  return 3;
}

/* core.json_keys(names): the keys that are read without interning them again; only the first list counts. */
static int l_keys(lua_State *L) {
  struct keys *keys;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &KEYS_KEY);
  keys = lua_touserdata(L, -1);
  lua_getiuservalue(L, -1, 1);
  for (int i = 1; !keys->closed && lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
    struct key key = {.text = lua_tolstring(L, -1, &key.length)};
    unsigned place = key.length ? key_place(key.text, key.length) : 0;
    if (key.length && !keys->places[place].text) {
      lua_rawseti(L, -2, place + 1);
      keys->places[place] = key;
    } else {
      lua_pop(L, 1);
    }
  }
  keys->closed = true;
  return 0;
}

void json_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"json_decode", l_decode}, {"json_keys", l_keys}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_pushinteger(L, JSON_MAX_DEPTH);
  lua_setfield(L, -2, "JSON_MAX_DEPTH");
  memset(lua_newuserdatauv(L, sizeof(struct keys), 1), 0, sizeof(struct keys));
  lua_createtable(L, KEY_PLACES, 0);
  lua_setiuservalue(L, -2, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &KEYS_KEY);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "trueconf.json.array");
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &MARK_KEY);
  lua_setfield(L, -2, "json_array_mark");
}
