/*
 * server/listener.c - an HTTP and WebSocket server: the listening socket, its clients, the end of both.
 * Lua sees: core.listen, Listener (port, count, refuse_upgrades, close).
 * Owns: the listening socket, which lws never sees, so that closing it takes effect at once; struct listener
 * and struct peer. Every accepted connection is handed to lws, for TCP, TLS and timers: it reads no HTTP.
 * Borrows: the context of lws (wire.c).
 * Loop thread only. Callbacks of lws copy and queue; Lua is reached only from the drain point.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* accept4 */ /* NOLINT(bugprone-reserved-identifier) */
#include "server/listener.h"

#include "base/explain.h"
#include "server/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_T "trueconf.Listener"
enum {
  BACKLOG = 512,
  ACCEPTS_PER_TURN = 64,
  PAUSE_MS = 100, /* of accepting, when connections, descriptors or memory are short */
};

/* ---- callbacks of lws ---------------------------------------------------------------------------- */

/* About a connection that is ours no more. */
static int on_stranger(struct lws *wsi, enum lws_callback_reasons why) {
  struct server *server;
  switch (why) {
  case LWS_CALLBACK_WSI_CREATE: /* before lws knows whose it is */
    server = lws_vhost_user(lws_get_vhost(wsi));
    if (server && server->adopting)
      server->adopting->wsi = wsi;
    return 0;
  case LWS_CALLBACK_RAW_RX:
  case LWS_CALLBACK_RAW_WRITEABLE:
    return -1;
  default:
    return 0;
  }
}

static int on_http_gone(struct peer *peer) {
  struct server *server = peer->listener->server;
  if (server->adopting == peer)
    server->adopting = NULL;
  peer_free(peer);
  return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t length) {
  struct peer *peer;
  (void)user;
  if (why ==
      LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) { /* wsi is not a whole one, in is the vhost */
    server_tls_choose(user, lws_vhost_user(in));
    return 0;
  }
  peer = lws_get_opaque_user_data(wsi);
  if (!peer)
    return on_stranger(wsi, why);
  if (peer->is_socket)
    return wire_on(&peer->wire, wsi, why, in, length);
  switch (why) {
  case LWS_CALLBACK_RAW_RX:
    return request_on_bytes(peer, in, length);
  case LWS_CALLBACK_RAW_WRITEABLE:
    return request_on_writeable(peer);
  case LWS_CALLBACK_TIMER:
    return peer_on_timer(peer);
  case LWS_CALLBACK_RAW_CLOSE:
  case LWS_CALLBACK_WSI_DESTROY:
    return on_http_gone(peer);
  default:
    return 0;
  }
}

/* ---- the server of a runtime --------------------------------------------------------------------- */

static void abandon(struct listener *listener);

static void closing(struct rt *rt, void *state) {
  struct server *server = state;
  struct rt_list *link, *next;
  (void)rt;
  for (link = server->listeners.next; link != &server->listeners; link = next) {
    next = link->next;
    abandon(container_of(link, struct listener, link));
  }
}

static void closed(struct rt *rt, void *state) {
  (void)rt;
  free(state);
}

static long count(void *state) {
  return ((struct server *)state)->count;
}

static bool make_vhost(struct server *server) {
  const struct lws_protocols protocols[] = {{"server", on_lws, 0, 0, 0, NULL, WIRE_CHUNK},
                                            {NULL, NULL, 0, 0, 0, NULL, 0}};
  struct lws_context *context = wire_context(server->rt);
  struct lws_context_creation_info info;
  if (!context)
    return false;
  wire_vhost_info(&info, true);
  info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
  info.vhost_name = "server";
  info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
  info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS; /* clients show none: do not load 700 KiB of them */
  info.protocols = protocols;                            /* copied */
  info.user = server;
  info.alpn = "http/1.1"; /* else lws offers HTTP/2, and would take over what was agreed on */
  server->vhost = lws_create_vhost(context, &info);
  return server->vhost != NULL;
}

static struct server *get_server(struct rt *rt) {
  static const struct rt_slot_ops ops = {closing, closed, "listeners", count};
  struct server *server = rt_slot(rt, SLOT_LISTENER);
  if (server)
    return server;
  server = calloc(1, sizeof *server);
  if (!server)
    return NULL;
  server->rt = rt;
  rt_list_init(&server->listeners);
  if (!make_vhost(server)) {
    free(server);
    return NULL;
  }
  rt_set_slot(rt, SLOT_LISTENER, server, &ops);
  return server;
}

/* ---- accepting ----------------------------------------------------------------------------------- */

static void set_address(struct peer *peer, const struct sockaddr_storage *from) {
  static const char mapped[] = "::ffff:";
  if (from->ss_family == AF_INET) {
    uv_ip4_name((const struct sockaddr_in *)(const void *)from, peer->address, sizeof peer->address);
    peer->loopback = !strncmp(peer->address, "127.", 4);
    return;
  }
  uv_ip6_name((const struct sockaddr_in6 *)(const void *)from, peer->address, sizeof peer->address);
  if (!strncmp(peer->address, mapped, sizeof mapped - 1) && strchr(peer->address, '.'))
    memmove(peer->address, peer->address + sizeof mapped - 1, strlen(peer->address) - sizeof mapped + 2);
  peer->loopback = !strcmp(peer->address, "::1") || !strncmp(peer->address, "127.", 4);
}

static void welcome(struct listener *listener, int fd, const struct sockaddr_storage *from) {
  struct peer *peer = calloc(1, sizeof *peer);
  int one = 1;
  if (!peer) {
    close(fd);
    return;
  }
  peer->listener = listener;
  peer->fd = fd;
  peer->since = uv_hrtime();
  set_address(peer, from);
  if (!admission_fits_address(listener, peer->address, peer->loopback)) {
    close(fd);
    free(peer);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  rt_list_add(&listener->peers, &peer->link);
  peer_count(peer, 1);
  peer_hand_to_lws(peer);
}

static void go_on_accepting(struct listener *listener);

static void on_pause_over(uv_timer_t *timer) {
  go_on_accepting(timer->data);
}

static void pause_accepting(struct listener *listener) {
  listener->paused = true;
  uv_poll_stop(&listener->poll);
  uv_timer_start(&listener->timer, on_pause_over, PAUSE_MS, 0);
}

static bool passes(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

/* Only for somebody who is there. false: accept nobody now. */
static bool make_room(struct listener *listener) {
  struct pollfd waiting = {listener->fd, POLLIN, 0};
  if (poll(&waiting, 1, 0) != 1)
    return false;
  if (admission_give_up(listener, NULL))
    return true;
  pause_accepting(listener);
  return false;
}

static void on_connecting(uv_poll_t *handle, int status, int events) {
  struct listener *listener = handle->data;
  (void)status;
  (void)events;
  for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof from;
    int fd;
    if (listener->others >= listener->rules.max_http && !make_room(listener))
      return;
    fd = accept4(listener->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      welcome(listener, fd, &from);
    } else if (!passes(errno)) {
      if (errno != EAGAIN)
        pause_accepting(listener);
      return;
    }
  }
}

static void go_on_accepting(struct listener *listener) {
  listener->paused = false;
  uv_timer_stop(&listener->timer);
  if (uv_poll_start(&listener->poll, UV_READABLE, on_connecting) != 0)
    pause_accepting(listener);
}

/* ---- the listening socket ------------------------------------------------------------------------ */

static bool read_address(const char *host, int port, struct sockaddr_storage *address, socklen_t *length) {
  if (!strcmp(host, "localhost"))
    host = "127.0.0.1";
  memset(address, 0, sizeof *address);
  *length = sizeof(struct sockaddr_in);
  if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)address) == 0)
    return true;
  *length = sizeof(struct sockaddr_in6);
  return uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)address) == 0;
}

static int bound_port(int fd) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  memset(&address, 0, sizeof address);
  if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
    return 0;
  return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                             : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* Returns a descriptor, or -1 with errno. */
static int open_socket(const struct sockaddr_storage *address, socklen_t length) {
  int one = 1, error;
  int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (const struct sockaddr *)address, length) == 0 && listen(fd, BACKLOG) == 0)
    return fd;
  error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool start_listening(struct listener *listener, const char *host, int port, struct reason *reason) {
  struct sockaddr_storage address;
  socklen_t length;
  uv_loop_t *loop = rt_loop(listener->server->rt);
  if (!read_address(host, port, &address, &length)) {
    reason_set(reason, ERR_IO, 0, "cannot listen on %s:%d: not an IP address", host, port);
    return false;
  }
  listener->fd = open_socket(&address, length);
  if (listener->fd < 0 || uv_poll_init(loop, &listener->poll, listener->fd) != 0) {
    reason_set(reason, ERR_IO, 0, "cannot listen on %s:%d: %s", host, port, strerror(errno));
    if (listener->fd >= 0)
      close(listener->fd);
    return false;
  }
  listener->port = bound_port(listener->fd);
  uv_timer_init(loop, &listener->timer);
  listener->poll.data = listener->timer.data = listener;
  listener->handles = 2;
  go_on_accepting(listener);
  return true;
}

/* ---- closing ------------------------------------------------------------------------------------- */

struct close_op {
  struct op op;
  struct rt_list link;
};

static void listener_free(struct listener *listener) {
  assert(!listener->handles && !listener->finished.queued);
  SSL_CTX_free(listener->tls);
  free(listener->paths);
  free(listener);
}

/* The last handle is closed. Without a server the runtime has closed meanwhile. */
static void on_handle_closed(uv_handle_t *handle) {
  struct listener *listener = handle->data;
  if (--listener->handles)
    return;
  if (listener->server) {
    rt_enqueue(listener->server->rt, &listener->finished);
  } else {
    listener_free(listener);
  }
}

static void leave_server(struct listener *listener) {
  assert(listener->link.next && listener->server->count > 0 && *listener->box == listener);
  rt_list_remove(&listener->link);
  listener->server->count--;
  *listener->box = NULL;
}

static void run_finished(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct listener *listener = container_of(job, struct listener, finished);
  assert(listener->closing && listener->peers.next == &listener->peers && !listener->evictions.queued);
  rt_unanchor(L, listener->box);
  leave_server(listener);
  while (listener->closers.next != &listener->closers) {
    struct rt_list *link = listener->closers.next;
    rt_list_remove(link);
    op_settle(&container_of(link, struct close_op, link)->op);
  }
  rt_unref(rt);
  listener_free(listener);
  lua_pop(L, 1); /* the userdata */
}

static void check_finished(struct listener *listener) {
  if (!listener->closing || listener->peers.next != &listener->peers)
    return;
  if (!uv_is_closing((uv_handle_t *)&listener->timer))
    uv_close((uv_handle_t *)&listener->timer, on_handle_closed);
}

static void peer_gone(struct listener *listener) {
  if (listener->paused && !listener->closing)
    go_on_accepting(listener);
  check_finished(listener);
}

static void stop_listening(struct listener *listener) {
  assert(!listener->closing && listener->handles == 2);
  listener->closing = true;
  uv_timer_stop(&listener->timer);
  uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
  close(listener->fd);
}

/* Ask a peer to go, or make it go. */
static void dismiss(struct peer *peer, bool abrupt) {
  if (!peer->is_socket) {
    if (abrupt || !peer_is_busy(peer))
      peer_drop(peer);
  } else if (abrupt) {
    peer->dropped = true;
    wire_drop(&peer->wire, ERR_CLOSED, "the listener was closed");
  } else {
    wire_close(&peer->wire, WIRE_GOING_AWAY, "");
  }
}

static void dismiss_all(struct listener *listener, bool abrupt) {
  struct rt_list *link, *next;
  for (link = listener->peers.next; link != &listener->peers; link = next) {
    next = link->next;
    dismiss(container_of(link, struct peer, link), abrupt);
  }
}

static void on_close_deadline(uv_timer_t *timer) {
  dismiss_all(timer->data, true);
}

static void begin_closing(struct listener *listener, bool abrupt) {
  if (!listener->closing) {
    stop_listening(listener);
    uv_timer_start(&listener->timer, on_close_deadline, CLOSE_MS, 0);
  }
  dismiss_all(listener, abrupt);
  check_finished(listener);
}

/* The runtime closes: lws will close the connections, Lua is told nothing more. */
static void abandon(struct listener *listener) {
  struct rt_list *link, *next;
  if (!listener->closing)
    stop_listening(listener);
  listener->closing = false; /* keeps check_finished still */
  listener->paused = false;
  for (link = listener->peers.next; link != &listener->peers; link = next) {
    struct peer *peer = container_of(link, struct peer, link);
    next = link->next;
    if (peer->is_socket)
      connection_forget(peer);
    peer_free(peer);
  }
  leave_server(listener);
  rt_dequeue(listener->server->rt, &listener->finished);
  rt_dequeue(listener->server->rt, &listener->evictions);
  listener->server = NULL;
  if (!listener->handles) {
    listener_free(listener);
  } else if (!uv_is_closing((uv_handle_t *)&listener->timer)) {
    uv_close((uv_handle_t *)&listener->timer, on_handle_closed);
  }
}

/* ---- what Lua calls ------------------------------------------------------------------------------ */

static struct listener *new_listener(struct server *server, const struct listen_options *options,
                                     struct reason *reason) {
  struct listener *listener = calloc(1, sizeof *listener);
  reason_set(reason, ERR_NOMEM, 0, "out of memory");
  if (!listener)
    return NULL;
  listener->paths = malloc(options->paths_length);
  if (listener->paths)
    memcpy(listener->paths, options->paths, options->paths_length);
  listener->server = server;
  listener->rules = options->rules;
  listener->peer_gone = peer_gone;
  listener->finished.run = run_finished;
  rt_list_init(&listener->peers);
  rt_list_init(&listener->closers);
  if (listener->paths && options->cert_file)
    listener->tls = server_tls_new(options->cert_file, options->key_file, reason);
  if (listener->paths && (listener->tls || !options->cert_file) &&
      start_listening(listener, options->host, options->port, reason))
    return listener;
  listener_free(listener);
  return NULL;
}

static int l_listen(lua_State *L) {
  struct listen_options options;
  struct reason reason = {0};
  struct server *server;
  struct listener *listener, **box;
  int at;
  lua_settop(L, 1);
  listen_options_read(L, &options);
  box = lua_newuserdatauv(L, sizeof *box, CONNECTIONS);
  *box = NULL;
  at = lua_gettop(L);
  luaL_setmetatable(L, LISTENER_T);
  listen_options_read_handlers(L, at);
  server = get_server(rt_get(L));
  if (!server && explain_shortage(SETUP_DESCRIPTORS))
    return fail(L, ERR_IO, EMFILE, "no file descriptor is left for a server: raise the limit (ulimit -n)");
  if (!server)
    return fail(L, ERR_NOMEM, 0, "cannot start libwebsockets: is its libuv plugin installed?");
  rt_anchor(L, box, at); /* this raises for lack of memory, nothing below does */
  listener = new_listener(server, &options, &reason);
  if (!listener) {
    rt_unanchor(L, box);
    return fail_reason(L, &reason);
  }
  *box = listener;
  listener->box = box;
  listener->asks = lua_getiuservalue(L, at, ON_HEAD) != LUA_TNIL;
  rt_list_add(&server->listeners, &listener->link);
  server->count++;
  rt_ref(server->rt);
  lua_pushvalue(L, at);
  return 1;
}

static struct listener *check_listener(lua_State *L) {
  return *(struct listener **)luaL_checkudata(L, 1, LISTENER_T);
}

static int l_port(lua_State *L) {
  const struct listener *listener = check_listener(L);
  if (!listener)
    return luaL_error(L, "the listener is closed");
  lua_pushinteger(L, listener->port);
  return 1;
}

static int l_count(lua_State *L) {
  const struct listener *listener = check_listener(L);
  lua_pushinteger(L, listener ? listener->sockets : 0);
  return 1;
}

static int l_refuse_upgrades(lua_State *L) {
  struct listener *listener = check_listener(L);
  lua_Integer status = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, !status || (status >= 300 && status < 600), 2,
                "an HTTP status, 300 to 599, or nil expected");
  if (listener)
    listener->refuse_status = (int)status;
  return 0;
}

static int close_push(lua_State *L, struct op *op) {
  (void)L;
  (void)op;
  return 0;
}

static void close_cancel(struct op *op) {
  rt_list_remove(&((struct close_op *)op)->link);
}

static int l_close(lua_State *L) {
  struct listener *listener = check_listener(L);
  bool abrupt = lua_toboolean(L, 2);
  struct close_op *close;
  if (!listener)
    return 0;
  close = op_new(L, sizeof *close, NULL, "a listener to close");
  close->op.push = close_push;
  close->op.cancel = close_cancel;
  rt_list_add(&listener->closers, &close->link);
  begin_closing(listener, abrupt);
  return op_wait(L, &close->op);
}

static int l_tostring(lua_State *L) {
  const struct listener *listener = check_listener(L);
  if (listener) {
    lua_pushfstring(L, "Listener (port %d)", listener->port);
  } else {
    lua_pushliteral(L, "Listener (closed)");
  }
  return 1;
}

void listener_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"port", l_port},
                                     {"count", l_count},
                                     {"refuse_upgrades", l_refuse_upgrades},
                                     {"close", l_close},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__tostring", l_tostring}, {NULL, NULL}};
  rt_new_type(L, LISTENER_T, methods, metamethods);
  request_open(L);
  connection_open(L);
  lua_pushcfunction(L, l_listen);
  lua_setfield(L, -2, "listen");
}
