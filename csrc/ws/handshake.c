/*
 * ws/handshake.c - a client's opening handshake: its key, and what the server's answer must say.
 * Owns and borrows nothing.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* memmem */ /* NOLINT(bugprone-reserved-identifier) */
#include "ws/handshake.h"

#include "base/field.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char VERSION[] = "HTTP/1.", END[] = "\r\n\r\n";
enum { MINOR = 7, STATUS = 9, AFTER = 12 }; /* places in a status line */

/* ---- the key ------------------------------------------------------------------------------------- */

void handshake_key(const unsigned char nonce[HANDSHAKE_NONCE], char key[HANDSHAKE_KEY]) {
  EVP_EncodeBlock((unsigned char *)key, nonce, HANDSHAKE_NONCE);
}

bool handshake_accept(const char key[HANDSHAKE_KEY], char accept[HANDSHAKE_ACCEPT]) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  char text[HANDSHAKE_KEY + sizeof guid];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  memcpy(text, key, HANDSHAKE_KEY - 1);
  memcpy(text + HANDSHAKE_KEY - 1, guid, sizeof guid);
  if (!EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL))
    return false;
  EVP_EncodeBlock((unsigned char *)accept, digest, (int)length);
  return true;
}

/* ---- heads --------------------------------------------------------------------------------------- */

size_t handshake_head(const char *data, size_t length) {
  const char *end = data ? memmem(data, length, END, strlen(END)) : NULL;
  return end ? (size_t)(end - data) + strlen(END) : 0;
}

struct line {
  const char *name, *value;
  size_t name_length, value_length;
};

/* The end of the line at `at`. A whole head, which ends at `stop`, ends every line with CR LF. */
static const char *line_end(const char *at, const char *stop) {
  return memmem(at, (size_t)(stop - at), "\r\n", 2);
}

static bool is_blank(char byte) {
  return byte == ' ' || byte == '\t';
}

/* Read the line at *at and step over it; false: it is no field. */
static bool next_field(const char **at, const char *head_end, struct line *line) {
  const char *end = line_end(*at, head_end), *colon = memchr(*at, ':', (size_t)(end - *at)), *value,
             *stop = end;
  if (!colon || !field_is_token(*at, (size_t)(colon - *at)))
    return false;
  for (value = colon + 1; value < stop && is_blank(*value);)
    value++;
  while (stop > value && is_blank(stop[-1]))
    stop--;
  *line = (struct line){*at, value, (size_t)(colon - *at), (size_t)(stop - value)};
  *at = end + 2;
  return !field_has_control(value, line->value_length);
}

static bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

/* After the status line; NULL: it is none. */
static const char *fields(const char *head, size_t length) {
  if (length <= AFTER || memcmp(head, VERSION, MINOR) != 0 || memchr(head, 0, length) ||
      !is_digit(head[MINOR]) || head[STATUS - 1] != ' ' || !(head[AFTER] == ' ' || head[AFTER] == '\r'))
    return NULL;
  for (int i = STATUS; i < AFTER; i++)
    if (!is_digit(head[i]))
      return NULL;
  return head[STATUS] > '0' ? line_end(head + AFTER, head + length) + 2 : NULL;
}

static bool at_end(const char *at) {
  return at[0] == '\r' && at[1] == '\n';
}

int handshake_status(const char *head, size_t length) {
  const char *at = fields(head, length), *digits = head + STATUS;
  struct line line;
  if (!at)
    return 0;
  while (!at_end(at))
    if (!next_field(&at, head + length, &line))
      return 0;
  return (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
}

bool handshake_field(const char *head, size_t length, const char *name, char value[HANDSHAKE_FIELD]) {
  const char *at = fields(head, length);
  size_t used = 0, wanted = strlen(name);
  bool found = false;
  struct line line;
  value[0] = 0;
  while (at && !at_end(at) && next_field(&at, head + length, &line)) {
    if (line.name_length != wanted || strncasecmp(line.name, name, wanted) != 0)
      continue;
    if (used + line.value_length + 2 > HANDSHAKE_FIELD) {
      snprintf(value, HANDSHAKE_FIELD, "(too long)"); /* it fits nothing that is asked for */
      return true;
    }
    if (found)
      value[used++] = ',';
    memcpy(value + used, line.value, line.value_length);
    used += line.value_length;
    value[used] = 0;
    found = true;
  }
  return found;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static bool list_has(const char *list, const char *word, bool any_case) {
  static const char between[] = " \t,";
  size_t length, wanted = strlen(word);
  for (list += strspn(list, between); *list; list += strspn(list, between)) {
    length = strcspn(list, between);
    if (length == wanted && !(any_case ? strncasecmp(list, word, wanted) : strncmp(list, word, wanted)))
      return true;
    list += length;
  }
  return false;
}

static const char *check_subprotocol(const char *chosen, const char *offered) {
  if (!field_is_token(chosen, strlen(chosen)))
    return "Sec-WebSocket-Protocol is not the name of one subprotocol";
  return offered && list_has(offered, chosen, false) ? NULL : "it chose a subprotocol that was not offered";
}

const char *handshake_check(const char *head, size_t length, const char *accept, const char *offered,
                            char chosen[HANDSHAKE_FIELD]) {
  char value[HANDSHAKE_FIELD];
  if (!fields(head, length) || head[MINOR] == '0')
    return "its answer is not that of HTTP/1.1";
  if (!handshake_field(head, length, "Upgrade", value) || strcasecmp(value, "websocket") != 0)
    return "Upgrade is not websocket";
  if (!handshake_field(head, length, "Connection", value) || !list_has(value, "upgrade", true))
    return "Connection does not say Upgrade";
  if (!handshake_field(head, length, "Sec-WebSocket-Accept", value) || strcmp(value, accept) != 0)
    return "Sec-WebSocket-Accept does not belong to the key that was sent";
  if (handshake_field(head, length, "Sec-WebSocket-Extensions", value))
    return "it chose an extension, and none was offered";
  if (handshake_field(head, length, "Content-Length", value) ||
      handshake_field(head, length, "Transfer-Encoding", value))
    return "it announces a body (Content-Length or Transfer-Encoding)";
  return handshake_field(head, length, "Sec-WebSocket-Protocol", chosen) ? check_subprotocol(chosen, offered)
                                                                         : NULL;
}
