/*
 * ws/frames.c - what comes on a WebSocket connection, read strictly.
 * Owns and borrows nothing: struct frames is a few numbers about a buffer of the caller's.
 * SPDX-License-Identifier: MIT
 */
#include "ws/frames.h"

#include "base/utf8.h"

#include <assert.h>
#include <string.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0F, MASK = 0x80, LENGTH = 0x7F, KEY = 4 };

struct head {
  unsigned opcode;
  bool fin;
  size_t size; /* of the head itself */
  uint64_t length;
};

static enum frames_event violation(struct frames_found *found, int code, const char *what) {
  found->code = code;
  found->what = what;
  return FRAMES_VIOLATION;
}

static bool is_control(unsigned opcode) {
  return opcode & 8;
}

/* ---- heads --------------------------------------------------------------------------------------- */

/* The mistake in the first two bytes, without regard to the frames before; NULL: none. */
static const char *wrong_start(unsigned first, unsigned second, bool masked) {
  unsigned opcode = first & OPCODE;
  if (first & RESERVED)
    return "a frame with reserved bits";
  if (opcode > PONG || (opcode > BINARY && opcode < CLOSE))
    return "a frame of an unknown kind";
  if (masked != !!(second & MASK))
    return masked ? "a frame that is not masked" : "a masked frame";
  if (is_control(opcode) && !(first & FIN))
    return "a control frame in fragments";
  if (is_control(opcode) && (second & LENGTH) > FRAMES_MOST_CONTROL)
    return "a control frame of more than 125 bytes";
  return NULL;
}

/* The mistake in the order of frames; NULL: none. */
static const char *wrong_order(const struct frames *frames, unsigned opcode) {
  if (is_control(opcode) || !opcode == !!frames->opcode)
    return NULL;
  return opcode ? "a message within another" : "the continuation of no message";
}

static size_t length_bytes(unsigned second) {
  second &= LENGTH;
  return second < 126 ? 0 : second == 126 ? 2 : 8;
}

static const char *read_length(const unsigned char *at, unsigned second, uint64_t *length) {
  size_t n = length_bytes(second);
  *length = n ? 0 : second & LENGTH;
  for (size_t i = 0; i < n; i++)
    *length = *length << 8 | at[i];
  if (*length >> 63)
    return "a length with its highest bit set";
  return *length < (n == 8 ? 65536 : n == 2 ? 126 : 0) ? "a length that is not in its shortest form" : NULL;
}

/* FRAMES_MESSAGE: the head is whole and good. */
static enum frames_event read_head(const struct frames *frames, const char *data, size_t left,
                                   struct head *head, struct frames_found *found) {
  const unsigned char *at = (const unsigned char *)data;
  const char *wrong;
  if (left < 2)
    return FRAMES_MORE;
  head->opcode = at[0] & OPCODE;
  head->fin = at[0] & FIN;
  wrong = wrong_start(at[0], at[1], frames->masked);
  if (!wrong)
    wrong = wrong_order(frames, head->opcode);
  if (wrong)
    return violation(found, FRAMES_PROTOCOL_ERROR, wrong);
  head->size = 2 + length_bytes(at[1]);
  if (left < head->size)
    return FRAMES_MORE;
  wrong = read_length(at + 2, at[1], &head->length);
  if (wrong)
    return violation(found, FRAMES_PROTOCOL_ERROR, wrong);
  if (!is_control(head->opcode) && head->length > frames->max_message - frames->length)
    return violation(found, FRAMES_TOO_BIG, "a message above the limit");
  head->size += frames->masked ? KEY : 0;
  return left < head->size || left - head->size < head->length ? FRAMES_MORE : FRAMES_MESSAGE;
}

/* ---- payloads ------------------------------------------------------------------------------------ */

static void unmask(char *data, size_t length) {
  const char *key = data - KEY;
  uint64_t wide, word;
  size_t i = 0;
  memcpy(&wide, key, KEY);
  memcpy((char *)&wide + KEY, key, KEY);
  for (; i + sizeof word <= length; i += sizeof word) {
    memcpy(&word, data + i, sizeof word);
    word ^= wide;
    memcpy(data + i, &word, sizeof word);
  }
  for (; i < length; i++)
    data[i] ^= key[i % KEY];
}

/* RFC 6455, 7.4, with what IANA has registered since. 1004 to 1006 and 1015 are for use inside of a program.
 */
static bool may_be_sent(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static enum frames_event read_close(struct frames_found *found) {
  const unsigned char *at = (const unsigned char *)found->data;
  found->code = FRAMES_NO_CODE;
  if (!found->length)
    return FRAMES_CLOSE;
  if (found->length == 1)
    return violation(found, FRAMES_PROTOCOL_ERROR, "a close frame of one byte");
  found->code = at[0] << 8 | at[1];
  found->data += 2;
  found->length -= 2;
  if (!may_be_sent(found->code))
    return violation(found, FRAMES_PROTOCOL_ERROR, "a close code that must not be sent");
  if (!utf8_valid(found->data, found->length))
    return violation(found, FRAMES_BAD_DATA, "a close reason that is not UTF-8");
  return FRAMES_CLOSE;
}

static enum frames_event read_message(const struct frames *frames, struct frames_found *found,
                                      unsigned opcode) {
  found->binary = opcode == BINARY;
  if (!found->binary && !frames->any_text && !utf8_valid(found->data, found->length))
    return violation(found, FRAMES_BAD_DATA, "text that is not UTF-8");
  return FRAMES_MESSAGE;
}

/* Add it to those before; FRAMES_MORE: the message goes on. */
static enum frames_event join(struct frames *frames, char *data, const struct head *head,
                              struct frames_found *found) {
  unsigned opcode = head->opcode ? head->opcode : frames->opcode;
  if (head->opcode)
    frames->start = (size_t)(found->data - data);
  else if (found->length)
    memmove(data + frames->start + frames->length, found->data, found->length);
  frames->length += found->length;
  frames->empty += !found->length;
  frames->opcode = opcode;
  if (frames->empty > FRAMES_MOST_EMPTY)
    return violation(found, FRAMES_POLICY, "too many fragments without a byte");
  if (!head->fin)
    return FRAMES_MORE;
  found->data = data + frames->start;
  found->length = frames->length;
  frames->opcode = frames->empty = 0;
  frames->length = 0;
  return read_message(frames, found, opcode);
}

enum frames_event frames_next(struct frames *frames, char *data, size_t length, struct frames_found *found) {
  enum frames_event event;
  struct head head;
  assert(frames->at <= length && frames->length <= frames->max_message);
  do {
    event = read_head(frames, data + frames->at, length - frames->at, &head, found);
    if (event != FRAMES_MESSAGE)
      return event;
    found->data = data + frames->at + head.size;
    found->length = (size_t)head.length;
    frames->at += head.size + found->length;
    if (frames->masked)
      unmask(found->data, found->length);
    if (is_control(head.opcode))
      return head.opcode == CLOSE ? read_close(found) : head.opcode == PING ? FRAMES_PING : FRAMES_PONG;
    if (head.opcode && head.fin)
      return read_message(frames, found, head.opcode);
    event = join(frames, data, &head, found);
  } while (event == FRAMES_MORE);
  return event;
}

size_t frames_compact(struct frames *frames, char *data, size_t length) {
  size_t joined = frames->opcode ? frames->length : 0, rest = length - frames->at;
  if (joined && frames->start)
    memmove(data, data + frames->start, joined);
  if (rest && frames->at != joined)
    memmove(data + joined, data + frames->at, rest);
  frames->start = 0;
  frames->at = joined;
  return joined + rest;
}
