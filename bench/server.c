/*
 * server.c - a load server that starts a client as its child, measures it from outside and judges what it
 * says.
 *
 *   server --mode echo|rate|request|idle|start [options] -- CLIENT ARG...
 *
 * It speaks the part of the Bridge protocol a bot needs (token endpoint, WebSocket, auth, sendMessage both
 * ways) over loopback, plain or TLS, and prints one JSON line. A client learns what to do from BENCH_* in its
 * environment. Raw epoll, one thread, no JSON library and one write per connection and turn, so that it is
 * never the bottleneck. It is strict, so that nobody wins by leaving work out: frames masked, ids increasing,
 * every push acknowledged once and answered once with the right text in the right chat. What breaks these
 * rules is counted in "errors". SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scan.h"

#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.YmVuY2g"
#define CHAT_PREFIX "a1b2c3d4e5f60718293a4b5c6d7e8f90" /* a chat id is this and 8 digits */
#define MESSAGE_PREFIX "b4d80c2e-71f5-4e5e-9f6b-"      /* a message id is this and 12 digits */
#define TEXT_PREFIX "Hello bot, what is new? "
#define CHAT_DIGITS 8
#define FIRST_CHAT 12345678
#define MESSAGE_DIGITS 12
#define RING 65536 /* pushes that can be told apart; a power of two */
#define READ_SIZE 65536
#define INPUT_LIMIT (1 << 20)

enum mode { ECHO, RATE, REQUEST, IDLE, START, MODES };
enum phase { CONNECTING, WARMING, MEASURING, DRAINING, DONE };
enum stage { TLS_HANDSHAKE, HTTP, WEBSOCKET };

static const char *const mode_names[MODES] = {"echo", "rate", "request", "idle", "start"};
/* BENCH_MODE knows nothing of "start": such a client is an echo client that is stopped early */
static const char *const client_modes[MODES] = {"echo", "rate", "req", "idle", "echo"};

struct buffer {
  char *data;
  size_t len, cap, off; /* off: bytes at the front already used */
};

struct conn {
  int fd;
  enum stage stage;
  SSL *ssl;
  struct buffer in, out;
  struct conn *next_touched;
  uint64_t last_id; /* of the client's requests; they must increase */
  uint32_t mask;    /* of the last frame */
  int mask_repeats;
  bool authorized, touched, wants_out, dead;
};

struct push {
  uint64_t id;
  double sent_at;
  bool acked, answered;
};

/* What is known of client and server at one moment. */
struct sample {
  double at, client_cpu, server_cpu;
  uint64_t messages;
};

static struct {
  enum mode mode;
  int window, conns, chats, server_cpu, client_cpu;
  double rate, warm, seconds, settle, limit;
  const char *cert, *key, *label;
} opt = {.mode = ECHO,
         .window = 64,
         .conns = 1,
         .chats = 64,
         .server_cpu = -1,
         .client_cpu = -1,
         .rate = 500,
         .warm = 0.5,
         .seconds = 3,
         .settle = 1,
         .limit = 30};

static int epoll_fd, listen_fd, port;
static SSL_CTX *tls;
static struct conn *touched, *pushed_to;
static struct push ring[RING];

static pid_t child;
static clockid_t child_clock;
static double started_at, ready_at, phase_at, next_push_at;
static double ready_cpu;
static enum phase phase = CONNECTING;
static struct sample before, after;
static long rss_kb, private_kb;

static uint64_t pushes, open_pushes, answers, requests, errors;
static int authorized;
static char first_error[200];
static double *latency;
static size_t latencies, latency_cap;

/* Clocks and /proc -------------------------------------------------------------------------------- */

static double clock_seconds(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

static double now(void) {
  return clock_seconds(CLOCK_MONOTONIC);
}

/* Sum of the lines of /proc/CHILD/`file` that begin with `key`, in KiB. */
static long proc_kb(const char *file, const char *key) {
  char path[64], line[256];
  long sum = 0;
  FILE *f;
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
  f = fopen(path, "r");
  if (!f)
    return -1;
  while (fgets(line, sizeof line, f))
    if (strncmp(line, key, strlen(key)) == 0)
      sum += strtol(strchr(line, ':') + 1, NULL, 10);
  fclose(f);
  return sum;
}

static void measure_memory(void) {
  rss_kb = proc_kb("status", "VmRSS:");
  private_kb = proc_kb("smaps_rollup", "Private_");
}

static struct sample take_sample(void) {
  return (struct sample){.at = now(),
                         .client_cpu = clock_seconds(child_clock),
                         .server_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID),
                         .messages = opt.mode == REQUEST ? requests : answers};
}

/* Verdicts ---------------------------------------------------------------------------------------- */

/* The run is worth nothing: say why and end. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  char why[200];
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  printf("{\"label\":\"%s\",\"mode\":\"%s\",\"tls\":%s,\"failed\":\"%s\"}\n", opt.label, mode_names[opt.mode],
         tls ? "true" : "false", why);
  fflush(stdout);
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  exit(1);
}

/* The client broke a rule: count it, keep the words of the first time. */
__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...) {
  va_list args;
  if (errors++ > 0)
    return;
  va_start(args, format);
  vsnprintf(first_error, sizeof first_error, format, args);
  va_end(args);
}

/* Buffers ----------------------------------------------------------------------------------------- */

static void *must(void *memory) {
  if (!memory)
    fail("out of memory");
  return memory;
}

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

static void put(struct buffer *b, const char *bytes, size_t n) {
  memcpy(reserve(b, n), bytes, n);
  b->len += n;
}

static void put_text(struct buffer *b, const char *text) {
  put(b, text, strlen(text));
}

/* A decimal number with at least `digits` digits. */
static void put_number(struct buffer *b, uint64_t n, int digits) {
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
  if (c == pushed_to)
    pushed_to = NULL;
  if (c->authorized && phase != DONE)
    fail("the client closed an authorized connection (violations so far: %llu %s)",
         (unsigned long long)errors, first_error);
  if (c->ssl)
    SSL_free(c->ssl);
  close(c->fd);
  free(c->in.data);
  free(c->out.data);
  free(c);
}

static void settle_touched(void) {
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

/* Frames out -------------------------------------------------------------------------------------- */

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

static struct buffer text_frame; /* where the text of a frame is put together */

static struct buffer *frame_begin(void) {
  text_frame.len = text_frame.off = 0;
  return &text_frame;
}

static void frame_end(struct conn *c) {
  put_header(c, 1, text_frame.len);
  put(&c->out, text_frame.data, text_frame.len);
}

static void respond(struct conn *c, uint64_t id, const char *payload) {
  struct buffer *b = frame_begin();
  put_text(b, "{\"type\":2,\"id\":");
  put_number(b, id, 1);
  put_text(b, ",\"payload\":");
  put_text(b, payload);
  put_text(b, "}");
  frame_end(c);
}

/* The chat of push n. */
static uint64_t chat_of(uint64_t n) {
  return FIRST_CHAT + n % (uint64_t)opt.chats;
}

static void put_chat(struct buffer *b, uint64_t n) {
  put_text(b, CHAT_PREFIX);
  put_number(b, chat_of(n), CHAT_DIGITS);
}

/* A message from a person, complete as an envelope of a real server is. */
static void put_message(struct buffer *b, uint64_t n) {
  put_text(b, "{\"type\":1,\"id\":");
  put_number(b, n, 1);
  put_text(b, ",\"method\":\"sendMessage\",\"payload\":{\"messageId\":\"" MESSAGE_PREFIX);
  put_number(b, n, MESSAGE_DIGITS);
  put_text(b, "\",\"chatId\":\"");
  put_chat(b, n);
  put_text(b, "\",\"chat\":{\"chatId\":\"");
  put_chat(b, n);
  put_text(
      b, "\",\"chatTitle\":null,\"chatType\":1},\"timestamp\":1788000010000,\"isEdited\":false,\"type\":200,"
         "\"author\":{\"id\":\"alice@video.example.net\",\"type\":1},\"box\":{\"id\":");
  put_number(b, n, 1);
  put_text(b, ",\"position\":\"0\"},\"content\":{\"parseMode\":\"text\",\"text\":\"" TEXT_PREFIX);
  put_number(b, n, 1);
  put_text(b, "\"}}}");
}

static void push_one(struct conn *c) {
  uint64_t n = ++pushes;
  put_message(frame_begin(), n);
  ring[n % RING] = (struct push){.id = n, .sent_at = now()};
  open_pushes++;
  frame_end(c);
}

static bool may_push(double t) {
  const struct push *slot = &ring[(pushes + 1) % RING];
  if (!pushed_to || open_pushes >= (uint64_t)opt.window || t < next_push_at)
    return false;
  return slot->id == 0 || (slot->acked && slot->answered);
}

static void push_more(double t) {
  if (phase != WARMING && phase != MEASURING)
    return;
  while (may_push(t)) {
    push_one(pushed_to);
    if (opt.mode == RATE)
      next_push_at = t + 1 / opt.rate;
  }
}

/* What the client says ---------------------------------------------------------------------------- */

static struct push *find_push(uint64_t id) {
  struct push *p = &ring[id % RING];
  return id > 0 && p->id == id ? p : NULL;
}

static void push_settled(const struct push *p) {
  if (p->acked && p->answered)
    open_pushes--;
}

static void on_ack(uint64_t id) {
  struct push *p = find_push(id);
  if (!p) {
    violation("ack of %llu, which is not open", (unsigned long long)id);
  } else if (p->acked) {
    violation("second ack of %llu", (unsigned long long)id);
  } else {
    p->acked = true;
    push_settled(p);
  }
}

static void keep_latency(double seconds) {
  if (phase != MEASURING)
    return;
  if (latencies == latency_cap) {
    latency_cap = latency_cap ? latency_cap * 2 : 4096;
    latency = must(realloc(latency, latency_cap * sizeof *latency));
  }
  latency[latencies++] = seconds;
}

static bool chat_is(struct span chat, uint64_t n) {
  size_t prefix = strlen(CHAT_PREFIX);
  return chat.len == prefix + CHAT_DIGITS && memcmp(chat.at, CHAT_PREFIX, prefix) == 0 &&
         scan_number((struct span){chat.at + prefix, CHAT_DIGITS}) == chat_of(n);
}

/* The answer to a push: its text with the number at its end, in the chat it came from. */
static void on_answer(struct span payload) {
  struct span text = scan_field(scan_field(payload, "content"), "text");
  size_t prefix = strlen(TEXT_PREFIX);
  struct push *p = NULL;
  uint64_t n = 0;
  if (text.len > prefix && memcmp(text.at, TEXT_PREFIX, prefix) == 0)
    n = scan_number((struct span){text.at + prefix, text.len - prefix});
  p = find_push(n);
  if (!p) {
    violation("answer to nothing that is open: %.*s", (int)(text.len < 60 ? text.len : 60),
              text.at ? text.at : "");
  } else if (p->answered) {
    violation("second answer to %llu", (unsigned long long)n);
  } else {
    if (!chat_is(scan_field(payload, "chatId"), n))
      violation("answer to %llu in another chat", (unsigned long long)n);
    p->answered = true;
    answers++;
    keep_latency(now() - p->sent_at);
    push_settled(p);
  }
}

static void on_send_message(struct conn *c, const struct frame *f) {
  if (!c->authorized) {
    violation("sendMessage before auth");
    respond(c, f->id, "{\"errorCode\":200}");
    return;
  }
  if (opt.mode == REQUEST)
    requests++;
  else
    on_answer(f->payload);
  respond(c, f->id,
          "{\"chatId\":\"" CHAT_PREFIX "12345678\",\"messageId\":\"3f9d2c7e-5b1a-4c8f-9e6d-0a1b2c3d4e5f\","
          "\"timestamp\":1788000010300}");
}

static void on_auth(struct conn *c, const struct frame *f) {
  if (!span_is(scan_field(f->payload, "token"), TOKEN) ||
      !span_is(scan_field(f->payload, "tokenType"), "JWT")) {
    violation("auth with another token or tokenType");
    respond(c, f->id, "{\"errorCode\":201}");
    return;
  }
  respond(c, f->id,
          "{\"userId\":\"bot@video.example.net/"
          "9f8e7d6c\",\"connectionId\":\"c0ffee00-0000-4000-8000-000000000001\"}");
  if (c->authorized)
    violation("second auth on one connection");
  else
    authorized++;
  c->authorized = true;
  if (!pushed_to)
    pushed_to = c;
}

static void on_request(struct conn *c, const struct frame *f) {
  if (f->id <= c->last_id)
    violation("request id %llu after %llu", (unsigned long long)f->id, (unsigned long long)c->last_id);
  c->last_id = f->id;
  if (span_is(f->method, "sendMessage"))
    on_send_message(c, f);
  else if (span_is(f->method, "auth"))
    on_auth(c, f);
  else
    respond(c, f->id, "{}");
}

static void on_text(struct conn *c, const char *text, size_t len) {
  struct frame f;
  if (!scan_frame(text, len, &f))
    violation("not a frame: %.*s", (int)(len < 60 ? len : 60), text);
  else if (f.type == 2)
    on_ack(f.id);
  else if (f.type == 1)
    on_request(c, &f);
  else
    violation("frame of type %d", f.type);
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
    on_text(c, p, n);
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

/* The course of a run ----------------------------------------------------------------------------- */

static void enter(enum phase next) {
  phase = next;
  phase_at = now();
}

static void begin_measuring(void) {
  before = take_sample();
  enter(MEASURING);
}

static void end_measuring(void) {
  after = take_sample();
  measure_memory();
  enter(opt.mode == REQUEST ? DONE : DRAINING);
}

static void on_all_authorized(void) {
  ready_at = now();
  ready_cpu = clock_seconds(child_clock);
  enter(opt.mode == START ? DONE : WARMING);
  if (opt.mode == START)
    measure_memory();
}

static void advance(double t) {
  switch (phase) {
  case CONNECTING:
    if (authorized >= (opt.mode == IDLE ? opt.conns : 1))
      on_all_authorized();
    break;
  case WARMING:
    if (opt.mode == IDLE && t - phase_at >= opt.settle) {
      measure_memory();
      enter(DONE);
    } else if (opt.mode != IDLE && t - phase_at >= opt.warm && answers + requests > 0) {
      begin_measuring();
    }
    break;
  case MEASURING:
    if (t - phase_at >= opt.seconds)
      end_measuring();
    break;
  case DRAINING:
    if (open_pushes > 0 && t - phase_at > 3) {
      violation("%llu pushes without ack or answer", (unsigned long long)open_pushes);
      open_pushes = 0;
    }
    if (open_pushes == 0)
      enter(DONE);
    break;
  case DONE:
    break;
  }
}

static void check_child(double t) {
  static double checked_at;
  int status;
  if (t - checked_at < 0.05)
    return;
  checked_at = t;
  if (waitpid(child, &status, WNOHANG) == child) {
    child = 0;
    fail("the client ended by itself, %s %d", WIFEXITED(status) ? "status" : "signal",
         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
  if (t - started_at > opt.limit)
    fail("no end within %g s; %d connections authorized, %llu pushes open, violations: %llu %s", opt.limit,
         authorized, (unsigned long long)open_pushes, (unsigned long long)errors, first_error);
}

static void turn(void) {
  struct epoll_event events[256];
  /* in rate mode it never sleeps: its own waking up would be part of the latency */
  int n = epoll_wait(epoll_fd, events, 256, opt.mode == RATE && phase != CONNECTING ? 0 : 10);
  double t;
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr)
      on_event(events[i].data.ptr, events[i].events);
    else
      conn_accept();
  }
  t = now();
  if (opt.mode == ECHO || opt.mode == RATE)
    push_more(t);
  settle_touched();
  advance(t);
  check_child(t);
}

/* The line ---------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(int percent) {
  return latencies ? latency[(latencies - 1) * (size_t)percent / 100] * 1e6 : 0;
}

static void print_rates(void) {
  double seconds = after.at - before.at;
  uint64_t n = after.messages - before.messages;
  double each = n ? 1e6 / (double)n : 0;
  printf(",\"window\":%d,\"chats\":%d,\"messages\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"cpu_us\":%.3f",
         opt.window, opt.chats, (unsigned long long)n, seconds, (double)n / seconds,
         (after.client_cpu - before.client_cpu) * each);
  printf(",\"client_load\":%.3f,\"server_load\":%.3f", (after.client_cpu - before.client_cpu) / seconds,
         (after.server_cpu - before.server_cpu) / seconds);
  if (opt.mode == RATE) {
    qsort(latency, latencies, sizeof *latency, by_value);
    printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f", percentile(50), percentile(90),
           percentile(99));
  }
}

static void print_line(void) {
  struct rusage usage;
  kill(child, SIGKILL);
  wait4(child, NULL, 0, &usage);
  printf("{\"label\":\"%s\",\"mode\":\"%s\",\"tls\":%s", opt.label, mode_names[opt.mode],
         tls ? "true" : "false");
  if (opt.mode == IDLE)
    printf(",\"conns\":%d", authorized);
  if (opt.mode == ECHO || opt.mode == RATE || opt.mode == REQUEST)
    print_rates();
  printf(",\"ready_ms\":%.2f,\"ready_cpu_ms\":%.2f,\"rss_kb\":%ld,\"private_kb\":%ld,\"peak_kb\":%ld",
         (ready_at - started_at) * 1e3, ready_cpu * 1e3, rss_kb, private_kb, usage.ru_maxrss);
  printf(",\"errors\":%llu", (unsigned long long)errors);
  if (errors > 0) { /* what a client sent may be in it */
    for (char *p = first_error; *p; p++)
      if (*p == '"' || *p == '\\' || (unsigned char)*p < 32 || (unsigned char)*p > 126)
        *p = '\'';
    printf(",\"first_error\":\"%s\"", first_error);
  }
  printf("}\n");
}

/* Start ------------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void usage(void) {
  fprintf(stderr, "usage: server --mode echo|rate|request|idle|start [options] -- CLIENT ARG...\n"
                  "  --window N     pushes or requests in flight (64; rate: always 1)\n"
                  "  --chats N      chats the pushes come from in turn (64)\n"
                  "  --rate N       rate: pushes per second (500)\n"
                  "  --conns N      idle: connections (1)\n"
                  "  --seconds S    measured time (3)      --warm S   before it (0.5)\n"
                  "  --settle S     idle: after the last connection, before the memory is read (1)\n"
                  "  --limit S      give up (30)\n"
                  "  --cert FILE --key FILE                TLS\n"
                  "  --pin S,C      pin the server to core S and the client to core C\n"
                  "  --label TEXT   how the client is called in the JSON line\n");
  exit(2);
}

static double number(const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0')
    usage();
  return value;
}

static void read_mode(const char *name) {
  int m = 0;
  while (m < MODES && strcmp(name, mode_names[m]) != 0)
    m++;
  if (m == MODES)
    usage();
  opt.mode = (enum mode)m;
}

static void read_pins(const char *text) {
  char *comma;
  opt.server_cpu = (int)strtol(text, &comma, 10);
  if (*comma != ',')
    usage();
  opt.client_cpu = (int)number(comma + 1);
}

/* An option is one of three kinds: whole number, number, text; --mode and --pin are read by themselves. */
static const struct {
  const char *name;
  int *whole;
  double *real;
  const char **text;
  void (*read)(const char *value);
} options[] = {
    {"--mode", .read = read_mode},       {"--pin", .read = read_pins},     {"--window", .whole = &opt.window},
    {"--chats", .whole = &opt.chats},    {"--conns", .whole = &opt.conns}, {"--rate", .real = &opt.rate},
    {"--seconds", .real = &opt.seconds}, {"--warm", .real = &opt.warm},    {"--settle", .real = &opt.settle},
    {"--limit", .real = &opt.limit},     {"--cert", .text = &opt.cert},    {"--key", .text = &opt.key},
    {"--label", .text = &opt.label},
};

static void set_option(const char *name, const char *value) {
  size_t i = 0, n = sizeof options / sizeof options[0];
  while (i < n && strcmp(name, options[i].name) != 0)
    i++;
  if (i == n || !value)
    usage();
  if (options[i].read)
    options[i].read(value);
  else if (options[i].whole)
    *options[i].whole = (int)number(value);
  else if (options[i].real)
    *options[i].real = number(value);
  else
    *options[i].text = value;
}

/* Returns the client's command. */
static char **read_options(char **argv) {
  char **arg = argv + 1;
  for (; *arg && strcmp(*arg, "--") != 0; arg += 2)
    set_option(arg[0], arg[1]);
  if (!arg[0] || !arg[1] || opt.window < 1 || opt.chats < 1 || opt.conns < 1 || opt.rate <= 0 ||
      opt.seconds <= 0 || (opt.cert != NULL) != (opt.key != NULL))
    usage();
  if (opt.mode == RATE)
    opt.window = 1;
  if (!opt.label)
    opt.label = arg[1];
  return arg + 1;
}

static void raise_file_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

static void load_certificate(void) {
  if (!opt.cert)
    return;
  tls = must(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(tls, opt.cert) != 1)
    fail("cannot use the certificate %s", opt.cert);
  if (SSL_CTX_use_PrivateKey_file(tls, opt.key, SSL_FILETYPE_PEM) != 1)
    fail("cannot use the key %s", opt.key);
}

static void start_listening(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (bind(listen_fd, (struct sockaddr *)&address, len) != 0 || listen(listen_fd, 4096) != 0)
    fail("cannot listen: %s", strerror(errno));
  getsockname(listen_fd, (struct sockaddr *)&address, &len);
  port = ntohs(address.sin_port);
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e);
}

static void export_number(const char *name, int value) {
  char text[16];
  snprintf(text, sizeof text, "%d", value);
  setenv(name, text, 1);
}

static void pin(int cpu) {
  cpu_set_t set;
  if (cpu < 0)
    return;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void start_client(char **command) {
  setenv("BENCH_MODE", client_modes[opt.mode], 1);
  setenv("BENCH_TOKEN", TOKEN, 1);
  setenv("BENCH_TLS", tls ? "1" : "", 1);
  if (opt.cert)
    setenv("BENCH_CERT", opt.cert, 1);
  export_number("BENCH_PORT", port);
  export_number("BENCH_WINDOW", opt.window);
  export_number("BENCH_CONNS", opt.mode == IDLE ? opt.conns : 1);
  started_at = now();
  child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is for the JSON line */
    pin(opt.client_cpu);
    execvp(command[0], command);
    fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
    _exit(127);
  }
  clock_getcpuclockid(child, &child_clock);
  pin(opt.server_cpu);
}

int main(int argc, char **argv) {
  char **command = read_options(argv);
  (void)argc;
  signal(SIGPIPE, SIG_IGN);
  raise_file_limit();
  load_certificate();
  start_listening();
  start_client(command);
  while (phase != DONE)
    turn();
  print_line();
  return errors > 0 ? 3 : 0;
}
