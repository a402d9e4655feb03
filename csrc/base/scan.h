/*
 * base/scan.h - just enough JSON for the core: the envelope of a frame, a few fields, and quoting.
 * It finds envelopes where json.c refuses a frame, and reads the few fields that the core needs from texts.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SCAN_H
#define TRUECONF_SCAN_H

#include "base/buffer.h"

#include <stdint.h>

struct slice {
  const char *at; /* NULL: absent */
  size_t length;
};

/* The top level of a frame (protocol 4.1). */
struct frame {
  uint32_t type, id;
  bool has_type, has_id;
  bool decoded;         /* json_read_frame has made a value of the payload */
  struct slice method;  /* without the quotes, escapes as they are */
  struct slice payload; /* a whole JSON value */
};

bool slice_is(struct slice slice, const char *text);
/* Note a member of the top level; the key is without escapes. */
void frame_take(struct frame *frame, struct slice key, struct slice value);
/* Where the value at `at` ends, matched by brackets, not checked; NULL: it does not end. */
const char *scan_skip(const char *at, const char *end);

/* false: the text is not one JSON object. Values inside are matched by brackets, not checked. Of a key that
 * comes twice, the last value counts, as it does for lua-cjson. */
bool scan_frame(const char *text, size_t length, struct frame *frame);

/* The value of a key at the top level of an object, the last one; false: no object, or no such key. */
bool scan_find(struct slice object, const char *key, struct slice *value);
bool scan_is_null(struct slice value);
/* false: not a JSON number, or one too large for a double. */
bool scan_number(struct slice value, double *number);
/* The same, without its fraction; what is beyond an int becomes the nearest. */
bool scan_int(struct slice value, int *number);
/* The character of an escape in a string; `at` is behind its backslash. Half a surrogate pair is U+FFFD.
 * Returns where the escape ends; NULL: it is none. */
const char *scan_escape(const char *at, const char *end, uint32_t *character);
/* Append the characters of a JSON string, with U+FFFD for half a surrogate pair and for bytes that are not
 * UTF-8; false: not a string, broken escapes, no memory. */
bool scan_string(struct slice value, struct buffer *out);
/* Append `text` as a JSON string with its quotes. */
bool scan_quote(struct buffer *out, const char *text, size_t length);

#endif
