/*
 * base/retry_after.c - the header Retry-After.
 * SPDX-License-Identifier: MIT
 */
#include "base/retry_after.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

double retry_after(const char *value, int64_t now) {
  time_t date;
  double seconds;
  if (!value || !*value)
    return 0;
  if (value[strspn(value, "0123456789")] == '\0')
    return strtod(value, NULL);
  if (!isalpha((unsigned char)*value)) /* curl takes more for a date than HTTP does */
    return 0;
  date = curl_getdate(value, NULL);
  seconds = date == -1 ? 0 : (double)date - (double)now / 1000;
  return seconds > 0 ? seconds : 0;
}
