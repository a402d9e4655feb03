/*
 * multipart.c - a form read in one piece and in small ones gives the same parts. The first byte is the size
 * of the pieces, the rest of the first line the content type. SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/buffer.h"
#include "server/multipart.h"

static void note(struct buffer *log, char kind, const char *data, size_t length) {
  CHECK(buffer_append(log, &kind, 1) && buffer_append(log, data ? data : "", data ? length : 0), "memory");
}

static int on_begin(void *owner, const struct multipart_part *part) {
  note(owner, 'B', part->name.data, part->name.length);
  note(owner, 'F', part->filename.data, part->filename.length);
  note(owner, 'T', part->type.data, part->type.length);
  note(owner, 'D', NULL, 0);
  return part->name.length == 13 ? 413 : 0;
}

static int on_data(void *owner, const char *data, size_t length) {
  CHECK(length, "no data");
  CHECK(buffer_append(owner, data, length), "memory");
  return 0;
}

static int on_end(void *owner) {
  note(owner, 'E', NULL, 0);
  return 0;
}

static int read_form(const char *type, const char *body, size_t length, size_t piece, struct buffer *log) {
  static const struct multipart_ops ops = {on_begin, on_data, on_end};
  static struct multipart multipart;
  if (!multipart_init(&multipart, type, &ops, log))
    return -1;
  while (length) {
    size_t now = piece < length ? piece : length;
    char *copy = malloc(now); /* so that a byte too far is seen */
    memcpy(copy, body, now);
    multipart_feed(&multipart, copy, now);
    free(copy);
    body += now;
    length -= now;
  }
  return multipart_end(&multipart);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data, *line = size ? memchr(text + 1, '\n', size - 1) : NULL;
  struct buffer whole = {0}, pieces = {0};
  char *type;
  if (!line)
    return 0;
  type = strndup(text + 1, (size_t)(line - text) - 1);
  size -= (size_t)(line + 1 - text);
  CHECK(read_form(type, line + 1, size, size ? size : 1, &whole) ==
            read_form(type, line + 1, size, (size_t)data[0] % 16 + 1, &pieces),
        "another status");
  CHECK(whole.length == pieces.length && (!whole.length || !memcmp(whole.data, pieces.data, whole.length)),
        "other parts");
  free(type);
  buffer_free(&whole);
  buffer_free(&pieces);
  return 0;
}
