/*
 * ws/rawsocket.c - a bare WebSocket client for tools and specs: frames in, frames out, no protocol above.
 * Lua sees: core.socket(options) -> socket (send, receive, close, drop, protocol).
 * Owns: a socket and the messages nobody has received yet. It is anchored while the connection
 * lives.
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"
#include "ws/socket.h"

#include <stdlib.h>
#include <string.h>

#define RAW_T "trueconf.Socket"

struct raw {
  struct rt *rt;
  struct socket *socket; /* NULL: gone */
  struct url url;
  struct tls_options tls;
  struct headers headers;
  struct wire_limits limits;
  char *proxy, *subprotocol;
  char protocol[64];
  struct reason reason; /* why it is gone */
  struct raw_op *receiver, *opener;
  lua_Integer first, last; /* the messages in the user value, a table */
};

struct raw_op {
  struct op op;
  struct raw *raw;
  struct rt_timer timer;
  bool timed_out;
};

static struct raw_op *wait_new(lua_State *L, struct raw *raw, const char *what,
                               int (*push)(lua_State *, struct op *), void (*cancel)(struct op *)) {
  struct raw_op *wait = op_new(L, sizeof *wait, NULL, what);
  wait->op.push = push;
  wait->op.cancel = cancel;
  wait->raw = raw;
  return wait;
}

static void settle(struct raw_op **slot) {
  struct raw_op *wait = *slot;
  if (!wait)
    return;
  *slot = NULL;
  rt_timer_stop(wait->op.rt, &wait->timer);
  op_settle(&wait->op);
}

/* ---- the socket's ends --------------------------------------------------------------------------- */

static void at_opened(struct socket *socket, lua_State *L) {
  struct raw *raw = socket_owner(socket);
  (void)L;
  snprintf(raw->protocol, sizeof raw->protocol, "%s", socket_protocol(socket));
  settle(&raw->opener);
}

static void at_message(struct socket *socket, lua_State *L, const char *data, size_t length, bool binary) {
  struct raw *raw = socket_owner(socket);
  (void)binary;
  rt_anchored(L, raw);
  lua_getiuservalue(L, -1, 1);
  lua_pushlstring(L, data, length);
  lua_rawseti(L, -2, ++raw->last);
  lua_pop(L, 2);
  settle(&raw->receiver);
}

static void at_gone(struct socket *socket, lua_State *L) {
  struct raw *raw = socket_owner(socket);
  raw->reason = *socket_reason(socket);
  raw->reason.code = raw->reason.code ? raw->reason.code : socket_wire(socket)->close_code;
  raw->socket = NULL;
  socket_free(socket);
  rt_unref(raw->rt);
  settle(&raw->opener);
  settle(&raw->receiver);
  rt_unanchor(L, raw);
  lua_pop(L, 1);
}

/* ---- opening ------------------------------------------------------------------------------------- */

static double opt_number(lua_State *L, const char *name, double otherwise) {
  return options_number(L, 1, "option", name, 0, 1e12, otherwise);
}

/* false: none. */
static char *read_subprotocol(lua_State *L) {
  char *text = NULL;
  int type = lua_getfield(L, 1, "subprotocol");
  bool none = type == LUA_TBOOLEAN && !lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (!none)
    text = type == LUA_TNIL ? strdup("json.v1") : options_copy_text(L, 1, "option", "subprotocol");
  if (!none && !text)
    luaL_error(L, "out of memory for option 'subprotocol'");
  return text;
}

static void read_options(lua_State *L, struct raw *raw) {
  const char *wrong = url_parse(&raw->url, options_required_text(L, 1, "option", "url", NULL));
  if (wrong)
    luaL_error(L, "url: %s", wrong);
  raw->subprotocol = read_subprotocol(L);
  raw->proxy = options_copy_text(L, 1, "option", "proxy");
  tls_options_read(L, 1, "tls", &raw->tls);
  headers_read(L, 1, "headers", &raw->headers);
  raw->limits.max_frame = (size_t)opt_number(L, "max_frame", 16 << 20);
  raw->limits.max_unsent = (size_t)opt_number(L, "max_unsent", 4 << 20);
  raw->limits.ping_interval = opt_number(L, "ping_interval", 0);
  raw->limits.pong_timeout = opt_number(L, "pong_timeout", 10);
  raw->limits.close_timeout = 3;
}

static void open_cancel(struct op *op) {
  struct raw *raw = ((struct raw_op *)op)->raw;
  raw->opener = NULL;
  if (raw->socket)
    socket_drop(raw->socket, ERR_CANCELLED, "nobody waits for the connection any more");
}

static int open_push(lua_State *L, struct op *op) {
  struct raw *raw = ((struct raw_op *)op)->raw;
  if (!raw->socket && !raw->last)
    return fail_reason(L, &raw->reason);
  lua_pushvalue(L, 2);
  return 1;
}

static int l_socket(lua_State *L) {
  static const struct socket_ops ops = {at_opened, at_message, at_gone, NULL};
  struct socket_options options = {0};
  struct raw *raw;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  raw = lua_newuserdatauv(L, sizeof *raw, 1);
  memset(raw, 0, sizeof *raw);
  luaL_setmetatable(L, RAW_T);
  lua_newtable(L);
  lua_setiuservalue(L, 2, 1);
  raw->rt = rt_get(L);
  read_options(L, raw);
  options.connect_timeout = opt_number(L, "connect_timeout", 10);
  rt_anchor(L, raw, 2);
  raw->opener = wait_new(L, raw, "a WebSocket connection", open_push, open_cancel);
  options.url = &raw->url;
  options.subprotocol = raw->subprotocol;
  options.tls = &raw->tls;
  options.proxy = raw->proxy;
  options.headers = &raw->headers;
  options.limits = &raw->limits;
  raw->socket = socket_connect(raw->rt, &options, &ops, raw);
  if (!raw->socket) {
    op_drop(L, &raw->opener->op);
    rt_unanchor(L, raw);
    return fail(L, ERR_NOMEM, 0, "no memory for a connection");
  }
  rt_ref(raw->rt);
  return op_wait(L, &raw->opener->op);
}

/* ---- methods ------------------------------------------------------------------------------------- */

static struct raw *check_raw(lua_State *L) {
  struct raw *raw = luaL_checkudata(L, 1, RAW_T);
  if (raw->socket && socket_orphaned(raw->socket)) {
    reason_set(&raw->reason, ERR_CLOSED, 0, "trueconf was closed");
    socket_free(raw->socket);
    raw->socket = NULL;
  }
  return raw;
}

static int push_message(lua_State *L, struct raw *raw) {
  lua_getiuservalue(L, 1, 1);
  lua_rawgeti(L, -1, ++raw->first);
  lua_pushnil(L);
  lua_rawseti(L, -3, raw->first);
  return 1;
}

static int receive_push(lua_State *L, struct op *op) {
  struct raw_op *wait = (struct raw_op *)op;
  struct raw *raw = wait->raw;
  if (raw->first < raw->last)
    return push_message(L, raw);
  if (wait->timed_out)
    return fail(L, ERR_TIMEOUT, 0, "no message came in time");
  return fail(L, ERR_CLOSED, raw->reason.code, "%s", raw->reason.message);
}

static void receive_cancel(struct op *op) {
  struct raw_op *wait = (struct raw_op *)op;
  rt_timer_stop(op->rt, &wait->timer);
  wait->raw->receiver = NULL;
}

static void receive_timed_out(struct rt_timer *timer) {
  struct raw_op *wait = container_of(timer, struct raw_op, timer);
  wait->timed_out = true;
  settle(&wait->raw->receiver);
}

static int l_receive(lua_State *L) {
  struct raw *raw = check_raw(L);
  double seconds = luaL_optnumber(L, 2, -1);
  if (raw->first < raw->last)
    return push_message(L, raw);
  if (!raw->socket)
    return fail(L, ERR_CLOSED, raw->reason.code, "%s", raw->reason.message);
  if (raw->receiver)
    return luaL_error(L, "another coroutine receives from this socket already");
  raw->receiver = wait_new(L, raw, "a WebSocket message", receive_push, receive_cancel);
  raw->receiver->timer.fire = receive_timed_out;
  if (seconds >= 0)
    rt_timer_start(raw->rt, &raw->receiver->timer, seconds);
  return op_wait(L, &raw->receiver->op);
}

static int l_send(lua_State *L) {
  static const char *const names[] = {"text", "binary", "ping", "fragment", "continue", "end", "raw", NULL};
  static const unsigned first[] = {WIRE_FIN | WIRE_TEXT, WIRE_FIN | WIRE_BINARY,
                                   WIRE_FIN | WIRE_PING, WIRE_TEXT,
                                   WIRE_CONTINUE,        WIRE_FIN | WIRE_CONTINUE};
  struct raw *raw = check_raw(L);
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  int which = luaL_checkoption(L, 3, "text", names);
  struct wire *wire = raw->socket ? socket_wire(raw->socket) : NULL;
  if (!wire || !wire->open || wire->closing)
    return fail(L, ERR_CLOSED, 0, "the socket is closed");
  if (names[which + 1] ? !wire_send(wire, first[which], data, length) : !wire_send_raw(wire, data, length))
    return fail(L, ERR_LIMIT, 0, "more than max_unsent bytes would wait to be sent");
  lua_pushboolean(L, 1);
  return 1;
}

static int l_close(lua_State *L) {
  struct raw *raw = check_raw(L);
  int code = (int)luaL_optinteger(L, 2, WIRE_NORMAL);
  if (raw->socket)
    socket_close(raw->socket, code, luaL_optstring(L, 3, NULL));
  return 0;
}

static int l_drop(lua_State *L) {
  struct raw *raw = check_raw(L);
  if (raw->socket)
    socket_drop(raw->socket, ERR_CLOSED, "the socket was dropped");
  return 0;
}

static int l_protocol(lua_State *L) {
  struct raw *raw = check_raw(L);
  if (!raw->protocol[0])
    return 0;
  lua_pushstring(L, raw->protocol);
  return 1;
}

static int l_gc(lua_State *L) {
  struct raw *raw = check_raw(L);
  if (raw->socket) { /* only when the Lua state closes: while it lives we are anchored */
    socket_free(raw->socket);
    raw->socket = NULL;
  }
  tls_options_free(&raw->tls);
  headers_free(&raw->headers);
  free(raw->proxy);
  free(raw->subprotocol);
  return 0;
}

void socket_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"send", l_send}, {"receive", l_receive},   {"close", l_close},
                                     {"drop", l_drop}, {"protocol", l_protocol}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {NULL, NULL}};
  rt_new_type(L, RAW_T, methods, metamethods);
  lua_pushcfunction(L, l_socket);
  lua_setfield(L, -2, "socket");
}
