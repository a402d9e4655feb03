/*
 * core.c - luaopen_trueconf_core: the table of the functions of all rooms.
 * SPDX-License-Identifier: MIT
 */
#include "base/crypto.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/route.h"
#include "base/tidy.h"
#include "base/unicode.h"
#include "base/version.h"
#include "http/http.h"
#include "loop/runtime.h"
#include "server/listener.h"
#include "session/session.h"
#include "system/system.h"
#include "ws/socket.h"

__attribute__((visibility("default"))) int luaopen_trueconf_core(lua_State *L);

int luaopen_trueconf_core(lua_State *L) {
  luaL_checkversion(L);
  lua_newtable(L);
  lua_pushliteral(L, TRUECONF_VERSION);
  lua_setfield(L, -2, "_VERSION");
  standard_open(L); /* before anything opens a descriptor */
  runtime_open(L);  /* first: the runtime must be collected last */
  errors_open(L);
  route_open(L);
  crypto_open(L);
  password_open(L);
  directory_open(L);
  private_file_open(L);
  named_file_open(L);
  picture_open(L);
  probe_open(L);
  input_open(L);
  line_editor_open(L);
  json_open(L);
  tidy_open(L);
  unicode_open(L);
  http_open(L);
  socket_open(L);
  listener_open(L);
  session_open(L);
  return 1;
}
