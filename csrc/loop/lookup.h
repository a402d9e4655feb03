/*
 * loop/lookup.h - the addresses of a host, asked of the system on libuv's threads.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_LOOKUP_H
#define TRUECONF_LOOKUP_H

#include "loop/runtime.h"

#include <netdb.h>
#include <netinet/in.h>

struct lookup;

/* The answer: 0 and a list of at least one address in the system's order, valid during the call only; or a
 * code of libuv's. Called from the loop, outside the drain point: copy, mark, queue. */
typedef void (*lookup_done)(void *owner, int status, const struct addrinfo *found);

/* Begin. A code of libuv's: it could not begin, `done` is not called. Otherwise `*lookup` is valid until
 * `done` is called or lookup_cancel. */
int lookup_start(struct rt *rt, struct lookup **lookup, const char *host, lookup_done done, void *owner);
/* `done` is not called any more. A lookup that has begun cannot be stopped, it only loses its owner. */
void lookup_cancel(struct lookup *lookup);

/* Hints for the system: only kinds of addresses for which this machine has a route; localhost needs none. */
const struct addrinfo *lookup_hints(const char *host);
/* The name to look up in place of `host`: localhost for all names below it. */
const char *lookup_name(const char *host);
/* An address of the answer as text. */
void lookup_text(const struct addrinfo *address, char text[INET6_ADDRSTRLEN]);

#endif
