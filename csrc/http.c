/*
 * http.c - HTTP transfers over libcurl's multi socket interface on the loop.
 * Lua sees: core.http, in http_lua.c.
 * Owns: per runtime one curl multi handle (with its idle connections) and one uv timer for curl's
 * own needs; per transfer an easy handle, what was received, and the files it reads and writes.
 * Borrows: struct rt. Deadlines are rt_timers and follow its clock.
 * Callbacks (on_) only copy and mark. Whatever ends a transfer puts it on the list `over`; room_drain,
 * at the drain point, detaches it and tells its owner.
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or newer is needed"
#endif

#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define DEFAULT_CONNECT_TIMEOUT 10.0
#define DEFAULT_IDLE_TIMEOUT 30.0
enum {
  DEFAULT_MAX_BODY = 8 << 20,
  MAX_HEADERS = 256 << 10,
  FILE_BUFFER = 512 << 10, /* for transfers of files; a token request does with curl's small ones */
  IDLE_CONNECTIONS = 16,
  NAME_ATTEMPTS = 8,
};

struct room { /* what this file keeps per runtime */
  struct rt *rt;
  CURLM *multi; /* NULL: the loop is closing */
  uv_timer_t timer;
  struct rt_list active, over;
  struct rt_job job;
  int count;
};

struct poll { /* one socket of curl's; freed when libuv has closed it */
  uv_poll_t handle;
  struct room *room;
  curl_socket_t fd;
  int events;
};

struct part_file { /* a file streamed as a part; belongs to curl's mime structure */
  struct http_transfer *transfer;
  char *path;
  int fd;
  curl_off_t size, at;
};

struct http_transfer {
  struct rt_list link;
  struct room *room;
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
  uint64_t moved; /* when a byte moved last */
  bool connected, attached, over;

  int status;
  struct buffer headers, body;
  size_t max_body;
  char *save_to, *temporary; /* the file's name, and its name until it is complete */
  int fd;                    /* of the temporary file; -1: none */
  bool saved;

  char *origin;         /* host:port, for messages */
  CURLcode result;      /* what curl says, from setting it up to its end */
  struct reason reason; /* what went wrong on our side; comes before `result` */
  char error_text[CURL_ERROR_SIZE];
};

/* ---- the end of a transfer ------------------------------------------------------------------ */

static void transfer_over(struct http_transfer *transfer) {
  struct room *room = transfer->room;
  if (transfer->over)
    return;
  transfer->over = true;
  rt_list_remove(&transfer->link);
  rt_list_add(&room->over, &transfer->link);
  rt_enqueue(room->rt, &room->job);
}

static void detach(struct http_transfer *transfer) {
  rt_timer_stop(transfer->room->rt, &transfer->total);
  rt_timer_stop(transfer->room->rt, &transfer->phase);
  if (transfer->attached)
    curl_multi_remove_handle(transfer->room->multi, transfer->easy);
  transfer->attached = false;
}

static void drop_temporary(struct http_transfer *transfer) {
  if (transfer->fd >= 0)
    close(transfer->fd);
  if (transfer->temporary)
    unlink(transfer->temporary);
  free(transfer->temporary);
  transfer->temporary = NULL;
  transfer->fd = -1;
}

static void transfer_free(struct http_transfer *transfer) {
  rt_dequeue(transfer->room->rt, &transfer->progress_job);
  drop_temporary(transfer);
  if (transfer->easy)
    curl_easy_cleanup(transfer->easy);
  curl_mime_free(transfer->mime);
  curl_slist_free_all(transfer->request_headers);
  buffer_free(&transfer->headers);
  buffer_free(&transfer->body);
  free(transfer->save_to);
  free(transfer->origin);
  free(transfer);
}

static void forget(struct http_transfer *transfer) {
  rt_list_remove(&transfer->link);
  transfer->room->count--;
  rt_unref(transfer->room->rt);
  rt_underway(transfer->room->rt, -1);
}

void http_cancel(struct http_transfer *transfer) {
  detach(transfer);
  forget(transfer);
  transfer_free(transfer);
}

/* ---- what went wrong ------------------------------------------------------------------------ */

static enum err err_of_errno(long number) {
  switch (number) {
  case ECONNREFUSED:
    return ERR_REFUSED;
  case ETIMEDOUT:
    return ERR_TIMEOUT;
  case EMFILE:
  case ENFILE:
  case EACCES:
  case EPERM:
    return ERR_IO;
  default:
    return ERR_UNREACHABLE;
  }
}

/* The handshake did not fail, it was cut off: the server is going down or is not there yet. */
static bool handshake_cut(const struct http_transfer *transfer) {
  const char *text = transfer->error_text;
  return strstr(text, "SSL_ERROR_SYSCALL") || strstr(text, "Connection reset") ||
         strstr(text, "unexpected eof");
}

static enum err err_of_curl(const struct http_transfer *transfer, long os_error) {
  switch (transfer->result) {
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY:
    return ERR_DNS;
  case CURLE_COULDNT_CONNECT:
    return err_of_errno(os_error);
  case CURLE_OPERATION_TIMEDOUT:
    return ERR_TIMEOUT;
  case CURLE_SSL_CONNECT_ERROR:
    return handshake_cut(transfer) ? ERR_DISCONNECTED : ERR_TLS;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_ENGINE_INITFAILED:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    return ERR_TLS;
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
    return ERR_DISCONNECTED;
  case CURLE_OUT_OF_MEMORY:
    return ERR_NOMEM;
  case CURLE_ABORTED_BY_CALLBACK:
  case CURLE_READ_ERROR:
  case CURLE_WRITE_ERROR:
    return ERR_IO;
  default:
    return ERR_PROTOCOL;
  }
}

/* Curl's texts are one line, but some quote what the server sent. */
static const char *error_detail(struct http_transfer *transfer) {
  if (!transfer->error_text[0])
    return curl_easy_strerror(transfer->result);
  for (char *at = transfer->error_text; *at; at++)
    if (iscntrl((unsigned char)*at))
      *at = ' ';
  return transfer->error_text;
}

static void explain(struct http_transfer *transfer) {
  struct reason *reason = &transfer->reason;
  const char *origin = transfer->origin ? transfer->origin : "the server";
  long os_error = 0, proxy_status = 0;
  enum err err;
  curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
  curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  err = err_of_curl(transfer, os_error);
  if (proxy_status >= 300)
    reason_set(reason, ERR_HTTP, (int)proxy_status, "the proxy answered %ld to the wish for %s", proxy_status,
               origin);
  else if (transfer->result == CURLE_COULDNT_RESOLVE_PROXY)
    reason_set(reason, err, 0, "cannot resolve the name of the proxy to %s", origin);
  else if (err == ERR_DNS)
    reason_set(reason, err, 0, "cannot resolve the name of %s", origin);
  else if (transfer->result == CURLE_COULDNT_CONNECT)
    reason_set(reason, err, 0, "cannot connect to %s: %s", origin,
               os_error ? strerror((int)os_error) : "no address works");
  else if (err == ERR_TLS)
    reason_set(reason, err, 0, "TLS with %s failed: %s", origin, error_detail(transfer));
  else
    reason_set(reason, err, 0, "%s: %s", origin, error_detail(transfer));
}

static void fail_io(struct http_transfer *transfer, const char *what, const char *path, int number) {
  reason_set(&transfer->reason, ERR_IO, 0, "cannot %s %s: %s", what, path, strerror(number));
}

/* ---- deadlines ------------------------------------------------------------------------------ */

static void fire_total(struct rt_timer *timer) {
  struct http_transfer *transfer = CONTAINER(timer, struct http_transfer, total);
  if (transfer->over)
    return;
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "the transfer with %s took longer than %g s",
             transfer->origin, transfer->timeout);
  transfer_over(transfer);
}

/* Bytes do not set the timer again, they only leave their time; so it looks when it fires. */
static void fire_idle(struct http_transfer *transfer) {
  struct rt *rt = transfer->room->rt;
  double silent = (double)(rt_monotonic(rt) - transfer->moved) / 1e9;
  if (silent < transfer->idle_timeout) {
    rt_timer_start(rt, &transfer->phase, transfer->idle_timeout - silent + 1e-6);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "nothing moved between here and %s for %g s",
             transfer->origin, transfer->idle_timeout);
  transfer_over(transfer);
}

static void fire_phase(struct rt_timer *timer) {
  struct http_transfer *transfer = CONTAINER(timer, struct http_transfer, phase);
  if (transfer->over)
    return;
  if (transfer->connected) {
    fire_idle(transfer);
    return;
  }
  reason_set(&transfer->reason, ERR_TIMEOUT, 0, "no connection to %s within %g s", transfer->origin,
             transfer->connect_timeout);
  transfer_over(transfer);
}

static void start_timers(struct http_transfer *transfer) {
  struct rt *rt = transfer->room->rt;
  rt_timer_start(rt, &transfer->phase, transfer->connect_timeout);
  if (transfer->timeout > 0)
    rt_timer_start(rt, &transfer->total, transfer->timeout);
}

/* ---- what curl calls for a transfer --------------------------------------------------------- */

static void note_movement(struct http_transfer *transfer) {
  transfer->moved = rt_monotonic(transfer->room->rt);
}

/* The connection stands, with TLS and through the proxy; the request goes out next. */
static int on_connected(void *arg, char *remote, char *local, int remote_port, int local_port) {
  struct http_transfer *transfer = arg;
  (void)remote, (void)local, (void)remote_port, (void)local_port;
  transfer->connected = true;
  note_movement(transfer);
  rt_timer_start(transfer->room->rt, &transfer->phase, transfer->idle_timeout);
  return CURL_PREREQFUNC_OK;
}

static bool is_status_line(const char *line, size_t length) {
  return length > 5 && memcmp(line, "HTTP/", 5) == 0;
}

/* A new response begins; what came before it, a 1xx or a proxy's, is forgotten. */
static void start_response(struct http_transfer *transfer, const char *line, size_t length) {
  const char *space = memchr(line, ' ', length);
  transfer->headers.length = transfer->body.length = 0;
  transfer->status = 0;
  for (const char *at = space ? space + 1 : line; at < line + length && isdigit((unsigned char)*at); at++)
    transfer->status = transfer->status < 1000 ? transfer->status * 10 + (*at - '0') : 0;
}

static size_t trimmed(const char **text, size_t length) {
  while (length && isspace((unsigned char)**text))
    (*text)++, length--;
  while (length && isspace((unsigned char)(*text)[length - 1]))
    length--;
  return length;
}

/* Append text and a zero byte; zero bytes inside would end it early, so they become spaces. */
static bool append_text(struct buffer *buffer, const char *text, size_t length, int (*map)(int)) {
  if (!buffer_reserve(buffer, length + 1))
    return false;
  for (size_t i = 0; i < length; i++)
    buffer->data[buffer->length++] = (char)(text[i] ? map((unsigned char)text[i]) : ' ');
  buffer->data[buffer->length++] = '\0';
  return true;
}

static int as_it_is(int byte) {
  return byte;
}

static bool keep_header(struct http_transfer *transfer, const char *line, size_t length) {
  const char *colon = memchr(line, ':', length), *value;
  size_t value_length;
  if (!colon || colon == line)
    return true;
  value = colon + 1;
  value_length = trimmed(&value, length - (size_t)(value - line));
  if (transfer->headers.length + length > MAX_HEADERS) {
    reason_set(&transfer->reason, ERR_LIMIT, 0, "%s sent more than %d bytes of headers", transfer->origin,
               MAX_HEADERS);
    return false;
  }
  return append_text(&transfer->headers, line, (size_t)(colon - line), tolower) &&
         append_text(&transfer->headers, value, value_length, as_it_is);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg) {
  struct http_transfer *transfer = arg;
  size_t length = size * count;
  if (transfer->over)
    return 0;
  note_movement(transfer);
  if (is_status_line(line, length))
    start_response(transfer, line, length);
  else if (!keep_header(transfer, line, length))
    return 0;
  return length;
}

static bool write_all(struct http_transfer *transfer, const char *data, size_t length) {
  while (length) {
    ssize_t n = write(transfer->fd, data, length);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      fail_io(transfer, "write", transfer->save_to, errno);
      return false;
    }
    data += n;
    length -= (size_t)n;
  }
  return true;
}

/* The page that comes with a 404 is not the file that was asked for. */
static bool goes_to_file(const struct http_transfer *transfer) {
  return transfer->fd >= 0 && transfer->status / 100 == 2;
}

static bool keep_body(struct http_transfer *transfer, const char *data, size_t length) {
  if (length > transfer->max_body - transfer->body.length) {
    reason_set(&transfer->reason, ERR_LIMIT, 0, "the answer of %s is longer than %zu bytes", transfer->origin,
               transfer->max_body);
    return false;
  }
  if (buffer_append(&transfer->body, data, length))
    return true;
  reason_set(&transfer->reason, ERR_NOMEM, 0, "no memory for the answer of %s", transfer->origin);
  return false;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
  struct http_transfer *transfer = arg;
  size_t length = size * count;
  bool ok;
  if (transfer->over)
    return 0;
  ok = goes_to_file(transfer) ? write_all(transfer, data, length) : keep_body(transfer, data, length);
  return ok ? length : 0;
}

static int on_progress(void *arg, curl_off_t to_receive, curl_off_t received, curl_off_t to_send,
                       curl_off_t sent) {
  struct http_transfer *transfer = arg;
  struct http_progress counts = {sent, to_send, received, to_receive};
  if (transfer->over)
    return 1;
  if (sent != transfer->counts.sent || received != transfer->counts.received) {
    note_movement(transfer);
    if (transfer->progress)
      rt_enqueue(transfer->room->rt, &transfer->progress_job);
  }
  transfer->counts = counts;
  return 0;
}

static void run_progress(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct http_transfer *transfer = CONTAINER(job, struct http_transfer, progress_job);
  transfer->progress(rt, L, transfer->owner, &transfer->counts);
}

/* ---- files going up ------------------------------------------------------------------------- */

/* The length was announced, so a file that has become shorter cannot be sent any more. */
static size_t on_part_read(char *out, size_t size, size_t count, void *arg) {
  struct part_file *file = arg;
  curl_off_t left = file->size - file->at;
  size_t want = (curl_off_t)(size * count) < left ? size * count : (size_t)left;
  ssize_t n;
  if (!want)
    return 0;
  do
    n = pread(file->fd, out, want, file->at);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    file->at += n;
    return (size_t)n;
  }
  if (n < 0)
    fail_io(file->transfer, "read", file->path, errno);
  else
    reason_set(&file->transfer->reason, ERR_IO, 0, "%s has become shorter while it was sent", file->path);
  return CURL_READFUNC_ABORT;
}

static int on_part_seek(void *arg, curl_off_t offset, int origin) {
  struct part_file *file = arg;
  if (origin != SEEK_SET || offset < 0 || offset > file->size)
    return CURL_SEEKFUNC_FAIL;
  file->at = offset;
  return CURL_SEEKFUNC_OK;
}

static void on_part_free(void *arg) {
  struct part_file *file = arg;
  if (file->fd >= 0)
    close(file->fd);
  free(file->path);
  free(file);
}

/* Open it now: a file that is missing is found before anything is sent. */
static bool open_part(struct part_file *file) {
  struct stat status;
  file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->fd < 0 || fstat(file->fd, &status) < 0) {
    fail_io(file->transfer, "open", file->path, errno);
    return false;
  }
  if (!S_ISREG(status.st_mode)) {
    reason_set(&file->transfer->reason, ERR_IO, 0, "%s is not a regular file", file->path);
    return false;
  }
  file->size = status.st_size;
  return true;
}

static struct part_file *new_part_file(struct http_transfer *transfer, const char *path) {
  struct part_file *file = calloc(1, sizeof *file);
  if (!file)
    return NULL;
  file->transfer = transfer;
  file->fd = -1;
  file->path = strdup(path);
  if (file->path)
    return file;
  free(file);
  return NULL;
}

static CURLcode add_file(struct http_transfer *transfer, curl_mimepart *part, const struct http_part *given) {
  struct part_file *file = new_part_file(transfer, given->path);
  const char *slash = strrchr(given->path, '/');
  CURLcode code;
  if (!file)
    return CURLE_OUT_OF_MEMORY;
  if (!open_part(file)) {
    on_part_free(file);
    return CURLE_READ_ERROR;
  }
  code = curl_mime_data_cb(part, file->size, on_part_read, on_part_seek, on_part_free, file);
  if (code != CURLE_OK) {
    on_part_free(file);
    return code;
  }
  return given->filename ? CURLE_OK : curl_mime_filename(part, slash ? slash + 1 : given->path);
}

/* Curl writes names as browsers do: UTF-8 as it is, only quotes, CR and LF as %22, %0D and %0A. */
static CURLcode add_part(struct http_transfer *transfer, const struct http_part *given) {
  curl_mimepart *part = curl_mime_addpart(transfer->mime);
  CURLcode code;
  if (!part)
    return CURLE_OUT_OF_MEMORY;
  code = curl_mime_name(part, given->name);
  if (!code)
    code = given->path ? add_file(transfer, part, given) : curl_mime_data(part, given->data, given->length);
  if (!code && given->filename)
    code = curl_mime_filename(part, given->filename);
  if (!code && given->type)
    code = curl_mime_type(part, given->type);
  return code;
}

/* ---- files coming down ---------------------------------------------------------------------- */

/* What is there already will be replaced, and only a regular file may be: no device, no directory. */
static bool may_replace(struct http_transfer *transfer, const char *path) {
  struct stat status;
  if (stat(path, &status) < 0 || S_ISREG(status.st_mode))
    return true;
  reason_set(&transfer->reason, ERR_IO, 0, "cannot write %s: it is not a regular file", path);
  return false;
}

/* The body goes to a name of its own beside the file and takes the file's place when complete. */
static bool open_temporary(struct http_transfer *transfer, const char *path) {
  size_t size = strlen(path) + sizeof ".0123456789abcdef.part";
  uint64_t random;
  if (!may_replace(transfer, path))
    return false;
  transfer->save_to = strdup(path);
  transfer->temporary = malloc(size);
  if (!transfer->save_to || !transfer->temporary)
    return false;
  for (int attempt = 0; attempt < NAME_ATTEMPTS && transfer->fd < 0; attempt++) {
    rt_random(transfer->room->rt, &random, sizeof random);
    snprintf(transfer->temporary, size, "%s.%016llx.part", path, (unsigned long long)random);
    transfer->fd = open(transfer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (transfer->fd < 0 && errno != EEXIST)
      break;
  }
  if (transfer->fd >= 0)
    return true;
  fail_io(transfer, "create", path, errno);
  free(transfer->temporary); /* it is not ours to remove */
  transfer->temporary = NULL;
  return false;
}

static void commit_file(struct http_transfer *transfer) {
  int closed = close(transfer->fd);
  transfer->fd = -1;
  if (closed < 0 || rename(transfer->temporary, transfer->save_to) < 0) {
    fail_io(transfer, "write", transfer->save_to, errno);
    return;
  }
  free(transfer->temporary);
  transfer->temporary = NULL;
  transfer->saved = true;
}

/* ---- setting a transfer up ------------------------------------------------------------------ */

/* The first failure stays. */
static void note_code(struct http_transfer *transfer, CURLcode code) {
  if (transfer->result == CURLE_OK)
    transfer->result = code;
}

static void set_long(struct http_transfer *transfer, CURLoption option, long value) {
  note_code(transfer, curl_easy_setopt(transfer->easy, option, value));
}

static void set_pointer(struct http_transfer *transfer, CURLoption option, const void *value) {
  note_code(transfer, curl_easy_setopt(transfer->easy, option, value));
}

bool http_is_loopback(const char *host) {
  struct in_addr v4;
  size_t length = strlen(host);
  if (strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 || strcmp(host, "[::1]") == 0)
    return true;
  if (length > 10 && strcasecmp(host + length - 10, ".localhost") == 0)
    return true;
  return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static void set_origin(struct http_transfer *transfer, const char *host, const char *port) {
  size_t size = strlen(host) + strlen(port) + 2;
  transfer->origin = malloc(size);
  if (transfer->origin)
    snprintf(transfer->origin, size, "%s:%s", host, port);
  else
    note_code(transfer, CURLE_OUT_OF_MEMORY);
}

/* A proxy that was named is used for every host; the environment's never for this machine. */
static void set_proxy(struct http_transfer *transfer, const char *proxy, const char *host) {
  if (proxy) {
    set_pointer(transfer, CURLOPT_PROXY, proxy);
    set_pointer(transfer, CURLOPT_NOPROXY, "");
  } else if (http_is_loopback(host)) {
    set_pointer(transfer, CURLOPT_PROXY, "");
  }
}

static void bad_url(struct http_transfer *transfer, const char *what) {
  reason_set(&transfer->reason, ERR_PROTOCOL, 0, "not an http or https URL: %s",
             what); /* URLs carry secrets */
}

static void set_target(struct http_transfer *transfer, const struct http_request *request) {
  CURLU *url = curl_url();
  char *scheme = NULL, *host = NULL, *port = NULL;
  CURLUcode code = url ? curl_url_set(url, CURLUPART_URL, request->url, 0) : CURLUE_OUT_OF_MEMORY;
  if (!code)
    code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
  if (!code)
    code = curl_url_get(url, CURLUPART_HOST, &host, 0);
  if (!code)
    code = curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
  if (code == CURLUE_OUT_OF_MEMORY) {
    note_code(transfer, CURLE_OUT_OF_MEMORY);
  } else if (code) {
    bad_url(transfer, curl_url_strerror(code));
  } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
    bad_url(transfer, "it begins with another scheme");
  } else {
    set_origin(transfer, host, port);
    set_proxy(transfer, request->proxy, host);
    set_pointer(transfer, CURLOPT_URL, request->url);
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(url);
}

static void set_tls(struct http_transfer *transfer, const struct tls_options *tls) {
  if (!tls)
    return; /* curl verifies against the system's trust */
  set_long(transfer, CURLOPT_SSL_VERIFYPEER, tls->verify ? 1 : 0);
  set_long(transfer, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2 : 0);
  if (tls->ca_file) {
    set_pointer(transfer, CURLOPT_CAINFO, tls->ca_file);
    set_pointer(transfer, CURLOPT_CAPATH, NULL); /* in place of the system's trust, not beside it */
  }
  if (tls->pin)
    set_pointer(transfer, CURLOPT_PINNEDPUBLICKEY, tls->pin);
}

static void add_header(struct http_transfer *transfer, const char *line) {
  struct curl_slist *longer = curl_slist_append(transfer->request_headers, line);
  if (longer)
    transfer->request_headers = longer;
  else
    note_code(transfer, CURLE_OUT_OF_MEMORY);
}

static bool has_header(const struct http_request *request, const char *name) {
  size_t length = strlen(name);
  for (const char *const *line = request->headers; line && *line; line++)
    if (strncasecmp(*line, name, length) == 0 && ((*line)[length] == ':' || (*line)[length] == ';'))
      return true;
  return false;
}

/* "Name:" without a value takes a header of curl's own away: no waiting for "100 Continue", which
 * costs a second with servers that do not know it, and no claim that a body is a web form. */
static void set_headers(struct http_transfer *transfer, const struct http_request *request) {
  for (const char *const *line = request->headers; line && *line; line++)
    add_header(transfer, *line);
  if (!has_header(request, "Expect"))
    add_header(transfer, "Expect:");
  if (!request->part_count && !has_header(request, "Content-Type"))
    add_header(transfer, "Content-Type:");
  set_pointer(transfer, CURLOPT_HTTPHEADER, transfer->request_headers);
}

static void set_form(struct http_transfer *transfer, const struct http_request *request) {
  transfer->mime = curl_mime_init(transfer->easy);
  if (!transfer->mime)
    note_code(transfer, CURLE_OUT_OF_MEMORY);
  for (size_t i = 0; i < request->part_count && !transfer->result; i++) {
    note_code(transfer, add_part(transfer, &request->parts[i]));
    if (request->parts[i].path)
      set_long(transfer, CURLOPT_UPLOAD_BUFFERSIZE, FILE_BUFFER);
  }
  set_pointer(transfer, CURLOPT_MIMEPOST, transfer->mime);
}

static bool wants_body(const char *method) {
  return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void set_body(struct http_transfer *transfer, const char *body, size_t length) {
  note_code(transfer, curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length));
  set_pointer(transfer, CURLOPT_COPYPOSTFIELDS, body);
}

static void set_method(struct http_transfer *transfer, const struct http_request *request) {
  bool sends = request->body || request->part_count;
  const char *method = request->method ? request->method : sends ? "POST" : "GET";
  if (request->part_count)
    set_form(transfer, request);
  else if (request->body || wants_body(method))
    set_body(transfer, request->body ? request->body : "", request->body_length);
  if (strcmp(method, "HEAD") == 0)
    set_long(transfer, CURLOPT_NOBODY, 1);
  else
    set_pointer(transfer, CURLOPT_CUSTOMREQUEST, method);
}

static void set_callbacks(struct http_transfer *transfer) {
  CURL *easy = transfer->easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error_text);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
  set_long(transfer, CURLOPT_NOPROGRESS, 0);
}

static void set_rules(struct http_transfer *transfer) {
  set_long(transfer, CURLOPT_NOSIGNAL, 1);
  set_long(transfer, CURLOPT_QUICK_EXIT, 1);     /* giving up must not wait for a slow resolver */
  set_long(transfer, CURLOPT_FOLLOWLOCATION, 0); /* a token must not be sent elsewhere */
  set_pointer(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
  set_long(transfer, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  /* Not the deadline: it tells curl when to go on to the next address of a name, at half of it. */
  set_long(transfer, CURLOPT_CONNECTTIMEOUT_MS, (long)(transfer->connect_timeout * 1500) + 1);
}

static void copy_limits(struct http_transfer *transfer, const struct http_request *request) {
  transfer->connect_timeout =
      request->connect_timeout > 0 ? request->connect_timeout : DEFAULT_CONNECT_TIMEOUT;
  transfer->idle_timeout = request->idle_timeout > 0 ? request->idle_timeout : DEFAULT_IDLE_TIMEOUT;
  transfer->timeout = request->timeout;
  transfer->max_body = request->max_body ? request->max_body : DEFAULT_MAX_BODY;
  transfer->progress = request->progress;
}

static void set_up(struct http_transfer *transfer, const struct http_request *request) {
  copy_limits(transfer, request);
  set_callbacks(transfer);
  set_rules(transfer);
  set_target(transfer, request);
  set_tls(transfer, request->tls);
  set_headers(transfer, request);
  set_method(transfer, request);
  if (request->save_to && !transfer->result && !transfer->reason.err) {
    set_long(transfer, CURLOPT_BUFFERSIZE, FILE_BUFFER);
    if (!open_temporary(transfer, request->save_to))
      note_code(transfer, CURLE_OUT_OF_MEMORY);
  }
}

static void attach(struct http_transfer *transfer) {
  CURLMcode code = curl_multi_add_handle(transfer->room->multi, transfer->easy);
  if (code != CURLM_OK) {
    reason_set(&transfer->reason, ERR_NOMEM, 0, "cannot start the transfer: %s", curl_multi_strerror(code));
    transfer_over(transfer);
    return;
  }
  transfer->attached = true;
  start_timers(transfer);
}

/* ---- curl on the loop ----------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *handle) {
  free(CONTAINER(handle, struct poll, handle));
}

static int curl_flags(int events) {
  return (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
}

/* libuv stops a handle on an error; curl, asked without flags, looks for itself, and may find
 * that there is still something to read. */
static void on_poll(uv_poll_t *handle, int status, int events) {
  struct poll *poll = CONTAINER(handle, struct poll, handle);
  struct room *room = poll->room;
  int running;
  curl_multi_socket_action(room->multi, poll->fd, status < 0 ? 0 : curl_flags(events), &running);
  if (status < 0 && !uv_is_closing((uv_handle_t *)handle))
    uv_poll_start(handle, poll->events, on_poll);
  rt_enqueue(room->rt, &room->job);
}

/* curl_multi_assign is the one call of curl's that belongs into its callback. */
static struct poll *new_poll(struct room *room, curl_socket_t fd) {
  struct poll *poll = calloc(1, sizeof *poll);
  if (!poll)
    return NULL;
  poll->room = room;
  poll->fd = fd;
  if (uv_poll_init_socket(rt_loop(room->rt), &poll->handle, fd) != 0) {
    free(poll);
    return NULL;
  }
  curl_multi_assign(room->multi, fd, poll);
  return poll;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *room, void *assigned) {
  struct poll *poll = assigned;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (poll)
      uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
    return 0;
  }
  if (!poll)
    poll = new_poll(room, fd);
  if (!poll)
    return -1;
  poll->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&poll->handle, poll->events, on_poll) == 0 ? 0 : -1;
}

static void on_timeout(uv_timer_t *timer) {
  struct room *room = CONTAINER(timer, struct room, timer);
  int running;
  curl_multi_socket_action(room->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  rt_enqueue(room->rt, &room->job);
}

static int on_set_timeout(CURLM *multi, long ms, void *arg) {
  struct room *room = arg;
  (void)multi;
  if (ms < 0)
    uv_timer_stop(&room->timer);
  else
    uv_timer_start(&room->timer, on_timeout, (uint64_t)ms, 0);
  return 0;
}

/* ---- the drain point ------------------------------------------------------------------------ */

static void collect_finished(struct room *room) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(room->multi, &left))) {
    struct http_transfer *transfer = NULL;
    if (message->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
    if (transfer->over)
      continue;
    transfer->result = message->data.result;
    transfer_over(transfer);
  }
}

static void finish(struct http_transfer *transfer, struct rt *rt, lua_State *L) {
  struct reason *reason = &transfer->reason;
  detach(transfer);
  if (!reason->err && transfer->result != CURLE_OK)
    explain(transfer);
  if (!reason->err && goes_to_file(transfer))
    commit_file(transfer);
  if (transfer->progress_job.queued) { /* it comes before the end */
    rt_dequeue(rt, &transfer->progress_job);
    run_progress(rt, L, &transfer->progress_job);
  }
  forget(transfer);
  if (reason->err)
    transfer->done(transfer->owner, 0, "", 0, reason);
  else
    transfer->done(transfer->owner, transfer->status, transfer->body.data ? transfer->body.data : "",
                   transfer->body.length, NULL);
  transfer_free(transfer);
}

/* An owner that is told may cancel other transfers, so the list is begun anew each time. */
static void room_drain(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct room *room = CONTAINER(job, struct room, job);
  collect_finished(room);
  while (room->over.next != &room->over) {
    struct http_transfer *transfer = CONTAINER(room->over.next, struct http_transfer, link);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget() takes it off the list */
    finish(transfer, rt, L);
  }
}

/* ---- the room of a runtime ------------------------------------------------------------------ */

static void cancel_all(struct rt_list *head) {
  struct rt_list *item, *next;
  for (item = head->next; item != head; item = next) {
    next = item->next;
    http_cancel(CONTAINER(item, struct http_transfer, link));
  }
}

static void room_closing(struct rt *rt, void *state) {
  struct room *room = state;
  cancel_all(&room->active);
  cancel_all(&room->over);
  curl_multi_cleanup(room->multi);
  room->multi = NULL;
  rt_dequeue(rt, &room->job);
  uv_close((uv_handle_t *)&room->timer, NULL);
}

static void room_closed(struct rt *rt, void *state) {
  (void)rt;
  free(state);
}

static long room_count(void *state) {
  return ((struct room *)state)->count;
}

static const struct rt_room_ops room_ops = {room_closing, room_closed, "transfers", room_count};

static bool multi_init(struct room *room) {
  room->multi = curl_multi_init();
  if (!room->multi)
    return false;
  curl_multi_setopt(room->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(room->multi, CURLMOPT_SOCKETDATA, room);
  curl_multi_setopt(room->multi, CURLMOPT_TIMERFUNCTION, on_set_timeout);
  curl_multi_setopt(room->multi, CURLMOPT_TIMERDATA, room);
  curl_multi_setopt(room->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
  curl_multi_setopt(room->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
  return true;
}

static struct room *room_get(struct rt *rt) {
  struct room *room = rt_room(rt, ROOM_HTTP);
  if (room)
    return room->multi ? room : NULL;
  room = calloc(1, sizeof *room);
  if (!room || !multi_init(room)) {
    free(room);
    return NULL;
  }
  room->rt = rt;
  room->job.run = room_drain;
  rt_list_init(&room->active);
  rt_list_init(&room->over);
  uv_timer_init(rt_loop(rt), &room->timer);
  rt_set_room(rt, ROOM_HTTP, room, &room_ops);
  return room;
}

/* ---- for the rest of the core --------------------------------------------------------------- */

struct http_transfer *http_start(struct rt *rt, const struct http_request *request, http_done done,
                                 void *owner) {
  struct room *room = room_get(rt);
  struct http_transfer *transfer = room ? calloc(1, sizeof *transfer) : NULL;
  if (!transfer)
    return NULL;
  transfer->room = room;
  transfer->done = done;
  transfer->owner = owner;
  transfer->fd = -1;
  transfer->total.fire = fire_total;
  transfer->phase.fire = fire_phase;
  transfer->progress_job.run = run_progress;
  transfer->easy = curl_easy_init();
  if (!transfer->easy) {
    free(transfer);
    return NULL;
  }
  rt_list_add(&room->active, &transfer->link);
  room->count++;
  rt_ref(rt);
  rt_underway(rt, 1);
  set_up(transfer, request);
  if (transfer->reason.err || transfer->result != CURLE_OK)
    transfer_over(transfer);
  else
    attach(transfer);
  return transfer;
}

const char *http_headers(const struct http_transfer *transfer, size_t *length) {
  *length = transfer->headers.length;
  return transfer->headers.data;
}

void http_take_body(struct http_transfer *transfer, struct buffer *out) {
  *out = transfer->body;
  memset(&transfer->body, 0, sizeof transfer->body);
}

bool http_saved(const struct http_transfer *transfer) {
  return transfer->saved;
}

int http_count(struct rt *rt) {
  struct room *room = rt_room(rt, ROOM_HTTP);
  return room ? room->count : 0;
}
