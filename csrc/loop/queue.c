/*
 * loop/queue.c - lists of live objects, the ready queue, and the flushes after it.
 * Owns nothing: jobs, flushes and list items are parts of their owners, who take them out before they end.
 * Safe from every callback of a library: the functions here call only the owners, and only at the drain
 * point. SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

/* ---- lists -------------------------------------------------------------------------------------- */

void rt_list_init(struct rt_list *head) {
  head->next = head->prev = head;
}

void rt_list_add(struct rt_list *head, struct rt_list *item) {
  item->next = head;
  item->prev = head->prev;
  head->prev->next = item;
  head->prev = item;
}

void rt_list_remove(struct rt_list *item) {
  if (!item->next)
    return;
  item->next->prev = item->prev;
  item->prev->next = item->next;
  item->next = item->prev = NULL;
}

/* ---- the ready queue ---------------------------------------------------------------------------- */

/* Empty: only an active idle handle is needed. */
static void on_idle(uv_idle_t *handle) {
  (void)handle;
}

void rt_wake(struct rt *rt) {
  uv_handle_t *idle = (uv_handle_t *)&rt->idle;
  rt->activity++;
  /* Libraries still call back while the loop is emptied; a handle started again would keep it from ending. */
  if (rt->open && !uv_is_active(idle) && !uv_is_closing(idle))
    uv_idle_start(&rt->idle, on_idle);
}

void rt_enqueue(struct rt *rt, struct rt_job *job) {
  if (job->queued)
    return;
  job->queued = true;
  job->next = NULL;
  *rt->jobs_tail = job;
  rt->jobs_tail = &job->next;
  rt->job_count++;
  rt_wake(rt);
}

/* Take the job at `at` out of the queue. */
static void unlink_job(struct rt *rt, struct rt_job **at) {
  struct rt_job *job = *at;
  *at = job->next;
  if (!*at)
    rt->jobs_tail = at;
  rt->job_count--;
  job->queued = false;
}

struct rt_job *rt_next_job(struct rt *rt) {
  struct rt_job *job = rt->jobs;
  if (job)
    unlink_job(rt, &rt->jobs);
  return job;
}

void rt_dequeue(struct rt *rt, struct rt_job *job) {
  struct rt_job **at = &rt->jobs;
  if (!job->queued)
    return;
  while (*at && *at != job)
    at = &(*at)->next;
  if (*at)
    unlink_job(rt, at);
}

/* ---- flushing ----------------------------------------------------------------------------------- */

void rt_flush_later(struct rt *rt, struct rt_flush *flush) {
  if (flush->queued)
    return;
  flush->queued = true;
  flush->next = NULL;
  *rt->flushes_tail = flush;
  rt->flushes_tail = &flush->next;
  rt_wake(rt);
}

static void unlink_flush(struct rt *rt, struct rt_flush **at) {
  struct rt_flush *flush = *at;
  *at = flush->next;
  if (!*at)
    rt->flushes_tail = at;
  flush->queued = false;
}

void rt_flush_forget(struct rt *rt, struct rt_flush *flush) {
  struct rt_flush **at = &rt->flushes;
  if (!flush->queued)
    return;
  while (*at && *at != flush)
    at = &(*at)->next;
  if (*at)
    unlink_flush(rt, at);
}

void rt_run_flushes(struct rt *rt) {
  struct rt_flush *flush;
  while ((flush = rt->flushes)) {
    unlink_flush(rt, &rt->flushes);
    flush->run(flush);
  }
}

/* ---- the end ------------------------------------------------------------------------------------ */

void rt_drop_jobs(struct rt *rt) {
  struct rt_job *job;
  while ((job = rt_next_job(rt)))
    if (job->drop)
      job->drop(job);
  while (rt->flushes)
    unlink_flush(rt, &rt->flushes);
}
