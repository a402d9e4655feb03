/*
 * server/tls.c - the certificates of listeners.
 * Lua sees: the option `tls` of core.listen.
 * All listeners share one vhost of lws and with it one SSL_CTX, which has no certificate. When a client
 * says hello, its connection is moved to the SSL_CTX of the listener it came in by.
 * Owns: nothing; a listener owns its SSL_CTX.
 * SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include "base/buffer.h"
#include "base/plain_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

enum { MOST_PEM = 1 << 20 /* bytes */ };

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

static bool use_chain(SSL_CTX *tls, BIO *pem) {
  X509 *certificate = PEM_read_bio_X509_AUX(pem, NULL, no_passphrase, NULL);
  bool ok = certificate && SSL_CTX_use_certificate(tls, certificate) == 1;
  X509_free(certificate);
  while (ok && (certificate = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL)))
    if (!(ok = SSL_CTX_add0_chain_cert(tls, certificate) == 1))
      X509_free(certificate);
  if (!ok || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    return false;
  ERR_clear_error(); /* that was the end of the file */
  return true;
}

static bool use_key(SSL_CTX *tls, BIO *pem) {
  EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL);
  bool ok = key && SSL_CTX_use_PrivateKey(tls, key) == 1 && SSL_CTX_check_private_key(tls) == 1;
  EVP_PKEY_free(key);
  return ok;
}

/* The library's own functions for files wait for the writer of a FIFO without end. */
static bool load(SSL_CTX *tls, bool (*use)(SSL_CTX *tls, BIO *pem), const char *what, const char *path,
                 struct reason *reason) {
  struct buffer text = {0};
  struct reason why = {0};
  BIO *pem = plain_file_read(path, MOST_PEM, PIPE_PATIENCE, &text, NULL, &why)
                 ? BIO_new_mem_buf(text.length ? text.data : "", (int)text.length)
                 : NULL;
  const char *words;
  bool ok;
  ERR_clear_error();
  ok = pem && use(tls, pem);
  words = ERR_reason_error_string(ERR_peek_error());
  if (why.err)
    reason_set(reason, ERR_TLS, why.code, "cannot use the %s: %s", what, why.message);
  else if (!ok)
    reason_set(reason, ERR_TLS, 0, "cannot use the %s %s: %s", what, path, words ? words : "unknown reason");
  ERR_clear_error();
  BIO_free(pem);
  if (text.data)
    explicit_bzero(text.data, text.capacity);
  buffer_free(&text);
  return ok;
}

SSL_CTX *server_tls_new(const char *cert_file, const char *key_file, struct reason *reason) {
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  if (!tls) {
    reason_set(reason, ERR_NOMEM, 0, "out of memory");
    return NULL;
  }
  if (!load(tls, use_chain, "certificate", cert_file, reason) ||
      !load(tls, use_key, "private key", key_file, reason)) {
    SSL_CTX_free(tls);
    return NULL;
  }
  SSL_CTX_set_tlsext_servername_callback(tls, on_server_name);
  return tls;
}

static struct listener *listener_of(struct server *server, int fd) {
  struct rt_list *i, *j;
  for (i = server->listeners.next; i != &server->listeners; i = i->next) {
    struct listener *listener = container_of(i, struct listener, link);
    for (j = listener->peers.prev; j != &listener->peers; j = j->prev) {
      const struct peer *peer = container_of(j, struct peer, link);
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
