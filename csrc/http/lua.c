/*
 * http/lua.c - core.http: reads the request table, waits for the transfer, builds the response.
 * Lua sees: core.http(request) -> { status, headers, body }.
 * Owns: the waiting call and its result. The request is checked before the call begins to wait, because
 * nothing may raise between op_new and op_wait. SPDX-License-Identifier: MIT
 */
#include "base/field.h"
#include "base/headers.h"
#include "base/options.h"
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

static void check_printable(lua_State *L, const char *text, const char *key) {
  if (text && field_has_control(text, strlen(text)))
    luaL_error(L, "form part field '%s': it contains a control character", key);
}

/* Read the part on top of the stack. */
static void read_part(lua_State *L, struct http_part *part) {
  static const char *const known[] = {"name", "data", "path", "filename", "type", NULL};
  int table = lua_gettop(L);
  if (!lua_istable(L, table))
    luaL_error(L, "option 'form': parts must be tables, got %s", luaL_typename(L, table));
  options_check_names(L, table, "form part field", known);
  part->name = options_required_text(L, table, "form part field", "name", NULL);
  part->data = options_text(L, table, "form part field", "data", &part->length);
  part->path = options_text(L, table, "form part field", "path", NULL);
  part->filename = options_text(L, table, "form part field", "filename", NULL);
  part->type = options_text(L, table, "form part field", "type", NULL);
  if (!part->data == !part->path)
    luaL_error(L, "form part '%s': either 'data' or 'path' expected", part->name);
  check_printable(L, part->type, "type");
}

/* Leaves the array of parts on the stack. */
static void read_form(lua_State *L, struct http_request *request) {
  struct http_part *parts;
  int form = lua_gettop(L) + 1;
  if (options_push(L, 1, "option", "form", LUA_TTABLE) == LUA_TNIL)
    return;
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
  request->url = options_required_text(L, 1, "option", "url", NULL);
  request->method = options_text(L, 1, "option", "method", NULL);
  request->body = options_text(L, 1, "option", "body", &request->body_length);
  request->save_to = options_text(L, 1, "option", "save_to", NULL);
  request->proxy = options_text(L, 1, "option", "proxy", NULL);
  if (request->method && !field_is_token(request->method, strlen(request->method)))
    luaL_error(L, "option 'method': '%s' is not an HTTP method", request->method);
  if (request->save_to && !*request->save_to)
    luaL_error(L, "option 'save_to': it is empty");
  request->resume = options_boolean(L, 1, "option", "resume", false);
  if (request->resume && !request->save_to)
    luaL_error(L, "option 'resume': only together with 'save_to'");
}

/* Keep on_progress with the box (at 2), where at_progress finds it. */
static void read_progress(lua_State *L, struct request_box *box) {
  if (options_push(L, 1, "option", "on_progress", LUA_TFUNCTION) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
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
  options_check_names(L, 1, "option", known);
  read_strings(L, request);
  request->connect_timeout = options_seconds(L, 1, "option", "connect_timeout", 0);
  request->idle_timeout = options_seconds(L, 1, "option", "idle_timeout", 0);
  request->timeout = options_seconds(L, 1, "option", "timeout", 0);
  request->max_body = (size_t)options_integer(L, 1, "option", "max_body", 1, LUA_MAXINTEGER, 0);
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

/* Returns the headers too if the beginning of the body is in the file: the caller needs them to resume. */
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
