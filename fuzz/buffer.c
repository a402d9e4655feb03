/*
 * buffer.c - the buffer of csrc/ against an array: each pair of bytes is an operation and a size.
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/buffer.h"

enum { ROOM = 1 << 20 };

static char model[ROOM];

static size_t model_append(size_t length, const void *data, size_t more) {
  memcpy(model + length, data, more);
  return length + more;
}

static size_t operate(struct buffer *buffer, size_t length, uint8_t operation, uint8_t size) {
  char text[256] = {0}, number[16];
  memset(text, 'a' + operation % 26, size);
  switch (operation % 6) {
  case 0:
    CHECK(buffer_append(buffer, text, size), "append");
    return model_append(length, text, size);
  case 1:
    CHECK(buffer_puts(buffer, text), "puts");
    return model_append(length, text, strlen(text));
  case 2:
    CHECK(buffer_number(buffer, (uint32_t)size * 0x1010101u * operation), "number");
    snprintf(number, sizeof number, "%u", (unsigned)size * 0x1010101u * operation);
    return model_append(length, number, strlen(number));
  case 3:
    CHECK(buffer_printf(buffer, "<%s>", text), "printf");
    length = model_append(length, "<", 1);
    length = model_append(length, text, strlen(text));
    return model_append(length, ">", 1);
  case 4:
    size = size > length ? (uint8_t)length : size;
    buffer_consume(buffer, size);
    memmove(model, model + size, length - size);
    return length - size;
  default:
    buffer_reset(buffer, size);
    return 0;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct buffer buffer = {0};
  size_t length = 0;
  for (size_t i = 0; i + 1 < size && length + 512 < ROOM; i += 2) {
    length = operate(&buffer, length, data[i], data[i + 1]);
    CHECK(buffer.length == length && buffer.capacity >= length, "%zu, expected %zu", buffer.length, length);
    CHECK(!length || !memcmp(buffer.data, model, length), "other bytes");
  }
  buffer_free(&buffer);
  return 0;
}
