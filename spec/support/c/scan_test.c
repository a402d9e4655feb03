/*
 * scan_test.c - tables of odd JSON for scan.c; run by core/scan_spec.lua.
 * SPDX-License-Identifier: MIT
 */
#include "base/scan.h"
#include "check.h"

#include <limits.h>
#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ABSENT (-1)

static bool is(struct slice slice, const char *text) {
  return text ? slice.at && slice.length == strlen(text) && !memcmp(slice.at, text, slice.length) : !slice.at;
}

/* ---- frames ------------------------------------------------------------------------------------- */

static const struct {
  const char *text;
  int64_t type, id;
  const char *method, *payload;
} frames[] = {
    {"{}", ABSENT, ABSENT, NULL, NULL},
    {" \t\r\n{ \n} \t\r\n", ABSENT, ABSENT, NULL, NULL},
    {"{\"type\":1,\"id\":2,\"method\":\"m\",\"payload\":{\"a\":[]}}", 1, 2, "m", "{\"a\":[]}"},
    {"{ \"payload\" : [ ] , \"method\" : \"m\" , \"id\" : 2 , \"type\" : 1 }", 1, 2, "m", "[ ]"},
    {"{\"type\":2,\"id\":7}", 2, 7, NULL, NULL},
    {"{\"type\":0,\"id\":0}", 0, 0, NULL, NULL},
    /* numbers: whole, without a sign, to 2^32 - 1 */
    {"{\"id\":4294967295}", ABSENT, 4294967295, NULL, NULL},
    {"{\"id\":4294967296}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":99999999999999999999}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":-1}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":-0}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":1.0}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":1e3}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":1e999}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":007}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":0x10}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":\"7\"}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":null,\"type\":true}", ABSENT, ABSENT, NULL, NULL},
    {"{\"id\":[7]}", ABSENT, ABSENT, NULL, NULL},
    /* the last of several counts */
    {"{\"id\":1,\"id\":2}", ABSENT, 2, NULL, NULL},
    {"{\"id\":1,\"id\":\"x\"}", ABSENT, ABSENT, NULL, NULL},
    {"{\"method\":\"a\",\"method\":\"b\"}", ABSENT, ABSENT, "b", NULL},
    {"{\"method\":\"a\",\"method\":null}", ABSENT, ABSENT, NULL, NULL},
    {"{\"payload\":1,\"payload\":{}}", ABSENT, ABSENT, NULL, "{}"},
    /* only the top level counts */
    {"{\"payload\":{\"id\":5,\"type\":1,\"method\":\"x\"}}", ABSENT, ABSENT, NULL,
     "{\"id\":5,\"type\":1,\"method\":\"x\"}"},
    /* escapes in keys and strings, brackets and quotes in strings */
    {"{\"\\u0069d\":3,\"\\u0074\\u0079pe\":1}", 1, 3, NULL, NULL},
    {"{\"i\\d\":3,\"i\\u00\":4}", ABSENT, ABSENT, NULL, NULL},
    {"{\"x\\\"id\":3}", ABSENT, ABSENT, NULL, NULL},
    {"{\"method\":\"a\\\"b\"}", ABSENT, ABSENT, "a\\\"b", NULL},
    {"{\"method\":\"\"}", ABSENT, ABSENT, "", NULL},
    {"{\"payload\":\"}]{[\\\"\\\\\"}", ABSENT, ABSENT, NULL, "\"}]{[\\\"\\\\\""},
    {"{\"payload\":{\"a\":\"}\",\"b\":\"\\\\\"}}", ABSENT, ABSENT, NULL, "{\"a\":\"}\",\"b\":\"\\\\\"}"},
    {"{\"payload\":[\"\\\"]\",[{}]],\"id\":1}", ABSENT, 1, NULL, "[\"\\\"]\",[{}]]"},
    {"{\"\":1,\"id\":2}", ABSENT, 2, NULL, NULL},
    {"{\"ID\":1,\"Type\":1,\"idx\":2,\"i\":3}", ABSENT, ABSENT, NULL, NULL},
    {"{\"method\":7,\"payload\":null}", ABSENT, ABSENT, NULL, "null"},
    {"{\"x\":\"\xff\xc3\",\"id\":1}", ABSENT, 1, NULL, NULL}, /* bad UTF-8 is Lua's affair */
};

static void test_frames(void) {
  for (size_t i = 0; i < COUNT(frames); i++) {
    const char *text = frames[i].text;
    size_t length = strlen(text);
    char *copy = exact_copy(text, length);
    struct frame frame;
    CHECK(scan_frame(copy, length, &frame), "%s", text);
    CHECK((frame.has_type ? (int64_t)frame.type : ABSENT) == frames[i].type, "%s", text);
    CHECK((frame.has_id ? (int64_t)frame.id : ABSENT) == frames[i].id, "%s", text);
    CHECK(is(frame.method, frames[i].method), "%s", text);
    CHECK(is(frame.payload, frames[i].payload), "%s", text);
    free(copy);
  }
}

static const char *const no_frames[] = {
    "",
    " ",
    "[]",
    "1",
    "null",
    "\"{}\"",
    "{",
    "}",
    "{}{}",
    "{} x",
    "{},",
    "{}}",
    "x{}",
    "{\"id\"}",
    "{\"id\":}",
    "{\"id\":,}",
    "{\"id\":1,}",
    "{,}",
    "{,\"id\":1}",
    "{\"id\":1,,\"type\":1}",
    "{\"id\":1 \"type\":1}",
    "{\"id\" 1}",
    "{\"id\"::1}",
    "{id:1}",
    "{'id':1}",
    "{1:1}",
    "{\"id\":1]",
    "{\"id:1}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"b\\\"}",
    "{\"a\":{\"b\":1}",
    "{\"a\":[1}",
    "{\"a\":[\"]}",
    "{\"a\":1 2}",
    "{\"a\":tr\"ue\"}",
    "\xef\xbb\xbf{}",
};

static void test_no_frames(void) {
  struct frame frame;
  for (size_t i = 0; i < COUNT(no_frames); i++) {
    size_t length = strlen(no_frames[i]);
    char *copy = exact_copy(no_frames[i], length);
    CHECK(!scan_frame(copy, length, &frame), "%s", no_frames[i]);
    free(copy);
  }
  CHECK(!scan_frame("{\"a\":\0}", 7, &frame), "a zero byte");
  CHECK(!scan_frame("{}\0", 3, &frame), "a zero byte at the end");
}

/* No beginning of a frame is a frame. */
static void test_truncated(void) {
  for (size_t i = 0; i < COUNT(frames); i++) {
    const char *text = frames[i].text;
    size_t whole = (size_t)(strrchr(text, '}') - text) + 1;
    for (size_t length = 0; length < whole; length++) {
      char *copy = exact_copy(text, length);
      struct frame frame;
      CHECK(!scan_frame(copy, length, &frame), "%.*s", (int)length, text);
      free(copy);
    }
  }
}

static void test_deep(void) {
  enum { DEPTH = 1000000 };
  struct buffer text = {0};
  struct frame frame;
  buffer_puts(&text, "{\"payload\":");
  for (int i = 0; i < DEPTH; i++)
    buffer_puts(&text, i % 2 ? "[" : "{\"a\":");
  for (int i = DEPTH - 1; i >= 0; i--)
    buffer_puts(&text, i % 2 ? "]" : "}");
  buffer_puts(&text, ",\"id\":9}");
  CHECK(scan_frame(text.data, text.length, &frame) && frame.id == 9, "a million levels");
  CHECK(!scan_frame(text.data, text.length / 2, &frame), "half a million levels");
  buffer_free(&text);
}

/* ---- fields ------------------------------------------------------------------------------------- */

static const struct {
  const char *object, *key, *value; /* NULL: not found */
} fields[] = {
    {"{\"a\":1,\"b\":\"x\"}", "b", "\"x\""},
    {"{\"a\":1,\"b\":\"x\"}", "a", "1"},
    {"{\"a\":1,\"b\":\"x\"}", "c", NULL},
    {"{\"a\":1,\"a\":2}", "a", "2"},
    {"{\"a\":{\"b\":1}}", "b", NULL},
    {"{\"\\u0061\":1}", "a", "1"},
    {"{\"a\":null}", "a", "null"},
    {"{}", "a", NULL},
    {"[\"a\",1]", "a", NULL},
    {"\"a\"", "a", NULL},
    {"{\"a\":1", "a", NULL},
    {"{\"a\":1 \"b\":2}", "a", NULL},
    {"{\"a\":1,}", "a", NULL},
};

static void test_fields(void) {
  struct slice none = {NULL, 0}, value;
  for (size_t i = 0; i < COUNT(fields); i++) {
    size_t length = strlen(fields[i].object);
    char *copy = exact_copy(fields[i].object, length);
    struct slice found = {NULL, 0};
    bool ok = scan_find((struct slice){copy, length}, fields[i].key, &found);
    CHECK(ok == (fields[i].value != NULL) && is(found, fields[i].value), "%s", fields[i].object);
    free(copy);
  }
  CHECK(!scan_find(none, "a", &value), "in nothing");
  CHECK(scan_is_null((struct slice){"null", 4}), "null");
  CHECK(!scan_is_null((struct slice){"\"null\"", 6}) && !scan_is_null((struct slice){"nul", 3}), "not null");
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static const struct {
  const char *text;
  double number; /* NAN: none */
  int whole;
} numbers[] = {
    {"0", 0, 0},
    {"-0", 0, 0},
    {"7", 7, 7},
    {"-203", -203, -203},
    {"9007199254740992", 9007199254740992, INT_MAX},
    {"-9007199254740992", -9007199254740992, INT_MIN},
    {"2147483647", 2147483647, INT_MAX},
    {"2147483648", 2147483648, INT_MAX},
    {"1.5", 1.5, 1},
    {"-1.5", -1.5, -1},
    {"0.25", 0.25, 0},
    {"1767225600.5", 1767225600.5, 1767225600},
    {"1e3", 1000, 1000},
    {"1E+3", 1000, 1000},
    {"2.5e-1", 0.25, 0},
    {"1e300", 1e300, INT_MAX},
    {"0e999", 0, 0},
    {"0e99999999999999999999", 0, 0},
    {"1e-999", 0, 0},
    {"1e999", NAN, 0},
    {"-1e999", NAN, 0},
    {"", NAN, 0},
    {"-", NAN, 0},
    {"+1", NAN, 0},
    {"01", NAN, 0},
    {"-01", NAN, 0},
    {".5", NAN, 0},
    {"1.", NAN, 0},
    {"1.e3", NAN, 0},
    {"1e", NAN, 0},
    {"1e+", NAN, 0},
    {"1e 5", NAN, 0},
    {"1e5x", NAN, 0},
    {"1 ", NAN, 0},
    {"0x10", NAN, 0},
    {"inf", NAN, 0},
    {"nan", NAN, 0},
    {"null", NAN, 0},
    {"\"1\"", NAN, 0},
    {"1,5", NAN, 0},
};

static void test_numbers(void) {
  for (size_t i = 0; i < COUNT(numbers); i++) {
    size_t length = strlen(numbers[i].text);
    char *copy = exact_copy(numbers[i].text, length);
    struct slice value = {copy, length};
    bool wanted = !isnan(numbers[i].number);
    double number = 0;
    int whole = 0;
    CHECK(scan_number(value, &number) == wanted, "%s", numbers[i].text);
    CHECK(!wanted || fabs(number - numbers[i].number) <= 1e-12 * fabs(number), "%s: %g", numbers[i].text,
          number);
    CHECK(scan_int(value, &whole) == wanted && whole == numbers[i].whole, "%s: %d", numbers[i].text, whole);
    free(copy);
  }
}

/* ---- strings ------------------------------------------------------------------------------------ */

static const struct {
  const char *text, *plain; /* NULL: none */
} strings[] = {
    {"\"\"", ""},
    {"\"abc\"", "abc"},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
    {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac"},
    {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
    {"\"\\ud83d\\ude00\\uD800\\uDC00\\udbff\\udfff\"", "\xf0\x9f\x98\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
    {"\"caf\xc3\xa9\"", "caf\xc3\xa9"},
    {"\"\\ud83d\"", "\xef\xbf\xbd"},
    {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
    {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                           "A"},
    {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    {"\"\\ude00\"", "\xef\xbf\xbd"},
    {"\"a\xff\xe2\x82\\n\xc3\"", "a\xef\xbf\xbd\xef\xbf\xbd\n\xef\xbf\xbd"},
    {"\"\\ud83d\\ude0\"", NULL},
    {"\"\\u12\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"\\u\"", NULL},
    {"\"\\x41\"", NULL},
    {"\"\\\"", NULL},
    {"\"a\"b\"", NULL},
    {"\"", NULL},
    {"", NULL},
    {"abc", NULL},
    {"\"abc", NULL},
    {"abc\"", NULL},
    {"null", NULL},
    {"7", NULL},
};

static void test_strings(void) {
  struct buffer out = {0};
  for (size_t i = 0; i < COUNT(strings); i++) {
    const char *plain = strings[i].plain;
    size_t length = strlen(strings[i].text);
    char *copy = exact_copy(strings[i].text, length);
    bool ok;
    out.length = 0;
    ok = scan_string((struct slice){copy, length}, &out);
    CHECK(ok == (plain != NULL), "%s", strings[i].text);
    CHECK(!plain || (out.length == strlen(plain) && !memcmp(out.data ? out.data : "", plain, out.length)),
          "%s", strings[i].text);
    free(copy);
  }
  out.length = 0;
  CHECK(scan_string((struct slice){"\"a\\u0000b\"", 10}, &out) && out.length == 3 &&
            !memcmp(out.data, "a\0b", 3),
        "a zero byte");
  buffer_free(&out);
}

static void test_quote(void) {
  static const char odd[] = "\"\\/ \b\n\t\x01\x1f\x7f caf\xc3\xa9 \0 end";
  static const char quoted[] =
      "\"\\\"\\\\/ \\u0008\\u000a\\u0009\\u0001\\u001f\x7f caf\xc3\xa9 \\u0000 end\"";
  struct buffer out = {0}, back = {0};
  CHECK(scan_quote(&out, odd, sizeof odd - 1), "quote");
  CHECK(out.length == strlen(quoted) && !memcmp(out.data, quoted, out.length), "%.*s", (int)out.length,
        out.data);
  CHECK(scan_string((struct slice){out.data, out.length}, &back) && back.length == sizeof odd - 1 &&
            !memcmp(back.data, odd, back.length),
        "and back");
  out.length = 0;
  CHECK(scan_quote(&out, "", 0) && out.length == 2 && !memcmp(out.data, "\"\"", 2), "nothing");
  buffer_free(&out);
  buffer_free(&back);
}

/* ---- random input ------------------------------------------------------------------------------- */

static char odd_byte(void) {
  static const char alphabet[] = "{}[]\"\"\\:,,  eEu0123456789.-+typeidmethodpayload\n\x01\xff";
  return alphabet[next_random() % (sizeof alphabet - 1)];
}

/* Bytes that matter to the scanner, at random, or a frame with a few of them in it. */
static size_t make_text(char *text, size_t room) {
  const char *frame = frames[next_random() % COUNT(frames)].text;
  size_t length = strlen(frame) < room ? strlen(frame) : room;
  if (next_random() % 2) {
    memcpy(text, frame, length);
    for (size_t changes = next_random() % 4; changes; changes--)
      text[next_random() % length] = odd_byte();
  } else {
    length = next_random() % 24;
    for (size_t i = 0; i < length; i++)
      text[i] = odd_byte();
  }
  return length;
}

static bool within(struct slice slice, const char *text, size_t length) {
  return !slice.at || (slice.at >= text && slice.at + slice.length <= text + length);
}

static void try_all(const char *text, size_t length) {
  static const char *const keys[] = {"id", "payload", "a", ""};
  struct slice whole = {text, length}, value;
  struct buffer out = {0};
  struct frame frame;
  double number;
  if (scan_frame(text, length, &frame))
    CHECK(within(frame.method, text, length) && within(frame.payload, text, length), "%.*s", (int)length,
          text);
  for (size_t i = 0; i < COUNT(keys); i++) {
    if (!scan_find(whole, keys[i], &value))
      continue;
    CHECK(within(value, text, length) && value.length, "%.*s", (int)length, text);
    scan_number(value, &number);
    scan_string(value, &out);
  }
  scan_number(whole, &number);
  scan_string(whole, &out);
  buffer_free(&out);
}

static void test_random(void) {
  for (int round = 0; round < 200000; round++) {
    char text[128], *copy;
    size_t length = make_text(text, sizeof text);
    copy = exact_copy(text, length);
    try_all(copy, length);
    free(copy);
  }
}

int main(int argc, char **argv) {
  static const struct section sections[] = {
      {"frames", test_frames},   {"no frames", test_no_frames}, {"truncated", test_truncated},
      {"deep", test_deep},       {"fields", test_fields},       {"numbers", test_numbers},
      {"strings", test_strings}, {"quote", test_quote},         {"random", test_random}};
  return run_section(sections, COUNT(sections), argc, argv);
}
