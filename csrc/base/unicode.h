/*
 * base/unicode.h - what Unicode says of text, by libutf8proc.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_UNICODE_H
#define TRUECONF_BASE_UNICODE_H

#include <lua.h>

/* Adds what unicode.c names to the table on top. */
void unicode_open(lua_State *L);

#endif
