/*
 * lua.c - runs a harness written in Lua, with the core linked in: SCRIPT names the file, which returns a
 * function that takes an input. An error that it raises is a finding. SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include <lauxlib.h>
#include <lualib.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

int luaopen_trueconf_core(lua_State *L);

static lua_State *L;

/* fuzz_accept(key): the answer to a Sec-WebSocket-Key (RFC 6455, 4.2.2) */
static int l_accept(lua_State *state) {
  unsigned char digest[SHA_DIGEST_LENGTH], text[40];
  size_t length;
  const char *key;
  lua_pushfstring(state, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", luaL_checkstring(state, 1));
  key = lua_tolstring(state, -1, &length);
  SHA1((const unsigned char *)key, length, digest);
  EVP_EncodeBlock(text, digest, sizeof digest);
  lua_pushstring(state, (const char *)text);
  return 1;
}

static int on_error(lua_State *state) {
  luaL_traceback(state, state, luaL_tolstring(state, 1, NULL), 1);
  return 1;
}

static void open_state(void) {
  L = luaL_newstate();
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_trueconf_core);
  lua_setfield(L, -2, "trueconf.core");
  lua_settop(L, 0);
  lua_register(L, "fuzz_accept", l_accept);
  lua_pushcfunction(L, on_error);
  CHECK(!luaL_loadfile(L, SCRIPT) && !lua_pcall(L, 0, 1, 1), "%s", lua_tostring(L, -1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!L)
    open_state();
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_pushlstring(L, (const char *)data, size);
  CHECK(!lua_pcall(L, 1, 0, 1), "%s", lua_tostring(L, -1));
  return 0;
}
