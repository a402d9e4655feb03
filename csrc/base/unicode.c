/*
 * base/unicode.c - Unicode properties of text, by libutf8proc: letters, their cases, grapheme clusters.
 * Lua sees: core.fold, core.spelling, core.lower, core.upper, core.is_letter, core.grapheme_starts,
 * core.mend_utf8. Owns nothing: temporary memory is Lua's, so that Lua may raise anywhere.
 * SPDX-License-Identifier: MIT
 */
#include "base/unicode.h"

#include "base/utf8.h"

#include <lauxlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- comparing ----------------------------------------------------------------------------------- */

static bool is_ascii(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] >= 0x80)
      return false;
  return true;
}

static void push_ascii_lower(lua_State *L, const char *text, size_t length) {
  luaL_Buffer out;
  char *bytes = luaL_buffinitsize(L, &out, length);
  for (size_t i = 0; i < length; i++)
    bytes[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
  luaL_pushresultsize(&out, length);
}

/* Invisible characters that keyboards insert: variation selectors, soft hyphens, marks of direction and the
 * like. Not the joiners, which change their neighbours. */
static bool is_unseen(utf8proc_int32_t c) {
  return c == 0xAD || c == 0x61C || c == 0x200B || c == 0x200E || c == 0x200F ||
         (c >= 0x202A && c <= 0x202E) || c == 0x2060 || (c >= 0x2066 && c <= 0x2069) ||
         (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF;
}

/* The four letters I of Turkish are one here: nobody can tell whether an "I" in capitals is Turkish. */
static utf8proc_int32_t plain_character(utf8proc_int32_t c, void *data) {
  (void)data;
  if (c == 0x131)
    return 'i';
  return utf8proc_category(c) == UTF8PROC_CATEGORY_ZS ? ' ' : c;
}

/* Remove the decomposed characters that do not count in comparisons: invisible ones, and the dot of a capital
 * I that has become a dot of a small i. Returns the number of characters left. */
static utf8proc_ssize_t drop_unseen(utf8proc_int32_t *characters, utf8proc_ssize_t count) {
  utf8proc_ssize_t kept = 0;
  utf8proc_int32_t base = 0;
  for (utf8proc_ssize_t i = 0; i < count; i++) {
    utf8proc_int32_t c = characters[i];
    if (is_unseen(c) || (c == 0x307 && base == 'i'))
      continue;
    if (!utf8proc_get_property(c)->combining_class)
      base = c;
    characters[kept++] = c;
  }
  return kept;
}

/* core.fold(text) -> text for comparisons in any case of letters */
static int l_fold(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD;
  const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
  utf8proc_ssize_t count, room;
  utf8proc_int32_t *characters;
  if (is_ascii(text, length) || !utf8_valid(text, length)) {
    push_ascii_lower(L, text, length);
    return 1;
  }
  room = utf8proc_decompose_custom(bytes, (utf8proc_ssize_t)length, NULL, 0, options, plain_character, NULL);
  if (room < 0)
    return luaL_error(L, "%s", utf8proc_errmsg(room));
  characters = lua_newuserdatauv(L, ((size_t)room + 1) * sizeof *characters, 0);
  count = utf8proc_decompose_custom(bytes, (utf8proc_ssize_t)length, characters, room, options,
                                    plain_character, NULL);
  if (count >= 0)
    count = utf8proc_reencode(characters, drop_unseen(characters, count), options);
  if (count < 0)
    return luaL_error(L, "%s", utf8proc_errmsg(count));
  lua_pushlstring(L, (const char *)characters, (size_t)count);
  return 1;
}

static utf8proc_int32_t plain_space(utf8proc_int32_t c, void *data) {
  (void)data;
  return utf8proc_category(c) == UTF8PROC_CATEGORY_ZS ? ' ' : c;
}

/* core.spelling(text) -> one text for all spellings that an LDAP directory treats as the same name (RFC
 * 4518): letters of any case and width, with or without spaces and invisible characters. Of text that is not
 * UTF-8 the ASCII letters in lower case. */
static int l_spelling(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  const utf8proc_option_t options =
      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
  const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
  utf8proc_ssize_t count, room, kept = 0;
  utf8proc_int32_t *characters;
  if (!utf8_valid(text, length)) {
    push_ascii_lower(L, text, length);
    return 1;
  }
  room = utf8proc_decompose_custom(bytes, (utf8proc_ssize_t)length, NULL, 0, options, plain_space, NULL);
  if (room < 0)
    return luaL_error(L, "%s", utf8proc_errmsg(room));
  characters = lua_newuserdatauv(L, ((size_t)room + 1) * sizeof *characters, 0);
  count = utf8proc_decompose_custom(bytes, (utf8proc_ssize_t)length, characters, room, options, plain_space,
                                    NULL);
  for (utf8proc_ssize_t i = 0; i < count; i++)
    if (characters[i] != ' ' && !is_unseen(characters[i]))
      characters[kept++] = characters[i];
  count = count < 0 ? count : utf8proc_reencode(characters, kept, options);
  if (count < 0)
    return luaL_error(L, "%s", utf8proc_errmsg(count));
  lua_pushlstring(L, (const char *)characters, (size_t)count);
  return 1;
}

/* ---- showing ------------------------------------------------------------------------------------- */

static int change_case(lua_State *L, utf8proc_int32_t (*change)(utf8proc_int32_t)) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length), *at = text, *end = text + length;
  luaL_Buffer out;
  if (!utf8_valid(text, length)) {
    lua_settop(L, 1);
    return 1;
  }
  luaL_buffinit(L, &out);
  while (at < end) {
    utf8proc_int32_t c;
    at += utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &c);
    luaL_addsize(&out, utf8_encode(luaL_prepbuffsize(&out, 4), (uint32_t)change(c)));
  }
  luaL_pushresult(&out);
  return 1;
}

/* core.lower(text) -> text */
static int l_lower(lua_State *L) {
  return change_case(L, utf8proc_tolower);
}

/* core.upper(text) -> text */
static int l_upper(lua_State *L) {
  return change_case(L, utf8proc_toupper);
}

/* ---- characters ---------------------------------------------------------------------------------- */

/* core.is_letter(code) -> boolean: a letter or a digit (categories L and N) */
static int l_is_letter(lua_State *L) {
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)luaL_checkinteger(L, 1));
  lua_pushboolean(L, (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
                         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO));
  return 1;
}

/* Mark in `starts`, all zero, each byte with which a grapheme cluster begins. */
static void mark_starts(const char *text, size_t length, char *starts) {
  utf8proc_int32_t before = 0, c, state = 0;
  for (size_t at = 0; at < length;) {
    utf8proc_ssize_t step =
        utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &c);
    starts[at] = at == 0 || utf8proc_grapheme_break_stateful(before, c, &state);
    before = c;
    at += (size_t)step;
  }
}

/* core.grapheme_starts(text) -> a string of the same length, "\1" where a grapheme cluster begins, else "\0"
 */
static int l_grapheme_starts(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  luaL_Buffer out;
  char *starts = luaL_buffinitsize(L, &out, length);
  memset(starts, 0, length);
  if (utf8_valid(text, length))
    mark_starts(text, length, starts);
  else
    memset(starts, 1, length);
  luaL_pushresultsize(&out, length);
  return 1;
}

/* core.mend_utf8(text) -> text with U+FFFD for what is not UTF-8 */
static int l_mend_utf8(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length), *at = text, *from = text, *end = text + length;
  luaL_Buffer out;
  lua_settop(L, 1);
  if (utf8_valid(text, length))
    return 1;
  luaL_buffinit(L, &out);
  while (at < end) {
    size_t step = utf8_sequence(at, (size_t)(end - at));
    if (!step) {
      luaL_addlstring(&out, from, (size_t)(at - from));
      luaL_addstring(&out, UTF8_REPLACEMENT);
      step = utf8_broken(at, (size_t)(end - at));
      from = at + step;
    }
    at += step;
  }
  luaL_addlstring(&out, from, (size_t)(end - from));
  luaL_pushresult(&out);
  return 1;
}

void unicode_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"fold", l_fold},           {"spelling", l_spelling},
      {"lower", l_lower},         {"upper", l_upper},
      {"is_letter", l_is_letter}, {"grapheme_starts", l_grapheme_starts},
      {"mend_utf8", l_mend_utf8}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
