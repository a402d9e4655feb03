/*
 * loop/offload.c - waiting calls whose work blocks, on libuv's thread pool.
 * Owns: each struct offload, from offload_wait until its `destroy`.
 * A work whose caller has gone is taken back if no thread has begun it, else its result is dropped; closing
 * the runtime waits for it. SPDX-License-Identifier: MIT
 */
#include "loop/offload.h"

/* Interruptible work waits for another party, other work only computes. */
static void count(struct offload *offload, int change) {
  if (offload->interrupt)
    rt_underway(offload->rt, change);
  else
    rt_at_work(offload->rt, change);
}

static void on_work(uv_work_t *request) {
  struct offload *offload = (struct offload *)request;
  offload->work(offload);
}

/* Done, or taken back before it began; then there is no op. */
static void on_done(uv_work_t *request, int status) {
  struct offload *offload = (struct offload *)request;
  struct offload_op *op = offload->op;
  (void)status;
  rt_timer_stop(offload->rt, &offload->timer);
  count(offload, -1);
  if (op) {
    op->offload = NULL;
    rt_unref(offload->rt);
    offload->finish(offload, &op->op);
    op_settle(&op->op);
  }
  offload->destroy(offload);
}

static void on_impatience(struct rt_timer *timer) {
  struct offload *offload = container_of(timer, struct offload, timer);
  offload->interrupt(offload);
}

static void offload_cancel(struct op *op) {
  struct offload *offload = ((struct offload_op *)op)->offload;
  offload->op = NULL;
  rt_unref(offload->rt);
  rt_timer_stop(offload->rt, &offload->timer);
  if (uv_cancel((uv_req_t *)&offload->request) && offload->interrupt) /* a thread has begun it, or ended it */
    offload->interrupt(offload);
}

int offload_wait(lua_State *L, struct offload_op *op, struct offload *offload) {
  if (!offload) {
    op_settle(&op->op);
    return op_wait(L, &op->op);
  }
  offload->rt = op->op.rt;
  offload->op = op;
  op->offload = offload;
  op->op.cancel = offload_cancel;
  rt_ref(offload->rt);
  count(offload, 1);
  offload->timer.fire = on_impatience;
  if (offload->interrupt)
    rt_timer_start(offload->rt, &offload->timer, offload->patience);
  uv_queue_work(rt_loop(offload->rt), &offload->request, on_work,
                on_done); /* fails only without a function */
  return op_wait(L, &op->op);
}
