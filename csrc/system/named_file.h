/*
 * system/named_file.h - files that a script or a user names.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_NAMED_FILE_H
#define TRUECONF_NAMED_FILE_H

#include <lua.h>

/* Adds source, file_target, replace_file to the table on top. */
void named_file_open(lua_State *L);

#endif
