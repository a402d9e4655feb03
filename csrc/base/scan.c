/*
 * base/scan.c - just enough JSON for the core: the envelope of a frame, a few fields, and quoting.
 * SPDX-License-Identifier: MIT
 */
#include "base/scan.h"

#include "base/utf8.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}

/* `at` is behind the opening quote; returns the closing quote. */
static const char *find_quote(const char *at, const char *end) {
  while (at < end && *at != '"') {
    if ((unsigned char)*at < ' ')
      return NULL;
    at += *at == '\\' && end - at > 1 ? 2 : 1;
  }
  return at < end ? at : NULL;
}

static const char *skip_nested(const char *at, const char *end) {
  int depth = 0;
  for (; at < end; at++) {
    switch (*at) {
    case '"':
      at = find_quote(at + 1, end);
      if (!at)
        return NULL;
      break;
    case '{':
    case '[':
      depth++;
      break;
    case '}':
    case ']':
      if (--depth == 0)
        return at + 1;
      break;
    default:
      break;
    }
  }
  return NULL;
}

static const char *skip_scalar(const char *at, const char *end) {
  const char *start = at;
  while (at < end && *at != ',' && *at != '}' && *at != ']' && *at != ':' && *at != '"' &&
         (unsigned char)*at > ' ')
    at++;
  return at == start ? NULL : at;
}

const char *scan_skip(const char *at, const char *end) {
  if (at == end)
    return NULL;
  if (*at == '"') {
    at = find_quote(at + 1, end);
    return at ? at + 1 : NULL;
  }
  return *at == '{' || *at == '[' ? skip_nested(at, end) : skip_scalar(at, end);
}

bool slice_is(struct slice slice, const char *text) {
  return slice.length == strlen(text) && !memcmp(slice.at, text, slice.length);
}

struct walk {
  const char *at, *end;
  struct slice key, value;
  bool escaped; /* the key holds escapes */
  bool broken;
};

static bool walk_start(struct walk *walk, const char *text, size_t length) {
  walk->end = text + length;
  walk->at = skip_space(text, walk->end);
  walk->broken = walk->at == walk->end || *walk->at != '{';
  return !walk->broken;
}

/* The next member; at the end of the object, or where it is broken, false. */
static bool walk_next(struct walk *walk) {
  const char *at = skip_space(walk->at + 1, walk->end), *end = walk->end;
  bool first = *walk->at == '{';
  walk->broken = true;
  if (at == end)
    return false;
  if (*at == '}' && first) {
    walk->at = at;
    walk->broken = false;
    return false;
  }
  if (*at != '"')
    return false;
  walk->key.at = ++at;
  if (!(at = find_quote(at, end)))
    return false;
  walk->key.length = (size_t)(at - walk->key.at);
  walk->escaped = memchr(walk->key.at, '\\', walk->key.length) != NULL;
  at = skip_space(at + 1, end);
  if (at == end || *at != ':')
    return false;
  at = skip_space(at + 1, end);
  walk->value.at = at;
  if (!(at = scan_skip(at, end)))
    return false;
  walk->value.length = (size_t)(at - walk->value.at);
  at = skip_space(at, end);
  if (at == end || (*at != ',' && *at != '}'))
    return false;
  walk->at = at;
  walk->broken = false;
  return true;
}

/* After a member: is another one to come? */
static bool walk_more(const struct walk *walk) {
  return *walk->at == ',';
}

/* Escapes in a key are unusual, but a key with escapes is the same key. */
static bool is_escaped_key(const struct walk *walk, const char *key, size_t length) {
  struct slice quoted = {walk->key.at - 1, walk->key.length + 2};
  struct buffer plain = {0};
  bool same = scan_string(quoted, &plain) && plain.length == length && !memcmp(plain.data, key, length);
  buffer_free(&plain);
  return same;
}

static bool is_key(const struct walk *walk, const char *key) {
  return walk->escaped ? is_escaped_key(walk, key, strlen(key)) : slice_is(walk->key, key);
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool take_uint32(struct slice value, uint32_t *number) {
  uint64_t n = 0;
  if (!value.length || value.length > 10 || (*value.at == '0' && value.length > 1))
    return false;
  for (size_t i = 0; i < value.length; i++) {
    if (!is_digit(value.at[i]))
      return false;
    n = n * 10 + (uint64_t)(value.at[i] - '0');
  }
  if (n > UINT32_MAX)
    return false;
  *number = (uint32_t)n;
  return true;
}

/* The inside of a string; of anything else, absent. */
static struct slice inside(struct slice value) {
  return *value.at == '"' ? (struct slice){value.at + 1, value.length - 2} : (struct slice){NULL, 0};
}

void frame_take(struct frame *frame, struct slice key, struct slice value) {
  if (slice_is(key, "type"))
    frame->has_type = take_uint32(value, &frame->type);
  else if (slice_is(key, "id"))
    frame->has_id = take_uint32(value, &frame->id);
  else if (slice_is(key, "payload"))
    frame->payload = value;
  else if (slice_is(key, "method"))
    frame->method = inside(value);
}

/* Escapes in a key are unusual, but a key with escapes is the same key. */
static void take_member(const struct walk *walk, struct frame *frame) {
  struct buffer plain = {0};
  if (!walk->escaped)
    frame_take(frame, walk->key, walk->value);
  else if (scan_string((struct slice){walk->key.at - 1, walk->key.length + 2}, &plain))
    frame_take(frame, (struct slice){plain.data, plain.length}, walk->value);
  buffer_free(&plain);
}

bool scan_frame(const char *text, size_t length, struct frame *frame) {
  struct walk walk;
  memset(frame, 0, sizeof *frame);
  if (!walk_start(&walk, text, length))
    return false;
  while (walk_next(&walk)) {
    take_member(&walk, frame);
    if (!walk_more(&walk))
      break;
  }
  return !walk.broken && skip_space(walk.at + 1, walk.end) == walk.end;
}

bool scan_find(struct slice object, const char *key, struct slice *value) {
  struct walk walk;
  struct slice found = {NULL, 0};
  if (!object.at || !walk_start(&walk, object.at, object.length))
    return false;
  while (walk_next(&walk)) {
    if (is_key(&walk, key))
      found = walk.value;
    if (!walk_more(&walk))
      break;
  }
  if (walk.broken || !found.at)
    return false;
  *value = found;
  return true;
}

bool scan_is_null(struct slice value) {
  return value.length == 4 && !memcmp(value.at, "null", 4);
}

/* By hand: strtod depends on the locale and reads on past the slice. */

static const char *take_digits(const char *at, const char *end, double *n) {
  for (; at < end && is_digit(*at); at++)
    *n = *n * 10 + (*at - '0');
  return at;
}

/* `at` is behind the point. */
static const char *take_fraction(const char *at, const char *end, double *n) {
  double scale = 1;
  for (; at < end && is_digit(*at); at++)
    *n += (*at - '0') * (scale /= 10);
  return at;
}

/* `at` is behind the letter e. */
static const char *take_exponent(const char *at, const char *end, double *n) {
  bool negative = at < end && *at == '-';
  double exponent = 0;
  const char *digits = at < end && (*at == '-' || *at == '+') ? at + 1 : at;
  at = take_digits(digits, end, &exponent);
  if (*n != 0) /* 0e999 is 0, not 0 times infinity */
    *n *= pow(10, negative ? -exponent : exponent);
  return at == digits ? NULL : at;
}

/* Exact for whole numbers up to 2^53, which is enough here. */
bool scan_number(struct slice value, double *number) {
  const char *at = value.at, *end = at + value.length, *part;
  bool negative = at < end && *at == '-';
  double n = 0;
  if (negative)
    at++;
  part = at;
  at = take_digits(at, end, &n);
  if (at == part || (*part == '0' && at - part > 1))
    return false;
  if (at < end && *at == '.') {
    part = at + 1;
    at = take_fraction(part, end, &n);
    if (at == part)
      return false;
  }
  if (at < end && (*at == 'e' || *at == 'E'))
    at = take_exponent(at + 1, end, &n);
  *number = negative ? -n : n;
  return at == end && isfinite(n);
}

bool scan_int(struct slice value, int *number) {
  double n;
  if (!scan_number(value, &n))
    return false;
  *number = n >= INT_MAX ? INT_MAX : n <= INT_MIN ? INT_MIN : (int)n;
  return true;
}

static int hex_digit(char c) {
  if (is_digit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hexadecimal digits; -1: there are none. */
static long hex4(const char *at, const char *end) {
  long n = 0;
  if (end - at < 4)
    return -1;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0)
      return -1;
    n = n << 4 | digit;
  }
  return n;
}

/* `at` is behind "\u"; returns where the escape ends. Half a surrogate pair is a character that nobody can
 * show. */
static const char *read_escape_u(const char *at, const char *end, uint32_t *character) {
  long c = hex4(at, end), low;
  if (c < 0)
    return NULL;
  at += 4;
  *character = (uint32_t)c;
  if (c < 0xd800 || c > 0xdfff)
    return at;
  low = c < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
  if (low < 0xdc00 || low > 0xdfff) {
    *character = UTF8_REPLACEMENT_CODE;
    return at;
  }
  *character = (uint32_t)(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
  return at + 6;
}

const char *scan_escape(const char *at, const char *end, uint32_t *character) {
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const char *found;
  if (at == end)
    return NULL;
  if (*at == 'u')
    return read_escape_u(at + 1, end, character);
  found = memchr(names, *at, sizeof names - 1);
  if (!found)
    return NULL;
  *character = (uint32_t)values[found - names];
  return at + 1;
}

/* `at` is behind the backslash; returns where the escape ends. */
static const char *put_escape(struct buffer *out, const char *at, const char *end) {
  char bytes[4];
  uint32_t character;
  at = scan_escape(at, end, &character);
  return at && buffer_append(out, bytes, utf8_encode(bytes, character)) ? at : NULL;
}

bool scan_string(struct slice value, struct buffer *out) {
  const char *at = value.at + 1, *end = value.at + value.length - 1;
  if (value.length < 2 || *value.at != '"' || *end != '"')
    return false;
  while (at && at < end) {
    const char *escape = memchr(at, '\\', (size_t)(end - at)), *stop = escape ? escape : end;
    if (memchr(at, '"', (size_t)(stop - at)) || !utf8_append(out, at, (size_t)(stop - at)))
      return false;
    at = escape ? put_escape(out, escape + 1, end) : end;
  }
  return at != NULL;
}

static bool is_plain(char c) {
  return (unsigned char)c >= ' ' && c != '"' && c != '\\';
}

bool scan_quote(struct buffer *out, const char *text, size_t length) {
  bool ok = buffer_append(out, "\"", 1);
  for (size_t i = 0, from; ok && i < length;) {
    for (from = i; i < length && is_plain(text[i]);)
      i++;
    ok = buffer_append(out, text + from, i - from);
    if (ok && i < length)
      ok = buffer_printf(out, (unsigned char)text[i] < ' ' ? "\\u%04x" : "\\%c", text[i]);
    i++;
  }
  return ok && buffer_append(out, "\"", 1);
}
