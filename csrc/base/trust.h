/*
 * base/trust.h - trust of TLS: one way to fill an SSL_CTX from the options, for lws, curl and the doctor.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_TRUST_H
#define TRUECONF_BASE_TRUST_H

#include "base/errors.h"
#include "base/tls.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct trust;

/* The rules of an SSL_CTX, counted by it too. NULL: no memory. */
struct trust *trust_new(void);
void trust_free(struct trust *trust);

/* Have the context trust the authorities in `ca_file` in place of the system's (NULL: the system's). A
 * certificate in the file is trusted itself, whether it is a root, an intermediate or the server's own. Can
 * be called again when the file has changed. False: `reason` is CONFIG, or IO or NOMEM when it may work
 * later. */
bool trust_load(SSL_CTX *context, const char *ca_file, struct reason *reason);
/* Check that the authorities can be loaded. */
bool trust_check(const struct tls_options *options, struct reason *reason);
bool trust_check_file(const char *ca_file, struct reason *reason);

/* Note when a server asks for a certificate of the client, which we have not, and why a handshake fails.
 * False: no memory. */
bool trust_watch(struct trust *trust, SSL_CTX *context);
/* True if the server asked for one in the last handshake. */
bool trust_was_asked(const struct trust *trust);

/* OpenSSL's code for the failure of the last handshake; 0: none is known. */
unsigned long trust_failure(const struct trust *trust);

/* Verify the peers of this context as the options say, by the name or address `host`, which is also shown to
 * them (SNI); for a library that leaves that to OpenSSL. False: no memory. */
bool trust_verify(struct trust *trust, SSL_CTX *context, const struct tls_options *options, const char *host);
/* Why the peer is not trusted; NULL: it is, or has shown nothing. */
const char *trust_verdict(const SSL *ssl);

#endif
