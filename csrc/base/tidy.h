/*
 * base/tidy.h - values that lua-cjson would encode wrongly, and text that is not UTF-8.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_TIDY_H
#define TRUECONF_TIDY_H

#include <lua.h>

/* Adds json_is_plain and is_utf8 to the table on top. */
void tidy_open(lua_State *L);

#endif
