/*
 * base/plain_file.c - files that a user names.
 * A name may lead to a device (writing would replace it, opening it may trigger an action), to a FIFO
 * (opening it waits for its other end) or to a file that others read. Each is checked before the file is
 * opened. SPDX-License-Identifier: MIT
 */
#include "base/plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { NAME_ATTEMPTS = 8, CHUNK = 4096, MS_PER_SECOND = 1000, NS_PER_MS = 1000000 };
enum { NULL_MAJOR = 1, NULL_MINOR = 3 }; /* /dev/null: "no file" in the language of shells */

static bool refuse(struct reason *why, const char *verb, const char *path, int code) {
  reason_set(why, ERR_IO, code, "cannot %s %s: %s", verb, path, strerror(code));
  return false;
}

static bool refuse_kind(struct reason *why, const char *verb, const char *path, const char *kind) {
  reason_set(why, ERR_IO, 0, "cannot %s %s: it is %s, not a plain file", verb, path, kind);
  return false;
}

const char *plain_file_kind(const struct stat *status) {
  switch (status->st_mode & S_IFMT) {
  case S_IFREG:
    return NULL;
  case S_IFDIR:
    return "a folder";
  case S_IFIFO:
    return "a FIFO";
  case S_IFSOCK:
    return "a socket";
  default:
    return "a device";
  }
}

/* ---- reading ------------------------------------------------------------------------------------ */

static bool may_read(const struct stat *status) {
  return S_ISREG(status->st_mode) || S_ISFIFO(status->st_mode) ||
         (S_ISCHR(status->st_mode) && status->st_rdev == makedev(NULL_MAJOR, NULL_MINOR));
}

int plain_file_open(const char *path, struct stat *status, struct reason *why) {
  int fd = -1, code;
  if (stat(path, status)) {
    refuse(why, "read", path, errno);
    return -1;
  }
  if (may_read(status)) {
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, status)) {
      code = errno;
      if (fd >= 0)
        close(fd);
      refuse(why, "read", path, code);
      return -1;
    }
  }
  if (may_read(status)) /* it may be another file by now */
    return fd;
  if (fd >= 0)
    close(fd);
  refuse_kind(why, "read", path, plain_file_kind(status));
  return -1;
}

static bool is_private_mode(const struct stat *status) {
  return !(status->st_mode & (S_IRWXG | S_IRWXO)) || S_ISCHR(status->st_mode);
}

bool plain_file_check_private(const struct stat *status, const char *path, struct reason *why) {
  if (is_private_mode(status))
    return true;
  reason_set(why, ERR_IO, EPERM, "will not use %s: others may read it; run chmod 600", path);
  return false;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * MS_PER_SECOND + now.tv_nsec / NS_PER_MS;
}

/* Wait until bytes or the end can be read. A FIFO without a writer yet has no end. */
static bool await_pipe(int fd, int64_t deadline) {
  struct pollfd polled = {.fd = fd, .events = POLLIN};
  int64_t left;
  int ready;
  do {
    left = deadline - now_ms();
    ready = left > 0 ? poll(&polled, 1, (int)left) : 0;
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

static bool read_on(int fd, struct buffer *text, ssize_t *count) {
  char chunk[CHUNK];
  do
    *count = read(fd, chunk, sizeof chunk);
  while (*count < 0 && errno == EINTR);
  return *count <= 0 || buffer_append(text, chunk, (size_t)*count);
}

static bool read_all(int fd, const char *path, size_t limit, int patience, struct buffer *text,
                     struct reason *why) {
  struct stat status;
  bool is_pipe = !fstat(fd, &status) && S_ISFIFO(status.st_mode);
  int64_t deadline = now_ms() + (int64_t)patience * MS_PER_SECOND;
  ssize_t count;
  if (is_pipe && !patience)
    return refuse_kind(why, "read", path, plain_file_kind(&status));
  do {
    if (is_pipe && !await_pipe(fd, deadline)) {
      reason_set(why, ERR_IO, ETIMEDOUT, "cannot read %s: its writer has not ended within %d s", path,
                 patience);
      return false;
    }
    if (!read_on(fd, text, &count))
      return refuse(why, "read", path, ENOMEM);
    if (count < 0 && errno != EAGAIN)
      return refuse(why, "read", path, errno);
    if (text->length > limit) {
      reason_set(why, ERR_IO, EFBIG, "cannot read %s: it is over %zu bytes", path, limit);
      return false;
    }
  } while (count);
  return true;
}

static bool open_and_read(const char *path, size_t limit, int patience, bool only_private,
                          struct buffer *text, bool *is_private, struct reason *why) {
  struct stat status;
  int fd = plain_file_open(path, &status, why);
  bool ok = fd >= 0 && (!only_private || plain_file_check_private(&status, path, why)) &&
            read_all(fd, path, limit, patience, text, why);
  if (ok && is_private)
    *is_private = is_private_mode(&status);
  if (fd >= 0)
    close(fd);
  return ok;
}

bool plain_file_read(const char *path, size_t limit, int patience, struct buffer *text, bool *is_private,
                     struct reason *why) {
  return open_and_read(path, limit, patience, false, text, is_private, why);
}

bool plain_file_read_private(const char *path, size_t limit, int patience, struct buffer *text,
                             struct reason *why) {
  return open_and_read(path, limit, patience, true, text, NULL, why);
}

/* ---- writing ------------------------------------------------------------------------------------ */

char *plain_file_target(const char *path, struct reason *why) {
  struct stat status;
  bool is_link = !lstat(path, &status) && S_ISLNK(status.st_mode);
  const char *kind = NULL;
  char *target;
  if (is_link && status.st_uid != geteuid() &&
      status.st_uid != 0) { /* who has put it there chooses the file */
    refuse_kind(why, "write", path, "a link of another user");
    return NULL;
  }
  target = is_link ? realpath(path, NULL) : strdup(path);
  if (!target) {
    refuse(why, is_link ? "write through the link" : "write", path, errno);
    return NULL;
  }
  if (!stat(target, &status))
    kind = plain_file_kind(&status);
  if (!kind)
    return target;
  free(target);
  refuse_kind(why, "write", path, kind);
  return NULL;
}

/* A name in the same folder, whatever the length of the file's own. */
static char *name_beside(const char *target) {
  const char *slash = strrchr(target, '/');
  size_t folder = slash ? (size_t)(slash - target) + 1 : 0, size = folder + sizeof ".0123456789abcdef.part";
  char *beside = malloc(size);
  uint64_t random;
  if (!beside)
    return NULL;
  if (getentropy(&random, sizeof random)) {
    free(beside);
    return NULL;
  }
  memcpy(beside, target, folder);
  snprintf(beside + folder, size - folder, ".%016llx.part", (unsigned long long)random);
  return beside;
}

static bool open_beside(struct replacement *file, mode_t mode) {
  for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
    free(file->beside);
    file->beside = name_beside(file->target);
    if (!file->beside)
      return false;
    file->fd = open(file->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file->fd >= 0)
      return true;
    if (errno != EEXIST)
      break;
  }
  return false;
}

bool plain_file_write_all(int fd, const void *data, size_t length) {
  const char *at = data;
  while (length) {
    ssize_t count = write(fd, at, length);
    if (count < 0 && errno != EINTR)
      return false;
    if (count > 0) {
      at += count;
      length -= (size_t)count;
    }
  }
  return true;
}

bool replacement_begin(struct replacement *file, const char *path, mode_t mode, struct reason *why) {
  int code;
  *file = (struct replacement){.fd = -1};
  file->target = plain_file_target(path, why);
  if (!file->target)
    return false;
  if (open_beside(file, mode))
    return true;
  code = errno;
  free(file->beside); /* it is not ours to remove */
  file->beside = NULL;
  replacement_drop(file);
  return refuse(why, "write", path, code);
}

bool replacement_write(struct replacement *file, const void *data, size_t length, struct reason *why) {
  return plain_file_write_all(file->fd, data, length) || refuse(why, "write", file->target, errno);
}

bool replacement_fill(struct replacement *file, const char *path, mode_t mode, const void *data,
                      size_t length, struct reason *why) {
  if (!replacement_begin(file, path, mode, why))
    return false;
  if (replacement_write(file, data, length, why))
    return true;
  replacement_drop(file);
  return false;
}

static bool close_written(struct replacement *file, bool durable) {
  int fd = file->fd, code;
  bool ok = !durable || !fsync(fd);
  code = errno;
  file->fd = -1;
  if (close(fd) && ok)
    return false;
  errno = code;
  return ok;
}

/* A rename is durable once its folder is synced, which needs the right to read the folder. */
static bool sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
  int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, code;
  bool ok = fd < 0 || !fsync(fd) || errno == EINVAL; /* no such thing on this file system */
  code = errno;
  if (fd >= 0)
    close(fd);
  free(folder);
  errno = code;
  return ok;
}

/* The name is given by `place`: rename or link. */
static bool commit(struct replacement *file, bool durable, int (*place)(const char *from, const char *to),
                   struct reason *why) {
  bool ok = close_written(file, durable) && (!file->beside || !place(file->beside, file->target)) &&
            (!durable || sync_folder(file->target));
  if (!ok)
    refuse(why, "write", file->target, errno);
  if (ok && place == rename) {
    free(file->beside);
    file->beside = NULL;
  }
  replacement_drop(file);
  return ok;
}

bool replacement_commit(struct replacement *file, bool durable, struct reason *why) {
  return commit(file, durable, rename, why);
}

bool replacement_commit_new(struct replacement *file, struct reason *why) {
  return commit(file, true, link, why);
}

void replacement_drop(struct replacement *file) {
  if (file->fd >= 0)
    close(file->fd);
  if (file->beside)
    unlink(file->beside);
  free(file->beside);
  free(file->target);
  *file = (struct replacement){.fd = -1};
}
