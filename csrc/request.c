/*
 * request.c - one HTTP request of a listener: received, handled by Lua, answered.
 * Lua sees: Request (method, path, query, headers, body, peer; respond, drop), the answer of on_head.
 * Owns: struct exchange. The peer owns it while it is received and answered, Lua's userdata while a
 * handler works on it; whoever comes last frees it.
 * Loop thread only. Callbacks of lws copy and queue; the handler is started at the drain point.
 * lws of version 4.1 decodes the path ("+" becomes a space) and lists headers it knows; of others it
 * finds only those asked for by name, see other_headers.
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <errno.h>
#include <inttypes.h>
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
  PIECES_PER_TURN = 16, /* of a file, then others get their turn */
};

enum phase {
  ASKING, /* queued for the drain point, where on_head says what becomes of the body */
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
  bool head;                         /* the answer has no body */
  bool keep;                         /* the connection goes on after the answer */
  bool old;                          /* HTTP/1.0: going on has to be said */
  bool chunked;                      /* struct chunks tells where the body ends */
  bool linger;                       /* refused early: more may come */
  bool asked;                        /* on_head was */
  bool expects;                      /* 100 Continue */
  bool ended;                        /* the body was complete before on_head was asked */
  size_t length, received, max_body; /* of the body */
  struct upload *upload;             /* NULL: the body stays in memory */
  struct served_file *file;          /* NULL: the answer's body is in `out` */
  struct rt_timer pause;             /* of a limited file */
  struct chunks chunks;
  struct buffer fields; /* kind, name, zero, value, zero; ... */
  struct buffer body;   /* while ASKING, as it comes on the wire */
  struct buffer out;    /* LWS_PRE bytes of headroom, then the answer or a piece of it */
  size_t sent;          /* of out, with the headroom */
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
  upload_free(exchange->upload);
  served_file_free(exchange->file);
  free(exchange);
}

void request_forget(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  peer->exchange = NULL;
  if (!exchange)
    return;
  exchange->peer = NULL;
  rt_timer_stop(peer_rt(peer), &exchange->pause);
  if (exchange->phase == HANDLING)
    return; /* Lua's userdata frees it, or run_head */
  rt_dequeue(peer_rt(peer), &exchange->job);
  exchange_free(exchange);
}

bool request_pending(const struct peer *peer) {
  return peer->exchange && peer->exchange->phase > RECEIVING;
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
                 {504, "Gateway Timeout"},
                 {507, "Insufficient Storage"}};
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

static bool is_bodiless(int status) {
  return status == 204 || status == 304;
}

/* The headers that are ours. */
static bool end_head(struct exchange *exchange, int status, uint64_t length) {
  struct buffer *out = &exchange->out;
  if (!is_bodiless(status) && !buffer_printf(out, "Content-Length: %" PRIu64 "\r\n", length))
    return false;
  if (!exchange->keep && !buffer_puts(out, "Connection: close\r\n"))
    return false;
  if (exchange->keep && exchange->old && !buffer_puts(out, "Connection: keep-alive\r\n"))
    return false;
  return buffer_puts(out, "\r\n");
}

static bool end_answer(struct exchange *exchange, int status, const char *body, size_t length) {
  if (!end_head(exchange, status, length))
    return false;
  return is_bodiless(status) || exchange->head || buffer_append(&exchange->out, body, length);
}

/* The file is the body, if there is to be one. */
static bool end_answer_with_file(struct exchange *exchange, int status) {
  if (!end_head(exchange, status, served_file_length(exchange->file)))
    return false;
  if (is_bodiless(status) || exchange->head) {
    served_file_free(exchange->file);
    exchange->file = NULL;
  }
  return true;
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
  upload_free(exchange->upload); /* half a file is gone before the client hears of it */
  exchange->upload = NULL;
  exchange->keep = false;
  exchange->linger = status == 413 || exchange->chunked || exchange->asked;
  return answer_plainly(exchange, status) ? 0 : -1;
}

/* Between two writes neither read nor stop being told of room: lws gives no call for that, but a change of
 * flow control made inside a callback waits for its end, and is left to wait when that returns 1. */
static int hold(struct peer *peer) {
  struct lws *wsi = peer->wsi;
  lws_rx_flow_control(wsi, LWS_RXFLOW_REASON_APPLIES | LWS_RXFLOW_REASON_USER_BOOL |
                               LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
  lws_rx_flow_control(wsi, 1);
  return 1;
}

static int wait_for_room(struct peer *peer) {
  peer_expect(peer, STALL_SECONDS);
  lws_callback_on_writable(peer->wsi);
  return hold(peer);
}

static void run_go_on(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = (struct exchange *)(void *)((char *)job - offsetof(struct exchange, job));
  (void)rt;
  (void)L;
  lws_callback_on_writable(exchange->peer->wsi);
}

static void on_pause_over(struct rt_timer *timer) {
  struct exchange *exchange = (struct exchange *)(void *)((char *)timer - offsetof(struct exchange, pause));
  exchange->job.run = run_go_on;
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
}

/* The file may go on after so many seconds. */
static int wait_for_time(struct exchange *exchange, double seconds) {
  peer_expect(exchange->peer, 0);
  exchange->pause.fire = on_pause_over;
  rt_timer_start(peer_rt(exchange->peer), &exchange->pause, seconds);
  return hold(exchange->peer);
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

/* Write what is in `out` until the system takes no more. */
static bool write_out(struct exchange *exchange) {
  struct lws *wsi = exchange->peer->wsi;
  struct buffer *out = &exchange->out;
  while (exchange->sent < out->length && !lws_partial_buffered(wsi)) {
    size_t left = out->length - exchange->sent, n = left < WIRE_CHUNK ? left : WIRE_CHUNK;
    if (lws_write(wsi, (unsigned char *)out->data + exchange->sent, n, LWS_WRITE_HTTP) < (int)n)
      return false;
    exchange->sent += n;
  }
  return true;
}

/* Read the next piece of the file into `out`. */
static enum served read_piece(struct exchange *exchange, double *seconds) {
  struct buffer *out = &exchange->out;
  size_t length = WIRE_CHUNK;
  enum served served;
  out->length = LWS_PRE;
  if (!buffer_reserve(out, WIRE_CHUNK))
    return SERVED_CUT;
  served = served_file_next(exchange->file, rt_monotonic(peer_rt(exchange->peer)), out->data + LWS_PRE,
                            &length, seconds);
  out->length += served == SERVED_PIECE ? length : 0;
  exchange->sent = LWS_PRE;
  return served;
}

static int on_writeable(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  double seconds = 0;
  if (!exchange || exchange->phase != ANSWERING)
    return 0;
  for (int pieces = 0; pieces <= PIECES_PER_TURN; pieces++) {
    enum served served;
    if (!write_out(exchange))
      return -1;
    if (lws_partial_buffered(peer->wsi))
      return wait_for_room(peer);
    served = exchange->file ? read_piece(exchange, &seconds) : SERVED_ALL;
    if (served == SERVED_LATER)
      return wait_for_time(exchange, seconds);
    if (served != SERVED_PIECE)
      return served == SERVED_ALL ? answered(peer) : -1;
  }
  return wait_for_room(peer);
}

/* ---- receiving ----------------------------------------------------------------------------------- */

static void run_request(struct rt *rt, lua_State *L, struct rt_job *job);
static void run_head(struct rt *rt, lua_State *L, struct rt_job *job);

/* The request is here. lws must neither read on nor time out until it is answered. */
static int complete(struct exchange *exchange) {
  struct peer *peer = exchange->peer;
  exchange->phase = READY;
  exchange->job.run = run_request;
  peer_expect(peer, 0);
  lws_set_timeout(peer->wsi, NO_PENDING_TIMEOUT, 0);
  lws_rx_flow_control(peer->wsi, 0);
  rt_enqueue(peer_rt(peer), &exchange->job);
  return 0;
}

/* The body is over. */
static int finish(struct exchange *exchange) {
  int status = exchange->upload ? upload_end(exchange->upload) : 0;
  return status ? refuse(exchange, status) : complete(exchange);
}

/* Take bytes of the body itself; returns a status to refuse the request with, or 0. */
static int take_body(struct exchange *exchange, const char *in, size_t length) {
  if (length > exchange->max_body - exchange->received)
    return 413;
  exchange->received += length;
  if (exchange->upload)
    return upload_take(exchange->upload, in, length);
  return buffer_append(&exchange->body, in, length) ? 0 : 413;
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
      int status = take_body(exchange, in, n);
      if (status)
        return status;
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
static int read_framing(struct exchange *exchange, struct lws *wsi, const struct method *method) {
  char text[32];
  int n = lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH);
  bool coded = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
  if (n < 0 || (n > 0 && (coded || n > 15 || strspn(text, "0123456789") != (size_t)n)))
    return 400;
  if (n > 0) {
    exchange->length = (size_t)strtoull(text, NULL, 10);
    return 0;
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

static bool expects_invitation(struct lws *wsi) {
  char text[24];
  return lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_EXPECT) > 0 && !strcasecmp(text, "100-continue");
}

static int invite_body(const struct exchange *exchange) {
  static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
  unsigned char packet[LWS_PRE + sizeof answer];
  if (!exchange->expects || exchange->ended)
    return 0;
  memcpy(packet + LWS_PRE, answer, sizeof answer);
  return lws_write(exchange->peer->wsi, packet + LWS_PRE, sizeof answer - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int await_body(struct exchange *exchange) {
  if (exchange->length > exchange->max_body)
    return refuse(exchange, 413);
  if (!exchange->upload && !buffer_reserve(&exchange->body, exchange->length))
    return refuse(exchange, 503);
  return invite_body(exchange);
}

/* What comes until on_head has decided is what lws has read already: one read of the socket. */
static int ask(struct exchange *exchange) {
  exchange->phase = ASKING;
  exchange->job.run = run_head;
  lws_rx_flow_control(exchange->peer->wsi, 0);
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
  return 0;
}

static struct exchange *exchange_new(struct peer *peer, const struct method *method) {
  struct exchange *exchange = calloc(1, sizeof *exchange);
  if (!exchange)
    return NULL;
  exchange->peer = peer;
  exchange->phase = RECEIVING;
  exchange->max_body = peer->listener->max_body;
  exchange->head = method->token == WSI_TOKEN_HEAD_URI;
  exchange->expects = expects_invitation(peer->wsi);
  return exchange;
}

static int on_head(struct peer *peer) {
  const struct method *method = method_of(peer->wsi);
  struct exchange *exchange = method ? exchange_new(peer, method) : NULL;
  int status;
  if (!exchange)
    return write_refusal(peer->wsi, method ? 503 : 501, "");
  peer->exchange = exchange;
  peer_expect(peer, BODY_SECONDS);
  read_keep_alive(exchange, peer->wsi);
  status = read_framing(exchange, peer->wsi, method);
  if (status)
    return refuse(exchange, status);
  if (!read_head(exchange, peer->wsi, method))
    return refuse(exchange, 503);
  if (peer->listener->asks && (exchange->length || exchange->chunked))
    return ask(exchange);
  if (exchange->length || exchange->chunked)
    return await_body(exchange);
  if (lws_hdr_total_length(peer->wsi, WSI_TOKEN_POST_URI) &&
      lws_hdr_total_length(peer->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
    return 0; /* also of an empty body lws says when it is complete */
  return complete(exchange);
}

static int on_early_body(struct exchange *exchange, const char *in, size_t length) {
  return buffer_append(&exchange->body, in, length) ? 0 : -1;
}

static int on_body(struct exchange *exchange, const char *in, size_t length) {
  int verdict;
  if (exchange->phase == ASKING)
    return on_early_body(exchange, in, length);
  if (exchange->phase != RECEIVING) {
    exchange->discarded += length;
    return exchange->discarded > LONGEST_LINGER ? -1 : 0;
  }
  peer_expect(exchange->peer, BODY_SECONDS);
  verdict = exchange->chunked ? on_chunked(exchange, in, length) : take_body(exchange, in, length);
  if (verdict == 1)
    return finish(exchange);
  return verdict ? refuse(exchange, verdict) : 0;
}

/* lws says it again when more comes than the body. */
static int on_body_complete(struct exchange *exchange) {
  if (exchange->phase == ASKING) {
    exchange->ended = true;
    return 0;
  }
  if (exchange->phase == RECEIVING)
    return exchange->chunked ? refuse(exchange, 413) : finish(exchange);
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

/* Push a table of what the head says. */
static void push_head(lua_State *L, const struct exchange *exchange) {
  const char *at = exchange->fields.data, *end = at + exchange->fields.length;
  lua_createtable(L, 0, 8);
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
  lua_pushstring(L, exchange->peer->address);
  lua_setfield(L, -2, "peer");
  if (exchange->chunked)
    return;
  lua_pushinteger(L, (lua_Integer)exchange->length);
  lua_setfield(L, -2, "content_length");
}

/* Push the table behind the fields of a Request. */
static void push_fields(lua_State *L, const struct exchange *exchange) {
  push_head(L, exchange);
  lua_pushlstring(L, exchange->body.length ? exchange->body.data : "", exchange->body.length);
  lua_setfield(L, -2, "body");
  if (exchange->upload)
    upload_hand_over(L, exchange->upload);
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

/* ---- asking Lua what becomes of a body ----------------------------------------------------------- */

struct decision {
  struct upload *upload;
  lua_Integer max_body; /* -1: as usual */
  bool ignore_body, made;
};

static void check_decision_names(lua_State *L, int table) {
  static const char *const known[] = {"save_to", "form", "max_body", "ignore_body", NULL};
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
    int i = 0;
    while (known[i] && strcmp(known[i], name) != 0)
      i++;
    if (!known[i])
      luaL_error(L, "unknown field '%s' in the answer of on_head", name);
  }
}

static void read_decision(lua_State *L, int table, struct decision *decision) {
  int is_integer = 1;
  check_decision_names(L, table);
  if (lua_getfield(L, table, "max_body") != LUA_TNIL)
    decision->max_body = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || lua_type(L, -1) == LUA_TSTRING || decision->max_body < -1)
    luaL_error(L, "'max_body': a number of bytes expected, got %s", luaL_tolstring(L, -1, NULL));
  lua_getfield(L, table, "ignore_body");
  decision->ignore_body = lua_toboolean(L, -1);
  lua_pop(L, 2);
  upload_read(L, table, &decision->upload);
  if (decision->ignore_body && decision->upload)
    luaL_error(L, "'ignore_body' excludes 'save_to' and 'form'");
}

/* (decision, on_head, head) */
static int l_decide(lua_State *L) {
  struct decision *decision = lua_touserdata(L, 1);
  lua_call(L, 1, 1);
  if (!lua_isnil(L, 2)) {
    if (!lua_istable(L, 2))
      return luaL_error(L, "on_head: a table or nil expected, got %s", luaL_typename(L, 2));
    read_decision(L, 2, decision);
  }
  decision->made = true;
  return 0;
}

static const char *content_type(const struct exchange *exchange) {
  const char *at = exchange->fields.data, *end = at + exchange->fields.length;
  while (at < end) {
    const char *name = at + 1, *value = name + strlen(name) + 1;
    if (*at == 'h' && !strcmp(name, "content-type"))
      return value;
    at = value + strlen(value) + 1;
  }
  return "";
}

/* on_http is called at once; what still comes of the body is thrown away. */
static int ignore_body(struct exchange *exchange) {
  exchange->keep = false;
  exchange->linger = !exchange->ended;
  return complete(exchange);
}

/* Receive as decided; returns what a callback would. */
static int begin_body(struct exchange *exchange, const struct decision *decision) {
  struct buffer early = exchange->body;
  int status = decision->made ? 0 : 500, result;
  memset(&exchange->body, 0, sizeof exchange->body);
  if (decision->max_body >= 0)
    exchange->max_body = (size_t)decision->max_body;
  if (!status && exchange->length > exchange->max_body && !decision->ignore_body)
    status = 413;
  if (!status && exchange->upload)
    status = upload_begin(exchange->upload, content_type(exchange));
  if (status) {
    result = refuse(exchange, status);
  } else if (decision->ignore_body) {
    result = ignore_body(exchange);
  } else {
    result = await_body(exchange);
    if (!result && early.length)
      result = on_body(exchange, early.data, early.length);
    if (!result && exchange->ended && exchange->phase == RECEIVING)
      result = on_body_complete(exchange);
  }
  buffer_free(&early);
  return result;
}

/* on_head may close the listener, and with it the connection. */
static void run_head(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = (struct exchange *)(void *)((char *)job - offsetof(struct exchange, job));
  struct decision decision = {.max_body = -1};
  exchange->phase = HANDLING;
  exchange->asked = true;
  lua_pushcfunction(L, l_decide);
  lua_pushlightuserdata(L, &decision);
  push_listener(L, exchange->peer->listener);
  lua_getiuservalue(L, -1, ON_HEAD);
  lua_remove(L, -2);
  push_head(L, exchange);
  rt_call(rt, L, 3, "on_head");
  exchange->upload = decision.upload;
  if (!exchange->peer) {
    exchange_free(exchange);
    return;
  }
  exchange->phase = RECEIVING;
  lws_rx_flow_control(exchange->peer->wsi, 1);
  if (begin_body(exchange, &decision) < 0)
    peer_drop(exchange->peer);
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

/* The exchange whose client is still there; NULL: it has left. */
static struct exchange *take_answerable(struct request_box *box) {
  struct exchange *exchange = take(box);
  box->answered = true;
  if (!exchange)
    return NULL;
  exchange->phase = ANSWERING; /* it is the peer's again */
  if (!has_left(exchange->peer))
    return exchange;
  peer_drop(exchange->peer);
  return NULL;
}

/* Answer with the string `body`, or with the file, which is given away. */
static int respond(lua_State *L, struct request_box *box, const char *body, size_t length,
                   struct served_file *file) {
  int status = (int)lua_tointeger(L, 2);
  struct exchange *exchange = take_answerable(box);
  bool ok;
  if (!exchange) {
    served_file_free(file);
    return fail(L, ERR_CLOSED, 0, "the client has closed the connection");
  }
  if (exchange->peer->listener->closing)
    exchange->keep = false;
  exchange->file = file;
  ok = begin_answer(exchange, status) && add_answer_headers(L, exchange) &&
       (file ? end_answer_with_file(exchange, status) : end_answer(exchange, status, body, length));
  if (!ok)
    return out_of_memory(L, exchange);
  start_answer(exchange);
  lua_pushboolean(L, 1);
  return 1;
}

/* A file that cannot be opened leaves the request unanswered. */
static int respond_with_file(lua_State *L, struct request_box *box) {
  struct served_range range;
  struct served_file *file;
  struct reason reason = {ERR_NONE, 0, ""};
  served_file_read_options(L, 4, &range);
  if (box->answered)
    return luaL_error(L, "the request has been answered already");
  file = served_file_open(&range, rt_monotonic(rt_get(L)), &reason);
  return file ? respond(L, box, NULL, 0, file) : fail_reason(L, &reason);
}

static int l_respond(lua_State *L) {
  struct request_box *box = check_box(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  const char *body;
  size_t length;
  luaL_argcheck(L, status >= 200 && status < 600, 2, "an HTTP status, 200 to 599, expected");
  check_headers(L);
  if (lua_istable(L, 4))
    return respond_with_file(L, box);
  body = luaL_optlstring(L, 4, "", &length);
  if (box->answered)
    return luaL_error(L, "the request has been answered already");
  return respond(L, box, body, length, NULL);
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
