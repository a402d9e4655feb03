/*
 * http/form.c - a multipart form, whose files are streamed.
 * SPDX-License-Identifier: MIT
 */
#include "http/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct part_file { /* a file streamed as a part; belongs to curl's mime structure */
  struct http_transfer *transfer;
  char *path;
  int fd;
  curl_off_t size, at;
};

/* The length is announced already, so a file that has become shorter fails the transfer. */
static size_t on_part_read(char *out, size_t size, size_t count, void *arg) {
  struct part_file *file = arg;
  curl_off_t left = file->size - file->at;
  size_t want = (curl_off_t)(size * count) < left ? size * count : (size_t)left;
  ssize_t n;
  if (!want)
    return 0;
  do
    n = pread(file->fd, out, want, file->at);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    file->at += n;
    return (size_t)n;
  }
  if (n < 0)
    http_fail_io(file->transfer, "read", file->path, errno);
  else
    reason_set(&file->transfer->reason, ERR_IO, 0, "%s has become shorter while it was sent", file->path);
  return CURL_READFUNC_ABORT;
}

static int on_part_seek(void *arg, curl_off_t offset, int origin) {
  struct part_file *file = arg;
  if (origin != SEEK_SET || offset < 0 || offset > file->size)
    return CURL_SEEKFUNC_FAIL;
  file->at = offset;
  return CURL_SEEKFUNC_OK;
}

static void on_part_free(void *arg) {
  struct part_file *file = arg;
  if (file->fd >= 0)
    close(file->fd);
  free(file->path);
  free(file);
}

/* Open the file now, so that a missing one is found before anything is sent. */
static bool open_part(struct part_file *file) {
  struct stat status;
  file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->fd < 0 || fstat(file->fd, &status) < 0) {
    http_fail_io(file->transfer, "open", file->path, errno);
    return false;
  }
  if (!S_ISREG(status.st_mode)) {
    reason_set(&file->transfer->reason, ERR_IO, 0, "%s is not a regular file", file->path);
    return false;
  }
  file->size = status.st_size;
  return true;
}

static struct part_file *new_part_file(struct http_transfer *transfer, const char *path) {
  struct part_file *file = calloc(1, sizeof *file);
  if (!file)
    return NULL;
  file->transfer = transfer;
  file->fd = -1;
  file->path = strdup(path);
  if (file->path)
    return file;
  free(file);
  return NULL;
}

static CURLcode add_file(struct http_transfer *transfer, curl_mimepart *part, const struct http_part *given) {
  struct part_file *file = new_part_file(transfer, given->path);
  const char *slash = strrchr(given->path, '/');
  CURLcode code;
  if (!file)
    return CURLE_OUT_OF_MEMORY;
  if (!open_part(file)) {
    on_part_free(file);
    return CURLE_READ_ERROR;
  }
  code = curl_mime_data_cb(part, file->size, on_part_read, on_part_seek, on_part_free, file);
  if (code != CURLE_OK) {
    on_part_free(file);
    return code;
  }
  return given->filename ? CURLE_OK : curl_mime_filename(part, slash ? slash + 1 : given->path);
}

/* Curl writes names as browsers do: UTF-8 as it is, only quotes, CR and LF as %22, %0D and %0A. */
static CURLcode add_part(struct http_transfer *transfer, const struct http_part *given) {
  curl_mimepart *part = curl_mime_addpart(transfer->mime);
  CURLcode code;
  if (!part)
    return CURLE_OUT_OF_MEMORY;
  code = curl_mime_name(part, given->name);
  if (!code)
    code = given->path ? add_file(transfer, part, given) : curl_mime_data(part, given->data, given->length);
  if (!code && given->filename)
    code = curl_mime_filename(part, given->filename);
  if (!code && given->type)
    code = curl_mime_type(part, given->type);
  return code;
}

void http_set_form(struct http_transfer *transfer, const struct http_request *request) {
  transfer->mime = curl_mime_init(transfer->easy);
  if (!transfer->mime)
    http_note_code(transfer, CURLE_OUT_OF_MEMORY);
  for (size_t i = 0; i < request->part_count && !transfer->result; i++) {
    http_note_code(transfer, add_part(transfer, &request->parts[i]));
    if (request->parts[i].path)
      http_set_long(transfer, CURLOPT_UPLOAD_BUFFERSIZE, FILE_BUFFER);
  }
  http_set_pointer(transfer, CURLOPT_MIMEPOST, transfer->mime);
}
