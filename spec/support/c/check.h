/*
 * check.h - what the unit tests in C share. A program takes the name of one of its sections, prints what is
 * wrong in it, or "ok".
 * SPDX-License-Identifier: MIT
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition, ...)                                                                                \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      failures++;                                                                                            \
      printf("line %d: %s: ", __LINE__, #condition);                                                         \
      printf(__VA_ARGS__);                                                                                   \
      printf("\n");                                                                                          \
    }                                                                                                        \
  } while (0)

struct section {
  const char *name;
  void (*run)(void);
};

static inline int run_section(const struct section *sections, size_t count, int argc, char **argv) {
  for (size_t i = 0; i < count; i++) {
    if (argc != 2 || strcmp(sections[i].name, argv[1]) != 0)
      continue;
    sections[i].run();
    if (!failures)
      puts("ok");
    return failures != 0;
  }
  printf("no such section\n");
  return 2;
}

/* A copy without a byte to spare, so that a sanitizer sees who reads past it. */
static inline char *exact_copy(const char *text, size_t length) {
  char *copy = malloc(length ? length : 1);
  if (!copy)
    abort();
  memcpy(copy, text, length);
  return copy;
}

/* xorshift64: the same numbers each time. */
static inline uint64_t next_random(void) {
  static uint64_t x = 88172645463325252u;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

#endif
