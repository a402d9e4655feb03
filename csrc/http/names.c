/*
 * http/names.c - the addresses of the hosts that curl wants to reach.
 * Curl would look a name up in a thread of its own. We refuse that: the attempt fails, we look the name up on
 * libuv's threads, and curl begins again with the addresses in its cache. So curl decides whether it needs
 * the name at all (not for a connection it has kept). It is the name of the proxy, if there is one, because
 * the proxy looks up the server. Only some versions of curl have a code of their own for a refused lookup.
 * SPDX-License-Identifier: MIT
 */
#include "base/host.h"
#include "http/private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LOOKUPS = 4 /* per transfer, should curl want other names than it is given */ };

/* ---- the name of a transfer ---------------------------------------------------------------- */

/* The host as curl writes it in its cache: in ASCII, without brackets. The caller frees it. */
static char *host_of(CURLU *url) {
  char *host = NULL, *copy;
  size_t length;
#ifdef CURLU_PUNYCODE
  if (curl_url_get(url, CURLUPART_HOST, &host, CURLU_PUNYCODE | CURLU_URLDECODE) != CURLUE_OK)
#endif
    if (curl_url_get(url, CURLUPART_HOST, &host, CURLU_URLDECODE) != CURLUE_OK)
      return NULL;
  length = strlen(host);
  copy = host[0] == '[' && host[length - 1] == ']' ? strndup(host + 1, length - 2) : strdup(host);
  curl_free(host);
  return copy;
}

/* Curl asks before it resolves anything that is not in its cache. */
static int on_resolver_start(void *resolver, void *reserved, void *arg) {
  struct http_transfer *transfer = arg;
  (void)resolver, (void)reserved;
  transfer->refused = true;
  return 1;
}

/* True for loopback names and addresses, which curl knows without a lookup, except names with a dot at the
 * end. */
static bool curl_knows(const char *host) {
  return host_is_address(host) || (host_is_loopback(host) && host[strlen(host) - 1] != '.');
}

static void take_name(struct http_transfer *transfer, CURLU *url) {
  struct http_name *name = &transfer->name;
  char *port = NULL;
  if (transfer->proxy.used) {
    name->host = strdup(transfer->proxy.host);
    name->port = transfer->proxy.port;
    return;
  }
  name->host = host_of(url);
  if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
    name->port = (int)strtol(port, NULL, 10);
  curl_free(port);
}

void http_set_name(struct http_transfer *transfer, CURLU *url) {
  take_name(transfer, url);
  if (!transfer->name.host) {
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
    return;
  }
  if (curl_knows(transfer->name.host))
    return;
  http_note_code(transfer,
                 curl_easy_setopt(transfer->easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start));
  http_set_pointer(transfer, CURLOPT_RESOLVER_START_DATA, transfer);
}

/* ---- looking up ----------------------------------------------------------------------------- */

/* "+host:port:address,address"; the plus lets the entry grow old like others. */
static bool write_entry(struct buffer *line, const struct http_name *name, const struct addrinfo *found) {
  bool ok = buffer_printf(line, "+%s:%d:", name->host, name->port);
  for (const struct addrinfo *at = found; ok && at; at = at->ai_next) {
    char address[INET6_ADDRSTRLEN];
    lookup_text(at, address);
    ok = buffer_printf(line, at->ai_family == AF_INET6 ? "%s[%s]" : "%s%s", at == found ? "" : ",", address);
  }
  return ok && buffer_append(line, "", 1);
}

static bool add_addresses(struct http_transfer *transfer, const struct addrinfo *found) {
  struct buffer line = {0};
  struct curl_slist *longer = NULL;
  if (write_entry(&line, &transfer->name, found))
    longer = curl_slist_append(transfer->addresses, line.data);
  if (longer)
    transfer->addresses = longer;
  buffer_free(&line);
  return longer;
}

static void no_address(struct http_transfer *transfer, int status) {
  transfer->result = status == UV_ENOMEM    ? CURLE_OUT_OF_MEMORY
                     : transfer->proxy.used ? CURLE_COULDNT_RESOLVE_PROXY
                                            : CURLE_COULDNT_RESOLVE_HOST;
  http_end(transfer);
}

static void on_found(void *owner, int status, const struct addrinfo *found) {
  struct http_transfer *transfer = owner;
  transfer->lookup = NULL;
  if (!status && !add_addresses(transfer, found))
    status = UV_ENOMEM;
  if (status)
    no_address(transfer, status);
  else
    rt_enqueue(transfer->slot->rt, &transfer->found_job);
}

void http_run_found(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct http_transfer *transfer = container_of(job, struct http_transfer, found_job);
  (void)rt, (void)L;
  assert(!transfer->lookup && transfer->addresses);
  if (transfer->over)
    return;
  curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, transfer->addresses);
  http_attach(transfer);
}

bool http_look_up(struct http_transfer *transfer) {
  int status;
  assert(!transfer->lookup);
  if (!transfer->refused || transfer->lookups >= MOST_LOOKUPS)
    return false;
  http_detach(transfer);
  transfer->refused = false;
  transfer->result = CURLE_OK;
  transfer->lookups++;
  status = lookup_start(transfer->slot->rt, &transfer->lookup, transfer->name.host, on_found, transfer);
  if (status)
    no_address(transfer, status);
  return true;
}

void http_drop_names(struct http_transfer *transfer) {
  if (transfer->lookup)
    lookup_cancel(transfer->lookup);
  transfer->lookup = NULL;
  rt_dequeue(transfer->slot->rt, &transfer->found_job);
  curl_slist_free_all(transfer->addresses);
  free(transfer->name.host);
}
