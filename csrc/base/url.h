/*
 * base/url.h - the parts of a ws, wss, http or https address.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_URL_H
#define TRUECONF_URL_H

#include <stdbool.h>

struct url {
  bool tls;
  int port;
  bool loopback;  /* see base/host.h */
  char host[256]; /* without the brackets of an IPv6 literal and a dot at the end */
  char name[256]; /* the same with the dot, which tells a resolver that the name is whole */
  char path[256]; /* with the query; at least "/" */
};

/* Fill `url`; returns NULL, or a complaint (never with the text itself: it may hold a secret). */
const char *url_parse(struct url *url, const char *text);

#endif
