/*
 * base/proxy.h - the HTTP proxy for a host, and its credentials: resolved once, for HTTP and WebSocket.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_PROXY_H
#define TRUECONF_BASE_PROXY_H

#include <stdbool.h>

struct proxy {
  bool used; /* false: no proxy */
  int port;
  char host[256];        /* without the brackets of an IPv6 address */
  char *user, *password; /* decoded; NULL: none */
};

/* Resolve the proxy for `host`. An `option` applies to every host, "" means no proxy; NULL: http_proxy, for
 * TLS https_proxy or HTTPS_PROXY, then all_proxy or ALL_PROXY of the environment, but never for loopback or
 * hosts that no_proxy or NO_PROXY excludes. Returns NULL, or a complaint without the secrets of the setting;
 * then nothing is held. */
const char *proxy_settle(struct proxy *proxy, const char *option, const char *host, bool tls);
/* Write its host and port, as they stand in an address: an IPv6 address in brackets. */
enum { PROXY_PLACE = 300 };
const char *proxy_place(const struct proxy *proxy, char place[PROXY_PLACE]);
/* Forget the credentials; that is all that has to be freed. */
void proxy_free(struct proxy *proxy);
/* Name the setting a complaint is about: "option 'proxy'", or the variable of the environment. */
const char *proxy_source(const char *option, bool tls);

#endif
