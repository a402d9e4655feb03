/*
 * conn.c - the connections of the load server: buffers, TLS, HTTP requests, WebSocket frames.
 * Owns every struct conn. One read fills a connection's buffer, all that is complete in it is handled, and
 * what is to be sent leaves in one write at the end of the turn. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

#define READ_SIZE 65536
#define INPUT_LIMIT (1 << 20)

static const struct conn_ops *conn_ops;
static int epoll_fd, listen_fd;
static SSL_CTX *tls;
static struct conn *touched;
static struct buffer text_frame;

/* Buffers ----------------------------------------------------------------------------------------- */

/* Room for `n` more bytes at the end. */
static char *reserve(struct buffer *b, size_t n) {
  if (b->off > 0 && b->len + n > b->cap) {
    memmove(b->data, b->data + b->off, b->len - b->off);
    b->len -= b->off;
    b->off = 0;
  }
  if (b->len + n > b->cap) {
    b->cap = (b->len + n) * 2;
    b->data = must(realloc(b->data, b->cap));
  }
  return b->data + b->len;
}

void put(struct buffer *b, const char *bytes, size_t n) {
  memcpy(reserve(b, n), bytes, n);
  b->len += n;
}

void put_text(struct buffer *b, const char *text) {
  put(b, text, strlen(text));
}

void put_number(struct buffer *b, uint64_t n, int digits) {
  char text[24], *p = text + sizeof text;
  for (; n > 0 || digits > 0; n /= 10, digits--)
    *--p = (char)('0' + n % 10);
  put(b, p, (size_t)(text + sizeof text - p));
}

/* An idle connection keeps no memory: it would be taken from the caches of a busy one. */
static void drop_used(struct buffer *b) {
  if (b->off < b->len)
    return;
  free(b->data);
  *b = (struct buffer){0};
}

/* Connections ------------------------------------------------------------------------------------- */

/* To be flushed, or freed if dead, at the end of this turn. */
static void touch(struct conn *c) {
  if (c->touched)
    return;
  c->touched = true;
  c->next_touched = touched;
  touched = c;
}

static void die(struct conn *c) {
  c->dead = true;
  touch(c);
}

static void watch(struct conn *c, bool out) {
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
  if (c->wants_out == out)
    return;
  c->wants_out = out;
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Result of an SSL call as read() and write() would tell it: 0 at the end, -1 with EAGAIN when it must wait.
 */
static ssize_t tls_result(struct conn *c, int r) {
  int why;
  if (r > 0)
    return r;
  why = SSL_get_error(c->ssl, r);
  errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
  return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t conn_read(struct conn *c, char *to, size_t n) {
  if (!c->ssl)
    return recv(c->fd, to, n, 0);
  ERR_clear_error();
  return tls_result(c, SSL_read(c->ssl, to, (int)n));
}

static ssize_t conn_write(struct conn *c, const char *from, size_t n) {
  if (!c->ssl)
    return send(c->fd, from, n, MSG_NOSIGNAL);
  ERR_clear_error();
  return tls_result(c, SSL_write(c->ssl, from, (int)n));
}

static void conn_flush(struct conn *c) {
  while (c->out.off < c->out.len) {
    ssize_t n = conn_write(c, c->out.data + c->out.off, c->out.len - c->out.off);
    if (n <= 0) {
      if (errno != EAGAIN)
        c->dead = true;
      watch(c, true);
      return;
    }
    c->out.off += (size_t)n;
  }
  drop_used(&c->out);
  watch(c, false);
}

static void conn_free(struct conn *c) {
  conn_ops->closed(c);
  if (c->ssl)
    SSL_free(c->ssl);
  close(c->fd);
  free(c->in.data);
  free(c->out.data);
  free(c);
}

void conns_flush(void) {
  while (touched) {
    struct conn *c = touched;
    touched = c->next_touched;
    c->touched = false;
    if (!c->dead && c->stage != TLS_HANDSHAKE)
      conn_flush(c);
    if (c->dead)
      conn_free(c);
  }
}

static void conn_accept(void) {
  struct epoll_event e = {.events = EPOLLIN};
  struct conn *c;
  int one = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0)
    return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c = must(calloc(1, sizeof *c));
  c->fd = fd;
  c->stage = HTTP;
  if (tls) {
    c->stage = TLS_HANDSHAKE;
    c->ssl = must(SSL_new(tls));
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
  }
  e.data.ptr = c;
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* Frames out ------------------------------------------------------------------------------------- */

/* Appends a frame's header; the caller appends `len` bytes. */
static void put_header(struct conn *c, int opcode, size_t len) {
  char head[4] = {(char)(0x80 | opcode), (char)len};
  if (len >= 126) {
    head[1] = 126;
    head[2] = (char)(len >> 8);
    head[3] = (char)len;
  }
  put(&c->out, head, len < 126 ? 2 : 4);
  touch(c);
}

struct buffer *frame_begin(void) {
  text_frame.len = text_frame.off = 0;
  return &text_frame;
}

void frame_end(struct conn *c) {
  put_header(c, 1, text_frame.len);
  put(&c->out, text_frame.data, text_frame.len);
}

/* WebSocket in ------------------------------------------------------------------------------------ */

static void unmask(unsigned char *p, size_t n, uint32_t key) {
  uint64_t wide = (uint64_t)key << 32 | key, block;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    memcpy(&block, p + i, 8);
    block ^= wide;
    memcpy(p + i, &block, 8);
  }
  for (; i < n; i++)
    p[i] ^= ((unsigned char *)&key)[i % 4];
}

/* A key may come twice by chance, not again and again. */
static void check_mask(struct conn *c, uint32_t key) {
  c->mask_repeats = key == c->mask ? c->mask_repeats + 1 : 0;
  c->mask = key;
  if (c->mask_repeats > 1)
    violation("one masking key for frame after frame");
}

static void on_frame(struct conn *c, int first, char *p, size_t n) {
  int opcode = first & 15;
  if (opcode == 8) {
    put_header(c, 8, n > 125 ? 0 : n);
    put(&c->out, p, n > 125 ? 0 : n);
    conn_flush(c);
    die(c);
  } else if (opcode == 9) {
    put_header(c, 10, n);
    put(&c->out, p, n);
  } else if (opcode == 1 && (first & 0xf0) == 0x80) {
    conn_ops->text(c, p, n);
  } else if (opcode != 10) {
    violation("frame with first byte 0x%02x: fragmented, binary or with reserved bits", (unsigned)first);
  }
}

/* Takes one frame from `n` bytes at p; returns the bytes used, 0 when more are needed. */
static size_t take_frame(struct conn *c, unsigned char *p, size_t n) {
  size_t len, head = 2;
  uint32_t key;
  if (n < 2)
    return 0;
  len = p[1] & 127;
  if (len == 127)
    fail("a frame with a 64-bit length");
  if (len == 126) {
    head = 4;
    if (n < head)
      return 0;
    len = (size_t)p[2] << 8 | p[3];
  }
  if (!(p[1] & 128)) {
    violation("frame without a mask");
    die(c);
    return 0;
  }
  if (n < head + 4 + len)
    return 0;
  memcpy(&key, p + head, 4);
  check_mask(c, key);
  unmask(p + head + 4, len, key);
  on_frame(c, p[0], (char *)p + head + 4, len);
  return head + 4 + len;
}

/* HTTP in ----------------------------------------------------------------------------------------- */

/* The value of a header line; `head` is the request's head with its first line. */
static struct span header(struct span head, const char *name) {
  const char *p = head.at, *end = head.at + head.len;
  size_t n = strlen(name);
  while ((p = memmem(p, (size_t)(end - p), "\r\n", 2)) != NULL) {
    p += 2;
    if ((size_t)(end - p) > n && p[n] == ':' && strncasecmp(p, name, n) == 0) {
      const char *from = scan_blank(p + n + 1, end), *to = memmem(from, (size_t)(end - from), "\r\n", 2);
      return (struct span){from, to ? (size_t)(to - from) : 0};
    }
  }
  return (struct span){NULL, 0};
}

static void http_reply(struct conn *c, const char *status, const char *body) {
  char text[1024];
  snprintf(text, sizeof text,
           "HTTP/1.1 %s\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n"
           "Content-Length: %zu\r\n\r\n%s",
           status, strlen(body), body);
  put_text(&c->out, text);
  touch(c);
}

static void on_upgrade(struct conn *c, struct span head) {
  struct span key = header(head, "Sec-WebSocket-Key");
  char text[512], joined[128];
  unsigned char digest[SHA_DIGEST_LENGTH], accept[64];
  int n;
  if (key.len != 24 || !span_is(header(head, "Sec-WebSocket-Version"), "13")) {
    violation("upgrade without version 13 or with a key that is not 24 characters long");
    http_reply(c, "400 Bad Request", "{}");
    return;
  }
  n = snprintf(joined, sizeof joined, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)key.len, key.at);
  SHA1((unsigned char *)joined, (size_t)n, digest);
  EVP_EncodeBlock(accept, digest, sizeof digest);
  snprintf(text, sizeof text,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n%s\r\n",
           (char *)accept,
           header(head, "Sec-WebSocket-Protocol").len ? "Sec-WebSocket-Protocol: json.v1\r\n" : "");
  put_text(&c->out, text);
  c->stage = WEBSOCKET;
  touch(c);
}

static void on_token_request(struct conn *c, struct span body) {
  if (!span_is(scan_field(body, "client_id"), "chat_bot") ||
      !span_is(scan_field(body, "grant_type"), "password") || scan_field(body, "username").len == 0 ||
      scan_field(body, "password").len == 0) {
    violation("token request that is not as it must be");
    http_reply(c, "400 Bad Request", "{\"error\":\"invalid_request\"}");
    return;
  }
  http_reply(c, "201 Created",
             "{\"access_token\":\"" TOKEN "\",\"token_type\":\"JWT\",\"expires_in\":31536000,"
             "\"expires_at\":4102444800}");
}

static bool starts_with(struct span s, const char *text) {
  return s.len >= strlen(text) && memcmp(s.at, text, strlen(text)) == 0;
}

/* Takes one request from `n` bytes at p; returns the bytes used, 0 when more are needed. */
static size_t take_request(struct conn *c, const char *p, size_t n) {
  const char *blank = memmem(p, n, "\r\n\r\n", 4);
  struct span head, body;
  if (!blank)
    return 0;
  head = (struct span){p, (size_t)(blank + 4 - p)};
  body = (struct span){blank + 4, scan_number(header(head, "Content-Length"))};
  if (n < head.len + body.len)
    return 0;
  if (starts_with(head, "GET /websocket/chat_bot/ ") || starts_with(head, "GET /websocket/chat_bot "))
    on_upgrade(c, head);
  else if (starts_with(head, "POST /bridge/api/client/v1/oauth/token "))
    on_token_request(c, body);
  else
    http_reply(c, "404 Not Found", "{}");
  return head.len + body.len;
}

/* Input ------------------------------------------------------------------------------------------- */

static void take_input(struct conn *c) {
  size_t used;
  do {
    char *p = c->in.data + c->in.off;
    size_t n = c->in.len - c->in.off;
    used = c->stage == WEBSOCKET ? take_frame(c, (unsigned char *)p, n) : take_request(c, p, n);
    c->in.off += used;
  } while (used > 0 && !c->dead && c->in.off < c->in.len);
  if (c->in.len - c->in.off > INPUT_LIMIT)
    die(c);
  drop_used(&c->in);
}

/* True when the handshake is complete. */
static bool tls_accept(struct conn *c) {
  int r;
  ERR_clear_error();
  r = SSL_accept(c->ssl);
  if (r == 1) {
    c->stage = HTTP;
    watch(c, false);
    return true;
  }
  if (tls_result(c, r) == 0 || errno != EAGAIN)
    die(c);
  else
    watch(c, SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_WRITE);
  return false;
}

static void on_readable(struct conn *c) {
  ssize_t n;
  if (c->stage == TLS_HANDSHAKE && !tls_accept(c))
    return;
  do {
    n = conn_read(c, reserve(&c->in, READ_SIZE), READ_SIZE);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN)
        die(c);
      drop_used(&c->in);
      return;
    }
    c->in.len += (size_t)n;
    take_input(c);
  } while (c->ssl && !c->dead);
}

static void on_event(struct conn *c, uint32_t events) {
  if (events & EPOLLOUT)
    touch(c);
  if (!c->dead && (events & ~(uint32_t)EPOLLOUT || c->stage == TLS_HANDSHAKE))
    on_readable(c);
}

/* Start ------------------------------------------------------------------------------------------ */

static void load_certificate(const char *cert, const char *key) {
  tls = must(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1)
    fail("cannot use the certificate %s", cert);
  if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
    fail("cannot use the key %s", key);
}

int conns_listen(const char *cert, const char *key, const struct conn_ops *ops) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  conn_ops = ops;
  if (cert)
    load_certificate(cert, key);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (bind(listen_fd, (struct sockaddr *)&address, len) != 0 || listen(listen_fd, 4096) != 0)
    fail("cannot listen: %s", strerror(errno));
  getsockname(listen_fd, (struct sockaddr *)&address, &len);
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e);
  return ntohs(address.sin_port);
}

void conns_wait(int timeout) {
  struct epoll_event events[256];
  int n = epoll_wait(epoll_fd, events, 256, timeout);
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr)
      on_event(events[i].data.ptr, events[i].events);
    else
      conn_accept();
  }
}
