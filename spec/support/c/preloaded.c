/*
 * preloaded.c - brings ThreadSanitizer into an interpreter, and keeps it from the programs that this one
 * starts: sh, bash and python crash when it is preloaded. SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

__attribute__((constructor)) static void leave(void) {
  unsetenv("LD_PRELOAD");
}
