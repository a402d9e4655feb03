/*
 * http_file.c - a body that goes into a file.
 * SPDX-License-Identifier: MIT
 */
#include "http_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
bool http_open_file(struct http_transfer *transfer, const char *path) {
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
  http_fail_io(transfer, "create", path, errno);
  free(transfer->temporary); /* it is not ours to remove */
  transfer->temporary = NULL;
  return false;
}

void http_commit_file(struct http_transfer *transfer) {
  int closed = close(transfer->fd);
  transfer->fd = -1;
  if (closed < 0 || rename(transfer->temporary, transfer->save_to) < 0) {
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

bool http_write_file(struct http_transfer *transfer, const char *data, size_t length) {
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
