/*
 * base/host.h - tests of a host name or address without a lookup: loopback, no_proxy.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_HOST_H
#define TRUECONF_BASE_HOST_H

#include <stdbool.h>

/* An IPv4 or IPv6 address, without brackets: there is nothing to look up. */
bool host_is_address(const char *host);
/* Loopback: 127.0.0.0/8, ::1, the same as IPv4 in IPv6, localhost and all names below it (RFC 6761), which
 * lookup.c never asks DNS for. An IPv6 address may be in brackets, a name may end in a dot. */
bool host_is_loopback(const char *host);
/* Is the host excluded by this entry of no_proxy: a name, which covers those below it, an address, a network
 * such as 10.0.0.0/8, or "*"? */
bool host_matches(const char *host, const char *entry);

#endif
