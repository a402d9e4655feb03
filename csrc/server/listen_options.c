/*
 * server/listen_options.c - the options of core.listen, read and checked. Owns: nothing, raises freely.
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"
#include "server/private.h"

#include <lauxlib.h>
#include <string.h>

static const double MOST_SECONDS = 1e9;

static lua_Integer integer_option(lua_State *L, const char *name, lua_Integer least, lua_Integer most,
                                  lua_Integer otherwise) {
  return options_integer(L, 1, "option", name, least, most, otherwise);
}

static const char *text_option(lua_State *L, int table, const char *name, const char *otherwise) {
  const char *text = options_text(L, table, "option", name, NULL);
  if (text && !*text)
    luaL_error(L, "option '%s': it is empty", name);
  return text ? text : otherwise;
}

static double seconds_option(lua_State *L, const char *name, double otherwise) {
  return options_number(L, 1, "option", name, 0, MOST_SECONDS, otherwise);
}

static bool is_token(const char *text) {
  size_t length = strlen(text);
  return length && length < sizeof((struct listen_rules *)NULL)->subprotocol && !strpbrk(text, " \t,;\r\n");
}

/* Add the path on top, a string or a table with a subprotocol of its own, and pop it. */
static void add_path(lua_State *L, luaL_Buffer *paths) {
  int top = lua_gettop(L);
  const char *path, *own = "";
  if (lua_istable(L, top)) {
    lua_getfield(L, top, "subprotocol");
    own = lua_type(L, -1) == LUA_TSTRING && is_token(lua_tostring(L, -1)) ? lua_tostring(L, -1) : NULL;
    lua_getfield(L, top, "path");
  }
  path = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (path[0] != '/')
    luaL_error(L, "option 'websocket_paths': paths that begin with '/' expected");
  if (!own)
    luaL_error(
        L, "option 'websocket_paths': the subprotocol of a path must be one HTTP token of at most 63 bytes");
  lua_pushfstring(L, "%s%c%s%c", path, 0, own, 0);
  lua_replace(L, top);
  lua_settop(L, top);
  luaL_addvalue(paths);
}

/* Push the paths joined as struct listener keeps them. */
static void push_paths(lua_State *L) {
  luaL_Buffer paths;
  int list;
  if (options_push(L, 1, "option", "websocket_paths", LUA_TTABLE) == LUA_TNIL)
    lua_newtable(L);
  list = lua_gettop(L);
  luaL_buffinit(L, &paths);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++)
    add_path(L, &paths);
  lua_pop(L, 1);
  luaL_addchar(&paths, 0);
  luaL_pushresult(&paths);
  lua_remove(L, list);
}

static void read_limits(lua_State *L, struct wire_limits *limits) {
  lua_Integer missed = integer_option(L, "max_missed_pongs", 1, 1000, 3);
  limits->max_frame = (size_t)integer_option(L, "max_frame", 1, 1 << 30, 1 << 20);
  limits->max_unsent = (size_t)integer_option(L, "max_unsent", 1, 1 << 30, 16 << 20);
  limits->ping_interval = seconds_option(L, "ping_interval", 5);
  limits->pong_timeout = limits->ping_interval * (double)missed;
  limits->close_timeout = CLOSE_MS / 1000.0;
}

static void read_tls(lua_State *L, struct listen_options *options) {
  int table = lua_gettop(L) + 1;
  if (options_push(L, 1, "option", "tls", LUA_TTABLE) == LUA_TNIL)
    return;
  options->cert_file = text_option(L, table, "cert_file", NULL);
  options->key_file = text_option(L, table, "key_file", NULL);
  if (!options->cert_file || !options->key_file)
    luaL_error(L, "option 'tls': cert_file and key_file expected");
}

static void read_rules(lua_State *L, struct listen_rules *rules) {
  const char *subprotocol = text_option(L, 1, "subprotocol", "json.v1"),
             *guarded_path = text_option(L, 1, "guarded_path", "");
  if (!is_token(subprotocol))
    luaL_error(L, "option 'subprotocol': one HTTP token of at most 63 bytes expected");
  if (strlen(guarded_path) >= sizeof rules->guarded_path)
    luaL_error(L, "option 'guarded_path': at most 31 bytes expected");
  memcpy(rules->subprotocol, subprotocol, strlen(subprotocol) + 1);
  memcpy(rules->guarded_path, guarded_path, strlen(guarded_path) + 1);
  rules->any_subprotocol = options_boolean(L, 1, "option", "any_subprotocol", false);
  rules->admits = options_boolean(L, 1, "option", "admits", false);
  rules->max_connections = (long)integer_option(L, "max_connections", 0, 1 << 20, 128);
  rules->max_body = (size_t)integer_option(L, "max_body", 0, 1 << 30, 1 << 20);
  rules->max_http = (long)integer_option(L, "max_http_connections", 1, 1 << 20, 1024);
  rules->max_per_address = (long)integer_option(L, "address_connections", 0, 1 << 20, 256);
  rules->spares_loopback = lua_getfield(L, 1, "address_connections") == LUA_TNIL;
  rules->slow_after = seconds_option(L, "slow_after", 30);
  rules->least_rate = (long)integer_option(L, "least_rate", 0, 1 << 30, 1024);
  read_limits(L, &rules->limits);
}

void listen_options_read(lua_State *L, struct listen_options *options) {
  luaL_checktype(L, 1, LUA_TTABLE);
  memset(options, 0, sizeof *options);
  options->host = text_option(L, 1, "host", "127.0.0.1");
  options->port = (int)integer_option(L, "port", 0, 65535, 0);
  read_rules(L, &options->rules);
  read_tls(L, options);
  push_paths(L);
  options->paths = lua_tolstring(L, -1, &options->paths_length);
}

void listen_options_read_handlers(lua_State *L, int box) {
  static const char *const names[] = {[ON_HTTP] = "on_http", "on_head", "on_open", "on_frame", "on_close"};
  for (int i = ON_HTTP; i <= ON_CLOSE; i++) {
    options_push(L, 1, "option", names[i], LUA_TFUNCTION);
    lua_setiuservalue(L, box, i);
  }
  lua_newtable(L);
  lua_setiuservalue(L, box, CONNECTIONS);
}
