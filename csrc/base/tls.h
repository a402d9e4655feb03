/*
 * base/tls.h - how to trust the other side, one struct for sockets, transfers and sessions.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_TLS_H
#define TRUECONF_TLS_H

#include <lua.h>
#include <stdbool.h>

struct tls_options {
  bool verify;   /* check certificate chain and host name */
  char *ca_file; /* PEM file in place of the system's trust; NULL: the system's */
  char *pin;     /* "sha256//BASE64" of the public key, several joined by ";"; NULL: none */
};

/* Read `field` of the table at `table_index` into `out`: a table with verify, ca_file and pin, or
 * nil for the defaults. Raises on misuse, then nothing is held. Returns whether the field was there.
 * The strings belong to `out`: call tls_options_free. */
int tls_options_read(lua_State *L, int table_index, const char *field, struct tls_options *out);
void tls_options_free(struct tls_options *options);
/* The defaults: verify against the system's trust. Nothing to free. */
void tls_options_init(struct tls_options *options);

#endif
