/*
 * server/upgrade.c - which requests may become WebSocket connections.
 * Lua sees: the statuses a refused upgrade gets; Listener:refuse_upgrades.
 * Runs inside a callback of lws, because lws does not wait for a decision. What lws itself would refuse
 * without a word (a missing key, an unknown subprotocol) is refused here with a status.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <string.h>
#include <strings.h>

enum {
  SUBPROTOCOLS = 127, /* bytes of that header lws looks at */
  KEY_LENGTH = 24,    /* base64 of 16 bytes */
  MOST_APART = 64,    /* connections of paths apart */
};

/* Is `wanted` one of the words of a comma-separated list? */
static bool has_word(const char *list, const char *wanted, bool any_case) {
  static const char blanks[] = " \t,";
  size_t length, n = strlen(wanted);
  for (list += strspn(list, blanks); *list; list += strspn(list, blanks)) {
    length = strcspn(list, blanks);
    if (length == n && (any_case ? strncasecmp(list, wanted, n) : strncmp(list, wanted, n)) == 0)
      return true;
    list += length;
  }
  return false;
}

static bool header_has(struct lws *wsi, enum lws_token_indexes header, const char *wanted) {
  char text[256];
  return lws_hdr_copy(wsi, text, sizeof text, header) > 0 && has_word(text, wanted, true);
}

/* The subprotocol of the path alone, "" if it has none; NULL: it is not to be upgraded. */
static const char *find_path(const struct listener *listener, struct lws *wsi) {
  char path[512];
  if (lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) <= 0)
    return NULL;
  for (const char *at = listener->paths; *at;) {
    const char *own = at + strlen(at) + 1;
    if (!strcmp(at, path))
      return own;
    at = own + strlen(own) + 1;
  }
  return NULL;
}

/* RFC 6455, 4.2.1: what an opening handshake must have. */
static bool well_formed(struct lws *wsi) {
  return lws_hdr_total_length(wsi, WSI_TOKEN_HOST) && header_has(wsi, WSI_TOKEN_CONNECTION, "upgrade") &&
         lws_hdr_total_length(wsi, WSI_TOKEN_KEY) == KEY_LENGTH;
}

/* Let lws think that it knows the first word of what is offered, which it would refuse else; upgrade_accepted
 * takes that back. false: it is no word as lws reads them. */
static bool feign(struct server *server, const char *list) {
  static const char signs[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
  size_t length;
  list += strspn(list, " \t,");
  length = strspn(list, signs);
  if (!length || length >= sizeof server->subprotocol || !strchr(" \t,", list[length]))
    return false;
  memcpy(server->subprotocol, list, length);
  server->subprotocol[length] = 0;
  return true;
}

/* 0: ours is offered, or none is, or others that are passed over. */
static int check_subprotocol(struct peer *peer, struct lws *wsi) {
  const struct listener *listener = peer->listener;
  char list[SUBPROTOCOLS + 1];
  int length = lws_hdr_copy(wsi, list, sizeof list, WSI_TOKEN_PROTOCOL);
  peer->offered = length > 0 && has_word(list, peer->subprotocol, false);
  memcpy(listener->server->subprotocol, peer->subprotocol, strlen(peer->subprotocol) + 1);
  if (length == 0 || peer->offered)
    return 0;
  return length > 0 && listener->rules.any_subprotocol && !peer->apart && feign(listener->server, list) ? 0
                                                                                                        : 400;
}

/* Only a subprotocol that the client has offered is named in the answer. */
void upgrade_accepted(const struct peer *peer) {
  if (!peer->offered)
    peer->listener->server->subprotocol[0] = 0;
}

static bool is_full(const struct listener *listener, bool apart) {
  return apart ? listener->apart >= MOST_APART : listener->sockets >= listener->rules.max_connections;
}

static int check(struct peer *peer, struct lws *wsi) {
  const struct listener *listener = peer->listener;
  const char *own = NULL;
  if (!lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI))
    return 400;
  own = find_path(listener, wsi);
  if (!own)
    return 404;
  peer->apart = *own != 0;
  if (peer->apart && listener->rules.guarded_path[0] && !peer->guarded)
    return 404;
  peer->subprotocol = peer->apart ? own : listener->rules.subprotocol;
  if (listener->refuse_status && !peer->apart)
    return listener->refuse_status;
  if (listener->closing || (is_full(listener, peer->apart) && !admission_evict(peer->listener, peer->apart)))
    return 503;
  if (!header_has(wsi, WSI_TOKEN_VERSION, "13"))
    return 426;
  if (!well_formed(wsi))
    return 400;
  return check_subprotocol(peer, wsi);
}

int upgrade_decide(struct peer *peer, char *upgrade) {
  int status;
  if (!lws_hdr_total_length(peer->wsi, WSI_TOKEN_UPGRADE))
    return -1;                       /* lws refused it, `upgrade` is stale */
  if (!strcasecmp(upgrade, "h2c")) { /* RFC 9110, 7.8: a server may ignore it. lws reads the name again. */
    *upgrade = '-';
    return 0;
  }
  if (strcasecmp(upgrade, "websocket") != 0)
    return -1;
  status = check(peer, peer->wsi);
  if (!status && peer->apart && !head_keep(peer))
    status = 503;
  if (status)
    return answer_without_exchange(peer, status,
                                   status == 426   ? "Sec-WebSocket-Version: 13\r\n"
                                   : status == 503 ? "Retry-After: 5\r\n"
                                                   : "");
  return 0;
}
