/*
 * echo.c - the client to compare with: plain C on libwebsockets with its libuv event loop, written as its
 * documentation and examples show. A queue of messages, and in the WRITEABLE callback lws_write until the
 * pipe is choked; with the argument "once" one lws_write per callback. It reads the same BENCH_* as
 * client.lua. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <libwebsockets.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/resource.h>

#include "span.h"

#define TOKEN_BODY                                                                                           \
  "{\"client_id\":\"chat_bot\",\"grant_type\":\"password\",\"username\":\"bot\",\"password\":\"pw\"}"
#define RECEIVE_SIZE 65536

struct message {
  struct message *next;
  size_t len;
  unsigned char bytes[]; /* LWS_PRE bytes of room for the header come first */
};

struct session {
  struct message *first, **end;
  char *part; /* what came of a message that is not complete */
  size_t part_len, part_cap;
  uint64_t last_id;
  bool authorized;
};

static struct lws_context *context;
static char token[1024];
static const char *mode, *ca_file;
static int port, window, conns, opened;
static bool use_tls, once;

static int env_number(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value && *value ? (int)strtol(value, NULL, 10) : otherwise;
}

__attribute__((noreturn)) static void fail(const char *what) {
  fprintf(stderr, "echo: %s\n", what);
  exit(1);
}

/* The token, by one blocking request -------------------------------------------------------------- */

static BIO *dial(void) {
  char address[32];
  BIO *bio;
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  if (use_tls) {
    SSL_CTX *trust = SSL_CTX_new(TLS_client_method());
    if (!trust || SSL_CTX_load_verify_locations(trust, ca_file, NULL) != 1)
      fail("cannot read BENCH_CERT");
    SSL_CTX_set_verify(trust, SSL_VERIFY_PEER, NULL);
    bio = BIO_new_ssl_connect(trust);
    BIO_set_conn_hostname(bio, address);
  } else {
    bio = BIO_new_connect(address);
  }
  if (!bio || BIO_do_connect(bio) != 1)
    fail("cannot connect for the token");
  return bio;
}

static void fetch_token(void) {
  char text[4096];
  size_t have = 0;
  struct span value;
  const char *body;
  BIO *bio = dial();
  BIO_printf(bio,
             "POST /bridge/api/client/v1/oauth/token HTTP/1.1\r\nHost: localhost:%d\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             port, strlen(TOKEN_BODY), TOKEN_BODY);
  do {
    int n = BIO_read(bio, text + have, (int)(sizeof text - have));
    if (n <= 0)
      fail("no answer to the token request");
    have += (size_t)n;
    body = memmem(text, have, "\r\n\r\n", 4);
  } while (!body || text[have - 1] != '}');
  BIO_free_all(bio);
  value = scan_field((struct span){body + 4, (size_t)(text + have - body - 4)}, "access_token");
  if (value.len == 0)
    fail("no token in the answer");
  snprintf(token, sizeof token, "%.*s", (int)value.len, value.at);
}

/* Sending ----------------------------------------------------------------------------------------- */

static void enqueue(struct lws *wsi, struct session *s, const char *text, size_t len) {
  struct message *m = malloc(sizeof *m + LWS_PRE + len);
  if (!m)
    fail("out of memory");
  m->next = NULL;
  m->len = len;
  memcpy(m->bytes + LWS_PRE, text, len);
  if (!s->end)
    s->end = &s->first;
  *s->end = m;
  s->end = &m->next;
  lws_callback_on_writable(wsi);
}

static int write_some(struct lws *wsi, struct session *s) {
  while (s->first) {
    struct message *m = s->first;
    if (lws_write(wsi, m->bytes + LWS_PRE, m->len, LWS_WRITE_TEXT) < (int)m->len)
      return -1;
    s->first = m->next;
    if (!s->first)
      s->end = &s->first;
    free(m);
    if (once || lws_send_pipe_choked(wsi))
      break;
  }
  if (s->first)
    lws_callback_on_writable(wsi);
  return 0;
}

static void send_auth(struct lws *wsi, struct session *s) {
  char text[1200];
  int n =
      snprintf(text, sizeof text,
               "{\"type\":1,\"id\":1,\"method\":\"auth\",\"payload\":{\"token\":\"%s\",\"tokenType\":\"JWT\","
               "\"receiveUnread\":false}}",
               token);
  s->last_id = 1;
  enqueue(wsi, s, text, (size_t)n);
}

static void send_ack(struct lws *wsi, struct session *s, uint64_t id) {
  char text[64];
  enqueue(wsi, s, text,
          (size_t)snprintf(text, sizeof text, "{\"type\":2,\"id\":%llu}", (unsigned long long)id));
}

static void send_message(struct lws *wsi, struct session *s, struct span chat, struct span what) {
  char text[2048];
  int n = snprintf(text, sizeof text,
                   "{\"type\":1,\"id\":%llu,\"method\":\"sendMessage\",\"payload\":{\"chatId\":\"%.*s\","
                   "\"content\":{\"text\":\"%.*s\",\"parseMode\":\"text\"}}}",
                   (unsigned long long)++s->last_id, (int)chat.len, chat.at, (int)what.len, what.at);
  if (n >= (int)sizeof text)
    fail("a message is too long");
  enqueue(wsi, s, text, (size_t)n);
}

static void send_ping_message(struct lws *wsi, struct session *s) {
  static const char chat[] = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678";
  send_message(wsi, s, (struct span){chat, sizeof chat - 1}, (struct span){"ping", 4});
}

/* Receiving --------------------------------------------------------------------------------------- */

static void open_connection(void);

static void on_authorized(struct lws *wsi, struct session *s) {
  s->authorized = true;
  if (opened < conns)
    open_connection();
  if (strcmp(mode, "req") == 0)
    for (int i = 0; i < window; i++)
      send_ping_message(wsi, s);
}

static void on_message(struct lws *wsi, struct session *s, const char *text, size_t len) {
  struct frame f;
  if (!scan_frame(text, len, &f))
    return;
  if (f.type == 1) {
    send_ack(wsi, s, f.id);
    if (span_is(f.method, "sendMessage"))
      send_message(wsi, s, scan_field(f.payload, "chatId"),
                   scan_field(scan_field(f.payload, "content"), "text"));
  } else if (!s->authorized) {
    on_authorized(wsi, s);
  } else if (strcmp(mode, "req") == 0) {
    send_ping_message(wsi, s);
  }
}

static void keep_part(struct session *s, const char *bytes, size_t len) {
  if (s->part_len + len > s->part_cap) {
    s->part_cap = (s->part_len + len) * 2;
    s->part = realloc(s->part, s->part_cap);
    if (!s->part)
      fail("out of memory");
  }
  memcpy(s->part + s->part_len, bytes, len);
  s->part_len += len;
}

static void on_receive(struct lws *wsi, struct session *s, const char *bytes, size_t len) {
  bool complete = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
  if (complete && s->part_len == 0) {
    on_message(wsi, s, bytes, len);
    return;
  }
  keep_part(s, bytes, len);
  if (complete) {
    on_message(wsi, s, s->part, s->part_len);
    s->part_len = 0;
  }
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
  switch (reason) {
  case LWS_CALLBACK_CLIENT_ESTABLISHED:
    send_auth(wsi, user);
    break;
  case LWS_CALLBACK_CLIENT_RECEIVE:
    on_receive(wsi, user, in, len);
    break;
  case LWS_CALLBACK_CLIENT_WRITEABLE:
    return write_some(wsi, user);
  case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    fail(in ? in : "cannot connect");
  case LWS_CALLBACK_CLIENT_CLOSED:
    fail("connection closed");
  default:
    break;
  }
  return 0;
}

/* Start ------------------------------------------------------------------------------------------- */

static const struct lws_protocols protocols[] = {
    {.name = "json.v1",
     .callback = on_event,
     .per_session_data_size = sizeof(struct session),
     .tx_packet_size = RECEIVE_SIZE},
    {.name = NULL},
};

static void open_connection(void) {
  struct lws_client_connect_info info = {
      .context = context,
      .address = "127.0.0.1",
      .host = "localhost",
      .origin = "localhost",
      .port = port,
      .path = "/websocket/chat_bot/",
      .protocol = protocols[0].name,
      .ssl_connection = use_tls ? LCCSCF_USE_SSL : 0,
  };
  opened++;
  if (!lws_client_connect_via_info(&info))
    fail("cannot connect");
}

static void open_context(void) {
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN,
      .protocols = protocols,
      .gid = (gid_t)-1,
      .uid = (uid_t)-1,
      .pt_serv_buf_size = RECEIVE_SIZE,
      .options = LWS_SERVER_OPTION_LIBUV | (use_tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0),
      .client_ssl_ca_filepath = use_tls ? ca_file : NULL,
  };
  lws_set_log_level(LLL_ERR, NULL);
  context = lws_create_context(&info);
  if (!context)
    fail("no libwebsockets context; is libwebsockets-evlib-uv installed?");
}

static void raise_file_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

int main(int argc, char **argv) {
  once = argc > 1 && strcmp(argv[1], "once") == 0;
  mode = getenv("BENCH_MODE");
  ca_file = getenv("BENCH_CERT");
  port = env_number("BENCH_PORT", 0);
  window = env_number("BENCH_WINDOW", 64);
  conns = env_number("BENCH_CONNS", 1);
  use_tls = env_number("BENCH_TLS", 0) != 0;
  if (!mode || port == 0)
    fail("started by the load server only: BENCH_MODE and BENCH_PORT are missing");
  raise_file_limit();
  fetch_token();
  open_context();
  open_connection();
  while (lws_service(context, 0) >= 0)
    continue;
  return 0;
}
