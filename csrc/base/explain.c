/*
 * base/explain.c - messages for failed connections to a server.
 * Owns nothing.
 * SPDX-License-Identifier: MIT
 */
#include "base/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

enum { AUTHENTICATE = 407 };

static bool out_of_descriptors(int number) {
  return number == EMFILE || number == ENFILE;
}

enum err explain_errno(int number) {
  switch (number) {
  case ECONNREFUSED:
    return ERR_REFUSED;
  case ETIMEDOUT:
    return ERR_TIMEOUT;
  case ECONNRESET:
    return ERR_DISCONNECTED;
  case EMFILE:
  case ENFILE:
  case EACCES:
  case EPERM:
    return ERR_IO;
  case ENOMEM:
  case ENOBUFS:
    return ERR_NOMEM;
  default:
    return ERR_UNREACHABLE;
  }
}

void explain_connect(struct reason *reason, const char *target, int number) {
  if (out_of_descriptors(number))
    reason_set(
        reason, ERR_IO, 0,
        "no file descriptor is left for a connection to %.80s: raise the limit (ulimit -n), or close files",
        target);
  else
    reason_set(reason, explain_errno(number), 0, "cannot connect to %.100s: %s", target,
               number ? strerror(number) : "no address works");
}

int explain_shortage(int wanted) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = errno;
  if (fd < 0)
    return out_of_descriptors(number) ? number : 0;
  number = wanted > 1 ? explain_shortage(wanted - 1) : 0;
  close(fd);
  return number;
}

void explain_setup(struct reason *reason, const char *target) {
  int number = explain_shortage(SETUP_DESCRIPTORS);
  if (number)
    explain_connect(reason, target, number);
  else
    reason_set(reason, ERR_NOMEM, 0, "cannot set up the connection");
}

void explain_lookup(struct reason *reason, const char *name, bool of_proxy, const char *why) {
  int number = explain_shortage(1);
  if (number)
    explain_connect(reason, name, number);
  else
    reason_set(reason, ERR_DNS, 0, "cannot resolve the name of %s%.100s%s%s", of_proxy ? "the proxy " : "",
               name, why ? ": " : "", why ? why : "");
}

void explain_proxy(struct reason *reason, const struct proxy *proxy, int status, const char *target) {
  char place[PROXY_PLACE];
  proxy_place(proxy, place);
  if (status == AUTHENTICATE && proxy->user)
    reason_set(reason, ERR_HTTP, status, "the proxy %.80s refuses the user name or password (407)", place);
  else if (status == AUTHENTICATE)
    reason_set(reason, ERR_HTTP, status,
               "the proxy %.60s wants a user name and password (407): http://USER:PASSWORD@%.60s", place,
               place);
  else
    reason_set(reason, ERR_HTTP, status, "the proxy %.60s answered %d when asked for %.80s", place, status,
               target);
}

void explain_proxy_setting(struct reason *reason, const char *option, bool tls, const char *wrong) {
  reason_set(reason, strcmp(wrong, "out of memory") ? ERR_CONFIG : ERR_NOMEM, 0, "%s: %s",
             proxy_source(option, tls), wrong);
}

const char *explain_tls(unsigned long code, const char *words) {
  const char *known = ERR_reason_error_string(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
    return "this port speaks no TLS; try ws:// or http:// for it, or the port that does (443 of the web "
           "server)";
  return known ? known : words;
}

void explain_client_certificate(struct reason *reason, const char *target) {
  reason_set(
      reason, ERR_TLS, 0,
      "%.80s wants a certificate of the client, which a bot does not have: let the server ask for none here",
      target);
}
