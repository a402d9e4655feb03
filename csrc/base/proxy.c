/*
 * base/proxy.c - the HTTP proxy for a host, and its credentials.
 * Owns: the credentials of a struct proxy until proxy_free.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* memrchr */ /* NOLINT(bugprone-reserved-identifier) */
#include "base/proxy.h"

#include "base/host.h"
#include "base/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEME "http://"
enum { PROXY_PORT = 1080 /* where curl looks for a proxy without a port */, LONGEST_AUTHORITY = 300 };

/* ---- the environment ------------------------------------------------------------------------------ */

/* The variables that curl reads, in its order. HTTP_PROXY is not among them: any client can set it for a CGI
 * script. */
static const char *const plain_names[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
static const char *const tls_names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
static const char *const exclusions[] = {"no_proxy", "NO_PROXY", NULL};

/* The name of the first variable that is set and not empty. */
static const char *first_set(const char *const *names) {
  for (; *names; names++) {
    const char *value = getenv(*names);
    if (value && *value)
      return *names;
  }
  return NULL;
}

static bool is_excluded(const char *host) {
  static const char separators[] = ", \t";
  const char *name = first_set(exclusions), *list = name ? getenv(name) : NULL, *at = list ? list : "";
  char entry[LONGEST_AUTHORITY];
  for (at += strspn(at, separators); *at; at += strspn(at, separators)) {
    size_t n = strcspn(at, separators);
    if (n < sizeof entry) {
      snprintf(entry, sizeof entry, "%.*s", (int)n, at);
      if (host_matches(host, entry))
        return true;
    }
    at += n;
  }
  return false;
}

static const char *of_environment(const char *host, bool tls) {
  const char *name = first_set(tls ? tls_names : plain_names);
  return name && !host_is_loopback(host) && !is_excluded(host) ? getenv(name) : NULL;
}

const char *proxy_source(const char *option, bool tls) {
  const char *name = option ? NULL : first_set(tls ? tls_names : plain_names);
  return name ? name : "option 'proxy'";
}

/* ---- the setting ---------------------------------------------------------------------------------- */

static int digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decode. NULL: no memory, or `*wrong` is set. */
static char *decoded(const char *text, size_t length, const char **wrong) {
  char *out = malloc(length + 1), *end = out;
  for (size_t i = 0; out && i < length; i++) {
    int high = text[i] == '%' && i + 2 < length ? digit(text[i + 1]) : -1;
    int low = high >= 0 ? digit(text[i + 2]) : -1;
    char c = low >= 0 ? (char)(high << 4 | low) : text[i];
    if (low >= 0)
      i += 2;
    if ((unsigned char)c < ' ' || c == 127)
      *wrong = "user name and password must not hold control characters";
    *end++ = c;
  }
  if (!out)
    return NULL;
  *end = '\0';
  if (!*wrong)
    return out;
  free(out);
  return NULL;
}

/* "user:password" or "user" */
static const char *take_credentials(struct proxy *proxy, const char *text, size_t length) {
  const char *colon = memchr(text, ':', length), *wrong = NULL;
  size_t user = colon ? (size_t)(colon - text) : length;
  proxy->user = decoded(text, user, &wrong);
  if (proxy->user)
    proxy->password = colon ? decoded(colon + 1, length - user - 1, &wrong) : strdup("");
  if (wrong)
    return wrong;
  if (proxy->user && strchr(proxy->user, ':'))
    return "a user name must not hold a colon";
  return proxy->password ? NULL : "out of memory";
}

/* "host", "host:port" or "[address]:port", perhaps with a path that says nothing. */
static const char *take_authority(struct proxy *proxy, const char *text, size_t length) {
  char address[LONGEST_AUTHORITY];
  struct url url;
  const char *wrong, *after = *text == '[' ? memchr(text, ']', length) : text;
  snprintf(address, sizeof address, SCHEME "%.*s", (int)length, text);
  if (length > sizeof address - sizeof SCHEME)
    return "the host is too long";
  if ((wrong = url_parse(&url, address)))
    return wrong;
  memcpy(proxy->host, url.host, sizeof proxy->host);
  proxy->port = after && memchr(after, ':', length - (size_t)(after - text)) ? url.port : PROXY_PORT;
  return NULL;
}

static const char *take(struct proxy *proxy, const char *text) {
  const char *scheme = strstr(text, "://"), *at, *wrong = NULL;
  size_t length;
  if (scheme && strncasecmp(text, SCHEME, strlen(SCHEME)) != 0)
    return "a proxy must begin with http://; others, such as https:// or socks5://, are not supported";
  text = scheme ? scheme + 3 : text;
  length = strcspn(text, "/?#");
  at = memrchr(text, '@', length);
  if (at)
    wrong = take_credentials(proxy, text, (size_t)(at - text));
  at = at ? at + 1 : text;
  return wrong ? wrong : take_authority(proxy, at, length - (size_t)(at - text));
}

const char *proxy_settle(struct proxy *proxy, const char *option, const char *host, bool tls) {
  const char *setting = option ? option : of_environment(host, tls), *wrong;
  memset(proxy, 0, sizeof *proxy);
  if (!setting || !*setting)
    return NULL;
  wrong = take(proxy, setting);
  if (wrong)
    proxy_free(proxy);
  else
    proxy->used = true;
  return wrong;
}

const char *proxy_place(const struct proxy *proxy, char place[PROXY_PLACE]) {
  bool v6 = strchr(proxy->host, ':');
  snprintf(place, PROXY_PLACE, "%s%s%s:%d", v6 ? "[" : "", proxy->host, v6 ? "]" : "", proxy->port);
  return place;
}

void proxy_free(struct proxy *proxy) {
  if (proxy->password)
    explicit_bzero(proxy->password, strlen(proxy->password));
  free(proxy->user);
  free(proxy->password);
  proxy->user = proxy->password = NULL;
}
