/*
 * tidy.h - what lua-cjson leaves to do, on values and on text.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_TIDY_H
#define TRUECONF_TIDY_H

#include <lua.h>

/* Adds json_tidy, json_is_plain, json_has_empty_array, JSON_MAX_DEPTH and is_utf8 to the table on top. */
void tidy_open(lua_State *L);

#endif
