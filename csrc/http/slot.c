/*
 * http/slot.c - libcurl's multi socket interface on the loop, and the drain point of the transfers.
 * Owns: per runtime one curl multi handle (with its idle connections) and one uv timer for curl's
 * own needs.
 * SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include <stdlib.h>

enum { IDLE_CONNECTIONS = 16 };

struct poll { /* one socket of curl's; freed when libuv has closed it */
  uv_poll_t handle;
  struct room *room;
  curl_socket_t fd;
  int events;
};

/* ---- curl on the loop ----------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *handle) {
  free(CONTAINER(handle, struct poll, handle));
}

static int curl_flags(int events) {
  return (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
}

/* libuv stops a handle on an error; curl, asked without flags, looks for itself, and may find
 * that there is still something to read. */
static void on_poll(uv_poll_t *handle, int status, int events) {
  struct poll *poll = CONTAINER(handle, struct poll, handle);
  struct room *room = poll->room;
  int running;
  curl_multi_socket_action(room->multi, poll->fd, status < 0 ? 0 : curl_flags(events), &running);
  if (status < 0 && !uv_is_closing((uv_handle_t *)handle))
    uv_poll_start(handle, poll->events, on_poll);
  rt_enqueue(room->rt, &room->job);
}

/* curl_multi_assign is the one call of curl's that belongs into its callback. */
static struct poll *new_poll(struct room *room, curl_socket_t fd) {
  struct poll *poll = calloc(1, sizeof *poll);
  if (!poll)
    return NULL;
  poll->room = room;
  poll->fd = fd;
  if (uv_poll_init_socket(rt_loop(room->rt), &poll->handle, fd) != 0) {
    free(poll);
    return NULL;
  }
  if (curl_multi_assign(room->multi, fd, poll) == CURLM_OK)
    return poll;
  uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
  return NULL;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *assigned) {
  struct room *room = owner;
  struct poll *poll = assigned;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (poll)
      uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
    return 0;
  }
  if (!poll)
    poll = new_poll(room, fd);
  if (poll)
    poll->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  if (!poll || uv_poll_start(&poll->handle, poll->events, on_poll) != 0) {
    room->blind = true; /* an error would end the whole handle of curl's, and with it what it has to tell */
    rt_enqueue(room->rt, &room->job);
  }
  return 0;
}

static void on_timeout(uv_timer_t *timer) {
  struct room *room = CONTAINER(timer, struct room, timer);
  int running;
  curl_multi_socket_action(room->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  rt_enqueue(room->rt, &room->job);
}

static int on_set_timeout(CURLM *multi, long ms, void *arg) {
  struct room *room = arg;
  (void)multi;
  if (ms < 0)
    uv_timer_stop(&room->timer);
  else
    uv_timer_start(&room->timer, on_timeout, (uint64_t)ms, 0);
  return 0;
}

/* ---- the drain point ------------------------------------------------------------------------ */

static void collect_finished(struct room *room) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(room->multi, &left))) {
    struct http_transfer *transfer = NULL;
    if (message->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
    if (transfer->over)
      continue;
    transfer->result = message->data.result;
    if (!http_look_up(transfer))
      http_end(transfer);
  }
}

/* Nobody watches a socket: whose it is curl does not say here. */
static void fail_all(struct room *room) {
  struct rt_list *item, *next;
  room->blind = false;
  for (item = room->active.next; item != &room->active; item = next) {
    struct http_transfer *transfer = CONTAINER(item, struct http_transfer, link);
    next = item->next;
    reason_set(&transfer->reason, ERR_NOMEM, 0, "no memory to watch the connection to %s",
               transfer->origin ? transfer->origin : "the server");
    http_end(transfer);
  }
}

/* An owner that is told may cancel other transfers, so the list is begun anew each time. */
static void room_drain(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct room *room = CONTAINER(job, struct room, job);
  collect_finished(room);
  if (room->blind)
    fail_all(room);
  while (room->over.next != &room->over) {
    struct http_transfer *transfer = CONTAINER(room->over.next, struct http_transfer, link);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget() takes it off the list */
    http_finish(transfer, rt, L);
  }
}

/* ---- the room of a runtime ------------------------------------------------------------------ */

static void cancel_all(struct rt_list *head) {
  struct rt_list *item, *next;
  for (item = head->next; item != head; item = next) {
    next = item->next;
    http_cancel(CONTAINER(item, struct http_transfer, link));
  }
}

static void room_closing(struct rt *rt, void *state) {
  struct room *room = state;
  cancel_all(&room->active);
  cancel_all(&room->over);
  curl_multi_cleanup(room->multi);
  room->multi = NULL;
  rt_dequeue(rt, &room->job);
  uv_close((uv_handle_t *)&room->timer, NULL);
}

static void room_closed(struct rt *rt, void *state) {
  (void)rt;
  free(state);
}

static long room_count(void *state) {
  return ((struct room *)state)->count;
}

static const struct rt_room_ops room_ops = {room_closing, room_closed, "transfers", room_count};

static bool multi_init(struct room *room) {
  room->multi = curl_multi_init();
  if (!room->multi)
    return false;
  curl_multi_setopt(room->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(room->multi, CURLMOPT_SOCKETDATA, room);
  curl_multi_setopt(room->multi, CURLMOPT_TIMERFUNCTION, on_set_timeout);
  curl_multi_setopt(room->multi, CURLMOPT_TIMERDATA, room);
  curl_multi_setopt(room->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
  curl_multi_setopt(room->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
  return true;
}

struct room *http_room(struct rt *rt) {
  struct room *room = rt_room(rt, ROOM_HTTP);
  if (room)
    return room->multi ? room : NULL;
  room = calloc(1, sizeof *room);
  if (!room || !multi_init(room)) {
    free(room);
    return NULL;
  }
  room->rt = rt;
  room->job.run = room_drain;
  rt_list_init(&room->active);
  rt_list_init(&room->over);
  uv_timer_init(rt_loop(rt), &room->timer);
  rt_set_room(rt, ROOM_HTTP, room, &room_ops);
  return room;
}
