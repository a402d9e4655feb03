/*
 * http/lua.c - core.http: reads the request table, waits for the transfer, builds the response.
 * Lua sees: core.http(request) -> { status, headers, body }.
 * Owns: the waiting call and what it received. All of it is checked before the call begins to wait,
 * because nothing may raise between op_new and op_wait.
 * SPDX-License-Identifier: MIT
 */
#include "base/headers.h"
#include "http/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_T "trueconf.HttpRequest"
#define CALL_T "trueconf.HttpCall"
static const char BOXES_KEY; /* registry: the boxes with an on_progress, by address, weak */

/* The request and, as its user value, on_progress. A userdata, so that what is copied is freed if a
 * later check raises. */
struct request_box {
  struct http_request request;
  struct tls_options tls;
  struct headers headers;
};

struct call {
  struct op op;
  struct request_box *box;        /* kept alive as the user value of the call */
  struct http_transfer *transfer; /* NULL: over */
  int status;
  double retry_after;
  bool saved, kept;
  struct buffer headers, body;
  struct reason reason;
};

/* ---- progress ------------------------------------------------------------------------------- */

static void at_progress(struct rt *rt, lua_State *L, void *owner, const struct http_progress *progress) {
  struct call *call = owner;
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &BOXES_KEY);
  if (lua_rawgetp(L, -1, call->box) == LUA_TUSERDATA && lua_getiuservalue(L, -1, 1) == LUA_TFUNCTION) {
    lua_pushinteger(L, progress->sent);
    lua_pushinteger(L, progress->to_send);
    lua_pushinteger(L, progress->received);
    lua_pushinteger(L, progress->to_receive);
    rt_call(rt, L, 4, "on_progress");
  }
  lua_settop(L, top);
}

/* ---- reading the request -------------------------------------------------------------------- */

/* No metamethods: what they made would be collected before it is used. */
static int raw_field(lua_State *L, int table, const char *key) {
  lua_pushstring(L, key);
  return lua_rawget(L, table);
}

/* The string `key` of the table, which stays alive as long as the table does. */
static const char *string_option(lua_State *L, int table, const char *key, const char *what, size_t *length) {
  const char *value;
  size_t own;
  int type = raw_field(L, table, key);
  if (type != LUA_TNIL && type != LUA_TSTRING)
    luaL_error(L, "%s '%s': string expected, got %s", what, key, luaL_typename(L, -1));
  value = type == LUA_TNIL ? NULL : lua_tolstring(L, -1, &own);
  if (value && length)
    *length = own;
  else if (value && strlen(value) != own)
    luaL_error(L, "%s '%s': it contains a zero byte", what, key);
  lua_pop(L, 1);
  return value;
}

static double seconds_option(lua_State *L, const char *key) {
  double seconds;
  int type = raw_field(L, 1, key);
  if (type != LUA_TNIL && type != LUA_TNUMBER)
    luaL_error(L, "option '%s': number expected, got %s", key, luaL_typename(L, -1));
  seconds = type == LUA_TNIL ? 0 : lua_tonumber(L, -1);
  if (type != LUA_TNIL && !(seconds > 0 && seconds <= 1e7))
    luaL_error(L, "option '%s': seconds above 0 expected, got %f", key, seconds);
  lua_pop(L, 1);
  return seconds;
}

static size_t size_option(lua_State *L, const char *key) {
  lua_Integer size;
  int type = raw_field(L, 1, key);
  if (type != LUA_TNIL && !lua_isinteger(L, -1))
    luaL_error(L, "option '%s': integer expected, got %s", key, luaL_typename(L, -1));
  size = lua_tointeger(L, -1);
  if (type != LUA_TNIL && size <= 0)
    luaL_error(L, "option '%s': bytes above 0 expected, got %I", key, size);
  lua_pop(L, 1);
  return (size_t)size;
}

static bool is_known(const char *key, const char *const known[]) {
  for (; *known; known++)
    if (strcmp(*known, key) == 0)
      return true;
  return false;
}

/* Refuse keys of the table on top that are not in the list. */
static void check_keys(lua_State *L, const char *const known[], const char *what) {
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_type(L, -2) != LUA_TSTRING || !is_known(lua_tostring(L, -2), known))
      luaL_error(L, "unknown %s '%s'", what, luaL_tolstring(L, -2, NULL));
    lua_pop(L, 1);
  }
}

static void check_printable(lua_State *L, const char *text, const char *key) {
  if (text && header_has_control(text, strlen(text)))
    luaL_error(L, "form part '%s': it contains a control character", key);
}

/* Read the part on top of the stack. */
static void read_part(lua_State *L, struct http_part *part) {
  static const char *const known[] = {"name", "data", "path", "filename", "type", NULL};
  int table = lua_gettop(L);
  if (!lua_istable(L, table))
    luaL_error(L, "option 'form': parts must be tables, got %s", luaL_typename(L, table));
  check_keys(L, known, "form part field");
  part->name = string_option(L, table, "name", "form part", NULL);
  part->data = string_option(L, table, "data", "form part", &part->length);
  part->path = string_option(L, table, "path", "form part", NULL);
  part->filename = string_option(L, table, "filename", "form part", NULL);
  part->type = string_option(L, table, "type", "form part", NULL);
  if (!part->name)
    luaL_error(L, "form part 'name': string expected, got nil");
  if (!part->data == !part->path)
    luaL_error(L, "form part '%s': either 'data' or 'path' expected", part->name);
  check_printable(L, part->type, "type");
}

/* Leaves the array of parts on the stack. */
static void read_form(lua_State *L, struct http_request *request) {
  struct http_part *parts;
  int form = lua_gettop(L) + 1;
  if (raw_field(L, 1, "form") == LUA_TNIL)
    return;
  if (!lua_istable(L, form))
    luaL_error(L, "option 'form': table expected, got %s", luaL_typename(L, form));
  request->part_count = (size_t)lua_rawlen(L, form);
  if (!request->part_count)
    luaL_error(L, "option 'form': at least one part expected");
  if (request->body)
    luaL_error(L, "option 'form': not together with 'body'");
  parts = lua_newuserdatauv(L, request->part_count * sizeof *parts, 0);
  memset(parts, 0, request->part_count * sizeof *parts);
  for (size_t i = 0; i < request->part_count; i++) {
    lua_rawgeti(L, form, (lua_Integer)i + 1);
    read_part(L, &parts[i]);
    lua_pop(L, 1);
  }
  request->parts = parts;
}

static void read_strings(lua_State *L, struct http_request *request) {
  request->url = string_option(L, 1, "url", "option", NULL);
  request->method = string_option(L, 1, "method", "option", NULL);
  request->body = string_option(L, 1, "body", "option", &request->body_length);
  request->save_to = string_option(L, 1, "save_to", "option", NULL);
  request->proxy = string_option(L, 1, "proxy", "option", NULL);
  if (!request->url)
    luaL_error(L, "option 'url': string expected, got nil");
  if (request->method && !header_is_token(request->method, strlen(request->method)))
    luaL_error(L, "option 'method': '%s' is not an HTTP method", request->method);
  if (request->save_to && !*request->save_to)
    luaL_error(L, "option 'save_to': it is empty");
}

static void read_resume(lua_State *L, struct http_request *request) {
  int type = raw_field(L, 1, "resume");
  if (type != LUA_TNIL && type != LUA_TBOOLEAN)
    luaL_error(L, "option 'resume': boolean expected, got %s", luaL_typename(L, -1));
  request->resume = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (request->resume && !request->save_to)
    luaL_error(L, "option 'resume': only together with 'save_to'");
}

/* Keep on_progress with the box (at 2), where at_progress finds it. */
static void read_progress(lua_State *L, struct request_box *box) {
  int type = raw_field(L, 1, "on_progress");
  if (type == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  if (type != LUA_TFUNCTION)
    luaL_error(L, "option 'on_progress': function expected, got %s", luaL_typename(L, -1));
  lua_setiuservalue(L, 2, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &BOXES_KEY);
  lua_pushvalue(L, 2);
  lua_rawsetp(L, -2, box);
  lua_pop(L, 1);
  box->request.progress = at_progress;
}

static void read_request(lua_State *L, struct request_box *box) {
  static const char *const known[] = {"method",   "url",         "headers",         "body",         "form",
                                      "save_to",  "on_progress", "connect_timeout", "idle_timeout", "timeout",
                                      "max_body", "tls",         "proxy",           "resume",       NULL};
  struct http_request *request = &box->request;
  lua_pushvalue(L, 1);
  check_keys(L, known, "option");
  lua_pop(L, 1);
  read_strings(L, request);
  read_resume(L, request);
  request->connect_timeout = seconds_option(L, "connect_timeout");
  request->idle_timeout = seconds_option(L, "idle_timeout");
  request->timeout = seconds_option(L, "timeout");
  request->max_body = size_option(L, "max_body");
  if (tls_options_read(L, 1, "tls", &box->tls))
    request->tls = &box->tls;
  read_progress(L, box);
  headers_read(L, 1, "headers", &box->headers);
  request->headers = (const char *const *)box->headers.lines;
  read_form(L, request);
}

static struct request_box *new_request(lua_State *L) {
  struct request_box *box = lua_newuserdatauv(L, sizeof *box, 1);
  memset(box, 0, sizeof *box);
  tls_options_init(&box->tls);
  luaL_setmetatable(L, REQUEST_T);
  return box;
}

static int l_request_gc(lua_State *L) {
  struct request_box *box = lua_touserdata(L, 1);
  tls_options_free(&box->tls);
  headers_free(&box->headers);
  return 0;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void at_done(void *owner, int status, const char *body, size_t length, const struct reason *reason) {
  struct call *call = owner;
  const char *headers = http_headers(call->transfer, &length);
  (void)body;
  call->status = status;
  call->retry_after = http_retry_after(call->transfer);
  call->saved = http_saved(call->transfer);
  call->kept = http_kept(call->transfer);
  if (reason)
    call->reason = *reason;
  if ((!reason || call->kept) && !buffer_append(&call->headers, headers, length))
    reason_set(&call->reason, ERR_NOMEM, 0, "no memory for the headers");
  http_take_body(call->transfer, &call->body);
  call->transfer = NULL;
  op_settle(&call->op);
}

static void call_cancel(struct op *op) {
  struct call *call = (struct call *)op;
  if (call->transfer)
    http_cancel(call->transfer);
  call->transfer = NULL;
}

static int l_call_gc(lua_State *L) {
  struct call *call = lua_touserdata(L, 1);
  call_cancel(&call->op);
  buffer_free(&call->headers);
  buffer_free(&call->body);
  return 0;
}

/* Headers that come several times are joined, as HTTP allows. */
static void push_headers(lua_State *L, const struct buffer *headers) {
  const char *at = headers->data, *end = at ? at + headers->length : NULL; /* an answer may have no headers */
  lua_newtable(L);
  while (at < end) {
    const char *name = at, *value = name + strlen(name) + 1;
    if (lua_getfield(L, -1, name) == LUA_TSTRING)
      lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), value);
    else
      lua_pushstring(L, value);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
    at = value + strlen(value) + 1;
  }
}

/* With the headers of an answer whose beginning is in the file: they tell how to go on with it. */
static int push_failure(lua_State *L, const struct call *call) {
  fail_reason(L, &call->reason);
  if (!call->kept)
    return 2;
  push_headers(L, &call->headers);
  return 3;
}

static int call_push(lua_State *L, struct op *op) {
  struct call *call = (struct call *)op;
  if (call->reason.err)
    return push_failure(L, call);
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, call->status);
  lua_setfield(L, -2, "status");
  push_headers(L, &call->headers);
  lua_setfield(L, -2, "headers");
  if (call->retry_after > 0) {
    lua_pushnumber(L, call->retry_after);
    lua_setfield(L, -2, "retry_after");
  }
  if (!call->saved) {
    lua_pushlstring(L, call->body.data ? call->body.data : "", call->body.length);
    lua_setfield(L, -2, "body");
  }
  buffer_free(&call->headers);
  buffer_free(&call->body);
  return 1;
}

/* core.http(request) */
static int l_http(lua_State *L) {
  struct request_box *box;
  struct call *call;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  box = new_request(L);
  read_request(L, box);
  call = op_new(L, sizeof *call, CALL_T, "an HTTP response");
  call->op.push = call_push;
  call->op.cancel = call_cancel;
  call->box = box;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  call->transfer = http_start(call->op.rt, &box->request, at_done, call);
  tls_options_free(&box->tls);
  headers_free(&box->headers);
  if (!call->transfer) {
    reason_set(&call->reason, ERR_NOMEM, 0, "no memory for a transfer");
    op_settle(&call->op);
  }
  return op_wait(L, &call->op);
}

/* ---- registration --------------------------------------------------------------------------- */

static void new_weak_table(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

void http_open(lua_State *L) {
  static const luaL_Reg request_type[] = {{"__gc", l_request_gc}, {NULL, NULL}};
  static const luaL_Reg call_type[] = {{"__gc", l_call_gc}, {NULL, NULL}};
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    luaL_error(L, "libcurl cannot be initialized");
  rt_new_type(L, REQUEST_T, NULL, request_type);
  rt_new_type(L, CALL_T, NULL, call_type);
  new_weak_table(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &BOXES_KEY);
  lua_pushcfunction(L, l_http);
  lua_setfield(L, -2, "http");
}
