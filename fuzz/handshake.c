/*
 * handshake.c - the server's answer to a WebSocket handshake: nothing is read past it, and an answer that is
 * taken says what it must. The first byte tells how many bytes have come.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE /* memmem */ /* NOLINT(bugprone-reserved-identifier) */
#include "fuzz.h"

#include "ws/handshake.h"

#include <ctype.h>

static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", OFFERED[] = "json.v1, b";

/* Does the text hold these letters, in any case? */
static bool holds(const char *text, size_t size, const char *wanted) {
  size_t length = strlen(wanted);
  for (size_t i = 0; i + length <= size; i++) {
    size_t same = 0;
    while (same < length && tolower((unsigned char)text[i + same]) == wanted[same])
      same++;
    if (same == length)
      return true;
  }
  return false;
}

static void check_taken(const char *head, size_t size, const char *chosen) {
  CHECK(!memcmp(head, "HTTP/1.", 7) && head[7] != '0' && !memcmp(head + 8, " 101", 4), "the status line");
  CHECK(holds(head, size, "upgrade:") && holds(head, size, "websocket") && holds(head, size, "connection:"),
        "the upgrade");
  CHECK(memmem(head, size, ACCEPT, strlen(ACCEPT)), "the proof");
  CHECK(!holds(head, size, "\nsec-websocket-extensions:") && !holds(head, size, "\ncontent-length:") &&
            !holds(head, size, "\ntransfer-encoding:"),
        "what must not be there");
  CHECK(!strcmp(chosen, "") || !strcmp(chosen, "json.v1") || !strcmp(chosen, "b"), "subprotocol %s", chosen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t come = size > 1 ? data[0] % size : 0, whole;
  char *text, chosen[HANDSHAKE_FIELD] = "", value[HANDSHAKE_FIELD];
  if (size < 2 || !(text = malloc(--size)))
    return 0;
  memcpy(text, data + 1, size);
  whole = handshake_head(text, size);
  CHECK(whole <= size && (come >= whole || !handshake_head(text, come)), "a head before its end");
  text = realloc(text, whole ? whole : 1); /* so that a byte too far is seen */
  if (whole) {
    int status = handshake_status(text, whole);
    CHECK(!status || (status >= 100 && status <= 999), "%d", status);
    if (handshake_field(text, whole, "Location", value))
      CHECK(strlen(value) < HANDSHAKE_FIELD && !strchr(value, '\n'), "%s", value);
    if (status == 101 && !handshake_check(text, whole, ACCEPT, OFFERED, chosen))
      check_taken(text, whole, chosen);
  }
  free(text);
  return 0;
}
