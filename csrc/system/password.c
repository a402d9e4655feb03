/*
 * system/password.c - passwords as crypt(3) keeps them, by yescrypt.
 * Lua sees: core.crypt_salt, core.crypt_hash, core.crypt_hash_now, core.crypt_verify.
 * Hashing is slow and needs much memory, by design; it runs on the thread pool. Copies of a password are
 * wiped. SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/errors.h"
#include "loop/offload.h"

#include <assert.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { SALT_BYTES = 16, COST_DEFAULT = 5, COST_MAX = 11 };

struct password_work {
  struct offload offload;
  char password[CRYPT_MAX_PASSPHRASE_SIZE];
  char setting[CRYPT_OUTPUT_SIZE]; /* a salt, or a hash, which begins with one */
  struct crypt_data data;
};

struct password_op {
  struct offload_op wait;
  char hash[CRYPT_OUTPUT_SIZE]; /* empty: there is none */
  char expected[CRYPT_OUTPUT_SIZE];
};

static void password_work(struct offload *offload) {
  struct password_work *work = (struct password_work *)offload;
  if (!crypt_rn(work->password, work->setting, &work->data, sizeof work->data))
    work->data.output[0] = 0;
}

static void password_finish(struct offload *offload, struct op *op) {
  memcpy(((struct password_op *)op)->hash, ((struct password_work *)offload)->data.output, CRYPT_OUTPUT_SIZE);
}

static void password_destroy(struct offload *offload) {
  OPENSSL_cleanse(offload, sizeof(struct password_work));
  free(offload);
}

/* crypt(3) cuts a password at its first NUL and at its longest length: a cut one would match other passwords.
 */
static bool is_hashable(const char *password, size_t length) {
  return length < CRYPT_MAX_PASSPHRASE_SIZE && !memchr(password, 0, length);
}

static struct offload *password_new(const char *password, const char *setting) {
  struct password_work *work = calloc(1, sizeof *work);
  if (!work)
    return NULL;
  work->offload.work = password_work;
  work->offload.finish = password_finish;
  work->offload.destroy = password_destroy;
  assert(strlen(password) < sizeof work->password && strlen(setting) < sizeof work->setting);
  memcpy(work->password, password, strlen(password) + 1);
  memcpy(work->setting, setting, strlen(setting) + 1);
  return &work->offload;
}

static void make_salt(lua_State *L, int cost_index, char *salt) {
  lua_Integer cost = luaL_optinteger(L, cost_index, COST_DEFAULT);
  char random[SALT_BYTES];
  luaL_argcheck(L, cost >= 1 && cost <= COST_MAX, cost_index, "a cost from 1 to 11 expected");
  rt_random(rt_get(L), random, sizeof random);
  if (!crypt_gensalt_rn("$y$", (unsigned long)cost, random, sizeof random, salt, CRYPT_GENSALT_OUTPUT_SIZE))
    luaL_error(L, "yescrypt is not available in this libcrypt");
}

/* core.crypt_salt([cost]) */
static int l_crypt_salt(lua_State *L) {
  char salt[CRYPT_GENSALT_OUTPUT_SIZE];
  make_salt(L, 1, salt);
  lua_pushstring(L, salt);
  return 1;
}

static int push_hash(lua_State *L, struct op *op) {
  const char *hash = ((struct password_op *)op)->hash;
  if (*hash != '$')
    return fail(L, ERR_NOMEM, 0, "the password could not be hashed");
  lua_pushstring(L, hash);
  return 1;
}

/* The password at 1, and a new salt of the cost at 2; NULL: it has none, and nil and an error are pushed. */
static const char *read_password(lua_State *L, char *salt) {
  size_t length;
  const char *password = luaL_checklstring(L, 1, &length);
  make_salt(L, 2, salt);
  if (is_hashable(password, length))
    return password;
  fail(L, ERR_LIMIT, 0, "a password must be shorter than %d bytes and without NUL",
       CRYPT_MAX_PASSPHRASE_SIZE);
  return NULL;
}

/* core.crypt_hash_now(password[, cost]) */
static int l_crypt_hash_now(lua_State *L) {
  char salt[CRYPT_GENSALT_OUTPUT_SIZE];
  const char *password = read_password(L, salt);
  struct offload *offload;
  struct password_op result = {0};
  if (!password)
    return 2;
  offload = password_new(password, salt);
  if (offload) {
    password_work(offload);
    password_finish(offload, &result.wait.op);
    password_destroy(offload);
  }
  return push_hash(L, &result.wait.op);
}

/* core.crypt_hash(password[, cost]) */
static int l_crypt_hash(lua_State *L) {
  char salt[CRYPT_GENSALT_OUTPUT_SIZE];
  const char *password = read_password(L, salt);
  struct password_op *op;
  if (!password)
    return 2;
  op = op_new(L, sizeof *op, NULL, "a password to be hashed");
  op->wait.op.push = push_hash;
  return offload_wait(L, &op->wait, password_new(password, salt));
}

static int push_verdict(lua_State *L, struct op *op) {
  const struct password_op *verify = (struct password_op *)op;
  size_t length = strlen(verify->hash);
  lua_pushboolean(L, length > 0 && length == strlen(verify->expected) &&
                         CRYPTO_memcmp(verify->hash, verify->expected, length) == 0);
  return 1;
}

/* core.crypt_verify(password, hash) */
static int l_crypt_verify(lua_State *L) {
  size_t length, hash_length;
  const char *password = luaL_checklstring(L, 1, &length), *hash = luaL_checklstring(L, 2, &hash_length);
  struct password_op *op;
  luaL_argcheck(L, hash_length < CRYPT_OUTPUT_SIZE, 2, "this is not a hash of crypt(3)");
  op = op_new(L, sizeof *op, NULL, "a password to be checked");
  op->wait.op.push = push_verdict;
  if (is_hashable(password, length))
    memcpy(op->expected, hash, strlen(hash) + 1);
  else
    password = ""; /* takes the same time, and matches nothing */
  return offload_wait(L, &op->wait, password_new(password, hash));
}

void password_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"crypt_salt", l_crypt_salt},
                                       {"crypt_hash", l_crypt_hash},
                                       {"crypt_hash_now", l_crypt_hash_now},
                                       {"crypt_verify", l_crypt_verify},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
