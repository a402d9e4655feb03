/*
 * server/multipart.h - a multipart/form-data body (RFC 7578), read as it comes.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_MULTIPART_H
#define TRUECONF_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

enum {
  MULTIPART_HEAD = 8192,    /* bytes of the headers of one part */
  MULTIPART_BOUNDARY = 200, /* RFC 2046 allows 70 */
  MULTIPART_TAIL = 16,      /* blanks behind a boundary */
};

/* Bytes that may hold a zero; data is NULL when it is not there. */
struct multipart_text {
  const char *data;
  size_t length;
};

/* Valid only during `begin`. */
struct multipart_part {
  struct multipart_text name, filename, type;
};

/* Each returns 0, or an HTTP status that ends the reading. */
struct multipart_ops {
  int (*begin)(void *owner, const struct multipart_part *part);
  int (*data)(void *owner, const char *data, size_t length);
  int (*end)(void *owner);
};

struct multipart {
  const struct multipart_ops *ops;
  void *owner;
  enum { MULTIPART_DATA, MULTIPART_BEHIND, MULTIPART_HEADERS, MULTIPART_OVER } at;
  bool inside;                            /* of a part, not before the first one */
  int status;                             /* why the reading has ended; 0: it goes on */
  char delimiter[4 + MULTIPART_BOUNDARY]; /* CR LF "--" boundary */
  size_t delimiter_length;
  size_t matched;  /* bytes of the delimiter that have come */
  size_t borrowed; /* of these, not part of the data: a line break that counts twice */
  char tail[MULTIPART_TAIL];
  size_t tail_length;
  char head[MULTIPART_HEAD];
  size_t head_length, line; /* line: characters of the last one */
};

/* false: the content type is not multipart/form-data with a boundary. */
bool multipart_init(struct multipart *multipart, const char *content_type, const struct multipart_ops *ops,
                    void *owner);
/* Take bytes of the body; 0, or the status to refuse the request with: 400 or what an op has answered. */
int multipart_feed(struct multipart *multipart, const char *data, size_t length);
/* The body is over; 400 if it was cut off. */
int multipart_end(const struct multipart *multipart);

#endif
