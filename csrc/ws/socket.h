/*
 * ws/socket.h - a WebSocket client connection, from the name lookup to the end.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SOCKET_H
#define TRUECONF_SOCKET_H

#include "base/headers.h"
#include "base/tls.h"
#include "base/url.h"
#include "ws/wire.h"

struct socket;

/* Called at the drain point; after gone nothing comes. Before `opened` only `gone` can come: the
 * connection could not be made, socket_reason tells why. */
struct socket_ops {
  void (*opened)(struct socket *socket, lua_State *L);
  void (*message)(struct socket *socket, lua_State *L, const char *data, size_t length, bool binary);
  void (*gone)(struct socket *socket, lua_State *L);
  void (*drained)(struct socket *socket, lua_State *L); /* room after a refused frame; may be NULL */
};

struct socket_options { /* what it points to must outlive the socket */
  const struct url *url;
  const char *subprotocol; /* NULL: no header */
  const struct tls_options *tls;
  const char *proxy;             /* see proxy_settle */
  const struct headers *headers; /* further ones of the handshake; a User-Agent replaces ours */
  double connect_timeout;        /* seconds, from the lookup to the end of the handshake */
  const struct wire_limits *limits;
};

/* Start connecting. NULL: no memory. No op is called from inside. */
struct socket *socket_connect(struct rt *rt, const struct socket_options *options,
                              const struct socket_ops *ops, void *owner);
void *socket_owner(const struct socket *socket);
struct wire *socket_wire(struct socket *socket);
const struct reason *socket_reason(const struct socket *socket);
/* The subprotocol the server chose; "" if it named none. */
const char *socket_protocol(const struct socket *socket);
/* The runtime was closed under it: gone will not be called any more, only socket_free is left to do. */
bool socket_orphaned(const struct socket *socket);
/* Close with a close frame, or give up connecting. gone follows. */
void socket_close(struct socket *socket, int code, const char *reason);
/* End at once. gone follows. */
void socket_drop(struct socket *socket, enum err err, const char *why);
/* Drop if need be and free; no op is called any more. Also from inside an op. */
void socket_free(struct socket *socket);

void socket_open(lua_State *L); /* adds socket to the table on top; see rawsocket.c */

#endif
