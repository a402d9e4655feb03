/*
 * base/container.h - from a member to the struct around it.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_CONTAINER_H
#define TRUECONF_BASE_CONTAINER_H

#include <stddef.h>

/* The struct of `type` whose `member` is at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
