/*
 * base/crypto.c - HMAC-SHA-256, base64url and comparison in constant time, for tokens.
 * Lua sees: core.hmac_sha256, core.base64url_encode, core.base64url_decode, core.equal.
 * Owns nothing. No secret appears in a message.
 * SPDX-License-Identifier: MIT
 */
#include "base/crypto.h"

#include <lauxlib.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* core.hmac_sha256(key, data) -> 32 bytes */
static int l_hmac_sha256(lua_State *L) {
  size_t key_length, length;
  const char *key = luaL_checklstring(L, 1, &key_length), *data = luaL_checklstring(L, 2, &length);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_length;
  luaL_argcheck(L, key_length <= INT_MAX, 1, "key too long");
  if (!HMAC(EVP_sha256(), key, (int)key_length, (const unsigned char *)data, length, digest, &digest_length))
    return luaL_error(L, "HMAC-SHA-256 is not available in this OpenSSL");
  lua_pushlstring(L, (const char *)digest, digest_length);
  OPENSSL_cleanse(digest, sizeof digest);
  return 1;
}

/* Encode 1 to 3 bytes as 2 to 4 characters. */
static void encode_group(const unsigned char *bytes, size_t count, char *out) {
  uint32_t bits = (uint32_t)bytes[0] << 16;
  if (count > 1)
    bits |= (uint32_t)bytes[1] << 8;
  if (count > 2)
    bits |= bytes[2];
  for (size_t i = 0; i <= count; i++)
    out[i] = alphabet[bits >> (18 - 6 * i) & 63];
}

/* core.base64url_encode(data), without padding */
static int l_base64url_encode(lua_State *L) {
  size_t length;
  const unsigned char *data = (const unsigned char *)luaL_checklstring(L, 1, &length);
  size_t encoded = length / 3 * 4 + (length % 3 ? length % 3 + 1 : 0);
  luaL_Buffer buffer;
  char *out = luaL_buffinitsize(L, &buffer, encoded);
  for (size_t at = 0; at < length; at += 3, out += 4)
    encode_group(data + at, length - at < 3 ? length - at : 3, out);
  luaL_pushresultsize(&buffer, encoded);
  return 1;
}

static int digit_value(char digit) {
  if (digit >= 'A' && digit <= 'Z')
    return digit - 'A';
  if (digit >= 'a' && digit <= 'z')
    return digit - 'a' + 26;
  if (digit >= '0' && digit <= '9')
    return digit - '0' + 52;
  return digit == '-' ? 62 : digit == '_' ? 63 : -1;
}

/* Only the canonical form is accepted, so that no two texts mean the same signature: no padding,
 * no white space, and the bits left over at the end must be zero. */
bool base64url_decode(const char *text, size_t length, unsigned char *out, size_t *out_length) {
  uint32_t bits = 0;
  int have = 0;
  size_t written = 0;
  for (size_t i = 0; i < length; i++) {
    int value = digit_value(text[i]);
    if (value < 0)
      return false;
    bits = bits << 6 | (uint32_t)value;
    have += 6;
    if (have < 8)
      continue;
    have -= 8;
    out[written++] = (unsigned char)(bits >> have);
    bits &= (1u << have) - 1;
  }
  *out_length = written;
  return have < 6 && bits == 0;
}

/* core.base64url_decode(text) -> data, or nil */
static int l_base64url_decode(lua_State *L) {
  size_t length, decoded;
  const char *text = luaL_checklstring(L, 1, &length);
  luaL_Buffer buffer;
  unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &buffer, BASE64URL_DECODED(length));
  if (base64url_decode(text, length, out, &decoded))
    luaL_pushresultsize(&buffer, decoded);
  else
    lua_pushnil(L);
  return 1;
}

/* core.equal(a, b): constant time for strings of the same length, against timing attacks; lengths are no
 * secret. */
static int l_equal(lua_State *L) {
  size_t a_length, b_length;
  const char *a = luaL_checklstring(L, 1, &a_length), *b = luaL_checklstring(L, 2, &b_length);
  lua_pushboolean(L, a_length == b_length && CRYPTO_memcmp(a, b, a_length) == 0);
  return 1;
}

static const luaL_Reg functions[] = {
    {"hmac_sha256", l_hmac_sha256},
    {"base64url_encode", l_base64url_encode},
    {"base64url_decode", l_base64url_decode},
    {"equal", l_equal},
    {NULL, NULL},
};

void crypto_open(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
