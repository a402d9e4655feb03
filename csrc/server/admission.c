/*
 * server/admission.c - closes connections when a listener is full, so that no client keeps others out by
 * holding connections. Idle connections go first, the longest idle one first; then the slowest; of WebSocket
 * connections only those that Lua has not admitted. New ones stay for a moment: they had no time to ask. Loop
 * thread only. Never calls Lua. SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <string.h>

static const uint64_t FRESH = 1000000000u; /* nanoseconds */

static struct peer *peer_at(struct rt_list *link) {
  return container_of(link, struct peer, link);
}

/* Bytes in a second that a request or an answer has moved since it began. */
static double rate_of(const struct exchange *exchange, uint64_t now) {
  return (double)exchange->moved * 1e9 / (double)(now - exchange->began + 1);
}

static bool is_idle(const struct peer *peer, uint64_t now) {
  if (peer->is_socket)
    return false;
  if (peer->exchange)
    return peer->exchange->phase == LINGERING;
  return peer->heard || peer->since + FRESH < now;
}

/* True if this exchange waits for a slow client. */
static bool is_slow(const struct peer *peer, uint64_t now) {
  const struct exchange *exchange = peer->exchange;
  return !peer->is_socket && exchange && (exchange->phase == RECEIVING || exchange->phase == ANSWERING) &&
         exchange->began + FRESH < now;
}

/* The HTTP connection to close first, of those from `address` or of all if that is NULL. */
static struct peer *least_needed(struct listener *listener, const char *address) {
  struct peer *idle = NULL, *slow = NULL;
  uint64_t now = uv_hrtime();
  for (struct rt_list *link = listener->peers.next; link != &listener->peers; link = link->next) {
    struct peer *peer = peer_at(link);
    if (address && strcmp(address, peer->address) != 0)
      continue;
    if (is_idle(peer, now) && (!idle || peer->since < idle->since))
      idle = peer;
    else if (is_slow(peer, now) && (!slow || rate_of(peer->exchange, now) < rate_of(slow->exchange, now)))
      slow = peer;
  }
  return idle ? idle : slow;
}

bool admission_give_up(struct listener *listener, const char *address) {
  struct peer *peer = least_needed(listener, address);
  if (peer)
    peer_drop(peer);
  return peer != NULL;
}

static bool is_unknown(const struct peer *peer) {
  return !peer->is_socket || (!peer->admitted && !peer->evicted);
}

bool admission_fits_address(struct listener *listener, const char *address, bool loopback) {
  long count = 0;
  if (!listener->rules.max_per_address || (loopback && listener->rules.spares_loopback))
    return true;
  for (struct rt_list *link = listener->peers.next; link != &listener->peers; link = link->next)
    if (is_unknown(peer_at(link)) && !strcmp(address, peer_at(link)->address))
      count++;
  return count < listener->rules.max_per_address || admission_give_up(listener, address);
}

/* At the drain point: inside of a callback of lws no other connection is ended. */
static void run_evictions(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct listener *listener = container_of(job, struct listener, evictions);
  struct rt_list *link, *next;
  (void)rt;
  (void)L;
  for (link = listener->peers.next; link != &listener->peers; link = next) {
    struct peer *peer = peer_at(link);
    next = link->next;
    if (peer->evicted && !peer->dropped) {
      peer->dropped = true;
      wire_drop(&peer->wire, ERR_LIMIT, "others needed the room");
    }
  }
}

static struct peer *oldest_unadmitted(struct listener *listener, bool apart) {
  struct peer *oldest = NULL;
  uint64_t now = uv_hrtime();
  for (struct rt_list *link = listener->peers.next; link != &listener->peers; link = link->next) {
    struct peer *peer = peer_at(link);
    if (peer->is_socket && is_unknown(peer) && peer->apart == apart && peer->since + FRESH < now &&
        (!oldest || peer->since < oldest->since))
      oldest = peer;
  }
  return oldest;
}

bool admission_evict(struct listener *listener, bool apart) {
  struct peer *peer = listener->rules.admits ? oldest_unadmitted(listener, apart) : NULL;
  if (!peer)
    return false;
  peer_count(peer, -1);
  peer->evicted = true;
  listener->evictions.run = run_evictions;
  rt_enqueue(listener->server->rt, &listener->evictions);
  return true;
}

/* True if less than the least rate was moved, counted from the end of `slow_after`. */
bool admission_is_too_slow(const struct exchange *exchange) {
  const struct listener *listener = exchange->peer->listener;
  double seconds = (double)(uv_hrtime() - exchange->began) / 1e9 - listener->rules.slow_after;
  return seconds > 0 && !exchange->paced &&
         (double)exchange->moved < seconds * (double)listener->rules.least_rate;
}
