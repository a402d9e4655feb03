/*
 * session/token.c - the source of the access token, its expiry, and the file it is kept in (protocol 3).
 * Sources: a ready token, the password grant over HTTP, or a Lua function that waits.
 * SPDX-License-Identifier: MIT
 */
#include "session/private.h"

#include "base/crypto.h"
#include "base/plain_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MS_PER_DAY INT64_C(86400000)
enum {
  MARGIN_MS = 5000,        /* a token this close to its end is not used for another connect */
  TOKEN_DAYS = 30,         /* lifetime of a token without a readable expiry */
  MOST_TOKEN_FILE = 65536, /* bytes */
  MOST_GRANTS = 16         /* token requests at once; a transfer holds tens of KiB */
};
static const double EPOCH_MS = 1e11; /* a larger "expires_in" is a point in time in milliseconds */

/* Wipe and free a secret. */
static void wipe(struct buffer *buffer) {
  if (buffer->data)
    explicit_bzero(buffer->data, buffer->capacity);
  buffer_free(buffer);
}

/* ---- expiry -------------------------------------------------------------------------------------- */

/* The `exp` claim of a three-part token, in seconds; 0: not readable. */
static double claimed_expiry(const char *token) {
  const char *body = strchr(token, '.'), *end = body ? strchr(body + 1, '.') : NULL;
  size_t length = end ? (size_t)(end - body - 1) : 0;
  struct buffer claims = {0};
  struct slice value;
  double exp = 0;
  if (!end || !buffer_reserve(&claims, BASE64URL_DECODED(length)))
    return 0;
  if (!base64url_decode(body + 1, length, (unsigned char *)claims.data, &claims.length) ||
      !scan_find((struct slice){claims.data, claims.length}, "exp", &value) || !scan_number(value, &exp))
    exp = 0;
  buffer_free(&claims);
  return exp;
}

/* A server or a function may give any number. */
static int64_t point_in_time(double ms) {
  static const double last = 9e15;
  if (!(ms > 0))
    return 1; /* long ago; 0 would mean unknown */
  return (int64_t)(ms < last ? ms : last);
}

int64_t token_expiry(struct slice answer, const char *token, int64_t now) {
  struct slice value;
  double number;
  if (scan_find(answer, "expires_at", &value) && scan_number(value, &number) && number > 0)
    return point_in_time(number > EPOCH_MS ? number : number * 1000);
  number = claimed_expiry(token);
  if (number > 0)
    return point_in_time(number * 1000);
  if (scan_find(answer, "expires_in", &value) && scan_number(value, &number) && number > EPOCH_MS)
    return point_in_time(number);
  return now + TOKEN_DAYS * MS_PER_DAY;
}

bool token_usable(struct session *session) {
  if (!session->token)
    return false;
  if (session->config.fixed_token)
    return true; /* let the server judge it */
  return !session->token_expires || session->token_expires - MARGIN_MS > rt_now(session->rt);
}

bool token_renewable(const struct session *session) {
  return !session->config.fixed_token;
}

/* ---- the file ------------------------------------------------------------------------------------ */

static bool field_is(struct slice object, const char *key, const char *expected) {
  struct buffer text = {0};
  struct slice value;
  bool same = scan_find(object, key, &value) && scan_string(value, &text) &&
              text.length == strlen(expected) && (!text.length || !memcmp(text.data, expected, text.length));
  buffer_free(&text);
  return same;
}

static void set_token(struct session *session, const char *token, size_t length, int64_t expires) {
  token_forget(session);
  session->token = strndup(token, length);
  session->token_expires = expires;
}

/* There will be another try. */
static void out_of_memory(struct session *session) {
  struct reason reason;
  reason_set(&reason, ERR_NOMEM, 0, "no memory for the token");
  session_reason(session, &reason);
  session_event(session, EVENT_TOKEN_ERROR);
}

static const char *or_empty(const char *text) {
  return text ? text : "";
}

void token_load(struct session *session) {
  struct session_config *config = &session->config;
  struct buffer text = {0}, token = {0};
  struct slice value, file;
  struct reason why;
  double expires;
  if (!config->token_file || config->fixed_token || session->token || session->file_read)
    return;
  session->file_read = true; /* once: later tokens are newer, and a refused token stays refused */
  if (plain_file_read_private(config->token_file, MOST_TOKEN_FILE, 0, &text, &why) && text.length) {
    file = (struct slice){text.data, text.length};
    if (field_is(file, "token_url", or_empty(config->token_url)) &&
        field_is(file, "username", or_empty(config->username)) && scan_find(file, "access_token", &value) &&
        scan_string(value, &token) && token.length && scan_find(file, "expires", &value) &&
        scan_number(value, &expires))
      set_token(session, token.data, token.length, point_in_time(expires));
  }
  wipe(&text);
  wipe(&token);
}

static bool token_text(const struct session *session, struct buffer *text) {
  const struct session_config *config = &session->config;
  return buffer_puts(text, "{\"token_url\":") &&
         scan_quote(text, or_empty(config->token_url), strlen(or_empty(config->token_url))) &&
         buffer_puts(text, ",\"username\":") &&
         scan_quote(text, or_empty(config->username), strlen(or_empty(config->username))) &&
         buffer_printf(text, ",\"expires\":%lld,\"access_token\":", (long long)session->token_expires) &&
         scan_quote(text, session->token, strlen(session->token)) && buffer_puts(text, "}\n");
}

static bool write_token(const struct session *session, const char *path, struct reason *why) {
  struct buffer text = {0};
  struct replacement file;
  bool ok = token_text(session, &text);
  if (!ok)
    reason_set(why, ERR_NOMEM, 0, "no memory is left to write %s", path);
  ok = ok && replacement_fill(&file, path, S_IRUSR | S_IWUSR, text.data, text.length, why) &&
       replacement_commit(&file, false, why);
  wipe(&text);
  return ok;
}

/* A token that cannot be saved is no failure: the next start asks for another one. Hence the loop does not
 * wait for the disk either. The failure is reported once, until saving succeeds again. */
static void token_save(struct session *session) {
  const char *path = session->config.token_file;
  struct reason why;
  bool told = session->unsaved;
  if (!path)
    return;
  session->unsaved = !write_token(session, path, &why);
  if (session->unsaved && !told)
    session_unsaved(session, &why);
}

void token_forget(struct session *session) {
  if (session->token)
    explicit_bzero(session->token, strlen(session->token));
  free(session->token);
  session->token = NULL;
  session->token_expires = 0;
}

static void token_arrived(struct session *session, const char *token, size_t length, int64_t expires) {
  set_token(session, token, length, expires);
  session->renewed = true;
  if (!session->token) {
    out_of_memory(session);
    return;
  }
  token_save(session);
  session_event(session, EVENT_TOKEN_OK);
}

/* ---- the password grant (protocol 3.1, 3.2) ------------------------------------------------------ */

static enum event classify(struct session *session, int status, struct slice answer, double wait) {
  struct buffer error = {0}, words = {0};
  struct slice value;
  struct reason reason;
  const char *name = "", *description = "";
  enum event event = EVENT_TOKEN_ERROR;
  if (scan_find(answer, "error", &value) && scan_string(value, &error) && buffer_append(&error, "", 1))
    name = error.data;
  if (scan_find(answer, "error_description", &value) && scan_string(value, &words) &&
      buffer_append(&words, "", 1))
    description = words.data;
  if (status == 401 || status == 403 || (status == 400 && !strcmp(name, "invalid_grant")))
    event = EVENT_TOKEN_DENIED;
  else if (status == 400 && *name)
    event = EVENT_TOKEN_REJECTED;
  reason_set(&reason, event == EVENT_TOKEN_ERROR ? ERR_HTTP : ERR_AUTH_FAILED, status,
             "the token endpoint answered HTTP %d%s%.40s%s%.80s", status, *name ? ", " : "", name,
             *description ? ": " : "", description);
  reason.retry_after = wait;
  session_reason(session, &reason);
  buffer_free(&error);
  buffer_free(&words);
  return event;
}

static void begin_grant(struct session *session);

/* A request has ended: the next session's turn. */
static void end_grant(struct session_slot *slot) {
  struct session *next;
  assert(slot->granting > 0);
  slot->granting--;
  while (slot->granting < MOST_GRANTS && (next = slot->first_waiting)) {
    slot->first_waiting = next->next_waiting;
    if (!slot->first_waiting)
      slot->last_waiting = &slot->first_waiting;
    next->waiting_for_turn = false;
    begin_grant(next);
  }
}

static void leave_line(struct session *session) {
  struct session_slot *slot = session_slot(session);
  struct session **at = &slot->first_waiting;
  while (*at && *at != session)
    at = &(*at)->next_waiting;
  assert(*at);
  *at = session->next_waiting;
  if (!*at)
    slot->last_waiting = at;
  session->waiting_for_turn = false;
}

static void request_password_grant(struct session *session) {
  struct session_slot *slot = session_slot(session);
  assert(!session->waiting_for_turn);
  if (slot->granting < MOST_GRANTS) {
    begin_grant(session);
    return;
  }
  session->waiting_for_turn = true;
  session->next_waiting = NULL;
  *slot->last_waiting = session;
  slot->last_waiting = &session->next_waiting;
}

static void at_token_answer(void *owner, int status, const char *body, size_t length,
                            const struct reason *failed) {
  struct session *session = owner;
  double wait = http_retry_after(session->transfer);
  struct slice answer = {body, length}, value;
  struct buffer token = {0};
  struct reason reason;
  session->transfer = NULL;
  end_grant(session_slot(session));
  if (!status) {
    session_reason(session, failed);
    session_event(session, failed->err == ERR_CONFIG ? EVENT_TOKEN_REJECTED : EVENT_TOKEN_ERROR);
  } else if (status < 200 || status > 299) {
    session_event(session, classify(session, status, answer, wait));
  } else if (scan_find(answer, "access_token", &value) && scan_string(value, &token) && token.length &&
             buffer_append(&token, "", 1)) {
    token_arrived(session, token.data, token.length - 1,
                  token_expiry(answer, token.data, rt_now(session->rt)));
  } else {
    reason_set(&reason, ERR_PROTOCOL, status, "the token endpoint answered HTTP %d without an access_token",
               status);
    session_reason(session, &reason);
    session_event(session, EVENT_TOKEN_ERROR);
  }
  wipe(&token);
}

static void begin_grant(struct session *session) {
  static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", NULL};
  struct session_config *config = &session->config;
  struct buffer body = {0};
  struct http_request request = {0};
  bool ok = buffer_puts(&body, "{\"client_id\":\"chat_bot\",\"grant_type\":\"password\",\"username\":") &&
            scan_quote(&body, config->username, strlen(config->username)) &&
            buffer_puts(&body, ",\"password\":") &&
            scan_quote(&body, config->password, strlen(config->password)) && buffer_puts(&body, "}");
  assert(!session->transfer && session_slot(session)->granting < MOST_GRANTS);
  request.method = "POST";
  request.url = config->token_url;
  request.headers = headers;
  request.further = (const char *const *)config->headers.lines;
  request.body = body.data;
  request.body_length = body.length;
  request.tls = &config->tls;
  request.proxy = config->proxy;
  request.connect_timeout = config->connect_timeout;
  request.timeout = config->token_timeout;
  request.max_body = MOST_TOKEN_FILE;
  session->transfer = ok ? http_start(session->rt, &request, at_token_answer, session) : NULL;
  wipe(&body);
  if (session->transfer)
    session_slot(session)->granting++;
  else
    out_of_memory(session);
}

/* ---- a Lua function ------------------------------------------------------------------------------ */

static int64_t source_expiry(lua_State *L, int index, struct session *session, const char *token) {
  static const struct slice nothing = {NULL, 0};
  if (lua_type(L, index) == LUA_TNUMBER)
    return point_in_time(lua_tonumber(L, index));
  return token_expiry(nothing, token, rt_now(session->rt));
}

/* Read an error object; false: it is none with a name of ours. */
static bool read_error(lua_State *L, int index, struct reason *reason) {
  enum err err = ERR_NONE;
  if (!lua_istable(L, index))
    return false;
  if (lua_getfield(L, index, "name") == LUA_TSTRING)
    err = err_of_name(lua_tostring(L, -1));
  if (err == ERR_NONE || lua_getfield(L, index, "message") != LUA_TSTRING)
    return false;
  lua_getfield(L, index, "code");
  reason_set(reason, err, (int)lua_tointeger(L, -1), "%.190s", lua_tostring(L, -2));
  lua_getfield(L, index, "retry_after");
  reason->retry_after = lua_tonumber(L, -1) > 0 ? lua_tonumber(L, -1) : 0;
  return true;
}

/* The function brought no token: an error object tells whether asking again makes sense. */
static void source_failed(lua_State *L, int index, struct session *session) {
  struct reason reason;
  enum event event = EVENT_TOKEN_ERROR;
  if (!read_error(L, index, &reason))
    reason_set(&reason, ERR_CANCELLED, 0, "the token function brought no token: %.120s",
               lua_isnoneornil(L, index) ? "it returned nil" : luaL_tolstring(L, index, NULL));
  else if (reason.err == ERR_AUTH_FAILED)
    event = EVENT_TOKEN_DENIED;
  else if (reason.err == ERR_CONFIG)
    event = EVENT_TOKEN_REJECTED;
  session_reason(session, &reason);
  session_event(session, event);
}

/* Stack: session, function, run, then what the function returned or raised. */
static int run_source_k(lua_State *L, int status, lua_KContext context) {
  struct session *session = luaL_checkudata(L, 1, SESSION_T);
  bool ok = status == LUA_OK || status == LUA_YIELD;
  size_t length;
  const char *token;
  (void)context;
  if ((unsigned)lua_tointeger(L, 3) != session->source_run || session->state != STATE_TOKEN)
    return 0;
  token = ok && lua_type(L, 4) == LUA_TSTRING ? lua_tolstring(L, 4, &length) : NULL;
  if (token)
    token_arrived(session, token, length, source_expiry(L, 5, session, token));
  else
    source_failed(L, ok ? 5 : 4, session);
  return 0;
}

static int l_run_source(lua_State *L) {
  lua_pushvalue(L, 2);
  return run_source_k(L, lua_pcallk(L, 0, 2, 0, 0, run_source_k), 0);
}

static int l_start_source(lua_State *L) {
  struct session *session = lua_touserdata(L, 1);
  lua_pushcfunction(L, l_run_source);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &session->self_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &session->function_keys[FN_SOURCE]);
  lua_pushinteger(L, ++session->source_run);
  rt_spawn(session->rt, L, 3);
  return 0;
}

static void run_source(struct session *session) {
  if (!rt_protected(rt_runner(session->rt), l_start_source, session))
    out_of_memory(session);
}

void token_request(struct session *session) {
  if (session->config.has_source)
    run_source(session);
  else
    request_password_grant(session);
}

void token_cancel(struct session *session) {
  struct http_transfer *transfer = session->transfer;
  if (session->waiting_for_turn)
    leave_line(session);
  session->transfer = NULL;
  if (transfer) {
    http_cancel(transfer);
    end_grant(session_slot(session));
  }
  session->source_run++;
}
