/*
 * server/multipart.c - a multipart/form-data body (RFC 7578, RFC 2046), read as it comes in constant memory.
 * Owns: nothing; knows neither files nor Lua, see upload.c.
 * Quoted values may hold \" and \\ as curl writes them; everything else, "%22" and raw UTF-8 too, is passed
 * on as it came. `filename*` is no part of form-data and is not looked at.
 * SPDX-License-Identifier: MIT
 */
#include "server/multipart.h"

#include <string.h>
#include <strings.h>

enum { BAD = 400 };

/* ---- reading header lines ------------------------------------------------------------------------- */

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static char *skip_blanks(char *at, const char *end) {
  while (at < end && is_blank(*at))
    at++;
  return at;
}

static bool text_is(struct multipart_text text, const char *wanted) {
  return text.length == strlen(wanted) && !strncasecmp(text.data, wanted, text.length);
}

static struct multipart_text trimmed(char *from, const char *end) {
  from = skip_blanks(from, end);
  while (end > from && is_blank(end[-1]))
    end--;
  return (struct multipart_text){from, (size_t)(end - from)};
}

/* Read a quoted string from behind its first quote, undoing the escapes in place. */
static char *read_quoted(char *at, const char *end, struct multipart_text *value) {
  char *to = at;
  value->data = at;
  for (; at < end && *at != '"'; at++) {
    if (*at == '\\' && at + 1 < end && (at[1] == '"' || at[1] == '\\'))
      at++;
    *to++ = *at;
  }
  value->length = (size_t)(to - value->data);
  while (at < end && *at != ';')
    at++;
  return at;
}

static char *find_char(char *at, const char *end, char c) {
  while (at < end && *at != c)
    at++;
  return at;
}

/* The next parameter behind a semicolon; NULL: there is none. */
static char *read_parameter(char *at, const char *end, struct multipart_text *name,
                            struct multipart_text *value) {
  char *from, *stop;
  at = find_char(at, end, ';');
  if (at == end)
    return NULL;
  from = ++at;
  while (at < end && *at != '=' && *at != ';')
    at++;
  *name = trimmed(from, at);
  *value = (struct multipart_text){at, 0};
  if (at == end || *at == ';')
    return at;
  at = skip_blanks(at + 1, end);
  if (at < end && *at == '"')
    return read_quoted(at + 1, end, value);
  stop = find_char(at, end, ';');
  *value = trimmed(at, stop);
  return stop;
}

/* The first value of a parameter of that name, if there is one. */
static void note(struct multipart_text *into, struct multipart_text name, const char *wanted,
                 struct multipart_text value) {
  if (!into->data && text_is(name, wanted))
    *into = value;
}

static void read_disposition(char *at, const char *end, struct multipart_part *part) {
  struct multipart_text name, value;
  if (!text_is(trimmed(at, find_char(at, end, ';')), "form-data"))
    return;
  while ((at = read_parameter(at, end, &name, &value))) {
    note(&part->name, name, "name", value);
    note(&part->filename, name, "filename", value);
  }
}

static void read_line(char *at, const char *end, struct multipart_part *part) {
  char *colon = find_char(at, end, ':');
  struct multipart_text name = trimmed(at, colon);
  if (colon == end)
    return;
  if (text_is(name, "content-disposition"))
    read_disposition(colon + 1, end, part);
  else if (text_is(name, "content-type") && !part->type.data)
    part->type = trimmed(colon + 1, end);
}

/* A line that begins with a blank goes on with the one before it. */
static char *end_of_line(char *at, char *end) {
  for (; at < end; at++) {
    if (*at != '\n')
      continue;
    if (at + 1 == end || !is_blank(at[1]))
      return at;
    *at = ' ';
    if (at[-1] == '\r')
      at[-1] = ' ';
  }
  return end;
}

static void read_head(struct multipart *multipart, struct multipart_part *part) {
  char *at = multipart->head, *end = at + multipart->head_length;
  memset(part, 0, sizeof *part);
  while (at < end) {
    char *stop = end_of_line(at, end), *last = stop;
    if (last > at && last[-1] == '\r')
      last--;
    read_line(at, last, part);
    at = stop + 1;
  }
}

/* ---- boundaries ---------------------------------------------------------------------------------- */

static int emit(struct multipart *multipart, const char *data, size_t length) {
  return length && multipart->inside ? multipart->ops->data(multipart->owner, data, length) : 0;
}

/* It was no delimiter: its first bytes are data after all. */
static int give_back(struct multipart *multipart, size_t carried) {
  size_t from = multipart->borrowed;
  multipart->matched = 0;
  multipart->borrowed = 0;
  return carried > from ? emit(multipart, multipart->delimiter + from, carried - from) : 0;
}

/* Data up to the next delimiter, or all of it. A CR can only be the delimiter's first byte, so that after a
 * mismatch the search goes on right here. */
static int scan(struct multipart *multipart, const char *in, size_t length, size_t *used) {
  size_t i = 0, carried = multipart->matched; /* bytes matched in earlier pieces */
  int status = 0;
  while (i < length && multipart->matched < multipart->delimiter_length && !status) {
    if (!multipart->matched) {
      const char *found = memchr(in + i, '\r', length - i);
      i = found ? (size_t)(found - in) + 1 : length;
      multipart->matched = found != NULL;
    } else if (in[i] == multipart->delimiter[multipart->matched]) {
      i++;
      multipart->matched++;
    } else {
      status = give_back(multipart, carried);
      carried = 0;
    }
  }
  *used = i;
  if (multipart->matched == multipart->delimiter_length)
    multipart->at = MULTIPART_BEHIND;
  return status ? status : emit(multipart, in, i - (multipart->matched - carried));
}

static int end_part(struct multipart *multipart) {
  bool was_inside = multipart->inside;
  multipart->inside = false;
  multipart->matched = multipart->borrowed = 0;
  multipart->tail_length = multipart->head_length = multipart->line = 0;
  return was_inside ? multipart->ops->end(multipart->owner) : 0;
}

/* May `c` stand here behind the boundary? "--", or blanks and the end of the line. */
static bool may_follow(const struct multipart *multipart, char c) {
  char last = multipart->tail_length ? multipart->tail[multipart->tail_length - 1] : 0;
  if (multipart->tail_length == MULTIPART_TAIL || last == '\r' || last == '-')
    return false;
  return c == '\r' || is_blank(c) || (c == '-' && !last);
}

/* Bytes that only began like a delimiter are data. */
static int disown(struct multipart *multipart) {
  size_t length = multipart->tail_length;
  bool cr = length && multipart->tail[length - 1] == '\r';
  int status = give_back(multipart, multipart->delimiter_length);
  multipart->at = MULTIPART_DATA;
  multipart->tail_length = 0;
  multipart->matched = cr; /* it may begin another one */
  return status ? status : emit(multipart, multipart->tail, length - cr);
}

/* One byte behind a boundary; `used` stays 0 if it belongs to what follows. */
static int behind(struct multipart *multipart, char c, size_t *used) {
  bool dash = multipart->tail_length == 1 && multipart->tail[0] == '-';
  *used = 1;
  if (dash && c == '-') {
    multipart->at = MULTIPART_OVER;
    return end_part(multipart);
  }
  if (!dash && c == '\n') {
    multipart->at = MULTIPART_HEADERS;
    return end_part(multipart);
  }
  if (may_follow(multipart, c)) {
    multipart->tail[multipart->tail_length++] = c;
    return 0;
  }
  *used = 0;
  return disown(multipart);
}

/* ---- the body ------------------------------------------------------------------------------------ */

/* The headers are there. The line break that ends them may be the delimiter's too, if there is no data. */
static int begin_part(struct multipart *multipart) {
  struct multipart_part part;
  read_head(multipart, &part);
  multipart->at = MULTIPART_DATA;
  multipart->inside = true;
  multipart->matched = multipart->borrowed = 2;
  return multipart->ops->begin(multipart->owner, &part);
}

static int header_byte(struct multipart *multipart, char c) {
  if (multipart->head_length == MULTIPART_HEAD)
    return BAD;
  multipart->head[multipart->head_length++] = c;
  if (c == '\n' && !multipart->line)
    return begin_part(multipart);
  if (c == '\n')
    multipart->line = 0;
  else if (c != '\r')
    multipart->line++;
  return 0;
}

static int step(struct multipart *multipart, const char *in, size_t length, size_t *used) {
  *used = 1;
  switch (multipart->at) {
  case MULTIPART_DATA:
    return scan(multipart, in, length, used);
  case MULTIPART_BEHIND:
    return behind(multipart, *in, used);
  case MULTIPART_HEADERS:
    return header_byte(multipart, *in);
  default: /* what follows the last boundary means nothing */
    *used = length;
    return 0;
  }
}

int multipart_feed(struct multipart *multipart, const char *data, size_t length) {
  while (length && !multipart->status) {
    size_t used;
    multipart->status = step(multipart, data, length, &used);
    data += used;
    length -= used;
  }
  return multipart->status;
}

int multipart_end(const struct multipart *multipart) {
  if (multipart->status)
    return multipart->status;
  return multipart->at == MULTIPART_OVER ? 0 : BAD;
}

/* false: that is no boundary. */
static bool set_delimiter(struct multipart *multipart, struct multipart_text boundary) {
  char *to = multipart->delimiter + 4;
  memcpy(multipart->delimiter, "\r\n--", 4);
  if (!boundary.length || boundary.length > MULTIPART_BOUNDARY)
    return false;
  for (size_t i = 0; i < boundary.length; i++) {
    if ((unsigned char)boundary.data[i] < ' ')
      return false;
    *to++ = boundary.data[i];
  }
  multipart->delimiter_length = 4 + boundary.length;
  return true;
}

bool multipart_init(struct multipart *multipart, const char *content_type, const struct multipart_ops *ops,
                    void *owner) {
  struct multipart_text boundary = {NULL, 0}, name, value;
  size_t length = strlen(content_type);
  char *at = multipart->head, *end = at + length;
  memset(multipart, 0, sizeof *multipart);
  if (length >= MULTIPART_HEAD)
    return false;
  memcpy(at, content_type, length + 1); /* read_quoted writes */
  if (!text_is(trimmed(at, find_char(at, end, ';')), "multipart/form-data"))
    return false;
  while ((at = read_parameter(at, end, &name, &value)))
    note(&boundary, name, "boundary", value);
  if (!set_delimiter(multipart, boundary))
    return false;
  multipart->matched = multipart->borrowed = 2; /* the first delimiter needs no line before it */
  multipart->ops = ops;
  multipart->owner = owner;
  return true;
}
