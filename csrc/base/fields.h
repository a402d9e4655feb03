/*
 * base/fields.h - tables that Lua gives, read field by field; mistakes are errors that name the field.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_FIELDS_H
#define TRUECONF_FIELDS_H

#include <lua.h>

/* Raise if the table at `table` has a key that is not among `known`, which ends with NULL. `what` the table
 * is begins the message. */
void fields_check_names(lua_State *L, int table, const char *what, const char *const known[]);
/* A whole number of at least `least`; `otherwise` if there is none. */
lua_Integer fields_integer(lua_State *L, int table, const char *what, const char *name, lua_Integer least,
                           lua_Integer otherwise);

#endif
