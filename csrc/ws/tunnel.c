/*
 * ws/tunnel.c - a way through an HTTP proxy for one WebSocket connection.
 * Lua sees nothing of it; socket.c opens tunnels.
 * Owns: the connection to the proxy, this end of the tunnel, and the bytes between; freed when libuv has
 * closed its handles. This end is a socket in the abstract namespace, which takes nobody but this process.
 * Loop thread only. Never calls Lua.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* memrchr, memmem, accept4, struct ucred */ /* NOLINT(bugprone-reserved-identifier) */
#include "ws/tunnel.h"

#include "base/buffer.h"
#include "base/explain.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  PIECE = 32768,     /* bytes that wait in one direction at most */
  MOST_HEAD = 16384, /* bytes of the proxy's answer */
  KEEPALIVE = 15,    /* seconds, as wire.c has it for connections without a proxy */
  KEEPALIVE_PROBES = 3,
  LINGER = 5, /* seconds for lws to come, and in the end for what is left to leave */
};

enum side { HERE, PROXY, SIDES };
enum phase { CONNECTING, ASKING, ANSWERING, LISTENING, OPEN, OVER };

struct end {
  uv_poll_t poll;
  struct tunnel *tunnel;
  int fd; /* -1: none, or closed */
  bool has_poll;
  char *data; /* what was read here and goes to the other side */
  size_t at, length;
  bool ended; /* nothing more is to be read */
  bool shut;  /* the other side was told so */
};

struct tunnel {
  struct rt_list link;
  struct rt *rt;
  enum phase phase;
  struct end ends[SIDES];
  struct end door; /* where lws connects to ends[HERE] */
  struct buffer request, head;
  size_t asked; /* bytes of the request */
  struct rt_timer timer;
  int handles;      /* that libuv has not closed */
  tunnel_done done; /* NULL: nobody waits */
  void *owner;
  struct proxy proxy; /* without its credentials, but for whether there are any */
  char target[300];
};

struct tunnel *tunnel_of(struct rt_list *link) {
  return container_of(link, struct tunnel, link);
}

/* ---- the end -------------------------------------------------------------------------------------- */

static void tunnel_free(struct tunnel *tunnel) {
  for (int i = 0; i < SIDES; i++)
    free(tunnel->ends[i].data);
  buffer_free(&tunnel->request);
  buffer_free(&tunnel->head);
  free(tunnel);
}

static void on_closed(uv_handle_t *handle) {
  struct end *end = handle->data;
  assert(end->tunnel->phase == OVER || end == &end->tunnel->door);
  if (--end->tunnel->handles == 0)
    tunnel_free(end->tunnel);
}

static void end_close(struct end *end) {
  if (end->has_poll)
    uv_close((uv_handle_t *)&end->poll, on_closed);
  if (end->fd >= 0)
    close(end->fd); /* libuv has let go of it: uv_close stops a poll at once */
  end->has_poll = false;
  end->fd = -1;
}

void tunnel_close(struct tunnel *tunnel) {
  if (tunnel->phase == OVER)
    return;
  tunnel->phase = OVER;
  tunnel->done = NULL;
  rt_list_remove(&tunnel->link);
  rt_timer_stop(tunnel->rt, &tunnel->timer);
  for (int i = 0; i < SIDES; i++)
    end_close(&tunnel->ends[i]);
  end_close(&tunnel->door);
  if (!tunnel->handles)
    tunnel_free(tunnel);
}

static void fail_with(struct tunnel *tunnel, const struct reason *reason, bool final) {
  tunnel_done done = tunnel->done;
  void *owner = tunnel->owner;
  assert(tunnel->phase != OVER);
  tunnel_close(tunnel);
  if (done)
    done(owner, NULL, reason, final);
}

enum { NAME = PROXY_PLACE + 16 };

static const char *proxy_name(const struct tunnel *tunnel, char name[NAME]) {
  char place[PROXY_PLACE];
  snprintf(name, NAME, "the proxy %s", proxy_place(&tunnel->proxy, place));
  return name;
}

static void fail_connect(struct tunnel *tunnel, int number) {
  struct reason reason;
  char name[NAME];
  explain_connect(&reason, proxy_name(tunnel, name), number);
  fail_with(tunnel, &reason, false);
}

static void fail_answer(struct tunnel *tunnel, enum err err, const char *what) {
  struct reason reason;
  char name[NAME];
  reason_set(&reason, err, 0, "%s %s", proxy_name(tunnel, name), what);
  fail_with(tunnel, &reason, true);
}

/* ---- polling -------------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

static bool watch(struct end *end, int events) {
  if (!end->has_poll) {
    if (uv_poll_init(rt_loop(end->tunnel->rt), &end->poll, end->fd))
      return false;
    end->has_poll = true;
    end->poll.data = end;
    end->tunnel->handles++;
  }
  return events ? !uv_poll_start(&end->poll, events, on_poll) : !uv_poll_stop(&end->poll);
}

/* ---- the bytes between ---------------------------------------------------------------------------- */

/* Read when nothing waits: the other side's pace holds this one back. False: the connection is broken. */
static bool end_read(struct end *end) {
  ssize_t n;
  if (end->ended || end->length)
    return true;
  n = recv(end->fd, end->data, PIECE, 0);
  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  end->at = 0;
  end->length = (size_t)n;
  end->ended = n == 0;
  return true;
}

static bool end_write(struct end *from, struct end *to) {
  ssize_t n = 0;
  if (from->length && (n = send(to->fd, from->data + from->at, from->length, MSG_NOSIGNAL)) < 0)
    return errno == EAGAIN || errno == EINTR;
  from->at += (size_t)n;
  from->length -= (size_t)n;
  if (from->ended && !from->length && !from->shut) {
    shutdown(to->fd, SHUT_WR);
    from->shut = true;
  }
  return true;
}

static bool watch_both(struct tunnel *tunnel) {
  for (int i = 0; i < SIDES; i++) {
    struct end *end = &tunnel->ends[i], *other = &tunnel->ends[1 - i];
    int events = (!end->ended && !end->length ? UV_READABLE : 0) | (other->length ? UV_WRITABLE : 0);
    if (!watch(end, events))
      return false;
  }
  return true;
}

/* lws closes both directions at once, so the tunnel is over when its bytes have left. */
static void relay(struct tunnel *tunnel) {
  struct end *here = &tunnel->ends[HERE], *proxy = &tunnel->ends[PROXY];
  bool ok = end_read(here) && end_read(proxy) && end_write(here, proxy) && end_write(proxy, here);
  if (!ok || here->shut || !watch_both(tunnel))
    tunnel_close(tunnel);
  else if (here->ended && !tunnel->timer.place)
    rt_timer_start(tunnel->rt, &tunnel->timer, LINGER);
}

static void on_linger(struct rt_timer *timer) {
  tunnel_close(container_of(timer, struct tunnel, timer));
}

/* ---- this end ------------------------------------------------------------------------------------- */

/* The kernel makes up a name that nobody has. */
static bool listen_here(struct end *end, char name[TUNNEL_NAME]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  socklen_t size = sizeof address;
  size_t n;
  end->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (end->fd < 0 || bind(end->fd, (struct sockaddr *)&address, sizeof address.sun_family) ||
      listen(end->fd, 8) || getsockname(end->fd, (struct sockaddr *)&address, &size))
    return false;
  n = size - offsetof(struct sockaddr_un, sun_path);
  if (n < 2 || n + 2 > TUNNEL_NAME)
    return false;
  snprintf(name, TUNNEL_NAME, "+@%.*s", (int)n - 1, address.sun_path + 1);
  return watch(end, UV_READABLE);
}

static bool is_this_process(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.pid == getpid();
}

static void accept_here(struct tunnel *tunnel) {
  int fd;
  do {
    fd = accept4(tunnel->door.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
      tunnel_close(tunnel); /* no descriptor is left: who waits at the door would wake the loop for ever */
    if (fd < 0)
      return; /* it was somebody else's, who has gone */
  } while (!is_this_process(fd) && !close(fd));
  rt_timer_stop(tunnel->rt, &tunnel->timer);
  end_close(&tunnel->door);
  tunnel->ends[HERE].fd = fd;
  tunnel->phase = OPEN;
  relay(tunnel);
}

/* ---- asking the proxy ----------------------------------------------------------------------------- */

static bool add_credentials(struct buffer *request, const struct proxy *proxy) {
  struct buffer plain = {0}, coded = {0};
  bool ok = buffer_printf(&plain, "%s:%s", proxy->user, proxy->password) &&
            buffer_reserve(&coded, plain.length / 3 * 4 + 5);
  if (ok) {
    EVP_EncodeBlock((unsigned char *)coded.data, (const unsigned char *)plain.data, (int)plain.length);
    ok = buffer_puts(request, "Proxy-Authorization: Basic ") && buffer_puts(request, coded.data) &&
         buffer_puts(request, "\r\n");
    explicit_bzero(coded.data, coded.capacity);
  }
  if (plain.data)
    explicit_bzero(plain.data, plain.capacity);
  buffer_free(&plain);
  buffer_free(&coded);
  return ok;
}

static bool compose(struct buffer *request, const struct proxy *proxy, const char *target) {
  return buffer_printf(request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target) &&
         (!proxy->user || add_credentials(request, proxy)) && buffer_puts(request, "\r\n");
}

static void ask(struct tunnel *tunnel) {
  struct end *end = &tunnel->ends[PROXY];
  struct buffer *request = &tunnel->request;
  ssize_t n = send(end->fd, request->data + tunnel->asked, request->length - tunnel->asked, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    fail_connect(tunnel, errno);
    return;
  }
  tunnel->asked += n > 0 ? (size_t)n : 0;
  if (tunnel->asked < request->length)
    return;
  explicit_bzero(request->data, request->capacity);
  buffer_free(request);
  tunnel->phase = ANSWERING;
  watch(end, UV_READABLE);
}

static void connected(struct tunnel *tunnel) {
  static const int on = 1, idle = KEEPALIVE, probes = KEEPALIVE_PROBES;
  int fd = tunnel->ends[PROXY].fd, number = 0;
  socklen_t size = sizeof number;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size))
    number = errno;
  if (number) {
    fail_connect(tunnel, number);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  tunnel->phase = ASKING;
  ask(tunnel);
}

/* The status of the answer's first line; 0: this is not HTTP. */
static int status_of(const char *head) {
  static const char version[] = "HTTP/1.";
  size_t n = sizeof version - 1;
  long status;
  char *end;
  if (strncmp(head, version, n) != 0 || !isdigit((unsigned char)head[n]) || head[n + 1] != ' ' ||
      !isdigit((unsigned char)head[n + 2]))
    return 0;
  status = strtol(head + n + 2, &end, 10);
  return end == head + n + 5 && status >= 100 ? (int)status : 0;
}

static void answered(struct tunnel *tunnel, size_t head) {
  struct end *end = &tunnel->ends[PROXY];
  struct reason reason = {0};
  char name[TUNNEL_NAME];
  int status = status_of(tunnel->head.data);
  if (!status) {
    fail_answer(tunnel, ERR_PROTOCOL, "does not answer as an HTTP proxy");
    return;
  }
  if (status / 100 != 2) {
    explain_proxy(&reason, &tunnel->proxy, status, tunnel->target);
    fail_with(tunnel, &reason, true);
    return;
  }
  end->length = tunnel->head.length - head; /* what follows is the server's already */
  memcpy(end->data, tunnel->head.data + head, end->length);
  buffer_free(&tunnel->head);
  watch(end, 0);
  tunnel->phase = LISTENING;
  if (listen_here(&tunnel->door, name))
    tunnel->done(tunnel->owner, name, NULL, false);
  else
    fail_connect(tunnel, errno);
}

/* Bytes up to the end of the head, with the empty line; 0: it has not come yet. */
static size_t head_length(const struct buffer *head) {
  const char *end = memmem(head->data, head->length, "\r\n\r\n", 4);
  return end ? (size_t)(end - head->data) + 4 : 0;
}

static void read_answer(struct tunnel *tunnel) {
  struct end *end = &tunnel->ends[PROXY];
  struct buffer *head = &tunnel->head;
  ssize_t n = recv(end->fd, end->data, PIECE - MOST_HEAD, 0);
  size_t length;
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0) {
    fail_answer(tunnel, ERR_DISCONNECTED, "closed the connection without an answer");
  } else if (!buffer_append(head, end->data, (size_t)n) || !buffer_reserve(head, 1)) {
    fail_answer(tunnel, ERR_NOMEM, "cannot be understood: no memory");
  } else {
    head->data[head->length] = '\0';
    length = head_length(head);
    if (length)
      answered(tunnel, length);
    else if (head->length >= MOST_HEAD)
      fail_answer(tunnel, ERR_LIMIT, "answers with a head of more than 16 KiB");
  }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct end *end = poll->data;
  struct tunnel *tunnel = end->tunnel;
  (void)status, (void)events; /* a call that fails tells more */
  switch (tunnel->phase) {
  case CONNECTING:
    connected(tunnel);
    break;
  case ASKING:
    ask(tunnel);
    break;
  case ANSWERING:
    read_answer(tunnel);
    break;
  case LISTENING:
    accept_here(tunnel);
    break;
  case OPEN:
    relay(tunnel);
    break;
  case OVER:
    break;
  }
}

/* ---- opening -------------------------------------------------------------------------------------- */

/* 0, or a number of the system's. */
static int begin_connect(struct end *end, const char *address, int port) {
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
  int status;
  if (!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
    return EADDRNOTAVAIL;
  end->fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (end->fd < 0)
    return errno;
  status = is_v4 ? connect(end->fd, (struct sockaddr *)&v4, sizeof v4)
                 : connect(end->fd, (struct sockaddr *)&v6, sizeof v6);
  return !status || errno == EINPROGRESS ? 0 : errno;
}

struct tunnel *tunnel_open(struct rt *rt, struct rt_list *list, const struct proxy *proxy,
                           const char *address, const char *target, tunnel_done done, void *owner,
                           struct reason *reason) {
  struct tunnel *tunnel = calloc(1, sizeof *tunnel);
  char name[NAME];
  int number = ENOMEM;
  if (!tunnel)
    goto no_memory;
  tunnel->rt = rt;
  tunnel->timer.fire = on_linger;
  tunnel->proxy = *proxy;
  tunnel->proxy.password = NULL;
  tunnel->done = done;
  tunnel->owner = owner;
  snprintf(tunnel->target, sizeof tunnel->target, "%s", target);
  rt_list_add(list, &tunnel->link);
  tunnel->door.tunnel = tunnel;
  tunnel->door.fd = -1;
  for (int i = 0; i < SIDES; i++) {
    tunnel->ends[i].tunnel = tunnel;
    tunnel->ends[i].fd = -1;
    tunnel->ends[i].data = malloc(PIECE);
  }
  if (tunnel->ends[HERE].data && tunnel->ends[PROXY].data && compose(&tunnel->request, proxy, target))
    number = begin_connect(&tunnel->ends[PROXY], address, proxy->port);
  if (!number && watch(&tunnel->ends[PROXY], UV_WRITABLE))
    return tunnel;
  explain_connect(reason, proxy_name(tunnel, name), number ? number : ENOMEM);
  tunnel_close(tunnel);
  return NULL;
no_memory:
  explain_connect(reason, target, ENOMEM);
  return NULL;
}

void tunnel_leave(struct tunnel *tunnel) {
  tunnel->done = NULL;
  tunnel->owner = NULL;
  rt_timer_start(tunnel->rt, &tunnel->timer, LINGER);
}
