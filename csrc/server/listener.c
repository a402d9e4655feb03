/*
 * server/listener.c - an HTTP and WebSocket server: the listening socket, its clients, the end of both.
 * Lua sees: core.listen, Listener (port, count, refuse_upgrades, close).
 * Owns: the listening socket, which lws never sees, so that closing it takes effect at once; struct listener
 * and struct peer. Every accepted connection is handed to lws.
 * Borrows: the context of lws (wire.c).
 * Loop thread only. Callbacks of lws copy and queue; Lua is reached only from the drain point.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* accept4 */ /* NOLINT(bugprone-reserved-identifier) */
#include "server/listener.h"

#include "base/explain.h"

#include "server/peer.h"

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
  PAUSE_MS = 100,         /* of accepting, when connections, descriptors or memory are short */
  CLOSE_MS = 3000,        /* a closing listener waits so long for its clients */
  HEAD_SECONDS = 10,      /* from accepting to the end of the first head, TLS included */
  KEEPALIVE_SECONDS = 60, /* an idle HTTP connection is kept */
};

static const char ANCHOR_KEY; /* only its address matters: [light userdata listener] = Listener */

static void check_finished(struct listener *listener);
static void go_on_accepting(struct listener *listener);

/* ---- peers --------------------------------------------------------------------------------------- */

struct rt *peer_rt(const struct peer *peer) {
  return peer->listener->server->rt;
}

void push_listener(lua_State *L, const struct listener *listener) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHOR_KEY);
  lua_rawgetp(L, -1, listener);
  lua_remove(L, -2);
}

void peer_count(const struct peer *peer, int change) {
  struct listener *listener = peer->listener;
  if (!peer->is_socket)
    listener->others += change;
  else if (peer->apart)
    listener->apart += change;
  else
    listener->sockets += change;
}

void peer_free(struct peer *peer) {
  struct listener *listener = peer->listener;
  if (peer->wsi)
    lws_set_opaque_user_data(peer->wsi, NULL); /* lws may speak of it once more */
  request_forget(peer);
  if (peer->arrival) {
    arrival_forget(peer);
    close(peer->fd);
  }
  rt_list_remove(&peer->link);
  if (!peer->evicted)
    peer_count(peer, -1);
  free(peer);
  if (listener->paused && !listener->closing)
    go_on_accepting(listener);
  check_finished(listener);
}

void peer_drop(struct peer *peer) {
  struct lws *wsi = peer->wsi;
  if (wsi) {
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC); /* without waiting for what is unsent */
    lws_cancel_service(lws_get_context(wsi));                         /* else lws does not see the timeout */
  }
  peer_free(peer);
}

void peer_expect(struct peer *peer, int seconds) {
  peer->due = seconds ? uv_hrtime() + (uint64_t)seconds * 1000000000u : 0;
  if (seconds)
    lws_set_timer_usecs(peer->wsi, (lws_usec_t)seconds * LWS_US_PER_SEC);
}

/* lws 4.1 cannot cancel its timer, so it may come too early. */
static int on_peer_timer(struct peer *peer) {
  uint64_t now = uv_hrtime();
  if (!peer->due)
    return 0;
  if (now >= peer->due)
    return -1;
  lws_set_timer_usecs(peer->wsi, (lws_usec_t)((peer->due - now) / 1000) + 1);
  return 0;
}

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
  case LWS_CALLBACK_HTTP:
  case LWS_CALLBACK_HTTP_BODY:
  case LWS_CALLBACK_HTTP_WRITEABLE:
  case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
  case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
  case LWS_CALLBACK_RECEIVE:
  case LWS_CALLBACK_RAW_ADOPT:
  case LWS_CALLBACK_RAW_RX:
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
  case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    return upgrade_decide(peer, in);
  case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    upgrade_accepted(peer);
    return 0;
  case LWS_CALLBACK_ESTABLISHED:
    connection_established(peer, wsi);
    return 0;
  case LWS_CALLBACK_TIMER:
    return on_peer_timer(peer);
  case LWS_CALLBACK_RAW_ADOPT: /* the method CONNECT makes lws believe so */
  case LWS_CALLBACK_RAW_RX:
    return -1;
  case LWS_CALLBACK_CLOSED_HTTP:
  case LWS_CALLBACK_CLOSED:
  case LWS_CALLBACK_WSI_DESTROY:
    return on_http_gone(peer);
  default:
    return request_on(peer, why, in, length);
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
    abandon((struct listener *)(void *)link);
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
  const struct lws_protocols protocols[] = {
      {server->subprotocol, on_lws, 0, WIRE_RX_BUFFER, 0, NULL, WIRE_CHUNK}, {NULL, NULL, 0, 0, 0, NULL, 0}};
  struct lws_context *context = wire_context(server->rt);
  struct lws_context_creation_info info;
  if (!context)
    return false;
  memcpy(server->subprotocol, "json.v1", sizeof "json.v1");
  wire_vhost_info(&info, true);
  info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
  info.vhost_name = "server";
  info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
  info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS; /* clients show none: do not load 700 KiB of them */
  info.protocols = protocols;                            /* copied */
  info.user = server;
  info.keepalive_timeout = KEEPALIVE_SECONDS;
  server->vhost = lws_create_vhost(context, &info);
  return server->vhost != NULL;
}

static struct server *get_server(struct rt *rt) {
  static const struct rt_room_ops room = {closing, closed, "listeners", count};
  struct server *server = rt_room(rt, ROOM_LISTENER);
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
  rt_set_room(rt, ROOM_LISTENER, server, &room);
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

void peer_hand_to_lws(struct peer *peer) {
  struct server *server = peer->listener->server;
  lws_adopt_desc_t info;
  memset(&info, 0, sizeof info);
  info.vh = server->vhost;
  info.type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (peer->listener->tls ? LWS_ADOPT_ALLOW_SSL : 0);
  info.fd.sockfd = peer->fd;
  info.opaque = peer;
  server->adopting = peer;
  if (lws_adopt_descriptor_vhost_via_info(&info))
    peer_expect(peer, HEAD_SECONDS);
  else if (server->adopting)
    peer_free(peer); /* lws closes the socket */
  server->adopting = NULL;
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
  peer->guarded = listener->guarded_path[0] && listener->tls;
  if (!listener->guarded_path[0] || listener->tls) {
    peer_hand_to_lws(peer);
  } else if (!arrival_begin(peer, HEAD_SECONDS)) {
    close(fd);
    peer_free(peer);
  }
}

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
    if (listener->others >= listener->max_http && !make_room(listener))
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

static void unanchor(lua_State *L, const struct listener *listener) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHOR_KEY);
  lua_pushnil(L);
  lua_rawsetp(L, -2, listener);
  lua_pop(L, 1);
}

static void leave_server(struct listener *listener) {
  rt_list_remove(&listener->link);
  listener->server->count--;
  *listener->box = NULL;
}

static void run_finished(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct listener *listener = (struct listener *)(void *)((char *)job - offsetof(struct listener, finished));
  unanchor(L, listener);
  leave_server(listener);
  while (listener->closers.next != &listener->closers) {
    struct rt_list *link = listener->closers.next;
    rt_list_remove(link);
    op_settle(&((struct close_op *)(void *)((char *)link - offsetof(struct close_op, link)))->op);
  }
  rt_unref(rt);
  listener_free(listener);
}

static void check_finished(struct listener *listener) {
  if (!listener->closing || listener->peers.next != &listener->peers)
    return;
  if (!uv_is_closing((uv_handle_t *)&listener->timer))
    uv_close((uv_handle_t *)&listener->timer, on_handle_closed);
}

static void stop_listening(struct listener *listener) {
  listener->closing = true;
  uv_timer_stop(&listener->timer);
  uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
  close(listener->fd);
}

/* Ask a peer to go, or make it go. */
static void dismiss(struct peer *peer, bool abrupt) {
  if (!peer->is_socket) {
    if (abrupt || !request_pending(peer))
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
    dismiss((struct peer *)(void *)link, abrupt);
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
    struct peer *peer = (struct peer *)(void *)link;
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

/* ---- options ------------------------------------------------------------------------------------- */

static int bad_option(lua_State *L, const char *name, const char *expected) {
  return luaL_error(L, "option '%s': %s expected, got %s", name, expected, luaL_typename(L, -1));
}

static lua_Integer integer_option(lua_State *L, const char *name, lua_Integer least, lua_Integer most,
                                  lua_Integer otherwise) {
  lua_Integer value = otherwise;
  int is_integer = 1;
  if (lua_getfield(L, 1, name) != LUA_TNIL)
    value = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || lua_type(L, -1) == LUA_TSTRING)
    bad_option(L, name, "integer");
  if (value < least || value > most)
    luaL_error(L, "option '%s': %I to %I expected, got %I", name, (LUAI_UACINT)least, (LUAI_UACINT)most,
               (LUAI_UACINT)value);
  lua_pop(L, 1);
  return value;
}

/* The string stays on the stack. */
static const char *string_option(lua_State *L, int table, const char *name, const char *otherwise) {
  size_t length;
  const char *value;
  if (lua_getfield(L, table, name) == LUA_TNIL)
    return otherwise;
  if (lua_type(L, -1) != LUA_TSTRING)
    bad_option(L, name, "string");
  value = lua_tolstring(L, -1, &length);
  if (!length || strlen(value) != length)
    luaL_error(L, "option '%s': it is empty or contains a zero byte", name);
  return value;
}

static double seconds_option(lua_State *L, const char *name, double otherwise) {
  double value = otherwise;
  int is_number = 1;
  if (lua_getfield(L, 1, name) != LUA_TNIL)
    value = lua_tonumberx(L, -1, &is_number);
  if (!is_number || lua_type(L, -1) == LUA_TSTRING)
    bad_option(L, name, "number of seconds");
  if (!(value >= 0 && value < 1e9))
    luaL_error(L, "option '%s': seconds, 0 or more, expected", name);
  lua_pop(L, 1);
  return value;
}

/* Move the handlers into the user values of the Listener at `box`. */
static void read_handlers(lua_State *L, int box) {
  static const char *const names[] = {[ON_HTTP] = "on_http", "on_head", "on_open", "on_frame", "on_close"};
  for (int i = ON_HTTP; i <= ON_CLOSE; i++) {
    if (lua_getfield(L, 1, names[i]) != LUA_TNIL && !lua_isfunction(L, -1))
      bad_option(L, names[i], "function");
    lua_setiuservalue(L, box, i);
  }
  lua_newtable(L);
  lua_setiuservalue(L, box, CONNECTIONS);
}

static bool is_token(const char *text) {
  size_t length = strlen(text);
  return length && length < sizeof((struct listener *)NULL)->subprotocol && !strpbrk(text, " \t,;\r\n");
}

/* Add the path on top, a string or a table with a subprotocol of its own, and pop it. */
static void add_path(lua_State *L, luaL_Buffer *paths) {
  int top = lua_gettop(L);
  const char *path, *own = "";
  if (lua_istable(L, top)) {
    lua_getfield(L, top, "subprotocol");
    own = lua_type(L, -1) == LUA_TSTRING && is_token(lua_tostring(L, -1)) ? lua_tostring(L, -1) : NULL;
    lua_getfield(L, top, "path");
  }
  path = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (path[0] != '/')
    luaL_error(L, "option 'websocket_paths': paths that begin with '/' expected");
  if (!own)
    luaL_error(
        L, "option 'websocket_paths': the subprotocol of a path must be one HTTP token of at most 63 bytes");
  lua_pushfstring(L, "%s%c%s%c", path, 0, own, 0);
  lua_replace(L, top);
  lua_settop(L, top);
  luaL_addvalue(paths);
}

/* Push the paths joined as struct listener keeps them. */
static void push_paths(lua_State *L) {
  luaL_Buffer paths;
  int list;
  if (lua_getfield(L, 1, "websocket_paths") == LUA_TNIL)
    lua_newtable(L);
  if (!lua_istable(L, -1))
    bad_option(L, "websocket_paths", "list of strings");
  list = lua_gettop(L);
  luaL_buffinit(L, &paths);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++)
    add_path(L, &paths);
  lua_pop(L, 1);
  luaL_addchar(&paths, 0);
  luaL_pushresult(&paths);
  lua_remove(L, list);
}

static void read_limits(lua_State *L, struct wire_limits *limits) {
  lua_Integer missed = integer_option(L, "max_missed_pongs", 1, 1000, 3);
  limits->max_frame = (size_t)integer_option(L, "max_frame", 1, 1 << 30, 1 << 20);
  limits->max_unsent = (size_t)integer_option(L, "max_unsent", 1, 1 << 30, 16 << 20);
  limits->ping_interval = seconds_option(L, "ping_interval", 5);
  limits->pong_timeout = limits->ping_interval * (double)missed;
  limits->close_timeout = CLOSE_MS / 1000.0;
}

/* What the options say, in Lua's memory until everything has been checked. */
struct listen_options {
  const char *host, *cert_file, *key_file, *subprotocol, *guarded_path, *paths;
  size_t paths_length, max_body;
  int port;
  long max_connections, max_http, max_per_address, least_rate;
  double slow_after;
  bool admits, spares_loopback, any_subprotocol;
  struct wire_limits limits;
};

static void read_tls(lua_State *L, struct listen_options *options) {
  int table;
  if (lua_getfield(L, 1, "tls") == LUA_TNIL)
    return;
  if (!lua_istable(L, -1))
    bad_option(L, "tls", "table");
  table = lua_gettop(L);
  options->cert_file = string_option(L, table, "cert_file", NULL);
  options->key_file = string_option(L, table, "key_file", NULL);
  if (!options->cert_file || !options->key_file)
    luaL_error(L, "option 'tls': cert_file and key_file expected");
}

static void read_admission(lua_State *L, struct listen_options *options) {
  options->max_http = (long)integer_option(L, "max_http_connections", 1, 1 << 20, 1024);
  options->max_per_address = (long)integer_option(L, "address_connections", 0, 1 << 20, 256);
  options->slow_after = seconds_option(L, "slow_after", 30);
  options->least_rate = (long)integer_option(L, "least_rate", 0, 1 << 30, 1024);
  options->spares_loopback = lua_getfield(L, 1, "address_connections") == LUA_TNIL;
  lua_getfield(L, 1, "admits");
  options->admits = lua_toboolean(L, -1);
  lua_getfield(L, 1, "any_subprotocol");
  options->any_subprotocol = lua_toboolean(L, -1);
  lua_pop(L, 3);
}

static void read_options(lua_State *L, struct listen_options *options) {
  luaL_checktype(L, 1, LUA_TTABLE);
  memset(options, 0, sizeof *options);
  options->host = string_option(L, 1, "host", "127.0.0.1");
  options->port = (int)integer_option(L, "port", 0, 65535, 0);
  options->subprotocol = string_option(L, 1, "subprotocol", "json.v1");
  if (!is_token(options->subprotocol))
    luaL_error(L, "option 'subprotocol': one HTTP token of at most 63 bytes expected");
  options->guarded_path = string_option(L, 1, "guarded_path", "");
  if (strlen(options->guarded_path) >= sizeof((struct listener *)NULL)->guarded_path)
    luaL_error(L, "option 'guarded_path': at most 31 bytes expected");
  options->max_connections = (long)integer_option(L, "max_connections", 0, 1 << 20, 128);
  options->max_body = (size_t)integer_option(L, "max_body", 0, 1 << 30, 1 << 20);
  read_admission(L, options);
  read_limits(L, &options->limits);
  read_tls(L, options);
  push_paths(L);
  options->paths = lua_tolstring(L, -1, &options->paths_length);
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
  memcpy(listener->subprotocol, options->subprotocol, strlen(options->subprotocol) + 1);
  memcpy(listener->guarded_path, options->guarded_path, strlen(options->guarded_path) + 1);
  listener->max_connections = options->max_connections;
  listener->max_body = options->max_body;
  listener->max_http = options->max_http;
  listener->max_per_address = options->max_per_address;
  listener->spares_loopback = options->spares_loopback;
  listener->admits = options->admits;
  listener->any_subprotocol = options->any_subprotocol;
  listener->slow_after = options->slow_after;
  listener->least_rate = options->least_rate;
  listener->limits = options->limits;
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

/* Those left from before a core.close are swept here. */
static void anchor(lua_State *L, int box, const struct listener *listener) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHOR_KEY);
  for (lua_pushnil(L); lua_next(L, -2);) {
    bool stale = !*(struct listener **)lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!stale)
      continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pushvalue(L, box);
  lua_rawsetp(L, -2, listener);
  lua_pop(L, 1);
}

static int l_listen(lua_State *L) {
  struct listen_options options;
  struct reason reason = {0};
  struct server *server;
  struct listener *listener, **box;
  int at;
  lua_settop(L, 1);
  read_options(L, &options);
  box = lua_newuserdatauv(L, sizeof *box, CONNECTIONS);
  *box = NULL;
  at = lua_gettop(L);
  luaL_setmetatable(L, LISTENER_T);
  read_handlers(L, at);
  server = get_server(rt_get(L));
  if (!server && explain_shortage(SETUP_DESCRIPTORS))
    return fail(L, ERR_IO, EMFILE, "no file descriptor is left for a server: raise the limit (ulimit -n)");
  if (!server)
    return fail(L, ERR_NOMEM, 0, "cannot start libwebsockets: is its libuv plugin installed?");
  listener = new_listener(server, &options, &reason);
  if (!listener)
    return fail_reason(L, &reason);
  *box = listener;
  listener->box = box;
  listener->asks = lua_getiuservalue(L, at, ON_HEAD) != LUA_TNIL;
  lua_pop(L, 1);
  rt_list_add(&server->listeners, &listener->link);
  server->count++;
  rt_ref(server->rt);
  anchor(L, at, listener);
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
  rt_list_remove(&((struct close_op *)(void *)op)->link);
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
  luaL_newmetatable(L, LISTENER_T);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ANCHOR_KEY) == LUA_TNIL) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &ANCHOR_KEY);
  }
  lua_pop(L, 1);
  request_open(L);
  connection_open(L);
  lua_pushcfunction(L, l_listen);
  lua_setfield(L, -2, "listen");
}
