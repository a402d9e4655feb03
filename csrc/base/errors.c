/*
 * base/errors.c - the stable names of errors, and the error objects Lua sees.
 * Lua sees: core.Error (their metatable), core.error(name, message, extra), core.error_table().
 * Owns: two constant tables, nothing else. The pushing functions may raise for lack of memory.
 * SPDX-License-Identifier: MIT
 */
#include "base/errors.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ERROR_T "trueconf.Error"
enum { LONGEST_MESSAGE = 512 };

/* Errors of this side of the wire; the index is the value of enum err. */
static const struct local_error {
  const char *name;
  enum err_class class;
  const char *meaning;
} local_errors[ERR_COUNT] = {
    [ERR_NONE] = {"NONE", CLASS_DONE, "no error"},
    [ERR_TIMEOUT] = {"TIMEOUT", CLASS_RETRY, "no answer within the deadline"},
    [ERR_CLOSED] = {"CLOSED", CLASS_REQUEST, "closed by this side"},
    [ERR_DISCONNECTED] = {"DISCONNECTED", CLASS_RETRY, "the connection was lost"},
    [ERR_AUTH_FAILED] = {"AUTH_FAILED", CLASS_FATAL, "the server refuses the credentials"},
    [ERR_TOKEN_EXPIRED] = {"TOKEN_EXPIRED", CLASS_FATAL, "the token has expired and cannot be renewed"},
    [ERR_TLS] = {"TLS", CLASS_FATAL, "TLS handshake or verification failed"},
    [ERR_DNS] = {"DNS", CLASS_RETRY, "the host name cannot be resolved"},
    [ERR_REFUSED] = {"REFUSED", CLASS_RETRY, "nothing listens at this address"},
    [ERR_UNREACHABLE] = {"UNREACHABLE", CLASS_RETRY, "no route to the host"},
    [ERR_HTTP] = {"HTTP", CLASS_REQUEST, "unexpected HTTP status"},
    [ERR_PROTOCOL] = {"PROTOCOL", CLASS_REQUEST, "the other side breaks the protocol"},
    [ERR_LIMIT] = {"LIMIT", CLASS_REQUEST, "a limit was exceeded"},
    [ERR_PLAINTEXT] = {"PLAINTEXT", CLASS_FATAL, "a secret would leave this machine unencrypted"},
    [ERR_IO] = {"IO", CLASS_REQUEST, "the operating system refused"},
    [ERR_CONFIG] = {"CONFIG", CLASS_FATAL, "a setting is wrong"},
    [ERR_NOMEM] = {"NOMEM", CLASS_RETRY, "out of memory"},
    [ERR_CANCELLED] = {"CANCELLED", CLASS_REQUEST, "cancelled by the caller"},
    [ERR_UNSUPPORTED] = {"UNSUPPORTED", CLASS_REQUEST, "the server is too old for it"},
    [ERR_SERVER] = {"SERVER", CLASS_REQUEST, "an error code of the server without a name"},
};

/*
 * The server's errorCode values (protocol, "Error codes"), in ascending order. Names are the
 * published constants with two kinds of exception, so that a name alone always tells what
 * happened: 301 is published as TIMEOUT, which here means this side's own deadline; 399 to 408
 * have no published names, and 404 and 405 must not be confused with 308 and 311.
 */
static const struct server_error {
  int code;
  enum err_class class;
  const char *name, *meaning;
} server_errors[] = {
    {2, CLASS_REQUEST, "DUPLICATE_ID", "a request id was used twice"},
    {100, CLASS_RETRY, "CONNECTION_ERROR", "network trouble behind the server"},
    {101, CLASS_RETRY, "CONNECTION_TIMEOUT", "a connection behind the server timed out"},
    {102, CLASS_FATAL, "TLS_ERROR", "TLS failed behind the server"},
    {103, CLASS_FATAL, "UNSUPPORTED_PROTOCOL", "the server does not speak this protocol or version"},
    {104, CLASS_REQUEST, "ROUTE_NOT_FOUND", "the server has no route there"},
    {200, CLASS_AUTH, "NOT_AUTHORIZED", "the connection is not authorized"},
    {201, CLASS_AUTH, "INVALID_CREDENTIALS", "the server does not accept the token"},
    {202, CLASS_FATAL, "USER_DISABLED", "the account is disabled"},
    {203, CLASS_AUTH, "CREDENTIALS_EXPIRED", "the token has expired"},
    {204, CLASS_FATAL, "UNSUPPORTED_CREDENTIALS", "the server does not know this type of token"},
    {300, CLASS_RETRY, "INTERNAL_ERROR", "internal error of the server"},
    {301, CLASS_RETRY, "OPERATION_TIMEOUT", "the operation took too long; it may have taken effect"},
    {302, CLASS_REQUEST, "ACCESS_DENIED", "access denied"},
    {303, CLASS_REQUEST, "NOT_ENOUGH_RIGHTS", "the role in this chat does not allow it"},
    {304, CLASS_REQUEST, "CHAT_NOT_FOUND", "no such chat"},
    {305, CLASS_REQUEST, "USER_IS_NOT_CHAT_PARTICIPANT", "the user is not a participant of the chat"},
    {306, CLASS_REQUEST, "MESSAGE_NOT_FOUND", "no such message"},
    {307, CLASS_REQUEST, "UNKNOWN_MESSAGE", "the server does not know this kind of message"},
    {308, CLASS_REQUEST, "FILE_NOT_FOUND", "no such file"},
    {309, CLASS_DONE, "USER_IS_ALREADY_CHAT_PARTICIPANT", "the user is already a participant of the chat"},
    {310, CLASS_REQUEST, "FILE_UPLOAD_FAILED", "the file cannot be uploaded: size, name or upload task"},
    {311, CLASS_RETRY, "FILE_NOT_READY", "the file is not ready yet"},
    {312, CLASS_REQUEST, "ROLE_NOT_FOUND", "no such role"},
    {399, CLASS_REQUEST, "WRONG_PAYLOAD_FORMAT", "a field of the request is missing or of a wrong type"},
    {400, CLASS_RETRY, "FILE_ERROR", "unknown error with the file"},
    {401, CLASS_FATAL, "NOT_ENOUGH_SPACE", "no space left on the server's disk"},
    {402, CLASS_REQUEST, "BAD_FILE_NAME", "the server does not accept this file name"},
    {403, CLASS_REQUEST, "FILE_UPLOAD_FORBIDDEN", "the server does not allow this file to be uploaded"},
    {404, CLASS_REQUEST, "UPLOADED_FILE_NOT_FOUND", "the uploaded file is not there"},
    {405, CLASS_RETRY, "UPLOADED_FILE_NOT_READY", "the uploaded file is not ready yet"},
    {406, CLASS_REQUEST, "MAX_FILE_SIZE_EXCEEDED", "the file is too large for the server"},
    {407, CLASS_REQUEST, "UPLOAD_TASK_NOT_FOUND", "no such upload task; begin again with uploadFile"},
    {408, CLASS_REQUEST, "INVALID_FILE", "the server does not accept this file"},
};
enum { SERVER_ERRORS = sizeof server_errors / sizeof server_errors[0] };

static const char *const class_names[] = {
    [CLASS_RETRY] = "retry",     [CLASS_AUTH] = "auth", [CLASS_FATAL] = "fatal",
    [CLASS_REQUEST] = "request", [CLASS_DONE] = "done",
};

static const char *const outcome_names[] = {
    [OUTCOME_NONE] = NULL,
    [OUTCOME_NOT_SENT] = "not_sent",
    [OUTCOME_UNKNOWN] = "unknown",
    [OUTCOME_REJECTED] = "rejected",
};

/* ---- names and classes -------------------------------------------------------------------- */

const char *err_name(enum err err) {
  return local_errors[err].name;
}

enum err err_of_name(const char *name) {
  enum err err = ERR_COUNT - 1;
  while (err > ERR_NONE && strcmp(local_errors[err].name, name) != 0)
    err--;
  return err;
}

static const struct server_error *find_code(int code) {
  for (int i = 0; i < SERVER_ERRORS; i++)
    if (server_errors[i].code == code)
      return &server_errors[i];
  return NULL;
}

const char *server_error_name(int code) {
  const struct server_error *found = find_code(code);
  return found ? found->name : local_errors[ERR_SERVER].name;
}

const char *server_error_meaning(int code) {
  const struct server_error *found = find_code(code);
  return found ? found->meaning : local_errors[ERR_SERVER].meaning;
}

enum err_class server_error_class(int code) {
  const struct server_error *found = find_code(code);
  return found ? found->class : local_errors[ERR_SERVER].class;
}

/* True if the same request may succeed later. For HTTP errors the status decides. */
static bool local_retryable(enum err err, int code) {
  if (err == ERR_HTTP)
    return code >= 500 || code == 404 || code == 408 || code == 429;
  return local_errors[err].class == CLASS_RETRY;
}

/* ---- reasons ------------------------------------------------------------------------------ */

/* Cut an UTF-8 sequence that the end of the buffer has split. */
static void trim_utf8(char *text) {
  size_t length = strlen(text), lead = length;
  unsigned char first;
  size_t needed;
  while (lead > 0 && length - lead < 3 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
    lead--;
  if (lead == 0)
    return;
  first = (unsigned char)text[lead - 1];
  needed = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (needed > length - lead + 1)
    text[lead - 1] = '\0';
}

static void format_message(char *out, size_t size, const char *format, va_list args) {
  int length = vsnprintf(out, size, format, args);
  if (length < 0)
    out[0] = '\0';
  if (length >= (int)size)
    trim_utf8(out);
}

void reason_set(struct reason *reason, enum err err, int code, const char *format, ...) {
  va_list args;
  reason->err = err;
  reason->code = code;
  reason->retry_after = 0;
  va_start(args, format);
  format_message(reason->message, sizeof reason->message, format, args);
  va_end(args);
}

/* ---- error objects ------------------------------------------------------------------------ */

/* Push an error object with the fields that all errors have. */
static void push_object(lua_State *L, const char *name, int code, bool retryable, const char *message) {
  lua_createtable(L, 0, 6);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  if (code) {
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
  }
  lua_pushboolean(L, retryable);
  lua_setfield(L, -2, "retryable");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  luaL_setmetatable(L, ERROR_T);
}

void push_error(lua_State *L, enum err err, int code, const char *message) {
  push_object(L, err_name(err), code, local_retryable(err, code), message);
}

void push_reason(lua_State *L, const struct reason *reason) {
  push_error(L, reason->err, reason->code, reason->message);
  if (reason->retry_after > 0) {
    lua_pushnumber(L, reason->retry_after);
    lua_setfield(L, -2, "retry_after");
  }
}

void push_server_error(lua_State *L, int code, const char *method, const char *description) {
  const char *message = description && *description ? description : server_error_meaning(code);
  push_object(L, server_error_name(code), code, server_error_class(code) == CLASS_RETRY, message);
  /* The one code after which the request may have been carried out. */
  set_outcome(L, code == 301 ? OUTCOME_UNKNOWN : OUTCOME_REJECTED, method);
}

void set_outcome(lua_State *L, enum outcome outcome, const char *method) {
  if (outcome_names[outcome]) {
    lua_pushstring(L, outcome_names[outcome]);
    lua_setfield(L, -2, "outcome");
  }
  if (method) {
    lua_pushstring(L, method);
    lua_setfield(L, -2, "method");
  }
}

int fail(lua_State *L, enum err err, int code, const char *format, ...) {
  char message[LONGEST_MESSAGE];
  va_list args;
  va_start(args, format);
  format_message(message, sizeof message, format, args);
  va_end(args);
  lua_pushnil(L);
  push_error(L, err, code, message);
  return 2;
}

int fail_reason(lua_State *L, const struct reason *reason) {
  lua_pushnil(L);
  push_reason(L, reason);
  return 2;
}

/* ---- what Lua calls ----------------------------------------------------------------------- */

static const struct server_error *find_server_name(const char *name) {
  for (int i = 0; i < SERVER_ERRORS; i++)
    if (strcmp(server_errors[i].name, name) == 0)
      return &server_errors[i];
  return NULL;
}

static enum err find_local_name(const char *name) {
  for (int i = ERR_NONE + 1; i < ERR_COUNT; i++)
    if (strcmp(local_errors[i].name, name) == 0)
      return (enum err)i;
  return ERR_NONE;
}

static bool is_outcome(const char *text) {
  for (int i = OUTCOME_NOT_SENT; i <= OUTCOME_REJECTED; i++)
    if (strcmp(outcome_names[i], text) == 0)
      return true;
  return false;
}

static int bad_extra(lua_State *L, const char *field, const char *expected) {
  return luaL_error(L, "error field '%s': %s expected, got %s", field, expected, luaL_typename(L, -1));
}

/* Check one entry of `extra`: its name at -2, its value at -1. */
static void check_extra(lua_State *L) {
  const char *field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
  if (!field) {
    luaL_error(L, "error field names must be strings, got %s", luaL_typename(L, -2));
  } else if (strcmp(field, "code") == 0) {
    if (!lua_isinteger(L, -1))
      bad_extra(L, field, "integer");
  } else if (strcmp(field, "retry_after") == 0) {
    if (lua_type(L, -1) != LUA_TNUMBER)
      bad_extra(L, field, "number");
  } else if (strcmp(field, "method") == 0 || strcmp(field, "op") == 0) {
    if (lua_type(L, -1) != LUA_TSTRING)
      bad_extra(L, field, "string");
  } else if (strcmp(field, "outcome") == 0) {
    if (lua_type(L, -1) != LUA_TSTRING)
      bad_extra(L, field, "string");
    if (!is_outcome(lua_tostring(L, -1)))
      luaL_error(L, "error field 'outcome': 'not_sent', 'unknown' or 'rejected' expected, got '%s'",
                 lua_tostring(L, -1));
  } else if (strcmp(field, "cause") != 0) {
    luaL_error(L, "unknown error field '%s'", field);
  }
}

/* Check the table at `extra` and copy its entries into the error object on top. */
static void copy_extra(lua_State *L, int extra) {
  lua_pushnil(L);
  while (lua_next(L, extra)) {
    check_extra(L);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
}

static int extra_code(lua_State *L, int extra) {
  int code = 0;
  if (lua_istable(L, extra)) {
    lua_getfield(L, extra, "code");
    code = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  return code;
}

/* core.error(name, message, extra) */
static int l_error(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *message = luaL_checkstring(L, 2);
  const struct server_error *server = find_server_name(name);
  enum err err = find_local_name(name);
  if (!lua_isnoneornil(L, 3))
    luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  if (server)
    push_object(L, name, server->code, server->class == CLASS_RETRY, message);
  else if (err != ERR_NONE)
    push_error(L, err, extra_code(L, 3), message);
  else
    return luaL_error(L, "unknown error name '%s'", name);
  if (lua_istable(L, 3))
    copy_extra(L, 3);
  return 1;
}

/* Append a row of the error table to the list on top. */
static void add_row(lua_State *L, const char *name, int code, enum err_class class, const char *meaning) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  if (code) {
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
  }
  lua_pushstring(L, class_names[class]);
  lua_setfield(L, -2, "class");
  lua_pushstring(L, meaning);
  lua_setfield(L, -2, "meaning");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* core.error_table() */
static int l_error_table(lua_State *L) {
  lua_createtable(L, ERR_COUNT + SERVER_ERRORS, 0);
  for (int i = ERR_NONE + 1; i < ERR_COUNT; i++)
    add_row(L, local_errors[i].name, 0, local_errors[i].class, local_errors[i].meaning);
  for (int i = 0; i < SERVER_ERRORS; i++) {
    const struct server_error *row = &server_errors[i];
    add_row(L, row->name, row->code, row->class, row->meaning);
  }
  return 1;
}

/* "NAME (code): message" */
static int l_error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "name");
  lua_getfield(L, 1, "code");
  lua_getfield(L, 1, "message");
  luaL_tolstring(L, 2, NULL);
  if (!lua_isnil(L, 3)) {
    lua_pushliteral(L, " (");
    luaL_tolstring(L, 3, NULL);
    lua_pushliteral(L, ")");
  }
  lua_pushliteral(L, ": ");
  luaL_tolstring(L, 4, NULL);
  lua_concat(L, lua_gettop(L) - 4);
  return 1;
}

static int l_error_concat(lua_State *L) {
  lua_settop(L, 2);
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

static const luaL_Reg error_methods[] = {
    {"__tostring", l_error_tostring},
    {"__concat", l_error_concat},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"error", l_error},
    {"error_table", l_error_table},
    {NULL, NULL},
};

void errors_open(lua_State *L) {
  if (luaL_newmetatable(L, ERROR_T)) {
    luaL_setfuncs(L, error_methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setfield(L, -2, "Error");
  luaL_setfuncs(L, functions, 0);
}
