/*
 * loop/lookup.c - the addresses of a host, asked of the system on libuv's threads.
 * Owns: the request, which outlives its owner: libuv answers, perhaps after the owner was freed.
 * SPDX-License-Identifier: MIT
 */
#include "loop/lookup.h"

#include "base/host.h"

#include <arpa/inet.h>
#include <stdlib.h>

struct lookup {
  uv_getaddrinfo_t request;
  lookup_done done; /* NULL: cancelled */
  void *owner;
};

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
  struct lookup *lookup = request->data;
  if (lookup->done)
    lookup->done(lookup->owner, status || found ? status : UV_EAI_NODATA, found);
  uv_freeaddrinfo(found);
  free(lookup);
}

const struct addrinfo *lookup_hints(const char *host) {
  static const struct addrinfo routed = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  static const struct addrinfo any = {.ai_socktype = SOCK_STREAM};
  return host_is_loopback(host) ? &any : &routed;
}

/* DNS must not answer for a name below localhost, because secrets go there unencrypted. */
const char *lookup_name(const char *host) {
  return host_is_loopback(host) && !host_is_address(host) ? "localhost" : host;
}

int lookup_start(struct rt *rt, struct lookup **lookup, const char *host, lookup_done done, void *owner) {
  struct lookup *begun = calloc(1, sizeof *begun);
  int status;
  if (!begun)
    return UV_ENOMEM;
  begun->done = done;
  begun->owner = owner;
  begun->request.data = begun;
  status =
      uv_getaddrinfo(rt_loop(rt), &begun->request, on_answer, lookup_name(host), NULL, lookup_hints(host));
  if (status)
    free(begun);
  else
    *lookup = begun;
  return status;
}

void lookup_cancel(struct lookup *lookup) {
  lookup->done = NULL;
  uv_cancel((uv_req_t *)&lookup->request);
}

void lookup_text(const struct addrinfo *address, char text[INET6_ADDRSTRLEN]) {
  const void *bytes = address->ai_family == AF_INET6
                          ? (void *)&((struct sockaddr_in6 *)(void *)address->ai_addr)->sin6_addr
                          : (void *)&((struct sockaddr_in *)(void *)address->ai_addr)->sin_addr;
  inet_ntop(address->ai_family, bytes, text, INET6_ADDRSTRLEN);
}
