/*
 * no_library.c - a machine without the library $NO_LIBRARY, preloaded into the process under test.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

void *dlopen(const char *name, int flags) {
  const char *missing = getenv("NO_LIBRARY");
  void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
  return name && missing && strstr(name, missing) ? NULL : next(name, flags);
}
