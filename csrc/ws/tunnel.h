/*
 * ws/tunnel.h - a way through an HTTP proxy for one WebSocket connection.
 * lws can ask a proxy itself, but only with few kinds of credentials and addresses, without reporting the
 * proxy's answer, and when that fails it bypasses the proxy. So we ask the proxy, and lws connects to this
 * end of the tunnel. SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_WS_TUNNEL_H
#define TRUECONF_WS_TUNNEL_H

#include "base/errors.h"
#include "base/proxy.h"
#include "loop/runtime.h"

struct tunnel;

enum { TUNNEL_NAME = 16 /* bytes of the name of this end, as lws takes it: "+@..." */ };

/* The proxy has answered: `name` is this end, which takes one connection of this process; or NULL, and
 * `reason` tells why there is no tunnel, which is gone then. `final`: another address of the proxy's would
 * not help. Called from the loop, outside the drain point. */
typedef void (*tunnel_done)(void *owner, const char *name, const struct reason *reason, bool final);

/* Connect to the proxy at this address and have it connect to `target`, "host:port". It is added to `list`,
 * and borrows nothing after the return but the owner, until `done` or tunnel_close. NULL: `reason` tells why.
 */
struct tunnel *tunnel_open(struct rt *rt, struct rt_list *list, const struct proxy *proxy,
                           const char *address, const char *target, tunnel_done done, void *owner,
                           struct reason *reason);
/* Give it up, from whatever state; its memory goes when the loop has turned. */
void tunnel_close(struct tunnel *tunnel);
/* lws has been told of this end: the tunnel lives on by itself until the connection is over. */
void tunnel_leave(struct tunnel *tunnel);
struct tunnel *tunnel_of(struct rt_list *link);

#endif
