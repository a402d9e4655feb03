/*
 * base/utf8.h - UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing past U+10FFFF.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_UTF8_H
#define TRUECONF_BASE_UTF8_H

#include "base/buffer.h"

#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define UTF8_REPLACEMENT_CODE 0xFFFD

/* Bytes of the character at `at`, of which `left` > 0 are there; 0: not UTF-8. */
size_t utf8_sequence(const char *at, size_t left);
/* Where utf8_sequence answers 0: the bytes that one U+FFFD stands for (WHATWG Encoding: maximal subparts). */
size_t utf8_broken(const char *at, size_t left);
/* The bytes of a character, which is no surrogate. */
size_t utf8_encode(char bytes[4], uint32_t character);

bool utf8_valid(const char *text, size_t length);
/* Append `text` with U+FFFD for what is not UTF-8; false: no memory. */
bool utf8_append(struct buffer *out, const char *text, size_t length);

#endif
