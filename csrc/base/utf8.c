/*
 * base/utf8.c - checks UTF-8, and mends text that is not.
 * SPDX-License-Identifier: MIT
 */
#include "base/utf8.h"

#include <string.h>

/* The second bytes that a lead byte allows: fewer than all 64 where they would spell a shorter sequence's
 * character, a surrogate, or something past U+10FFFF. */
static bool second_fits(unsigned char lead, unsigned char second) {
  switch (lead) {
  case 0xE0:
    return second >= 0xA0 && second <= 0xBF;
  case 0xED:
    return second >= 0x80 && second <= 0x9F;
  case 0xF0:
    return second >= 0x90 && second <= 0xBF;
  case 0xF4:
    return second >= 0x80 && second <= 0x8F;
  default:
    return second >= 0x80 && second <= 0xBF;
  }
}

/* Bytes that a lead byte announces; 0: it is none. */
static size_t announced(unsigned char lead) {
  if (lead < 0x80)
    return 1;
  if (lead < 0xC2 || lead > 0xF4)
    return 0;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* How many of the announced bytes are there and fit. */
static size_t fitting(const char *at, size_t left, size_t length) {
  size_t n = 1;
  if (length > left)
    length = left;
  if (length > 1 && second_fits((unsigned char)at[0], (unsigned char)at[1]))
    for (n = 2; n < length && ((unsigned char)at[n] & 0xC0) == 0x80;)
      n++;
  return n;
}

size_t utf8_sequence(const char *at, size_t left) {
  size_t length = announced((unsigned char)*at);
  return length && fitting(at, left, length) == length ? length : 0;
}

size_t utf8_broken(const char *at, size_t left) {
  size_t length = announced((unsigned char)*at);
  return length ? fitting(at, left, length) : 1;
}

size_t utf8_encode(char bytes[4], uint32_t character) {
  static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
  size_t n = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--, character >>= 6)
    bytes[i] = (char)(0x80 | (character & 0x3F));
  bytes[0] = (char)(leads[n] | character);
  return n;
}

/* Skip ASCII, eight bytes at a time where there are so many. */
static const char *skip_ascii(const char *at, const char *end) {
  for (uint64_t bytes; end - at >= (ptrdiff_t)sizeof bytes; at += sizeof bytes) {
    memcpy(&bytes, at, sizeof bytes);
    if (bytes & UINT64_C(0x8080808080808080))
      break;
  }
  while (at < end && (unsigned char)*at < 0x80)
    at++;
  return at;
}

/* The first byte that is not UTF-8; the end: there is none. */
static const char *find_broken(const char *at, const char *end) {
  while ((at = skip_ascii(at, end)) < end) {
    do {
      size_t step = utf8_sequence(at, (size_t)(end - at));
      if (!step)
        return at;
      at += step;
    } while (at < end && (unsigned char)*at >= 0x80);
  }
  return end;
}

bool utf8_valid(const char *text, size_t length) {
  return find_broken(text, text + length) == text + length;
}

bool utf8_append(struct buffer *out, const char *text, size_t length) {
  const char *at = text, *end = text + length;
  while (at < end) {
    const char *stop = find_broken(at, end);
    if (!buffer_append(out, at, (size_t)(stop - at)))
      return false;
    if (stop == end)
      break;
    if (!buffer_append(out, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT)))
      return false;
    at = stop + utf8_broken(stop, (size_t)(end - stop));
  }
  return true;
}
