/*
 * server/connection.c - one WebSocket connection of a listener.
 * Lua sees: Connection (send, admit, close, drop, peer, protocol, head, unsent), the same userdata in each of
 * on_open, on_frame and on_close.
 * Owns: the wire inside the peer. The userdata is anchored in the listener's until `gone`, then emptied.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <string.h>

#define CONNECTION_T "trueconf.Connection"
enum { LONGEST_REASON = 123 /* RFC 6455, 5.5: 125 bytes, 2 of them the code */ };

struct connection_box {
  struct peer *peer; /* NULL: gone */
  char address[46], subprotocol[64];
};

static struct peer *peer_of(struct wire *wire) {
  return container_of(wire, struct peer, wire);
}

/* ---- calling the handlers ------------------------------------------------------------------------ */

/* Push a handler of the listener and the connection; false: no such handler, nothing is pushed. */
static bool push_call(lua_State *L, const struct peer *peer, int handler) {
  peer_push_listener(L, peer);
  if (lua_getiuservalue(L, -1, handler) != LUA_TFUNCTION) {
    lua_pop(L, 2);
    return false;
  }
  lua_getiuservalue(L, -2, CONNECTIONS);
  lua_rawgetp(L, -1, peer);
  lua_remove(L, -2);
  lua_remove(L, -3);
  return true;
}

static void make_box(lua_State *L, struct peer *peer) {
  struct connection_box *box;
  assert(!peer->box);
  peer_push_listener(L, peer);
  lua_getiuservalue(L, -1, CONNECTIONS);
  box = lua_newuserdatauv(L, sizeof *box, 1);
  memset(box, 0, sizeof *box);
  luaL_setmetatable(L, CONNECTION_T);
  if (peer->upgrade) {
    request_push_head(L, peer->upgrade);
    lua_setiuservalue(L, -2, 1);
    exchange_free(peer->upgrade);
    peer->upgrade = NULL;
  }
  lua_rawsetp(L, -2, peer);
  memcpy(box->address, peer->address, sizeof box->address);
  if (peer->offered)
    memcpy(box->subprotocol, peer->subprotocol, strlen(peer->subprotocol) + 1);
  box->peer = peer;
  peer->box = box;
  lua_pop(L, 2);
}

static int l_opened(lua_State *L) {
  struct peer *peer = lua_touserdata(L, 1);
  make_box(L, peer);
  if (push_call(L, peer, ON_OPEN) && !rt_call(peer->wire.rt, L, 1, "on_open"))
    luaL_error(L, "not enough memory for a connection");
  return 0;
}

static void run_opened(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct peer *peer = container_of(job, struct peer, opened);
  (void)rt;
  if (!rt_protected(L, l_opened, peer))
    wire_drop(&peer->wire, ERR_NOMEM, "no memory for a connection");
}

/* Raise when memory is too short for a frame: the client would wait for an answer in vain. */
static void at_message(struct wire *wire, lua_State *L, const char *data, size_t length, bool binary) {
  struct peer *peer = peer_of(wire);
  if (!peer->box || peer->dropped || !push_call(L, peer, ON_FRAME))
    return;
  lua_pushlstring(L, data, length);
  lua_pushboolean(L, binary);
  if (!rt_call(wire->rt, L, 3, "on_frame"))
    luaL_error(L, "not enough memory for a frame");
}

/* The slot is cleared first: whatever on_close does, it finds the connection closed. */
static int l_gone(lua_State *L) {
  struct peer *peer = lua_touserdata(L, 1);
  bool call = peer->box && push_call(L, peer, ON_CLOSE);
  connection_forget(peer);
  peer_push_listener(L, peer);
  lua_getiuservalue(L, -1, CONNECTIONS);
  lua_pushnil(L);
  lua_rawsetp(L, -2, peer);
  lua_pop(L, 2);
  if (call) {
    lua_pushinteger(L, peer->wire.close_code);
    lua_pushstring(L, peer->wire.close_reason);
    rt_call(peer->wire.rt, L, 3, "on_close");
  }
  return 0;
}

static void at_gone(struct wire *wire, lua_State *L) {
  struct peer *peer = peer_of(wire);
  if (!rt_protected(L, l_gone, peer))
    connection_forget(peer);
  peer_free(peer);
}

void connection_established(struct peer *peer) {
  static const struct wire_ops ops = {at_message, at_gone, NULL};
  struct listener *listener = peer->listener;
  struct lws *wsi = peer->wsi;
  assert(!peer->is_socket && !peer->exchange);
  peer_count(peer, -1);
  peer->is_socket = true;
  peer_count(peer, 1);
  peer->wsi = NULL;
  peer->since = uv_hrtime();
  peer_expect(peer, 0);
  lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); /* that of accepting TLS would go on */
  peer->opened.run = run_opened;
  wire_init(&peer->wire, listener->server->rt, false, &ops, &listener->rules.limits);
  wire_open(&peer->wire, wsi);
  rt_enqueue(peer->wire.rt, &peer->opened);
}

void connection_forget(struct peer *peer) {
  if (peer->wire.wsi)
    lws_set_opaque_user_data(peer->wire.wsi, NULL);
  rt_dequeue(peer->wire.rt, &peer->opened);
  wire_free(&peer->wire);
  if (peer->box)
    peer->box->peer = NULL;
  peer->box = NULL;
}

/* ---- what Lua calls ------------------------------------------------------------------------------ */

static struct connection_box *check_box(lua_State *L) {
  return luaL_checkudata(L, 1, CONNECTION_T);
}

static int l_send(lua_State *L) {
  struct peer *peer = check_box(L)->peer;
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  if (!peer || !peer->wire.open || peer->wire.closing)
    return fail(L, ERR_CLOSED, 0, "the connection is closed");
  if (!wire_send(&peer->wire, WIRE_FIN | WIRE_TEXT, data, length)) {
    peer->dropped = true;
    wire_drop(&peer->wire, ERR_LIMIT, "the client does not read");
    return fail(L, ERR_LIMIT, 0,
                "more than %zu bytes wait for a client that does not read them; it was dropped",
                peer->listener->rules.limits.max_unsent);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_admit(lua_State *L) {
  struct peer *peer = check_box(L)->peer;
  if (peer)
    peer->admitted = true;
  return 0;
}

static int l_close(lua_State *L) {
  struct peer *peer = check_box(L)->peer;
  lua_Integer code = luaL_optinteger(L, 2, WIRE_NORMAL);
  size_t length;
  const char *reason = luaL_optlstring(L, 3, "", &length);
  luaL_argcheck(L, code >= 1000 && code < 5000, 2, "a close code, 1000 to 4999, expected");
  luaL_argcheck(L, length <= LONGEST_REASON && strlen(reason) == length, 3,
                "at most 123 bytes of text expected");
  if (peer)
    wire_close(&peer->wire, (int)code, reason);
  return 0;
}

static int l_drop(lua_State *L) {
  struct peer *peer = check_box(L)->peer;
  size_t length = 0;
  const char *data = luaL_optlstring(L, 2, NULL, &length);
  lua_Integer sent = luaL_optinteger(L, 3, (lua_Integer)length);
  luaL_argcheck(L, sent >= 0 && (size_t)sent <= length, 3, "at most the bytes of the message expected");
  if (!peer)
    return 0;
  peer->dropped = true;
  if (data)
    wire_drop_amid(&peer->wire, data, length, (size_t)sent, "the connection was dropped");
  else
    wire_drop(&peer->wire, ERR_CLOSED, "the connection was dropped");
  return 0;
}

static int l_peer(lua_State *L) {
  lua_pushstring(L, check_box(L)->address);
  return 1;
}

static int l_protocol(lua_State *L) {
  const struct connection_box *box = check_box(L);
  if (!box->subprotocol[0])
    return 0;
  lua_pushstring(L, box->subprotocol);
  return 1;
}

static int l_head(lua_State *L) {
  check_box(L);
  lua_getiuservalue(L, 1, 1);
  return 1;
}

static int l_unsent(lua_State *L) {
  const struct peer *peer = check_box(L)->peer;
  lua_pushinteger(L, peer ? (lua_Integer)wire_unsent(&peer->wire) : 0);
  return 1;
}

static int l_tostring(lua_State *L) {
  const struct connection_box *box = check_box(L);
  lua_pushfstring(L, "Connection (%s%s)", box->address, box->peer ? "" : ", closed");
  return 1;
}

void connection_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"send", l_send}, {"admit", l_admit},   {"close", l_close},
                                     {"drop", l_drop}, {"peer", l_peer},     {"protocol", l_protocol},
                                     {"head", l_head}, {"unsent", l_unsent}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__tostring", l_tostring}, {NULL, NULL}};
  rt_new_type(L, CONNECTION_T, methods, metamethods);
}
