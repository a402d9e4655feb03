/*
 * base/field.h - the names and values of HTTP header fields (RFC 9110, 5.1 and 5.5).
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_FIELD_H
#define TRUECONF_BASE_FIELD_H

#include <stdbool.h>
#include <stddef.h>

/* One byte of a token, of which names of fields, methods and codings are made. */
bool field_is_token_byte(unsigned char byte);
/* A whole token, of at least one byte. */
bool field_is_token(const char *text, size_t length);
/* A control character, the tab excepted: no value may have one. */
bool field_is_control(unsigned char byte);
bool field_has_control(const char *text, size_t length);

#endif
