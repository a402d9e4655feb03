/*
 * session/options.c - the options of a session, from a table that Lua gives.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include "base/options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MOST = 1e12;

static char *opt_text(lua_State *L, const char *name) {
  return options_copy_text(L, 1, "option", name);
}

static double opt_number(lua_State *L, const char *name, double otherwise, double least) {
  return options_number(L, 1, "option", name, least, MOST, otherwise);
}

static bool opt_boolean(lua_State *L, const char *name, bool otherwise) {
  return options_boolean(L, 1, "option", name, otherwise);
}

static void read_numbers(lua_State *L, struct session_config *config) {
  config->connect_timeout = opt_number(L, "connect_timeout", 10, 0.001);
  config->token_timeout = opt_number(L, "token_timeout", 15, 0.001);
  config->auth_timeout = opt_number(L, "auth_timeout", 10, 0.001);
  config->call_timeout = opt_number(L, "call_timeout", 30, 0.001);
  config->backoff_min = opt_number(L, "backoff_min", 1, 0.001);
  config->backoff_max = opt_number(L, "backoff_max", 60, config->backoff_min);
  config->backoff_jitter = opt_number(L, "backoff_jitter", 1, 0);
  config->limits.close_timeout = opt_number(L, "close_timeout", 3, 0);
  config->limits.ping_interval = opt_number(L, "ping_interval", 30, 0);
  config->limits.pong_timeout = opt_number(L, "pong_timeout", 10, 0.001);
  config->limits.max_frame = (size_t)opt_number(L, "max_frame", 16 << 20, 125);
  /* Servers pass on what other clients wrote. A message that ends the connection would come again each time.
   */
  config->limits.any_text = true;
  config->limits.max_unsent = (size_t)opt_number(L, "max_unsent", 4 << 20, 4096);
  config->max_denials = (int)fmin(opt_number(L, "max_denials", 3, 1), 1e6);
  config->window = (int)fmin(opt_number(L, "window", 64, 1), 65536);
  config->queue = (int)fmin(opt_number(L, "queue", 1024, 0), 1e9);
}

static void check_config(lua_State *L, const struct session_config *config) {
  struct url url;
  const char *wrong;
  if (!config->fixed_token && !config->has_source) {
    if (!config->username || !config->password || !config->token_url)
      luaL_error(L,
                 "options 'username', 'password' and 'token_url', or 'token', or 'token_source' are needed");
    if ((wrong = url_parse(&url, config->token_url)))
      luaL_error(L, "token_url: %s", wrong);
    if (!url.tls && !url.loopback && !opt_boolean(L, "allow_plaintext", false))
      luaL_error(L, "the password would go to %s unencrypted; use https, or set 'allow_plaintext'", url.host);
  }
  if (!config->url.tls && !config->url.loopback && !opt_boolean(L, "allow_plaintext", false))
    luaL_error(L, "the token would go to %s unencrypted; use wss, or set 'allow_plaintext'",
               config->url.host);
}

void session_config_read(lua_State *L, struct session_config *config) {
  const char *wrong = url_parse(&config->url, options_required_text(L, 1, "option", "url", NULL));
  if (wrong)
    luaL_error(L, "url: %s", wrong);
  config->token_url = opt_text(L, "token_url");
  config->username = opt_text(L, "username");
  config->password = opt_text(L, "password");
  config->fixed_token = opt_text(L, "token");
  config->token_file = opt_text(L, "token_file");
  config->proxy = opt_text(L, "proxy");
  config->receive_unread = opt_boolean(L, "receive_unread", true);
  config->receive_system = opt_boolean(L, "receive_system", false);
  tls_options_read(L, 1, "tls", &config->tls);
  headers_read(L, 1, "headers", &config->headers);
  read_numbers(L, config);
  check_config(L, config);
}

void session_config_free(struct session_config *config) {
  char **const secrets[] = {&config->password, &config->fixed_token};
  for (size_t i = 0; i < 2; i++)
    if (*secrets[i])
      explicit_bzero(*secrets[i], strlen(*secrets[i]));
  free(config->token_url);
  free(config->username);
  free(config->password);
  free(config->fixed_token);
  free(config->token_file);
  free(config->proxy);
  tls_options_free(&config->tls);
  headers_free(&config->headers);
  memset(config, 0, sizeof *config);
}
