/*
 * system/probe.h - looking at the way to a server, step by step.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_PROBE_H
#define TRUECONF_PROBE_H

#include <lua.h>

void probe_open(lua_State *L); /* adds probe to the table on top */

#endif
