/*
 * server/arrival.c - a client of a listener with a guarded path, before lws reads from it.
 * lws decodes a path and resolves its dots before anyone sees it, and so does many a proxy, each in its own
 * way. So the first request line is looked at as it is on the wire, without taking it: only a connection that
 * begins with the guarded path, spelled out, gets answers from below it. Owns: struct arrival, freed when its
 * handles are closed. Borrows the peer, which forgets it first. Loop thread only. Never calls Lua.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LONGEST_LOOK = 1024 /* bytes of the request line; a longer target is none of ours */ };

enum verdict { PLAIN, GUARDED, UNDECIDED };

/* A target below `path` as this one method and its client would write it: no signs that anyone decodes,
 * resolves or cuts off, and no empty segments. A query may follow. */
static enum verdict judge(const char *line, size_t length, const char *path) {
  const char *end = line + length, *at = memchr(line, ' ', length);
  if (!at)
    return memchr(line, '\n', length) ? PLAIN : UNDECIDED;
  for (at++; *path; path++, at++) {
    if (at == end)
      return UNDECIDED;
    if (*at != *path)
      return PLAIN;
  }
  for (; at < end && *at != '?' && *at != ' '; at++)
    if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-' && (*at != '/' || at[-1] == '/'))
      return PLAIN;
  return at < end ? GUARDED : UNDECIDED;
}

static void be_told_from(const struct peer *peer, size_t bytes) {
  int least = (int)bytes;
  setsockopt(peer->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
}

static void on_bytes(uv_poll_t *poll, int status, int events) {
  struct arrival *arrival = poll->data;
  struct peer *peer = arrival->peer;
  char line[LONGEST_LOOK];
  ssize_t n = recv(peer->fd, line, sizeof line, MSG_PEEK | MSG_DONTWAIT);
  enum verdict verdict;
  (void)events;
  if (n < 0 && (errno == EAGAIN || errno == EINTR) && status >= 0)
    return;
  verdict = n > 0 ? judge(line, (size_t)n, peer->listener->rules.guarded_path) : PLAIN;
  /* No more than last time: the client has sent its end. */
  if (verdict == UNDECIDED && (size_t)n > arrival->seen && (size_t)n < sizeof line) {
    arrival->seen = (size_t)n;
    be_told_from(peer, arrival->seen + 1);
    return;
  }
  peer->guarded = verdict == GUARDED;
  be_told_from(peer, 1);
  peer_forget_arrival(peer);
  peer_hand_to_lws(peer);
}

static void on_too_late(uv_timer_t *timer) {
  peer_drop(((struct arrival *)timer->data)->peer);
}

bool arrival_begin(struct peer *peer) {
  uv_loop_t *loop = rt_loop(peer_rt(peer));
  struct arrival *arrival = calloc(1, sizeof *arrival);
  if (!arrival || uv_poll_init(loop, &arrival->poll, peer->fd) != 0) {
    free(arrival);
    return false;
  }
  uv_timer_init(loop, &arrival->timer);
  arrival->handles = 2;
  arrival->peer = peer;
  arrival->poll.data = arrival->timer.data = arrival;
  peer->arrival = arrival;
  uv_timer_start(&arrival->timer, on_too_late, (uint64_t)HEAD_SECONDS * 1000, 0);
  uv_poll_start(&arrival->poll, UV_READABLE, on_bytes);
  return true;
}
