/*
 * http/setup.c - sets the options of curl for a request.
 * SPDX-License-Identifier: MIT
 */
#include "base/explain.h"
#include "base/headers.h"
#include "base/trust.h"
#include "base/version.h"
#include "http/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_CONNECT_TIMEOUT 10.0
#define DEFAULT_IDLE_TIMEOUT 30.0
enum { DEFAULT_MAX_BODY = 8 << 20 };

static void set_origin(struct http_transfer *transfer, const char *host, const char *port) {
  size_t size = strlen(host) + strlen(port) + 2;
  transfer->origin = malloc(size);
  if (transfer->origin)
    snprintf(transfer->origin, size, "%s:%s", host, port);
  else
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
}

/* Give curl the resolved proxy: by default it would also read the environment. */
static void set_proxy(struct http_transfer *transfer, const char *option, const char *host, bool tls) {
  struct proxy *proxy = &transfer->proxy;
  const char *wrong = proxy_settle(proxy, option, host, tls);
  char place[PROXY_PLACE], address[PROXY_PLACE + 16] = "";
  if (wrong) {
    explain_proxy_setting(&transfer->reason, option, tls, wrong);
    return;
  }
  if (proxy->used)
    snprintf(address, sizeof address, "http://%s", proxy_place(proxy, place));
  http_set_pointer(transfer, CURLOPT_PROXY, address);
  http_set_pointer(transfer, CURLOPT_NOPROXY, "");
  http_set_pointer(transfer, CURLOPT_PROXYUSERNAME, proxy->user);
  http_set_pointer(transfer, CURLOPT_PROXYPASSWORD, proxy->password);
}

static void bad_url(struct http_transfer *transfer, const char *what) {
  reason_set(&transfer->reason, ERR_PROTOCOL, 0, "not an http or https URL: %s",
             what); /* URLs carry secrets */
}

static void set_target(struct http_transfer *transfer, const struct http_request *request) {
  CURLU *url = curl_url();
  char *scheme = NULL, *host = NULL, *port = NULL;
  CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, request->url, 0) : CURLUE_OUT_OF_MEMORY;
  if (!code)
    code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
  if (!code)
    code = curl_url_get(url, CURLUPART_HOST, &host, 0);
  if (!code)
    code = curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
  if (code == CURLUE_OUT_OF_MEMORY) {
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
  } else if (code) {
    bad_url(transfer, curl_url_strerror(code));
  } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
    bad_url(transfer, "it begins with another scheme");
  } else {
    set_origin(transfer, host, port);
    set_proxy(transfer, request->proxy, host, strcmp(scheme, "https") == 0);
    http_set_name(transfer, url);
    http_set_pointer(transfer, CURLOPT_URL, request->url);
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(url);
}

static CURLcode on_tls_context(CURL *easy, void *context, void *arg) {
  struct http_transfer *transfer = arg;
  (void)easy;
  if (!trust_load(context, transfer->ca_file, &transfer->reason))
    return CURLE_SSL_CACERT_BADFILE;
  transfer->reason.err = ERR_NONE;
  return trust_watch(transfer->trust, context) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* Curl keeps connections apart by the options it is told, so it is told them all, and fills its context from
 * them; then it is filled again in our way. A curl with another library for TLS than OpenSSL goes by its own.
 */
static void set_tls(struct http_transfer *transfer, const struct tls_options *tls) {
  bool ours;
  transfer->trust = trust_new();
  if (!transfer->trust)
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
  ours = curl_easy_setopt(transfer->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context) == CURLE_OK;
  if (ours) {
    http_set_pointer(transfer, CURLOPT_SSL_CTX_DATA, transfer);
    http_set_long(transfer, CURLOPT_SSL_SESSIONID_CACHE,
                  0); /* a resumed session does not ask for a certificate */
    http_set_pointer(transfer, CURLOPT_CAINFO, NULL);
    http_set_pointer(transfer, CURLOPT_CAPATH, NULL);
  }
  if (!tls)
    return; /* curl verifies against the system's trust */
  http_set_long(transfer, CURLOPT_SSL_VERIFYPEER, tls->verify ? 1 : 0);
  http_set_long(transfer, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2 : 0);
  if (tls->ca_file) {
    transfer->ca_file = strdup(tls->ca_file);
    if (!transfer->ca_file)
      http_note_code(transfer, CURLE_OUT_OF_MEMORY);
    http_set_pointer(transfer, CURLOPT_CAINFO, tls->ca_file);
    http_set_pointer(transfer, CURLOPT_CAPATH, NULL); /* in place of the system's trust, not beside it */
    if (!transfer->reason.err && trust_check(tls, &transfer->reason))
      transfer->reason.err = ERR_NONE;
  }
  if (tls->pin)
    http_set_pointer(transfer, CURLOPT_PINNEDPUBLICKEY, tls->pin);
}

static void add_header(struct http_transfer *transfer, const char *line) {
  struct curl_slist *longer = curl_slist_append(transfer->request_headers, line);
  if (longer)
    transfer->request_headers = longer;
  else
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
}

/* Ask only for the missing part of the file. */
static void add_range(struct http_transfer *transfer) {
  char line[64];
  if (!transfer->resumes || !transfer->file_size)
    return;
  snprintf(line, sizeof line, "Range: bytes=%llu-", (unsigned long long)transfer->file_size);
  add_header(transfer, line);
}

static bool has_header(const char *const *line, const char *name) {
  while (line && *line && !header_value(*line, name))
    line++;
  return line && *line;
}

/* "Name:" without a value takes a header of curl's own away: no waiting for "100 Continue", which
 * costs a second with servers that do not know it, and no claim that a body is a web form. */
static void set_headers(struct http_transfer *transfer, const struct http_request *request) {
  for (const char *const *line = request->headers; line && *line; line++)
    add_header(transfer, *line);
  for (const char *const *line = request->further; line && *line; line++)
    add_header(transfer, *line);
  add_range(transfer);
  if (!has_header(request->headers, "Expect"))
    add_header(transfer, "Expect:");
  if (!request->part_count && !has_header(request->headers, "Content-Type"))
    add_header(transfer, "Content-Type:");
  http_set_pointer(transfer, CURLOPT_HTTPHEADER, transfer->request_headers);
}

static bool wants_body(const char *method) {
  return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void set_body(struct http_transfer *transfer, const char *body, size_t length) {
  http_note_code(transfer, curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length));
  http_set_pointer(transfer, CURLOPT_COPYPOSTFIELDS, body);
}

static void set_method(struct http_transfer *transfer, const struct http_request *request) {
  bool sends = request->body || request->part_count;
  const char *method = request->method ? request->method : sends ? "POST" : "GET";
  if (request->part_count)
    http_set_form(transfer, request);
  else if (request->body || wants_body(method))
    set_body(transfer, request->body ? request->body : "", request->body_length);
  if (strcmp(method, "HEAD") == 0)
    http_set_long(transfer, CURLOPT_NOBODY, 1);
  else
    http_set_pointer(transfer, CURLOPT_CUSTOMREQUEST, method);
}

/* Curl does not tell why there is no socket. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
  struct http_transfer *transfer = arg;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  (void)purpose;
  transfer->no_socket = fd < 0 ? errno : 0;
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static void set_rules(struct http_transfer *transfer) {
  http_note_code(transfer, curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket));
  http_set_pointer(transfer, CURLOPT_OPENSOCKETDATA, transfer);
  http_set_long(transfer, CURLOPT_NOSIGNAL, 1);
  http_set_pointer(transfer, CURLOPT_USERAGENT, TRUECONF_AGENT);
  http_set_long(transfer, CURLOPT_FOLLOWLOCATION, 0); /* a token must not be sent elsewhere */
  http_set_pointer(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
  http_set_long(transfer, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  /* Not the deadline: it tells curl when to go on to the next address of a name, at half of it. */
  http_set_long(transfer, CURLOPT_CONNECTTIMEOUT_MS, (long)(transfer->connect_timeout * 1500) + 1);
}

static void copy_limits(struct http_transfer *transfer, const struct http_request *request) {
  transfer->connect_timeout =
      request->connect_timeout > 0 ? request->connect_timeout : DEFAULT_CONNECT_TIMEOUT;
  transfer->idle_timeout = request->idle_timeout > 0 ? request->idle_timeout : DEFAULT_IDLE_TIMEOUT;
  transfer->timeout = request->timeout;
  transfer->max_body = request->max_body ? request->max_body : DEFAULT_MAX_BODY;
  transfer->max_file = request->max_body;
  transfer->progress = request->progress;
}

static void set_file(struct http_transfer *transfer, const struct http_request *request) {
  if (!request->save_to || transfer->result || transfer->reason.err)
    return;
  http_set_long(transfer, CURLOPT_BUFFERSIZE, FILE_BUFFER);
  if (!http_open_file(transfer, request->save_to, request->resume))
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
}

void http_set_up(struct http_transfer *transfer, const struct http_request *request) {
  copy_limits(transfer, request);
  http_set_callbacks(transfer);
  set_rules(transfer);
  set_target(transfer, request);
  set_tls(transfer, request->tls);
  set_file(transfer, request);
  set_headers(transfer, request);
  set_method(transfer, request);
}
