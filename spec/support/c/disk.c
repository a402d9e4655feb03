/*
 * disk.c - a disk that tells who waits for it, preloaded into the process under test by
 * spec/core/private_file_spec.lua. Each fsync is printed: by the loop's thread or by another, of a file or of
 * a folder. For a copy of a name that ends with ".unlucky" there is no memory. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd) {
  struct stat status;
  if (!fstat(fd, &status))
    dprintf(STDOUT_FILENO, "%s waits for a %s\n", gettid() == getpid() ? "the loop" : "a thread",
            S_ISDIR(status.st_mode) ? "folder" : "file");
  return (int)syscall(SYS_fsync, fd);
}

char *strdup(const char *text) {
  static const char unlucky[] = ".unlucky";
  size_t length = strlen(text), n = sizeof unlucky - 1;
  char *copy = length > n && !strcmp(text + length - n, unlucky) ? NULL : malloc(length + 1);
  if (!copy)
    errno = ENOMEM;
  return copy ? memcpy(copy, text, length + 1) : NULL;
}
