/*
 * frames.c - what comes on a WebSocket connection, at either end: cut into pieces it says what it says in
 * one, and wslay finds the same messages, pings, pongs, closes and codes. The first byte tells the end,
 * whether any text is taken, and the pieces. Differences that are known: wslay does not look at masking, does
 * not bound fragments without a byte, knows other close codes, takes a close frame of one byte, and refuses
 * text at its first bad byte.
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "base/buffer.h"
#include "ws/frames.h"

#include <wslay/wslay.h>

enum { LIMIT = 1000 };

/* The result in words. */
struct log {
  struct buffer text;
  int code;   /* of a violation; 0: there was none */
  int closed; /* the code of the close frame; 0: none came */
  const char *what;
};

static void note(struct log *log, char kind, const void *data, size_t length) {
  CHECK(buffer_printf(&log->text, "%c%zu:", kind, length) && buffer_append(&log->text, data, length),
        "memory");
}

static void note_close(struct log *log, int code, const void *reason, size_t length) {
  CHECK(buffer_printf(&log->text, "c%d", code), "memory");
  note(log, ':', reason, length);
  log->closed = code;
}

/* ---- ours ---------------------------------------------------------------------------------------- */

static void check_found(const struct frames_found *found, const char *data, size_t length) {
  CHECK(found->data >= data && found->data + found->length <= data + length, "a slice beyond the buffer");
}

/* Returns what is left to read. */
static size_t read_some(struct frames *frames, char *data, size_t length, struct log *log) {
  struct frames_found found;
  enum frames_event event;
  while (!log->closed && !log->code && (event = frames_next(frames, data, length, &found)) != FRAMES_MORE) {
    if (event == FRAMES_VIOLATION) {
      log->code = found.code;
      log->what = found.what;
      continue;
    }
    check_found(&found, data, length);
    if (event == FRAMES_MESSAGE)
      note(log, found.binary ? 'b' : 't', found.data, found.length);
    else if (event == FRAMES_CLOSE)
      note_close(log, found.code, found.data, found.length);
    else
      note(log, event == FRAMES_PING ? '?' : '!', found.data, found.length);
  }
  CHECK(frames->at <= length, "at %zu of %zu", frames->at, length);
  return frames_compact(frames, data, length);
}

/* Bytes that wait are in a buffer of their very size, so that a byte too far is seen. */
static void read_ours(const uint8_t *bytes, size_t size, unsigned how, size_t piece, struct log *log) {
  struct frames frames = {.masked = how & 1, .any_text = how & 2, .max_message = LIMIT};
  char *data = NULL;
  size_t length = 0;
  for (size_t came = 0; came < size && !log->code && !log->closed;) {
    size_t n = size - came < piece ? size - came : piece;
    data = realloc(data, length + n);
    CHECK(data, "memory");
    memcpy(data + length, bytes + came, n);
    came += n;
    length = read_some(&frames, data, length + n, log);
    CHECK(length <= LIMIT + LIMIT + 14 + piece, "%zu bytes are kept", length);
  }
  free(data);
}

/* ---- theirs -------------------------------------------------------------------------------------- */

struct feed {
  const uint8_t *at;
  size_t left;
  size_t zeros; /* after the end: wslay waits for a whole head, we refuse what is wrong in half of it */
  struct log log;
};

static ssize_t on_read(wslay_event_context_ptr context, uint8_t *into, size_t space, int flags, void *user) {
  struct feed *feed = user;
  size_t *left = feed->left ? &feed->left : &feed->zeros, n = *left < space ? *left : space;
  (void)flags;
  if (!n) {
    wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  if (feed->left)
    memcpy(into, feed->at, n);
  else
    memset(into, 0, n);
  feed->at += feed->left ? n : 0;
  *left -= n;
  return (ssize_t)n;
}

static ssize_t on_write(wslay_event_context_ptr context, const uint8_t *data, size_t length, int flags,
                        void *user) {
  (void)context, (void)data, (void)flags, (void)user;
  return (ssize_t)length;
}

static int on_mask(wslay_event_context_ptr context, uint8_t *key, size_t length, void *user) {
  (void)context, (void)user;
  memset(key, 0, length);
  return 0;
}

static void on_message(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user) {
  static const char kinds[] = {
      [WSLAY_TEXT_FRAME] = 't', [WSLAY_BINARY_FRAME] = 'b', [WSLAY_PING] = '?', [WSLAY_PONG] = '!'};
  struct log *log = &((struct feed *)user)->log;
  size_t code = arg->msg_length >= 2 ? 2 : 0;
  (void)context;
  if (arg->opcode == WSLAY_CONNECTION_CLOSE)
    note_close(log, code ? arg->status_code : FRAMES_NO_CODE, code ? arg->msg + code : arg->msg,
               arg->msg_length - code);
  else
    note(log, kinds[arg->opcode], arg->msg, arg->msg_length);
}

/* The code is in the answer that wslay would send. */
static void read_theirs(struct feed *feed, bool server) {
  struct wslay_event_callbacks callbacks = {.recv_callback = on_read,
                                            .send_callback = on_write,
                                            .genmask_callback = on_mask,
                                            .on_msg_recv_callback = on_message};
  wslay_event_context_ptr context;
  int failed = server ? wslay_event_context_server_init(&context, &callbacks, feed)
                      : wslay_event_context_client_init(&context, &callbacks, feed);
  CHECK(!failed, "wslay");
  wslay_event_config_set_max_recv_msg_length(context, LIMIT);
  wslay_event_recv(context);
  CHECK(!wslay_event_send(context), "wslay");
  if (wslay_event_get_close_sent(context) && !feed->log.closed)
    feed->log.code = wslay_event_get_status_code_sent(context);
  if (feed->log.code == FRAMES_NO_CODE) /* it has none for a broken head */
    feed->log.code = FRAMES_PROTOCOL_ERROR;
  wslay_event_context_free(context);
}

/* ---- both ---------------------------------------------------------------------------------------- */

static bool begins_with(const struct log *log, const struct log *beginning) {
  size_t length = beginning->text.length;
  return log->text.length >= length && (!length || !memcmp(log->text.data, beginning->text.data, length));
}

static bool same_text(const struct log *a, const struct log *b) {
  return a->text.length == b->text.length && begins_with(a, b);
}

/* Is it something that wslay does not refuse? */
static bool ours_alone(const struct log *log) {
  const char *what = log->what ? log->what : "";
  return strstr(what, "masked") || strstr(what, "close code") || strstr(what, "close frame of one byte") ||
         log->code == FRAMES_POLICY || (log->closed >= 1012 && log->closed <= 1014);
}

static void compare(const uint8_t *bytes, size_t size, unsigned how, const struct log *ours) {
  struct feed feed = {.at = bytes, .left = size, .zeros = ours->code ? 14 : 0};
  const struct log *theirs = &feed.log;
  bool sooner;
  read_theirs(&feed, how & 1);
  sooner = theirs->code == FRAMES_BAD_DATA; /* perhaps in a message that goes on */
  if (!ours_alone(ours) && !(how & 2)) {
    CHECK(sooner ? begins_with(ours, theirs) : same_text(ours, theirs), "<%.*s> and <%.*s> of wslay",
          (int)ours->text.length, ours->text.data, (int)theirs->text.length, theirs->text.data);
    CHECK(sooner || ours->code == theirs->code, "%d for %s, and %d of wslay", ours->code,
          ours->what ? ours->what : "nothing", theirs->code);
  }
  buffer_free(&feed.log.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct log whole = {0}, pieces = {0};
  unsigned how = size ? data[0] & 3 : 0;
  size_t piece = size ? (size_t)(data[0] >> 2) + 1 : 1;
  if (!size)
    return 0;
  read_ours(data + 1, size - 1, how, size, &whole);
  read_ours(data + 1, size - 1, how, piece, &pieces);
  CHECK(same_text(&whole, &pieces) && whole.code == pieces.code && whole.closed == pieces.closed &&
            whole.what == pieces.what,
        "pieces of %zu bytes", piece);
  compare(data + 1, size - 1, how, &whole);
  buffer_free(&whole.text);
  buffer_free(&pieces.text);
  return 0;
}
