/*
 * base/trust.c - trust of TLS: fills an SSL_CTX.
 * Owns: struct trust, which hangs on its SSL_CTX as ex_data. A connection that curl has kept may outlive the
 * transfer that made it, hence the counting.
 * Loop thread only, but for trust_load, trust_check and trust_check_file.
 * SPDX-License-Identifier: MIT
 */
#include "base/trust.h"

#include "base/host.h"
#include "base/plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct trust {
  int owners;
  bool asked;            /* for a certificate of the client */
  unsigned long failure; /* of the last handshake, as OpenSSL counts them; 0: none */
  bool verify;
  char *pin;
  char host[256];
};

struct trust *trust_new(void) {
  struct trust *trust = calloc(1, sizeof *trust);
  if (trust)
    trust->owners = 1;
  return trust;
}

void trust_free(struct trust *trust) {
  if (!trust || --trust->owners)
    return;
  free(trust->pin);
  free(trust);
}

bool trust_was_asked(const struct trust *trust) {
  return trust && trust->asked;
}

unsigned long trust_failure(const struct trust *trust) {
  return trust ? trust->failure : 0;
}

/* ---- on its context ------------------------------------------------------------------------------- */

static int place = -1; /* of ex_data */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_context_free(void *parent, void *trust, CRYPTO_EX_DATA *data, int index, long argl,
                            void *argp) {
  (void)parent, (void)data, (void)index, (void)argl, (void)argp;
  trust_free(trust);
}

static void make_place(void) {
  place = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

static bool hang(struct trust *trust, SSL_CTX *context) {
  pthread_once(&once, make_place);
  if (place < 0)
    return false;
  if (SSL_CTX_get_ex_data(context, place) == trust)
    return true;
  if (!SSL_CTX_set_ex_data(context, place, trust))
    return false;
  trust->owners++;
  return true;
}

static struct trust *of_ssl(const SSL *ssl) {
  return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), place);
}

/* ---- authorities ---------------------------------------------------------------------------------- */

/* A lack of descriptors is no fault of the setting. */
static void explain_file(struct reason *reason, const char *path, int number) {
  bool later = number == EMFILE || number == ENFILE || number == ENOMEM;
  if (number)
    reason_set(reason, later ? ERR_IO : ERR_CONFIG, 0, "ca_file: cannot read %.120s: %s", path,
               strerror(number));
  else
    reason_set(reason, ERR_CONFIG, 0, "ca_file: %.120s holds no certificate in PEM", path);
}

/* Opening a FIFO would wait for its other end. */
static bool load_file(X509_STORE *store, const char *path, struct reason *reason) {
  struct stat status;
  const char *kind = stat(path, &status) ? NULL : plain_file_kind(&status);
  int fd = kind ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), number = fd < 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  if (kind)
    reason_set(reason, ERR_CONFIG, 0, "ca_file: cannot read %.120s: it is %s, not a plain file", path, kind);
  else if (number || X509_STORE_load_file(store, path) != 1)
    explain_file(reason, path, number);
  else
    return true;
  return false;
}

static X509_STORE *load(const char *ca_file, struct reason *reason) {
  X509_STORE *store = X509_STORE_new();
  bool ok = store;
  reason_set(reason, ERR_NOMEM, 0, "no memory for TLS");
  if (ok)
    ok = X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST) == 1;
  if (ok)
    ok = ca_file ? load_file(store, ca_file, reason) : X509_STORE_set_default_paths(store) == 1;
  ERR_clear_error();
  if (ok)
    return store;
  X509_STORE_free(store);
  return NULL;
}

bool trust_load(SSL_CTX *context, const char *ca_file, struct reason *reason) {
  X509_STORE *store = load(ca_file, reason);
  if (store)
    SSL_CTX_set_cert_store(context, store);
  return store;
}

bool trust_check(const struct tls_options *options, struct reason *reason) {
  return !options || !options->ca_file || trust_check_file(options->ca_file, reason);
}

bool trust_check_file(const char *ca_file, struct reason *reason) {
  X509_STORE *store = load(ca_file, reason);
  X509_STORE_free(store);
  return store;
}

/* ---- a certificate of the client ------------------------------------------------------------------ */

static int on_client_certificate(SSL *ssl, X509 **certificate, EVP_PKEY **key) {
  struct trust *trust = of_ssl(ssl);
  (void)certificate, (void)key;
  if (trust)
    trust->asked = true;
  return 0; /* none; the server decides what to do then */
}

/* Libraries replace OpenSSL's message of a failure by their own, or drop it. */
static void on_watched(const SSL *ssl, int where, int result) {
  struct trust *trust = of_ssl(ssl);
  if (!trust)
    return;
  if (where & SSL_CB_HANDSHAKE_START) {
    trust->asked = false;
    trust->failure = 0;
  } else if (where == SSL_CB_CONNECT_EXIT && result <= 0) {
    trust->failure = ERR_peek_error(); /* 0: it goes on when more has come */
  }
}

bool trust_watch(struct trust *trust, SSL_CTX *context) {
  if (!hang(trust, context))
    return false;
  SSL_CTX_set_client_cert_cb(context, on_client_certificate);
  SSL_CTX_set_info_callback(context, on_watched);
  return true;
}

/* ---- verifying ------------------------------------------------------------------------------------ */

/* "sha256//BASE64" of the DER form of the certificate's public key, as curl spells a pin. Several are
 * joined by ";"; base64 has none, so that a whole pin is found or nothing. */
static bool key_matches(X509 *certificate, const char *pins) {
  unsigned char *der = NULL, hash[EVP_MAX_MD_SIZE];
  char text[9 + 64];
  unsigned length = 0;
  int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  bool ok = n > 0 && EVP_Digest(der, (size_t)n, hash, &length, EVP_sha256(), NULL);
  OPENSSL_free(der);
  if (!ok)
    return false;
  strcpy(text, "sha256//");
  EVP_EncodeBlock((unsigned char *)text + 8, hash, (int)length);
  return strstr(pins, text) != NULL;
}

static bool expect_host(X509_VERIFY_PARAM *rules, const char *host) {
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return host_is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1
                               : X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1;
}

/* In place of OpenSSL's own verification, of which it is a part. */
static int on_verify(X509_STORE_CTX *verification, void *arg) {
  struct trust *trust = arg;
  X509 *certificate = X509_STORE_CTX_get0_cert(verification);
  if (trust->verify && (!expect_host(X509_STORE_CTX_get0_param(verification), trust->host) ||
                        X509_verify_cert(verification) != 1))
    return 0;
  if (trust->pin && (!certificate || !key_matches(certificate, trust->pin))) {
    X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  X509_STORE_CTX_set_error(verification, X509_V_OK);
  return 1;
}

/* lws sends as SNI the text before the first colon of the header Host, cut to 127 bytes. */
static void on_info(const SSL *ssl, int where, int result) {
  const struct trust *trust = of_ssl(ssl);
  const char *name;
  on_watched(ssl, where, result);
  if (!(where & SSL_CB_HANDSHAKE_START) || !trust)
    return;
  name = host_is_address(trust->host) ? NULL : trust->host;
  SSL_set_tlsext_host_name((SSL *)(uintptr_t)ssl, name); /* a macro that casts no whole expression */
}

bool trust_verify(struct trust *trust, SSL_CTX *context, const struct tls_options *options,
                  const char *host) {
  if (!trust_watch(trust, context))
    return false;
  trust->verify = options->verify;
  trust->pin = options->pin ? strdup(options->pin) : NULL;
  snprintf(trust->host, sizeof trust->host, "%.*s", (int)strcspn(host, "%"),
           host); /* a zone is for this side */
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_cert_verify_callback(context, on_verify, trust);
  SSL_CTX_set_info_callback(context, on_info);
  return !options->pin == !trust->pin;
}

const char *trust_verdict(const SSL *ssl) {
  long verdict = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
  if (verdict == X509_V_ERR_APPLICATION_VERIFICATION)
    return "the public key is not the pinned one";
  return verdict == X509_V_OK ? NULL : X509_verify_cert_error_string(verdict);
}
