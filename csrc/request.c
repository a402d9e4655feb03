/*
 * request.c - one HTTP request of a listener: received, handled by Lua, answered.
 * Lua sees: Request (method, path, query, headers, body, peer; respond, drop).
 * Owns: struct exchange. The peer owns it while it is received and answered, Lua's userdata while a
 * handler works on it; whoever comes last frees it.
 * Loop thread only. Callbacks of lws copy and queue; the handler is started at the drain point.
 * lws of version 4.1 decodes the path ("+" becomes a space) and lists headers it knows; of others it
 * finds only those asked for by name, see other_headers.
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define REQUEST_T "trueconf.Request"
enum {
  LONGEST_FIELD = 16384, /* more than lws keeps of all headers together */
  BODY_SECONDS = 10,     /* between two pieces of a body */
  STALL_SECONDS = 30,    /* a client that takes nothing of its answer for so long is dropped */
  LINGER_SECONDS = 5,    /* for a refused client to read why, before the connection goes */
  LONGEST_LINGER = 64 << 20,
  SIZE_DIGITS = 7, /* of a chunk */
  LONGEST_LINE = 256,
};

enum phase {
  RECEIVING,
  READY,     /* complete, queued for the drain point */
  HANDLING,  /* Lua has it */
  ANSWERING, /* the answer is being written */
  LINGERING  /* the answer is written, what still comes is thrown away */
};

/* RFC 9112, 7.1. lws hands over a chunked body as it comes. */
struct chunks {
  enum { SIZE, EXTENSION, DATA, DATA_END, TRAILER } at;
  size_t left; /* bytes of the chunk */
  int line;    /* characters of the line so far */
};

struct exchange {
  struct peer *peer; /* NULL: the client is gone */
  enum phase phase;
  struct rt_job job;
  bool head;    /* the answer has no body */
  bool keep;    /* the connection goes on after the answer */
  bool old;     /* HTTP/1.0: going on has to be said */
  bool chunked; /* struct chunks tells where the body ends */
  bool linger;  /* refused early: more may come */
  struct chunks chunks;
  struct buffer fields; /* kind, name, zero, value, zero; ... */
  struct buffer body;
  struct buffer out; /* LWS_PRE bytes of headroom, then the answer */
  size_t sent;       /* of out, with the headroom */
  size_t discarded;
};

struct request_box {
  struct exchange *exchange; /* NULL: answered or dropped */
  bool answered;
};

static void exchange_free(struct exchange *exchange) {
  if (!exchange)
    return;
  buffer_free(&exchange->fields);
  buffer_free(&exchange->body);
  buffer_free(&exchange->out);
  free(exchange);
}

void request_forget(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  peer->exchange = NULL;
  if (!exchange)
    return;
  exchange->peer = NULL;
  if (exchange->phase == HANDLING)
    return; /* Lua's userdata frees it */
  rt_dequeue(peer_rt(peer), &exchange->job);
  exchange_free(exchange);
}

bool request_pending(const struct peer *peer) {
  return peer->exchange && peer->exchange->phase != RECEIVING;
}

/* ---- reading the head ---------------------------------------------------------------------------- */

static bool add_field(struct exchange *exchange, char kind, const char *name, const char *value) {
  return buffer_append(&exchange->fields, &kind, 1) &&
         buffer_append(&exchange->fields, name, strlen(name) + 1) &&
         buffer_append(&exchange->fields, value, strlen(value) + 1);
}

/* Names lws has no token for. They end in a colon, as it wants them. */
static const char *const other_headers[] = {
    "upload-task-id:",
    "forwarded:",
    "x-forwarded-proto:",
    "x-forwarded-host:",
    "x-forwarded-port:",
    "x-forwarded-prefix:",
    "x-request-id:",
    "x-requested-with:",
    "x-api-key:",
    "traceparent:",
    "access-control-request-method:",
    "sec-fetch-site:",
    "sec-fetch-mode:",
    "dnt:",
    "keep-alive:",
};

static bool add_header(struct exchange *exchange, const char *token, const char *value) {
  char name[64];
  size_t length = strlen(token) - 1;
  if (length >= sizeof name)
    return true;
  memcpy(name, token, length);
  name[length] = 0;
  return add_field(exchange, 'h', name, value);
}

static bool add_headers(struct exchange *exchange, struct lws *wsi, char *value) {
  for (int token = 0; token < WSI_TOKEN_COUNT; token++) {
    const char *name = (const char *)lws_token_to_string((enum lws_token_indexes)token);
    if (!name || name[0] == ':' || !name[0] || name[strlen(name) - 1] != ':')
      continue;
    if (lws_hdr_copy(wsi, value, LONGEST_FIELD, (enum lws_token_indexes)token) <= 0)
      continue;
    if (!add_header(exchange, name, value))
      return false;
  }
  for (size_t i = 0; i < sizeof other_headers / sizeof *other_headers; i++) {
    const char *name = other_headers[i];
    if (lws_hdr_custom_copy(wsi, value, LONGEST_FIELD, name, (int)strlen(name)) <= 0)
      continue;
    if (!add_header(exchange, name, value))
      return false;
  }
  return true;
}

static bool add_query(struct exchange *exchange, struct lws *wsi, char *text) {
  for (int i = 0; lws_hdr_copy_fragment(wsi, text, LONGEST_FIELD, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++) {
    char *value = strchr(text, '=');
    if (!text[0])
      continue;
    if (value)
      *value++ = 0;
    if (!add_field(exchange, 'q', text, value ? value : ""))
      return false;
  }
  return true;
}

static const struct method {
  const char *name;
  enum lws_token_indexes token;
  bool has_body; /* also without Content-Length, as lws sees it: it then waits for 100 MiB */
} http_methods[] = {{"GET", WSI_TOKEN_GET_URI, false},         {"POST", WSI_TOKEN_POST_URI, true},
                    {"OPTIONS", WSI_TOKEN_OPTIONS_URI, false}, {"PUT", WSI_TOKEN_PUT_URI, true},
                    {"PATCH", WSI_TOKEN_PATCH_URI, true},      {"DELETE", WSI_TOKEN_DELETE_URI, false},
                    {"HEAD", WSI_TOKEN_HEAD_URI, false}};

static const struct method *method_of(struct lws *wsi) {
  for (size_t i = 0; i < sizeof http_methods / sizeof *http_methods; i++)
    if (lws_hdr_total_length(wsi, http_methods[i].token) > 0)
      return &http_methods[i];
  return NULL;
}

/* lws cuts the path at "&" as it does a query, and joins the pieces with commas. */
static bool add_path(struct exchange *exchange, struct lws *wsi, enum lws_token_indexes token, char *text) {
  char *at = text;
  for (int i = 0;; i++) {
    int n = lws_hdr_copy_fragment(wsi, at, LONGEST_FIELD - (int)(at - text), token, i);
    if (n < 0)
      break;
    at += n;
    *at++ = '&';
  }
  if (at > text)
    at[-1] = 0;
  return at > text && add_field(exchange, 'f', "path", text);
}

static bool read_head(struct exchange *exchange, struct lws *wsi, const struct method *method) {
  char text[LONGEST_FIELD];
  return add_field(exchange, 'f', "method", method->name) && add_path(exchange, wsi, method->token, text) &&
         add_query(exchange, wsi, text) && add_headers(exchange, wsi, text);
}

/* As lws decides it, so that what we announce is what it does. */
static void read_keep_alive(struct exchange *exchange, struct lws *wsi) {
  char text[25];
  exchange->old =
      lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP) < 8 || text[5] != '1' || text[7] != '1';
  exchange->keep = !exchange->old;
  if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_CONNECTION) <= 0)
    return;
  if (!strcasecmp(text, "keep-alive"))
    exchange->keep = true;
  if (!strcasecmp(text, "close"))
    exchange->keep = false;
}

/* ---- answering ----------------------------------------------------------------------------------- */

const char *http_phrase(int status) {
  static const struct {
    int status;
    const char *phrase;
  } phrases[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {206, "Partial Content"},
                 {301, "Moved Permanently"},
                 {302, "Found"},
                 {303, "See Other"},
                 {304, "Not Modified"},
                 {307, "Temporary Redirect"},
                 {308, "Permanent Redirect"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {409, "Conflict"},
                 {411, "Length Required"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {416, "Range Not Satisfiable"},
                 {422, "Unprocessable Content"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
  for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
    if (phrases[i].status == status)
      return phrases[i].phrase;
  return "Unknown";
}

/* Begin the answer in `out`: the status line. */
static bool begin_answer(struct exchange *exchange, int status) {
  static const char headroom[LWS_PRE];
  buffer_reset(&exchange->out, WIRE_CHUNK);
  exchange->sent = LWS_PRE;
  return buffer_append(&exchange->out, headroom, sizeof headroom) &&
         buffer_printf(&exchange->out, "HTTP/1.1 %d %s\r\n", status, http_phrase(status));
}

/* The headers that are ours, and the body. */
static bool end_answer(struct exchange *exchange, int status, const char *body, size_t length) {
  struct buffer *out = &exchange->out;
  bool bodiless = status == 204 || status == 304;
  if (!bodiless && !buffer_printf(out, "Content-Length: %zu\r\n", length))
    return false;
  if (!exchange->keep && !buffer_puts(out, "Connection: close\r\n"))
    return false;
  if (exchange->keep && exchange->old && !buffer_puts(out, "Connection: keep-alive\r\n"))
    return false;
  if (!buffer_puts(out, "\r\n"))
    return false;
  return bodiless || exchange->head || buffer_append(out, body, length);
}

/* Write `out` as soon as the system takes it. */
static void start_answer(struct exchange *exchange) {
  struct lws *wsi = exchange->peer->wsi;
  exchange->phase = ANSWERING;
  lws_rx_flow_control(wsi, 1); /* else lws does not tell that it can be written either */
  lws_callback_on_writable(wsi);
}

/* Answer without Lua. false: no memory. */
static bool answer_plainly(struct exchange *exchange, int status) {
  const char *phrase = http_phrase(status);
  if (!begin_answer(exchange, status) || !buffer_puts(&exchange->out, "Content-Type: text/plain\r\n") ||
      !end_answer(exchange, status, phrase, strlen(phrase)))
    return false;
  start_answer(exchange);
  return true;
}

/* Refuse a request whose body has not come or cannot be understood. From a callback. */
static int refuse(struct exchange *exchange, int status) {
  exchange->keep = false;
  exchange->linger = status == 413 || exchange->chunked;
  return answer_plainly(exchange, status) ? 0 : -1;
}

/* Between two writes neither read nor stop being told of room: lws gives no call for that, but a change of
 * flow control made inside a callback waits for its end, and is left to wait when that returns 1. */
static int wait_for_room(struct peer *peer) {
  struct lws *wsi = peer->wsi;
  peer_expect(peer, STALL_SECONDS);
  lws_rx_flow_control(wsi, LWS_RXFLOW_REASON_APPLIES | LWS_RXFLOW_REASON_USER_BOOL |
                               LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
  lws_rx_flow_control(wsi, 1);
  lws_callback_on_writable(wsi);
  return 1;
}

/* Has the client sent more before it had its answer? lws keeps its table of headers only then. It would take
 * the head of such a request for its body, or never come back; so the connection ends here, and a client
 * that does this sends the rest again (RFC 9112, 9.3.2). */
static bool has_sent_more(struct lws *wsi) {
  char probe = 1;
  (void)lws_hdr_custom_copy(wsi, &probe, 1, "", 0); /* touches it if there is a table */
  return probe == 0;
}

static int answered(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  if (exchange->linger) {
    exchange->phase = LINGERING;
    shutdown(peer->fd, SHUT_WR);
    peer_expect(peer, LINGER_SECONDS);
    return 0;
  }
  if (!exchange->keep || peer->listener->closing)
    return -1;
  peer->exchange = NULL;
  exchange_free(exchange);
  peer_expect(peer, 0);
  return lws_http_transaction_completed(peer->wsi) || has_sent_more(peer->wsi) ? -1 : 0;
}

static int on_writeable(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  struct buffer *out;
  if (!exchange || exchange->phase != ANSWERING)
    return 0;
  out = &exchange->out;
  while (exchange->sent < out->length && !lws_partial_buffered(peer->wsi)) {
    size_t left = out->length - exchange->sent, n = left < WIRE_CHUNK ? left : WIRE_CHUNK;
    if (lws_write(peer->wsi, (unsigned char *)out->data + exchange->sent, n, LWS_WRITE_HTTP) < (int)n)
      return -1;
    exchange->sent += n;
  }
  return lws_partial_buffered(peer->wsi) ? wait_for_room(peer) : answered(peer);
}

/* ---- receiving ----------------------------------------------------------------------------------- */

static void run_request(struct rt *rt, lua_State *L, struct rt_job *job);

/* The request is here. lws must neither read on nor time out until it is answered. */
static int complete(struct exchange *exchange) {
  struct peer *peer = exchange->peer;
  exchange->phase = READY;
  peer_expect(peer, 0);
  lws_set_timeout(peer->wsi, NO_PENDING_TIMEOUT, 0);
  lws_rx_flow_control(peer->wsi, 0);
  rt_enqueue(peer_rt(peer), &exchange->job);
  return 0;
}

static int digit(unsigned char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int chunk_size_byte(struct chunks *chunks, unsigned char c) {
  int value = digit(c);
  if (value >= 0) {
    chunks->left = chunks->left * 16 + (size_t)value;
    return ++chunks->line > SIZE_DIGITS ? 400 : 0;
  }
  if (!chunks->line || !c || !strchr("; \t\r\n", c))
    return 400;
  chunks->at = EXTENSION;
  chunks->line = 0;
  return 0;
}

/* One byte outside of the data of a chunk. 0: go on, 1: the body ends here, 400: that is not one. */
static int chunk_byte(struct chunks *chunks, unsigned char c) {
  int value = chunks->at == SIZE ? chunk_size_byte(chunks, c) : 0;
  if (value || chunks->at == SIZE)
    return value;
  if (chunks->at == DATA_END) {
    if (c == '\n')
      memset(chunks, 0, sizeof *chunks);
    return c == '\n' || c == '\r' ? 0 : 400;
  }
  if (c == '\r')
    return 0;
  if (c != '\n')
    return ++chunks->line > LONGEST_LINE ? 400 : 0;
  if (chunks->at == TRAILER && !chunks->line)
    return 1;
  chunks->at = chunks->left ? DATA : TRAILER;
  chunks->line = 0;
  return 0;
}

static int on_chunked(struct exchange *exchange, const char *in, size_t length) {
  struct chunks *chunks = &exchange->chunks;
  while (length) {
    if (chunks->at == DATA) {
      size_t n = chunks->left < length ? chunks->left : length;
      if (exchange->body.length + n > exchange->peer->listener->max_body)
        return 413;
      if (!buffer_append(&exchange->body, in, n))
        return 413;
      in += n;
      length -= n;
      chunks->left -= n;
      if (!chunks->left)
        chunks->at = DATA_END;
    } else {
      int verdict = chunk_byte(chunks, (unsigned char)*in++);
      if (verdict)
        return verdict;
      length--;
    }
  }
  return 0;
}

/* Where the body ends (RFC 9112, 6.3). Returns a status to refuse it with, or 0. */
static int read_framing(struct exchange *exchange, struct lws *wsi, const struct method *method,
                        size_t *length) {
  char text[32];
  int n = lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH);
  bool coded = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
  *length = 0;
  if (n < 0 || (n > 0 && (coded || n > 15 || strspn(text, "0123456789") != (size_t)n)))
    return 400;
  if (n > 0) {
    *length = (size_t)strtoull(text, NULL, 10);
    return *length > exchange->peer->listener->max_body ? 413 : 0;
  }
  if (method->has_body)
    exchange->keep = false; /* lws would take what follows for the body */
  if (!coded)
    return 0;
  n = lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_TRANSFER_ENCODING);
  if (n <= 0 || strcasecmp(text, "chunked") != 0)
    return 501;
  if (!method->has_body)
    return 411;
  exchange->chunked = true;
  return 0;
}

static int invite_body(struct lws *wsi) {
  static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
  unsigned char packet[LWS_PRE + sizeof answer];
  char text[24];
  if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_EXPECT) <= 0 ||
      strcasecmp(text, "100-continue") != 0)
    return 0;
  memcpy(packet + LWS_PRE, answer, sizeof answer);
  return lws_write(wsi, packet + LWS_PRE, sizeof answer - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int on_head(struct peer *peer) {
  struct exchange *exchange = calloc(1, sizeof *exchange);
  const struct method *method = method_of(peer->wsi);
  size_t length;
  int status;
  if (!exchange || !method) {
    free(exchange);
    return write_refusal(peer->wsi, method ? 503 : 501, "");
  }
  exchange->peer = peer;
  exchange->job.run = run_request;
  peer->exchange = exchange;
  peer_expect(peer, BODY_SECONDS);
  exchange->head = method->token == WSI_TOKEN_HEAD_URI;
  read_keep_alive(exchange, peer->wsi);
  status = read_framing(exchange, peer->wsi, method, &length);
  if (status)
    return refuse(exchange, status);
  if (!read_head(exchange, peer->wsi, method) || !buffer_reserve(&exchange->body, length))
    return refuse(exchange, 503);
  if (lws_hdr_total_length(peer->wsi, WSI_TOKEN_POST_URI) &&
      lws_hdr_total_length(peer->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
    return length ? invite_body(peer->wsi) : 0; /* also of an empty body lws says when it is complete */
  if (!length && !exchange->chunked)
    return complete(exchange);
  return invite_body(peer->wsi);
}

static int on_body(struct exchange *exchange, const char *in, size_t length) {
  int verdict;
  if (exchange->phase != RECEIVING) {
    exchange->discarded += length;
    return exchange->discarded > LONGEST_LINGER ? -1 : 0;
  }
  peer_expect(exchange->peer, BODY_SECONDS);
  if (!exchange->chunked)
    return buffer_append(&exchange->body, in, length) ? 0 : -1;
  verdict = on_chunked(exchange, in, length);
  if (verdict == 1)
    return complete(exchange);
  return verdict ? refuse(exchange, verdict) : 0;
}

/* lws says it again when more comes than the body. */
static int on_body_complete(struct exchange *exchange) {
  if (exchange->phase == RECEIVING)
    return exchange->chunked ? refuse(exchange, 413) : complete(exchange);
  return exchange->phase == READY || exchange->phase == HANDLING ? -1 : 0;
}

int request_on(struct peer *peer, enum lws_callback_reasons why, const void *in, size_t length) {
  struct exchange *exchange = peer->exchange;
  switch (why) {
  case LWS_CALLBACK_HTTP:
    return exchange ? -1 : on_head(peer);
  case LWS_CALLBACK_HTTP_BODY:
    return exchange ? on_body(exchange, in, length) : -1;
  case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    return exchange ? on_body_complete(exchange) : -1;
  case LWS_CALLBACK_HTTP_WRITEABLE:
    return on_writeable(peer);
  default:
    return 0;
  }
}

/* ---- handing over to Lua ------------------------------------------------------------------------- */

/* Push the table behind the fields of a Request. */
static void push_fields(lua_State *L, const struct exchange *exchange) {
  const char *at = exchange->fields.data, *end = at + exchange->fields.length;
  lua_createtable(L, 0, 6);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 12);
  while (at < end) {
    const char *name = at + 1, *value = name + strlen(name) + 1;
    lua_pushstring(L, value);
    lua_setfield(L, *at == 'f' ? -4 : *at == 'q' ? -3 : -2, name);
    at = value + strlen(value) + 1;
  }
  lua_setfield(L, -3, "headers");
  lua_setfield(L, -2, "query");
  lua_pushlstring(L, exchange->body.length ? exchange->body.data : "", exchange->body.length);
  lua_setfield(L, -2, "body");
  lua_pushstring(L, exchange->peer->address);
  lua_setfield(L, -2, "peer");
}

static void push_request(lua_State *L, struct exchange *exchange) {
  struct request_box *box = lua_newuserdatauv(L, sizeof *box, 1);
  box->exchange = NULL;
  box->answered = false;
  luaL_setmetatable(L, REQUEST_T);
  box->exchange = exchange;
  exchange->phase = HANDLING;
  push_fields(L, exchange);
  lua_setiuservalue(L, -2, 1);
  buffer_free(&exchange->fields);
  buffer_free(&exchange->body);
}

static int serve_k(lua_State *L, int status, lua_KContext context) {
  (void)L;
  (void)status;
  (void)context;
  return 0;
}

/* (handler, request): however the handler ends, the request is closed then. */
static int l_serve(lua_State *L) {
  lua_toclose(L, 2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_callk(L, 1, 0, 0, serve_k);
  return serve_k(L, LUA_OK, 0);
}

static void run_request(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = (struct exchange *)(void *)((char *)job - offsetof(struct exchange, job));
  int top = lua_gettop(L);
  push_listener(L, exchange->peer->listener);
  lua_pushcfunction(L, l_serve);
  if (lua_getiuservalue(L, -2, ON_HTTP) == LUA_TFUNCTION) {
    push_request(L, exchange);
    rt_spawn(rt, L, 2);
  } else if (!answer_plainly(exchange, 404)) {
    peer_drop(exchange->peer);
  }
  lua_settop(L, top);
}

/* ---- what Lua calls ------------------------------------------------------------------------------ */

static struct request_box *check_box(lua_State *L) {
  return luaL_checkudata(L, 1, REQUEST_T);
}

/* The exchange, if it can be answered; the box gives it up. */
static struct exchange *take(struct request_box *box) {
  struct exchange *exchange = box->exchange;
  box->exchange = NULL;
  if (!exchange || exchange->peer)
    return exchange;
  exchange_free(exchange);
  return NULL;
}

/* While a handler works lws does not read, so nobody has noticed whether the client has left. */
static bool has_left(const struct peer *peer) {
  char byte;
  ssize_t n = recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* What would end the line or the headers. */
static bool is_text(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] == '\r' || text[i] == '\n' || text[i] == 0)
      return false;
  return true;
}

static bool is_name(const char *name) {
  return name[0] && !name[strcspn(name, "\x7f \t\r\n\"(),/:;<=>?@[\\]{}")];
}

/* These say how the answer is sent, which is decided here. */
static bool is_ours(const char *name) {
  return !strcasecmp(name, "content-length") || !strcasecmp(name, "connection") ||
         !strcasecmp(name, "transfer-encoding");
}

/* Check the table of headers at 3; no memory is held, so that it may raise. */
static void check_headers(lua_State *L) {
  size_t length;
  luaL_checktype(L, 3, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &length) : NULL, *value;
    if (!name || strlen(name) != length || !is_name(name))
      luaL_error(L, "header names: HTTP tokens expected");
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
      luaL_error(L, "header '%s': string expected, got %s", name, luaL_typename(L, -1));
    value = luaL_tolstring(L, -1, &length);
    if (!is_text(value, length))
      luaL_error(L, "header '%s': it contains a line break or a zero byte", name);
    lua_pop(L, 1);
  }
}

static bool add_answer_headers(lua_State *L, struct exchange *exchange) {
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    const char *name = lua_tostring(L, -2);
    if (is_ours(name))
      continue;
    if (!buffer_printf(&exchange->out, "%s: %s\r\n", name, lua_tostring(L, -1)))
      return false;
  }
  return true;
}

static int out_of_memory(lua_State *L, struct exchange *exchange) {
  peer_drop(exchange->peer);
  return fail(L, ERR_NOMEM, 0, "no memory for the answer");
}

static int l_respond(lua_State *L) {
  struct request_box *box = check_box(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  size_t length;
  const char *body = luaL_optlstring(L, 4, "", &length);
  struct exchange *exchange;
  luaL_argcheck(L, status >= 200 && status < 600, 2, "an HTTP status, 200 to 599, expected");
  check_headers(L);
  if (box->answered)
    return luaL_error(L, "the request has been answered already");
  box->answered = true;
  exchange = take(box);
  if (exchange && has_left(exchange->peer)) {
    exchange->phase = ANSWERING; /* it is the peer's again */
    peer_drop(exchange->peer);
    exchange = NULL;
  }
  if (!exchange)
    return fail(L, ERR_CLOSED, 0, "the client has closed the connection");
  exchange->phase = ANSWERING;
  if (exchange->peer->listener->closing)
    exchange->keep = false;
  if (!begin_answer(exchange, (int)status) || !add_answer_headers(L, exchange) ||
      !end_answer(exchange, (int)status, body, length))
    return out_of_memory(L, exchange);
  start_answer(exchange);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_drop(lua_State *L) {
  struct request_box *box = check_box(L);
  struct exchange *exchange = take(box);
  box->answered = true;
  if (!exchange)
    return 0;
  exchange->phase = ANSWERING;
  peer_drop(exchange->peer);
  return 0;
}

/* __close and __gc: whoever had to answer has not. */
static int l_close(lua_State *L) {
  struct request_box *box = check_box(L);
  struct exchange *exchange = take(box);
  box->answered = true;
  if (!exchange)
    return 0;
  exchange->phase = ANSWERING;
  if (!answer_plainly(exchange, 500))
    peer_drop(exchange->peer);
  return 0;
}

static int l_index(lua_State *L) { /* upvalue 1: the methods */
  check_box(L);
  lua_settop(L, 2);
  if (lua_type(L, 2) != LUA_TSTRING)
    return 0;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
    return 1;
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE)
    return 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static int l_tostring(lua_State *L) {
  check_box(L);
  lua_getiuservalue(L, 1, 1);
  lua_getfield(L, -1, "method");
  lua_getfield(L, -2, "path");
  lua_pushfstring(L, "Request (%s %s)", lua_tostring(L, -2), lua_tostring(L, -1));
  return 1;
}

void request_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"respond", l_respond}, {"drop", l_drop}, {NULL, NULL}};
  static const luaL_Reg meta[] = {
      {"__gc", l_close}, {"__close", l_close}, {"__tostring", l_tostring}, {NULL, NULL}};
  luaL_newmetatable(L, REQUEST_T);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
