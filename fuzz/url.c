/*
 * url.c - addresses against libcurl: what we take, libcurl takes too, and sees the same host, port and path
 * in it. SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <strings.h>

static char *part(CURLU *handle, CURLUPart what, unsigned flags) {
  char *text = NULL;
  curl_url_get(handle, what, &text, flags);
  return text;
}

/* In any case of letters; we leave out the dot of the root at the end of a name. */
static bool same(const char *ours, const char *theirs) {
  size_t length = strlen(ours);
  theirs = theirs ? theirs : "";
  return !strncasecmp(ours, theirs, length) && (!theirs[length] || !strcmp(theirs + length, "."));
}

/* libcurl writes 127.1, 0x7f000001 and the like as an address; the system reads them in the same way. */
static bool is_numeric(const char *host) {
  const char *last = strrchr(host, '.');
  return isdigit((unsigned char)*(last && last[1] ? last + 1 : host));
}

/* "fe80::1%eth0" of ours is "[fe80::1]" and "eth0" for libcurl, which writes addresses in their short form.
 */
static void check_ipv6(CURLU *handle, const char *host, const char *theirs) {
  char *zone = part(handle, CURLUPART_ZONEID, 0), ours[64] = "", address[64] = "";
  struct in6_addr a, b;
  snprintf(ours, sizeof ours, "%.*s", (int)strcspn(host, "%"), host);
  snprintf(address, sizeof address, "%.*s", (int)strcspn(theirs + 1, "]"), theirs + 1);
  CHECK(inet_pton(AF_INET6, ours, &a) == 1 && inet_pton(AF_INET6, address, &b) == 1 &&
            !memcmp(&a, &b, sizeof a),
        "host %s, libcurl has %s", host, theirs);
  CHECK(same(strchr(host, '%') ? strchr(host, '%') + 1 : "", zone), "%s, libcurl has the zone %s", host,
        zone);
  curl_free(zone);
}

static void check_host(CURLU *handle, const char *host) {
  char *theirs = part(handle, CURLUPART_HOST, 0);
  CHECK(theirs, "libcurl has no host, we have %s", host);
  if (theirs[0] == '[')
    check_ipv6(handle, host, theirs);
  else if (!is_numeric(host))
    CHECK(same(host, theirs), "host %s, libcurl has %s", host, theirs);
  curl_free(theirs);
}

static void check_port(CURLU *handle, int ours) {
  char *theirs = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  CHECK(theirs && atoi(theirs) == ours, "port %d, libcurl has %s", ours, theirs ? theirs : "none");
  curl_free(theirs);
}

static void check_path(CURLU *handle, const char *ours) {
  char *path = part(handle, CURLUPART_PATH, 0), *query = part(handle, CURLUPART_QUERY, 0);
  size_t length = path ? strlen(path) : 0;
  CHECK(path && !strncmp(ours, path, length), "path %s, libcurl has %s", ours, path ? path : "none");
  if (query)
    CHECK(ours[length] == '?' && !strcmp(ours + length + 1, query), "query of %s, libcurl has %s", ours,
          query);
  else
    CHECK(!ours[length] || !strcmp(ours + length, "?"), "%s has no query for libcurl", ours);
  curl_free(path);
  curl_free(query);
}

static void check_no_user(CURLU *handle) {
  char *user = part(handle, CURLUPART_USER, 0), *password = part(handle, CURLUPART_PASSWORD, 0);
  CHECK(!user && !password, "libcurl sees a user or password");
  curl_free(user);
  curl_free(password);
}

/* libcurl need not know ws and wss. */
static void compare(const struct url *url, const char *text) {
  const char *behind = strstr(text, "://");
  char http[2048];
  CURLU *handle = curl_url();
  snprintf(http, sizeof http, "%s%s", url->tls ? "https" : "http", behind);
  CHECK(!curl_url_set(handle, CURLUPART_URL, http, CURLU_PATH_AS_IS), "libcurl does not take %s", http);
  check_host(handle, url->host);
  check_port(handle, url->port);
  check_path(handle, url->path);
  check_no_user(handle);
  curl_url_cleanup(handle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct url url;
  char text[1024];
  if (size >= sizeof text)
    return 0;
  memcpy(text, data, size);
  text[size] = 0;
  memset(&url, 0, sizeof url);
  if (!url_parse(&url, text))
    compare(&url, text);
  return 0;
}
