/*
 * loop/offload.h - waiting calls whose work blocks: it is done on libuv's thread pool, the loop goes on.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_OFFLOAD_H
#define TRUECONF_OFFLOAD_H

#include "loop/runtime.h"

/* Begins every work, which is one block from malloc(); it belongs to the pool until `finish` or the end. */
struct offload {
  uv_work_t request; /* first: libuv's callbacks cast */
  struct rt *rt;
  struct offload_op *op; /* NULL: the caller has gone */
  /* On a thread of the pool: neither Lua nor the runtime may be touched. */
  void (*work)(struct offload *offload);
  /* On the loop, if given: make the work on its thread end soon. Called after `patience` seconds, and when
   * the caller has gone. */
  void (*interrupt)(struct offload *offload);
  double patience;
  struct rt_timer timer; /* for it */
  /* On the loop: copy the result into the op. Not called when the caller has gone. */
  void (*finish)(struct offload *offload, struct op *op);
  /* On the loop, always last: wipe and free the data of the work, and itself. */
  void (*destroy)(struct offload *offload);
};

struct offload_op { /* begins the op, made by op_new with `push` set */
  struct op op;
  struct offload *offload;
};

/* As the last act of an l_ function: start the work and wait for it. NULL, for lack of memory, settles the
 * op at once, with whatever result it holds. */
int offload_wait(lua_State *L, struct offload_op *op, struct offload *offload);

#endif
