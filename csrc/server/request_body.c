/*
 * server/request_body.c - the body of a request: where it ends, and where it goes.
 * Lua sees: the listener's on_head, which decides that.
 * Callbacks of lws copy and queue; on_head is called at the drain point.
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"
#include "server/private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  LONGEST_LINGER = 64 << 20,
  SIZE_DIGITS = 7, /* of a chunk */
  LONGEST_LINE = 256,
};

static void run_head(struct rt *rt, lua_State *L, struct rt_job *job);

/* The body is over. */
static int finish(struct exchange *exchange) {
  int status = exchange->upload ? upload_end(exchange->upload) : 0;
  return status ? answer_refusing(exchange, status) : exchange_complete(exchange);
}

/* Take bytes of the body itself; returns a status to refuse the request with, or 0. */
static int take_body(struct exchange *exchange, const char *in, size_t length) {
  if (length > exchange->max_body - exchange->received)
    return 413;
  exchange->received += length;
  assert(exchange->received <= exchange->max_body);
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

int body_read_framing(struct exchange *exchange, struct lws *wsi, const struct http_method *method) {
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

static int invite_body(const struct exchange *exchange) {
  static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
  unsigned char packet[LWS_PRE + sizeof answer];
  if (!exchange->expects || exchange->ended)
    return 0;
  memcpy(packet + LWS_PRE, answer, sizeof answer);
  return lws_write(exchange->peer->wsi, packet + LWS_PRE, sizeof answer - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

int body_await(struct exchange *exchange) {
  int status = 0;
  if (exchange->length > exchange->max_body)
    status = 413;
  else if (exchange->upload)
    status = upload_begin(exchange->upload, head_content_type(exchange));
  else if (!buffer_reserve(&exchange->body, exchange->length))
    status = 503;
  return status ? answer_refusing(exchange, status) : invite_body(exchange);
}

/* What comes until on_head has decided is what lws has read already: one read of the socket. */
int body_ask(struct exchange *exchange) {
  exchange->phase = ASKING;
  exchange->job.run = run_head;
  lws_rx_flow_control(exchange->peer->wsi, 0);
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
  return 0;
}

static int on_early_body(struct exchange *exchange, const char *in, size_t length) {
  return buffer_append(&exchange->body, in, length) ? 0 : -1;
}

/* ---- reading slowly ------------------------------------------------------------------------------ */

static void run_read_on(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct peer *peer = container_of(job, struct exchange, job)->peer;
  (void)rt;
  (void)L;
  peer_expect(peer, BODY_SECONDS);
  lws_rx_flow_control(peer->wsi, 1);
}

static void on_pause_over(struct rt_timer *timer) {
  struct exchange *exchange = container_of(timer, struct exchange, pause);
  exchange->job.run = run_read_on;
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
}

/* After the callback of the piece, in which lws has begun a timeout of its own. */
static void run_pause(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  double seconds = exchange->owed;
  (void)L;
  assert(exchange->phase == RECEIVING && !exchange->pause.place);
  exchange->owed = 0;
  lws_set_timeout(exchange->peer->wsi, NO_PENDING_TIMEOUT, 0);
  exchange->pause.fire = on_pause_over;
  rt_timer_start(rt, &exchange->pause, seconds);
}

/* Nothing is read for as long as these bytes would have taken; the client has to wait too. */
static void slow_down(struct exchange *exchange, size_t length) {
  struct rt *rt = peer_rt(exchange->peer);
  exchange->owed += (double)length / exchange->rate;
  exchange->paced = true;
  peer_expect(exchange->peer, 0);
  lws_rx_flow_control(exchange->peer->wsi, 0);
  rt_timer_stop(rt, &exchange->pause);
  rt_dequeue(rt, &exchange->job);
  exchange->job.run = run_pause;
  rt_enqueue(rt, &exchange->job);
}

/* ---- receiving ----------------------------------------------------------------------------------- */

int body_on_bytes(struct exchange *exchange, const char *in, size_t length) {
  int verdict;
  if (exchange->phase == ASKING)
    return on_early_body(exchange, in, length);
  if (exchange->phase != RECEIVING) {
    exchange->discarded += length;
    return exchange->discarded > LONGEST_LINGER ? -1 : 0;
  }
  if (length >= exchange->cut_after - exchange->received)
    return -1;
  exchange->moved += length;
  if (admission_is_too_slow(exchange))
    return -1;
  peer_expect(exchange->peer, BODY_SECONDS);
  verdict = exchange->chunked ? on_chunked(exchange, in, length) : take_body(exchange, in, length);
  if (verdict == 1)
    return finish(exchange);
  if (verdict)
    return answer_refusing(exchange, verdict);
  if (exchange->rate > 0)
    slow_down(exchange, length);
  return 0;
}

/* lws says it again when more comes than the body. */
int body_on_complete(struct exchange *exchange) {
  if (exchange->phase == ASKING) {
    exchange->ended = true;
    return 0;
  }
  if (exchange->phase == RECEIVING)
    return exchange->chunked ? answer_refusing(exchange, 413) : finish(exchange);
  return exchange->phase == READY || exchange->phase == HANDLING ? -1 : 0;
}

/* ---- asking Lua what becomes of it --------------------------------------------------------------- */

struct decision {
  struct upload *upload;
  lua_Integer max_body, cut_after; /* -1: as usual, never */
  lua_Integer rate;                /* 0: any */
  bool ignore_body, made;
};

static void read_decision(lua_State *L, int table, struct decision *decision) {
  static const char *const known[] = {"save_to", "form",      "max_body", "ignore_body",
                                      "rate",    "cut_after", NULL};
  options_check_names(L, table, "on_head field", known);
  decision->max_body = options_integer(L, table, "on_head field", "max_body", 0, LUA_MAXINTEGER, -1);
  decision->rate = options_integer(L, table, "on_head field", "rate", 1, LUA_MAXINTEGER, 0);
  decision->cut_after = options_integer(L, table, "on_head field", "cut_after", 0, LUA_MAXINTEGER, -1);
  lua_getfield(L, table, "ignore_body");
  decision->ignore_body = lua_toboolean(L, -1);
  lua_pop(L, 1);
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

/* on_http is called at once; what still comes of the body is thrown away. */
static int ignore_body(struct exchange *exchange) {
  exchange->keep = false;
  exchange->linger = !exchange->ended;
  return exchange_complete(exchange);
}

/* Do as decided with what has come and what will; returns what a callback would. */
static int begin_body(struct exchange *exchange, const struct decision *decision,
                      const struct buffer *early) {
  int result;
  if (!decision->made)
    return answer_refusing(exchange, 500);
  if (decision->ignore_body)
    return ignore_body(exchange);
  if (decision->max_body >= 0)
    exchange->max_body = (size_t)decision->max_body;
  if (decision->cut_after >= 0)
    exchange->cut_after = (size_t)decision->cut_after;
  exchange->rate = (double)decision->rate;
  result = body_await(exchange);
  if (!result && early->length)
    result = body_on_bytes(exchange, early->data, early->length);
  if (!result && exchange->ended && exchange->phase == RECEIVING)
    result = body_on_complete(exchange);
  return result;
}

struct question {
  struct exchange *exchange;
  struct decision *decision;
};

static int l_ask(lua_State *L) {
  const struct question *question = lua_touserdata(L, 1);
  struct peer *peer = question->exchange->peer;
  lua_pushcfunction(L, l_decide);
  lua_pushlightuserdata(L, question->decision);
  peer_push_listener(L, peer);
  lua_getiuservalue(L, -1, ON_HEAD);
  lua_remove(L, -2);
  head_push(L, question->exchange);
  rt_call(peer_rt(peer), L, 3, "on_head");
  return 0;
}

/* on_head may close the listener, and with it the connection. */
static void run_head(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  struct decision decision = {.max_body = -1, .cut_after = -1};
  struct buffer early = exchange->body;
  (void)rt;
  assert(exchange->phase == ASKING && exchange->peer);
  exchange->phase = HANDLING;
  exchange->asked = true;
  rt_protected(L, l_ask, &(struct question){exchange, &decision}); /* else no decision is made */
  exchange->upload = decision.upload;
  if (!exchange->peer) {
    exchange_free(exchange);
    return;
  }
  memset(&exchange->body, 0, sizeof exchange->body);
  exchange->phase = RECEIVING;
  lws_rx_flow_control(exchange->peer->wsi, 1);
  if (begin_body(exchange, &decision, &early) < 0)
    peer_drop(exchange->peer);
  buffer_free(&early);
}
