/*
 * server/request_head.c - the head of a request: lws has parsed it, here it is copied.
 * lws of version 4.1 decodes the path ("+" becomes a space) and lists headers it knows; of others it
 * finds only those asked for by name, see other_headers.
 * Lua sees: the table of it. Copying runs inside the callback that tells of the head.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <string.h>
#include <strings.h>

enum { LONGEST_FIELD = 16384 /* more than lws keeps of all headers together */ };

static bool add_field(struct exchange *exchange, char kind, const char *name, const char *value) {
  return buffer_append(&exchange->fields, &kind, 1) &&
         buffer_append(&exchange->fields, name, strlen(name) + 1) &&
         buffer_append(&exchange->fields, value, strlen(value) + 1);
}

/* Names lws has no token for. They end in a colon, as it wants them. */
static const char *const other_headers[] = {
    "upload-task-id:",
    "forwarded:",
    "x-forwarded:",
    "x-forwarded-proto:",
    "x-forwarded-scheme:",
    "x-forwarded-host:",
    "x-forwarded-port:",
    "x-forwarded-prefix:",
    "x-forwarded-server:",
    "x-forwarded-uri:",
    "x-original-forwarded-for:",
    "x-original-url:",
    "x-original-uri:",
    "x-rewrite-url:",
    "x-client-ip:",
    "x-cluster-client-ip:",
    "true-client-ip:",
    "cf-connecting-ip:",
    "x-envoy-external-address:",
    "x-proxyuser-ip:",
    "x-request-id:",
    "x-requested-with:",
    "x-api-key:",
    "traceparent:",
    "access-control-request-method:",
    "sec-fetch-site:",
    "sec-fetch-mode:",
    "dnt:",
    "keep-alive:",
};

static bool add_header(struct exchange *exchange, const char *token, const char *value) {
  char name[64];
  size_t length = strlen(token) - 1;
  if (length >= sizeof name)
    return true;
  memcpy(name, token, length);
  name[length] = 0;
  return add_field(exchange, 'h', name, value);
}

static bool add_headers(struct exchange *exchange, struct lws *wsi, char *value) {
  for (int token = 0; token < WSI_TOKEN_COUNT; token++) {
    const char *name = (const char *)lws_token_to_string((enum lws_token_indexes)token);
    if (!name || name[0] == ':' || !name[0] || name[strlen(name) - 1] != ':')
      continue;
    if (lws_hdr_copy(wsi, value, LONGEST_FIELD, (enum lws_token_indexes)token) <= 0)
      continue;
    if (!add_header(exchange, name, value))
      return false;
  }
  for (size_t i = 0; i < sizeof other_headers / sizeof *other_headers; i++) {
    const char *name = other_headers[i];
    if (lws_hdr_custom_copy(wsi, value, LONGEST_FIELD, name, (int)strlen(name)) <= 0)
      continue;
    if (!add_header(exchange, name, value))
      return false;
  }
  return true;
}

static bool add_query(struct exchange *exchange, struct lws *wsi, char *text) {
  for (int i = 0; lws_hdr_copy_fragment(wsi, text, LONGEST_FIELD, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++) {
    char *value = strchr(text, '=');
    if (!text[0])
      continue;
    if (value)
      *value++ = 0;
    if (!add_field(exchange, 'q', text, value ? value : ""))
      return false;
  }
  return true;
}

static const struct http_method http_methods[] = {
    {"GET", WSI_TOKEN_GET_URI, false},         {"POST", WSI_TOKEN_POST_URI, true},
    {"OPTIONS", WSI_TOKEN_OPTIONS_URI, false}, {"PUT", WSI_TOKEN_PUT_URI, true},
    {"PATCH", WSI_TOKEN_PATCH_URI, true},      {"DELETE", WSI_TOKEN_DELETE_URI, false},
    {"HEAD", WSI_TOKEN_HEAD_URI, false}};

const struct http_method *head_method(struct lws *wsi) {
  for (size_t i = 0; i < sizeof http_methods / sizeof *http_methods; i++)
    if (lws_hdr_total_length(wsi, http_methods[i].token) > 0)
      return &http_methods[i];
  return NULL;
}

/* lws cuts the path at "&" as it does a query, and joins the pieces with commas. */
static bool add_path(struct exchange *exchange, struct lws *wsi, enum lws_token_indexes token, char *text) {
  char *at = text;
  for (int i = 0;; i++) {
    int n = lws_hdr_copy_fragment(wsi, at, LONGEST_FIELD - (int)(at - text), token, i);
    if (n < 0)
      break;
    at += n;
    *at++ = '&';
  }
  if (at > text)
    at[-1] = 0;
  return at > text && add_field(exchange, 'f', "path", text);
}

bool head_read(struct exchange *exchange, struct lws *wsi, const struct http_method *method) {
  char text[LONGEST_FIELD];
  return add_field(exchange, 'f', "method", method->name) && add_path(exchange, wsi, method->token, text) &&
         add_query(exchange, wsi, text) && add_headers(exchange, wsi, text);
}

/* As lws decides it, so that what we announce is what it does. */
static void read_keep_alive(struct exchange *exchange, struct lws *wsi) {
  char text[25];
  exchange->old =
      lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP) < 8 || text[5] != '1' || text[7] != '1';
  exchange->keep = !exchange->old;
  if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_CONNECTION) <= 0)
    return;
  if (!strcasecmp(text, "keep-alive"))
    exchange->keep = true;
  if (!strcasecmp(text, "close"))
    exchange->keep = false;
}

static bool expects_invitation(struct lws *wsi) {
  char text[24];
  return lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_EXPECT) > 0 && !strcasecmp(text, "100-continue");
}

void head_read_wishes(struct exchange *exchange, struct lws *wsi, const struct http_method *method) {
  exchange->head = method->token == WSI_TOKEN_HEAD_URI;
  exchange->expects = expects_invitation(wsi);
  read_keep_alive(exchange, wsi);
}

const char *head_content_type(const struct exchange *exchange) {
  const char *at = exchange->fields.data, *end = at + exchange->fields.length;
  while (at < end) {
    const char *name = at + 1, *value = name + strlen(name) + 1;
    if (*at == 'h' && !strcmp(name, "content-type"))
      return value;
    at = value + strlen(value) + 1;
  }
  return "";
}

/* ---- for Lua ------------------------------------------------------------------------------------- */

void head_push(lua_State *L, const struct exchange *exchange) {
  const char *at = exchange->fields.data, *end = at + exchange->fields.length;
  lua_createtable(L, 0, 9);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 12);
  while (at < end) {
    const char *name = at + 1, *value = name + strlen(name) + 1;
    lua_pushstring(L, value);
    lua_setfield(L, *at == 'f' ? -4 : *at == 'q' ? -3 : -2, name);
    at = value + strlen(value) + 1;
  }
  lua_setfield(L, -3, "headers");
  lua_setfield(L, -2, "query");
  lua_pushstring(L, exchange->peer->address);
  lua_setfield(L, -2, "peer");
  lua_pushboolean(L, exchange->peer->guarded);
  lua_setfield(L, -2, "guarded");
  if (exchange->chunked)
    return;
  lua_pushinteger(L, (lua_Integer)exchange->length);
  lua_setfield(L, -2, "content_length");
}

bool head_keep(struct peer *peer) {
  const struct http_method *method = head_method(peer->wsi);
  exchange_free(peer->upgrade);
  peer->upgrade = method ? exchange_new(peer) : NULL;
  return peer->upgrade && head_read(peer->upgrade, peer->wsi, method);
}

void head_push_kept(lua_State *L, struct peer *peer) {
  head_push(L, peer->upgrade);
  exchange_free(peer->upgrade);
  peer->upgrade = NULL;
}
