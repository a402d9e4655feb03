/*
 * base/explain.h - messages for failed connections to a server, the same for HTTP, WebSocket and the doctor.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_EXPLAIN_H
#define TRUECONF_BASE_EXPLAIN_H

#include "base/errors.h"
#include "base/proxy.h"

#include <stdbool.h>

/* The error for an errno of a connection. */
enum err explain_errno(int number);
/* The connection to `target`, a host and port, failed with this errno. */
void explain_connect(struct reason *reason, const char *target, int number);
enum { SETUP_DESCRIPTORS = 8 }; /* more than libuv or libwebsockets needs to begin */

/* Fewer than `wanted` descriptors are left: EMFILE or ENFILE; else 0. For libraries that do not say so. */
int explain_shortage(int wanted);
/* A library could not be initialised for a connection to `target`. */
void explain_setup(struct reason *reason, const char *target);
/* The name of a server, or of the proxy to it, cannot be resolved; `why` may be NULL. */
void explain_lookup(struct reason *reason, const char *name, bool of_proxy, const char *why);
/* The proxy on the way to `target` answered with this status, not 2xx. */
void explain_proxy(struct reason *reason, const struct proxy *proxy, int status, const char *target);
/* The setting that names the proxy is wrong. */
void explain_proxy_setting(struct reason *reason, const char *option, bool tls, const char *wrong);
/* Why a TLS handshake failed, in words for this code of OpenSSL's; 0: `words`. */
const char *explain_tls(unsigned long code, const char *words);
/* The server wants a certificate of the client. */
void explain_client_certificate(struct reason *reason, const char *target);

#endif
