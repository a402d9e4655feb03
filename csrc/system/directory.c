/*
 * system/directory.c - login to an LDAP directory: one simple bind as the user, on the thread pool.
 * Lua sees: core.ldap_bind, core.ldap_ca_file.
 * libldap is loaded on first use, so that only programs with a directory need it; hence the declarations
 * below in place of ldap.h. They are the interface of OpenLDAP 2.4 to 2.6. SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/dynamic.h"
#include "base/errors.h"
#include "base/options.h"
#include "base/trust.h"
#include "loop/offload.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- libldap ------------------------------------------------------------------------------------ */

typedef struct ldap LDAP;
typedef struct ldapmsg LDAPMessage;
typedef struct ldapcontrol LDAPControl;
typedef struct sockbuf Sockbuf;
struct berval {
  unsigned long bv_len;
  char *bv_val;
};

struct ldap_conncb { /* told of each connection before TLS begins on it */
  int (*lc_add)(LDAP *ldap, Sockbuf *socket, void *url, void *address, struct ldap_conncb *callback);
  void (*lc_del)(LDAP *ldap, Sockbuf *socket, struct ldap_conncb *callback);
  void *lc_arg;
};

enum { /* options */
       LBER_SB_OPT_GET_FD = 1,
       LDAP_OPT_TIMEOUT = 0x5002,
       LDAP_OPT_NETWORK_TIMEOUT = 0x5005,
       LDAP_OPT_CONNECT_CB = 0x5011,
       LDAP_OPT_REFERRALS = 0x0008,
       LDAP_OPT_PROTOCOL_VERSION = 0x0011,
       LDAP_OPT_DIAGNOSTIC_MESSAGE = 0x0032,
       LDAP_OPT_X_TLS_CACERTFILE = 0x6002,
       LDAP_OPT_X_TLS_REQUIRE_CERT = 0x6006,
       LDAP_OPT_X_TLS_NEWCTX = 0x600f,
       LDAP_OPT_X_TLS_DEMAND = 2
};
enum { /* results */
       LDAP_SUCCESS = 0,
       LDAP_CONSTRAINT_VIOLATION = 19, /* locked by a password policy */
       LDAP_NO_SUCH_OBJECT = 32,
       LDAP_INVALID_DN_SYNTAX = 34,
       LDAP_INAPPROPRIATE_AUTH = 48, /* the entry has no password */
       LDAP_INVALID_CREDENTIALS = 49,
       LDAP_UNWILLING_TO_PERFORM = 53, /* locked, or the password must be changed */
       LDAP_TIMEOUT = -5
};
enum { LDAP_VERSION3 = 3, LDAP_SCOPE_BASE = 0 };

static struct {
  int (*initialize)(LDAP **ldap, const char *uri);
  int (*set_option)(LDAP *ldap, int option, const void *value);
  int (*get_option)(LDAP *ldap, int option, void *value);
  int (*start_tls_s)(LDAP *ldap, LDAPControl **server, LDAPControl **client);
  int (*sasl_bind_s)(LDAP *ldap, const char *dn, const char *mechanism, struct berval *password,
                     LDAPControl **server, LDAPControl **client, struct berval **answer);
  int (*search_ext_s)(LDAP *ldap, const char *base, int scope, const char *filter, char **attributes,
                      int only_names, LDAPControl **server, LDAPControl **client, struct timeval *timeout,
                      int limit, LDAPMessage **result);
  LDAPMessage *(*first_entry)(LDAP *ldap, LDAPMessage *result);
  char *(*get_dn)(LDAP *ldap, LDAPMessage *entry);
  int (*whoami_s)(LDAP *ldap, struct berval **name, LDAPControl **server, LDAPControl **client);
  void (*bvfree)(struct berval *value);
  struct berval **(*get_values_len)(LDAP *ldap, LDAPMessage *entry, const char *attribute);
  void (*value_free_len)(struct berval **values);
  int (*msgfree)(LDAPMessage *message);
  int (*unbind_ext_s)(LDAP *ldap, LDAPControl **server, LDAPControl **client);
  void (*memfree)(void *memory);
  char *(*err2string)(int result);
  int (*sockbuf_ctrl)(Sockbuf *socket, int option, void *value);
} api;
static bool api_complete;
static pthread_once_t api_once = PTHREAD_ONCE_INIT;

static const char *const LIBRARIES[] = {"libldap.so.2", "libldap-2.5.so.0", "libldap_r-2.4.so.2", NULL};

static void load_api(void) {
  static const struct dynamic_symbol symbols[] = {{"ldap_initialize", &api.initialize},
                                                  {"ldap_set_option", &api.set_option},
                                                  {"ldap_get_option", &api.get_option},
                                                  {"ldap_start_tls_s", &api.start_tls_s},
                                                  {"ldap_sasl_bind_s", &api.sasl_bind_s},
                                                  {"ldap_search_ext_s", &api.search_ext_s},
                                                  {"ldap_first_entry", &api.first_entry},
                                                  {"ldap_get_values_len", &api.get_values_len},
                                                  {"ldap_value_free_len", &api.value_free_len},
                                                  {"ldap_msgfree", &api.msgfree},
                                                  {"ldap_unbind_ext_s", &api.unbind_ext_s},
                                                  {"ldap_memfree", &api.memfree},
                                                  {"ldap_err2string", &api.err2string},
                                                  {"ber_sockbuf_ctrl", &api.sockbuf_ctrl},
                                                  {"ldap_get_dn", &api.get_dn},
                                                  {"ldap_whoami_s", &api.whoami_s},
                                                  {"ber_bvfree", &api.bvfree},
                                                  {NULL, NULL}};
  api_complete = dynamic_load(LIBRARIES, symbols);
}

/* ---- the work ----------------------------------------------------------------------------------- */

enum { VALUE_MAX = 512, NAME_MAX_BYTES = 2048 };

struct bind_outcome {
  struct reason reason;
  char value[VALUE_MAX];     /* of the attribute asked for */
  size_t value_length;       /* 0: there is none */
  char name[NAME_MAX_BYTES]; /* "dn:" and the entry's name, or another name of the user in the directory */
};

struct bind_work {
  struct offload offload;
  char *url, *dn, *ca_file, *attribute;
  struct berval password;
  bool start_tls;
  struct timeval timeout;
  struct ldap_conncb on_connect;
  uv_mutex_t lock;
  bool interrupted; /* under the lock, as is */
  int fd;           /* of the connection; -1: none yet */
  struct bind_outcome outcome;
};

struct bind_op {
  struct offload_op wait;
  struct bind_outcome outcome;
};

/* Results by which directories refuse this user, for good. */
static bool is_refusal(int result) {
  return result == LDAP_INVALID_CREDENTIALS || result == LDAP_INAPPROPRIATE_AUTH ||
         result == LDAP_NO_SUCH_OBJECT || result == LDAP_INVALID_DN_SYNTAX ||
         result == LDAP_UNWILLING_TO_PERFORM || result == LDAP_CONSTRAINT_VIOLATION;
}

static bool is_interrupted(struct bind_work *work) {
  bool interrupted;
  uv_mutex_lock(&work->lock);
  interrupted = work->interrupted;
  uv_mutex_unlock(&work->lock);
  return interrupted;
}

static void explain(struct bind_work *work, LDAP *ldap, const char *what, int result, enum err err) {
  char *words = NULL;
  if (err != ERR_AUTH_FAILED && (result == LDAP_TIMEOUT || is_interrupted(work))) {
    reason_set(&work->outcome.reason, ERR_TIMEOUT, 0, "the directory does not answer within %g s",
               work->offload.patience);
    return;
  }
  if (ldap)
    api.get_option(ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &words);
  reason_set(&work->outcome.reason, err, result, "%s: %s%s%.100s", what, api.err2string(result),
             words && *words ? ": " : "", words ? words : "");
  if (words)
    api.memfree(words);
}

/* libldap waits for the other side's part of a TLS handshake without end. So the loop has a way to break the
 * connection: a descriptor of our own, as libldap's may be closed and given to somebody else at any time. */
static int on_connect(LDAP *ldap, Sockbuf *sockbuf, void *url, void *address, struct ldap_conncb *callback) {
  struct bind_work *work = callback->lc_arg;
  bool interrupted;
  int fd;
  (void)ldap;
  (void)url;
  (void)address;
  if (api.sockbuf_ctrl(sockbuf, LBER_SB_OPT_GET_FD, &fd) != 1)
    return -1;
  uv_mutex_lock(&work->lock);
  if (work->fd >= 0)
    close(work->fd); /* of an address that failed */
  work->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  interrupted = work->interrupted || work->fd < 0;
  uv_mutex_unlock(&work->lock);
  return interrupted ? -1 : 0;
}

static void on_disconnect(LDAP *ldap, Sockbuf *sockbuf, struct ldap_conncb *callback) {
  (void)ldap;
  (void)sockbuf;
  (void)callback;
}

static void bind_interrupt(struct offload *offload) {
  struct bind_work *work = (struct bind_work *)offload;
  uv_mutex_lock(&work->lock);
  work->interrupted = true;
  if (work->fd >= 0)
    shutdown(work->fd, SHUT_RDWR);
  uv_mutex_unlock(&work->lock);
}

static int set_options(struct bind_work *work, LDAP *ldap) {
  static const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
  const struct {
    int option;
    const void *value;
  } options[] = {{LDAP_OPT_PROTOCOL_VERSION, &version},
                 {LDAP_OPT_REFERRALS, NULL}, /* off: they would get the password */
                 {LDAP_OPT_NETWORK_TIMEOUT, &work->timeout},
                 {LDAP_OPT_TIMEOUT, &work->timeout},
                 {LDAP_OPT_CONNECT_CB, &work->on_connect},
                 {LDAP_OPT_X_TLS_REQUIRE_CERT, &demand},
                 {work->ca_file ? LDAP_OPT_X_TLS_CACERTFILE : LDAP_OPT_PROTOCOL_VERSION,
                  work->ca_file ? (const void *)work->ca_file : &version},
                 {LDAP_OPT_X_TLS_NEWCTX, &client}};
  int result = 0;
  work->on_connect = (struct ldap_conncb){on_connect, on_disconnect, work};
  for (size_t i = 0; !result && i < sizeof options / sizeof *options; i++)
    result = api.set_option(ldap, options[i].option, options[i].value);
  return result;
}

static void keep_name(struct bind_work *work, const char *prefix, const char *name, size_t length) {
  size_t n = strlen(prefix);
  if (n + length >= sizeof work->outcome.name || memchr(name, 0, length))
    return;
  memcpy(work->outcome.name, prefix, n);
  memcpy(work->outcome.name + n, name, length);
  work->outcome.name[n + length] = 0;
}

static void read_name(struct bind_work *work, LDAP *ldap, LDAPMessage *entry) {
  char *name = api.get_dn(ldap, entry);
  if (!name)
    return;
  keep_name(work, "dn:", name, strlen(name));
  api.memfree(name);
}

/* RFC 4532, for users who may not read their own entries. */
static void ask_who(struct bind_work *work, LDAP *ldap) {
  struct berval *name = NULL;
  if (api.whoami_s(ldap, &name, NULL, NULL) == LDAP_SUCCESS && name)
    keep_name(work, "", name->bv_val, name->bv_len);
  if (name)
    api.bvfree(name);
}

/* Read the directory's own name for the user, however the given one was spelled, and the attribute. A user
 * who may log in, but not read this, has no value. */
static void read_entry(struct bind_work *work, LDAP *ldap) {
  static char no_attributes[] = "1.1";
  char *attributes[] = {work->attribute ? work->attribute : no_attributes, NULL};
  LDAPMessage *result = NULL, *entry;
  struct berval **values = NULL;
  if (!api.search_ext_s(ldap, work->dn, LDAP_SCOPE_BASE, "(objectClass=*)", attributes, 0, NULL, NULL, NULL,
                        1, &result) &&
      (entry = api.first_entry(ldap, result))) {
    read_name(work, ldap, entry);
    if (work->attribute)
      values = api.get_values_len(ldap, entry, work->attribute);
  }
  if (values && values[0] && values[0]->bv_len <= VALUE_MAX) {
    work->outcome.value_length = values[0]->bv_len;
    memcpy(work->outcome.value, values[0]->bv_val, values[0]->bv_len);
  }
  if (values)
    api.value_free_len(values);
  if (result)
    api.msgfree(result);
  if (!work->outcome.name[0])
    ask_who(work, ldap);
}

static void bind_as_user(struct bind_work *work, LDAP *ldap) {
  int result = set_options(work, ldap);
  if (result) {
    explain(work, NULL, "the options of the connection cannot be set", result,
            work->ca_file ? ERR_TLS : ERR_IO); /* an unreadable ca_file shows here */
    return;
  }
  if (work->start_tls && (result = api.start_tls_s(ldap, NULL, NULL))) {
    explain(work, ldap, "TLS cannot be started", result, ERR_TLS);
    return;
  }
  result = api.sasl_bind_s(ldap, work->dn, NULL, &work->password, NULL, NULL, NULL);
  if (is_refusal(result))
    explain(work, ldap, "the directory refuses the login", result, ERR_AUTH_FAILED);
  else if (result != LDAP_SUCCESS)
    explain(work, ldap, "the directory cannot be asked", result, ERR_UNREACHABLE);
  else
    read_entry(work, ldap);
}

/* libldap would wait for the writer of a FIFO for ever. */
static bool may_read(const char *ca_file, struct reason *why) {
  return !ca_file || trust_check_file(ca_file, why);
}

/* libldap initialises itself on first use, without a lock against other threads. It may look up the name of
 * this machine, so do this on a thread of the pool. */
static void set_up_library(void) {
  int version;
  api.get_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version);
}

static void bind_work(struct offload *offload) {
  static pthread_once_t set_up = PTHREAD_ONCE_INIT;
  struct bind_work *work = (struct bind_work *)offload;
  LDAP *ldap = NULL;
  int result;
  if (!may_read(work->ca_file, &work->outcome.reason))
    return;
  work->outcome.reason.err = ERR_NONE;
  pthread_once(&set_up, set_up_library);
  result = api.initialize(&ldap, work->url);
  if (result) {
    explain(work, NULL, "the address of the directory is wrong", result, ERR_IO);
    return;
  }
  bind_as_user(work, ldap);
  api.unbind_ext_s(ldap, NULL, NULL);
}

static void bind_finish(struct offload *offload, struct op *op) {
  ((struct bind_op *)op)->outcome = ((struct bind_work *)offload)->outcome;
}

static void bind_destroy(struct offload *offload) {
  struct bind_work *work = (struct bind_work *)offload;
  if (work->fd >= 0)
    close(work->fd);
  uv_mutex_destroy(&work->lock);
  if (work->password.bv_val)
    OPENSSL_cleanse(work->password.bv_val, work->password.bv_len);
  free(work->password.bv_val);
  free(work->url);
  free(work->dn);
  free(work->ca_file);
  free(work->attribute);
  free(work);
}

/* ---- for Lua ------------------------------------------------------------------------------------ */

struct bind_request { /* borrowed from Lua */
  const char *url, *dn, *password, *ca_file, *attribute;
  size_t password_length;
  bool start_tls;
  double timeout;
};

static bool copy_text(char **copy, const char *text) {
  *copy = text ? strdup(text) : NULL;
  return !text || *copy;
}

static struct offload *bind_new(const struct bind_request *request) {
  struct bind_work *work = calloc(1, sizeof *work);
  if (!work || uv_mutex_init(&work->lock)) {
    free(work);
    return NULL;
  }
  assert(api_complete);
  work->offload.work = bind_work;
  work->offload.finish = bind_finish;
  work->offload.destroy = bind_destroy;
  work->offload.interrupt = bind_interrupt;
  work->offload.patience = request->timeout;
  work->fd = -1;
  work->start_tls = request->start_tls;
  work->timeout.tv_sec = (time_t)request->timeout;
  work->timeout.tv_usec = (suseconds_t)((request->timeout - (double)work->timeout.tv_sec) * 1e6);
  work->password.bv_val = malloc(request->password_length);
  if (work->password.bv_val && copy_text(&work->url, request->url) && copy_text(&work->dn, request->dn) &&
      copy_text(&work->ca_file, request->ca_file) && copy_text(&work->attribute, request->attribute)) {
    work->password.bv_len = request->password_length;
    memcpy(work->password.bv_val, request->password, request->password_length);
    return &work->offload;
  }
  bind_destroy(&work->offload);
  return NULL;
}

static void read_request(lua_State *L, struct bind_request *request) {
  luaL_checktype(L, 1, LUA_TTABLE);
  request->url = options_required_text(L, 1, "option", "url", NULL);
  request->dn = options_required_text(L, 1, "option", "dn", NULL);
  request->password = options_required_text(L, 1, "option", "password", &request->password_length);
  request->ca_file = options_text(L, 1, "option", "ca_file", NULL);
  request->attribute = options_text(L, 1, "option", "attribute", NULL);
  request->start_tls = options_boolean(L, 1, "option", "start_tls", false);
  request->timeout = options_seconds(L, 1, "option", "timeout", 5);
}

static int bind_push(lua_State *L, struct op *op) {
  const struct bind_outcome *outcome = &((struct bind_op *)op)->outcome;
  if (outcome->reason.err)
    return fail_reason(L, &outcome->reason);
  lua_pushstring(L, outcome->name);
  if (outcome->value_length == 0)
    return 1;
  lua_pushlstring(L, outcome->value, outcome->value_length);
  return 2;
}

/* core.ldap_bind(request) -> name of the user, value of the attribute */
static int l_ldap_bind(lua_State *L) {
  struct bind_request request;
  struct bind_op *op;
  read_request(L, &request);
  if (request.password_length == 0) /* the directory would accept it as an anonymous bind */
    return fail(L, ERR_AUTH_FAILED, 0, "the password is empty");
  pthread_once(&api_once, load_api);
  if (!api_complete)
    return fail(L, ERR_IO, 0, "OpenLDAP's library is missing: install libldap (%s or %s)", LIBRARIES[0],
                LIBRARIES[1]);
  op = op_new(L, sizeof *op, NULL, "an answer of the directory");
  op->wait.op.push = bind_push;
  reason_set(&op->outcome.reason, ERR_NOMEM, 0, "no memory to ask the directory");
  return offload_wait(L, &op->wait, bind_new(&request));
}

/* core.ldap_ca_file(path) -> true: it holds a certificate */
static int l_ldap_ca_file(lua_State *L) {
  struct reason why;
  if (!may_read(luaL_checkstring(L, 1), &why))
    return fail_reason(L, &why);
  lua_pushboolean(L, 1);
  return 1;
}

void directory_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"ldap_bind", l_ldap_bind}, {"ldap_ca_file", l_ldap_ca_file}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
