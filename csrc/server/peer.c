/*
 * server/peer.c - the ground of the server: a listener's clients and their requests, with the functions that
 * all its files use: their life, their number, their deadlines. Owns: struct peer and struct exchange. A peer
 * can be ended in any state. Loop thread only. Never calls Lua. SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <stdlib.h>
#include <string.h>

struct rt *peer_rt(const struct peer *peer) {
  return peer->listener->server->rt;
}

void peer_push_listener(lua_State *L, const struct peer *peer) {
  rt_anchored(L, peer->listener->box);
}

void peer_count(const struct peer *peer, int change) {
  struct listener *listener = peer->listener;
  long *count = !peer->is_socket ? &listener->others : peer->apart ? &listener->apart : &listener->sockets;
  *count += change;
  assert(*count >= 0);
}

/* ---- requests ------------------------------------------------------------------------------------ */

struct exchange *exchange_new(struct peer *peer) {
  struct exchange *exchange = calloc(1, sizeof *exchange);
  if (!exchange)
    return NULL;
  exchange->peer = peer;
  exchange->phase = RECEIVING;
  exchange->began = uv_hrtime();
  exchange->max_body = peer->listener->rules.max_body;
  exchange->cut_after = SIZE_MAX;
  return exchange;
}

void exchange_free(struct exchange *exchange) {
  if (!exchange)
    return;
  assert(!exchange->job.queued && !exchange->pause.place);
  buffer_free(&exchange->text);
  buffer_free(&exchange->body);
  buffer_free(&exchange->out);
  upload_free(exchange->upload);
  served_file_free(exchange->file);
  free(exchange);
}

void exchange_end_pause(struct exchange *exchange) {
  struct rt *rt = peer_rt(exchange->peer);
  if (exchange->rate <= 0 || exchange->phase != RECEIVING)
    return;
  rt_timer_stop(rt, &exchange->pause);
  rt_dequeue(rt, &exchange->job);
  lws_rx_flow_control(exchange->peer->wsi, 1);
}

/* Nothing is read until the request is answered: what the client sends meanwhile holds it back. */
int exchange_complete(struct exchange *exchange) {
  struct peer *peer = exchange->peer;
  assert(exchange->phase == RECEIVING && exchange->handle);
  exchange_end_pause(exchange);
  exchange->phase = READY;
  exchange->job.run = exchange->handle;
  peer_expect(peer, 0);
  lws_rx_flow_control(peer->wsi, 0);
  rt_enqueue(peer_rt(peer), &exchange->job);
  return 0;
}

bool peer_is_busy(const struct peer *peer) {
  return peer->exchange && peer->exchange->phase > RECEIVING && peer->exchange->phase != LINGERING;
}

/* The client is gone, or will be. */
static void forget_requests(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  exchange_free(peer->upgrade);
  peer->upgrade = peer->exchange = NULL;
  if (!exchange)
    return;
  exchange->peer = NULL;
  rt_timer_stop(peer_rt(peer), &exchange->pause);
  if (exchange->phase == HANDLING)
    return; /* Lua's userdata frees it, or run_head */
  rt_dequeue(peer_rt(peer), &exchange->job);
  exchange_free(exchange);
}

/* ---- the end of a connection --------------------------------------------------------------------- */

void peer_free(struct peer *peer) {
  struct listener *listener = peer->listener;
  assert(peer->link.next && !peer->box);
  if (peer->wsi)
    lws_set_opaque_user_data(peer->wsi, NULL); /* lws may speak of it once more */
  forget_requests(peer);
  buffer_free(&peer->inbox);
  rt_list_remove(&peer->link);
  if (!peer->evicted)
    peer_count(peer, -1);
  free(peer);
  listener->peer_gone(listener);
}

void peer_drop(struct peer *peer) {
  struct lws *wsi = peer->wsi;
  assert(!peer->is_socket);
  if (wsi) {
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC); /* without waiting for what is unsent */
    lws_cancel_service(lws_get_context(wsi));                         /* else lws does not see the timeout */
  }
  peer_free(peer);
}

/* ---- in the hands of lws ------------------------------------------------------------------------- */

void peer_expect(struct peer *peer, int seconds) {
  peer->due = seconds ? uv_hrtime() + (uint64_t)seconds * 1000000000u : 0;
  if (seconds)
    lws_set_timer_usecs(peer->wsi, (lws_usec_t)seconds * LWS_US_PER_SEC);
}

/* lws 4.1 cannot cancel its timer, so it may come too early. */
int peer_on_timer(struct peer *peer) {
  uint64_t now = uv_hrtime();
  if (!peer->due)
    return 0;
  if (now >= peer->due)
    return -1;
  lws_set_timer_usecs(peer->wsi, (lws_usec_t)((peer->due - now) / 1000) + 1);
  return 0;
}

void peer_hand_to_lws(struct peer *peer) {
  struct server *server = peer->listener->server;
  lws_adopt_desc_t info;
  assert(!peer->wsi);
  memset(&info, 0, sizeof info);
  info.vh = server->vhost;
  info.type = LWS_ADOPT_SOCKET | (peer->listener->tls ? LWS_ADOPT_ALLOW_SSL : 0);
  info.fd.sockfd = peer->fd;
  info.opaque = peer;
  server->adopting = peer;
  if (lws_adopt_descriptor_vhost_via_info(&info))
    peer_expect(peer, HEAD_SECONDS);
  else if (server->adopting)
    peer_free(peer); /* lws closes the socket */
  server->adopting = NULL;
}
