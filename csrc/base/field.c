/*
 * base/field.c - the names and values of HTTP header fields (RFC 9110, 5.1 and 5.5).
 * SPDX-License-Identifier: MIT
 */
#include "base/field.h"

#include <string.h>

/* Not isalnum, whose letters are those of the locale. */
bool field_is_token_byte(unsigned char byte) {
  unsigned char letter = byte | 0x20;
  return (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9') ||
         (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

bool field_is_token(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (!field_is_token_byte((unsigned char)text[i]))
      return false;
  return length > 0;
}

bool field_is_control(unsigned char byte) {
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

bool field_has_control(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (field_is_control((unsigned char)text[i]))
      return true;
  return false;
}
