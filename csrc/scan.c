/*
 * scan.c - just enough JSON for the core: the envelope of a frame, a few fields, and quoting.
 * SPDX-License-Identifier: MIT
 */
#include "scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}

/* `at` is behind the opening quote; returns the closing quote. */
static const char *find_quote(const char *at, const char *end) {
  for (; at < end; at++) {
    if (*at == '"') return at;
    if (*at == '\\') at++;
    else if ((unsigned char)*at < ' ') return NULL;
  }
  return NULL;
}

static const char *skip_nested(const char *at, const char *end) {
  int depth = 0;
  for (; at < end; at++) {
    switch (*at) {
    case '"':
      at = find_quote(at + 1, end);
      if (!at) return NULL;
      break;
    case '{':
    case '[':
      depth++;
      break;
    case '}':
    case ']':
      if (--depth == 0) return at + 1;
      break;
    default:
      break;
    }
  }
  return NULL;
}

static const char *skip_scalar(const char *at, const char *end) {
  const char *start = at;
  while (at < end && *at != ',' && *at != '}' && *at != ']' && *at != ':' && *at != '"' && (unsigned char)*at > ' ')
    at++;
  return at == start ? NULL : at;
}

static const char *skip_value(const char *at, const char *end) {
  if (at == end) return NULL;
  if (*at == '"') {
    at = find_quote(at + 1, end);
    return at ? at + 1 : NULL;
  }
  return *at == '{' || *at == '[' ? skip_nested(at, end) : skip_scalar(at, end);
}

struct walk {
  const char *at, *end;
  struct slice key, value;
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
  if (at == end) return false;
  if (*at == '}' && first) {
    walk->at = at;
    walk->broken = false;
    return false;
  }
  if (*at != '"') return false;
  walk->key.at = ++at;
  if (!(at = find_quote(at, end))) return false;
  walk->key.length = (size_t)(at - walk->key.at);
  at = skip_space(at + 1, end);
  if (at == end || *at != ':') return false;
  at = skip_space(at + 1, end);
  walk->value.at = at;
  if (!(at = skip_value(at, end))) return false;
  walk->value.length = (size_t)(at - walk->value.at);
  at = skip_space(at, end);
  if (at == end || (*at != ',' && *at != '}')) return false;
  walk->at = at;
  walk->broken = false;
  return true;
}

/* After a member: is another one to come? */
static bool walk_more(const struct walk *walk) { return *walk->at == ','; }

static bool is_key(const struct walk *walk, const char *key) {
  size_t n = strlen(key);
  return walk->key.length == n && !memcmp(walk->key.at, key, n);
}

static bool take_uint32(struct slice value, uint32_t *number) {
  uint64_t n = 0;
  if (!value.length || value.length > 10) return false;
  for (size_t i = 0; i < value.length; i++) {
    if (value.at[i] < '0' || value.at[i] > '9') return false;
    n = n * 10 + (uint64_t)(value.at[i] - '0');
  }
  *number = (uint32_t)n;
  return n <= UINT32_MAX;
}

static void take_member(const struct walk *walk, struct frame *frame) {
  if (is_key(walk, "type")) {
    frame->has_type = take_uint32(walk->value, &frame->type);
  } else if (is_key(walk, "id")) {
    frame->has_id = take_uint32(walk->value, &frame->id);
  } else if (is_key(walk, "payload")) {
    frame->payload = walk->value;
  } else if (is_key(walk, "method") && *walk->value.at == '"') {
    frame->method.at = walk->value.at + 1;
    frame->method.length = walk->value.length - 2;
  }
}

bool scan_frame(const char *text, size_t length, struct frame *frame) {
  struct walk walk;
  memset(frame, 0, sizeof *frame);
  if (!walk_start(&walk, text, length)) return false;
  while (walk_next(&walk)) {
    take_member(&walk, frame);
    if (!walk_more(&walk)) break;
  }
  return !walk.broken && skip_space(walk.at + 1, walk.end) == walk.end;
}

bool scan_find(struct slice object, const char *key, struct slice *value) {
  struct walk walk;
  if (!object.at || !walk_start(&walk, object.at, object.length)) return false;
  while (walk_next(&walk)) {
    if (is_key(&walk, key)) {
      *value = walk.value;
      return true;
    }
    if (!walk_more(&walk)) break;
  }
  return false;
}

bool scan_is_null(struct slice value) { return value.length == 4 && !memcmp(value.at, "null", 4); }

/* By hand: strtod depends on the locale. Exact for integers to 2^53, which is all that is asked of it. */
bool scan_number(struct slice value, double *number) {
  const char *at = value.at, *end = at + value.length;
  double n = 0, scale = 1;
  bool negative = at < end && *at == '-', digits = false;
  if (negative) at++;
  for (; at < end && *at >= '0' && *at <= '9'; at++, digits = true)
    n = n * 10 + (*at - '0');
  if (at < end && *at == '.')
    for (at++; at < end && *at >= '0' && *at <= '9'; at++)
      n += (*at - '0') * (scale /= 10);
  if (at < end && (*at == 'e' || *at == 'E')) {
    long exponent = strtol(at + 1, NULL, 10);
    n *= pow(10, (double)(exponent > 400 ? 400 : exponent < -400 ? -400 : exponent));
    at = end;
  }
  *number = negative ? -n : n;
  return digits && at == end;
}

static int hex4(const char *at, const char *end) {
  int n = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    n = n << 4 | (c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 1 << 20);
  }
  return n < 1 << 16 ? n : -1;
}

static bool put_utf8(struct buffer *out, long c) {
  char b[4];
  size_t n;
  if (c < 0x80) b[0] = (char)c, n = 1;
  else if (c < 0x800) b[0] = (char)(0xc0 | c >> 6), b[1] = (char)(0x80 | (c & 63)), n = 2;
  else if (c < 0x10000) b[0] = (char)(0xe0 | c >> 12), b[1] = (char)(0x80 | (c >> 6 & 63)), b[2] = (char)(0x80 | (c & 63)), n = 3;
  else b[0] = (char)(0xf0 | c >> 18), b[1] = (char)(0x80 | (c >> 12 & 63)), b[2] = (char)(0x80 | (c >> 6 & 63)), b[3] = (char)(0x80 | (c & 63)), n = 4;
  return buffer_append(out, b, n);
}

/* `at` is behind "\u"; returns where the escape ends. */
static const char *put_escape_u(struct buffer *out, const char *at, const char *end) {
  long c = hex4(at, end);
  at += 4;
  if (c < 0) return NULL;
  if (c >= 0xd800 && c < 0xdc00) {
    long low = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    at += 6;
  } else if (c >= 0xdc00 && c < 0xe000) {
    return NULL;
  }
  return put_utf8(out, c) ? at : NULL;
}

bool scan_string(struct slice value, struct buffer *out) {
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const char *at = value.at, *end = at + value.length - 1, *found;
  if (value.length < 2 || *at != '"' || *end != '"') return false;
  for (at++; at < end;) {
    if (*at != '\\') {
      if (!buffer_append(out, at++, 1)) return false;
    } else if (at[1] == 'u') {
      if (!(at = put_escape_u(out, at + 2, end))) return false;
    } else {
      found = at[1] ? strchr(names, at[1]) : NULL;
      if (!found || !buffer_append(out, values + (found - names), 1)) return false;
      at += 2;
    }
  }
  return at == end;
}

bool scan_quote(struct buffer *out, const char *text, size_t length) {
  bool ok = buffer_append(out, "\"", 1);
  for (size_t i = 0; ok && i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c < ' ') ok = buffer_printf(out, "\\u%04x", c);
    else if (c == '"' || c == '\\') ok = buffer_append(out, "\\", 1) && buffer_append(out, text + i, 1);
    else ok = buffer_append(out, text + i, 1);
  }
  return ok && buffer_append(out, "\"", 1);
}
