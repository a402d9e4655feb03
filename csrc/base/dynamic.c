/*
 * base/dynamic.c - functions of a library that is loaded when it is first needed.
 * SPDX-License-Identifier: MIT
 */
#include "base/dynamic.h"

#include <dlfcn.h>
#include <string.h>

bool dynamic_load(const char *const libraries[], const struct dynamic_symbol symbols[]) {
  void *library = libraries ? NULL : dlopen(NULL, RTLD_NOW);
  for (; libraries && *libraries && !library; libraries++)
    library = dlopen(*libraries, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return false;
  for (; symbols->name; symbols++) {
    void *symbol = dlsym(library, symbols->name);
    if (!symbol)
      return false;
    memcpy(symbols->pointer, &symbol, sizeof symbol); /* POSIX: pointers to functions fit */
  }
  return true;
}
