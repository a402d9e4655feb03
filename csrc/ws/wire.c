/*
 * ws/wire.c - the frames of one established WebSocket connection, at either end.
 * Owns: the inbox, the outgoing frames, the timers of ping, pong and close.
 * Borrows: the lws connection, which ends with a CLOSED callback; the owner (socket.c, listener.c) that
 * embeds the struct.
 * Loop thread only. Callbacks of lws copy and queue; Lua is reached only from the drain point.
 * SPDX-License-Identifier: MIT
 */
#include "ws/wire.h"

#include "base/explain.h"

#include <assert.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
  SMALL_FRAME = 140,
  LINGER = 1, /* seconds that the other side has to go, after it has broken the protocol */
};

/* ---- the context --------------------------------------------------------------------------------- */

/* Buffers pass from wire to wire: a busy one finds them warm, an idle one holds none. */
enum spare { SPARE_IN, SPARE_OUT, SPARES };

struct wires { /* the slot */
  struct lws_context *context;
  struct buffer spare[SPARES];
};

static void borrow(struct wire *wire, struct buffer *buffer, enum spare which) {
  struct wires *wires = rt_slot(wire->rt, SLOT_WIRE);
  if (buffer->data || !wires)
    return;
  *buffer = wires->spare[which];
  memset(&wires->spare[which], 0, sizeof *buffer);
}

static void give_back(struct wire *wire, struct buffer *buffer, enum spare which) {
  struct wires *wires = rt_slot(wire->rt, SLOT_WIRE);
  buffer->length = 0;
  if (wires && !wires->spare[which].data && buffer->capacity <= (size_t)2 * WIRE_CHUNK) {
    wires->spare[which] = *buffer;
    memset(buffer, 0, sizeof *buffer);
  } else {
    buffer_free(buffer);
  }
}

static void closing(struct rt *rt, void *state) {
  struct wires *wires = state;
  (void)rt;
  lws_context_destroy(wires->context); /* closes its handles; the loop turns; then again */
}

static void closed(struct rt *rt, void *state) {
  struct wires *wires = state;
  (void)rt;
  lws_context_destroy(wires->context);
  for (int i = 0; i < SPARES; i++)
    buffer_free(&wires->spare[i]);
  free(wires);
}

void wire_vhost_info(struct lws_context_creation_info *info, bool tls) {
  memset(info, 0, sizeof *info);
  info->port = CONTEXT_PORT_NO_LISTEN;
  info->gid = (gid_t)-1;
  info->uid = (uid_t)-1;
  info->pt_serv_buf_size = WIRE_CHUNK;
  info->options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  if (tls)
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  info->http_proxy_address = ""; /* else lws takes the environment's http_proxy, for loopback too */
  info->ka_time = 15;
  info->ka_interval = 15;
  info->ka_probes = 3;
}

struct lws_context *wire_context(struct rt *rt) {
  static const struct rt_slot_ops ops = {closing, closed, NULL, NULL};
  struct lws_context_creation_info info;
  struct wires *wires = rt_slot(rt, SLOT_WIRE);
  void *loops[1] = {rt_loop(rt)};
  if (wires)
    return wires->context;
  if (explain_shortage(SETUP_DESCRIPTORS)) /* lws would leave handles behind, and the loop never end */
    return NULL;
  wires = calloc(1, sizeof *wires);
  if (!wires)
    return NULL;
  lws_set_log_level(0, NULL); /* a library does not print; what matters comes as an error */
  wire_vhost_info(&info, true);
  info.foreign_loops = loops;
  info.timeout_secs = 3600; /* our own deadlines come first; by default lws gives a handshake five seconds */
  info.max_http_header_data = WIRE_MOST_HEAD;
  wires->context = lws_create_context(&info);
  if (!wires->context) {
    free(wires);
    return NULL;
  }
  rt_set_slot(rt, SLOT_WIRE, wires, &ops);
  return wires->context;
}

/* ---- outgoing ------------------------------------------------------------------------------------ */

static unsigned char *put_header(unsigned char *at, unsigned first, size_t length, bool masked) {
  unsigned char mask_bit = masked ? 0x80 : 0;
  *at++ = (unsigned char)first;
  if (length < 126) {
    *at++ = (unsigned char)(mask_bit | length);
  } else if (length < 65536) {
    *at++ = mask_bit | 126;
    *at++ = (unsigned char)(length >> 8);
    *at++ = (unsigned char)length;
  } else {
    *at++ = mask_bit | 127;
    for (int shift = 56; shift >= 0; shift -= 8)
      *at++ = (unsigned char)((uint64_t)length >> shift);
  }
  return at;
}

/* RFC 6455, 5.3: every frame of a client has a key of its own that nobody can guess. */
static unsigned char *put_masked(struct wire *wire, unsigned char *at, const unsigned char *data,
                                 size_t length) {
  unsigned char key[8];
  uint64_t wide, word;
  size_t i = 0;
  rt_random(wire->rt, key, 4);
  memcpy(key + 4, key, 4);
  memcpy(&wide, key, 8);
  memcpy(at, key, 4);
  at += 4;
  for (; i + 8 <= length; i += 8) {
    memcpy(&word, data + i, 8);
    word ^= wide;
    memcpy(at + i, &word, 8);
  }
  for (; i < length; i++)
    at[i] = data[i] ^ key[i & 3];
  return at + length;
}

static bool make_room(struct wire *wire, size_t length) {
  /* Acks and pings pass over the limit: they are as many as what came in, and must not be lost. */
  size_t limit = wire->limits->max_unsent * (length < SMALL_FRAME ? 2 : 1);
  if (!wire->open)
    return false;
  if (wire_unsent(wire) + length > limit) {
    wire->refused = true;
    return false;
  }
  borrow(wire, &wire->out, SPARE_OUT);
  if (!buffer_reserve(&wire->out, LWS_PRE + length))
    return false;
  if (!wire->out.length)
    wire->out.length = LWS_PRE;
  rt_flush_later(wire->rt, &wire->flush);
  return true;
}

static bool queue(struct wire *wire, unsigned first, const void *data, size_t length) {
  unsigned char *start, *at;
  if (!make_room(wire, length + 14))
    return false;
  start = (unsigned char *)wire->out.data + wire->out.length;
  at = put_header(start, first, length, wire->client);
  if (wire->client) {
    at = put_masked(wire, at, data, length);
  } else {
    memcpy(at, data, length);
    at += length;
  }
  wire->out.length += (size_t)(at - start);
  wire->count.frames_out++;
  return true;
}

bool wire_send(struct wire *wire, unsigned first, const void *data, size_t length) {
  return !wire->closing && queue(wire, first, data, length);
}

bool wire_send_raw(struct wire *wire, const void *data, size_t length) {
  return !wire->closing && make_room(wire, length) && buffer_append(&wire->out, data, length);
}

size_t wire_unsent(const struct wire *wire) {
  return wire->out.length ? wire->out.length - LWS_PRE : 0;
}

/* Something is to be done once all has left. */
static bool awaits_flush(const struct wire *wire) {
  return wire->refused || wire->ending || wire->faulty || wire->owes_pong;
}

/* Write what is queued until the system takes no more. lws sends LWS_WRITE_HTTP as it is, also on a
 * WebSocket connection, and keeps what the system did not take; only then must we wait. */
static int write_out(struct wire *wire) {
  size_t done = 0, left = wire_unsent(wire);
  assert(wire->wsi && (!wire->out.length || wire->out.length >= LWS_PRE));
  while (done < left && !lws_partial_buffered(wire->wsi)) {
    size_t n = left - done < WIRE_CHUNK ? left - done : WIRE_CHUNK;
    if (lws_write(wire->wsi, (unsigned char *)wire->out.data + LWS_PRE + done, n, LWS_WRITE_HTTP) < (int)n)
      return -1;
    done += n;
  }
  wire->count.bytes_out += done;
  if (done == left) {
    give_back(wire, &wire->out, SPARE_OUT);
    if (awaits_flush(wire))
      rt_enqueue(wire->rt, &wire->job);
  } else if (done) {
    memmove(wire->out.data + LWS_PRE, wire->out.data + LWS_PRE + done, left - done);
    wire->out.length -= done;
  }
  if (!wire->client) /* while lws holds something it reads nothing of a raw connection, but would spin */
    lws_rx_flow_control(wire->wsi, !lws_partial_buffered(wire->wsi));
  if (wire->out.length || (awaits_flush(wire) && lws_partial_buffered(wire->wsi)))
    lws_callback_on_writable(wire->wsi);
  return 0;
}

/* After the drain: lws writes directly, without a round through the poll. */
static void run_flush(struct rt_flush *flush) {
  struct wire *wire = container_of(flush, struct wire, flush);
  if (wire->wsi && write_out(wire))
    wire_drop(wire, ERR_DISCONNECTED, "the connection was lost while sending");
}

/* ---- pings --------------------------------------------------------------------------------------- */

static void schedule_ping(struct wire *wire) {
  double next = wire->limits->ping_interval, deadline;
  if (next <= 0)
    return;
  if (wire->unanswered) {
    deadline = wire->limits->pong_timeout - (double)(rt_monotonic(wire->rt) - wire->unanswered) / 1e9;
    if (deadline < next)
      next = deadline;
  }
  rt_timer_start(wire->rt, &wire->timer, next);
}

static void on_ping_timer(struct rt_timer *timer) {
  struct wire *wire = container_of(timer, struct wire, timer);
  uint64_t now = rt_monotonic(wire->rt);
  if (!wire->open)
    return;
  if (wire->unanswered && (double)(now - wire->unanswered) / 1e9 >= wire->limits->pong_timeout - 1e-6) {
    wire_drop(wire, ERR_TIMEOUT, "no PONG came in time");
    return;
  }
  wire_send(wire, WIRE_FIN | WIRE_PING, "p", 1);
  if (!wire->unanswered)
    wire->unanswered = now;
  schedule_ping(wire);
}

static void on_pong(struct wire *wire) {
  wire->unanswered = 0;
  schedule_ping(wire);
}

/* ---- the end ------------------------------------------------------------------------------------- */

static void on_closed(struct wire *wire) {
  if (!wire->wsi)
    return;
  assert(wire->ops && !wire->dead);
  lws_set_opaque_user_data(wire->wsi, NULL); /* lws may speak of it once more, when it frees it */
  wire->wsi = NULL;
  wire->open = false;
  rt_timer_stop(wire->rt, &wire->timer);
  rt_timer_stop(wire->rt, &wire->close_timer);
  rt_flush_forget(wire->rt, &wire->flush);
  wire->dead = true;
  rt_enqueue(wire->rt, &wire->job); /* what has come is handed over before */
}

/* Not LWS_TO_KILL_SYNC: that spends seconds on flushing what the peer does not take. The peer shall see
 * the end now, not when lws comes to it. */
void wire_kill(struct lws *wsi) {
  lws_set_opaque_user_data(wsi, NULL);
  shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
  lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
  lws_cancel_service(lws_get_context(wsi)); /* lws arms its timers only when it is serviced */
}

void wire_half_close(struct lws *wsi) {
  SSL *ssl = lws_get_ssl(wsi);
  if (ssl)
    SSL_shutdown(ssl);
  ERR_clear_error(); /* else lws takes it for one of its own calls */
  shutdown(lws_get_socket_fd(wsi), SHUT_WR);
}

static void on_close_timer(struct rt_timer *timer) {
  struct wire *wire = container_of(timer, struct wire, close_timer);
  wire_drop(wire, ERR_CLOSED, "the other side did not answer the close in time");
}

/* The close frame is built here: when a callback for writing ends a connection, lws 4.1 takes it for dead
 * and says no goodbye. */
void wire_close(struct wire *wire, int code, const char *reason) {
  char frame[2 + sizeof wire->close_reason];
  int n;
  if (!wire->open || wire->closing)
    return;
  n = snprintf(wire->close_reason, sizeof wire->close_reason, "%s", reason ? reason : "");
  if (n >= (int)sizeof wire->close_reason)
    n = sizeof wire->close_reason - 1;
  frame[0] = (char)(code >> 8);
  frame[1] = (char)code;
  memcpy(frame + 2, wire->close_reason, (size_t)n);
  wire_send(wire, WIRE_FIN | WIRE_CLOSE, frame, 2 + (size_t)n); /* no room: the timer ends it */
  wire->closing = true;
  wire->close_code = code;
  rt_timer_stop(wire->rt, &wire->timer);
  rt_timer_start(wire->rt, &wire->close_timer, wire->limits->close_timeout);
}

void wire_drop(struct wire *wire, enum err err, const char *why) {
  struct lws *wsi = wire->wsi;
  if (!wsi)
    return;
  if (!wire->close_code)
    wire->close_code = WIRE_ABNORMAL;
  if (wire->reason.err == ERR_NONE)
    reason_set(&wire->reason, err, wire->close_code, "%s", why);
  on_closed(wire);
  wire_kill(wsi);
}

void wire_drop_amid(struct wire *wire, const void *data, size_t length, size_t sent, const char *why) {
  assert(sent <= length);
  if (wire->wsi && wire_send(wire, WIRE_FIN | WIRE_TEXT, data, length)) {
    wire->out.length -= length - sent;
    write_out(wire); /* if it fails there is nobody to be told */
  }
  wire_drop(wire, ERR_CLOSED, why);
}

void wire_pause(struct wire *wire, bool pause) {
  if (wire->wsi)
    lws_rx_flow_control(wire->wsi, !pause);
}

/* ---- incoming ------------------------------------------------------------------------------------ */

/* Close, and overhear the rest. Never by an error returned to lws 4.1: it would go on to fill its buffer,
 * past the end. */
static void refuse(struct wire *wire, enum err err, int code, const char *what) {
  if (!wire->closing && wire->reason.err == ERR_NONE && err == ERR_PROTOCOL)
    reason_set(&wire->reason, err, code, "the other side broke the WebSocket protocol: %s (%d)", what, code);
  else if (!wire->closing && wire->reason.err == ERR_NONE)
    reason_set(&wire->reason, err, code, "%s", what);
  wire->ending = wire->closing;
  wire->faulty = wire->deaf = true;
  wire_close(wire, code, what);
  if (!wire->close_code)
    wire->close_code = code;
  if (wire->wsi && wire->limits->close_timeout > LINGER)
    rt_timer_start(wire->rt, &wire->close_timer, LINGER);
}

static void refuse_frame(struct wire *wire, const struct frames_found *found) {
  char what[64];
  if (found->code != FRAMES_TOO_BIG) {
    refuse(wire, ERR_PROTOCOL, found->code, found->what);
    return;
  }
  snprintf(what, sizeof what, "a message of more than %zu bytes came", wire->limits->max_frame);
  refuse(wire, ERR_LIMIT, found->code, what);
}

static void no_memory(struct wire *wire) {
  refuse(wire, ERR_NOMEM, WIRE_INTERNAL_ERROR, "no memory for a message");
}

void wire_feed(struct wire *wire, const void *data, size_t length) {
  struct buffer *inbox = &wire->inbox;
  wire->count.bytes_in += length;
  if (wire->deaf)
    return;
  borrow(wire, inbox, SPARE_IN);
  if (inbox->data && data == inbox->data + inbox->length)
    inbox->length += length; /* it was read in place */
  else if (!buffer_append(inbox, data, length))
    no_memory(wire);
  rt_enqueue(wire->rt, &wire->job);
}

/* Read in place what a client's connection has. lws hands it to wire_feed, also what it had read itself. */
static int read_in(struct wire *wire) {
  struct buffer *inbox = &wire->inbox;
  char *at = NULL;
  int space = 0, result; /* none: lws has a buffer of its own */
  if (!wire->deaf) {
    borrow(wire, inbox, SPARE_IN);
    if (buffer_reserve(inbox, WIRE_CHUNK)) {
      at = inbox->data + inbox->length;
      space = WIRE_CHUNK;
    }
  }
  result = lws_http_client_read(wire->wsi, &at, &space);
  if (!inbox->length && inbox->data)
    give_back(wire, inbox, SPARE_IN);
  return result ? -1 : 0;
}

struct message {
  struct wire *wire;
  const struct frames_found *found;
};

static int l_message(lua_State *L) {
  const struct message *message = lua_touserdata(L, 1);
  struct wire *wire = message->wire;
  const struct frames_found *found = message->found;
  wire->ops->message(wire, L, found->data, found->length, found->binary);
  assert(lua_gettop(L) == 1);
  return 0;
}

static void hand_over(struct wire *wire, lua_State *L, const struct frames_found *found) {
  wire->count.frames_in++;
  if (rt_protected(L, l_message, &(struct message){wire, found}) || !wire->ops)
    return;
  wire_drop(wire, ERR_NOMEM, "no memory for a message");
  wire->deaf = true; /* what came after it must not be handled before it */
}

/* RFC 6455, 5.5.2 and 5.5.3: at once, also while we wait for the answer to our close. A side that does not
 * read gets the answer to its newest ping. */
static void on_ping(struct wire *wire, const void *data, size_t length) {
  if (!wire->owes_pong && wire_unsent(wire) < wire->limits->max_unsent &&
      queue(wire, WIRE_FIN | WIRE_PONG, data, length))
    return;
  wire->owes_pong = wire->open;
  wire->ping.length = 0;
  if (!buffer_append(&wire->ping, data, length))
    wire->owes_pong = false;
}

static void send_pong(struct wire *wire) {
  wire->owes_pong = false;
  queue(wire, WIRE_FIN | WIRE_PONG, wire->ping.data, wire->ping.length);
  buffer_free(&wire->ping);
}

static void on_close(struct wire *wire, const struct frames_found *found) {
  const char *colon = found->length ? ": " : "";
  unsigned char code[2] = {(unsigned char)(found->code >> 8), (unsigned char)found->code};
  wire->deaf = wire->ending = true;
  if (wire->closing || wire->close_code)
    return; /* the answer to ours, or it was dropped */
  queue(wire, WIRE_FIN | WIRE_CLOSE, code, found->code == FRAMES_NO_CODE ? 0 : sizeof code);
  wire->open = false;
  wire->close_code = found->code;
  memcpy(wire->close_reason, found->data, found->length);
  wire->close_reason[found->length] = 0;
  reason_set(&wire->reason, ERR_DISCONNECTED, wire->close_code,
             "the other side closed the connection (%d%s%s)", wire->close_code, colon, wire->close_reason);
  if (!wire->wsi)
    return;
  rt_timer_stop(wire->rt, &wire->timer);
  rt_timer_start(wire->rt, &wire->close_timer, wire->limits->close_timeout);
}

static void on_frame(struct wire *wire, lua_State *L, enum frames_event event,
                     const struct frames_found *found) {
  switch (event) {
  case FRAMES_MESSAGE:
    hand_over(wire, L, found);
    break;
  case FRAMES_PING:
    on_ping(wire, found->data, found->length);
    break;
  case FRAMES_PONG:
    on_pong(wire);
    break;
  case FRAMES_CLOSE:
    on_close(wire, found);
    break;
  default:
    refuse_frame(wire, found);
  }
}

/* The rest is the beginning of a frame: keep it for the bytes to come. */
static void keep_rest(struct wire *wire, struct buffer *taken) {
  if (!wire->ops || wire->deaf)
    taken->length = 0;
  else
    taken->length = frames_compact(&wire->frames, taken->data, taken->length);
  if (taken->length && !buffer_append(taken, wire->inbox.data, wire->inbox.length))
    no_memory(wire);
  else if (taken->length) {
    buffer_free(&wire->inbox);
    wire->inbox = *taken;
    return;
  }
  give_back(wire, taken, SPARE_IN);
}

/* Hand over what is complete. The inbox is taken first: what arrives meanwhile must not move it. */
static void deliver(struct wire *wire, lua_State *L) {
  struct buffer taken = wire->inbox;
  struct frames_found found;
  enum frames_event event;
  memset(&wire->inbox, 0, sizeof wire->inbox);
  while (wire->ops && !wire->deaf &&
         (event = frames_next(&wire->frames, taken.data, taken.length, &found)) != FRAMES_MORE)
    on_frame(wire, L, event, &found);
  keep_rest(wire, &taken);
}

/* Nothing of ours waits, also not in lws. */
static bool is_flushed(const struct wire *wire) {
  return wire->wsi && !wire->out.length && !lws_partial_buffered(wire->wsi);
}

/* The other side reads our close frame, and then that nothing follows. Its own end comes next: where it had
 * sent more than we have read, an end at once would reset the connection, and take the close frame with it.
 */
static void end_sending(struct wire *wire) {
  wire_half_close(wire->wsi);
  wire->faulty = false;
}

static void on_flushed(struct wire *wire, lua_State *L) {
  struct lws *wsi = wire->wsi;
  if (wire->owes_pong)
    send_pong(wire);
  if (wire->refused) {
    wire->refused = false;
    if (wire->ops->drained)
      wire->ops->drained(wire, L);
  }
  if (!wire->ops || !is_flushed(wire))
    return;
  if (wire->ending) {
    on_closed(wire);
    wire_kill(wsi);
  } else if (wire->faulty) {
    end_sending(wire);
  }
}

/* Why it is gone, if nothing has told. */
static void settle_end(struct wire *wire) {
  if (!wire->close_code)
    wire->close_code = WIRE_ABNORMAL;
  if (wire->reason.err == ERR_NONE)
    reason_set(&wire->reason, wire->closing ? ERR_CLOSED : ERR_DISCONNECTED, wire->close_code,
               wire->closing ? "the connection was closed" : "the connection was lost");
}

static void run_wire(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct wire *wire = container_of(job, struct wire, job);
  (void)rt;
  if (wire->inbox.length)
    deliver(wire, L);
  if (wire->ops && is_flushed(wire))
    on_flushed(wire, L);
  if (wire->ops && wire->dead) {
    assert(!wire->wsi && !wire->open);
    wire->dead = false;
    settle_end(wire);
    wire->ops->gone(wire, L);
  }
}

/* ---- callbacks of lws ---------------------------------------------------------------------------- */

int wire_on(struct wire *wire, struct lws *wsi, int why, void *in, size_t length) {
  if (wire->wsi != wsi)
    return 0;
  switch (why) {
  case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
    return read_in(wire);
  case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
  case LWS_CALLBACK_RAW_RX:
    wire_feed(wire, in, length);
    return 0;
  case LWS_CALLBACK_CLIENT_HTTP_WRITEABLE:
  case LWS_CALLBACK_RAW_WRITEABLE:
    return write_out(wire);
  case LWS_CALLBACK_COMPLETED_CLIENT_HTTP: /* its end, for lws */
    return -1;
  case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
  case LWS_CALLBACK_RAW_CLOSE:
  case LWS_CALLBACK_WSI_DESTROY:
    on_closed(wire);
    return 0;
  default:
    return 0;
  }
}

/* ---- life ---------------------------------------------------------------------------------------- */

void wire_init(struct wire *wire, struct rt *rt, bool client, const struct wire_ops *ops,
               const struct wire_limits *limits) {
  memset(wire, 0, sizeof *wire);
  wire->rt = rt;
  wire->client = client;
  wire->ops = ops;
  wire->limits = limits;
  wire->frames.masked = !client;
  wire->frames.any_text = limits->any_text;
  wire->frames.max_message = limits->max_frame;
  wire->flush.run = run_flush;
  wire->job.run = run_wire;
  wire->timer.fire = on_ping_timer;
  wire->close_timer.fire = on_close_timer;
}

void wire_open(struct wire *wire, struct lws *wsi) {
  assert(wire->ops && !wire->wsi && !wire->dead);
  wire->wsi = wsi;
  wire->open = true;
  schedule_ping(wire);
}

void wire_free(struct wire *wire) {
  wire->wsi = NULL;
  wire->ops = NULL;
  wire->open = wire->dead = false;
  rt_timer_stop(wire->rt, &wire->timer);
  rt_timer_stop(wire->rt, &wire->close_timer);
  rt_flush_forget(wire->rt, &wire->flush);
  rt_dequeue(wire->rt, &wire->job);
  buffer_free(&wire->inbox);
  buffer_free(&wire->ping);
  buffer_free(&wire->out);
}
