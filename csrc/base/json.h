/*
 * base/json.h - JSON text to Lua values.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_JSON_H
#define TRUECONF_BASE_JSON_H

#include "base/scan.h"

#include <lua.h>

#define JSON_MAX_DEPTH 100 /* far above what the protocol nests */

struct json_complaint {
  const char *wrong;
  size_t byte; /* 1-based */
};

/* Read one value as json.receive does: U+FFFD for bytes that are not UTF-8. Pushes it; false: nothing is
 * pushed. Raises for lack of memory. */
bool json_read(lua_State *L, struct slice text, struct json_complaint *complaint);

/* Push it in words. */
void json_push_complaint(lua_State *L, const struct json_complaint *complaint);

/* True if the payload of a frame with this type and id is to be decoded. */
typedef bool (*json_wants)(const struct frame *frame, void *owner);

/* Read a frame and its payload in one pass; what it finds is what scan_frame finds. Pushes the value of the
 * payload, as json_read; nil: it has none, or was not wanted (frame->decoded). false: something in it is no
 * JSON, and nothing is pushed; scan_frame may still find an envelope. Raises for lack of memory. */
bool json_read_frame(lua_State *L, struct slice text, struct frame *frame, json_wants wants, void *owner);

/* Adds json_decode, json_keys, json_array_mark and JSON_MAX_DEPTH to the table on top. */
void json_open(lua_State *L);

#endif
