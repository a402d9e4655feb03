/*
 * server/chunked.c - a chunked body (RFC 9112, 7.1), read strictly, as it comes. Extensions and trailers are
 * read for their form, and dropped. Pure: bytes and a state. Owns nothing, knows neither libwebsockets nor
 * Lua. SPDX-License-Identifier: MIT
 */
#include "server/chunked.h"

#include "base/field.h"

#include <string.h>

enum { SIZE_DIGITS = 16 /* no size of so many overflows */ };

void chunked_init(struct chunked *chunked, uint64_t room) {
  memset(chunked, 0, sizeof *chunked);
  chunked->room = room;
}

static int digit(unsigned char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(struct chunked *chunked, unsigned char c) {
  int value = digit(c);
  if (value >= 0) {
    chunked->left = chunked->left * 16 + (uint64_t)value;
    return ++chunked->digits > SIZE_DIGITS ? 400 : CHUNKED_MORE;
  }
  if (!chunked->digits)
    return 400;
  chunked->at = c == '\r' ? CHUNK_SIZE_END : c == ';' ? CHUNK_EXTENSION : CHUNK_BLANK;
  return c == '\r' || c == ';' || c == ' ' || c == '\t' ? CHUNKED_MORE : 400;
}

static int blank_byte(struct chunked *chunked, unsigned char c) {
  if (c == ';')
    chunked->at = CHUNK_EXTENSION;
  return c == ';' || c == ' ' || c == '\t' ? CHUNKED_MORE : 400;
}

/* A byte of a line that is dropped, or the first byte of its end. */
static int dropped_byte(struct chunked *chunked, unsigned char c, int at_its_end) {
  if (c == '\r')
    chunked->at = at_its_end;
  return c != '\r' && field_is_control(c) ? 400 : CHUNKED_MORE;
}

static int size_end(struct chunked *chunked, unsigned char c) {
  if (c != '\n')
    return 400;
  if (chunked->left > chunked->room)
    return 413;
  chunked->room -= chunked->left;
  chunked->at = chunked->left ? CHUNK_DATA : TRAILER_BEGIN;
  chunked->digits = 0;
  return CHUNKED_MORE;
}

static int name_byte(struct chunked *chunked, unsigned char c) {
  if (c == ':' && chunked->at == TRAILER_NAME)
    chunked->at = TRAILER_VALUE;
  else if (c == '\r' && chunked->at == TRAILER_BEGIN)
    chunked->at = CHUNKED_LAST;
  else if (field_is_token_byte(c))
    chunked->at = TRAILER_NAME;
  else
    return 400;
  return CHUNKED_MORE;
}

/* Take the one byte that may come here, and go on with `next`. */
static int expect(struct chunked *chunked, unsigned char c, unsigned char wanted, int next) {
  chunked->at = next;
  return c == wanted ? CHUNKED_MORE : 400;
}

static int byte(struct chunked *chunked, unsigned char c) {
  switch (chunked->at) {
  case CHUNK_SIZE:
    return size_byte(chunked, c);
  case CHUNK_BLANK:
    return blank_byte(chunked, c);
  case CHUNK_EXTENSION:
    return dropped_byte(chunked, c, CHUNK_SIZE_END);
  case CHUNK_SIZE_END:
    return size_end(chunked, c);
  case CHUNK_DATA_CR:
    return expect(chunked, c, '\r', CHUNK_DATA_LF);
  case CHUNK_DATA_LF:
    return expect(chunked, c, '\n', CHUNK_SIZE);
  case TRAILER_BEGIN:
  case TRAILER_NAME:
    return name_byte(chunked, c);
  case TRAILER_VALUE:
    return dropped_byte(chunked, c, TRAILER_LINE_END);
  case TRAILER_LINE_END:
    return expect(chunked, c, '\n', TRAILER_BEGIN);
  default:
    return c == '\n' ? CHUNKED_WHOLE : 400;
  }
}

static void take_data(struct chunked *chunked, const char **at, const char *end, const char **data,
                      size_t *length) {
  size_t here = (size_t)(end - *at);
  *data = *at;
  *length = chunked->left < here ? (size_t)chunked->left : here;
  *at += *length;
  chunked->left -= *length;
  if (!chunked->left)
    chunked->at = CHUNK_DATA_CR;
}

int chunked_read_on(struct chunked *chunked, const char **at, const char *end, const char **data,
                    size_t *length) {
  int result = CHUNKED_MORE;
  while (*at < end && !result) {
    if (chunked->at == CHUNK_DATA) {
      take_data(chunked, at, end, data, length);
      return CHUNKED_DATA;
    }
    if (chunked->at == CHUNK_BLANK || chunked->at == CHUNK_EXTENSION || chunked->at >= TRAILER_NAME)
      chunked->beside++;
    if (chunked->beside > CHUNKED_MOST_BESIDE)
      return chunked->at >= TRAILER_BEGIN ? 431 : 400;
    result = byte(chunked, (unsigned char)*(*at)++);
  }
  return result;
}
