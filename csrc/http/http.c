/*
 * http/http.c - the ground of a transfer, used by every other file: its curl options, its answer, its
 * beginning and end at curl. Owns: nothing; struct http_transfer is made and freed in transfer.c. Calls none
 * of the other files. SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include "base/retry_after.h"

#include <assert.h>
#include <string.h>

/* ---- options of curl's ---------------------------------------------------------------------- */

/* The first failure stays. */
void http_note_code(struct http_transfer *transfer, CURLcode code) {
  if (transfer->result == CURLE_OK)
    transfer->result = code;
}

void http_set_long(struct http_transfer *transfer, CURLoption option, long value) {
  http_note_code(transfer, curl_easy_setopt(transfer->easy, option, value));
}

void http_set_pointer(struct http_transfer *transfer, CURLoption option, const void *value) {
  http_note_code(transfer, curl_easy_setopt(transfer->easy, option, value));
}

/* ---- curl has it, or it is over ------------------------------------------------------------- */

void http_attach(struct http_transfer *transfer) {
  CURLMcode code;
  assert(!transfer->attached && !transfer->over && transfer->slot->multi);
  code = curl_multi_add_handle(transfer->slot->multi, transfer->easy);
  if (code != CURLM_OK) {
    reason_set(&transfer->reason, ERR_NOMEM, 0, "cannot start the transfer: %s", curl_multi_strerror(code));
    http_end(transfer);
    return;
  }
  transfer->attached = true;
}

void http_detach(struct http_transfer *transfer) {
  assert(!transfer->attached || transfer->slot->multi);
  if (transfer->attached)
    curl_multi_remove_handle(transfer->slot->multi, transfer->easy);
  transfer->attached = false;
}

void http_end(struct http_transfer *transfer) {
  struct http_slot *slot = transfer->slot;
  assert(transfer->link.next); /* on one of the two lists */
  if (transfer->over)
    return;
  transfer->over = true;
  rt_list_remove(&transfer->link);
  rt_list_add(&slot->over, &transfer->link);
  rt_enqueue(slot->rt, &slot->job);
}

/* ---- the answer ----------------------------------------------------------------------------- */

const char *http_header(const struct http_transfer *transfer, const char *name) {
  const char *at = transfer->headers.data, *end = at ? at + transfer->headers.length : NULL;
  while (at < end) {
    const char *value = at + strlen(at) + 1;
    if (strcmp(at, name) == 0)
      return value;
    at = value + strlen(value) + 1;
  }
  return NULL;
}

const char *http_headers(const struct http_transfer *transfer, size_t *length) {
  assert(transfer->over && !transfer->link.next); /* inside `done` */
  *length = transfer->headers.length;
  return transfer->headers.data;
}

double http_retry_after(const struct http_transfer *transfer) {
  assert(transfer->over && !transfer->link.next);
  return retry_after(http_header(transfer, "retry-after"), rt_now(transfer->slot->rt));
}

void http_take_body(struct http_transfer *transfer, struct buffer *out) {
  assert(transfer->over && !transfer->link.next);
  *out = transfer->body;
  memset(&transfer->body, 0, sizeof transfer->body);
}

bool http_saved(const struct http_transfer *transfer) {
  return transfer->saved;
}

bool http_kept(const struct http_transfer *transfer) {
  return transfer->saved || (transfer->resumes && transfer->placed);
}
