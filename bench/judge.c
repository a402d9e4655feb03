/*
 * judge.c - the messages the load server pushes, and the rules a client's frames are held to.
 * Every push has a number, which is its id, is in its text and tells its chat; a ring remembers what became
 * of it. SPDX-License-Identifier: MIT
 */
#include "server.h"

#define CHAT_PREFIX "a1b2c3d4e5f60718293a4b5c6d7e8f90" /* a chat id is this and 8 digits */
#define MESSAGE_PREFIX "b4d80c2e-71f5-4e5e-9f6b-"      /* a message id is this and 12 digits */
#define TEXT_PREFIX "Hello bot, what is new? "
#define CHAT_DIGITS 8
#define FIRST_CHAT 12345678
#define MESSAGE_DIGITS 12
#define RING 65536 /* pushes that can be told apart */

struct push {
  uint64_t id;
  double sent_at;
  bool acked, answered;
};

static struct conn *pushed_to; /* the first connection that was authorized */
static struct push ring[RING];
static double next_push_at;

/* Pushes ------------------------------------------------------------------------------------------ */

static void respond(struct conn *c, uint64_t id, const char *payload) {
  struct buffer *b = frame_begin();
  put_text(b, "{\"type\":2,\"id\":");
  put_number(b, id, 1);
  put_text(b, ",\"payload\":");
  put_text(b, payload);
  put_text(b, "}");
  frame_end(c);
}

/* The chat of push n. */
static uint64_t chat_of(uint64_t n) {
  return FIRST_CHAT + n % (uint64_t)opt.chats;
}

static void put_chat(struct buffer *b, uint64_t n) {
  put_text(b, CHAT_PREFIX);
  put_number(b, chat_of(n), CHAT_DIGITS);
}

/* A message from a person, complete as an envelope of a real server is. */
static void put_message(struct buffer *b, uint64_t n) {
  put_text(b, "{\"type\":1,\"id\":");
  put_number(b, n, 1);
  put_text(b, ",\"method\":\"sendMessage\",\"payload\":{\"messageId\":\"" MESSAGE_PREFIX);
  put_number(b, n, MESSAGE_DIGITS);
  put_text(b, "\",\"chatId\":\"");
  put_chat(b, n);
  put_text(b, "\",\"chat\":{\"chatId\":\"");
  put_chat(b, n);
  put_text(
      b, "\",\"chatTitle\":null,\"chatType\":1},\"timestamp\":1788000010000,\"isEdited\":false,\"type\":200,"
         "\"author\":{\"id\":\"alice@video.example.net\",\"type\":1},\"box\":{\"id\":");
  put_number(b, n, 1);
  put_text(b, ",\"position\":\"0\"},\"content\":{\"parseMode\":\"text\",\"text\":\"" TEXT_PREFIX);
  put_number(b, n, 1);
  put_text(b, "\"}}}");
}

static void push_one(struct conn *c) {
  uint64_t n = ++tally.pushes;
  put_message(frame_begin(), n);
  ring[n % RING] = (struct push){.id = n, .sent_at = now()};
  tally.open_pushes++;
  frame_end(c);
}

static bool may_push(double t) {
  const struct push *slot = &ring[(tally.pushes + 1) % RING];
  if (!pushed_to || tally.open_pushes >= (uint64_t)opt.window || t < next_push_at)
    return false;
  return slot->id == 0 || (slot->acked && slot->answered);
}

void push_more(double t) {
  while (may_push(t)) {
    push_one(pushed_to);
    if (opt.mode == RATE)
      next_push_at = t + 1 / opt.rate;
  }
}

/* Frames of the client ---------------------------------------------------------------------------- */

static struct push *find_push(uint64_t id) {
  struct push *p = &ring[id % RING];
  return id > 0 && p->id == id ? p : NULL;
}

static void push_settled(const struct push *p) {
  if (p->acked && p->answered)
    tally.open_pushes--;
}

static void on_ack(uint64_t id) {
  struct push *p = find_push(id);
  if (!p) {
    violation("ack of %llu, which is not open", (unsigned long long)id);
  } else if (p->acked) {
    violation("second ack of %llu", (unsigned long long)id);
  } else {
    p->acked = true;
    push_settled(p);
  }
}

static void keep_latency(double seconds) {
  if (!tally.timing)
    return;
  if (tally.latencies == tally.latency_cap) {
    tally.latency_cap = tally.latency_cap ? tally.latency_cap * 2 : 4096;
    tally.latency = must(realloc(tally.latency, tally.latency_cap * sizeof *tally.latency));
  }
  tally.latency[tally.latencies++] = seconds;
}

static bool chat_is(struct span chat, uint64_t n) {
  size_t prefix = strlen(CHAT_PREFIX);
  return chat.len == prefix + CHAT_DIGITS && memcmp(chat.at, CHAT_PREFIX, prefix) == 0 &&
         scan_number((struct span){chat.at + prefix, CHAT_DIGITS}) == chat_of(n);
}

/* The answer to a push: its text with the number at its end, in the chat it came from. */
static void on_answer(struct span payload) {
  struct span text = scan_field(scan_field(payload, "content"), "text");
  size_t prefix = strlen(TEXT_PREFIX);
  struct push *p = NULL;
  uint64_t n = 0;
  if (text.len > prefix && memcmp(text.at, TEXT_PREFIX, prefix) == 0)
    n = scan_number((struct span){text.at + prefix, text.len - prefix});
  p = find_push(n);
  if (!p) {
    violation("answer to nothing that is open: %.*s", (int)(text.len < 60 ? text.len : 60),
              text.at ? text.at : "");
  } else if (p->answered) {
    violation("second answer to %llu", (unsigned long long)n);
  } else {
    if (!chat_is(scan_field(payload, "chatId"), n))
      violation("answer to %llu in another chat", (unsigned long long)n);
    p->answered = true;
    tally.answers++;
    keep_latency(now() - p->sent_at);
    push_settled(p);
  }
}

static void on_send_message(struct conn *c, const struct frame *f) {
  if (!c->authorized) {
    violation("sendMessage before auth");
    respond(c, f->id, "{\"errorCode\":200}");
    return;
  }
  if (opt.mode == REQUEST)
    tally.requests++;
  else
    on_answer(f->payload);
  respond(c, f->id,
          "{\"chatId\":\"" CHAT_PREFIX "12345678\",\"messageId\":\"3f9d2c7e-5b1a-4c8f-9e6d-0a1b2c3d4e5f\","
          "\"timestamp\":1788000010300}");
}

static void on_auth(struct conn *c, const struct frame *f) {
  if (!span_is(scan_field(f->payload, "token"), TOKEN) ||
      !span_is(scan_field(f->payload, "tokenType"), "JWT")) {
    violation("auth with another token or tokenType");
    respond(c, f->id, "{\"errorCode\":201}");
    return;
  }
  respond(c, f->id,
          "{\"userId\":\"bot@video.example.net/"
          "9f8e7d6c\",\"connectionId\":\"c0ffee00-0000-4000-8000-000000000001\"}");
  if (c->authorized)
    violation("second auth on one connection");
  else
    tally.authorized++;
  c->authorized = true;
  if (!pushed_to)
    pushed_to = c;
}

static void on_request(struct conn *c, const struct frame *f) {
  if (f->id <= c->last_id)
    violation("request id %llu after %llu", (unsigned long long)f->id, (unsigned long long)c->last_id);
  c->last_id = f->id;
  if (span_is(f->method, "sendMessage"))
    on_send_message(c, f);
  else if (span_is(f->method, "auth"))
    on_auth(c, f);
  else
    respond(c, f->id, "{}");
}

static void on_text(struct conn *c, const char *text, size_t len) {
  struct frame f;
  if (!scan_frame(text, len, &f))
    violation("not a frame: %.*s", (int)(len < 60 ? len : 60), text);
  else if (f.type == 2)
    on_ack(f.id);
  else if (f.type == 1)
    on_request(c, &f);
  else
    violation("frame of type %d", f.type);
}

static void on_closed(struct conn *c) {
  if (c == pushed_to)
    pushed_to = NULL;
  if (c->authorized)
    fail("the client closed an authorized connection (violations so far: %llu %s)",
         (unsigned long long)tally.errors, tally.first_error);
}

const struct conn_ops judge = {on_text, on_closed};
