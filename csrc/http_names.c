/*
 * http_names.c - the addresses of the hosts that curl wants to reach.
 * Curl would look a name up in a thread of its own. It is refused that: the attempt fails, the name is looked
 * up on libuv's threads, and curl begins again with the addresses in its cache. So curl decides whether a
 * name is needed at all (not for a connection it has kept), and whose: the server's or a proxy's.
 * SPDX-License-Identifier: MIT
 */
#include "http_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_LOOKUPS = 4,    /* per transfer, should curl want other names than it is given */
  PROXY_PORT = 1080,   /* where curl looks for a proxy without a port, */
  PROXY_TLS_PORT = 443 /* and for one of https:// */
};

/* ---- the names of a transfer ---------------------------------------------------------------- */

/* The host as curl writes it in its cache: in ASCII, without brackets. */
static char *host_of(CURLU *url) {
  char *host = NULL;
  size_t length;
#ifdef CURLU_PUNYCODE
  if (curl_url_get(url, CURLUPART_HOST, &host, CURLU_PUNYCODE | CURLU_URLDECODE) != CURLUE_OK)
#endif
    if (curl_url_get(url, CURLUPART_HOST, &host, CURLU_URLDECODE) != CURLUE_OK)
      return NULL;
  length = strlen(host);
  if (host[0] == '[' && host[length - 1] == ']') {
    memmove(host, host + 1, length - 2);
    host[length - 2] = '\0';
  }
  return host;
}

static void take_name(struct http_name *name, CURLU *url, unsigned flags, int default_port) {
  char *port = NULL;
  name->port = default_port;
  name->host = host_of(url);
  if (curl_url_get(url, CURLUPART_PORT, &port, flags) == CURLUE_OK)
    name->port = (int)strtol(port, NULL, 10);
  curl_free(port);
}

/* The first of the variables that curl, too, would take. */
static const char *proxy_of_environment(bool tls) {
  static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
  static const char *const secure[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
  for (const char *const *name = tls ? secure : plain; *name; name++) {
    const char *value = getenv(*name);
    if (value && *value)
      return value;
  }
  return NULL;
}

static void take_proxy(struct http_transfer *transfer, const char *proxy) {
  CURLU *url = curl_url();
  char *scheme = NULL;
  if (!url)
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
  else if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) ==
               CURLUE_OK &&
           curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK)
    take_name(&transfer->proxy, url, 0, strcmp(scheme, "https") ? PROXY_PORT : PROXY_TLS_PORT);
  curl_free(scheme);
  curl_url_cleanup(url);
}

/* Curl asks before it resolves anything that is not in its cache, addresses too. */
static int on_resolver_start(void *resolver, void *reserved, void *arg) {
  struct http_transfer *transfer = arg;
  (void)resolver, (void)reserved;
  transfer->refused = !transfer->may_resolve;
  transfer->may_resolve = false;
  return transfer->refused;
}

/* Curl needs nobody for this machine's own names and addresses. */
static bool curl_knows(const char *host) {
  return http_is_loopback(host) || lookup_is_address(host);
}

void http_set_names(struct http_transfer *transfer, CURLU *url, bool tls, const char *proxy) {
  take_name(&transfer->host, url, CURLU_DEFAULT_PORT, 0);
  if (!transfer->host.host) {
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
    return;
  }
  if (!proxy && !http_is_loopback(transfer->host.host))
    proxy = proxy_of_environment(tls);
  if (proxy && *proxy)
    take_proxy(transfer, proxy);
  else if (curl_knows(transfer->host.host))
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
  if (write_entry(&line, transfer->wanted, found))
    longer = curl_slist_append(transfer->addresses, line.data);
  if (longer)
    transfer->addresses = longer;
  buffer_free(&line);
  return longer;
}

static void no_address(struct http_transfer *transfer, int status) {
  transfer->result = status == UV_ENOMEM                    ? CURLE_OUT_OF_MEMORY
                     : transfer->wanted == &transfer->proxy ? CURLE_COULDNT_RESOLVE_PROXY
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
    rt_enqueue(transfer->room->rt, &transfer->found_job);
}

void http_run_found(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct http_transfer *transfer = CONTAINER(job, struct http_transfer, found_job);
  (void)rt, (void)L;
  if (transfer->over)
    return;
  curl_easy_setopt(transfer->easy, CURLOPT_RESOLVE, transfer->addresses);
  http_attach(transfer);
}

/* Versions of curl that do not tell whose name they wanted fail with another code; then the proxy's comes
 * first. */
static struct http_name *wanted_name(struct http_transfer *transfer) {
  bool unclear = transfer->result == CURLE_ABORTED_BY_CALLBACK;
  bool proxy = unclear ? transfer->proxy.host && !transfer->proxy.asked
                       : transfer->result == CURLE_COULDNT_RESOLVE_PROXY;
  if (unclear)
    transfer->result = proxy ? CURLE_COULDNT_RESOLVE_PROXY : CURLE_COULDNT_RESOLVE_HOST;
  return proxy ? &transfer->proxy : &transfer->host;
}

bool http_look_up(struct http_transfer *transfer) {
  struct http_name *name = transfer->refused ? wanted_name(transfer) : NULL;
  int status;
  if (!name || !name->host || transfer->lookups >= MOST_LOOKUPS)
    return false;
  http_detach(transfer);
  transfer->wanted = name;
  transfer->refused = false;
  transfer->result = CURLE_OK;
  transfer->lookups++;
  name->asked = true;
  if (curl_knows(name->host)) {
    transfer->may_resolve = true;
    http_attach(transfer);
    return true;
  }
  status = lookup_start(transfer->room->rt, &transfer->lookup, name->host, on_found, transfer);
  if (status)
    no_address(transfer, status);
  return true;
}

void http_drop_names(struct http_transfer *transfer) {
  if (transfer->lookup)
    lookup_cancel(transfer->lookup);
  transfer->lookup = NULL;
  rt_dequeue(transfer->room->rt, &transfer->found_job);
  curl_slist_free_all(transfer->addresses);
  curl_free(transfer->host.host);
  curl_free(transfer->proxy.host);
}
