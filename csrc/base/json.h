/*
 * base/json.h - JSON text to Lua values.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_JSON_H
#define TRUECONF_BASE_JSON_H

#include <lua.h>

#define JSON_MAX_DEPTH 100 /* far above what the protocol nests */

/* Adds json_decode and JSON_MAX_DEPTH to the table on top. */
void json_open(lua_State *L);

#endif
