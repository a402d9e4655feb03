/*
 * ws/handshake.h - a client's opening handshake (RFC 6455, 4.1): its key, and what the server's answer must
 * say. Pure functions over text, without libwebsockets and Lua.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_WS_HANDSHAKE_H
#define TRUECONF_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

enum {
  HANDSHAKE_NONCE = 16,  /* bytes */
  HANDSHAKE_KEY = 25,    /* base64 of them, with a zero */
  HANDSHAKE_ACCEPT = 29, /* what the server makes of the key, with a zero */
  HANDSHAKE_FIELD = 300, /* room for a value */
};

void handshake_key(const unsigned char nonce[HANDSHAKE_NONCE], char key[HANDSHAKE_KEY]);
/* false: no memory. */
bool handshake_accept(const char key[HANDSHAKE_KEY], char accept[HANDSHAKE_ACCEPT]);

/* The bytes of the head with the empty line at its end; 0: it is not all here. */
size_t handshake_head(const char *data, size_t length);
/* The status of a whole head; 0: it is no answer of HTTP/1. */
int handshake_status(const char *head, size_t length);
/* A value, those of several lines with commas in between; false: there is none. */
bool handshake_field(const char *head, size_t length, const char *name, char value[HANDSHAKE_FIELD]);
/* NULL: a head of status 101 accepts this handshake, and `chosen` is the subprotocol or "". Else what is
 * wrong. `offered` is the list that was sent, or NULL. */
const char *handshake_check(const char *head, size_t length, const char *accept, const char *offered,
                            char chosen[HANDSHAKE_FIELD]);

#endif
