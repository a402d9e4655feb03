/*
 * base/unicode.h - Unicode properties of text, by libutf8proc.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_UNICODE_H
#define TRUECONF_BASE_UNICODE_H

#include <lua.h>

/* Adds the functions of unicode.c to the table on top. */
void unicode_open(lua_State *L);

#endif
