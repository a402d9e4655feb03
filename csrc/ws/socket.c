/*
 * ws/socket.c - a WebSocket client connection, from the name lookup to the end.
 * Lua sees nothing of it directly: session.c and rawsocket.c own sockets.
 * Owns: the lookup, the tunnel until lws is in it, the lws connection until its end, the wire; vhosts.
 * Loop thread only. Callbacks of lws note what happened and queue a job; the job acts.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* memrchr */ /* NOLINT(bugprone-reserved-identifier) */
#include "ws/socket.h"

#include "base/explain.h"
#include "base/host.h"
#include "base/retry_after.h"
#include "base/trust.h"
#include "base/version.h"
#include "loop/lookup.h"
#include "ws/handshake.h"
#include "ws/received.h"
#include "ws/tunnel.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_ADDRESSES = 8 };

struct stamp {
  struct timespec changed;
  off_t size;
  ino_t number;
};

enum phase { RESOLVING, CONNECTING, OPEN, GONE };

/* A vhost of lws holds whom TLS trusts; connections to the same server with the same options share it. */
struct vhost {
  struct vhost *next;
  struct lws_vhost *vhost;
  char *target;               /* the rest is for TLS; NULL: without */
  struct tls_options options; /* copied */
  struct trust *trust;
  SSL_CTX *context;
  struct stamp stamp; /* of ca_file when it was loaded */
};

struct sockets { /* the slot */
  struct rt_list list;
  long count;
  struct vhost *vhosts;
  struct rt_list tunnels;
};

struct socket {
  struct rt_list link;
  struct sockets *slot;
  struct wire wire;
  enum phase phase;
  const struct socket_ops *ops;
  void *owner;
  struct socket_options options;
  char chosen[HANDSHAKE_FIELD];  /* subprotocol of the server */
  char accept[HANDSHAKE_ACCEPT]; /* what the server has to make of our key */
  struct buffer head;            /* after an interim answer: the next one */
  char target[300];              /* host and port, as HTTP spells them */
  struct vhost *vhost;           /* once lws connects */
  struct proxy proxy;
  struct tunnel *tunnel; /* until lws is connected to it */

  struct lookup *lookup;               /* NULL: not resolving */
  char (*addresses)[INET6_ADDRSTRLEN]; /* MOST_ADDRESSES, until the connection is open */
  int address_count, next_address;

  struct lws *wsi; /* while connecting */
  bool attempt_failed, established;
  bool freed; /* by its owner; the memory goes with the next drain */
  struct rt_job job;
  struct rt_timer timer; /* connect timeout */
};

/* ---- callbacks of lws ---------------------------------------------------------------------------- */

static void attempt_failed(struct socket *socket, struct lws *wsi) {
  if (wsi)
    lws_set_opaque_user_data(wsi, NULL); /* what lws still says of it comes too late */
  if (socket->phase != CONNECTING || socket->established)
    return;
  socket->attempt_failed = true;
  socket->wsi = NULL;
  rt_enqueue(socket->wire.rt, &socket->job);
}

/* lws closes a socket that failed to connect without asking why; the socket still knows. */
static bool explain_by_errno(struct socket *socket, struct lws *wsi) {
  int error = 0;
  socklen_t size = sizeof error;
  if (!wsi || getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_ERROR, &error, &size) || !error)
    return false;
  explain_connect(&socket->wire.reason, socket->target, error);
  return true;
}

/* lws does not say whether a head was too long for it or no head; the bytes that came do. */
static bool head_too_long(struct lws *wsi, const char *words) {
  return wsi && strstr(words, "parsing header") && received_bytes(lws_get_socket_fd(wsi)) > WIRE_MOST_HEAD;
}

static void explain_head(struct socket *socket, struct lws *wsi) {
  bool came = wsi && received_bytes(lws_get_socket_fd(wsi));
  reason_set(&socket->wire.reason, ERR_PROTOCOL, 0,
             "%s answered the WebSocket handshake with what is not HTTP%s", socket->target,
             came ? "" : ", or with too long a head");
}

static void explain_long_head(struct socket *socket) {
  reason_set(&socket->wire.reason, ERR_LIMIT, 0,
             "%.60s answered the WebSocket handshake with a head of more than %d bytes: let it set fewer "
             "headers or shorter cookies",
             socket->target, WIRE_MOST_HEAD);
}

/* Where a redirect leads, without a password and a query, which are nobody's business. */
static int place_of(const char **location) {
  const char *at = strstr(*location, "://"), *user;
  size_t length = strcspn(*location, "?#");
  at = at && at < *location + length ? at + 3 : *location;
  user = memrchr(at, '@', strcspn(at, "/?#"));
  length -= user ? (size_t)(user + 1 - *location) : 0;
  *location = user ? user + 1 : *location;
  return (int)(length < 80 ? length : 80);
}

static void explain_status(struct socket *socket, const char *head, size_t length, int status) {
  struct reason *reason = &socket->wire.reason;
  char value[HANDSHAKE_FIELD];
  const char *location = value;
  bool leads = status / 100 == 3 && handshake_field(head, length, "Location", value);
  int shown = leads ? place_of(&location) : 0;
  reason_set(reason, ERR_HTTP, status, "%.80s answered the WebSocket handshake with HTTP status %d%s%.*s",
             socket->target, status, leads ? ", which leads to " : "", shown, leads ? location : "");
  reason->retry_after = retry_after(handshake_field(head, length, "Retry-After", value) ? value : NULL,
                                    rt_now(socket->wire.rt));
}

/* The server wants a certificate of ours: its TLS ends the handshake, or the connection after it, or the web
 * server behind it refuses. */
static bool wants_certificate(const struct socket *socket, int status) {
  return socket->vhost && trust_was_asked(socket->vhost->trust) &&
         (status <= 0 || status == 400 || status == 403);
}

/* lws tells why in words only; sort the words we know. */
static void explain(struct socket *socket, struct lws *wsi, const char *words) {
  struct reason *reason = &socket->wire.reason;
  const char *target = socket->target, *verdict = trust_verdict(wsi ? lws_get_ssl(wsi) : NULL);
  int status = wsi ? (int)lws_http_client_http_response(wsi) : 0;
  if (reason->err != ERR_NONE)
    return;
  if (verdict)
    reason_set(reason, ERR_TLS, 0, "TLS with %s failed: %s", target, verdict);
  else if (head_too_long(wsi, words)) /* also where a certificate was asked for, and not needed */
    explain_long_head(socket);
  else if (wants_certificate(socket, status))
    explain_client_certificate(reason, target);
  else if (explain_by_errno(socket, wsi))
    return;
  else if (status > 0 && status != 101)
    explain_status(socket, "", 0, status);
  else if (strstr(words, "ssl") || strstr(words, "SSL") || strstr(words, "tls"))
    reason_set(reason, ERR_TLS, 0, "TLS with %.80s failed: %s", target,
               explain_tls(socket->vhost ? trust_failure(socket->vhost->trust) : 0, words));
  else if (strstr(words, "conn fail") || strstr(words, "connect"))
    reason_set(reason, ERR_REFUSED, 0, "cannot connect to %s", target);
  else if (!strncmp(words, "HS:", 3))
    reason_set(reason, ERR_PROTOCOL, 0, "%s does not answer as a WebSocket server: %s", target, words + 3);
  else if (strstr(words, "parsing header"))
    explain_head(socket, wsi);
  else
    reason_set(reason, ERR_DISCONNECTED, 0, "%s closed the connection during the handshake", target);
}

/* ---- the handshake ------------------------------------------------------------------------------- */

static void on_established(struct socket *socket, struct lws *wsi) {
  assert(socket->phase == CONNECTING && !socket->attempt_failed && !socket->tunnel);
  socket->established = true;
  socket->wsi = NULL;
  wire_open(&socket->wire, wsi);
  rt_enqueue(socket->wire.rt, &socket->job);
}

/* "Name;" stands for an empty value, as in curl. */
static bool add_line(char **at, char *end, const char *line) {
  size_t length = strlen(line), name = strcspn(line, ":;");
  if ((size_t)(end - *at) < length + sizeof "\r\n")
    return false;
  memcpy(*at, line, length);
  (*at)[name] = ':';
  memcpy(*at + length, "\r\n", 2);
  *at += length + 2;
  return true;
}

/* A new key for each attempt. */
static bool add_key(struct socket *socket, char **at, char *end) {
  unsigned char nonce[HANDSHAKE_NONCE];
  char key[HANDSHAKE_KEY], line[sizeof "Sec-WebSocket-Key: " + HANDSHAKE_KEY];
  rt_random(socket->wire.rt, nonce, sizeof nonce);
  handshake_key(nonce, key);
  snprintf(line, sizeof line, "Sec-WebSocket-Key: %s", key);
  return handshake_accept(key, socket->accept) && add_line(at, end, line);
}

/* lws asks for the end of the connection after its answer. */
static void take_back_close(char **at) {
  static const char close[] = "connection: close\r\n";
  if (!memcmp(*at - strlen(close), close, strlen(close)))
    *at -= strlen(close);
}

static bool add_upgrade(struct socket *socket, char **at, char *end) {
  char line[HANDSHAKE_FIELD];
  const char *offered = socket->options.subprotocol;
  take_back_close(at);
  if (!add_line(at, end, "Upgrade: websocket") || !add_line(at, end, "Connection: Upgrade") ||
      !add_line(at, end, "Sec-WebSocket-Version: 13") || !add_key(socket, at, end))
    return false;
  return !offered || (snprintf(line, sizeof line, "Sec-WebSocket-Protocol: %s", offered) < (int)sizeof line &&
                      add_line(at, end, line));
}

/* In place of the end of the head, which lws writes afterwards. */
static int add_headers(struct socket *socket, char **at, size_t room) {
  const struct headers *headers = socket->options.headers;
  char *end = *at + room;
  bool named = false, fits = add_upgrade(socket, at, end);
  for (size_t i = 0; i < headers->count; i++) {
    named = named || header_value(headers->lines[i], "User-Agent");
    fits = fits && add_line(at, end, headers->lines[i]);
  }
  if (fits && (named || add_line(at, end, "User-Agent: " TRUECONF_AGENT)))
    return 0;
  reason_set(&socket->wire.reason, ERR_LIMIT, 0, "the option 'headers' is too long for a handshake");
  return -1;
}

/* The fields of a head that lws has read, as text again. false: no memory. */
static bool write_head(struct buffer *head, struct lws *wsi) {
  static const struct {
    const char *name;
    enum lws_token_indexes token;
  } wanted[] = {{"Upgrade", WSI_TOKEN_UPGRADE},
                {"Connection", WSI_TOKEN_CONNECTION},
                {"Sec-WebSocket-Accept", WSI_TOKEN_ACCEPT},
                {"Sec-WebSocket-Protocol", WSI_TOKEN_PROTOCOL},
                {"Sec-WebSocket-Extensions", WSI_TOKEN_EXTENSIONS},
                {"Content-Length", WSI_TOKEN_HTTP_CONTENT_LENGTH},
                {"Transfer-Encoding", WSI_TOKEN_HTTP_TRANSFER_ENCODING},
                {"Location", WSI_TOKEN_HTTP_LOCATION},
                {"Retry-After", WSI_TOKEN_HTTP_RETRY_AFTER}};
  char value[HANDSHAKE_FIELD];
  bool fits = buffer_printf(head, "HTTP/1.%d %03u \r\n", lws_hdr_total_length(wsi, WSI_TOKEN_HTTP) > 0,
                            lws_http_client_http_response(wsi));
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    if (lws_hdr_total_length(wsi, wanted[i].token) <= 0)
      continue;
    if (lws_hdr_copy(wsi, value, sizeof value, wanted[i].token) < 0)
      strcpy(value, "(too long)");
    fits = fits && buffer_printf(head, "%s: %s\r\n", wanted[i].name, value);
  }
  return fits && buffer_puts(head, "\r\n");
}

static bool is_interim(int status) {
  return status / 100 == 1 && status != 101;
}

/* The server's final answer. -1: it does not let us in. */
static int on_answer(struct socket *socket, struct lws *wsi, const char *head, size_t length) {
  struct reason *reason = &socket->wire.reason;
  int status = handshake_status(head, length);
  const char *wrong = NULL;
  if (status == 101)
    wrong = handshake_check(head, length, socket->accept, socket->options.subprotocol, socket->chosen);
  else if (!status)
    wrong = "the head of its answer is not that of HTTP";
  else if (wants_certificate(socket, status))
    explain_client_certificate(reason, socket->target);
  else
    explain_status(socket, head, length, status);
  if (wrong)
    reason_set(reason, ERR_PROTOCOL, 0, "%.80s does not answer as a WebSocket server: %s", socket->target,
               wrong);
  if (status != 101 || wrong)
    return -1;
  on_established(socket, wsi);
  return 0;
}

/* The first head, which lws has read. After an interim answer, lws takes the next head for its body. */
static int on_first_answer(struct socket *socket, struct lws *wsi) {
  struct buffer head = {0};
  bool framed = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 ||
                lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
  int result = -1;
  if (!write_head(&head, wsi))
    reason_set(&socket->wire.reason, ERR_NOMEM, 0, "no memory for a connection");
  else if (!is_interim(handshake_status(head.data, head.length)))
    result = on_answer(socket, wsi, head.data, head.length);
  else if (framed)
    reason_set(&socket->wire.reason, ERR_PROTOCOL, 0, "%.80s sent an interim answer with a body",
               socket->target);
  else
    result = 0;
  buffer_free(&head);
  return result;
}

/* Bytes after an interim answer: others of them, the final one, and then frames. */
static int on_further_answers(struct socket *socket, struct lws *wsi, const void *in, size_t length) {
  struct buffer *head = &socket->head;
  size_t size;
  int result;
  if (!buffer_append(head, in, length)) {
    reason_set(&socket->wire.reason, ERR_NOMEM, 0, "no memory for a connection");
    return -1;
  }
  while ((size = handshake_head(head->data, head->length)) && is_interim(handshake_status(head->data, size)))
    buffer_consume(head, size);
  if ((size ? size : head->length) > WIRE_MOST_HEAD) {
    explain_long_head(socket);
    return -1;
  }
  if (!size)
    return 0;
  result = on_answer(socket, wsi, head->data, size);
  if (!result)
    wire_feed(&socket->wire, head->data + size, head->length - size);
  buffer_free(head);
  return result;
}

static int on_handshake(struct socket *socket, struct lws *wsi, enum lws_callback_reasons why, void *in,
                        size_t length) {
  char *theirs = NULL;
  int none = 0;
  switch (why) {
  case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    return add_headers(socket, in, length);
  case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
    return on_first_answer(socket, wsi);
  case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
    return lws_http_client_read(wsi, &theirs, &none) ? -1 : 0; /* calls with the next */
  case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
    return on_further_answers(socket, wsi, in, length);
  case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
    return -1;
  case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    explain(socket, wsi, in ? in : "");
    attempt_failed(socket, wsi);
    return 0;
  case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
  case LWS_CALLBACK_WSI_DESTROY: /* the final net */
    explain(socket, NULL, "");
    attempt_failed(socket, wsi);
    return 0;
  default:
    return 0;
  }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t length) {
  struct socket *socket = wsi ? lws_get_opaque_user_data(wsi) : NULL;
  (void)user;
  if (!socket)
    return 0;
  if (socket->established)
    return wire_on(&socket->wire, wsi, why, in, length);
  return on_handshake(socket, wsi, why, in, length);
}

/* ---- vhosts -------------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

static bool vhost_fits(const struct vhost *vhost, const struct socket *socket) {
  const struct tls_options *tls = socket->options.tls;
  if (!socket->options.url->tls || !vhost->target)
    return !socket->options.url->tls && !vhost->target;
  return same(vhost->target, socket->target) && vhost->options.verify == tls->verify &&
         same(vhost->options.ca_file, tls->ca_file) && same(vhost->options.pin, tls->pin);
}

/* Load the authorities, again when the file is another one. */
static bool vhost_load(struct vhost *vhost, struct reason *reason) {
  const char *path = vhost->options.ca_file;
  struct stat info = {0};
  struct stamp stamp;
  memset(&stamp, 0, sizeof stamp);
  if (path && !stat(path, &info))
    stamp = (struct stamp){info.st_mtim, info.st_size, info.st_ino};
  if (vhost->vhost && !memcmp(&stamp, &vhost->stamp, sizeof stamp) && (!path || info.st_ino))
    return true;
  if (!trust_load(vhost->context, path, reason))
    return false; /* the next attempt must not go by those of before */
  vhost->stamp = stamp;
  return true;
}

static bool vhost_set_trust(struct vhost *vhost, const struct socket *socket, struct reason *reason) {
  const struct tls_options *tls = socket->options.tls;
  vhost->target = strdup(socket->target);
  vhost->options.verify = tls->verify;
  vhost->options.ca_file = tls->ca_file ? strdup(tls->ca_file) : NULL;
  vhost->options.pin = tls->pin ? strdup(tls->pin) : NULL;
  vhost->trust = trust_new();
  vhost->context = SSL_CTX_new(TLS_client_method());
  return vhost->target && vhost->trust && vhost->context && !vhost->options.ca_file == !tls->ca_file &&
         !vhost->options.pin == !tls->pin &&
         trust_verify(vhost->trust, vhost->context, tls, socket->options.url->host) &&
         vhost_load(vhost, reason);
}

/* lws must have let go of it. */
static void vhost_free(struct vhost *vhost) {
  SSL_CTX_free(vhost->context);
  trust_free(vhost->trust);
  tls_options_free(&vhost->options);
  free(vhost->target);
  free(vhost);
}

static struct vhost *vhost_new(const struct socket *socket, struct reason *reason) {
  static const struct lws_protocols protocols[] = {{"json.v1", on_lws, 0, 0, 0, NULL, WIRE_CHUNK},
                                                   {NULL, NULL, 0, 0, 0, NULL, 0}};
  struct lws_context *context = wire_context(socket->wire.rt);
  struct lws_context_creation_info info;
  bool tls = socket->options.url->tls;
  struct vhost *vhost = context ? calloc(1, sizeof *vhost) : NULL;
  explain_setup(reason, socket->target); /* should it fail */
  if (!vhost)
    return NULL;
  if (tls && !vhost_set_trust(vhost, socket, reason)) {
    vhost_free(vhost);
    return NULL;
  }
  wire_vhost_info(&info, tls);
  info.vhost_name = "client"; /* lws keeps the pointer */
  info.protocols = protocols;
  info.provided_client_ssl_ctx = vhost->context;
  vhost->vhost = lws_create_vhost(context, &info);
  if (vhost->vhost)
    return vhost;
  vhost_free(vhost);
  return NULL;
}

/* NULL: `reason` tells why. */
static struct vhost *vhost_for(const struct socket *socket, struct reason *reason) {
  struct sockets *slot = socket->slot;
  struct vhost *vhost = slot->vhosts;
  while (vhost && !vhost_fits(vhost, socket))
    vhost = vhost->next;
  if (vhost)
    return !vhost->target || vhost_load(vhost, reason) ? vhost : NULL;
  vhost = vhost_new(socket, reason);
  if (!vhost)
    return NULL;
  vhost->next = slot->vhosts;
  slot->vhosts = vhost;
  return vhost;
}

/* ---- connecting ---------------------------------------------------------------------------------- */

static void finish_connecting(struct socket *socket) {
  assert(socket->addresses && (socket->phase == RESOLVING || socket->phase == CONNECTING));
  free(socket->addresses);
  socket->addresses = NULL;
  buffer_free(&socket->head);
  rt_timer_stop(socket->wire.rt, &socket->timer);
  rt_underway(socket->wire.rt, -1);
}

static void fail_connecting(struct socket *socket, lua_State *L) {
  finish_connecting(socket);
  socket->phase = GONE;
  socket->ops->gone(socket, L);
}

static void write_target(const struct url *url, char *text, size_t size, bool with_port) {
  const char *open = strchr(url->host, ':') ? "[" : "", *close = *open ? "]" : "";
  if (with_port)
    snprintf(text, size, "%s%s%s:%d", open, url->host, close, url->port);
  else
    snprintf(text, size, "%s%s%s", open, url->host, close);
}

static int flags_of(const struct socket_options *o) {
  int verified = LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK; /* trust.c does it */
  return LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (o->url->tls ? verified : 0);
}

/* lws does not tell that it got no socket, and of what it tried to make one. */
static int no_socket(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), number = errno;
  if (fd >= 0)
    close(fd);
  return fd < 0 && (number == EMFILE || number == ENFILE) ? number : 0;
}

/* Have lws connect to an address, or to our end of a tunnel. */
static void connect_lws(struct socket *socket, const char *address) {
  const struct url *url = socket->options.url;
  struct lws_client_connect_info info;
  struct reason reason;
  char host[300];
  int number;
  socket->vhost = vhost_for(socket, &reason);
  if (!socket->vhost) {
    socket->wire.reason = reason;
    socket->next_address = socket->address_count;
    attempt_failed(socket, NULL);
    return;
  }
  write_target(url, host, sizeof host, url->port != (url->tls ? 443 : 80));
  memset(&info, 0, sizeof info);
  info.context = wire_context(socket->wire.rt);
  info.vhost = socket->vhost->vhost;
  info.address = address;
  info.port = url->port;
  info.path = url->path;
  info.host = host;
  info.method = "GET"; /* the WebSocket is the body of its answer, as far as lws knows */
  info.local_protocol_name = "json.v1";
  info.alpn = "http/1.1";
  info.ssl_connection = flags_of(&socket->options);
  info.ietf_version_or_minus_one = -1;
  info.opaque_user_data = socket;
  info.pwsi = &socket->wsi;
  if ((number = no_socket())) {
    explain_connect(&socket->wire.reason, socket->target, number);
    socket->next_address = socket->address_count;
    attempt_failed(socket, NULL);
    return;
  }
  if (!lws_client_connect_via_info(&info)) {
    explain(socket, NULL, "connect");
    attempt_failed(socket, NULL);
    return;
  }
  lws_cancel_service(info.context); /* lws arms its own timers only when it is serviced */
}

static void on_tunnel(void *owner, const char *name, const struct reason *reason, bool final) {
  struct socket *socket = owner;
  struct tunnel *tunnel = socket->tunnel;
  socket->tunnel = NULL;
  if (name) {
    connect_lws(socket, name);
    if (socket->attempt_failed)
      tunnel_close(tunnel);
    else
      tunnel_leave(tunnel);
    return;
  }
  socket->wire.reason = *reason;
  if (final)
    socket->next_address = socket->address_count;
  attempt_failed(socket, NULL);
}

static void try_address(struct socket *socket) {
  const char *address = socket->addresses[socket->next_address++];
  assert(socket->phase == CONNECTING && !socket->wsi && !socket->tunnel && !socket->established);
  socket->attempt_failed = false;
  buffer_free(&socket->head);
  if (!socket->proxy.used) {
    connect_lws(socket, address);
    return;
  }
  socket->tunnel = tunnel_open(socket->wire.rt, &socket->slot->tunnels, &socket->proxy, address,
                               socket->target, on_tunnel, socket, &socket->wire.reason);
  if (!socket->tunnel)
    attempt_failed(socket, NULL);
}

static void connect_next(struct socket *socket, lua_State *L) {
  if (socket->next_address >= socket->address_count) {
    fail_connecting(socket, L);
    return;
  }
  if (socket->next_address)
    socket->wire.reason.err = ERR_NONE; /* tell why the last one failed */
  try_address(socket);
}

/* The host to look up: the proxy, or the server. */
static const char *wanted_host(const struct socket *socket) {
  return socket->proxy.used ? socket->proxy.host : socket->options.url->name;
}

/* The lookup has failed or could not begin. */
static void cannot_resolve(struct socket *socket, int status) {
  explain_lookup(&socket->wire.reason, wanted_host(socket), socket->proxy.used, uv_strerror(status));
}

static void on_resolved(void *owner, int status, const struct addrinfo *found) {
  struct socket *socket = owner;
  socket->lookup = NULL;
  if (status)
    cannot_resolve(socket, status);
  for (; found && socket->address_count < MOST_ADDRESSES; found = found->ai_next)
    lookup_text(found, socket->addresses[socket->address_count++]);
  rt_enqueue(socket->wire.rt, &socket->job);
}

/* Find the addresses of the host, or of the proxy. A literal address needs no lookup. */
static void resolve(struct socket *socket) {
  const char *host = wanted_host(socket);
  int status;
  if (host_is_address(host)) {
    memcpy(socket->addresses[socket->address_count++], host, strlen(host) + 1); /* an address fits */
    rt_enqueue(socket->wire.rt, &socket->job);
    return;
  }
  status = lookup_start(socket->wire.rt, &socket->lookup, host, on_resolved, socket);
  if (status) {
    cannot_resolve(socket, status);
    rt_enqueue(socket->wire.rt, &socket->job);
  }
}

/* Settle the way; what is wrong with it is told as the end of the first attempt. */
static void begin(struct socket *socket) {
  const struct url *url = socket->options.url;
  const char *option = socket->options.proxy,
             *wrong = proxy_settle(&socket->proxy, option, url->host, url->tls);
  write_target(url, socket->target, sizeof socket->target, true);
  if (!wrong) {
    resolve(socket);
    return;
  }
  explain_proxy_setting(&socket->wire.reason, option, url->tls, wrong);
  rt_enqueue(socket->wire.rt, &socket->job);
}

static void abandon_attempt(struct socket *socket) {
  struct lws *wsi = socket->wsi;
  if (socket->lookup)
    lookup_cancel(socket->lookup);
  if (socket->tunnel)
    tunnel_close(socket->tunnel);
  socket->lookup = NULL;
  socket->tunnel = NULL;
  socket->wsi = NULL;
  if (wsi)
    wire_kill(wsi);
}

/* Give up connecting with the reason given. */
static void give_up(struct socket *socket, enum err err, const char *why) {
  abandon_attempt(socket);
  socket->wire.reason.err = ERR_NONE;
  reason_set(&socket->wire.reason, err, 0, "%s", why);
  socket->next_address = socket->address_count;
  socket->attempt_failed = true;
  rt_enqueue(socket->wire.rt, &socket->job);
}

static void on_connect_timeout(struct rt_timer *timer) {
  struct socket *socket = container_of(timer, struct socket, timer);
  char why[200];
  snprintf(why, sizeof why, "no connection to %.100s:%d within %g s", socket->options.url->host,
           socket->options.url->port, socket->options.connect_timeout);
  give_up(socket, ERR_TIMEOUT, why);
}

static void run_socket(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct socket *socket = container_of(job, struct socket, job);
  (void)rt;
  if (socket->phase == RESOLVING) {
    socket->phase = CONNECTING;
    connect_next(socket, L);
  } else if (socket->phase == CONNECTING && socket->established) {
    finish_connecting(socket);
    if (socket->wire.wsi)
      lws_http_headers_detach(socket->wire.wsi); /* lws would keep the head as long as the connection lives */
    socket->phase = OPEN;
    socket->ops->opened(socket, L);
  } else if (socket->phase == CONNECTING && socket->attempt_failed) {
    connect_next(socket, L);
  }
}

/* ---- the wire's ends ----------------------------------------------------------------------------- */

static struct socket *socket_of(struct wire *wire) {
  return container_of(wire, struct socket, wire);
}

static void at_message(struct wire *wire, lua_State *L, const char *data, size_t length, bool binary) {
  struct socket *socket = socket_of(wire);
  socket->ops->message(socket, L, data, length, binary);
}

static void at_gone(struct wire *wire, lua_State *L) {
  struct socket *socket = socket_of(wire);
  if (socket->phase == CONNECTING)
    finish_connecting(socket); /* opened and lost in one turn */
  socket->phase = GONE;
  socket->ops->gone(socket, L);
}

static void at_drained(struct wire *wire, lua_State *L) {
  struct socket *socket = socket_of(wire);
  if (socket->ops->drained)
    socket->ops->drained(socket, L);
}

/* ---- the slot ------------------------------------------------------------------------------------ */

static void slot_closing(struct rt *rt, void *state) {
  struct sockets *slot = state;
  (void)rt;
  while (slot->list.next != &slot->list) { /* owners have closed theirs; what is left belongs to Lua boxes */
    struct socket *socket = container_of(slot->list.next, struct socket, link);
    rt_list_remove(&socket->link);
    abandon_attempt(socket); // NOLINT(clang-analyzer-unix.Malloc): what was freed has left the list
    if (socket->wire.wsi)
      lws_set_opaque_user_data(socket->wire.wsi, NULL);
    wire_free(&socket->wire);
    rt_timer_stop(rt, &socket->timer);
    rt_dequeue(rt, &socket->job);
    free(socket->addresses);
    buffer_free(&socket->head);
    proxy_free(&socket->proxy);
    socket->addresses = NULL;
    socket->phase = GONE;
    socket->slot = NULL;
    if (socket->freed)
      free(socket);
  }
  while (slot->tunnels.next != &slot->tunnels)
    tunnel_close(tunnel_of(slot->tunnels.next)); // NOLINT(clang-analyzer-unix.Malloc): it leaves the list
}

static void slot_closed(struct rt *rt, void *state) {
  struct sockets *slot = state;
  (void)rt;
  while (slot->vhosts) {
    struct vhost *vhost = slot->vhosts;
    slot->vhosts = vhost->next;
    vhost_free(vhost);
  }
  free(slot);
}

static long slot_count(void *state) {
  return ((struct sockets *)state)->count;
}

static struct sockets *get_slot(struct rt *rt) {
  static const struct rt_slot_ops ops = {slot_closing, slot_closed, "sockets", slot_count};
  struct sockets *slot = rt_slot(rt, SLOT_SOCKET);
  if (slot)
    return slot;
  slot = calloc(1, sizeof *slot);
  if (!slot)
    return NULL;
  rt_list_init(&slot->list);
  rt_list_init(&slot->tunnels);
  rt_set_slot(rt, SLOT_SOCKET, slot, &ops);
  return slot;
}

/* ---- the interface ------------------------------------------------------------------------------- */

struct socket *socket_connect(struct rt *rt, const struct socket_options *options,
                              const struct socket_ops *ops, void *owner) {
  static const struct wire_ops wire_ops = {at_message, at_gone, at_drained};
  struct sockets *slot = get_slot(rt);
  struct socket *socket = slot ? calloc(1, sizeof *socket) : NULL;
  if (socket)
    socket->addresses = calloc(MOST_ADDRESSES, sizeof *socket->addresses);
  if (!socket || !socket->addresses) {
    free(socket);
    return NULL;
  }
  socket->slot = slot;
  socket->ops = ops;
  socket->owner = owner;
  socket->options = *options;
  socket->job.run = run_socket;
  socket->timer.fire = on_connect_timeout;
  wire_init(&socket->wire, rt, true, &wire_ops, options->limits);
  rt_list_add(&slot->list, &socket->link);
  slot->count++;
  rt_underway(rt, 1);
  rt_timer_start(rt, &socket->timer, options->connect_timeout);
  begin(socket);
  return socket;
}

void *socket_owner(const struct socket *socket) {
  return socket->owner;
}
struct wire *socket_wire(struct socket *socket) {
  return &socket->wire;
}
const struct reason *socket_reason(const struct socket *socket) {
  return &socket->wire.reason;
}
const char *socket_protocol(const struct socket *socket) {
  return socket->chosen;
}
bool socket_orphaned(const struct socket *socket) {
  return !socket->slot;
}

void socket_close(struct socket *socket, int code, const char *reason) {
  if (socket->phase == OPEN || socket->established)
    wire_close(&socket->wire, code, reason);
  else if (socket->phase != GONE)
    give_up(socket, ERR_CLOSED, "the connection was given up while it was being made");
}

void socket_drop(struct socket *socket, enum err err, const char *why) {
  if (socket->established)
    wire_drop(&socket->wire, err, why);
  else if (socket->phase != GONE)
    give_up(socket, err, why);
}

static void run_free(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct socket *socket = container_of(job, struct socket, job);
  (void)rt;
  (void)L;
  rt_list_remove(&socket->link);
  free(socket);
}

/* The memory stays for a moment: the wire may be in the middle of handing over what came. */
void socket_free(struct socket *socket) {
  struct rt *rt = socket->wire.rt;
  struct lws *wsi = socket->wire.wsi;
  assert(!socket->freed);
  if (!socket->slot) { /* the runtime was closed under it */
    free(socket);
    return;
  }
  if (socket->phase == RESOLVING || socket->phase == CONNECTING)
    finish_connecting(socket);
  abandon_attempt(socket);
  if (wsi)
    wire_kill(wsi);
  wire_free(&socket->wire);
  proxy_free(&socket->proxy);
  rt_timer_stop(rt, &socket->timer);
  rt_dequeue(rt, &socket->job);
  socket->slot->count--;
  assert(socket->link.next && socket->slot->count >= 0);
  socket->phase = GONE;
  socket->freed = true;
  socket->job.run = run_free;
  rt_enqueue(rt, &socket->job);
}
