/*
 * ws/frames.h - what comes on a WebSocket connection, read strictly (RFC 6455, 5 to 8): bytes in a buffer
 * become messages, pings, pongs and closes, at either end. A pure function with a state: it reads no
 * socket, allocates nothing, and gets by without libwebsockets and Lua.
 *
 * The caller appends what comes to a buffer and calls frames_next until more is needed. Whole frames stay
 * where they lie; a message in fragments is joined where its first one lies. How the bytes are cut into reads
 * makes no difference.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_WS_FRAMES_H
#define TRUECONF_WS_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FRAMES_NO_CODE = 1005,        /* of a close frame without one */
  FRAMES_MOST_CONTROL = 125,    /* bytes of a control frame */
  FRAMES_MOST_EMPTY = 1 << 15,  /* fragments of a message that bring nothing */
  FRAMES_PROTOCOL_ERROR = 1002, /* codes of a violation */
  FRAMES_BAD_DATA = 1007,
  FRAMES_POLICY = 1008,
  FRAMES_TOO_BIG = 1009
};

/* Set the first three, the rest is zero at the beginning. */
struct frames {
  bool masked;        /* what comes has to be: at a server's end */
  bool any_text;      /* text need not be UTF-8 */
  size_t max_message; /* bytes */
  size_t at;          /* where the next frame begins */
  unsigned opcode;    /* of the message that has begun, in fragments; 0: none has */
  size_t start, length;
  unsigned empty;
};

enum frames_event {
  FRAMES_MORE, /* all is read but for a part of a frame */
  FRAMES_MESSAGE,
  FRAMES_PING,
  FRAMES_PONG,
  FRAMES_CLOSE,
  FRAMES_VIOLATION /* nothing after it can be read: answer with the code, and call no more */
};

struct frames_found {
  char *data; /* in the buffer: a message, what a ping or pong carries, a reason in UTF-8 */
  size_t length;
  bool binary;
  int code;         /* of the close frame; of the violation */
  const char *what; /* was violated, as a part of a sentence */
};

/* Look at the `length` bytes of the buffer at `data`. It may have moved since the last call. */
enum frames_event frames_next(struct frames *frames, char *data, size_t length, struct frames_found *found);
/* Move what is not done with to the front of the buffer; what was found is overwritten. Returns the length
 * that is left. */
size_t frames_compact(struct frames *frames, char *data, size_t length);

#endif
