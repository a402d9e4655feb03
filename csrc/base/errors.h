/*
 * base/errors.h - the stable names of errors, and the error objects Lua sees.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_ERRORS_H
#define TRUECONF_ERRORS_H

#include <lua.h>

enum err {
  ERR_NONE,
  ERR_TIMEOUT,       /* no answer within the deadline */
  ERR_CLOSED,        /* this side closed it */
  ERR_DISCONNECTED,  /* the connection was lost */
  ERR_AUTH_FAILED,   /* the server refuses the credentials */
  ERR_TOKEN_EXPIRED, /* a token that cannot be renewed is too old */
  ERR_TLS,           /* handshake or verification failed */
  ERR_DNS,           /* the name cannot be resolved */
  ERR_REFUSED,       /* nothing listens there */
  ERR_UNREACHABLE,   /* no route, network down */
  ERR_HTTP,          /* an unexpected HTTP status; `code` is the status */
  ERR_PROTOCOL,      /* the other side sent something that is not the protocol */
  ERR_LIMIT,         /* a bound was hit: size, queue, depth */
  ERR_PLAINTEXT,     /* a secret would go unencrypted to another machine */
  ERR_IO,            /* the system refused: file, port, permission */
  ERR_CONFIG,        /* a setting from outside the script is wrong */
  ERR_NOMEM,
  ERR_CANCELLED,   /* the caller gave it up */
  ERR_UNSUPPORTED, /* the server is too old for it */
  ERR_SERVER,      /* a server code without a name of its own */
  ERR_COUNT
};

/* The outcome of a request: unset, not sent, perhaps carried out, refused by the server. */
enum outcome { OUTCOME_NONE, OUTCOME_NOT_SENT, OUTCOME_UNKNOWN, OUTCOME_REJECTED };

/* The reaction to a code (the classes of protocol section 9). */
enum err_class { CLASS_RETRY, CLASS_AUTH, CLASS_FATAL, CLASS_REQUEST, CLASS_DONE };

const char *err_name(enum err err);
/* The error of a stable name; ERR_NONE: this side has no such error. */
enum err err_of_name(const char *name);

/* A reason that outlives the callback it arose in. */
struct reason {
  enum err err;
  int code;           /* HTTP status, close code, server code, ...; 0: none */
  double retry_after; /* seconds the other side asks to wait; 0: it does not ask */
  char message[200];
};
void reason_set(struct reason *reason, enum err err, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Name and class of a server code; unknown codes are ERR_SERVER's name and CLASS_REQUEST. */
const char *server_error_name(int code);
const char *server_error_meaning(int code);
enum err_class server_error_class(int code);

/* Push an error object. */
void push_error(lua_State *L, enum err err, int code, const char *message);
void push_reason(lua_State *L, const struct reason *reason);
/* Push an error object for a response with errorCode; `description` may be NULL. */
void push_server_error(lua_State *L, int code, const char *method, const char *description);
/* Set `outcome` (and method, if not NULL) of the error object on top. */
void set_outcome(lua_State *L, enum outcome outcome, const char *method);
/* Push nil and an error object; returns 2. */
int fail(lua_State *L, enum err err, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
int fail_reason(lua_State *L, const struct reason *reason);

void errors_open(lua_State *L); /* adds Error, error, error_table to the table on top */

#endif
