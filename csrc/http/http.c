/*
 * http/http.c - the life of an HTTP transfer, from its start to its end.
 * Lua sees: core.http, in lua.c. The parts are listed in private.h.
 * Owns: per transfer an easy handle, what was received, and the files it reads and writes.
 * Borrows: struct rt. Deadlines are rt_timers and follow its clock.
 * Callbacks (on_) only copy and mark. Whatever ends a transfer puts it on the list `over`; the drain
 * point detaches it and tells its owner.
 * SPDX-License-Identifier: MIT
 */
#include "base/retry_after.h"
#include "base/trust.h"
#include "http/private.h"

#include <stdlib.h>
#include <string.h>

/* ---- the end of a transfer ------------------------------------------------------------------ */

void http_end(struct http_transfer *transfer) {
  struct room *room = transfer->room;
  if (transfer->over)
    return;
  transfer->over = true;
  rt_list_remove(&transfer->link);
  rt_list_add(&room->over, &transfer->link);
  rt_enqueue(room->rt, &room->job);
}

void http_detach(struct http_transfer *transfer) {
  if (transfer->attached)
    curl_multi_remove_handle(transfer->room->multi, transfer->easy);
  transfer->attached = false;
}

static void stop(struct http_transfer *transfer) {
  rt_timer_stop(transfer->room->rt, &transfer->total);
  rt_timer_stop(transfer->room->rt, &transfer->phase);
  http_detach(transfer);
}

static void transfer_free(struct http_transfer *transfer) {
  rt_dequeue(transfer->room->rt, &transfer->progress_job);
  http_drop_names(transfer);
  proxy_free(&transfer->proxy);
  trust_free(transfer->trust);
  free(transfer->ca_file);
  http_drop_file(transfer);
  if (transfer->easy)
    curl_easy_cleanup(transfer->easy);
  curl_mime_free(transfer->mime);
  curl_slist_free_all(transfer->request_headers);
  buffer_free(&transfer->headers);
  buffer_free(&transfer->body);
  free(transfer->origin);
  free(transfer);
}

static void forget(struct http_transfer *transfer) {
  rt_list_remove(&transfer->link);
  transfer->room->count--;
  rt_unref(transfer->room->rt);
  rt_underway(transfer->room->rt, -1);
}

void http_cancel(struct http_transfer *transfer) {
  transfer->cancelled = true;
  if (transfer->finishing) /* by on_progress, of which http_finish knows */
    return;
  stop(transfer);
  forget(transfer);
  transfer_free(transfer);
}

static void tell_owner(struct http_transfer *transfer) {
  const struct reason *reason = transfer->reason.err ? &transfer->reason : NULL;
  if (transfer->cancelled)
    return;
  if (reason)
    transfer->done(transfer->owner, 0, "", 0, reason);
  else
    transfer->done(transfer->owner, transfer->status, transfer->body.data ? transfer->body.data : "",
                   transfer->body.length, NULL);
}

void http_finish(struct http_transfer *transfer, struct rt *rt, lua_State *L) {
  struct reason *reason = &transfer->reason;
  stop(transfer);
  if (!reason->err && transfer->result != CURLE_OK)
    http_explain(transfer);
  if (!reason->err)
    http_explain_answer(transfer);
  if (!reason->err && http_goes_to_file(transfer))
    http_commit_file(transfer);
  if (transfer->progress_job.queued) { /* it comes before the end */
    rt_dequeue(rt, &transfer->progress_job);
    transfer->finishing = true;
    http_run_progress(rt, L, &transfer->progress_job);
  }
  forget(transfer);
  tell_owner(transfer);
  transfer_free(transfer);
}

/* ---- deadlines ------------------------------------------------------------------------------ */

static void fire_total(struct rt_timer *timer) {
  struct http_transfer *transfer = CONTAINER(timer, struct http_transfer, total);
  if (transfer->over)
    return;
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "the transfer with %s took longer than %g s",
             transfer->origin, transfer->timeout);
  http_end(transfer);
}

/* Bytes do not set the timer again, they only leave their time; so it looks when it fires. */
static void fire_idle(struct http_transfer *transfer) {
  struct rt *rt = transfer->room->rt;
  double silent = (double)(rt_monotonic(rt) - transfer->moved) / 1e9;
  if (silent < transfer->idle_timeout) {
    rt_timer_start(rt, &transfer->phase, transfer->idle_timeout - silent + 1e-6);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "nothing moved between here and %s for %g s",
             transfer->origin, transfer->idle_timeout);
  http_end(transfer);
}

static void fire_phase(struct rt_timer *timer) {
  struct http_transfer *transfer = CONTAINER(timer, struct http_transfer, phase);
  if (transfer->over)
    return;
  if (transfer->connected) {
    fire_idle(transfer);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "no connection to %s within %g s", transfer->origin,
             transfer->connect_timeout);
  http_end(transfer);
}

static void start_timers(struct http_transfer *transfer) {
  struct rt *rt = transfer->room->rt;
  rt_timer_start(rt, &transfer->phase, transfer->connect_timeout);
  if (transfer->timeout > 0)
    rt_timer_start(rt, &transfer->total, transfer->timeout);
}

/* ---- for the rest of the core --------------------------------------------------------------- */

void http_attach(struct http_transfer *transfer) {
  CURLMcode code = curl_multi_add_handle(transfer->room->multi, transfer->easy);
  if (code != CURLM_OK) {
    reason_set(&transfer->reason, ERR_NOMEM, 0, "cannot start the transfer: %s", curl_multi_strerror(code));
    http_end(transfer);
    return;
  }
  transfer->attached = true;
}

struct http_transfer *http_start(struct rt *rt, const struct http_request *request, http_done done,
                                 void *owner) {
  struct room *room = http_room(rt);
  struct http_transfer *transfer = room ? calloc(1, sizeof *transfer) : NULL;
  if (!transfer)
    return NULL;
  transfer->room = room;
  transfer->done = done;
  transfer->owner = owner;
  transfer->file.fd = -1;
  transfer->total.fire = fire_total;
  transfer->phase.fire = fire_phase;
  transfer->progress_job.run = http_run_progress;
  transfer->found_job.run = http_run_found;
  transfer->easy = curl_easy_init();
  if (!transfer->easy) {
    free(transfer);
    return NULL;
  }
  rt_list_add(&room->active, &transfer->link);
  room->count++;
  rt_ref(rt);
  rt_underway(rt, 1);
  http_set_up(transfer, request);
  if (transfer->reason.err || transfer->result != CURLE_OK) {
    http_end(transfer);
  } else {
    start_timers(transfer);
    http_attach(transfer);
  }
  return transfer;
}

const char *http_headers(const struct http_transfer *transfer, size_t *length) {
  *length = transfer->headers.length;
  return transfer->headers.data;
}

double http_retry_after(const struct http_transfer *transfer) {
  return retry_after(http_header(transfer, "retry-after"), rt_now(transfer->room->rt));
}

void http_take_body(struct http_transfer *transfer, struct buffer *out) {
  *out = transfer->body;
  memset(&transfer->body, 0, sizeof transfer->body);
}

bool http_saved(const struct http_transfer *transfer) {
  return transfer->saved;
}

bool http_kept(const struct http_transfer *transfer) {
  return transfer->saved || (transfer->resumes && transfer->placed);
}

int http_count(struct rt *rt) {
  struct room *room = rt_room(rt, ROOM_HTTP);
  return room ? room->count : 0;
}
