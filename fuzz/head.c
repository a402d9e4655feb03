/*
 * head.c - the head of a request and a chunked body: cut into pieces they are read as in one, and the
 * http_parser of node, where it is installed, reads what we take in the same way. The first byte is the size
 * of the pieces. Differences that are known: http_parser refuses a Content-Length that comes twice or does
 * not fit, takes "close" and "keep-alive" together for keep-alive in HTTP/1.0, knows chunked alone among
 * lists of codings, and overlooks what follows an empty element of Connection or the beginning of a word that
 * it knows. Trailers are fields for it, and so is a name that goes on behind "Transfer-Encoding".
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/buffer.h"
#include "server/chunked.h"
#include "server/head.h"

#include <strings.h>

enum { ROOM = 1000 };

struct request {
  struct head head;
  int status;    /* of the head */
  int body;      /* of the body, if it is chunked */
  size_t length; /* bytes of the whole request, or up to where it was refused */
  struct buffer data;
};

static void read_chunks(struct request *request, const char *text, size_t size, size_t piece) {
  struct chunked chunked;
  chunked_init(&chunked, ROOM);
  while (request->length < size && request->body == CHUNKED_MORE) {
    size_t n = size - request->length < piece ? size - request->length : piece, got;
    char *copy = malloc(n);
    const char *at = copy, *data;
    memcpy(copy, text + request->length, n);
    while ((request->body = chunked_read_on(&chunked, &at, copy + n, &data, &got)) == CHUNKED_DATA) {
      CHECK(got && data + got == at, "a piece of %zu", got);
      CHECK(buffer_append(&request->data, data, got), "memory");
    }
    CHECK(request->body || at == copy + n, "bytes are left");
    request->length += (size_t)(at - copy);
    free(copy);
  }
  CHECK(request->data.length <= ROOM, "%zu bytes", request->data.length);
}

static void read_request(struct request *request, const char *text, size_t size, size_t piece) {
  size_t came = 0;
  memset(request, 0, sizeof *request);
  while (came < size && request->status == HEAD_MORE) {
    char *copy;
    came = size - came < piece ? size : came + piece;
    copy = malloc(came); /* so that a byte too far is seen */
    memcpy(copy, text, came);
    request->status = head_read_on(&request->head, copy, came);
    free(copy);
  }
  CHECK(request->status <= HEAD_WHOLE || (request->status >= 400 && request->status < 600), "%d",
        request->status);
  if (request->status != HEAD_WHOLE)
    return;
  CHECK(request->head.method && request->head.size <= came && request->head.size <= HEAD_MOST,
        "the end of the head");
  request->length = request->head.size;
  if (request->head.chunked)
    read_chunks(request, text, size, piece);
}

#if __has_include(<http_parser.h>)
#include <dlfcn.h>
#include <http_parser.h>

static size_t (*execute)(http_parser *, const http_parser_settings *, const char *, size_t);
static void (*init)(http_parser *, enum http_parser_type);
static int (*should_keep_alive)(const http_parser *);

/* The request as http_parser reports it, in the form of ours. */
struct theirs {
  struct buffer url, fields, data;
  bool value, whole, keep;
  const char *method;
  uint64_t length;
  bool chunked;
};

static int on_url(http_parser *parser, const char *at, size_t length) {
  return !buffer_append(&((struct theirs *)parser->data)->url, at, length);
}

/* It leaves blanks behind a value. */
static void end_value(struct theirs *theirs) {
  struct buffer *fields = &theirs->fields;
  if (!theirs->value)
    return;
  while (strchr(" \t", fields->data[fields->length - 1]))
    fields->length--;
  CHECK(buffer_puts(fields, "\n"), "memory");
  theirs->value = false;
}

static int on_field(http_parser *parser, const char *at, size_t length) {
  struct theirs *theirs = parser->data;
  end_value(theirs);
  if (theirs->method) { /* a trailer, which it would take for a field: stop there, with an error */
    theirs->whole = true;
    return 1;
  }
  return !buffer_append(&theirs->fields, at, length);
}

static int on_value(http_parser *parser, const char *at, size_t length) {
  struct theirs *theirs = parser->data;
  if (!theirs->value)
    CHECK(buffer_puts(&theirs->fields, ":"), "memory");
  theirs->value = true;
  return !buffer_append(&theirs->fields, at, length);
}

static int on_head(http_parser *parser) {
  static const char *const names[] = {"DELETE", "GET", "HEAD", "POST", "PUT"};
  struct theirs *theirs = parser->data;
  theirs->method = parser->method < 5               ? names[parser->method]
                   : parser->method == HTTP_OPTIONS ? "OPTIONS"
                   : parser->method == HTTP_PATCH   ? "PATCH"
                                                    : "";
  theirs->length = parser->content_length == (uint64_t)-1 ? 0 : parser->content_length;
  theirs->chunked = (parser->flags & F_CHUNKED) != 0;
  theirs->keep = should_keep_alive(parser) != 0;
  end_value(theirs);
  return theirs->chunked ? 0 : 1; /* 1: without a body */
}

static int on_body(http_parser *parser, const char *at, size_t length) {
  return !buffer_append(&((struct theirs *)parser->data)->data, at, length);
}

/* As with a trailer. */
static int on_end(http_parser *parser) {
  ((struct theirs *)parser->data)->whole = true;
  return 1;
}

static bool same(const struct buffer *theirs, const char *ours, size_t length) {
  return theirs->length == length && (!length || !memcmp(theirs->data, ours, length));
}

static void check_fields(const struct request *request, const char *text, const struct theirs *theirs) {
  struct buffer ours = {0};
  struct head_field field;
  for (size_t at = 0; head_next_field(&request->head, text, &at, &field);)
    CHECK(buffer_append(&ours, text + field.name.at, field.name.length) && buffer_puts(&ours, ":") &&
              buffer_append(&ours, text + field.value.at, field.value.length) && buffer_puts(&ours, "\n"),
          "memory");
  CHECK(same(&theirs->fields, ours.data, ours.length), "other fields: %.*s, it has %.*s", (int)ours.length,
        ours.data, (int)theirs->fields.length, theirs->fields.data);
  buffer_free(&ours);
}

static bool is_meant(const struct head *head, const char *text) {
  struct head_field field;
  int lengths = 0, odd = 0;
  for (size_t at = 0; head_next_field(head, text, &at, &field);) {
    const char *value = text + field.value.at;
    if (head_is_word(text + field.name.at, field.name.length, "content-length"))
      lengths += memchr(value, ',', field.value.length) ? 2 : 1;
    if (head_is_word(text + field.name.at, field.name.length, "transfer-encoding"))
      odd += !head_is_word(value, field.value.length, "chunked");
    odd += field.name.length > 17 && !strncasecmp(text + field.name.at, "transfer-encoding", 17);
    if (head_is_word(text + field.name.at, field.name.length, "connection"))
      odd += !head_is_word(value, field.value.length, "close") &&
             !head_is_word(value, field.value.length, "keep-alive");
  }
  return lengths > 1 || odd || head->length > INT64_MAX / 16 ||
         (head->old && head->says_close && head->says_keep);
}

static void compare(const struct request *request, const char *text) {
  static const http_parser_settings settings = {.on_url = on_url,
                                                .on_header_field = on_field,
                                                .on_header_value = on_value,
                                                .on_headers_complete = on_head,
                                                .on_body = on_body,
                                                .on_message_complete = on_end};
  const struct head *head = &request->head;
  struct theirs theirs = {0};
  http_parser parser;
  if (!execute || request->status != HEAD_WHOLE || (head->chunked && request->body != CHUNKED_WHOLE) ||
      is_meant(head, text))
    return;
  init(&parser, HTTP_REQUEST);
  parser.data = &theirs;
  execute(&parser, &settings, text, request->length);
  CHECK(theirs.method && theirs.whole, "it does not take the request: %s",
        parser.http_errno == HPE_OK ? "more is to come" : "an error");
  CHECK(!strcmp(theirs.method, head->method), "the method is %s for it", theirs.method);
  CHECK(theirs.chunked == head->chunked && theirs.length == head->length && theirs.keep == head->keep,
        "it has length %llu, chunked %d, keep %d", (unsigned long long)theirs.length, theirs.chunked,
        theirs.keep);
  CHECK(theirs.url.length >= head->path.length, "the target");
  check_fields(request, text, &theirs);
  CHECK(same(&theirs.data, request->data.data, request->data.length), "another body");
  buffer_free(&theirs.url);
  buffer_free(&theirs.fields);
  buffer_free(&theirs.data);
}

static void find_parser(void) {
  void *library = dlopen("libhttp_parser.so.2.9", RTLD_NOW);
  execute = library ? (size_t(*)(http_parser *, const http_parser_settings *, const char *, size_t))dlsym(
                          library, "http_parser_execute")
                    : NULL;
  if (!execute) {
    fprintf(stderr, "not compared with http_parser: %s\n", dlerror());
    return;
  }
  init = (void (*)(http_parser *, enum http_parser_type))dlsym(library, "http_parser_init");
  should_keep_alive = (int (*)(const http_parser *))dlsym(library, "http_should_keep_alive");
}
#else
static void compare(const struct request *request, const char *text) {
  (void)request;
  (void)text;
}

static void find_parser(void) {
  fputs("not compared with http_parser: libhttp-parser-dev is not installed\n", stderr);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bool looked;
  struct request whole, pieces;
  const char *text = (const char *)data + 1;
  if (!looked)
    find_parser();
  looked = true;
  if (!size--)
    return 0;
  read_request(&whole, text, size, size ? size : 1);
  read_request(&pieces, text, size, (size_t)data[0] % 16 + 1);
  CHECK(whole.status == pieces.status && whole.body == pieces.body, "%d and %d, in pieces %d and %d",
        whole.status, whole.body, pieces.status, pieces.body);
  CHECK(whole.status != HEAD_WHOLE ||
            (whole.length == pieces.length && !memcmp(&whole.head, &pieces.head, sizeof whole.head)),
        "another head");
  CHECK(whole.data.length == pieces.data.length &&
            (!whole.data.length || !memcmp(whole.data.data, pieces.data.data, whole.data.length)),
        "another body");
  compare(&whole, text);
  buffer_free(&whole.data);
  buffer_free(&pieces.data);
  return 0;
}
