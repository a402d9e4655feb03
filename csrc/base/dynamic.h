/*
 * base/dynamic.h - functions of a library that is loaded when it is first needed, so that nobody has to have
 * it. SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_DYNAMIC_H
#define TRUECONF_BASE_DYNAMIC_H

#include <stdbool.h>

struct dynamic_symbol {
  const char *name; /* NULL: behind the last one */
  void *pointer;    /* to the pointer that gets the function */
};

/* Load the first of the libraries that is there, for good, and find the functions in it and in what it
 * depends on. `libraries` ends with NULL; NULL in its place is the program itself, with what it was linked
 * with. False: there is no such library, or a function is missing; then no pointer may be used. */
bool dynamic_load(const char *const libraries[], const struct dynamic_symbol symbols[]);

#endif
