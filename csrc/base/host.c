/*
 * base/host.c - what can be said of a host without asking anybody.
 * Owns nothing.
 * SPDX-License-Identifier: MIT
 */
#include "base/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LONGEST_HOST = 255, ADDRESS_BITS = 128, V4_PREFIX = 96 /* bits before IPv4 within IPv6 */ };

/* ---- addresses ----------------------------------------------------------------------------------- */

/* Both kinds as IPv6. False: it is a name. */
static bool read_address(const char *host, struct in6_addr *address) {
  static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
  struct in_addr v4;
  if (inet_pton(AF_INET, host, &v4) != 1)
    return inet_pton(AF_INET6, host, address) == 1;
  memcpy(address->s6_addr, mapped, sizeof mapped);
  memcpy(address->s6_addr + sizeof mapped, &v4, sizeof v4);
  return true;
}

bool host_is_address(const char *host) {
  struct in6_addr address;
  return read_address(host, &address);
}

static bool same_bits(const struct in6_addr *a, const struct in6_addr *b, int bits) {
  int bytes = bits / 8, rest = bits % 8;
  unsigned char mask = (unsigned char)(0xff00 >> rest);
  return !memcmp(a->s6_addr, b->s6_addr, (size_t)bytes) &&
         (!rest || ((a->s6_addr[bytes] ^ b->s6_addr[bytes]) & mask) == 0);
}

/* ---- names --------------------------------------------------------------------------------------- */

/* Without the brackets of an IPv6 address or the dot at the end of a name; false: too long for a host. */
static bool strip(const char *host, char plain[LONGEST_HOST + 1]) {
  size_t n = strlen(host);
  if (n > 2 && host[0] == '[' && host[n - 1] == ']')
    host++, n -= 2;
  else if (n > 1 && host[n - 1] == '.')
    n--;
  if (!n || n > LONGEST_HOST)
    return false;
  memcpy(plain, host, n);
  plain[n] = '\0';
  return true;
}

/* The same name, or one below it. */
static bool is_within(const char *name, const char *parent) {
  size_t n = strlen(name), m = strlen(parent);
  return n >= m && !strcasecmp(name + n - m, parent) && (n == m || name[n - m - 1] == '.');
}

bool host_is_loopback(const char *host) {
  static const struct in6_addr v4 = {{{[10] = 0xff, [11] = 0xff, [12] = 127}}};
  char plain[LONGEST_HOST + 1];
  struct in6_addr address;
  if (!strip(host, plain))
    return false;
  if (read_address(plain, &address))
    return IN6_IS_ADDR_LOOPBACK(&address) || same_bits(&address, &v4, V4_PREFIX + 8);
  return is_within(plain, "localhost");
}

/* "address" or "address/bits". */
static bool is_in_network(const struct in6_addr *address, const char *entry) {
  char text[LONGEST_HOST + 1], *slash, *end;
  struct in6_addr network;
  long bits = ADDRESS_BITS, most;
  snprintf(text, sizeof text, "%s", entry);
  if ((slash = strchr(text, '/')))
    *slash = '\0';
  if (!read_address(text, &network))
    return false;
  if (slash) {
    most = strchr(text, ':') ? ADDRESS_BITS : ADDRESS_BITS - V4_PREFIX;
    bits = strtol(slash + 1, &end, 10);
    if (end == slash + 1 || *end || bits < 0 || bits > most)
      return false;
    bits += ADDRESS_BITS - most;
  }
  return same_bits(address, &network, (int)bits);
}

bool host_matches(const char *host, const char *entry) {
  char plain[LONGEST_HOST + 1], wanted[LONGEST_HOST + 1];
  struct in6_addr address;
  if (!strcmp(entry, "*"))
    return true;
  if (!strip(host, plain) || !strip(*entry == '.' ? entry + 1 : entry, wanted))
    return false;
  return read_address(plain, &address) ? is_in_network(&address, wanted) : is_within(plain, wanted);
}
