/*
 * base/options.h - tables that Lua gives, read option by option.
 * A mistake is an error at the caller's line that names the option, what was expected and what came. `what`
 * they are begins the message: "option", "form part field". `table` is an index from the bottom. No
 * metamethod is called, so that the table keeps what is read from it. SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_OPTIONS_H
#define TRUECONF_OPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Raise if the table has a key that is not among `known`, which ends with NULL. */
void options_check_names(lua_State *L, int table, const char *what, const char *const known[]);
/* Push the value, which is nil or of this type; returns its type. */
int options_push(lua_State *L, int table, const char *what, const char *name, int type);

/* A text without zero bytes; NULL: there is none. With `length` it may have any, and be no text. */
const char *options_text(lua_State *L, int table, const char *what, const char *name, size_t *length);
/* The same; it has to be there. */
const char *options_required_text(lua_State *L, int table, const char *what, const char *name,
                                  size_t *length);
/* A copy from malloc() of a text; NULL: there is none. */
char *options_copy_text(lua_State *L, int table, const char *what, const char *name);

/* `otherwise` is the default; the default of a number need not be in the range. */
bool options_boolean(lua_State *L, int table, const char *what, const char *name, bool otherwise);
double options_number(lua_State *L, int table, const char *what, const char *name, double least, double most,
                      double otherwise);
/* A duration: above 0. */
double options_seconds(lua_State *L, int table, const char *what, const char *name, double otherwise);
/* `most` may be LUA_MAXINTEGER. */
lua_Integer options_integer(lua_State *L, int table, const char *what, const char *name, lua_Integer least,
                            lua_Integer most, lua_Integer otherwise);

#endif
