/*
 * head_test.c - the head of a request, and a chunked body, read strictly; run by core/head_spec.lua.
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "server/chunked.h"
#include "server/head.h"

enum { LONGEST = 1 << 15 };

/* ---- heads --------------------------------------------------------------------------------------- */

/* Read a head that comes in pieces of at most `piece` bytes, 0: of random ones. Each time it lies elsewhere.
 */
static int read_head(struct head *head, const char *text, size_t length, size_t piece) {
  int status = HEAD_MORE;
  memset(head, 0, sizeof *head);
  for (size_t at = 0; at < length && status == HEAD_MORE;) {
    char *copy;
    at += piece ? piece : 1 + (size_t)(next_random() % 9);
    copy = exact_copy(text, at < length ? at : length);
    status = head_read_on(head, copy, at < length ? at : length);
    free(copy);
  }
  return status;
}

static int put(char *into, int at, struct head_part part, const char *text) {
  return at + snprintf(into + at, (size_t)(LONGEST - at), "%.*s", (int)part.length, text + part.at);
}

/* A head in words: "GET /path ?query @host 5 chunked close 1.0 expects upgrade | name=value; ". */
static const char *describe(const struct head *head, const char *text) {
  static char words[LONGEST];
  struct head_field field;
  int n = snprintf(words, sizeof words, "%s ", head->method);
  n = put(words, n, head->path, text);
  if (head->query.length)
    n = put(words, n + snprintf(words + n, 3, " ?"), head->query, text);
  if (head->host.length)
    n = put(words, n + snprintf(words + n, 3, " @"), head->host, text);
  if (head->has_length)
    n += snprintf(words + n, 30, " %llu", (unsigned long long)head->length);
  n += snprintf(words + n, 60, "%s%s%s%s%s%s |", head->chunked ? " chunked" : "", head->keep ? "" : " close",
                head->old ? " 1.0" : "", head->expects ? " expects" : "",
                head->wants_upgrade ? " upgrade" : "", head->to_websocket ? " websocket" : "");
  for (size_t at = 0; head_next_field(head, text, &at, &field);) {
    n = put(words, n + snprintf(words + n, 3, " "), field.name, text);
    n = put(words, n + snprintf(words + n, 3, "="), field.value, text);
    n += snprintf(words + n, 3, ";");
  }
  return words;
}

struct good {
  const char *text, *words;
};

#define HOST "Host: h\r\n"

static void check_good(const struct good *heads, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t length = strlen(heads[i].text);
    for (size_t piece = 0; piece <= length; piece++) {
      struct head head;
      int status = read_head(&head, heads[i].text, length, piece);
      CHECK(status == HEAD_WHOLE && head.size == length, "head %zu, piece %zu: %d, %zu bytes", i, piece,
            status, head.size);
      if (status == HEAD_WHOLE)
        CHECK(!strcmp(describe(&head, heads[i].text), heads[i].words), "head %zu: %s", i,
              describe(&head, heads[i].text));
    }
  }
}

static void test_lines(void) {
  static const struct good heads[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / @h | Host=h;"},
      {"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / @h | Host=h;"},
      {"HEAD /a%20b;c=d/?x=%41&?/ HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /a%20b;c=d/ ?x=%41&?/ @h | Host=h;"},
      {"GET /a|b?c={d|e}^`\\ HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a|b ?c={d|e}^`\\ @h | Host=h;"},
      {"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "OPTIONS * | Host=;"},
      {"GET HTTP://a.example:80/p?q HTTP/1.1\r\nHost: other\r\n\r\n",
       "GET /p ?q @a.example:80 | Host=other;"},
      {"GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET  @a | Host=a;"},
      {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET  ?q @a | Host=a;"},
      {"POST / HTTP/1.0\r\n\r\n", "POST / close 1.0 |"},
      {"PUT / HTTP/1.9\r\nHost: h\r\n\r\n", "PUT / @h | Host=h;"},
      {"DELETE //x//.././y HTTP/1.1\r\nHost: h\r\n\r\n", "DELETE //x//.././y @h | Host=h;"},
      {"PATCH / HTTP/1.1\r\nhOST:\t h.example:8080 \t\r\n\r\n",
       "PATCH / @h.example:8080 | hOST=h.example:8080;"},
      {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / @[::1]:80 | Host=[::1]:80;"},
      {"GET / HTTP/1.1\r\nHost: a_b-c.%61~!$&'()*+,;=:\r\n\r\n",
       "GET / @a_b-c.%61~!$&'()*+,;=: | Host=a_b-c.%61~!$&'()*+,;=:;"},
      {"GET / HTTP/1.1\r\nHost: h\r\nX-Odd!#$%&'*+.^_`|~: a:b \t c\xc3\xa9\r\nE:\r\n\r\n",
       "GET / @h | Host=h; X-Odd!#$%&'*+.^_`|~=a:b \t c\xc3\xa9; E=;"},
  };
  check_good(heads, sizeof heads / sizeof *heads);
}

static void test_framing(void) {
#define POST(fields, words)                                                                                  \
  { "POST / HTTP/1.1\r\nHost: h\r\n" fields "\r\n", words }
  static const struct good heads[] = {
      POST("Content-Length: 0\r\n", "POST / @h 0 | Host=h; Content-Length=0;"),
      POST("Content-Length: 0031 , 31\r\ncontent-length:31\r\n",
           "POST / @h 31 | Host=h; Content-Length=0031 , 31; content-length=31;"),
      POST("Content-Length: 9223372036854775807\r\n",
           "POST / @h 9223372036854775807 | Host=h; Content-Length=9223372036854775807;"),
      POST("Content-Length: 99999999999999999999999\r\n",
           "POST / @h 9223372036854775807 | Host=h; Content-Length=99999999999999999999999;"),
      POST("Transfer-Encoding: Chunked\r\n", "POST / @h chunked | Host=h; Transfer-Encoding=Chunked;"),
      POST("Transfer-Encoding: , chunked ,\r\n",
           "POST / @h chunked | Host=h; Transfer-Encoding=, chunked ,;"),
      POST("Expect: 100-Continue\r\nContent-Length: 1\r\n",
           "POST / @h 1 expects | Host=h; Expect=100-Continue; Content-Length=1;"),
  };
  static const struct good old[] = {
      {"GET / HTTP/1.0\r\nExpect: 100-continue, x\r\n\r\n", "GET / close 1.0 | Expect=100-continue, x;"},
      {"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "GET / 1.0 | Connection=x, Keep-Alive;"},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
       "GET / close 1.0 | Connection=keep-alive; Connection=close;"},
      {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive ,\tClose\r\n\r\n",
       "GET / @h close | Host=h; Connection=keep-alive ,\tClose;"},
      {"GET / HTTP/1.1\r\n" HOST "Connection: closed, clos\r\n\r\n",
       "GET / @h | Host=h; Connection=closed, clos;"},
      {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n",
       "GET / @h upgrade websocket | Host=h; Connection=keep-alive, Upgrade; Upgrade=h2c, WebSocket;"},
      {"GET / HTTP/1.1\r\n" HOST "Upgrade: websockets, web socket\r\n\r\n",
       "GET / @h | Host=h; Upgrade=websockets, web socket;"},
  };
  check_good(heads, sizeof heads / sizeof *heads);
  check_good(old, sizeof old / sizeof *old);
}

struct refused {
  int status;
  const char *text;
};

static void check_refused(const char *text, size_t length, int status) {
  for (size_t piece = 0; piece <= length; piece++) {
    struct head head;
    int got = read_head(&head, text, length, piece);
    CHECK(got == status, "%s, piece %zu: %d", text, piece, got);
  }
}

static void test_refused(void) {
  static const struct refused heads[] = {
      {400, "GET /\r\n"},
      {400, "GET  / HTTP/1.1\r\n"},
      {400, "GET / HTTP/1.1 \r\n"},
      {400, "GET / x HTTP/1.1\r\n"},
      {400, "GET\t/ HTTP/1.1"},
      {400, " GET / HTTP/1.1"},
      {400, "G@T / HTTP/1.1"},
      {400, "\x16\x03\x01\x02"},
      {400, "\rGET"},
      {400, "\n"},
      {400, "GET / HTTP/1.1\n"},
      {400, "GET / HTTP/1.1\r\r\n"},
      {400, "GET / http/1.1\r\n"},
      {400, "GET / HTTP/1\r\n"},
      {400, "GET / HTTP/1.10\r\n"},
      {400, "GET / HTTP/+1.1\r\n"},
      {505, "GET / HTTP/2.0\r\n"},
      {505, "PRI * HTTP/2.0\r\n"},
      {505, "GET / HTTP/0.9\r\n"},
      {501, "BREW / HTTP/1.1\r\n"},
      {501, "get / HTTP/1.1\r\n"},
      {501, "CONNECT a:80 HTTP/1.1\r\n"},
      {501, "TRACE / HTTP/1.1\r\n"},
      {501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"},
      {400, "GET * HTTP/1.1\r\n"},
      {400, "GET a:80 HTTP/1.1\r\n"},
      {400, "GET ftp://a/ HTTP/1.1\r\n"},
      {400, "GET http:///p HTTP/1.1\r\n"},
      {400, "GET http://u@a/ HTTP/1.1\r\n"},
      {400, "GET http://a:b/ HTTP/1.1\r\n"},
      {400, "GET http://[a/ HTTP/1.1\r\n"},
      {400, "GET /%zz HTTP/1.1\r\n"},
      {400, "GET /%4 HTTP/1.1\r\n"},
      {400, "GET /?%00 HTTP/1.1\r\n"},
      {400, "GET /#a HTTP/1.1\r\n"},
      {400, "GET /\x01 HTTP/1.1\r\n"},
      {400, "GET /\x7f HTTP/1.1\r\n"},
      {400, "GET /\xc3\xa9 HTTP/1.1\r\n"},
      {400, "GET /<a HTTP/1.1\r\n"},
      {400, "GET /?a=\"b\" HTTP/1.1\r\n"},
      {400, "GET /a\\b HTTP/1.1\r\n"},
      {400, "GET /{a} HTTP/1.1\r\n"},
      {400, "GET / HTTP/1.1\r\n\r\n"},
      {400, "GET http://a/ HTTP/1.1\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST HOST},
      {400, "GET / HTTP/1.0\r\n" HOST HOST},
      {400, "GET / HTTP/1.1\r\nHost: a b\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: u@a\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a, b\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a/\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a:1:2\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a:123456\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: []\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: [::1\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: [::1]a\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a%4\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n"},
      {400, "GET / HTTP/1.1\r\n Host: h\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST " folded\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "\tfolded: x\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST " \r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A : b\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A\t: b\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A b: c\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST ": b\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "no colon\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A(: b\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "\xc3: b\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "A: b\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length : 3\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3.0\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3,\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3, 4\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
      {400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
      {501, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {501, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {417, "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\n\r\n"},
      {HEAD_MORE, "GET / HTTP/1.1\r\n" HOST "A: b\r\n\r"},
      {HEAD_MORE, "GET"},
      {HEAD_MORE, "\r\n\r"},
  };
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
    check_refused(heads[i].text, strlen(heads[i].text), heads[i].status);
  check_refused("GET /\0 HTTP/1.1\r\n", 17, 400);
  check_refused("GET / HTTP/1.1\r\nA\0: b\r\n", 23, 400);
  check_refused("GET / HTTP/1.1\r\nA: b\0c\r\n", 25, 400);
}

/* No table of known names stands between a field and its line: also not for all beginnings of all of them. */
static void test_names(void) {
  static const char *const names[] = {"User-Agent",
                                      "Authorization",
                                      "X-Auth-Token",
                                      "Access-Control-Allow-Origin",
                                      "Accept-Encoding",
                                      "Content-Length",
                                      "Transfer-Encoding",
                                      "Connection",
                                      "Host",
                                      "Expect",
                                      "Upgrade",
                                      "Sec-WebSocket-Protocol",
                                      "Proxy-Authorization"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    for (size_t n = 1; n <= strlen(names[i]) + 1; n++) {
      char text[200], words[200], name[40];
      struct head head;
      int status;
      snprintf(name, sizeof name, "%.*s%s", (int)n, names[i], n > strlen(names[i]) ? "x" : "");
      if (n == strlen(names[i]) && n != 10 && strcmp(name, "X-Auth-Token") != 0)
        continue; /* names that mean something have their own cases */
      snprintf(text, sizeof text, "POST / HTTP/1.1\r\n%s: v\r\nHost: h\r\nContent-Length: 7\r\n\r\n", name);
      snprintf(words, sizeof words, "POST / @h 7 | %s=v; Host=h; Content-Length=7;", name);
      status = read_head(&head, text, strlen(text), 0);
      CHECK(status == HEAD_WHOLE && !strcmp(describe(&head, text), words), "%s: %d", name, status);
    }
}

static void fill(char *text, size_t length, const char *begin, const char *end) {
  size_t n = strlen(begin), m = strlen(end);
  memset(text, 'a', length);
  memcpy(text, begin, n);
  memcpy(text + length - m, end, m);
}

static void check_bound(const char *text, size_t length, int status) {
  struct head head;
  for (size_t piece = 997; piece < 20000; piece += 9500)
    CHECK(read_head(&head, text, length, piece) == status, "%zu bytes in pieces of %zu: not %d", length,
          piece, status);
}

static void test_bounds(void) {
  static char text[LONGEST];
  static const char behind[] = " HTTP/1.1\r\nHost: h\r\n\r\n";
  size_t tail = sizeof behind - 1 - 11; /* without that of the request line */
  fill(text, HEAD_MOST_LINE + 1 + tail, "GET /", behind);
  check_bound(text, HEAD_MOST_LINE + 1 + tail - 1, HEAD_MORE);
  check_bound(text, HEAD_MOST_LINE + 1 + tail, HEAD_WHOLE);
  fill(text, HEAD_MOST_LINE + 2 + tail, "GET /", behind);
  check_bound(text, HEAD_MOST_LINE + 2 + tail, 414);
  check_bound(text, HEAD_MOST_LINE + 1, 414);
  fill(text, HEAD_MOST, "GET / HTTP/1.1\r\nHost: h\r\nX: ", "\r\n\r\n");
  check_bound(text, HEAD_MOST, HEAD_WHOLE);
  fill(text, HEAD_MOST + 1, "GET / HTTP/1.1\r\nHost: h\r\nX: ", "\r\n\r\n");
  check_bound(text, HEAD_MOST + 1, 431);
  memset(text, 0, sizeof text);
  strcpy(text, "GET / HTTP/1.1\r\n");
  while (strlen(text) < 20000)
    strcat(text, "X: y\r\n");
  check_bound(text, 20000, 431);
  text[0] = 0;
  while (strlen(text) < 20000)
    strcat(text, "\r\n\r\n");
  check_bound(text, 20000, 431);
}

static size_t random_head(char *text) {
  static const char *const pieces[] = {"GET ",
                                       "POST ",
                                       "/",
                                       "/a?b",
                                       "http://a/",
                                       "*",
                                       " HTTP/1.1\r\n",
                                       " HTTP/1.0\r\n",
                                       "Host: h\r\n",
                                       "Content-Length: 5\r\n",
                                       "Transfer-Encoding: chunked\r\n",
                                       "Connection: close\r\n",
                                       "X: y\r\n",
                                       "\r\n",
                                       "\r",
                                       "\n",
                                       ":",
                                       " ",
                                       "\t",
                                       "%41",
                                       "%",
                                       "a",
                                       "Expect: 100-continue\r\n",
                                       ",",
                                       "5"};
  size_t length = 0;
  for (int n = (int)(next_random() % 24); n > 0; n--) {
    const char *piece = pieces[next_random() % (sizeof pieces / sizeof *pieces)];
    memcpy(text + length, piece, strlen(piece));
    length += strlen(piece);
  }
  return length;
}

static void check_cuts(const char *text, size_t length) {
  struct head whole, cut;
  int status = read_head(&whole, text, length, length ? length : 1);
  for (size_t piece = 0; piece < 3; piece++) {
    CHECK(read_head(&cut, text, length, piece) == status, "status %d", status);
    CHECK(status > HEAD_WHOLE || !memcmp(&whole, &cut, sizeof whole), "another head of %.*s", (int)length,
          text);
  }
}

static void test_random(void) {
  static const char good[] =
      "POST /a%20b?c=d&e HTTP/1.1\r\nHost: h:80\r\nContent-Length: 5\r\nConnection: keep-alive, x"
      "\r\nExpect: 100-continue\r\nX-Y: z\r\n\r\n";
  char text[1000];
  for (size_t length = 0; length < sizeof good; length++)
    check_cuts(good, length);
  for (int round = 0; round < 20000; round++) {
    memcpy(text, good, sizeof good);
    for (int n = 1 + (int)(next_random() % 3); n > 0; n--)
      text[next_random() % (sizeof good - 1)] = (char)next_random();
    check_cuts(text, sizeof good - 1);
    check_cuts(text, random_head(text));
    memcpy(text, "GET / HTTP/1.1\r\nHost: h\r\n", 25);
    check_cuts(text, 25 + random_head(text + 25));
  }
}

/* ---- chunked bodies ------------------------------------------------------------------------------ */

static char body[LONGEST];

/* Returns the status and fills `body`; *used: bytes of what came. */
static int read_body(const char *text, size_t length, size_t piece, uint64_t room, size_t *body_length,
                     size_t *used) {
  struct chunked chunked;
  int result = CHUNKED_MORE;
  chunked_init(&chunked, room);
  *body_length = *used = 0;
  while (*used < length && result == CHUNKED_MORE) {
    size_t n = piece ? piece : 1 + (size_t)(next_random() % 9), got;
    char *copy;
    const char *at, *data;
    if (n > length - *used)
      n = length - *used;
    at = copy = exact_copy(text + *used, n);
    while ((result = chunked_read_on(&chunked, &at, copy + n, &data, &got)) == CHUNKED_DATA) {
      CHECK(got > 0 && data >= copy && data + got == at, "a piece of %zu", got);
      memcpy(body + *body_length, data, got);
      *body_length += got;
    }
    *used += (size_t)(at - copy);
    free(copy);
  }
  return result;
}

static void check_body(const char *text, int status, const char *wanted, size_t room) {
  size_t length = strlen(text), got, used;
  for (size_t piece = 0; piece <= length; piece++) {
    int result = read_body(text, length, piece, room, &got, &used);
    CHECK(result == status, "%s, piece %zu: %d", text, piece, result);
    CHECK(!wanted || (got == strlen(wanted) && !memcmp(body, wanted, got)), "%s: %.*s", text, (int)got, body);
    if (status == CHUNKED_WHOLE)
      CHECK(used == length - (strstr(text, "NEXT") ? 4 : 0), "%s: %zu bytes used", text, used);
  }
}

static void test_chunks(void) {
  static const struct {
    const char *text;
    int status;
    const char *body;
  } bodies[] = {
      {"0\r\n\r\n", CHUNKED_WHOLE, ""},
      {"5\r\nhello\r\n0\r\n\r\nNEXT", CHUNKED_WHOLE, "hello"},
      {"1\r\na\r\nA;x=\"y;z\" \r\n0123456789\r\n01 ; a\r\n!\r\n00\r\n\r\n", CHUNKED_WHOLE, "a0123456789!"},
      {"1\r\n\r\r\n1\r\n\n\r\n0;\r\n\r\n", CHUNKED_WHOLE, "\r\n"},
      {"0\r\nTrailer: x\r\nA:\r\nContent-Length: 5\r\n\r\nNEXT", CHUNKED_WHOLE, ""},
      {"0000000000000001\r\na\r\n0\r\n\r\n", CHUNKED_WHOLE, "a"},
      {"5\r\nhel", CHUNKED_MORE, "hel"},
      {"0\r\n\r", CHUNKED_MORE, ""},
      {"xyz", 400, ""},
      {"\r\n", 400, ""},
      {";a\r\n", 400, ""},
      {"-1\r\n", 400, ""},
      {"+1\r\n", 400, ""},
      {"0x1\r\n", 400, ""},
      {" 1\r\n", 400, ""},
      {"1 \r\n", 400, ""},
      {"1 1\r\n", 400, ""},
      {"1\na\r\n", 400, ""},
      {"1;\n", 400, ""},
      {"1;a\rb", 400, ""},
      {"1;a\x01", 400, ""},
      {"1\r\nab\r\n", 400, "a"},
      {"1\r\na\n0\r\n\r\n", 400, "a"},
      {"1\r\na\r0", 400, "a"},
      {"1\r\n\r\n0\r\n\r\n", 400, "\r"},
      {"0\r\n folded\r\n", 400, ""},
      {"0\r\nA : b\r\n", 400, ""},
      {"0\r\nno colon\r\n", 400, ""},
      {"0\r\n: b\r\n", 400, ""},
      {"0\r\nA\r\n", 400, ""},
      {"0\r\nA: b\n", 400, ""},
      {"0\r\nA: b\rc", 400, ""},
      {"0\r\n\n", 400, ""},
      {"0\r\n\rx", 400, ""},
      {"00000000000000000\r\n", 400, ""},
      {"fffffffffffffffff\r\n", 400, ""},
      {"ffffffffffffffff\r\n", 413, ""},
      {"fffffff\r\n", 413, ""},
      {"64\r\n", CHUNKED_MORE, ""},
      {"65\r\n", 413, ""},
      {"1\r\na\r\n64\r\n", 413, "a"},
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
    check_body(bodies[i].text, bodies[i].status, bodies[i].body, 100);
}

/* Dropped bytes are bounded, in one chunk and in all of them. */
static void test_beside(void) {
  static char text[LONGEST];
  size_t got, used;
  fill(text, 3 + CHUNKED_MOST_BESIDE + 2, "1;", "\r\n");
  CHECK(read_body(text, CHUNKED_MOST_BESIDE + 3, 1000, 10, &got, &used) == 400, "a long extension");
  text[0] = 0;
  while (strlen(text) < 3 * CHUNKED_MOST_BESIDE)
    strcat(text, "1;extension\r\na\r\n");
  CHECK(read_body(text, strlen(text), 1000, 10000, &got, &used) == 400, "many extensions");
  fill(text, 5 + CHUNKED_MOST_BESIDE + 3, "0\r\nA:", "");
  CHECK(read_body(text, CHUNKED_MOST_BESIDE + 8, 1000, 10, &got, &used) == 431, "a long trailer");
  strcpy(text, "0\r\n");
  while (strlen(text) < 2 * CHUNKED_MOST_BESIDE)
    strcat(text, "A:b\r\n");
  CHECK(read_body(text, strlen(text), 1000, 10, &got, &used) == 431, "many trailers");
}

static void test_bodies(void) {
  char text[4 * 400], data[400];
  for (int round = 0; round < 5000; round++) {
    size_t length = (size_t)(next_random() % 300), at = 0, got, used;
    int n = 0;
    for (size_t i = 0; i < length; i++)
      data[i] = "\r\n0;a"[next_random() % 5];
    while (at < length) {
      size_t piece = 1 + (size_t)(next_random() % (length - at));
      n += sprintf(text + n, round % 2 ? "%zx\r\n" : "%zX;a\r\n", piece);
      memcpy(text + n, data + at, piece);
      n += (int)piece + sprintf(text + n + piece, "\r\n");
      at += piece;
      if (n > 1000)
        length = at;
    }
    n += sprintf(text + n, "0\r\n\r\n");
    CHECK(read_body(text, (size_t)n, 0, length, &got, &used) == CHUNKED_WHOLE, "round %d", round);
    CHECK(got == length && used == (size_t)n && !memcmp(data, body, got), "round %d: %zu of %zu", round, got,
          length);
  }
}

int main(int argc, char **argv) {
  static const struct section sections[] = {
      {"lines", test_lines},   {"framing", test_framing}, {"refused", test_refused},
      {"names", test_names},   {"bounds", test_bounds},   {"random", test_random},
      {"chunks", test_chunks}, {"beside", test_beside},   {"bodies", test_bodies}};
  return run_section(sections, sizeof sections / sizeof *sections, argc, argv);
}
