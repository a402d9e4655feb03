/*
 * oom_shim.c - lets the n-th allocation that the C core asks for fail, and no other; see tools/oom.
 * Linked into a core of its own by --wrap, so that only calls from the core come here: malloc and its kin,
 * what libraries make for it, and what Lua allocates within a call of its API (twice, since Lua tries again).
 * OOM_AT: which one; 0 or none: none fails. OOM_FOR: how many from there on; default 1. OOM_LOG: a file that
 * gets the name and the address of the first that failed, and at the end the number of all. One thread.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static long count, at, last;
static bool known, told;
static pthread_t main_thread;

static void at_end(void) {
  FILE *log = getenv("OOM_LOG") ? fopen(getenv("OOM_LOG"), "a") : NULL;
  if (log) {
    fprintf(log, "count %ld\n", count);
    fclose(log);
  }
}

static void begin(void) {
  const char *from = getenv("OOM_AT"), *many = getenv("OOM_FOR");
  at = from ? atol(from) : 0;
  last = at + (many ? atol(many) : 1) - 1;
  main_thread = pthread_self();
  known = true;
  atexit(at_end);
}

static void tell(const char *name, void *caller) {
  FILE *log = getenv("OOM_LOG") ? fopen(getenv("OOM_LOG"), "a") : NULL;
  Dl_info info;
  told = true;
  if (!log)
    return;
  fprintf(log, "failed %ld %s %#lx\n", count, name,
          dladdr(caller, &info) ? (unsigned long)((char *)caller - (char *)info.dli_fbase) : 0UL);
  fclose(log);
}

/* Does this allocation fail? Those of helper threads are left alone: their order is not the same twice.
 */
static bool fails(const char *name, void *caller) {
  if (!known)
    begin();
  if (!pthread_equal(pthread_self(), main_thread))
    return false;
  count++;
  if (!at || count < at || count > last)
    return false;
  if (!told)
    tell(name, caller);
  return true;
}

#define FAILS(name) fails(#name, __builtin_return_address(0))

/* ---- C ------------------------------------------------------------------------------------------- */

#define MAKES(type, name, parameters, arguments, failed)                                                     \
  type __real_##name parameters;                                                                             \
  type __wrap_##name parameters {                                                                            \
    if (FAILS(name)) {                                                                                       \
      errno = ENOMEM;                                                                                        \
      return failed;                                                                                         \
    }                                                                                                        \
    return __real_##name arguments;                                                                          \
  }

MAKES(void *, malloc, (size_t size), (size), NULL)
MAKES(void *, calloc, (size_t items, size_t size), (items, size), NULL)
MAKES(void *, realloc, (void *old, size_t size), (old, size), NULL)
MAKES(char *, strdup, (const char *text), (text), NULL)
MAKES(char *, strndup, (const char *text, size_t length), (text, length), NULL)
MAKES(char *, realpath, (const char *path, char *out), (path, out), NULL)

/* ---- libraries ----------------------------------------------------------------------------------- */

MAKES(CURL *, curl_easy_init, (void), (), NULL)
MAKES(CURLM *, curl_multi_init, (void), (), NULL)
MAKES(CURLU *, curl_url, (void), (), NULL)
MAKES(struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *text), (list, text),
      NULL)
MAKES(curl_mime *, curl_mime_init, (CURL * easy), (easy), NULL)
MAKES(curl_mimepart *, curl_mime_addpart, (curl_mime * mime), (mime), NULL)
MAKES(CURLcode, curl_mime_name, (curl_mimepart * part, const char *name), (part, name), CURLE_OUT_OF_MEMORY)
MAKES(CURLcode, curl_mime_filename, (curl_mimepart * part, const char *name), (part, name),
      CURLE_OUT_OF_MEMORY)
MAKES(CURLcode, curl_mime_type, (curl_mimepart * part, const char *name), (part, name), CURLE_OUT_OF_MEMORY)
MAKES(CURLcode, curl_mime_data, (curl_mimepart * part, const char *data, size_t size), (part, data, size),
      CURLE_OUT_OF_MEMORY)
MAKES(CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL *easy), (multi, easy), CURLM_OUT_OF_MEMORY)
MAKES(CURLMcode, curl_multi_assign, (CURLM * multi, curl_socket_t fd, void *to), (multi, fd, to),
      CURLM_OUT_OF_MEMORY)
MAKES(CURLUcode, curl_url_set, (CURLU * url, CURLUPart what, const char *part, unsigned flags),
      (url, what, part, flags), CURLUE_OUT_OF_MEMORY)
MAKES(CURLUcode, curl_url_get, (const CURLU *url, CURLUPart what, char **part, unsigned flags),
      (url, what, part, flags), CURLUE_OUT_OF_MEMORY)

/* Only options whose text libcurl copies can fail; every value goes through as a pointer. */
#undef curl_easy_setopt
CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, void *value);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, void *value);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, void *value) {
  bool copied = option == CURLOPT_URL || option == CURLOPT_PROXY || option == CURLOPT_NOPROXY ||
                option == CURLOPT_PROXYUSERNAME || option == CURLOPT_PROXYPASSWORD ||
                option == CURLOPT_CAINFO || option == CURLOPT_PINNEDPUBLICKEY ||
                option == CURLOPT_COPYPOSTFIELDS || option == CURLOPT_CUSTOMREQUEST ||
                option == CURLOPT_PROTOCOLS_STR;
  if (copied && FAILS(curl_easy_setopt))
    return CURLE_OUT_OF_MEMORY;
  return __real_curl_easy_setopt(easy, option, value);
}

MAKES(int, uv_loop_init, (uv_loop_t * loop), (loop), UV_ENOMEM)
MAKES(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *handle, int fd), (loop, handle, fd), UV_ENOMEM)
MAKES(int, uv_poll_init_socket, (uv_loop_t * loop, uv_poll_t *handle, uv_os_sock_t fd), (loop, handle, fd),
      UV_ENOMEM)
MAKES(int, uv_poll_start, (uv_poll_t * handle, int events, uv_poll_cb done), (handle, events, done),
      UV_ENOMEM)
MAKES(int, uv_signal_init, (uv_loop_t * loop, uv_signal_t *handle), (loop, handle), UV_ENOMEM)
MAKES(int, uv_signal_start, (uv_signal_t * handle, uv_signal_cb done, int number), (handle, done, number),
      UV_ENOMEM)
MAKES(int, uv_getaddrinfo,
      (uv_loop_t * loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done, const char *node,
       const char *service, const struct addrinfo *hints),
      (loop, request, done, node, service, hints), UV_ENOMEM)

MAKES(struct lws_context *, lws_create_context, (const struct lws_context_creation_info *info), (info), NULL)
MAKES(struct lws_vhost *, lws_create_vhost,
      (struct lws_context * context, const struct lws_context_creation_info *info), (context, info), NULL)
MAKES(struct lws *, lws_client_connect_via_info, (const struct lws_client_connect_info *info), (info), NULL)
MAKES(struct lws *, lws_adopt_descriptor_vhost_via_info, (const lws_adopt_desc_t *info), (info), NULL)
MAKES(int, lws_set_proxy, (struct lws_vhost * vhost, const char *proxy), (vhost, proxy), -1)

MAKES(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method), NULL)
MAKES(SSL *, SSL_new, (SSL_CTX * context), (context), NULL)
MAKES(int, SSL_CTX_load_verify_locations, (SSL_CTX * context, const char *file, const char *folder),
      (context, file, folder), 0)
MAKES(int, SSL_CTX_set_default_verify_paths, (SSL_CTX * context), (context), 0)
MAKES(int, SSL_set1_host, (SSL * ssl, const char *host), (ssl, host), 0)

/* ---- Lua ----------------------------------------------------------------------------------------- */

static lua_Alloc allocator; /* Lua's own */
static const char *api;     /* the function of the API that the core is in */
static void *api_caller;
static int refusing; /* how often this allocation has still to fail */

/* Lua tries again after a collection; the second refusal raises, and the call does not come back. */
static void *allocate(void *data, void *old, size_t old_size, size_t size) {
  bool grows = size > 0 && (!old || size > old_size);
  if (grows && api && !refusing && fails(api, api_caller))
    refusing = 2;
  if (grows && refusing) {
    if (--refusing == 0)
      api = NULL;
    return NULL;
  }
  return allocator(data, old, old_size, size);
}

static void enter(lua_State *L, const char *name, void *caller) {
  void *data;
  lua_Alloc now = lua_getallocf(L, &data);
  if (now != allocate) {
    allocator = now;
    lua_setallocf(L, allocate, data);
  }
  api = name;
  api_caller = caller;
}

#define ENTER(name) enter(L, #name, __builtin_return_address(0))

#define IN_LUA(type, name, parameters, arguments)                                                            \
  type __real_##name parameters;                                                                             \
  type __wrap_##name parameters {                                                                            \
    type result;                                                                                             \
    ENTER(name);                                                                                             \
    result = __real_##name arguments;                                                                        \
    api = NULL;                                                                                              \
    return result;                                                                                           \
  }

#define IN_LUA_VOID(name, parameters, arguments)                                                             \
  void __real_##name parameters;                                                                             \
  void __wrap_##name parameters {                                                                            \
    ENTER(name);                                                                                             \
    __real_##name arguments;                                                                                 \
    api = NULL;                                                                                              \
  }

#define IN_BUFFER(type, name, parameters, arguments)                                                         \
  type __real_##name parameters;                                                                             \
  type __wrap_##name parameters {                                                                            \
    type result;                                                                                             \
    enter(buffer->L, #name, __builtin_return_address(0));                                                    \
    result = __real_##name arguments;                                                                        \
    api = NULL;                                                                                              \
    return result;                                                                                           \
  }

#define IN_BUFFER_VOID(name, parameters, arguments)                                                          \
  void __real_##name parameters;                                                                             \
  void __wrap_##name parameters {                                                                            \
    enter(buffer->L, #name, __builtin_return_address(0));                                                    \
    __real_##name arguments;                                                                                 \
    api = NULL;                                                                                              \
  }

IN_LUA_VOID(lua_createtable, (lua_State * L, int items, int fields), (L, items, fields))
IN_LUA(void *, lua_newuserdatauv, (lua_State * L, size_t size, int values), (L, size, values))
IN_LUA(lua_State *, lua_newthread, (lua_State * L), (L))
IN_LUA(const char *, lua_pushlstring, (lua_State * L, const char *text, size_t length), (L, text, length))
IN_LUA(const char *, lua_pushstring, (lua_State * L, const char *text), (L, text))
IN_LUA_VOID(lua_pushcclosure, (lua_State * L, lua_CFunction function, int values), (L, function, values))
IN_LUA_VOID(lua_rawset, (lua_State * L, int index), (L, index))
IN_LUA_VOID(lua_rawseti, (lua_State * L, int index, lua_Integer key), (L, index, key))
IN_LUA_VOID(lua_rawsetp, (lua_State * L, int index, const void *key), (L, index, key))
IN_LUA_VOID(lua_concat, (lua_State * L, int count), (L, count))
IN_LUA(int, lua_checkstack, (lua_State * L, int count), (L, count))
IN_LUA_VOID(luaL_checkstack, (lua_State * L, int count, const char *text), (L, count, text))
IN_LUA(const char *, lua_tolstring, (lua_State * L, int index, size_t *length), (L, index, length))
IN_BUFFER_VOID(luaL_addlstring, (luaL_Buffer * buffer, const char *text, size_t length),
               (buffer, text, length))
IN_BUFFER_VOID(luaL_addvalue, (luaL_Buffer * buffer), (buffer))
IN_BUFFER(char *, luaL_prepbuffsize, (luaL_Buffer * buffer, size_t size), (buffer, size))
IN_BUFFER_VOID(luaL_pushresult, (luaL_Buffer * buffer), (buffer))
IN_LUA(char *, luaL_buffinitsize, (lua_State * L, luaL_Buffer *buffer, size_t size), (L, buffer, size))
IN_LUA_VOID(luaL_traceback, (lua_State * L, lua_State *of, const char *text, int level), (L, of, text, level))

const char *__wrap_lua_pushfstring(lua_State *L, const char *format, ...);
const char *__wrap_lua_pushfstring(lua_State *L, const char *format, ...) {
  const char *text;
  va_list values;
  va_start(values, format);
  ENTER(lua_pushfstring);
  text = lua_pushvfstring(L, format, values);
  api = NULL;
  va_end(values);
  return text;
}
