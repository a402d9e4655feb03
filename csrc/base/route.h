/*
 * base/route.h - loopback and proxy of a host for Lua.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_ROUTE_H
#define TRUECONF_BASE_ROUTE_H

#include <lua.h>

void route_open(lua_State *L); /* adds is_loopback and proxy_for to the table on top */

#endif
