/*
 * server/answer.c - the answer to a request: composed in memory, or its head there and its body read from a
 * file, and written at the pace of the client (backpressure). Meanwhile nothing is read. Loop thread only;
 * only composing may be called outside of a callback of lws. SPDX-License-Identifier: MIT
 */
#include "server/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  DATE = 40,            /* bytes of one */
  STALL_SECONDS = 30,   /* a client that takes nothing of its answer for so long is dropped */
  LINGER_SECONDS = 5,   /* for a refused client to read why, before the connection goes */
  PIECES_PER_TURN = 16, /* of a file, then others get their turn */
};

/* ---- composing ----------------------------------------------------------------------------------- */

static const char *phrase_of(int status) {
  static const struct {
    int status;
    const char *phrase;
  } phrases[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {206, "Partial Content"},
                 {301, "Moved Permanently"},
                 {302, "Found"},
                 {303, "See Other"},
                 {304, "Not Modified"},
                 {307, "Temporary Redirect"},
                 {308, "Permanent Redirect"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {409, "Conflict"},
                 {411, "Length Required"},
                 {413, "Content Too Large"},
                 {414, "URI Too Long"},
                 {415, "Unsupported Media Type"},
                 {416, "Range Not Satisfiable"},
                 {417, "Expectation Failed"},
                 {422, "Unprocessable Content"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {505, "HTTP Version Not Supported"},
                 {507, "Insufficient Storage"}};
  for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
    if (phrases[i].status == status)
      return phrases[i].phrase;
  return "Unknown";
}

/* The date of an answer (RFC 9110, 5.6.7). Not by strftime, whose words are those of the locale. */
static void write_date(const struct peer *peer, char date[DATE]) {
  static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  time_t seconds = (time_t)(rt_now(peer_rt(peer)) / 1000);
  struct tm tm;
  memset(&tm, 0, sizeof tm);
  gmtime_r(&seconds, &tm);
  snprintf(date, DATE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
           tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

bool answer_begin(struct exchange *exchange, int status) {
  static const char headroom[LWS_PRE];
  char date[DATE];
  assert(exchange->phase == RECEIVING || exchange->phase == READY || exchange->phase == ANSWERING);
  write_date(exchange->peer, date);
  buffer_reset(&exchange->out, WIRE_CHUNK);
  exchange->sent = LWS_PRE;
  return buffer_append(&exchange->out, headroom, sizeof headroom) &&
         buffer_printf(&exchange->out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, phrase_of(status), date);
}

static bool is_bodiless(int status) {
  return status == 204 || status == 304;
}

/* The headers that are ours. */
static bool end_head(struct exchange *exchange, int status, uint64_t length) {
  struct buffer *out = &exchange->out;
  if (!is_bodiless(status) && !buffer_printf(out, "Content-Length: %" PRIu64 "\r\n", length))
    return false;
  if (!exchange->keep && !buffer_puts(out, "Connection: close\r\n"))
    return false;
  if (exchange->keep && exchange->head.old && !buffer_puts(out, "Connection: keep-alive\r\n"))
    return false;
  return buffer_puts(out, "\r\n");
}

bool answer_end(struct exchange *exchange, int status, const char *body, size_t length) {
  if (!end_head(exchange, status, length))
    return false;
  return is_bodiless(status) || exchange->head.is_head || buffer_append(&exchange->out, body, length);
}

bool answer_end_with_file(struct exchange *exchange, int status) {
  if (!end_head(exchange, status, served_file_length(exchange->file)))
    return false;
  if (is_bodiless(status) || exchange->head.is_head) {
    served_file_free(exchange->file);
    exchange->file = NULL;
  }
  return true;
}

void answer_start(struct exchange *exchange) {
  struct lws *wsi = exchange->peer->wsi;
  assert(!exchange->job.queued && !exchange->pause.place && exchange->out.length > exchange->sent);
  exchange->phase = ANSWERING;
  exchange->began = uv_hrtime();
  exchange->moved = 0;
  exchange->paced = false;
  lws_rx_flow_control(wsi, 0);
  lws_callback_on_writable(wsi);
}

bool answer_plainly(struct exchange *exchange, int status, const char *more) {
  const char *phrase = phrase_of(status);
  if (!answer_begin(exchange, status) || !buffer_puts(&exchange->out, "Content-Type: text/plain\r\n") ||
      !buffer_puts(&exchange->out, more) || !answer_end(exchange, status, phrase, strlen(phrase)))
    return false;
  answer_start(exchange);
  return true;
}

int answer_refusing(struct exchange *exchange, int status, const char *more) {
  exchange_end_pause(exchange);
  upload_free(exchange->upload); /* half a file is gone before the client hears of it */
  exchange->upload = NULL;
  exchange->keep = false;
  return answer_plainly(exchange, status, more) ? 0 : -1;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static int wait_for_room(struct peer *peer) {
  if (admission_is_too_slow(peer->exchange))
    return -1;
  peer_expect(peer, STALL_SECONDS);
  lws_callback_on_writable(peer->wsi);
  return 0;
}

static void run_go_on(struct rt *rt, lua_State *L, struct rt_job *job) {
  struct exchange *exchange = container_of(job, struct exchange, job);
  (void)rt;
  (void)L;
  assert(exchange->phase == ANSWERING && exchange->file);
  lws_callback_on_writable(exchange->peer->wsi);
}

static void on_pause_over(struct rt_timer *timer) {
  struct exchange *exchange = container_of(timer, struct exchange, pause);
  exchange->job.run = run_go_on;
  rt_enqueue(peer_rt(exchange->peer), &exchange->job);
}

/* The file may go on after so many seconds. */
static int wait_for_time(struct exchange *exchange, double seconds) {
  peer_expect(exchange->peer, 0);
  exchange->paced = true;
  exchange->pause.fire = on_pause_over;
  rt_timer_start(peer_rt(exchange->peer), &exchange->pause, seconds);
  return 0;
}

/* RFC 9112, 9.6: the connection ends in steps. Further bytes are read and dropped: else the system would
 * reset the connection, and the client would lose the answer. */
static int linger(struct peer *peer) {
  peer->exchange->phase = LINGERING;
  wire_half_close(peer->wsi);
  buffer_free(&peer->inbox);
  peer_expect(peer, LINGER_SECONDS);
  lws_rx_flow_control(peer->wsi, 1);
  return 0;
}

static int answered(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  if (peer->listener->closing)
    return -1;
  if (!exchange->keep)
    return linger(peer);
  peer->exchange = NULL;
  peer->since = uv_hrtime();
  peer->heard = true;
  exchange_free(exchange);
  peer_expect(peer, KEEPALIVE_SECONDS);
  lws_rx_flow_control(peer->wsi, 1);
  return 0;
}

/* Write what is in `out` until the system takes no more. */
static bool write_out(struct exchange *exchange) {
  struct lws *wsi = exchange->peer->wsi;
  struct buffer *out = &exchange->out;
  while (exchange->sent < out->length && !lws_partial_buffered(wsi)) {
    size_t left = out->length - exchange->sent, n = left < WIRE_CHUNK ? left : WIRE_CHUNK;
    if (lws_write(wsi, (unsigned char *)out->data + exchange->sent, n, LWS_WRITE_HTTP) < (int)n)
      return false;
    exchange->sent += n;
    exchange->moved += n;
  }
  return true;
}

/* Read the next piece of the file into `out`. */
static enum served read_piece(struct exchange *exchange, double *seconds) {
  struct buffer *out = &exchange->out;
  size_t length = WIRE_CHUNK;
  enum served served;
  out->length = LWS_PRE;
  if (!buffer_reserve(out, WIRE_CHUNK))
    return SERVED_CUT;
  served = served_file_next(exchange->file, rt_monotonic(peer_rt(exchange->peer)), out->data + LWS_PRE,
                            &length, seconds);
  out->length += served == SERVED_PIECE ? length : 0;
  exchange->sent = LWS_PRE;
  return served;
}

int answer_on_writeable(struct peer *peer) {
  struct exchange *exchange = peer->exchange;
  double seconds = 0;
  if (!exchange || exchange->phase != ANSWERING)
    return 0;
  assert(!exchange->pause.place); /* nobody is told of room meanwhile */
  for (int pieces = 0; pieces <= PIECES_PER_TURN; pieces++) {
    enum served served;
    if (!write_out(exchange))
      return -1;
    if (lws_partial_buffered(peer->wsi))
      return wait_for_room(peer);
    served = exchange->file ? read_piece(exchange, &seconds) : SERVED_ALL;
    if (served == SERVED_LATER)
      return wait_for_time(exchange, seconds);
    if (served != SERVED_PIECE)
      return served == SERVED_ALL ? answered(peer) : -1;
  }
  return wait_for_room(peer);
}
