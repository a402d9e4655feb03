/*
 * server/head.h - the head of an HTTP/1.1 request (RFC 9110 and 9112), read strictly, once.
 *
 * Nothing is mended, and no name of a field is known beforehand: a line is a field by its form, or the
 * request is refused. How a head is cut into pieces makes no difference. Where the body ends is decided here
 * and nowhere else.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SERVER_HEAD_H
#define TRUECONF_SERVER_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HEAD_MOST = 16384,     /* bytes of a head with all its lines; more: 431 */
  HEAD_MOST_LINE = 8192, /* bytes of the request line; more: 414 */
};

/* Bytes in a head, from its beginning: the buffer that holds them may move. */
struct head_part {
  uint16_t at, length;
};

struct head_field {
  struct head_part name, value; /* value: without the blanks around it */
};

/* All zero: nothing has come. The fields after `size` are complete once head_read has returned HEAD_WHOLE. */
struct head {
  size_t seen; /* bytes that were looked at */
  size_t size; /* bytes of whole lines; in the end, of the head */

  const char *method; /* "GET" and the like; NULL: none that is served, or it has not come */
  bool is_get, is_head;
  bool old;                /* HTTP/1.0 */
  struct head_part fields; /* all lines of fields */
  struct head_part path,
      query; /* of the target as it was sent, with its escapes; query: length 0 if there is none */
  struct head_part host; /* of an absolute target, else of the field Host */

  uint64_t length;    /* of the body; at most INT64_MAX, which stands for all above */
  bool has_length;    /* Content-Length came */
  bool chunked;       /* struct chunked tells where the body ends */
  bool keep;          /* the client would send another request on this connection */
  bool expects;       /* 100 Continue */
  bool wants_upgrade; /* Connection names Upgrade */
  bool to_websocket;  /* Upgrade names websocket */

  /* While it is read. */
  bool begun, absolute, has_host;
  bool coded, codings_odd,
      codings_unknown; /* Transfer-Encoding came; it is not to be understood; it is not known */
  bool says_close, says_keep, expects_other;
};

enum { HEAD_MORE = 0, HEAD_WHOLE = 1 };

/* Read on in `data`, which begins where it began last time. Returns HEAD_MORE, HEAD_WHOLE, or the status to
 * refuse the request with; after that the connection cannot go on. */
int head_read_on(struct head *head, const char *data, size_t length);
/* Give one field after the other; *at is 0 for the first. false: there are no more. */
bool head_next_field(const struct head *head, const char *data, size_t *at, struct head_field *field);
/* Give one element of a comma-separated list after the other, in [*at, end), as [*element, *element +
 * *length); empty ones are passed over. false: there are no more. */
bool head_next_element(const char **at, const char *end, const char **element, size_t *length);
/* Is the text this word, in any case of letters? */
bool head_is_word(const char *text, size_t length, const char *word);

#endif
