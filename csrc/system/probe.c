/*
 * system/probe.c - checks the connection to a server, one step after the other: name, TCP, TLS with every
 * certificate of the server. Lua sees: core.probe. Owns: the work, with one connection that is closed before
 * it ends. Runs on the thread pool, where waiting is allowed, apart from libwebsockets and libcurl.
 * SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/errors.h"
#include "base/explain.h"
#include "base/host.h"
#include "base/trust.h"
#include "loop/lookup.h"
#include "loop/offload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ADDRESSES = 8, MOST_CERTIFICATES = 8, NAME_SIZE = 256, NAMES_SIZE = 512 };
static const double DAY = 86400, FOR_EVER = 1e9, SLICE = 0.1; /* seconds */

struct certificate {
  char subject[NAME_SIZE], issuer[NAME_SIZE];
  int64_t from, until; /* UNIX seconds */
};

/* The first certificate that cannot be verified, and its place in the chain. */
struct doubt {
  int code, depth; /* code: X509_V_ERR_*, 0: none */
  struct certificate certificate;
};

struct report {
  struct reason reason; /* why the last step failed */
  double dns, tcp, tls; /* seconds each step took; below 0: it was not taken, or failed */
  int address_count, used, chain_length;
  char addresses[MOST_ADDRESSES][INET6_ADDRSTRLEN];
  struct certificate chain[MOST_CERTIFICATES];
  char names[NAMES_SIZE]; /* hosts the first certificate is for */
  char version[16];
  struct doubt doubt;
};

struct probe_work {
  struct offload offload;
  char *host, *ca_file;
  int port;
  bool tls;
  double timeout, deadline; /* of one step; of the present one */
  atomic_bool interrupted;
  struct report report;
};

struct probe_op {
  struct offload_op wait;
  struct report report;
};

/* ---- time --------------------------------------------------------------------------------------- */

/* The real clock: this is about the network, and the runtime's belongs to the loop. */
static double seconds_now(void) {
  return (double)uv_hrtime() / 1e9;
}

static double begin_step(struct probe_work *work) {
  double now = seconds_now();
  work->deadline = now + work->timeout;
  return now;
}

/* Wait for the socket, in slices; 0: the time is over, or the caller has gone. */
static int wait_for(struct probe_work *work, int fd, short events, double deadline) {
  struct pollfd entry = {.fd = fd, .events = events};
  double left;
  int ready = 0;
  while (ready == 0 && !atomic_load(&work->interrupted) && (left = deadline - seconds_now()) > 0) {
    ready = poll(&entry, 1, (int)((left < SLICE ? left : SLICE) * 1000) + 1);
    if (ready < 0 && errno == EINTR)
      ready = 0;
  }
  return ready;
}

/* ---- the name and the connection ---------------------------------------------------------------- */

static bool resolve(struct probe_work *work, struct addrinfo **found) {
  struct report *report = &work->report;
  double begun = begin_step(work);
  int status = getaddrinfo(lookup_name(work->host), NULL, lookup_hints(work->host), found);
  if (status) {
    explain_lookup(&report->reason, work->host, false, gai_strerror(status));
    return false;
  }
  for (struct addrinfo *at = *found; at && report->address_count < MOST_ADDRESSES; at = at->ai_next)
    lookup_text(at, report->addresses[report->address_count++]);
  report->dns = seconds_now() - begun;
  return true;
}

/* 0, or an errno. */
static int try_connect(struct probe_work *work, int fd, const struct addrinfo *address, double deadline) {
  int status = 0;
  socklen_t size = sizeof status;
  if (!connect(fd, address->ai_addr, address->ai_addrlen))
    return 0;
  if (errno != EINPROGRESS)
    return errno;
  if (wait_for(work, fd, POLLOUT, deadline) <= 0)
    return ETIMEDOUT;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &size) ? errno : status;
}

static void set_port(struct addrinfo *address, int port) {
  if (address->ai_family == AF_INET6)
    ((struct sockaddr_in6 *)(void *)address->ai_addr)->sin6_port = htons((uint16_t)port);
  else
    ((struct sockaddr_in *)(void *)address->ai_addr)->sin_port = htons((uint16_t)port);
}

/* One address after the other, each with its share of the time; the socket, or -1. */
static int connect_to(struct probe_work *work, struct addrinfo *address) {
  struct report *report = &work->report;
  double begun = begin_step(work);
  char target[300];
  int fd = -1, problem = 0;
  for (; address && report->used < report->address_count; address = address->ai_next, report->used++) {
    double now = seconds_now(), share = (work->deadline - now) / (report->address_count - report->used);
    fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    set_port(address, work->port);
    problem = fd < 0 ? errno : try_connect(work, fd, address, now + share);
    if (!problem) {
      report->tcp = seconds_now() - begun;
      return fd;
    }
    if (fd >= 0)
      close(fd);
  }
  snprintf(target, sizeof target, "%.255s:%d", work->host, work->port);
  explain_connect(&report->reason, target, problem);
  return -1;
}

/* ---- certificates ------------------------------------------------------------------------------- */

/* True unless the character is a NUL or another control character, which a terminal would obey; those of
 * UTF-8 begin with the byte 0xc2. */
static bool is_visible(const char *text, size_t at, size_t length) {
  unsigned char c = (unsigned char)text[at], next = at + 1 < length ? (unsigned char)text[at + 1] : 0;
  bool second = at > 0 && (unsigned char)text[at - 1] == 0xc2;
  return c >= ' ' && c != 0x7f && (c != 0xc2 || next >= 0xa0) && (c < 0x80 || c >= 0xa0 || !second);
}

/* Names are untrusted, and are shown at a terminal. */
static void copy_visible(char *out, const char *text, size_t length, bool ascii) {
  for (size_t i = 0; i < length; i++) {
    bool visible = is_visible(text, i, length) && (!ascii || (unsigned char)text[i] < 0x80);
    out[i] = visible ? text[i] : '?';
  }
  out[length] = '\0';
}

/* The common name, else the whole name. */
static void copy_name(X509_NAME *name, char text[NAME_SIZE]) {
  unsigned char *utf8 = NULL;
  int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1), length = -1;
  if (index >= 0)
    length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (length > 0 && length < NAME_SIZE) {
    copy_visible(text, (const char *)utf8, (size_t)length, false);
  } else {
    X509_NAME_oneline(name, text, NAME_SIZE);
  }
  OPENSSL_free(utf8);
}

static int64_t time_of(const ASN1_TIME *time) {
  struct tm tm;
  return ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

static void describe(struct certificate *entry, X509 *certificate) {
  copy_name(X509_get_subject_name(certificate), entry->subject);
  copy_name(X509_get_issuer_name(certificate), entry->issuer);
  entry->from = time_of(X509_get0_notBefore(certificate));
  entry->until = time_of(X509_get0_notAfter(certificate));
}

static void add_name(char names[NAMES_SIZE], const char *name, size_t length) {
  size_t used = strlen(names), gap = used ? 2 : 0;
  if (used + gap + length >= NAMES_SIZE)
    return;
  memcpy(names + used, ", ", gap);
  copy_visible(names + used + gap, name, length, true);
}

static void add_address(char names[NAMES_SIZE], const unsigned char *bytes, int length) {
  char text[INET6_ADDRSTRLEN];
  if (length == 4 || length == 16) {
    uv_inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
    add_name(names, text, strlen(text));
  }
}

/* The hosts it is for (RFC 6125: the subject's alternative names). */
static void copy_hosts(X509 *certificate, char names[NAMES_SIZE]) {
  GENERAL_NAMES *list = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_DNS)
      add_name(names, (const char *)ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    else if (type == GEN_IPADD)
      add_address(names, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
  }
  GENERAL_NAMES_free(list);
}

static void copy_chain(SSL *ssl, struct report *report) {
  STACK_OF(X509) *shown = SSL_get_peer_cert_chain(ssl);
  for (int i = 0; i < sk_X509_num(shown) && i < MOST_CERTIFICATES; i++)
    describe(&report->chain[report->chain_length++], sk_X509_value(shown, i));
  if (report->chain_length)
    copy_hosts(sk_X509_value(shown, 0), report->names);
}

/* Keep the first doubt and let the handshake go on, so that the report has the whole chain. */
static int on_verify(int ok, X509_STORE_CTX *context) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct doubt *doubt = SSL_get_app_data(ssl);
  X509 *certificate = X509_STORE_CTX_get_current_cert(context);
  if (ok || doubt->code)
    return 1;
  doubt->code = X509_STORE_CTX_get_error(context);
  doubt->depth = X509_STORE_CTX_get_error_depth(context);
  if (certificate)
    describe(&doubt->certificate, certificate);
  return 1;
}

/* ---- TLS ---------------------------------------------------------------------------------------- */

static void tls_failed(struct report *report, const char *what) {
  reason_set(&report->reason, ERR_TLS, 0, "%s: %.120s", what,
             explain_tls(ERR_get_error(), "the connection was closed"));
}

static SSL_CTX *trusting(struct probe_work *work) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  struct reason reason;
  reason_set(&reason, ERR_NOMEM, 0, "no memory for TLS");
  if (context && trust_load(context, work->ca_file, &reason)) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_verify);
    return context;
  }
  work->report.reason = reason;
  SSL_CTX_free(context);
  return NULL;
}

static SSL *session_on(struct probe_work *work, SSL_CTX *context, int fd) {
  SSL *ssl = SSL_new(context);
  bool is_address = host_is_address(work->host);
  int ok = ssl && SSL_set_fd(ssl, fd) && SSL_set_app_data(ssl, &work->report.doubt);
  if (ok && is_address)
    ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), work->host);
  else if (ok)
    ok = SSL_set1_host(ssl, work->host) && SSL_set_tlsext_host_name(ssl, work->host);
  if (ok)
    return ssl;
  tls_failed(&work->report, "TLS cannot be used");
  SSL_free(ssl);
  return NULL;
}

static bool shake_hands(struct probe_work *work, SSL *ssl, int fd) {
  int status;
  while ((status = SSL_connect(ssl)) != 1) {
    int wanted = SSL_get_error(ssl, status);
    if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
      tls_failed(&work->report, "the TLS handshake failed");
      return false;
    }
    if (wait_for(work, fd, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, work->deadline) <= 0) {
      reason_set(&work->report.reason, ERR_TIMEOUT, 0, "no answer to the TLS handshake in %g s",
                 work->timeout);
      return false;
    }
  }
  return true;
}

/* OpenSSL writes without MSG_NOSIGNAL: a closed connection must not end the program by SIGPIPE. */
static void ignore_broken_pipes(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void look_at_tls(struct probe_work *work, int fd) {
  double begun = begin_step(work);
  SSL_CTX *context = trusting(work);
  SSL *ssl = context ? session_on(work, context, fd) : NULL;
  ERR_clear_error();
  if (ssl && shake_hands(work, ssl, fd)) {
    work->report.tls = seconds_now() - begun;
    snprintf(work->report.version, sizeof work->report.version, "%s", SSL_get_version(ssl));
    copy_chain(ssl, &work->report);
    SSL_shutdown(ssl);
  }
  SSL_free(ssl);
  SSL_CTX_free(context);
  OPENSSL_thread_stop(); /* free OpenSSL's data of this thread, which goes back to the pool */
}

/* ---- the work ----------------------------------------------------------------------------------- */

static void probe_run(struct offload *offload) {
  struct probe_work *work = (struct probe_work *)offload;
  struct addrinfo *found = NULL;
  int fd;
  work->report.reason.err = ERR_NONE;
  ignore_broken_pipes();
  if (!resolve(work, &found))
    return;
  fd = connect_to(work, found);
  freeaddrinfo(found);
  if (fd < 0)
    return;
  if (work->tls)
    look_at_tls(work, fd);
  close(fd);
}

static void probe_interrupt(struct offload *offload) {
  atomic_store(&((struct probe_work *)offload)->interrupted, true);
}

static void probe_finish(struct offload *offload, struct op *op) {
  ((struct probe_op *)op)->report = ((struct probe_work *)offload)->report;
}

static void probe_destroy(struct offload *offload) {
  struct probe_work *work = (struct probe_work *)offload;
  free(work->host);
  free(work->ca_file);
  free(work);
}

/* ---- for Lua ------------------------------------------------------------------------------------ */

static void put_text(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void put_seconds(lua_State *L, const char *name, double seconds) {
  if (seconds < 0)
    return;
  lua_pushnumber(L, seconds);
  lua_setfield(L, -2, name);
}

static void put_time(lua_State *L, const char *name, int64_t time) {
  lua_pushinteger(L, (lua_Integer)time);
  lua_setfield(L, -2, name);
}

static void push_certificate(lua_State *L, const struct certificate *certificate) {
  lua_createtable(L, 0, 4);
  put_text(L, "subject", certificate->subject);
  put_text(L, "issuer", certificate->issuer);
  put_time(L, "from", certificate->from);
  put_time(L, "expires", certificate->until);
}

static void push_chain(lua_State *L, const struct report *report) {
  lua_createtable(L, report->chain_length, 0);
  for (int i = 0; i < report->chain_length; i++) {
    push_certificate(L, &report->chain[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* Names in place of OpenSSL's numbers for the common failures. */
static const char *doubt_name(const struct doubt *doubt) {
  switch (doubt->code) {
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    return "missing";
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_CERT_UNTRUSTED:
    return "untrusted";
  case X509_V_ERR_CERT_HAS_EXPIRED:
    return "expired";
  case X509_V_ERR_CERT_NOT_YET_VALID:
    return "early";
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    return "host";
  default:
    return "other";
  }
}

static void push_doubt(lua_State *L, const struct doubt *doubt) {
  push_certificate(L, &doubt->certificate);
  put_text(L, "kind", doubt_name(doubt));
  put_text(L, "text", X509_verify_cert_error_string(doubt->code));
  lua_pushinteger(L, doubt->depth + 1);
  lua_setfield(L, -2, "place");
}

static void put_tls(lua_State *L, const struct report *report) {
  put_seconds(L, "tls", report->tls);
  put_text(L, "version", report->version);
  put_text(L, "names", report->names);
  push_chain(L, report);
  lua_setfield(L, -2, "chain");
  if (report->doubt.code) {
    push_doubt(L, &report->doubt);
    lua_setfield(L, -2, "doubt");
  }
}

static int probe_push(lua_State *L, struct op *op) {
  const struct report *report = &((struct probe_op *)op)->report;
  lua_createtable(L, 0, 10);
  put_seconds(L, "dns", report->dns);
  lua_createtable(L, report->address_count, 0);
  for (int i = 0; i < report->address_count; i++) {
    lua_pushstring(L, report->addresses[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "addresses");
  put_seconds(L, "tcp", report->tcp);
  assert(report->tcp < 0 || report->used < report->address_count);
  if (report->tcp >= 0)
    put_text(L, "address", report->addresses[report->used]);
  if (report->tls >= 0)
    put_tls(L, report);
  if (report->reason.err) {
    push_reason(L, &report->reason);
    lua_setfield(L, -2, "error");
  }
  return 1;
}

static struct offload *probe_new(const char *host, int port, bool tls, const char *ca_file, double timeout) {
  struct probe_work *work = calloc(1, sizeof *work);
  if (!work)
    return NULL;
  work->offload.work = probe_run;
  work->offload.interrupt = probe_interrupt;
  work->offload.patience = FOR_EVER; /* each step has its time */
  work->offload.finish = probe_finish;
  work->offload.destroy = probe_destroy;
  work->port = port;
  work->tls = tls;
  work->timeout = timeout;
  work->report.dns = work->report.tcp = work->report.tls = -1;
  work->host = strdup(host);
  work->ca_file = ca_file ? strdup(ca_file) : NULL;
  if (work->host && (!ca_file || work->ca_file))
    return &work->offload;
  probe_destroy(&work->offload);
  return NULL;
}

/* core.probe(host, port, tls, ca_file, timeout) -> report */
static int l_probe(lua_State *L) {
  const char *host = luaL_checkstring(L, 1);
  lua_Integer port = luaL_checkinteger(L, 2);
  bool tls = lua_toboolean(L, 3);
  const char *ca_file = luaL_optstring(L, 4, NULL);
  double timeout = luaL_optnumber(L, 5, 10);
  struct probe_op *op;
  luaL_argcheck(L, port > 0 && port <= 65535, 2, "a port between 1 and 65535 expected");
  luaL_argcheck(L, timeout > 0 && timeout <= DAY, 5, "seconds expected, at most a day");
  op = op_new(L, sizeof *op, NULL, "a probe");
  op->wait.op.push = probe_push;
  op->report.dns = op->report.tcp = op->report.tls = -1;
  reason_set(&op->report.reason, ERR_NOMEM, 0, "no memory for a probe");
  return offload_wait(L, &op->wait, probe_new(host, (int)port, tls, ca_file, timeout));
}

void probe_open(lua_State *L) {
  lua_pushcfunction(L, l_probe);
  lua_setfield(L, -2, "probe");
}
