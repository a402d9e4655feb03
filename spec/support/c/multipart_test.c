/*
 * multipart_test.c - a multipart body, read as it comes; run by core/multipart_spec.lua.
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "server/multipart.h"

enum { LONGEST = 1 << 16 };

/* The calls of the ops, written down: <name|filename|type>data. */
struct log {
  char text[LONGEST];
  size_t length;
  int fail_at; /* bytes of data after which data() answers 507; 0: never */
  bool open;
};

static void put(struct log *log, const char *data, size_t length) {
  if (log->length + length > LONGEST)
    abort();
  if (length)
    memcpy(log->text + log->length, data, length);
  log->length += length;
}

static void put_text(struct log *log, struct multipart_text text, const char *end) {
  if (text.data)
    put(log, text.data, text.length);
  else
    put(log, "-", 1);
  put(log, end, strlen(end));
}

static int begin(void *owner, const struct multipart_part *part) {
  struct log *log = owner;
  CHECK(!log->open, "a part begins in a part");
  log->open = true;
  put(log, "<", 1);
  put_text(log, part->name, "|");
  put_text(log, part->filename, "|");
  put_text(log, part->type, ">");
  return 0;
}

static int data(void *owner, const char *bytes, size_t length) {
  struct log *log = owner;
  CHECK(log->open && length, "data outside of a part, or none");
  put(log, bytes, length);
  return log->fail_at && log->length > (size_t)log->fail_at ? 507 : 0;
}

static int end(void *owner) {
  struct log *log = owner;
  CHECK(log->open, "the end of no part");
  log->open = false;
  put(log, ";", 1);
  return 0;
}

static const struct multipart_ops ops = {begin, data, end};
static const char plain_type[] = "multipart/form-data; boundary=b";

/* Read a body, cut into pieces of at most `piece` bytes (0: random ones); returns the status. */
static int feed(struct log *log, const char *type, const char *body, size_t length, size_t piece) {
  struct multipart multipart;
  int status = 0;
  log->length = 0;
  log->open = false;
  if (!multipart_init(&multipart, type, &ops, log))
    return 415;
  for (size_t at = 0; at < length && !status;) {
    size_t n = piece ? piece : 1 + (size_t)(next_random() % 40);
    char *copy;
    if (n > length - at)
      n = length - at;
    copy = exact_copy(body + at, n);
    status = multipart_feed(&multipart, copy, n);
    free(copy);
    at += n;
  }
  return status ? status : multipart_end(&multipart);
}

static bool wrote(const struct log *log, const char *text, size_t length) {
  return log->length == length && !memcmp(log->text, text, length);
}

struct body {
  const char *body, *log;
  int status;
};

#define A "Content-Disposition: form-data; name=\"a\"\r\n"

static void check_bodies(const char *type, const struct body *bodies, size_t count) {
  static struct log log;
  for (size_t i = 0; i < count; i++)
    for (size_t piece = 0; piece < 70; piece++) {
      int status = feed(&log, type, bodies[i].body, strlen(bodies[i].body), piece);
      CHECK(status == bodies[i].status, "body %zu, piece %zu: status %d", i, piece, status);
      CHECK(wrote(&log, bodies[i].log, strlen(bodies[i].log)), "body %zu, piece %zu: %.*s", i, piece,
            (int)log.length, log.text);
    }
}

static void test_bodies(void) {
  static const struct body bodies[] = {
      {"--b\r\n" A "\r\ndata\r\n--b--\r\n", "<a|-|->data;", 0},
      {"--b\r\n" A "\r\ndata\r\n--b--", "<a|-|->data;", 0},
      {"\r\n--b\r\n" A "\r\ndata\r\n--b--", "<a|-|->data;", 0},
      {"preamble\r\nx\r\n--b\r\n" A "\r\ndata\r\n--b--epilogue\r\n--b\r\n", "<a|-|->data;", 0},
      {"--b\r\n" A "\r\n1\r\n--b\r\n" A "\r\n2\r\n--b--", "<a|-|->1;<a|-|->2;", 0},
      {"--b \t \r\n" A "\r\n1\r\n--b  --x\r\n--b--", "<a|-|->1\r\n--b  --x;", 0},
      {"--b\r\n" A "\r\n\r\n--b--", "<a|-|->;", 0},
      {"--b\r\n" A "\r\n--b--", "<a|-|->;", 0},
      {"--b\r\n\r\ndata\r\n--b--", "<-|-|->data;", 0},
      {"--b\r\n" A "\r\n\r\ndata\r\n\r\n--b--", "<a|-|->\r\ndata\r\n;", 0},
      {"--b--", "", 0},
      {"--b\r\n" A "\r\n\r\n\r\n-\r\n--\r\n--c\r\n--\r\r\n\r\n--b--",
       "<a|-|->\r\n\r\n-\r\n--\r\n--c\r\n--\r\r\n;", 0},
      {"--b\r\n" A "\r\n-\r\n--bb\r\n--b-\r\n--b \r\r\n--b\rx\r\n--b--",
       "<a|-|->-\r\n--bb\r\n--b-\r\n--b \r\r\n--b\rx;", 0},
      {"--b\r\n" A "\r\n1\r\n--b                    \r\n--b--", "<a|-|->1\r\n--b                    ;", 0},
      {"--b\r\n" A "\r\n--bb\r\n--b--", "<a|-|->--bb;", 0},
      {"--b\n" A "\n1\r\n--b--", "<a|-|->1;", 0},
      {"", "", 400},
      {"no boundary at all", "", 400},
      {"--b", "", 400},
      {"--b\r\n" A, "", 400},
      {"--b\r\n" A "\r\ndata", "<a|-|->data", 400},
      {"--b\r\n" A "\r\ndata\r\n--b", "<a|-|->data", 400},
      {"--b\r\n" A "\r\ndata\r\n--b-", "<a|-|->data", 400},
      {"--b\r\n" A "\r\ndata\r\n--b\r\n", "<a|-|->data;", 400},
  };
  check_bodies(plain_type, bodies, sizeof bodies / sizeof *bodies);
}

#define ONE(head, log)                                                                                       \
  { "--b\r\n" head "\r\n\r\nx\r\n--b--", log, 0 }

static void test_headers(void) {
  static const struct body bodies[] = {
      ONE("Content-Disposition: form-data; name=\"f\"; filename=\"\xd0\xbe.txt\"\r\nContent-Type: a/b; c=d",
          "<f|\xd0\xbe.txt|a/b; c=d>x;"),
      ONE("content-disposition:form-data;name=f;filename=g.txt\r\nCONTENT-TYPE:a/b \t", "<f|g.txt|a/b>x;"),
      ONE("Content-Disposition: form-data; filename=\"a\\\"b\\\\c\\d;e=f.txt\" ; name=\"f\"",
          "<f|a\"b\\c\\d;e=f.txt|->x;"),
      ONE("Content-Disposition: form-data; name=\"f\"; filename=\"../../etc/passwd\"",
          "<f|../../etc/passwd|->x;"),
      ONE("Content-Disposition: form-data; name=\"f\"; filename=\"a%22b\"; filename*=UTF-8''z",
          "<f|a%22b|->x;"),
      ONE("Content-Disposition: form-data; name=\"\"; filename=\"\"\r\nContent-Type:", "<||>x;"),
      ONE("Content-Disposition: form-data; name=\"f\r\nX: y", "<f|-|->x;"),
      ONE("Content-Disposition: form-data; name; =; ;; filename", "<||->x;"),
      ONE("Content-Disposition: form-data;\r\n name=\"f\";\r\n\tfilename=g", "<f|g|->x;"),
      ONE("Content-Disposition: form-data; name=one; name=two", "<one|-|->x;"),
      ONE("Content-Disposition: attachment; name=f", "<-|-|->x;"),
      ONE("Content-Disposition form-data; name=f\r\n:\r\n: y", "<-|-|->x;"),
  };
  check_bodies(plain_type, bodies, sizeof bodies / sizeof *bodies);
}

static void test_zeros(void) {
  static struct log log;
  static const char body[] =
      "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\0b\"\r\n\r\n\0x\0\r\n--b--";
  static const char wanted[] = "<f|a\0b|->\0x\0;";
  for (size_t piece = 0; piece < 20; piece++) {
    CHECK(feed(&log, plain_type, body, sizeof body - 1, piece) == 0, "piece %zu", piece);
    CHECK(wrote(&log, wanted, sizeof wanted - 1), "piece %zu: %.*s", piece, (int)log.length, log.text);
  }
}

static void test_boundaries(void) {
  static struct log log;
  static const struct {
    const char *type, *boundary;
  } types[] = {
      {"multipart/form-data; boundary=b", "b"},
      {"Multipart/Form-Data;BOUNDARY=b", "b"},
      {"multipart/form-data ; charset=utf-8; boundary = \"b\" ; x", "b"},
      {"multipart/form-data; boundary=\"with space:'()+_,-./=?\"", "with space:'()+_,-./=?"},
      {"multipart/form-data; boundary=----WebKitFormBoundaryABC", "----WebKitFormBoundaryABC"},
      {"multipart/form-data; boundary=--", "--"},
      {"multipart/form-data; boundary=\"a\\\"b\"", "a\"b"},
  };
  static const char *const bad[] = {"",
                                    "multipart/form-data",
                                    "multipart/form-data; boundary=",
                                    "multipart/form-data; boundary=\"\"",
                                    "multipart/form-data; boundary=\"a\rb\"",
                                    "multipart/form-data; xboundary=b",
                                    "multipart/mixed; boundary=b",
                                    "application/json; boundary=b"};
  char body[500], type[400];
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const char *boundary = types[i].boundary;
    snprintf(body, sizeof body, "--%s\r\n" A "\r\nx\r\n-%s\r\n--%s--\r\n", boundary, boundary, boundary);
    for (size_t piece = 0; piece < 30; piece++)
      CHECK(feed(&log, types[i].type, body, strlen(body), piece) == 0, "%s, piece %zu", types[i].type, piece);
    snprintf(body, sizeof body, "<a|-|->x\r\n-%s;", boundary);
    CHECK(wrote(&log, body, strlen(body)), "%s: %.*s", types[i].type, (int)log.length, log.text);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK(feed(&log, bad[i], "", 0, 1) == 415, "%s", bad[i]);
  snprintf(type, sizeof type, "multipart/form-data; boundary=%0200d", 1);
  CHECK(feed(&log, type, "", 0, 1) == 400, "a long boundary");
  snprintf(type, sizeof type, "multipart/form-data; boundary=%0201d", 1);
  CHECK(feed(&log, type, "", 0, 1) == 415, "too long a boundary");
}

static void test_limits(void) {
  static struct log log;
  static char body[2 * MULTIPART_HEAD];
  int digits = MULTIPART_HEAD - 7 - (int)strlen(A);
  int n = snprintf(body, sizeof body, "--b\r\n" A "X: %0*d\r\n\r\nx\r\n--b--", digits, 0);
  CHECK(feed(&log, plain_type, body, (size_t)n, 100) == 0, "headers as long as may be");
  CHECK(wrote(&log, "<a|-|->x;", 9), "the part");
  n = snprintf(body, sizeof body, "--b\r\n" A "X: %0*d\r\n\r\nx\r\n--b--", digits + 1, 0);
  CHECK(feed(&log, plain_type, body, (size_t)n, 100) == 400, "longer headers");
  CHECK(log.length == 0, "no part");
  log.fail_at = 9;
  n = snprintf(body, sizeof body, "--b\r\n" A "\r\n12345\r\n--b--");
  for (size_t piece = 0; piece < 30; piece++)
    CHECK(feed(&log, plain_type, body, (size_t)n, piece) == 507, "what an op answers");
  log.fail_at = 0;
}

/* However a body is cut, the same comes out of it. */
static void check_split(const char *body, size_t length) {
  static struct log whole, split;
  int status = feed(&whole, plain_type, body, length, length ? length : 1);
  for (int i = 0; i < 4; i++) {
    int other = feed(&split, plain_type, body, length, i == 0 ? 1 : 0);
    CHECK(other == status && wrote(&split, whole.text, whole.length), "status %d and %d, log %.*s and %.*s",
          status, other, (int)whole.length, whole.text, (int)split.length, split.text);
  }
  CHECK(status == 0 || status == 400, "status %d", status);
}

/* Pieces of what matters, so that chance meets the odd cases. */
static size_t random_body(char *body, size_t room) {
  static const char *const pieces[] = {"\r\n--b",  "--b", "\r\n",  "\r",   "\n",   "-",
                                       "--",       " ",   "b",     "\t",   "data", A,
                                       "\r\n\r\n", ":",   "\"a\\", "name", ";=",   "\r\n--b--"};
  size_t length = 0;
  for (int n = (int)(next_random() % 30); n > 0; n--) {
    const char *piece = pieces[next_random() % (sizeof pieces / sizeof *pieces)];
    if (length + strlen(piece) > room)
      break;
    memcpy(body + length, piece, strlen(piece));
    length += strlen(piece);
  }
  return length;
}

static void test_fuzz(void) {
  static const char good[] =
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\\\"x\\\"\"\r\n"
      "Content-Type: image/png\r\n\r\n\r\n--\r\n--a\rdata\r\n--b \r\n" A "\r\nmore\r\n--b--\r\n";
  char body[2000];
  for (size_t length = 0; length < sizeof good; length++)
    check_split(good, length);
  for (int round = 0; round < 5000; round++) {
    memcpy(body, good, sizeof good);
    for (int n = 1 + (int)(next_random() % 3); n > 0; n--)
      body[next_random() % (sizeof good - 1)] = (char)next_random();
    check_split(body, sizeof good - 1);
    check_split(body, random_body(body, sizeof body));
    memcpy(body, "--b\r\n", 5);
    check_split(body, 5 + random_body(body + 5, sizeof body - 5));
  }
}

/* Random data comes out as it went in. */
static void test_data(void) {
  static const char alphabet[] = "\r\n-b\0c";
  static struct log log;
  static const char head[] = "--border\r\n" A "\r\n", tail[] = "\r\n--border--";
  char body[400];
  for (int round = 0; round < 5000; round++) {
    size_t length = (size_t)(next_random() % 200), at = sizeof head - 1;
    memcpy(body, head, at);
    for (size_t i = 0; i < length; i++)
      body[at + i] = alphabet[next_random() % (sizeof alphabet - 1)];
    memcpy(body + at + length, tail, sizeof tail - 1);
    CHECK(feed(&log, "multipart/form-data; boundary=border", body, at + length + sizeof tail - 1, 0) == 0,
          "%d", round);
    CHECK(log.length == length + 8 && !memcmp(log.text + 7, body + at, length), "round %d", round);
  }
}

int main(int argc, char **argv) {
  static const struct section sections[] = {{"bodies", test_bodies}, {"headers", test_headers},
                                            {"zeros", test_zeros},   {"boundaries", test_boundaries},
                                            {"limits", test_limits}, {"fuzz", test_fuzz},
                                            {"data", test_data}};
  return run_section(sections, sizeof sections / sizeof *sections, argc, argv);
}
