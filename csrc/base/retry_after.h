/*
 * base/retry_after.h - the header Retry-After (RFC 9110, 10.2.3).
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_RETRY_AFTER_H
#define TRUECONF_BASE_RETRY_AFTER_H

#include <stdint.h>

/* Seconds to wait from `now`, UNIX milliseconds, by its value: a number of seconds, or a date. 0: it asks for
 * nothing, or is not understood; NULL is allowed. */
double retry_after(const char *value, int64_t now);

#endif
