/*
 * server/request.c - one HTTP request of a listener: received, handled by Lua, answered.
 * Lua sees: Request (method, path, query, headers, body, peer; respond, drop).
 * Owns: the exchange while a handler works on it; see struct exchange.
 * Loop thread only. Callbacks of lws copy and queue; the handler is started at the drain point.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define REQUEST_T "trueconf.Request"
enum { LONGEST_LINGER = 64 << 20 /* bytes of a refused client that are thrown away */ };

struct request_box {
  struct exchange *exchange; /* NULL: answered or dropped */
  bool answered;
};

/* ---- receiving ----------------------------------------------------------------------------------- */

static void run_request(struct rt *rt, lua_State *L, struct rt_job *job);

/* The head of a request is whole, or has to be refused. */
static int begin_request(struct peer *peer, const char *text, int status, bool early) {
  struct exchange *exchange = exchange_new(peer);
  if (!exchange)
    return -1;
  peer->exchange = exchange;
  exchange->handle = run_request;
  exchange->head = peer->head;
  exchange->keep = exchange->head.keep;
  exchange->early = early;
  memset(&peer->head, 0, sizeof peer->head);
  peer_expect(peer, BODY_SECONDS);
  if (status != HEAD_WHOLE)
    return answer_refusing(exchange, status, "");
  if (!buffer_append(&exchange->text, text, exchange->head.size))
    return answer_refusing(exchange, 503, "");
  if (upgrade_is_asked(exchange))
    return upgrade_answer(exchange);
  if (!exchange->head.length && !exchange->head.chunked)
    return exchange_complete(exchange);
  return peer->listener->asks ? body_ask(exchange) : body_await(exchange);
}

/* Read on in the head that begins at *at, and move that behind it once it is whole. */
static int read_head(struct peer *peer, const char **at, const char *end) {
  const char *text = *at;
  int status;
  if (!peer->head.seen && peer->heard)
    peer_expect(peer, HEAD_SECONDS);
  status = head_read_on(&peer->head, text, (size_t)(end - text));
  if (status == HEAD_MORE)
    return 0;
  *at = status == HEAD_WHOLE ? text + peer->head.size : end;
  return begin_request(peer, text, status, *at < end);
}

static int throw_away(struct exchange *exchange, const char **at, const char *end) {
  exchange->discarded += (size_t)(end - *at);
  *at = end;
  return exchange->discarded > LONGEST_LINGER ? -1 : 0;
}

/* Read from *at as far as can be now, and move that. */
static int read_on(struct peer *peer, const char **at, const char *end) {
  int result = 0;
  while (!result && *at < end && !peer->is_socket) {
    struct exchange *exchange = peer->exchange;
    const char *from = *at;
    if (!exchange)
      result = read_head(peer, at, end);
    else if (exchange->phase == RECEIVING)
      result = body_read_on(exchange, at, end);
    else if (exchange->phase == LINGERING)
      result = throw_away(exchange, at, end);
    if (*at == from)
      break; /* more has to come, or the answer to leave */
  }
  return result;
}

/* Frames may come right behind an upgrade. */
static int read_inbox(struct peer *peer) {
  struct buffer *inbox = &peer->inbox;
  const char *at = inbox->data;
  int result = inbox->length ? read_on(peer, &at, inbox->data + inbox->length) : 0;
  if (result)
    return result;
  buffer_consume(inbox, (size_t)(at - inbox->data));
  if (peer->is_socket && inbox->length)
    wire_feed(&peer->wire, inbox->data, inbox->length);
  if (peer->is_socket || !inbox->length)
    buffer_free(inbox);
  return 0;
}

/* Bytes that cannot be read yet wait in the inbox. */
int request_on_bytes(struct peer *peer, const char *in, size_t length) {
  return buffer_append(&peer->inbox, in, length) ? read_inbox(peer) : -1;
}

int request_on_writeable(struct peer *peer) {
  int result = answer_on_writeable(peer);
  return result || peer->exchange ? result : read_inbox(peer);
}

/* ---- handing over to Lua ------------------------------------------------------------------------- */

/* Push the table behind the fields of a Request. */
static void push_fields(lua_State *L, const struct exchange *exchange) {
  request_push_head(L, exchange);
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
  buffer_free(&exchange->text);
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

static int l_hand_over(lua_State *L) {
  struct exchange *exchange = lua_touserdata(L, 1);
  struct peer *peer = exchange->peer;
  peer_push_listener(L, peer);
  lua_pushcfunction(L, l_serve);
  if (lua_getiuservalue(L, -2, ON_HTTP) == LUA_TFUNCTION) {
    push_request(L, exchange);
    rt_spawn(peer_rt(peer), L, 2);
  } else if (!answer_plainly(exchange, 404, "")) {
    peer_drop(peer);
  }
  return 0;
}

/* Drop a request that could not be handed over: no handler would answer it. */
static void run_request(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  struct peer *peer = exchange->peer;
  (void)rt;
  assert(peer && exchange->phase == READY);
  if (!rt_protected(L, l_hand_over, exchange))
    peer_drop(peer);
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

/* While a handler works nothing is read, so nobody has noticed whether the client has left. One that has only
 * said that it sends no more waits for its answer. */
static bool has_left(const struct peer *peer) {
  char byte;
  return recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR;
}

/* False for text with a byte that would end the line or the headers. */
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
         !strcasecmp(name, "transfer-encoding") || !strcasecmp(name, "date");
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
  assert(exchange->phase == HANDLING);
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
  ok = answer_begin(exchange, status) && add_answer_headers(L, exchange) &&
       (file ? answer_end_with_file(exchange, status) : answer_end(exchange, status, body, length));
  if (!ok)
    return out_of_memory(L, exchange);
  answer_start(exchange);
  lua_pushboolean(L, 1);
  return 1;
}

/* A file that cannot be opened leaves the request unanswered. */
static int respond_with_file(lua_State *L, struct request_box *box) {
  struct served_range range;
  struct served_file *file;
  struct reason reason = {0};
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

/* __close and __gc: the handler has not answered. */
static int l_close(lua_State *L) {
  struct request_box *box = check_box(L);
  struct exchange *exchange = take(box);
  box->answered = true;
  if (!exchange)
    return 0;
  exchange->phase = ANSWERING;
  if (!answer_plainly(exchange, 500, ""))
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
