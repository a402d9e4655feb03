/*
 * span.h - reads the few fields of a frame that the load server and the baseline client need.
 * Nothing is built and nothing is copied: a span points into the text that was received.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SPAN_H
#define BENCH_SPAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct span {
  const char *at;
  size_t len;
};

/* A frame of either direction; what was absent has len 0. Strings are without quotes, escapes as they came.
 */
struct frame {
  int type;
  uint64_t id;
  struct span method, payload;
};

static inline bool span_is(struct span s, const char *text) {
  return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static inline const char *scan_blank(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
    p++;
  return p;
}

/* p stands after the opening quote; returns the closing quote, or NULL. */
static inline const char *scan_string(const char *p, const char *end) {
  while (p < end) {
    const char *quote = memchr(p, '"', (size_t)(end - p)), *q = quote;
    if (!quote)
      return NULL;
    while (q > p && q[-1] == '\\')
      q--;
    if ((quote - q) % 2 == 0)
      return quote;
    p = quote + 1;
  }
  return NULL;
}

/* p stands on '{' or '['; returns the place after its partner, or NULL. */
static inline const char *scan_container(const char *p, const char *end) {
  int depth = 0;
  for (; p < end; p++) {
    if (*p == '"') {
      p = scan_string(p + 1, end);
      if (!p)
        return NULL;
    } else if (*p == '{' || *p == '[') {
      depth++;
    } else if ((*p == '}' || *p == ']') && --depth == 0) {
      return p + 1;
    }
  }
  return NULL;
}

/* Reads one value at p into *value and returns the place after it, or NULL. */
static inline const char *scan_value(const char *p, const char *end, struct span *value) {
  const char *from = p;
  if (p == end)
    return NULL;
  if (*p == '"') {
    p = scan_string(p + 1, end);
    if (!p)
      return NULL;
    *value = (struct span){from + 1, (size_t)(p - from - 1)};
    return p + 1;
  }
  if (*p == '{' || *p == '[')
    p = scan_container(p, end);
  else
    while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' && *p != '\r' &&
           *p != '\t')
      p++;
  *value = (struct span){from, p ? (size_t)(p - from) : 0};
  return p;
}

/* Reads the next member of an object; *p stands after its '{' or after the last member. False: end or damage.
 */
static inline bool scan_member(const char **p, const char *end, struct span *key, struct span *value) {
  const char *q = scan_blank(*p, end);
  if (q < end && *q == ',')
    q = scan_blank(q + 1, end);
  if (q == end || *q != '"')
    return false;
  q = scan_value(q, end, key);
  if (!q || (q = scan_blank(q, end)) == end || *q != ':')
    return false;
  q = scan_value(scan_blank(q + 1, end), end, value);
  *p = q;
  return q != NULL;
}

/* The member `name` of the object in `object`; len 0 if there is none. */
static inline struct span scan_field(struct span object, const char *name) {
  const char *p = object.at + 1, *end = object.at + object.len;
  struct span key, value;
  if (object.len == 0 || *object.at != '{')
    return (struct span){NULL, 0};
  while (scan_member(&p, end, &key, &value))
    if (span_is(key, name))
      return value;
  return (struct span){NULL, 0};
}

static inline uint64_t scan_number(struct span s) {
  uint64_t n = 0;
  for (size_t i = 0; i < s.len && s.at[i] >= '0' && s.at[i] <= '9'; i++)
    n = n * 10 + (uint64_t)(s.at[i] - '0');
  return n;
}

/* Reads a whole text message; false if it is not one JSON object with a type and an id. */
static inline bool scan_frame(const char *text, size_t len, struct frame *f) {
  const char *end = text + len, *p = scan_blank(text, end);
  struct span key, value;
  memset(f, 0, sizeof *f);
  if (p == end || *p != '{')
    return false;
  p++;
  while (scan_member(&p, end, &key, &value)) {
    if (span_is(key, "type"))
      f->type = (int)scan_number(value);
    else if (span_is(key, "id"))
      f->id = scan_number(value);
    else if (span_is(key, "method"))
      f->method = value;
    else if (span_is(key, "payload"))
      f->payload = value;
  }
  if (!p || (p = scan_blank(p, end)) == end || *p != '}')
    return false;
  return scan_blank(p + 1, end) == end && f->type != 0 && f->id != 0;
}

#endif
