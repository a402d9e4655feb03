/*
 * base/plain_file.h - files that a user names: read without blocking, replaced only where they are plain. No
 * call waits for another process, except plain_file_read for a pipe, with a deadline. `why` gets the error:
 * ERR_IO with errno as its code, and a message that names the path and what to do.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_PLAIN_FILE_H
#define TRUECONF_PLAIN_FILE_H

#include "base/buffer.h"
#include "base/errors.h"

#include <sys/stat.h>

enum { PIPE_PATIENCE = 30 /* seconds: somebody may have to type a password for its writer */ };

/* The file's kind in words: "a folder", "a device", "a FIFO", "a socket"; NULL: a plain file. */
const char *plain_file_kind(const struct stat *status);

/* Open to read. A plain file, a pipe and /dev/null may be; nothing of another kind is opened. The descriptor
 * does not block; -1: see `why`. */
int plain_file_open(const char *path, struct stat *status, struct reason *why);

/* False: others than the owner may read it. */
bool plain_file_check_private(const struct stat *status, const char *path, struct reason *why);

/* Append the content of the file, at most `limit` bytes; more are refused. A pipe is read to its end, for at
 * most `patience` seconds; 0: it is refused. `is_private`, if it is not NULL, is set if only the owner may
 * read it. */
bool plain_file_read(const char *path, size_t limit, int patience, struct buffer *text, bool *is_private,
                     struct reason *why);
/* The same; a file that others may read is refused. */
bool plain_file_read_private(const char *path, size_t limit, int patience, struct buffer *text,
                             struct reason *why);

/* ---- writing ------------------------------------------------------------------------------ */

/* The path at which a file is replaced or made: links are followed, and at their end is a plain file or
 * nothing. Malloc'd; NULL: see `why`. */
char *plain_file_target(const char *path, struct reason *why);

/* False: see errno; a part may have been written. */
bool plain_file_write_all(int fd, const void *data, size_t length);

/* A file that is written beside its place, and takes it when it is complete. All zero but fd -1: none. With
 * `beside` NULL it is written where it is, and to commit it is to close it. */
struct replacement {
  char *target, *beside;
  int fd;
};

/* `mode` is that of a new file, before the umask; 0600 for a secret. Nothing is left when it fails. */
bool replacement_begin(struct replacement *file, const char *path, mode_t mode, struct reason *why);
bool replacement_write(struct replacement *file, const void *data, size_t length, struct reason *why);
/* The same, and write the whole content. */
bool replacement_fill(struct replacement *file, const char *path, mode_t mode, const void *data,
                      size_t length, struct reason *why);
/* Take the place; a reader sees the old file or the new one. `durable`: after a power failure too, for which
 * it waits for the disk. Everything is released, whether it succeeds or not. */
bool replacement_commit(struct replacement *file, bool durable, struct reason *why);
/* The same if nothing is there yet; else the code in `why` is EEXIST. */
bool replacement_commit_new(struct replacement *file, struct reason *why);
void replacement_drop(struct replacement *file);

#endif
