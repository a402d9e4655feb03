/*
 * server/chunked.h - a chunked body (RFC 9112, 7.1), read strictly, as it comes.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SERVER_CHUNKED_H
#define TRUECONF_SERVER_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum {
  CHUNKED_MOST_BESIDE = 8192, /* bytes of a body's extensions and trailers together */
};

struct chunked {
  enum {
    CHUNK_SIZE,
    CHUNK_BLANK, /* behind the size, before a semicolon */
    CHUNK_EXTENSION,
    CHUNK_SIZE_END,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_BEGIN,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LINE_END,
    CHUNKED_LAST, /* the line break that ends the body */
  } at;
  int digits;    /* of the size */
  uint64_t left; /* bytes of the chunk that are to come */
  uint64_t room; /* bytes that the body may still have; a chunk beyond them is refused by its size */
  size_t beside;
};

enum { CHUNKED_MORE = 0, CHUNKED_DATA = 1, CHUNKED_WHOLE = 2 };

/* A body of at most so many bytes begins. */
void chunked_init(struct chunked *chunked, uint64_t room);
/* Read on from *at and move it. Returns CHUNKED_DATA with the next piece of the body, which lies before *at;
 * CHUNKED_MORE once all is read; CHUNKED_WHOLE at the end of the body, behind which the next request may
 * begin; or the status to refuse the request with: 400, 413 or 431. */
int chunked_read_on(struct chunked *chunked, const char **at, const char *end, const char **data,
                    size_t *length);

#endif
