/*
 * http/receive.c - curl's callbacks during a transfer: headers, body, progress.
 * None of these callbacks may call curl or Lua.
 * SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include <ctype.h>
#include <string.h>

enum { MAX_HEADERS = 256 << 10 };

static void note_movement(struct http_transfer *transfer) {
  transfer->moved = rt_monotonic(transfer->slot->rt);
}

/* The connection stands, with TLS and through the proxy; the request goes out next. */
static int on_connected(void *arg, char *remote, char *local, int remote_port, int local_port) {
  struct http_transfer *transfer = arg;
  (void)remote, (void)local, (void)remote_port, (void)local_port;
  transfer->connected = true;
  note_movement(transfer);
  rt_timer_start(transfer->slot->rt, &transfer->phase, transfer->idle_timeout);
  return CURL_PREREQFUNC_OK;
}

static bool is_status_line(const char *line, size_t length) {
  return length > 5 && memcmp(line, "HTTP/", 5) == 0;
}

/* A new response begins: forget the one before, a 1xx or the answer of a proxy. */
static void start_response(struct http_transfer *transfer, const char *line, size_t length) {
  const char *space = memchr(line, ' ', length);
  transfer->headers.length = transfer->body.length = 0;
  transfer->status = 0;
  for (const char *at = space ? space + 1 : line; at < line + length && isdigit((unsigned char)*at); at++)
    transfer->status = transfer->status < 1000 ? transfer->status * 10 + (*at - '0') : 0;
}

static size_t trimmed(const char **text, size_t length) {
  while (length && isspace((unsigned char)**text))
    (*text)++, length--;
  while (length && isspace((unsigned char)(*text)[length - 1]))
    length--;
  return length;
}

/* Append text and a zero byte, for which there is room; zero bytes inside would end it early, so they become
 * spaces. */
static void append_text(struct buffer *buffer, const char *text, size_t length, int (*map)(int)) {
  for (size_t i = 0; i < length; i++)
    buffer->data[buffer->length++] = (char)(text[i] ? map((unsigned char)text[i]) : ' ');
  buffer->data[buffer->length++] = '\0';
}

static int as_it_is(int byte) {
  return byte;
}

static bool no_memory(struct http_transfer *transfer) {
  reason_set(&transfer->reason, ERR_NOMEM, 0, "no memory for the answer of %s", transfer->origin);
  return false;
}

static bool keep_header(struct http_transfer *transfer, const char *line, size_t length) {
  const char *colon = memchr(line, ':', length), *value;
  size_t value_length;
  if (!colon || colon == line)
    return true;
  value = colon + 1;
  value_length = trimmed(&value, length - (size_t)(value - line));
  if (transfer->headers.length + length > MAX_HEADERS) {
    reason_set(&transfer->reason, ERR_LIMIT, 0, "%s sent more than %d bytes of headers", transfer->origin,
               MAX_HEADERS);
    return false;
  }
  if (!buffer_reserve(&transfer->headers, length + 2)) /* a name is never without its value */
    return no_memory(transfer);
  append_text(&transfer->headers, line, (size_t)(colon - line), tolower);
  append_text(&transfer->headers, value, value_length, as_it_is);
  return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg) {
  struct http_transfer *transfer = arg;
  size_t length = size * count;
  if (transfer->over)
    return 0;
  note_movement(transfer);
  if (is_status_line(line, length))
    start_response(transfer, line, length);
  else if (!keep_header(transfer, line, length))
    return 0;
  return length;
}

static bool keep_body(struct http_transfer *transfer, const char *data, size_t length) {
  if (length > transfer->max_body - transfer->body.length) {
    http_fail_length(transfer, transfer->max_body);
    return false;
  }
  return buffer_append(&transfer->body, data, length) || no_memory(transfer);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
  struct http_transfer *transfer = arg;
  size_t length = size * count;
  bool ok;
  if (transfer->over)
    return 0;
  ok = http_goes_to_file(transfer) ? http_write_file(transfer, data, length)
                                   : keep_body(transfer, data, length);
  return ok ? length : 0;
}

static int on_progress(void *arg, curl_off_t to_receive, curl_off_t received, curl_off_t to_send,
                       curl_off_t sent) {
  struct http_transfer *transfer = arg;
  /* Of a file that is resumed, all of it. */
  int64_t kept = transfer->kept, all = to_receive > 0 ? kept + to_receive : to_receive;
  struct http_progress counts = {sent, to_send, kept + received, all};
  if (transfer->over)
    return 1;
  if (sent != transfer->counts.sent || counts.received != transfer->counts.received) {
    note_movement(transfer);
    if (transfer->progress)
      rt_enqueue(transfer->slot->rt, &transfer->progress_job);
  }
  transfer->counts = counts;
  return 0;
}

void http_run_progress(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct http_transfer *transfer = container_of(job, struct http_transfer, progress_job);
  transfer->progress(rt, L, transfer->owner, &transfer->counts);
}

void http_set_callbacks(struct http_transfer *transfer) {
  CURL *easy = transfer->easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error_text);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
  http_set_long(transfer, CURLOPT_NOPROGRESS, 0);
}
