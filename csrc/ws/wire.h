/*
 * ws/wire.h - the frames of one established WebSocket connection, at either end.
 *
 * Received bytes are in the inbox, and are read there at the drain point (frames.h). Outgoing frames
 * are built here (a client's are masked) and everything queued in one loop turn leaves in one write:
 * the system call per frame is the largest cost a chat client has.
 *
 * This header does not include libwebsockets.h, so that rooms above may hold a wire; only ws/ and server/ do.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_WIRE_H
#define TRUECONF_WIRE_H

#include "base/buffer.h"
#include "base/errors.h"
#include "loop/runtime.h"
#include "ws/frames.h"

enum wire_opcode {
  WIRE_CONTINUE = 0x0,
  WIRE_TEXT = 0x1,
  WIRE_BINARY = 0x2,
  WIRE_CLOSE = 0x8,
  WIRE_PING = 0x9,
  WIRE_PONG = 0xA
};
enum {
  WIRE_FIN = 0x80,        /* the last frame of a message; or it into the first byte */
  WIRE_CHUNK = 65536,     /* bytes per write, and per read of the socket */
  WIRE_MOST_HEAD = 16384, /* bytes of one HTTP head; lws's own bound is 4096 */
  WIRE_NORMAL = 1000,     /* close codes */
  WIRE_GOING_AWAY = 1001,
  WIRE_ABNORMAL = 1006,
  WIRE_INTERNAL_ERROR = 1011,
};

struct lws;
struct lws_context;
struct lws_context_creation_info;
struct wire;

/* All are called at the drain point, on the thread that runs the loop; they may call Lua. */
struct wire_ops {
  /* One whole message. The owner may send, close, drop and call wire_free here, but the memory must stay
   * until the next job. */
  void (*message)(struct wire *wire, lua_State *L, const char *data, size_t length, bool binary);
  /* The connection is gone and wire->wsi is NULL; nothing comes after. The owner may free the wire. */
  void (*gone)(struct wire *wire, lua_State *L);
  /* There is room again after a frame was refused for max_unsent; may be NULL. */
  void (*drained)(struct wire *wire, lua_State *L);
};

struct wire_limits {
  size_t max_frame, max_unsent;       /* bytes */
  double ping_interval, pong_timeout; /* seconds; interval 0: no pings */
  double close_timeout;               /* seconds for the peer to answer our close */
  bool any_text;                      /* text that is not UTF-8 is no reason to close (RFC 6455, 8.1) */
};

struct wire_counters {
  uint64_t frames_in, frames_out, bytes_in, bytes_out;
};

struct wire {
  struct rt *rt;
  struct lws *wsi;                  /* NULL before wire_open and after the end */
  const struct wire_ops *ops;       /* NULL after wire_free */
  const struct wire_limits *limits; /* borrowed */
  struct wire_counters count;
  bool client;  /* frames are masked */
  bool open;    /* messages may be sent */
  bool dead;    /* the end has been noticed, gone is due */
  bool refused; /* a frame found no room, drained is due */
  bool deaf;    /* what still comes is dropped */
  bool ending;  /* both sides have said goodbye: it ends when that has left */
  bool faulty;  /* the other side has broken the protocol: it ends soon after it was told */

  struct buffer inbox; /* what came and is not read, and the beginning of a message in fragments */
  struct frames frames;

  bool owes_pong;     /* more pings came than the other side took answers: the newest counts */
  struct buffer ping; /* what it carries */

  struct buffer out; /* LWS_PRE bytes of headroom, then whole frames */
  struct rt_flush flush;
  struct rt_job job;
  struct rt_timer timer;       /* next ping, or the pong's deadline */
  struct rt_timer close_timer; /* the peer does not answer our close */
  uint64_t unanswered;         /* when the oldest unanswered ping left; 0: none */

  int close_code; /* ours while closing, the peer's or 1006 at the end */
  bool closing;
  char close_reason[124];
  struct reason reason; /* why it ended, for people */
};

/* The one lws context of the runtime, made when first needed. NULL: it cannot be made. */
struct lws_context *wire_context(struct rt *rt);
/* Fill what every vhost of ours has in common. Without `tls` no certificate store is loaded, which takes
 * longer than everything else a small bot does at its start. */
void wire_vhost_info(struct lws_context_creation_info *info, bool tls);

void wire_init(struct wire *wire, struct rt *rt, bool client, const struct wire_ops *ops,
               const struct wire_limits *limits);
/* The handshake is over. */
void wire_open(struct wire *wire, struct lws *wsi);
/* Bytes that came, frames of the other side. They are read at the drain point. */
void wire_feed(struct wire *wire, const void *data, size_t length);
/* Feed a callback of lws, `why` by enum lws_callback_reasons, for an open wire: receive, writeable, closed.
 * Returns what the callback must return. */
int wire_on(struct wire *wire, struct lws *wsi, int why, void *in, size_t length);
/* Queue one frame; `first` is the opcode with WIRE_FIN or without. false: closed or over max_unsent. */
bool wire_send(struct wire *wire, unsigned first, const void *data, size_t length);
/* Send bytes that are frames already, as a test of the other side needs. */
bool wire_send_raw(struct wire *wire, const void *data, size_t length);
size_t wire_unsent(const struct wire *wire);
/* Say goodbye after what is queued has left; `gone` follows. */
void wire_close(struct wire *wire, int code, const char *reason);
/* End it at once without a close frame; `gone` follows. Not from inside a callback of lws. */
void wire_drop(struct wire *wire, enum err err, const char *why);
/* The same after `sent` of the `length` bytes of a last message, in the middle of its frame if that is less;
 * what the system does not take at once is lost. */
void wire_drop_amid(struct wire *wire, const void *data, size_t length, size_t sent, const char *why);
/* Have lws end a connection at once; it tells us nothing more about it. */
void wire_kill(struct lws *wsi);
/* Say that nothing more is sent; the other side's end comes next. */
void wire_half_close(struct lws *wsi);
/* Stop or go on reading, so that the peer is held back by TCP. */
void wire_pause(struct wire *wire, bool pause);
/* Forget it: no op of the owner is called any more. */
void wire_free(struct wire *wire);

#endif
