/*
 * base/headers.h - the option `headers`: a table of names and values as lines of an HTTP request.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_HEADERS_H
#define TRUECONF_BASE_HEADERS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* All zero: none. */
struct headers {
  char **lines; /* "Name: value", or "Name;" for an empty value, as curl wants it; NULL after the last; or
                   NULL */
  size_t count;
};

/* Read `field` of the table at `table`: a table, or nil for none. Raises on misuse and when memory is short;
 * `out` must belong to an object whose __gc calls headers_free. No message holds a value, which may be a
 * secret. */
void headers_read(lua_State *L, int table, const char *field, struct headers *out);
void headers_free(struct headers *headers);
/* The place behind the colon of a line, if it is of this header in any case of letters; else NULL. */
const char *header_value(const char *line, const char *name);

#endif
