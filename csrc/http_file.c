/*
 * http_file.c - a body that goes into a file.
 * SPDX-License-Identifier: MIT
 */
#include "http_private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_ATTEMPTS = 8 };

/* What is there already will be replaced, and only a regular file may be: no device, no directory. */
static bool may_replace(struct http_transfer *transfer, const char *path) {
  struct stat status;
  if (stat(path, &status) < 0 || S_ISREG(status.st_mode))
    return true;
  reason_set(&transfer->reason, ERR_IO, 0, "cannot write %s: it is not a regular file", path);
  return false;
}

/* The body goes to a name of its own beside the file and takes the file's place when complete. */
static bool open_beside(struct http_transfer *transfer, const char *path) {
  size_t size = strlen(path) + sizeof ".0123456789abcdef.part";
  uint64_t random;
  transfer->temporary = malloc(size);
  if (!transfer->temporary)
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
  http_fail_io(transfer, "create", path, errno);
  free(transfer->temporary); /* it is not ours to remove */
  transfer->temporary = NULL;
  return false;
}

/* The body goes into the file itself, behind what is there. */
static bool open_itself(struct http_transfer *transfer, const char *path) {
  struct stat status;
  transfer->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (transfer->fd < 0 || fstat(transfer->fd, &status) < 0) {
    http_fail_io(transfer, "open", path, errno);
    return false;
  }
  transfer->file_size = (uint64_t)status.st_size;
  return true;
}

bool http_open_file(struct http_transfer *transfer, const char *path, bool resume) {
  if (!may_replace(transfer, path))
    return false;
  transfer->save_to = strdup(path);
  if (!transfer->save_to)
    return false;
  transfer->resumes = resume;
  transfer->placed = !resume;
  return resume ? open_itself(transfer, path) : open_beside(transfer, path);
}

/* Does a part of the file come that begins there (RFC 9110, Content-Range)? */
static bool part_begins_at(const struct http_transfer *transfer, uint64_t offset) {
  const char *range = http_header(transfer, "content-range");
  char *end;
  if (!range || strncasecmp(range, "bytes ", 6) != 0 || !isdigit((unsigned char)range[6]))
    return false;
  errno = 0;
  return strtoull(range + 6, &end, 10) == offset && !errno && *end == '-';
}

/* The body goes on behind what is there, if the server agrees, else all of it comes and begins anew. */
static bool place_body(struct http_transfer *transfer) {
  bool is_part = transfer->status == 206;
  if (transfer->placed)
    return true;
  if (is_part && !part_begins_at(transfer, transfer->file_size)) {
    reason_set(&transfer->reason, ERR_PROTOCOL, 0, "%s gives another part of the file than was asked for",
               transfer->origin);
    return false;
  }
  if (!is_part)
    transfer->file_size = 0;
  if (ftruncate(transfer->fd, (off_t)transfer->file_size) < 0 ||
      lseek(transfer->fd, (off_t)transfer->file_size, SEEK_SET) < 0) {
    http_fail_io(transfer, "write", transfer->save_to, errno);
    return false;
  }
  transfer->kept = (int64_t)transfer->file_size;
  transfer->placed = true;
  return true;
}

void http_commit_file(struct http_transfer *transfer) {
  int closed;
  if (!place_body(transfer)) /* no byte came */
    return;
  closed = close(transfer->fd);
  transfer->fd = -1;
  if (closed < 0 || (transfer->temporary && rename(transfer->temporary, transfer->save_to) < 0)) {
    http_fail_io(transfer, "write", transfer->save_to, errno);
    return;
  }
  free(transfer->temporary);
  transfer->temporary = NULL;
  transfer->saved = true;
}

/* The page that comes with a 404 is not the file that was asked for. */
bool http_goes_to_file(const struct http_transfer *transfer) {
  return transfer->fd >= 0 && transfer->status / 100 == 2;
}

static bool has_room(struct http_transfer *transfer, size_t length) {
  size_t limit = transfer->max_file;
  if (!limit || (transfer->file_size <= limit && length <= limit - transfer->file_size))
    return true;
  http_fail_length(transfer, limit);
  return false;
}

bool http_write_file(struct http_transfer *transfer, const char *data, size_t length) {
  if (!place_body(transfer) || !has_room(transfer, length))
    return false;
  transfer->file_size += length;
  while (length) {
    ssize_t n = write(transfer->fd, data, length);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      http_fail_io(transfer, "write", transfer->save_to, errno);
      return false;
    }
    data += n;
    length -= (size_t)n;
  }
  return true;
}

void http_drop_file(struct http_transfer *transfer) {
  if (transfer->fd >= 0)
    close(transfer->fd);
  if (transfer->temporary)
    unlink(transfer->temporary);
  free(transfer->temporary);
  transfer->temporary = NULL;
  transfer->fd = -1;
}
