/*
 * server/request_body.c - the body of a request: where it ends, and where it goes.
 * Lua sees: the listener's on_head, which decides that.
 * Bytes that come before on_head has decided wait in the peer's inbox. Callbacks of lws copy and queue;
 * on_head is called at the drain point. SPDX-License-Identifier: MIT
 */
#include "base/options.h"
#include "server/private.h"

#include <stdlib.h>
#include <string.h>

static void run_head(struct rt *rt, lua_State *L, struct rt_job *job);

/* The body is over. */
static int finish(struct exchange *exchange) {
  int status = exchange->upload ? upload_end(exchange->upload) : 0;
  return status ? answer_refusing(exchange, status, "") : exchange_complete(exchange);
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

/* These two return CHUNKED_MORE, CHUNKED_WHOLE, or a status to refuse the request with. */
static int read_chunks(struct exchange *exchange, const char **at, const char *end) {
  const char *data;
  size_t length;
  int result;
  while ((result = chunked_read_on(&exchange->chunked, at, end, &data, &length)) == CHUNKED_DATA) {
    result = take_body(exchange, data, length);
    if (result)
      return result;
  }
  return result;
}

static int read_plain(struct exchange *exchange, const char **at, const char *end) {
  uint64_t left = exchange->head.length - exchange->received;
  size_t here = (size_t)(end - *at) < left ? (size_t)(end - *at) : (size_t)left;
  int status = take_body(exchange, *at, here);
  *at += here;
  return !status && here == left ? CHUNKED_WHOLE : status;
}

static int invite_body(const struct exchange *exchange) {
  static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
  unsigned char packet[LWS_PRE + sizeof answer];
  if (!exchange->head.expects || exchange->early)
    return 0;
  memcpy(packet + LWS_PRE, answer, sizeof answer);
  return lws_write(exchange->peer->wsi, packet + LWS_PRE, sizeof answer - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int begin_upload(struct exchange *exchange) {
  char *type = request_field(exchange, "content-type");
  int status = type ? upload_begin(exchange->upload, type) : 503;
  free(type);
  return status;
}

int body_await(struct exchange *exchange) {
  int status = 0;
  chunked_init(&exchange->chunked, exchange->max_body);
  if (exchange->head.length > exchange->max_body)
    status = 413;
  else if (exchange->upload)
    status = begin_upload(exchange);
  else if (!buffer_reserve(&exchange->body, (size_t)exchange->head.length))
    status = 503;
  return status ? answer_refusing(exchange, status, "") : invite_body(exchange);
}

int body_ask(struct exchange *exchange) {
  exchange->phase = ASKING;
  exchange->job.run = run_head;
  lws_rx_flow_control(exchange->peer->wsi, 0);
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
  return 0;
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

static void run_pause(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  double seconds = exchange->owed;
  (void)L;
  assert(exchange->phase == RECEIVING && !exchange->pause.place);
  exchange->owed = 0;
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

int body_read_on(struct exchange *exchange, const char **at, const char *end) {
  size_t length = (size_t)(end - *at);
  int result;
  assert(exchange->phase == RECEIVING);
  if (length >= exchange->cut_after - exchange->received)
    return -1;
  exchange->moved += length;
  if (admission_is_too_slow(exchange))
    return -1;
  peer_expect(exchange->peer, BODY_SECONDS);
  result = exchange->head.chunked ? read_chunks(exchange, at, end) : read_plain(exchange, at, end);
  if (result == CHUNKED_WHOLE)
    return finish(exchange);
  if (result)
    return answer_refusing(exchange, result, "");
  if (exchange->rate > 0)
    slow_down(exchange, length);
  return 0;
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

/* Read what has come meanwhile. */
static int read_inbox(struct exchange *exchange) {
  struct buffer *inbox = &exchange->peer->inbox;
  const char *at = inbox->data;
  int result;
  if (!inbox->length)
    return 0;
  result = body_read_on(exchange, &at, inbox->data + inbox->length);
  if (!result)
    buffer_consume(inbox, (size_t)(at - inbox->data));
  return result;
}

/* Do as decided with what has come and what will; returns what a callback would. */
static int begin_body(struct exchange *exchange, const struct decision *decision) {
  int result;
  if (!decision->made)
    return answer_refusing(exchange, 500, "");
  if (decision->ignore_body) { /* on_http is called at once; what still comes of the body is thrown away */
    exchange->keep = false;
    return exchange_complete(exchange);
  }
  if (decision->max_body >= 0)
    exchange->max_body = (size_t)decision->max_body;
  if (decision->cut_after >= 0)
    exchange->cut_after = (size_t)decision->cut_after;
  exchange->rate = (double)decision->rate;
  result = body_await(exchange);
  return !result && exchange->phase == RECEIVING ? read_inbox(exchange) : result;
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
  request_push_head(L, question->exchange);
  rt_call(peer_rt(peer), L, 3, "on_head");
  return 0;
}

/* on_head may close the listener, and with it the connection. */
static void run_head(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  struct decision decision = {.max_body = -1, .cut_after = -1};
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
  exchange->phase = RECEIVING;
  lws_rx_flow_control(exchange->peer->wsi, 1);
  if (begin_body(exchange, &decision) < 0)
    peer_drop(exchange->peer);
}
