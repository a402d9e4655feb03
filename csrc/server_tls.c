/*
 * server_tls.c - the certificates of listeners.
 * Lua sees: the option `tls` of core.listen.
 * All listeners share one vhost of lws and with it one SSL_CTX, which has no certificate. When a client
 * says hello, its connection is moved to the SSL_CTX of the listener it came in by.
 * Owns: nothing; a listener owns its SSL_CTX.
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

/* A key with a passphrase is refused: the library's own way is to ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *user) {
  (void)buffer;
  (void)size;
  (void)writing;
  (void)user;
  return 0;
}

/* Without one here, that of lws would be asked, which knows only vhosts. */
static int on_server_name(SSL *ssl, int *alert, void *arg) {
  (void)ssl;
  (void)alert;
  (void)arg;
  return SSL_TLSEXT_ERR_NOACK;
}

static void tls_reason(struct reason *reason, const char *what, const char *file) {
  unsigned long code = ERR_peek_error();
  const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
  reason_set(reason, ERR_TLS, 0, "cannot use the %s %s: %s", what, file, why ? why : "unknown reason");
  ERR_clear_error();
}

static bool load(SSL_CTX *tls, const char *cert_file, const char *key_file, struct reason *reason) {
  ERR_clear_error();
  SSL_CTX_set_default_passwd_cb(tls, no_passphrase);
  if (SSL_CTX_use_certificate_chain_file(tls, cert_file) != 1) {
    tls_reason(reason, "certificate", cert_file);
    return false;
  }
  if (SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(tls) != 1) {
    tls_reason(reason, "private key", key_file);
    return false;
  }
  return true;
}

SSL_CTX *server_tls_new(const char *cert_file, const char *key_file, struct reason *reason) {
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  if (!tls) {
    reason_set(reason, ERR_NOMEM, 0, "out of memory");
    return NULL;
  }
  if (!load(tls, cert_file, key_file, reason)) {
    SSL_CTX_free(tls);
    return NULL;
  }
  SSL_CTX_set_tlsext_servername_callback(tls, on_server_name);
  return tls;
}

static struct listener *listener_of(struct server *server, int fd) {
  struct rt_list *i, *j;
  for (i = server->listeners.next; i != &server->listeners; i = i->next) {
    struct listener *listener = (struct listener *)(void *)i; /* the link is its first member */
    for (j = listener->peers.prev; j != &listener->peers; j = j->prev) {
      const struct peer *peer = (const struct peer *)(void *)j;
      if (!peer->is_socket && peer->fd == fd)
        return listener;
    }
  }
  return NULL;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg) {
  struct listener *listener = listener_of(arg, SSL_get_fd(ssl));
  (void)alert;
  if (!listener || !listener->tls)
    return SSL_CLIENT_HELLO_ERROR;
  SSL_set_SSL_CTX(ssl, listener->tls);
  return SSL_CLIENT_HELLO_SUCCESS;
}

void server_tls_choose(SSL_CTX *base, struct server *server) {
  SSL_CTX_set_min_proto_version(base, TLS1_2_VERSION);
  SSL_CTX_set_client_hello_cb(base, on_client_hello, server);
}
