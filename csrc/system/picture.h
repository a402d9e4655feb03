/*
 * system/picture.h - small pictures made of large ones.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_PICTURE_H
#define TRUECONF_PICTURE_H

#include <lua.h>

void picture_open(lua_State *L); /* adds picture_preview to the table on top */

#endif
