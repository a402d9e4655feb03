/*
 * server/served_file.c - a file, or a range of it, as the body of an answer, read as the client takes it.
 * Lua sees: the table given as body to Request:respond.
 * Owns: the descriptor. Reading is synchronous, at most one piece at a time.
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"
#include "server/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS_PER_SECOND = 20 /* in which a limited file leaves */ };

struct served_file {
  int fd;
  uint64_t at, left; /* the range not yet read */
  uint64_t uncut;    /* bytes until the connection is to be cut */
  double rate;       /* bytes per second; 0: no limit */
  double credit;     /* bytes that may leave now */
  uint64_t seen;     /* when the credit was last reckoned */
};

void served_file_read_options(lua_State *L, int table, struct served_range *range) {
  static const char *const known[] = {"path", "offset", "length", "rate", "cut_after", NULL};
  options_check_names(L, table, "body field", known);
  range->path = options_required_text(L, table, "body field", "path", NULL); /* the table keeps it */
  if (!*range->path)
    luaL_error(L, "body field 'path': it is empty");
  range->offset = options_integer(L, table, "body field", "offset", 0, LUA_MAXINTEGER, 0);
  range->length = options_integer(L, table, "body field", "length", 0, LUA_MAXINTEGER, -1);
  range->rate = options_integer(L, table, "body field", "rate", 1, LUA_MAXINTEGER, 0);
  range->cut_after = options_integer(L, table, "body field", "cut_after", 0, LUA_MAXINTEGER, -1);
}

/* Set `left` from the range and what there is. */
static bool fit(struct served_file *file, const struct served_range *range, struct reason *reason) {
  struct stat about;
  if (fstat(file->fd, &about) != 0) {
    reason_set(reason, ERR_IO, 0, "cannot read %s: %s", range->path, strerror(errno));
  } else if (!S_ISREG(about.st_mode)) {
    reason_set(reason, ERR_IO, 0, "cannot read %s: not a file", range->path);
  } else if (range->offset > about.st_size || range->length > about.st_size - range->offset) {
    reason_set(reason, ERR_IO, 0, "cannot read %s: it has %lld bytes, less than offset and length ask for",
               range->path, (long long)about.st_size);
  } else {
    file->at = (uint64_t)range->offset;
    file->left = (uint64_t)(range->length >= 0 ? range->length : about.st_size - range->offset);
    return true;
  }
  return false;
}

struct served_file *served_file_open(const struct served_range *range, uint64_t now, struct reason *reason) {
  struct served_file *file = calloc(1, sizeof *file);
  if (!file) {
    reason_set(reason, ERR_NOMEM, 0, "no memory for the answer");
    return NULL;
  }
  file->uncut = range->cut_after >= 0 ? (uint64_t)range->cut_after : UINT64_MAX;
  file->rate = (double)range->rate;
  file->seen = now;
  file->fd = open(range->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not hold us up */
  if (file->fd < 0)
    reason_set(reason, ERR_IO, 0, "cannot read %s: %s", range->path, strerror(errno));
  if (file->fd >= 0 && fit(file, range, reason))
    return file;
  served_file_free(file);
  return NULL;
}

uint64_t served_file_length(const struct served_file *file) {
  return file->left;
}

void served_file_free(struct served_file *file) {
  if (!file)
    return;
  if (file->fd >= 0)
    close(file->fd);
  free(file);
}

/* Add the bytes that the rate allows by now: at most one second's worth can be saved up. */
static void reckon(struct served_file *file, uint64_t now) {
  file->credit += file->rate * (double)(now - file->seen) / 1e9;
  if (file->credit > file->rate)
    file->credit = file->rate;
  file->seen = now;
}

/* Seconds until `length` bytes, or a step's worth of them, may leave. */
static double wait_for_credit(const struct served_file *file, size_t *length) {
  double step = file->rate / STEPS_PER_SECOND, wanted = (double)*length;
  if (wanted > step)
    wanted = step > 1 ? step : 1;
  if (file->credit + 1e-6 < wanted)
    return (wanted - file->credit) / file->rate;
  if ((double)*length > file->credit + 1e-6)
    *length = (size_t)(file->credit + 1e-6);
  return 0;
}

enum served served_file_next(struct served_file *file, uint64_t now, void *into, size_t *length,
                             double *seconds) {
  ssize_t n;
  if (!file->left)
    return SERVED_ALL;
  if (!file->uncut)
    return SERVED_CUT;
  if (*length > file->left)
    *length = (size_t)file->left;
  if (*length > file->uncut)
    *length = (size_t)file->uncut;
  if (file->rate > 0) {
    reckon(file, now);
    *seconds = wait_for_credit(file, length);
    if (*seconds > 0)
      return SERVED_LATER;
  }
  do
    n = pread(file->fd, into, *length, (off_t)file->at);
  while (n < 0 && errno == EINTR);
  if (n <= 0)
    return SERVED_CUT; /* it has shrunk, or cannot be read */
  *length = (size_t)n;
  file->at += (uint64_t)n;
  file->left -= (uint64_t)n;
  file->uncut -= (uint64_t)n;
  file->credit -= (double)n;
  return SERVED_PIECE;
}
