/*
 * http/private.h - shared by the files of the HTTP transfers: struct http_transfer, and the functions of
 * each. transfer.c  a transfer's start, deadlines and end; the drain point setup.c     the request as options
 * of curl's form.c      a multipart form, its files going up names.c     the addresses of the hosts that curl
 * wants to reach receive.c   headers, body and progress coming in file.c      a body that goes into a file
 *   error.c     the reason of a failed transfer
 *   slot.c      curl's multi handle on the loop
 *   http.c      the ground of a transfer, used by all of them
 * Each calls only those below it. The door is http.h, lua.c stands behind it like any other owner.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_HTTP_PRIVATE_H
#define TRUECONF_HTTP_PRIVATE_H

#include "base/container.h"
#include "base/plain_file.h"
#include "base/proxy.h"
#include "http/http.h"
#include "loop/lookup.h"

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or newer is needed"
#endif

enum { FILE_BUFFER = 512 << 10 }; /* for transfers of files; a token request does with curl's small ones */

struct http_slot { /* data per runtime */
  struct rt *rt;
  CURLM *multi; /* NULL: the loop is closing */
  uv_timer_t timer;
  struct rt_list active, over;
  struct rt_job job;
  int count;
  bool blind; /* a socket could not be watched */
};

struct http_name { /* of the server or of its proxy, as curl spells it */
  char *host;      /* NULL: no lookup needed */
  int port;
};

struct http_transfer {
  struct rt_list link;
  struct http_slot *slot;
  CURL *easy;
  struct curl_slist *request_headers;
  curl_mime *mime;
  http_done done;
  void *owner;

  void (*progress)(struct rt *, lua_State *, void *, const struct http_progress *);
  struct rt_job progress_job;
  struct http_progress counts;

  struct rt_timer total, phase; /* phase: first connecting, then idleness */
  double connect_timeout, idle_timeout, timeout;
  uint64_t moved; /* time of the last byte */
  bool connected, attached, over;

  int no_socket; /* errno of socket(); 0: it succeeded */
  struct trust *trust;
  char *ca_file;                /* NULL: the system's authorities */
  struct proxy proxy;           /* on the way to the server */
  struct http_name name;        /* the one that curl needs: the proxy's or the server's */
  struct lookup *lookup;        /* NULL: none is under way */
  struct curl_slist *addresses; /* result of the lookup */
  struct rt_job found_job;
  int lookups;
  bool refused; /* curl wanted to resolve the name itself */

  bool finishing, cancelled; /* finishing: its last progress is reported; cancelled: its owner has gone */
  int status;
  struct buffer headers, body;
  size_t max_body;         /* of a body in memory */
  size_t max_file;         /* of a file; 0: no limit */
  struct replacement file; /* written beside its place, or in it: then there is nothing beside */
  uint64_t file_size;      /* bytes in it */
  int64_t kept;            /* bytes of an earlier try, before the body */
  bool resumes, placed;    /* placed: the body's place in the file is known */
  bool saved;

  char *origin;         /* host:port, for messages */
  CURLcode result;      /* first failure that curl reports */
  struct reason reason; /* a failure on our side; takes precedence over `result` */
  char error_text[CURL_ERROR_SIZE];
};

/* ---- http.c ------------------------------------------------------------------------------------- */

/* Remember a code of curl's; the first failure stays. */
void http_note_code(struct http_transfer *transfer, CURLcode code);
void http_set_long(struct http_transfer *transfer, CURLoption option, long value);
void http_set_pointer(struct http_transfer *transfer, CURLoption option, const void *value);
/* Give it to curl. */
void http_attach(struct http_transfer *transfer);
/* Take it from curl again. */
void http_detach(struct http_transfer *transfer);
/* End it, with the failure in `reason` or `result`, if any; the owner is called at the drain point. */
void http_end(struct http_transfer *transfer);
/* The value of a header of the answer, its name in lower case; NULL: it has none. */
const char *http_header(const struct http_transfer *transfer, const char *name);

/* ---- setup.c: failures are noted in the transfer -------------------------------------------------- */

void http_set_up(struct http_transfer *transfer, const struct http_request *request);

/* ---- names.c ------------------------------------------------------------------------------------ */

/* The name that a transfer to `url` needs; its proxy is settled. */
void http_set_name(struct http_transfer *transfer, CURLU *url);
/* At the drain point, when curl has failed: look up the name it wanted, and begin again when it is found.
 * False: the failure has another cause. */
bool http_look_up(struct http_transfer *transfer);
/* The job `found_job`. */
void http_run_found(struct rt *rt, lua_State *L, struct rt_job *job);
/* Before the transfer is freed. */
void http_drop_names(struct http_transfer *transfer);

/* ---- form.c ------------------------------------------------------------------------------------- */

void http_set_form(struct http_transfer *transfer, const struct http_request *request);

/* ---- receive.c ---------------------------------------------------------------------------------- */

void http_set_callbacks(struct http_transfer *transfer);
/* The job `progress_job`. */
void http_run_progress(struct rt *rt, lua_State *L, struct rt_job *job);

/* ---- file.c ------------------------------------------------------------------------------------- */

/* Make a temporary file beside `path`, or open that file to go on with it. False: `reason` is
 * set. */
bool http_open_file(struct http_transfer *transfer, const char *path, bool resume);
/* True if the body of this answer goes into the file. */
bool http_goes_to_file(const struct http_transfer *transfer);
bool http_write_file(struct http_transfer *transfer, const char *data, size_t length);
/* Give the complete file its name; a failure is in `reason`. */
void http_commit_file(struct http_transfer *transfer);
/* Remove a file that is not complete. */
void http_drop_file(struct http_transfer *transfer);

/* ---- error.c ------------------------------------------------------------------------------------ */

/* Fill `reason` from `result`. */
void http_explain(struct http_transfer *transfer);
/* Fill it from an answer of a server or proxy on the way that has refused the request. */
void http_explain_answer(struct http_transfer *transfer);
/* The body is longer than it may be. */
void http_fail_length(struct http_transfer *transfer, size_t limit);
void http_fail_io(struct http_transfer *transfer, const char *what, const char *path, int number);

/* ---- slot.c ------------------------------------------------------------------------------------- */

/* A multi handle on the loop of the runtime, its `job` without a function yet. NULL: no memory. */
struct http_slot *http_slot_new(struct rt *rt);
/* All transfers are over: close the handles. The slot is freed when the loop has closed. */
void http_slot_close(struct http_slot *slot);

#endif
