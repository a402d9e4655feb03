/*
 * http/transfer.c - the life of an HTTP transfer, from its start to its end.
 * Lua sees: core.http, in lua.c. The parts are listed in private.h.
 * Owns: per transfer an easy handle, the received data, and the files it reads and writes.
 * Borrows: struct rt. Deadlines are rt_timers and follow its clock.
 * Callbacks (on_) only copy and mark. The end of a transfer puts it on the list `over`; the drain
 * point detaches it and tells its owner.
 * SPDX-License-Identifier: MIT
 */
#include "base/trust.h"
#include "http/private.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the end of a transfer ------------------------------------------------------------------ */

static void stop(struct http_transfer *transfer) {
  rt_timer_stop(transfer->slot->rt, &transfer->total);
  rt_timer_stop(transfer->slot->rt, &transfer->phase);
  http_detach(transfer);
}

static void transfer_free(struct http_transfer *transfer) {
  assert(!transfer->attached && !transfer->link.next);
  rt_dequeue(transfer->slot->rt, &transfer->progress_job);
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
  assert(transfer->link.next && transfer->slot->count > 0);
  rt_list_remove(&transfer->link);
  transfer->slot->count--;
  rt_unref(transfer->slot->rt);
  rt_underway(transfer->slot->rt, -1);
}

void http_cancel(struct http_transfer *transfer) {
  transfer->cancelled = true;
  if (transfer->finishing) /* by on_progress, of which finish() knows */
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

/* At the drain point: tell the owner of a transfer that is over, and free it. */
static void finish(struct http_transfer *transfer, struct rt *rt, lua_State *L) {
  struct reason *reason = &transfer->reason;
  assert(transfer->over && !transfer->finishing);
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

static void on_total_timeout(struct rt_timer *timer) {
  struct http_transfer *transfer = container_of(timer, struct http_transfer, total);
  if (transfer->over)
    return;
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "the transfer with %s took longer than %g s",
             transfer->origin, transfer->timeout);
  http_end(transfer);
}

/* Bytes do not restart the timer, they only note their time, so check that time when the timer fires. */
static void check_idle(struct http_transfer *transfer) {
  struct rt *rt = transfer->slot->rt;
  double silent = (double)(rt_monotonic(rt) - transfer->moved) / 1e9;
  if (silent < transfer->idle_timeout) {
    rt_timer_start(rt, &transfer->phase, transfer->idle_timeout - silent + 1e-6);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "no data came from %s, or went there, for %g s",
             transfer->origin, transfer->idle_timeout);
  http_end(transfer);
}

static void on_phase_timeout(struct rt_timer *timer) {
  struct http_transfer *transfer = container_of(timer, struct http_transfer, phase);
  if (transfer->over)
    return;
  if (transfer->connected) {
    check_idle(transfer);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "no connection to %s within %g s", transfer->origin,
             transfer->connect_timeout);
  http_end(transfer);
}

static void start_timers(struct http_transfer *transfer) {
  struct rt *rt = transfer->slot->rt;
  rt_timer_start(rt, &transfer->phase, transfer->connect_timeout);
  if (transfer->timeout > 0)
    rt_timer_start(rt, &transfer->total, transfer->timeout);
}

/* ---- the drain point ------------------------------------------------------------------------ */

static void collect_finished(struct http_slot *slot) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(slot->multi, &left))) {
    struct http_transfer *transfer = NULL;
    if (message->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
    assert(transfer && transfer->attached);
    if (transfer->over)
      continue;
    transfer->result = message->data.result;
    if (!http_look_up(transfer))
      http_end(transfer);
  }
}

/* A socket could not be watched, and curl does not say here which transfer it belongs to. */
static void fail_all(struct http_slot *slot) {
  struct rt_list *item, *next;
  slot->blind = false;
  for (item = slot->active.next; item != &slot->active; item = next) {
    struct http_transfer *transfer = container_of(item, struct http_transfer, link);
    next = item->next;
    reason_set(&transfer->reason, ERR_NOMEM, 0, "no memory to watch the connection to %s",
               transfer->origin ? transfer->origin : "the server");
    http_end(transfer);
  }
}

/* An owner may cancel other transfers in its callback, so start from the head of the list each time. */
static void drain(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct http_slot *slot = container_of(job, struct http_slot, job);
  collect_finished(slot);
  if (slot->blind)
    fail_all(slot);
  while (slot->over.next != &slot->over) {
    struct http_transfer *transfer = container_of(slot->over.next, struct http_transfer, link);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget() takes it off the list */
    finish(transfer, rt, L);
  }
}

/* ---- the slot of a runtime ------------------------------------------------------------------ */

static void cancel_all(struct rt_list *head) {
  struct rt_list *item, *next;
  for (item = head->next; item != head; item = next) {
    next = item->next;
    http_cancel(container_of(item, struct http_transfer, link));
  }
}

static void slot_closing(struct rt *rt, void *state) {
  struct http_slot *slot = state;
  (void)rt;
  cancel_all(&slot->active);
  cancel_all(&slot->over);
  http_slot_close(slot);
}

static void slot_closed(struct rt *rt, void *state) {
  (void)rt;
  free(state);
}

static long slot_count(void *state) {
  return ((struct http_slot *)state)->count;
}

/* NULL: no memory, or the loop is closing. */
static struct http_slot *get_slot(struct rt *rt) {
  static const struct rt_slot_ops ops = {slot_closing, slot_closed, "transfers", slot_count};
  struct http_slot *slot = rt_slot(rt, SLOT_HTTP);
  if (slot)
    return slot->multi ? slot : NULL;
  slot = http_slot_new(rt);
  if (!slot)
    return NULL;
  slot->job.run = drain;
  rt_set_slot(rt, SLOT_HTTP, slot, &ops);
  return slot;
}

/* ---- the start of a transfer ---------------------------------------------------------------- */

struct http_transfer *http_start(struct rt *rt, const struct http_request *request, http_done done,
                                 void *owner) {
  struct http_slot *slot = get_slot(rt);
  struct http_transfer *transfer = slot ? calloc(1, sizeof *transfer) : NULL;
  if (!transfer)
    return NULL;
  transfer->slot = slot;
  transfer->done = done;
  transfer->owner = owner;
  transfer->file.fd = -1;
  transfer->total.fire = on_total_timeout;
  transfer->phase.fire = on_phase_timeout;
  transfer->progress_job.run = http_run_progress;
  transfer->found_job.run = http_run_found;
  transfer->easy = curl_easy_init();
  if (!transfer->easy) {
    free(transfer);
    return NULL;
  }
  rt_list_add(&slot->active, &transfer->link);
  slot->count++;
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
