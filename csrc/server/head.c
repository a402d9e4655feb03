/*
 * server/head.c - the head of an HTTP/1.1 request (RFC 9110 and 9112), read strictly, once.
 * Pure: a buffer and a state. Owns nothing, knows neither libwebsockets nor Lua.
 * SPDX-License-Identifier: MIT
 */
#include "server/head.h"

#include "base/field.h"

#include <string.h>
#include <strings.h>

enum { LONGEST_METHOD = 32, PORT_DIGITS = 5 };

static struct head_part part_of(const char *data, const char *at, const char *end) {
  return (struct head_part){(uint16_t)(at - data), (uint16_t)(end - at)};
}

bool head_is_word(const char *text, size_t length, const char *word) {
  return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

bool head_next_element(const char **at, const char *end, const char **element, size_t *length) {
  const char *from = *at, *to;
  while (from < end && (is_blank(*from) || *from == ','))
    from++;
  for (to = from; to < end && *to != ',';)
    to++;
  *at = to;
  while (to > from && is_blank(to[-1]))
    to--;
  *element = from;
  *length = (size_t)(to - from);
  return to > from;
}

/* ---- hosts and targets --------------------------------------------------------------------------- */

static bool is_hex(char c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Bytes from `at` that may stand in a registered name (RFC 3986, 3.2.2). */
static const char *skip_name(const char *at, const char *end) {
  for (; at < end; at++) {
    unsigned char c = (unsigned char)*at;
    bool escape = c == '%' && end - at > 2 && is_hex(at[1]) && is_hex(at[2]);
    if (!escape &&
        (c == '%' || ((!field_is_token_byte(c) || strchr("#^`|", c)) && !(c && strchr("(),;=", c)))))
      break;
  }
  return at;
}

/* A host and perhaps a port, without a user. */
static bool is_host(const char *at, const char *end) {
  if (at < end && *at == '[') {
    const char *from = ++at;
    while (at < end && (is_hex(*at) || *at == ':' || *at == '.'))
      at++;
    if (at == from || at == end || *at++ != ']')
      return false;
  } else {
    at = skip_name(at, end);
  }
  if (at == end)
    return true;
  if (*at++ != ':' || end - at > PORT_DIGITS)
    return false;
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at == end;
}

/* Visible characters, each escape whole, none a zero byte; a fragment is never sent. Of those that RFC 3986
 * wants escaped, the ones that browsers leave as they are may come: '|', and in a query also those of `odd`.
 */
static bool is_target(const char *at, const char *end) {
  static const char never[] = "\"<>#", odd[] = "\\^`{}";
  const char *query = memchr(at, '?', (size_t)(end - at));
  for (; at < end; at++) {
    if (*at <= ' ' || *at >= 0x7f || strchr(never, *at) || (strchr(odd, *at) && !(query && at > query)))
      return false;
    if (*at == '%' && (end - at < 3 || !is_hex(at[1]) || !is_hex(at[2]) || !memcmp(at + 1, "00", 2)))
      return false;
  }
  return true;
}

static bool begins(const char **at, const char *end, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(end - *at) < length || strncasecmp(*at, word, length) != 0)
    return false;
  *at += length;
  return true;
}

static int read_path(struct head *head, const char *data, const char *at, const char *end) {
  const char *query = memchr(at, '?', (size_t)(end - at));
  head->path = part_of(data, at, query ? query : end);
  head->query = part_of(data, query ? query + 1 : end, end);
  return HEAD_MORE;
}

/* RFC 9112, 3.2.2: what a client sends to a proxy; its host counts, not that of the field. */
static int read_absolute(struct head *head, const char *data, const char *at, const char *end) {
  const char *authority = at;
  while (at < end && *at != '/' && *at != '?')
    at++;
  if (at == authority || *authority == ':' || !is_host(authority, at))
    return 400;
  head->absolute = true;
  head->host = part_of(data, authority, at);
  return read_path(head, data, at, end);
}

/* RFC 9112, 3.2. The authority form is that of CONNECT alone, which is not served. */
static int read_target(struct head *head, const char *data, const char *at, const char *end) {
  if (!is_target(at, end))
    return 400;
  if (at < end && *at == '/')
    return read_path(head, data, at, end);
  if (begins(&at, end, "http://") || begins(&at, end, "https://"))
    return read_absolute(head, data, at, end);
  if (end - at == 1 && *at == '*' && !strcmp(head->method, "OPTIONS"))
    return read_path(head, data, at, end);
  return 400;
}

/* ---- the request line ---------------------------------------------------------------------------- */

static size_t token_length(const char *line, size_t length) {
  size_t n = 0;
  while (n < length && n <= LONGEST_METHOD && field_is_token_byte((unsigned char)line[n]))
    n++;
  return n;
}

/* Of what has come of the request line, so that a client that speaks another protocol need not end it. */
static int check_method(const char *line, size_t length) {
  size_t n = token_length(line, length);
  if (n > LONGEST_METHOD)
    return 501;
  return n == length || (n && line[n] == ' ') ? HEAD_MORE : 400;
}

static const char *find_method(const char *name, size_t length) {
  static const char *const served[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  for (size_t i = 0; i < sizeof served / sizeof *served; i++)
    if (strlen(served[i]) == length && !memcmp(served[i], name, length))
      return served[i];
  return NULL;
}

/* "HTTP/1.1", or another digit. */
static int read_version(struct head *head, const char *at, const char *end) {
  if (end - at != 8 || memcmp(at, "HTTP/", 5) != 0 || at[5] < '0' || at[5] > '9' || at[6] != '.' ||
      at[7] < '0' || at[7] > '9')
    return 400;
  head->old = at[7] == '0';
  return at[5] == '1' ? HEAD_MORE : 505;
}

static int read_request_line(struct head *head, const char *data, const char *line, const char *end) {
  const char *target = memchr(line, ' ', (size_t)(end - line)), *version;
  int status;
  version = target ? memchr(target + 1, ' ', (size_t)(end - target) - 1) : NULL;
  if (!version)
    return 400;
  status = read_version(head, version + 1, end);
  if (status)
    return status;
  head->method = find_method(line, (size_t)(target - line));
  if (!head->method)
    return 501;
  head->is_get = !strcmp(head->method, "GET");
  head->is_head = !strcmp(head->method, "HEAD");
  return read_target(head, data, target + 1, version);
}

/* ---- fields -------------------------------------------------------------------------------------- */

static int read_host(struct head *head, const char *data, const char *at, const char *end) {
  if (head->has_host || !is_host(at, end))
    return 400;
  head->has_host = true;
  if (!head->absolute)
    head->host = part_of(data, at, end);
  return HEAD_MORE;
}

/* false: it is no number. */
static bool read_number(const char *at, size_t length, uint64_t *number) {
  const uint64_t most = INT64_MAX;
  *number = 0;
  for (size_t i = 0; i < length; i++) {
    if (at[i] < '0' || at[i] > '9')
      return false;
    *number = *number > (most - 9) / 10 ? most : *number * 10 + (uint64_t)(at[i] - '0');
  }
  return length > 0;
}

/* RFC 9112, 6.3: the same number may come more than once. */
static int read_length(struct head *head, const char *at, const char *end) {
  for (bool more = true; more;) {
    const char *comma = memchr(at, ',', (size_t)(end - at)), *to = comma ? comma : end;
    uint64_t number;
    more = comma != NULL;
    while (at < to && is_blank(*at))
      at++;
    while (to > at && is_blank(to[-1]))
      to--;
    if (!read_number(at, (size_t)(to - at), &number) || (head->has_length && number != head->length))
      return 400;
    head->has_length = true;
    head->length = number;
    at = comma ? comma + 1 : end;
  }
  return HEAD_MORE;
}

/* RFC 9112, 6.1: chunked comes last, and once. */
static void read_codings(struct head *head, const char *at, const char *end) {
  const char *name;
  size_t length;
  head->coded = true;
  while (head_next_element(&at, end, &name, &length)) {
    head->codings_odd = head->codings_odd || head->chunked;
    head->chunked = head->chunked || head_is_word(name, length, "chunked");
    head->codings_unknown = head->codings_unknown || !head_is_word(name, length, "chunked");
  }
}

static void read_connection(struct head *head, const char *at, const char *end) {
  const char *option;
  size_t length;
  while (head_next_element(&at, end, &option, &length)) {
    head->says_close = head->says_close || head_is_word(option, length, "close");
    head->says_keep = head->says_keep || head_is_word(option, length, "keep-alive");
    head->wants_upgrade = head->wants_upgrade || head_is_word(option, length, "upgrade");
  }
}

static void read_expectations(struct head *head, const char *at, const char *end) {
  const char *expectation;
  size_t length;
  while (head_next_element(&at, end, &expectation, &length)) {
    bool known = head_is_word(expectation, length, "100-continue");
    head->expects = head->expects || known;
    head->expects_other = head->expects_other || !known;
  }
}

static void read_upgrade(struct head *head, const char *at, const char *end) {
  const char *protocol;
  size_t length;
  while (head_next_element(&at, end, &protocol, &length))
    head->to_websocket = head->to_websocket || head_is_word(protocol, length, "websocket");
}

/* Find name and value in a line that has been checked, or is to be: false for one without a colon. */
static bool split_field(const char *data, const char *line, const char *end, struct head_field *field) {
  const char *colon = memchr(line, ':', (size_t)(end - line)), *value = colon ? colon + 1 : NULL;
  if (!colon)
    return false;
  while (value < end && is_blank(*value))
    value++;
  while (end > value && is_blank(end[-1]))
    end--;
  field->name = part_of(data, line, colon);
  field->value = part_of(data, value, end);
  return true;
}

/* A blank before the colon, a folded line and a line without a colon are none of RFC 9112, 5. */
static int read_field(struct head *head, const char *data, const char *line, const char *end) {
  struct head_field field;
  const char *name, *at;
  if (!split_field(data, line, end, &field))
    return 400;
  name = data + field.name.at;
  at = data + field.value.at;
  end = at + field.value.length;
  if (!field_is_token(name, field.name.length) || field_has_control(at, field.value.length))
    return 400;
  if (head_is_word(name, field.name.length, "host"))
    return read_host(head, data, at, end);
  if (head_is_word(name, field.name.length, "content-length"))
    return read_length(head, at, end);
  if (head_is_word(name, field.name.length, "transfer-encoding"))
    read_codings(head, at, end);
  else if (head_is_word(name, field.name.length, "connection"))
    read_connection(head, at, end);
  else if (head_is_word(name, field.name.length, "expect"))
    read_expectations(head, at, end);
  else if (head_is_word(name, field.name.length, "upgrade"))
    read_upgrade(head, at, end);
  return HEAD_MORE;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

/* RFC 9112, 6.3: two ways to say where the body ends, or none that is understood, are refused. */
static int decide_framing(const struct head *head) {
  if (!head->coded)
    return HEAD_WHOLE;
  if (head->old || head->has_length || head->codings_odd || !head->chunked)
    return 400;
  return head->codings_unknown ? 501 : HEAD_WHOLE;
}

static int end_head(struct head *head) {
  int status = decide_framing(head);
  if (status != HEAD_WHOLE)
    return status;
  if (!head->old && !head->has_host)
    return 400;
  head->keep = !head->says_close && (!head->old || head->says_keep);
  head->expects = head->expects && !head->old;
  return head->expects_other && !head->old ? 417 : HEAD_WHOLE;
}

/* Bytes of a line, as far as they have come, that are too many; HEAD_MORE: they are not. */
static int check_bounds(const struct head *head, size_t length) {
  if (!head->begun && length > HEAD_MOST_LINE)
    return 414;
  return head->size + length >= HEAD_MOST ? 431 : HEAD_MORE;
}

/* A line without its end; RFC 9112, 2.2 lets us insist on both bytes of that. */
static int read_line(struct head *head, const char *data, const char *line, const char *end) {
  if (end == line || *--end != '\r')
    return 400;
  if (head->begun && end == line)
    return end_head(head);
  if (head->begun)
    return read_field(head, data, line, end);
  if (end == line) /* RFC 9112, 2.2: left over from the last body */
    return HEAD_MORE;
  head->begun = true;
  return read_request_line(head, data, line, end);
}

/* Take note of where a line has ended. */
static void end_line(struct head *head, bool last) {
  if (last)
    head->fields.length = (uint16_t)(head->size - head->fields.at);
  head->size = head->seen;
  if (head->begun && !head->fields.at)
    head->fields.at = (uint16_t)head->size;
}

int head_read_on(struct head *head, const char *data, size_t length) {
  int status = HEAD_MORE;
  while (status == HEAD_MORE && head->seen < length) {
    const char *line = data + head->size, *end = memchr(data + head->seen, '\n', length - head->seen);
    size_t n = (size_t)((end ? end : data + length) - line);
    bool empty = n == 0 || (n == 1 && *line == '\r');
    status = head->begun || empty ? HEAD_MORE : check_method(line, n);
    if (status == HEAD_MORE)
      status = check_bounds(head, n);
    if (status == HEAD_MORE && end)
      status = read_line(head, data, line, end);
    head->seen = end ? (size_t)(end - data) + 1 : length;
    if (end && status <= HEAD_WHOLE)
      end_line(head, status == HEAD_WHOLE);
  }
  return status;
}

bool head_next_field(const struct head *head, const char *data, size_t *at, struct head_field *field) {
  const char *line = data + head->fields.at + *at, *end;
  if (*at >= head->fields.length)
    return false;
  end = memchr(line, '\n', head->fields.length - *at);
  *at += (size_t)(end - line) + 1;
  return split_field(data, line, end - 1, field);
}
