/*
 * base/buffer.h - a growable run of bytes with a bound.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BUFFER_H
#define TRUECONF_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
  char *data;
  size_t length, capacity;
};

/* Make space for `more` bytes after the contents; false: no memory, the buffer is unchanged. */
bool buffer_reserve(struct buffer *buffer, size_t more);
bool buffer_append(struct buffer *buffer, const void *data, size_t length);
bool buffer_puts(struct buffer *buffer, const char *text);
bool buffer_number(struct buffer *buffer, uint32_t number);
bool buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drop the first `length` bytes. */
void buffer_consume(struct buffer *buffer, size_t length);
/* Empty it, and free its memory if it grew beyond `keep` bytes. */
void buffer_reset(struct buffer *buffer, size_t keep);
void buffer_free(struct buffer *buffer);

#endif
