/*
 * system/standard.h - the standard streams of the process.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_STANDARD_H
#define TRUECONF_STANDARD_H

#include <lua.h>

/* Fills streams that are closed, lets broken pipes be errors; adds flush_output to the table on top. */
void standard_open(lua_State *L);

#endif
