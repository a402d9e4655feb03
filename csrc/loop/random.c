/*
 * loop/random.c - the random source, replaced by a seeded one under virtual time.
 * Lua sees: random, uuid.
 * SPDX-License-Identifier: MIT
 */
#include "loop/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
  UNCUT = 256,          /* getrandom never cuts so few bytes short */
  MOST_BYTES = 1 << 20, /* that Lua may ask for at once */
  UUID_LENGTH = 36,
};

/* ---- the seeded source: xorshift128+, for runs that can be repeated, never for the secrets of a real one */

void rt_seed(struct rt *rt, uint64_t seed) {
  rt->virtual.seed[0] = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  rt->virtual.seed[1] = UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t next_seeded(struct rt *rt) {
  uint64_t a = rt->virtual.seed[0], b = rt->virtual.seed[1];
  rt->virtual.seed[0] = b;
  a ^= a << 23;
  rt->virtual.seed[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
  return rt->virtual.seed[1] + b;
}

static void seeded_random(struct rt *rt, unsigned char *bytes, size_t length) {
  while (length) {
    uint64_t x = next_seeded(rt);
    size_t n = length < sizeof x ? length : sizeof x;
    memcpy(bytes, &x, n);
    bytes += n;
    length -= n;
  }
}

/* ---- the system's source, through a pool: every masked frame asks for four bytes ----------------- */

static void system_random(unsigned char *bytes, size_t length) {
  while (length) {
    ssize_t n = getrandom(bytes, length < UNCUT ? length : UNCUT, 0);
    if (n > 0) {
      bytes += n;
      length -= (size_t)n;
    } else if (n < 0 && errno != EINTR) {
      abort(); /* without randomness there are no masks and no tokens: nothing safe is left to do */
    }
  }
}

static void pooled_random(struct rt *rt, unsigned char *bytes, size_t length) {
  while (length) {
    size_t n = length;
    if (!rt->pool_left) {
      system_random(rt->pool, sizeof rt->pool);
      rt->pool_left = sizeof rt->pool;
    }
    if (n > rt->pool_left)
      n = rt->pool_left;
    rt->pool_left -= n;
    memcpy(bytes, rt->pool + rt->pool_left, n);
    memset(rt->pool + rt->pool_left, 0, n); /* used bytes are wiped */
    bytes += n;
    length -= n;
  }
}

void rt_random(struct rt *rt, void *bytes, size_t length) {
  if (rt->virtual.on)
    seeded_random(rt, bytes, length);
  else
    pooled_random(rt, bytes, length);
}

double rt_random_unit(struct rt *rt) {
  uint64_t x;
  rt_random(rt, &x, sizeof x);
  return (double)(x >> 11) / 9007199254740992.0; /* 53 bits */
}

/* ---- Lua ---------------------------------------------------------------------------------------- */

static int l_random(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_Buffer buffer;
  luaL_argcheck(L, n >= 0 && n <= MOST_BYTES, 1, "0 to 1048576 bytes expected");
  rt_random(rt_peek(L), luaL_buffinitsize(L, &buffer, (size_t)n), (size_t)n);
  luaL_pushresultsize(&buffer, (size_t)n);
  return 1;
}

/* RFC 4122, 4.4: random but for six bits. */
static int l_uuid(lua_State *L) {
  unsigned char b[16];
  char text[UUID_LENGTH + 1];
  rt_random(rt_peek(L), b, sizeof b);
  b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
  b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
  snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
           b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  lua_pushlstring(L, text, UUID_LENGTH);
  return 1;
}

void random_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"random", l_random}, {"uuid", l_uuid}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
