/*
 * server/upgrade.c - which requests become WebSocket connections (RFC 6455, 4.2).
 * Lua sees: the statuses a refused upgrade gets; Listener:refuse_upgrades.
 * Runs inside a callback of lws. Owns: nothing.
 * SPDX-License-Identifier: MIT
 */
#include "base/field.h"
#include "server/private.h"
#include "ws/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  KEY_LENGTH = HANDSHAKE_KEY - 1, /* base64 of 16 bytes */
  MOST_APART = 64,                /* connections of paths apart */
};

/* The subprotocol of the path alone, "" if it has none; NULL: it is not to be upgraded. */
static const char *find_path(const struct exchange *exchange) {
  char *path = request_path(exchange);
  const char *found = NULL;
  for (const char *at = exchange->peer->listener->paths; path && !found && *at;) {
    const char *own = at + strlen(at) + 1;
    if (!strcmp(at, path))
      found = own;
    at = own + strlen(own) + 1;
  }
  free(path);
  return found;
}

/* The value of the one field of this name, as [*value, + *length); false: there is none, or another one. */
static bool only_field(const struct exchange *exchange, const char *name, const char **value,
                       size_t *length) {
  const char *text = exchange->text.data;
  struct head_field field;
  int count = 0;
  for (size_t at = 0; head_next_field(&exchange->head, text, &at, &field);)
    if (head_is_word(text + field.name.at, field.name.length, name)) {
      count++;
      *value = text + field.value.at;
      *length = field.value.length;
    }
  return count == 1;
}

/* Sixteen bytes in base64. */
static bool is_key(const char *key, size_t length) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (length != KEY_LENGTH || memcmp(key + KEY_LENGTH - 2, "==", 2) != 0)
    return false;
  for (int i = 0; i < KEY_LENGTH - 2; i++)
    if (!key[i] || !strchr(digits, key[i]))
      return false;
  return true;
}

/* 0: ours is offered, or none is, or others that are passed over. */
static int check_subprotocol(struct exchange *exchange) {
  struct peer *peer = exchange->peer;
  const char *text = exchange->text.data, *offer;
  struct head_field field;
  size_t length;
  bool any = false;
  for (size_t at = 0; head_next_field(&exchange->head, text, &at, &field);) {
    const char *list = text + field.value.at, *end = list + field.value.length;
    if (!head_is_word(text + field.name.at, field.name.length, "sec-websocket-protocol"))
      continue;
    while (head_next_element(&list, end, &offer, &length)) {
      any = true;
      if (!field_is_token(offer, length))
        return 400;
      if (length == strlen(peer->subprotocol) && !memcmp(offer, peer->subprotocol, length))
        peer->offered = true;
    }
  }
  return !any || peer->offered || (peer->listener->rules.any_subprotocol && !peer->apart) ? 0 : 400;
}

static bool is_full(const struct listener *listener, bool apart) {
  return apart ? listener->apart >= MOST_APART : listener->sockets >= listener->rules.max_connections;
}

static int check_handshake(struct exchange *exchange, const char **key) {
  const char *version;
  size_t length;
  if (!only_field(exchange, "sec-websocket-version", &version, &length) ||
      !head_is_word(version, length, "13"))
    return 426;
  if (!exchange->head.wants_upgrade || exchange->head.length || exchange->head.chunked ||
      !only_field(exchange, "sec-websocket-key", key, &length) || !is_key(*key, length))
    return 400;
  return check_subprotocol(exchange);
}

/* Without the option in Connection the field is passed over (RFC 9110, 7.8), but where there is nothing but
 * WebSocket. */
bool upgrade_is_asked(const struct exchange *exchange) {
  const struct head *head = &exchange->head;
  return head->to_websocket && !head->old && (head->wants_upgrade || find_path(exchange));
}

static int check(struct exchange *exchange, const char **key) {
  struct peer *peer = exchange->peer;
  struct listener *listener = peer->listener;
  const char *own = find_path(exchange);
  if (!exchange->head.is_get)
    return 400;
  if (!own || (*own && listener->rules.guarded_path[0] && !request_is_guarded(exchange)))
    return 404;
  peer->apart = *own != 0;
  peer->subprotocol = peer->apart ? own : listener->rules.subprotocol;
  if (listener->refuse_status && !peer->apart)
    return listener->refuse_status;
  if (listener->closing || (is_full(listener, peer->apart) && !admission_evict(listener, peer->apart)))
    return 503;
  return check_handshake(exchange, key);
}

/* Only a subprotocol that the client has offered is named. */
static bool let_in(const struct peer *peer, const char *key) {
  unsigned char packet[LWS_PRE + 300];
  char accept[HANDSHAKE_ACCEPT];
  int n;
  if (!handshake_accept(key, accept))
    return false;
  n = snprintf((char *)packet + LWS_PRE, sizeof packet - LWS_PRE,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
               accept, peer->offered ? "Sec-WebSocket-Protocol: " : "",
               peer->offered ? peer->subprotocol : "", peer->offered ? "\r\n" : "");
  return lws_write(peer->wsi, packet + LWS_PRE, (size_t)n, LWS_WRITE_HTTP) == n;
}

static const char *headers_for(int status) {
  return status == 426   ? "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         : status == 503 ? "Retry-After: 5\r\n"
         : status == 401 ? "WWW-Authenticate: Bearer\r\n"
                         : "";
}

int upgrade_answer(struct exchange *exchange) {
  struct peer *peer = exchange->peer;
  const char *key = NULL;
  int status = check(exchange, &key);
  if (status)
    return answer_refusing(exchange, status, headers_for(status));
  if (!let_in(peer, key))
    return -1;
  peer->exchange = NULL;
  if (peer->apart)
    peer->upgrade = exchange;
  else
    exchange_free(exchange);
  connection_established(peer);
  return 0;
}
