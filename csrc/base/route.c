/*
 * base/route.c - loopback and proxy of a host for Lua: the same answers as for connections.
 * Lua sees: core.is_loopback(host), core.proxy_for(url, option). Owns nothing.
 * SPDX-License-Identifier: MIT
 */
#include "base/route.h"

#include "base/explain.h"
#include "base/host.h"
#include "base/url.h"

#include <lauxlib.h>

/* core.is_loopback(host) */
static int l_is_loopback(lua_State *L) {
  lua_pushboolean(L, host_is_loopback(luaL_checkstring(L, 1)));
  return 1;
}

/* core.proxy_for(url, option) -> { host, port, source }, false for the direct way, or nil and an error */
static int l_proxy_for(lua_State *L) {
  const char *option = luaL_optstring(L, 2, NULL), *wrong;
  struct proxy proxy;
  struct reason reason;
  struct url url;
  if ((wrong = url_parse(&url, luaL_checkstring(L, 1))))
    return luaL_error(L, "url: %s", wrong);
  if ((wrong = proxy_settle(&proxy, option, url.host, url.tls))) {
    explain_proxy_setting(&reason, option, url.tls, wrong);
    return fail_reason(L, &reason);
  }
  if (!proxy.used) {
    lua_pushboolean(L, 0);
    return 1;
  }
  proxy_free(&proxy);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, proxy.host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, proxy.port);
  lua_setfield(L, -2, "port");
  lua_pushstring(L, proxy_source(option, url.tls));
  lua_setfield(L, -2, "source");
  return 1;
}

void route_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"is_loopback", l_is_loopback}, {"proxy_for", l_proxy_for}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
