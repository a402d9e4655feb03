/*
 * system/input.h - what programs need of the terminal and the file system.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_INPUT_H
#define TRUECONF_INPUT_H

#include <lua.h>

/* Each adds its functions to the table on top. */
void input_open(lua_State *L);       /* readable, read */
void stamp_open(lua_State *L);       /* file_stamp */
void line_editor_open(lua_State *L); /* edit_begin, edit_key, edit_end */

#endif
