/*
 * http/file.c - a body that goes into a file.
 * SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Append the body to the file itself. */
static bool open_itself(struct http_transfer *transfer, const char *path) {
  struct replacement *file = &transfer->file;
  struct stat status;
  file->target = plain_file_target(path, &transfer->reason);
  if (!file->target)
    return false;
  file->fd = open(file->target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
  if (file->fd < 0 || fstat(file->fd, &status) < 0) {
    http_fail_io(transfer, "open", path, errno);
    return false;
  }
  transfer->file_size = (uint64_t)status.st_size;
  return true;
}

/* Without `resume` the body goes into a file beside it, which replaces the file when it is complete. */
bool http_open_file(struct http_transfer *transfer, const char *path, bool resume) {
  transfer->resumes = resume;
  transfer->placed = !resume;
  return resume ? open_itself(transfer, path)
                : replacement_begin(&transfer->file, path, 0666, &transfer->reason);
}

/* True if the answer is a part of the file that begins at this offset (RFC 9110, Content-Range). */
static bool part_begins_at(const struct http_transfer *transfer, uint64_t offset) {
  const char *range = http_header(transfer, "content-range");
  char *end;
  if (!range || strncasecmp(range, "bytes ", 6) != 0 || !isdigit((unsigned char)range[6]))
    return false;
  errno = 0;
  return strtoull(range + 6, &end, 10) == offset && !errno && *end == '-';
}

/* Append the body if the server sends the rest; if it sends the whole file, begin anew. */
static bool place_body(struct http_transfer *transfer) {
  bool is_part = transfer->status == 206;
  if (transfer->placed)
    return true;
  if (is_part && !part_begins_at(transfer, transfer->file_size)) {
    reason_set(&transfer->reason, ERR_PROTOCOL, 0, "%s sent another part of the file than the requested one",
               transfer->origin);
    return false;
  }
  if (!is_part)
    transfer->file_size = 0;
  if (ftruncate(transfer->file.fd, (off_t)transfer->file_size) < 0 ||
      lseek(transfer->file.fd, (off_t)transfer->file_size, SEEK_SET) < 0) {
    http_fail_io(transfer, "write", transfer->file.target, errno);
    return false;
  }
  transfer->kept = (int64_t)transfer->file_size;
  transfer->placed = true;
  return true;
}

/* The loop does not wait for the disk here: core.replace_file makes a file durable. */
void http_commit_file(struct http_transfer *transfer) {
  if (place_body(transfer)) /* no byte came */
    transfer->saved = replacement_commit(&transfer->file, false, &transfer->reason);
}

/* The body of a 404 is not the requested file. */
bool http_goes_to_file(const struct http_transfer *transfer) {
  return transfer->file.fd >= 0 && transfer->status / 100 == 2;
}

static bool has_space(struct http_transfer *transfer, size_t length) {
  size_t limit = transfer->max_file;
  if (!limit || (transfer->file_size <= limit && length <= limit - transfer->file_size))
    return true;
  http_fail_length(transfer, limit);
  return false;
}

bool http_write_file(struct http_transfer *transfer, const char *data, size_t length) {
  if (!place_body(transfer) || !has_space(transfer, length))
    return false;
  assert(transfer->file.fd >= 0 && !transfer->over);
  transfer->file_size += length;
  return replacement_write(&transfer->file, data, length, &transfer->reason);
}

void http_drop_file(struct http_transfer *transfer) {
  replacement_drop(&transfer->file);
}
