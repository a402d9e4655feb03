/*
 * base/url.c - the parts of a ws, wss, http or https address.
 * SPDX-License-Identifier: MIT
 */
#include "base/url.h"

#include "base/host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
  const char *scheme;
  bool tls;
  int port;
} schemes[] = {{"ws://", false, 80}, {"wss://", true, 443}, {"http://", false, 80}, {"https://", true, 443}};

static const char *take_scheme(struct url *url, const char *text) {
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t n = strlen(schemes[i].scheme);
    if (strncasecmp(text, schemes[i].scheme, n) != 0)
      continue;
    url->tls = schemes[i].tls;
    url->port = schemes[i].port;
    return text + n;
  }
  return NULL;
}

/* Allowed characters of a host: another parser must not read another host in it. Bytes above 127 may be a
 * name in another script. */
static bool is_name(const char *host) {
  for (; *host; host++)
    if (!isalnum((unsigned char)*host) && !strchr("-._", *host) && (unsigned char)*host < 128)
      return false;
  return true;
}

/* The name of an interface. */
static bool is_zone(const char *zone) {
  size_t n = strlen(zone);
  for (const char *at = zone; *at; at++)
    if ((unsigned char)*at >= 128)
      return false;
  return n > 0 && n < IF_NAMESIZE && is_name(zone);
}

/* An IPv6 address, with or without a zone. */
static bool is_ipv6(const char *host) {
  char address[INET6_ADDRSTRLEN];
  struct in6_addr binary;
  size_t n = strcspn(host, "%");
  if (n >= sizeof address)
    return false;
  memcpy(address, host, n);
  address[n] = 0;
  return inet_pton(AF_INET6, address, &binary) == 1 && (!host[n] || is_zone(host + n + 1));
}

/* In an address the percent sign before a zone is written %25 (RFC 6874), if often without. */
static void unescape_zone(char *host) {
  char *zone = strchr(host, '%');
  if (zone && !strncmp(zone, "%25", 3) && zone[3])
    memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
}

static const char *take_host(struct url *url, const char *at) {
  bool bracket = *at == '[';
  size_t n = bracket ? strcspn(++at, "]") : strcspn(at, ":/?#");
  if (!n || n >= sizeof url->host || (bracket && at[n] != ']'))
    return NULL;
  memcpy(url->host, at, n);
  url->host[n] = 0;
  if (bracket)
    unescape_zone(url->host);
  if (bracket ? !is_ipv6(url->host) : !is_name(url->host))
    return NULL;
  memcpy(url->name, url->host, sizeof url->name);
  if (n > 1 && url->host[n - 1] == '.') /* certificates and the header Host have no dot */
    url->host[n - 1] = '\0';
  return at + n + (bracket ? 1 : 0);
}

static const char *take_port(struct url *url, const char *at) {
  char *end;
  long port;
  if (*at != ':')
    return at;
  port = strtol(at + 1, &end, 10);
  if (at[1] < '0' || at[1] > '9' || port < 1 || port > 65535)
    return NULL;
  url->port = (int)port;
  return end;
}

static bool printable(const char *text) {
  for (; *text; text++)
    if ((unsigned char)*text <= ' ' || *text == 127)
      return false;
  return true;
}

/* Without the fragment, which stays with the client. */
static bool take_path(struct url *url, const char *at) {
  size_t n = strcspn(at, "#"), slash = *at == '/' ? 0 : 1;
  if (slash + n >= sizeof url->path)
    return false;
  url->path[0] = '/';
  memcpy(url->path + slash, at, n);
  url->path[slash + n] = 0;
  return true;
}

const char *url_parse(struct url *url, const char *text) {
  const char *at = take_scheme(url, text);
  if (!at)
    return "the address must begin with ws://, wss://, http:// or https://";
  if (!printable(text))
    return "the address holds a space or a control character";
  if (memchr(at, '@', strcspn(at, "/?#")))
    return "the address must not hold a user name or password";
  at = take_host(url, at);
  if (!at)
    return "the address has no valid host";
  at = take_port(url, at);
  if (!at || (*at && !strchr("/?#", *at)))
    return "the port must be a number from 1 to 65535";
  if (!take_path(url, at))
    return "the path is too long";
  url->loopback = host_is_loopback(url->host);
  return NULL;
}
