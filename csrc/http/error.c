/*
 * http/error.c - the reason of a failed transfer, from curl's codes and texts.
 * SPDX-License-Identifier: MIT
 */
#include "base/explain.h"
#include "base/trust.h"
#include "http/private.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* True if the handshake was cut off: the server is stopping or starting. */
static bool handshake_cut(const struct http_transfer *transfer) {
  const char *text = transfer->error_text;
  return strstr(text, "SSL_ERROR_SYSCALL") || strstr(text, "Connection reset") ||
         strstr(text, "unexpected eof");
}

static enum err err_of_curl(const struct http_transfer *transfer, long os_error) {
  switch (transfer->result) {
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY:
    return ERR_DNS;
  case CURLE_COULDNT_CONNECT:
    return explain_errno((int)os_error);
  case CURLE_OPERATION_TIMEDOUT:
    return ERR_TIMEOUT;
  case CURLE_SSL_CONNECT_ERROR:
    return handshake_cut(transfer) ? ERR_DISCONNECTED : ERR_TLS;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_ENGINE_INITFAILED:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    return ERR_TLS;
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
    return ERR_DISCONNECTED;
  case CURLE_OUT_OF_MEMORY:
    return ERR_NOMEM;
  case CURLE_ABORTED_BY_CALLBACK:
  case CURLE_READ_ERROR:
  case CURLE_WRITE_ERROR:
    return ERR_IO;
  default:
    return ERR_PROTOCOL;
  }
}

/* Curl's texts are one line, but some quote what the server sent. */
static const char *error_detail(struct http_transfer *transfer) {
  if (!transfer->error_text[0])
    return curl_easy_strerror(transfer->result);
  for (char *at = transfer->error_text; *at; at++)
    if (iscntrl((unsigned char)*at))
      *at = ' ';
  return transfer->error_text;
}

static const char *tls_detail(struct http_transfer *transfer) {
  bool in_handshake = transfer->result == CURLE_SSL_CONNECT_ERROR;
  return explain_tls(in_handshake ? trust_failure(transfer->trust) : 0, error_detail(transfer));
}

enum { PEER = PROXY_PLACE + 16 };

/* The peer that curl has connected to: the proxy, or the server. */
static const char *peer_of(const struct http_transfer *transfer, const char *origin, char peer[PEER]) {
  char place[PROXY_PLACE];
  if (!transfer->proxy.used)
    return origin;
  snprintf(peer, PEER, "the proxy %s", proxy_place(&transfer->proxy, place));
  return peer;
}

void http_explain(struct http_transfer *transfer) {
  struct reason *reason = &transfer->reason;
  const char *origin = transfer->origin ? transfer->origin : "the server";
  long os_error = 0, proxy_status = 0;
  char peer[PEER];
  enum err err;
  curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
  if (transfer->no_socket)
    os_error = transfer->no_socket;
  curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  err = err_of_curl(transfer, os_error);
  if (trust_was_asked(transfer->trust) && transfer->result != CURLE_PEER_FAILED_VERIFICATION &&
      (err == ERR_TLS || err == ERR_DISCONNECTED))
    explain_client_certificate(reason, origin);
  else if (proxy_status >= 300)
    explain_proxy(reason, &transfer->proxy, (int)proxy_status, origin);
  else if (err == ERR_DNS)
    explain_lookup(reason, transfer->name.host ? transfer->name.host : origin, transfer->proxy.used, NULL);
  else if (transfer->result == CURLE_COULDNT_CONNECT)
    explain_connect(reason, peer_of(transfer, origin, peer), (int)os_error);
  else if (err == ERR_TLS)
    reason_set(reason, err, 0, "TLS with %.80s failed: %s", origin, tls_detail(transfer));
  else
    reason_set(reason, err, 0, "%s: %s", origin, error_detail(transfer));
}

/* A web server that requires a certificate of the client answers 400 without one. The answer of a proxy to a
 * request without TLS looks like the server's. */
void http_explain_answer(struct http_transfer *transfer) {
  const char *type = http_header(transfer, "content-type");
  int status = transfer->status;
  if (status == 407 && transfer->proxy.used)
    explain_proxy(&transfer->reason, &transfer->proxy, status, transfer->origin);
  else if ((status == 400 || status == 403) && trust_was_asked(transfer->trust) &&
           !(type && strstr(type, "application/json")))
    explain_client_certificate(&transfer->reason, transfer->origin);
}

void http_fail_io(struct http_transfer *transfer, const char *what, const char *path, int number) {
  reason_set(&transfer->reason, ERR_IO, 0, "cannot %s %s: %s", what, path, strerror(number));
}

void http_fail_length(struct http_transfer *transfer, size_t limit) {
  reason_set(&transfer->reason, ERR_LIMIT, 0, "the answer of %s is longer than %zu bytes", transfer->origin,
             limit);
}
