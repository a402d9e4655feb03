/*
 * base/buffer.c - a growable run of bytes with a bound.
 * SPDX-License-Identifier: MIT
 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 256 };

bool buffer_reserve(struct buffer *buffer, size_t more) {
  size_t want = buffer->length + more, capacity = buffer->capacity ? buffer->capacity : SMALLEST;
  char *grown;
  if (want < more)
    return false;
  if (want <= buffer->capacity)
    return true;
  while (capacity < want) {
    if (capacity > SIZE_MAX / 2)
      return false;
    capacity *= 2;
  }
  grown = realloc(buffer->data, capacity);
  if (!grown)
    return false;
  buffer->data = grown;
  buffer->capacity = capacity;
  return true;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t length) {
  if (!buffer_reserve(buffer, length))
    return false;
  if (length)
    memcpy(buffer->data + buffer->length, data, length);
  buffer->length += length;
  return true;
}

bool buffer_puts(struct buffer *buffer, const char *text) {
  return buffer_append(buffer, text, strlen(text));
}

bool buffer_number(struct buffer *buffer, uint32_t number) {
  char digits[10], *at = digits + sizeof digits;
  do
    *--at = (char)('0' + number % 10);
  while (number /= 10);
  return buffer_append(buffer, at, (size_t)(digits + sizeof digits - at));
}

bool buffer_printf(struct buffer *buffer, const char *format, ...) {
  va_list args;
  int length;
  va_start(args, format);
  length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (length < 0 || !buffer_reserve(buffer, (size_t)length + 1))
    return false;
  va_start(args, format);
  vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, args);
  va_end(args);
  buffer->length += (size_t)length;
  return true;
}

void buffer_consume(struct buffer *buffer, size_t length) {
  buffer->length -= length;
  if (buffer->length)
    memmove(buffer->data, buffer->data + length, buffer->length);
}

void buffer_reset(struct buffer *buffer, size_t keep) {
  buffer->length = 0;
  if (buffer->capacity > keep)
    buffer_free(buffer);
}

void buffer_free(struct buffer *buffer) {
  free(buffer->data);
  buffer->data = NULL;
  buffer->length = buffer->capacity = 0;
}
