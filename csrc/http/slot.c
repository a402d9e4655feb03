/*
 * http/slot.c - libcurl's multi socket interface on the loop.
 * Owns: per runtime one curl multi handle (with its idle connections) and one uv timer for curl's
 * own needs. Only here a callback of one library calls the other, as both require.
 * SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include <assert.h>
#include <stdlib.h>

enum { IDLE_CONNECTIONS = 16 };

struct poll { /* one socket of curl's; freed when libuv has closed it */
  uv_poll_t handle;
  struct http_slot *slot;
  curl_socket_t fd;
  int events;
};

/* ---- curl on the loop ----------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *handle) {
  free(container_of(handle, struct poll, handle));
}

static int curl_flags(int events) {
  return (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
}

/* libuv stops a handle on an error; curl, asked without flags, looks for itself, and may find
 * that there is still something to read. */
static void on_poll(uv_poll_t *handle, int status, int events) {
  struct poll *poll = container_of(handle, struct poll, handle);
  struct http_slot *slot = poll->slot;
  int running;
  curl_multi_socket_action(slot->multi, poll->fd, status < 0 ? 0 : curl_flags(events), &running);
  if (status < 0 && !uv_is_closing((uv_handle_t *)handle))
    uv_poll_start(handle, poll->events, on_poll);
  rt_enqueue(slot->rt, &slot->job);
}

/* curl_multi_assign is the one call of curl's that belongs into its callback. */
static struct poll *new_poll(struct http_slot *slot, curl_socket_t fd) {
  struct poll *poll = calloc(1, sizeof *poll);
  if (!poll)
    return NULL;
  poll->slot = slot;
  poll->fd = fd;
  if (uv_poll_init_socket(rt_loop(slot->rt), &poll->handle, fd) != 0) {
    free(poll);
    return NULL;
  }
  if (curl_multi_assign(slot->multi, fd, poll) == CURLM_OK)
    return poll;
  uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
  return NULL;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *assigned) {
  struct http_slot *slot = owner;
  struct poll *poll = assigned;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (poll)
      uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
    return 0;
  }
  if (!poll)
    poll = new_poll(slot, fd);
  if (poll)
    poll->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  if (!poll || uv_poll_start(&poll->handle, poll->events, on_poll) != 0) {
    slot->blind = true; /* an error here would end the whole multi handle, with the results it has */
    rt_enqueue(slot->rt, &slot->job);
  }
  return 0;
}

static void on_timeout(uv_timer_t *timer) {
  struct http_slot *slot = container_of(timer, struct http_slot, timer);
  int running;
  curl_multi_socket_action(slot->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  rt_enqueue(slot->rt, &slot->job);
}

static int on_set_timeout(CURLM *multi, long ms, void *arg) {
  struct http_slot *slot = arg;
  (void)multi;
  if (ms < 0)
    uv_timer_stop(&slot->timer);
  else
    uv_timer_start(&slot->timer, on_timeout, (uint64_t)ms, 0);
  return 0;
}

/* ---- the slot of a runtime ------------------------------------------------------------------ */

static bool multi_init(struct http_slot *slot) {
  slot->multi = curl_multi_init();
  if (!slot->multi)
    return false;
  curl_multi_setopt(slot->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(slot->multi, CURLMOPT_SOCKETDATA, slot);
  curl_multi_setopt(slot->multi, CURLMOPT_TIMERFUNCTION, on_set_timeout);
  curl_multi_setopt(slot->multi, CURLMOPT_TIMERDATA, slot);
  curl_multi_setopt(slot->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
  curl_multi_setopt(slot->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
  return true;
}

struct http_slot *http_slot_new(struct rt *rt) {
  struct http_slot *slot = calloc(1, sizeof *slot);
  if (!slot || !multi_init(slot)) {
    free(slot);
    return NULL;
  }
  slot->rt = rt;
  rt_list_init(&slot->active);
  rt_list_init(&slot->over);
  uv_timer_init(rt_loop(rt), &slot->timer);
  return slot;
}

void http_slot_close(struct http_slot *slot) {
  assert(slot->active.next == &slot->active && slot->over.next == &slot->over);
  curl_multi_cleanup(slot->multi);
  slot->multi = NULL;
  rt_dequeue(slot->rt, &slot->job);
  uv_close((uv_handle_t *)&slot->timer, NULL);
}
