/*
 * frames_test.c - tables of good and bad frames for ws/frames.c; run by core/frames_spec.lua. Each row is
 * read in one piece, byte by byte, and cut in two at every place: that must make no difference.
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "ws/frames.h"

#include <stdarg.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { LIMIT = 1000, ROOM = 1 << 18 };

/* ---- reading, as wire.c does it ------------------------------------------------------------------ */

struct reader {
  struct frames frames;
  char *data;
  size_t length;
  char log[4096]; /* what was found, one after the other */
  size_t logged;
  bool over;
};

static void note(struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct reader *reader, const char *format, ...) {
  va_list args;
  va_start(args, format);
  reader->logged +=
      (size_t)vsnprintf(reader->log + reader->logged, sizeof reader->log - reader->logged, format, args);
  va_end(args);
  if (reader->logged >= sizeof reader->log)
    reader->logged = sizeof reader->log - 1;
}

static void note_found(struct reader *reader, enum frames_event event, const struct frames_found *found) {
  int shown = (int)(found->length < 60 ? found->length : 60);
  switch (event) {
  case FRAMES_MESSAGE:
    note(reader, "%s(%zu:%.*s) ", found->binary ? "binary" : "text", found->length, shown, found->data);
    break;
  case FRAMES_PING:
    note(reader, "ping(%.*s) ", shown, found->data);
    break;
  case FRAMES_PONG:
    note(reader, "pong(%.*s) ", shown, found->data);
    break;
  case FRAMES_CLOSE:
    note(reader, "close(%d:%.*s) ", found->code, shown, found->data);
    reader->over = true;
    break;
  default:
    note(reader, "%d: %s", found->code, found->what);
    reader->over = true;
  }
}

/* The buffer has not a byte to spare, so that a sanitizer sees who reads past it. */
static void feed(struct reader *reader, const char *bytes, size_t length) {
  struct frames_found found;
  enum frames_event event;
  char *joined = malloc(reader->length + length + 1), *exact;
  if (reader->length)
    memcpy(joined, reader->data, reader->length);
  memcpy(joined + reader->length, bytes, length);
  exact = exact_copy(joined, reader->length + length);
  free(joined);
  free(reader->data);
  reader->data = exact;
  reader->length += length;
  while (!reader->over &&
         (event = frames_next(&reader->frames, reader->data, reader->length, &found)) != FRAMES_MORE)
    note_found(reader, event, &found);
  if (!reader->over)
    reader->length = frames_compact(&reader->frames, reader->data, reader->length);
}

static struct reader *reader_new(bool masked) {
  struct reader *reader = calloc(1, sizeof *reader);
  reader->frames.masked = masked;
  reader->frames.max_message = LIMIT;
  return reader;
}

static void reader_free(struct reader *reader) {
  free(reader->data);
  free(reader);
}

static void expect(int line, const struct reader *reader, const char *expected, size_t cut) {
  CHECK(!strcmp(reader->log, expected), "row of line %d, cut at %zu: <%s> instead of <%s>", line, cut,
        reader->log, expected);
}

static void check_cuts(int line, bool masked, const char *bytes, size_t length, const char *expected) {
  struct reader *single = reader_new(masked);
  for (size_t cut = 0; cut <= length; cut++) {
    struct reader *reader = reader_new(masked);
    feed(reader, bytes, cut);
    feed(reader, bytes + cut, length - cut);
    expect(line, reader, expected, cut);
    reader_free(reader);
    if (cut < length)
      feed(single, bytes + cut, 1);
  }
  expect(line, single, expected, SIZE_MAX);
  reader_free(single);
}

/* ---- tables -------------------------------------------------------------------------------------- */

struct row {
  int line;
  const char *hex, *expected;
};
#define ROW __LINE__

static size_t from_hex(const char *hex, char *bytes) {
  size_t n = 0;
  unsigned byte;
  for (; *hex; hex += 2, n++) {
    while (*hex == ' ')
      hex++;
    if (sscanf(hex, "%2x", &byte) != 1)
      abort();
    bytes[n] = (char)byte;
  }
  return n;
}

static void run_rows(const struct row *rows, size_t count, bool masked) {
  char bytes[2048];
  for (size_t i = 0; i < count; i++)
    check_cuts(rows[i].line, masked, bytes, from_hex(rows[i].hex, bytes), rows[i].expected);
}

static void test_messages(void) {
  static const struct row rows[] = {
      {ROW, "", ""},
      {ROW, "8100", "text(0:) "},
      {ROW, "8200", "binary(0:) "},
      {ROW, "810548656c6c6f", "text(5:Hello) "},
      {ROW, "820548656c6c6f", "binary(5:Hello) "},
      {ROW, "8101 31 8101 32 8201 33", "text(1:1) text(1:2) binary(1:3) "},
      {ROW, "8902 6869 8a03 796573 8900 8a00", "ping(hi) pong(yes) ping() pong() "},
      /* the beginning of one */
      {ROW, "81", ""},
      {ROW, "8105 48656c", ""},
      {ROW, "8101 31 8105 48", "text(1:1) "},
      /* in fragments, with control frames in between */
      {ROW, "0103 48656c 8002 6c6f", "text(5:Hello) "},
      {ROW, "0203 48656c 8002 6c6f", "binary(5:Hello) "},
      {ROW, "0100 0000 0000 8000", "text(0:) "},
      {ROW, "0100 0002 6869 0000 8000", "text(2:hi) "},
      {ROW, "0101 61 8901 70 0001 62 8a00 8900 8001 63 8101 64",
       "ping(p) pong() ping() text(3:abc) text(1:d) "},
      {ROW, "8101 61 0101 62 8001 63 0101 64", "text(1:a) text(2:bc) "},
  };
  static const struct row masked[] = {
      {ROW, "8185 37fa213d 7f9f4d5158", "text(5:Hello) "},
      {ROW, "8980 01020304", "ping() "},
      {ROW, "0183 37fa213d 7f9f4d 8082 00000000 6c6f", "text(5:Hello) "},
      {ROW, "818b 01020304 6967 6f68 6e22 746b 736e 67", "text(11:hello world) "},
      {ROW, "8880 00000000", "close(1005:) "},
      {ROW, "8882 01000000 02e8", "close(1000:) "},
  };
  run_rows(rows, COUNT(rows), false);
  run_rows(masked, COUNT(masked), true);
}

static void test_heads(void) {
  static const struct row rows[] = {
      {ROW, "c100", "1002: a frame with reserved bits"},
      {ROW, "a1", ""},
      {ROW, "a100", "1002: a frame with reserved bits"},
      {ROW, "9900", "1002: a frame with reserved bits"},
      {ROW, "c98000000000", "1002: a frame with reserved bits"},
      {ROW, "8300", "1002: a frame of an unknown kind"},
      {ROW, "8700", "1002: a frame of an unknown kind"},
      {ROW, "0500", "1002: a frame of an unknown kind"},
      {ROW, "8b00", "1002: a frame of an unknown kind"},
      {ROW, "8f00", "1002: a frame of an unknown kind"},
      {ROW, "8180 00000000", "1002: a masked frame"},
      {ROW, "8980 00000000", "1002: a masked frame"},
      {ROW, "8101 61 8880 00000000", "text(1:a) 1002: a masked frame"},
      {ROW, "0900", "1002: a control frame in fragments"},
      {ROW, "0800", "1002: a control frame in fragments"},
      {ROW, "897e 007e", "1002: a control frame of more than 125 bytes"},
      {ROW, "8a7f 0000000000000001", "1002: a control frame of more than 125 bytes"},
      {ROW, "8000", "1002: the continuation of no message"},
      {ROW, "0000", "1002: the continuation of no message"},
      {ROW, "8101 61 8001 62", "text(1:a) 1002: the continuation of no message"},
      {ROW, "0101 61 8001 62 8001 63", "text(2:ab) 1002: the continuation of no message"},
      {ROW, "0101 61 8101 62", "1002: a message within another"},
      {ROW, "0100 0101 62", "1002: a message within another"},
      {ROW, "0101 61 8900 8201 62", "ping() 1002: a message within another"},
      {ROW, "817e 007d", "1002: a length that is not in its shortest form"},
      {ROW, "817e 0000", "1002: a length that is not in its shortest form"},
      {ROW, "817f 000000000000ffff", "1002: a length that is not in its shortest form"},
      {ROW, "817f 0000000000000000", "1002: a length that is not in its shortest form"},
      {ROW, "817f 8000000000000000", "1002: a length with its highest bit set"},
      {ROW, "817f ffffffffffffffff", "1002: a length with its highest bit set"},
  };
  static const struct row masked[] = {
      {ROW, "8100", "1002: a frame that is not masked"},
      {ROW, "8900", "1002: a frame that is not masked"},
      {ROW, "8181 00000000 61 8081 00000000 62", "text(1:a) 1002: the continuation of no message"},
      {ROW, "8181 00000000 61 8100", "text(1:a) 1002: a frame that is not masked"},
      {ROW, "c100", "1002: a frame with reserved bits"},
  };
  run_rows(rows, COUNT(rows), false);
  run_rows(masked, COUNT(masked), true);
}

static void test_limits(void) {
  static const struct row rows[] = {
      {ROW, "817e 03e9", "1009: a message above the limit"},
      {ROW, "817f 4000000000000000", "1009: a message above the limit"},
      {ROW, "817f 7fffffffffffffff", "1009: a message above the limit"},
      {ROW, "0101 61 007e 03e8", "1009: a message above the limit"},
      {ROW, "0101 61 807f 7fffffffffffffff", "1009: a message above the limit"},
      {ROW, "0101 61 8001 62 817e 03e9", "text(2:ab) 1009: a message above the limit"},
  };
  char bytes[LIMIT + 16] = {(char)0x82, 126, LIMIT >> 8, (char)(LIMIT & 255)};
  struct reader *reader = reader_new(false);
  run_rows(rows, COUNT(rows), false);
  memset(bytes + 4, 'x', LIMIT);
  feed(reader, bytes, LIMIT + 4);
  CHECK(!strncmp(reader->log, "binary(1000:xxx", 15), "%s", reader->log);
  reader_free(reader);
}

static void test_any_text(void) {
  char bytes[16];
  struct reader *reader = reader_new(false);
  reader->frames.any_text = true;
  feed(reader, bytes, from_hex("8102 c328 0101 c3 8001 28 8804 03e8 c328", bytes));
  expect(__LINE__, reader, "text(2:\xc3() text(2:\xc3() 1007: a close reason that is not UTF-8", 0);
  reader_free(reader);
}

/* A message of n fragments without a byte, read in pieces: the buffer must not grow. */
static struct reader *flood(size_t n) {
  static char bytes[4096];
  struct reader *reader = reader_new(false);
  memset(bytes, 0, sizeof bytes);
  feed(reader, "\x01\x00", 2);
  for (size_t sent = 1; sent < n && !reader->over; sent += sizeof bytes / 2) {
    size_t left = n - sent, now = left < sizeof bytes / 2 ? left : sizeof bytes / 2;
    feed(reader, bytes, 2 * now);
    CHECK(reader->over || reader->length == 0, "%zu bytes are kept", reader->length);
  }
  if (!reader->over)
    feed(reader, "\x80\x02hi", 4);
  return reader;
}

static void test_floods(void) {
  struct reader *most = flood(FRAMES_MOST_EMPTY), *more = flood(FRAMES_MOST_EMPTY + 1);
  expect(__LINE__, most, "text(2:hi) ", 0);
  expect(__LINE__, more, "1008: too many fragments without a byte", 0);
  feed(most, "\x01\x00\x80\x01z", 5); /* it counts anew */
  expect(__LINE__, most, "text(2:hi) text(1:z) ", 0);
  reader_free(most);
  reader_free(more);
}

static void test_utf8(void) {
  static const struct row rows[] = {
      {ROW, "8102 c3a4", "text(2:\xc3\xa4) "},
      {ROW, "8102 c328", "1007: text that is not UTF-8"},
      {ROW, "8101 c3", "1007: text that is not UTF-8"},
      {ROW, "8103 eda080", "1007: text that is not UTF-8"},
      {ROW, "8104 f4908080", "1007: text that is not UTF-8"},
      {ROW, "8102 c080", "1007: text that is not UTF-8"},
      {ROW, "8202 c328", "binary(2:\xc3() "},
      {ROW, "8901 ff", "ping(\xff) "},
      /* a character over fragments */
      {ROW, "0101 c3 8001 a4", "text(2:\xc3\xa4) "},
      {ROW, "0101 f0 0001 9f 8900 0001 98 0000 8001 80", "ping() text(4:\xf0\x9f\x98\x80) "},
      {ROW, "0101 c3 8001 28", "1007: text that is not UTF-8"},
      {ROW, "0101 61 8001 c3", "1007: text that is not UTF-8"},
      {ROW, "0101 61 0001 c3 8000", "1007: text that is not UTF-8"},
      {ROW, "0201 c3 8001 28", "binary(2:\xc3() "},
  };
  run_rows(rows, COUNT(rows), false);
}

static void test_closes(void) {
  static const struct row rows[] = {
      {ROW, "8800", "close(1005:) "},
      {ROW, "8802 03e8", "close(1000:) "},
      {ROW, "8806 03e9 676f6e65", "close(1001:gone) "},
      {ROW, "0101 61 8802 03e8", "close(1000:) "},
      {ROW, "8101 61 8802 03e8 8101 62", "text(1:a) close(1000:) "},
      {ROW, "8801 03", "1002: a close frame of one byte"},
      {ROW, "8804 03e8 c328", "1007: a close reason that is not UTF-8"},
      {ROW, "8803 03e8 c3", "1007: a close reason that is not UTF-8"},
  };
  static const struct { int from, to; } good[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};
  run_rows(rows, COUNT(rows), false);
  for (int code = 0; code < 65536; code += code < 5010 || code > 65000 ? 1 : 97) {
    char bytes[4] = {(char)0x88, 2, (char)(code >> 8), (char)code}, expected[80];
    bool fits = false;
    for (size_t i = 0; i < COUNT(good); i++)
      fits = fits || (code >= good[i].from && code <= good[i].to);
    snprintf(expected, sizeof expected, fits ? "close(%d:) " : "1002: a close code that must not be sent",
             code);
    check_cuts(__LINE__, false, bytes, sizeof bytes, expected);
  }
}

/* Random frames, good and bad, at both ends: in one piece they say what they say in random pieces. */
static size_t put_random(char *at, bool masked) {
  static const unsigned char firsts[] = {0x81, 0x82, 0x01, 0x02, 0x00, 0x80,
                                         0x89, 0x8a, 0x88, 0x09, 0xc1, 0x83};
  uint64_t r = next_random();
  unsigned first = firsts[r % (r >> 8 & 7 ? 8 : COUNT(firsts))];
  size_t length = r >> 16 & 31 ? (r >> 24) % 20 : (r >> 24) % 300, size = 0;
  if (first & 8)
    length %= 126;
  at[size++] = (char)first;
  at[size++] = (char)((masked ? 0x80 : 0) | (length < 126 ? length : 126));
  if (length >= 126) {
    at[size++] = (char)(length >> 8);
    at[size++] = (char)length;
  }
  for (size_t i = 0; i < (masked ? 4 : 0); i++)
    at[size++] = 0x20; /* letters stay ASCII */
  for (size_t i = 0; i < length; i++)
    at[size++] = (char)('A' + next_random() % 26);
  return size;
}

static void test_random(void) {
  char *bytes = malloc(ROOM);
  for (int round = 0; round < 2000; round++) {
    bool masked = round & 1;
    struct reader *whole = reader_new(masked), *pieces = reader_new(masked);
    size_t length = 0;
    for (int i = 0; i < 12; i++)
      length += put_random(bytes + length, masked);
    feed(whole, bytes, length);
    for (size_t at = 0, n; at < length; at += n) {
      n = 1 + next_random() % (round % 3 ? 9 : 200);
      n = n < length - at ? n : length - at;
      feed(pieces, bytes + at, n);
    }
    CHECK(!strcmp(whole->log, pieces->log), "round %d: <%s> and <%s>", round, whole->log, pieces->log);
    reader_free(whole);
    reader_free(pieces);
  }
  free(bytes);
}

int main(int argc, char **argv) {
  static const struct section sections[] = {{"messages", test_messages}, {"heads", test_heads},
                                            {"limits", test_limits},     {"floods", test_floods},
                                            {"utf8", test_utf8},         {"closes", test_closes},
                                            {"any text", test_any_text}, {"random", test_random}};
  return run_section(sections, COUNT(sections), argc, argv);
}
