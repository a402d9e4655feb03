/*
 * base/crypto.h - the few primitives tokens need.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_CRYPTO_H
#define TRUECONF_CRYPTO_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* The most bytes that `length` characters of base64url can hold. */
#define BASE64URL_DECODED(length) ((length) / 4 * 3 + 2)

/* Decode base64url without padding into `out`, which has room for BASE64URL_DECODED(length) bytes.
 * False: the text is not base64url. */
bool base64url_decode(const char *text, size_t length, unsigned char *out, size_t *out_length);

/* Adds hmac_sha256, base64url_encode, base64url_decode, equal to the table on top. */
void crypto_open(lua_State *L);

#endif
