/*
 * buffer_test.c - a growable run of bytes; run by core/buffer_spec.lua.
 * SPDX-License-Identifier: MIT
 */
#include "base/buffer.h"
#include "check.h"

static bool holds(const struct buffer *buffer, const char *text) {
  return buffer->length == strlen(text) && !memcmp(buffer->data ? buffer->data : "", text, buffer->length);
}

static void test_append(void) {
  struct buffer buffer = {0};
  CHECK(buffer_append(&buffer, NULL, 0) && buffer.length == 0, "nothing");
  CHECK(buffer_puts(&buffer, "one") && buffer_append(&buffer, "\0two", 4), "append");
  CHECK(buffer.length == 7 && !memcmp(buffer.data, "one\0two", 7), "bytes, zero included");
  for (int i = 0; i < 100000; i++)
    buffer_append(&buffer, "0123456789", 10);
  CHECK(buffer.length == 1000007 && buffer.capacity >= buffer.length, "growth");
  CHECK(!memcmp(buffer.data + buffer.length - 10, "0123456789", 10), "the last bytes");
  CHECK(buffer.capacity < 4 * buffer.length, "no more than needed");
  buffer_free(&buffer);
  CHECK(!buffer.data && !buffer.length && !buffer.capacity, "free");
  buffer_free(&buffer);
}

static void test_reserve(void) {
  struct buffer buffer = {0};
  char *data;
  CHECK(buffer_reserve(&buffer, 1000) && buffer.length == 0 && buffer.capacity >= 1000, "reserve");
  data = buffer.data;
  for (int i = 0; i < 1000; i++)
    buffer_append(&buffer, "x", 1);
  CHECK(buffer.data == data, "what is reserved does not move");
  CHECK(!buffer_reserve(&buffer, SIZE_MAX) && !buffer_reserve(&buffer, SIZE_MAX - 1000),
        "more than there is");
  CHECK(!buffer_reserve(&buffer, SIZE_MAX / 2 + 1), "more than half of what can be addressed");
  CHECK(buffer.length == 1000 && buffer.data[999] == 'x', "as before");
  buffer_free(&buffer);
}

static void test_printf(void) {
  struct buffer buffer = {0};
  char large[2000];
  memset(large, 'y', sizeof large - 1);
  large[sizeof large - 1] = 0;
  CHECK(buffer_printf(&buffer, "%d-%s", 42, "x") && holds(&buffer, "42-x"), "printf");
  CHECK(buffer_printf(&buffer, "%s", "") && holds(&buffer, "42-x"), "nothing");
  CHECK(buffer_printf(&buffer, "[%s]", large) && buffer.length == 4 + 2 + sizeof large - 1, "growth");
  CHECK(buffer.data[buffer.length - 1] == ']', "the last byte");
  buffer_free(&buffer);
}

static void test_number(void) {
  static const uint32_t numbers[] = {0, 1, 9, 10, 4294967295u};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct buffer buffer = {0};
    char text[16];
    snprintf(text, sizeof text, "%u", (unsigned)numbers[i]);
    CHECK(buffer_number(&buffer, numbers[i]) && holds(&buffer, text), "%s", text);
    buffer_free(&buffer);
  }
}

static void test_consume(void) {
  struct buffer buffer = {0};
  buffer_puts(&buffer, "one two");
  buffer_consume(&buffer, 0);
  CHECK(holds(&buffer, "one two"), "nothing");
  buffer_consume(&buffer, 4);
  CHECK(holds(&buffer, "two"), "the first bytes");
  buffer_consume(&buffer, 3);
  CHECK(holds(&buffer, ""), "all");
  buffer_free(&buffer);
}

static void test_reset(void) {
  struct buffer buffer = {0};
  buffer_puts(&buffer, "small");
  buffer_reset(&buffer, 1000);
  CHECK(buffer.data && holds(&buffer, ""), "small memory is kept");
  buffer_reserve(&buffer, 2000);
  buffer_reset(&buffer, 1000);
  CHECK(!buffer.data && !buffer.capacity, "large memory is given back");
  CHECK(buffer_puts(&buffer, "again") && holds(&buffer, "again"), "and can be had again");
  buffer_free(&buffer);
}

int main(int argc, char **argv) {
  static const struct section sections[] = {{"append", test_append},   {"reserve", test_reserve},
                                            {"printf", test_printf},   {"number", test_number},
                                            {"consume", test_consume}, {"reset", test_reset}};
  return run_section(sections, sizeof sections / sizeof *sections, argc, argv);
}
