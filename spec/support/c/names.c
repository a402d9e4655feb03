/*
 * names.c - invented host names for spec/core/http_spec.lua, preloaded into the process under test.
 * many.test has three addresses, only at the last of which something listens; slow.test is
 * found once the file $NAMES/gate is there; six.test has an IPv6 address alone; there are no others. Each
 * lookup is noted in $NAMES/lookups. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void note(const char *directory, const char *name) {
  char path[512], line[128];
  int fd, length = snprintf(line, sizeof line, "%s\n", name);
  snprintf(path, sizeof path, "%s/lookups", directory);
  fd = open(path, O_WRONLY | O_APPEND);
  if (fd < 0 || write(fd, line, (size_t)length) != length)
    abort();
  close(fd);
}

static void wait_at_gate(const char *directory) {
  char path[512];
  snprintf(path, sizeof path, "%s/gate", directory);
  while (access(path, F_OK))
    usleep(1000);
}

/* A list of `addresses`, up to NULL. */
static int list(const char *const *addresses, struct addrinfo **found) {
  lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
  int status = 0;
  for (; *addresses && !status; addresses++, found = &(*found)->ai_next)
    status = real(*addresses, NULL, &hints, found);
  return status;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  static const char *const many[] = {"::1", "127.0.0.2", "127.0.0.1", NULL}, *const six[] = {"::1", NULL};
  const char *directory = getenv("NAMES"), *const itself[] = {name, NULL};
  (void)service, (void)hints;
  note(directory, name);
  if (!list(itself, found))
    return 0; /* libwebsockets asks for addresses too */
  if (!strcasecmp(name, "many.test") || !strcmp(name, "many.test."))
    return list(many, found);
  if (!strcmp(name, "six.test"))
    return list(six, found);
  if (strcmp(name, "slow.test"))
    return EAI_NONAME;
  wait_at_gate(directory);
  return list(many + 2, found);
}
