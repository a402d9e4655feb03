/*
 * server/listener.h - an HTTP and WebSocket server on the loop.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_LISTENER_H
#define TRUECONF_LISTENER_H

#include <lua.h>

void listener_open(lua_State *L); /* adds listen to the table on top */

#endif
