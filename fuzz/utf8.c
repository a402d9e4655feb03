/*
 * utf8.c - mended text is UTF-8, and text that is UTF-8 stays as it is.
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/utf8.h"

/* Decodes by the table of Unicode 3.9 alone, to compare with. */
static size_t expected_length(const uint8_t *at, size_t left) {
  static const struct {
    uint8_t from, to, second_from, second_to, length;
  } rows[] = {
      {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
      {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
      {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    size_t length = rows[i].length;
    if (at[0] < rows[i].from || at[0] > rows[i].to || length > left)
      continue;
    if (length > 1 && (at[1] < rows[i].second_from || at[1] > rows[i].second_to))
      return 0;
    for (size_t k = 2; k < length; k++)
      if (at[k] < 0x80 || at[k] > 0xBF)
        return 0;
    return length;
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  struct buffer out = {0};
  bool valid = true;
  for (size_t i = 0; i < size;) {
    size_t length = utf8_sequence(text + i, size - i);
    CHECK(length == expected_length(data + i, size - i), "at byte %zu", i);
    valid = valid && length;
    if (!length)
      length = utf8_broken(text + i, size - i);
    CHECK(length && length <= size - i, "at byte %zu", i);
    i += length;
  }
  CHECK(utf8_valid(text, size) == valid, "valid");
  CHECK(utf8_append(&out, text, size), "append");
  CHECK(utf8_valid(out.data ? out.data : "", out.length), "the mended text");
  CHECK(!valid || (out.length == size && (!size || !memcmp(out.data, data, size))), "it was in order");
  buffer_free(&out);
  return 0;
}
