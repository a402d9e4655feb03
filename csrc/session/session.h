/*
 * session/session.h - the connection of one account to a server.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SESSION_H
#define TRUECONF_SESSION_H

#include <lua.h>

void session_open(lua_State *L); /* adds session, transitions, transition, token_expiry to the table on top */

#endif
