/*
 * server/upload.c - the body of a request that goes to disk: into one file, or each part of a form into its
 * own. Lua sees: what on_head may answer, and request.body_file or request.parts. Owns: the files while they
 * are written; removes what is not complete. Once the handler has the request they are its own. Writing is
 * synchronous, piece by piece as lws hands the body over (up to 64 KiB): the loop stands still for as long as
 * the system takes to put a piece into its cache, and the client cannot run ahead of the disk. Names the
 * client gives are text; no path is ever made of them.
 * SPDX-License-Identifier: MIT
 */
#include "base/plain_file.h"
#include "server/multipart.h"
#include "server/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_PARTS = 16 };

struct upload_file {
  char *name; /* of the part; NULL: the whole body */
  char *path;
  struct buffer filename, type; /* what the client says of it */
  bool has_filename, has_type;
  int fd;    /* -1: not open */
  bool seen; /* it has been opened, or tried to */
  bool made; /* it is on disk, ours to remove */
  uint64_t size;
};

struct upload {
  bool is_form, kept;
  int count;
  struct upload_file files[MOST_PARTS];
  struct upload_file *current; /* NULL: what comes is dropped */
  struct multipart multipart;
};

/* ---- files --------------------------------------------------------------------------------------- */

static int io_status(void) {
  return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? 507 : 500;
}

static int open_file(struct upload_file *file) {
  struct stat about;
  file->seen = true;
  file->fd = open(file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file->fd < 0)
    return io_status();
  file->made = fstat(file->fd, &about) == 0 && S_ISREG(about.st_mode); /* never remove a device */
  return 0;
}

static int write_file(struct upload_file *file, const char *data, size_t length) {
  file->size += length;
  return plain_file_write_all(file->fd, data, length) ? 0 : io_status();
}

static int close_file(struct upload_file *file) {
  int fd = file->fd;
  file->fd = -1;
  return fd >= 0 && close(fd) != 0 ? io_status() : 0;
}

void upload_free(struct upload *upload) {
  if (!upload)
    return;
  for (int i = 0; i < upload->count; i++) {
    struct upload_file *file = &upload->files[i];
    close_file(file);
    if (file->made && !upload->kept)
      unlink(file->path);
    buffer_free(&file->filename);
    buffer_free(&file->type);
    free(file->name);
    free(file->path);
  }
  free(upload);
}

/* ---- parts --------------------------------------------------------------------------------------- */

/* The file for a part of that name; NULL: nobody asked for it, or it is there already. */
static struct upload_file *file_for(struct upload *upload, struct multipart_text name) {
  for (int i = 0; i < upload->count; i++) {
    struct upload_file *file = &upload->files[i];
    if (!file->seen && name.length == strlen(file->name) && !memcmp(name.data, file->name, name.length))
      return file;
  }
  return NULL;
}

static int on_part(void *owner, const struct multipart_part *part) {
  struct upload *upload = owner;
  struct upload_file *file = part->name.data ? file_for(upload, part->name) : NULL;
  upload->current = file;
  if (!file)
    return 0;
  file->has_filename = part->filename.data != NULL;
  file->has_type = part->type.data != NULL;
  if (!buffer_append(&file->filename, part->filename.data, part->filename.length) ||
      !buffer_append(&file->type, part->type.data, part->type.length))
    return 503;
  return open_file(file);
}

static int on_part_data(void *owner, const char *data, size_t length) {
  struct upload *upload = owner;
  return upload->current ? write_file(upload->current, data, length) : 0;
}

static int on_part_end(void *owner) {
  struct upload *upload = owner;
  return upload->current ? close_file(upload->current) : 0;
}

int upload_begin(struct upload *upload, const char *content_type) {
  static const struct multipart_ops ops = {on_part, on_part_data, on_part_end};
  if (upload->is_form)
    return multipart_init(&upload->multipart, content_type, &ops, upload) ? 0 : 415;
  return open_file(&upload->files[0]);
}

int upload_take(struct upload *upload, const char *data, size_t length) {
  return upload->is_form ? multipart_feed(&upload->multipart, data, length)
                         : write_file(&upload->files[0], data, length);
}

int upload_end(struct upload *upload) {
  return upload->is_form ? multipart_end(&upload->multipart) : close_file(&upload->files[0]);
}

/* ---- for Lua ------------------------------------------------------------------------------------- */

static void push_part(lua_State *L, const struct upload_file *file) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, file->path);
  lua_setfield(L, -2, "path");
  lua_pushinteger(L, (lua_Integer)file->size);
  lua_setfield(L, -2, "size");
  if (file->has_filename) {
    lua_pushlstring(L, file->filename.length ? file->filename.data : "", file->filename.length);
    lua_setfield(L, -2, "filename");
  }
  if (file->has_type) {
    lua_pushlstring(L, file->type.length ? file->type.data : "", file->type.length);
    lua_setfield(L, -2, "type");
  }
}

void upload_hand_over(lua_State *L, struct upload *upload) {
  if (upload->is_form) {
    lua_createtable(L, 0, upload->count);
    for (int i = 0; i < upload->count; i++) {
      if (!upload->files[i].seen)
        continue;
      push_part(L, &upload->files[i]);
      lua_setfield(L, -2, upload->files[i].name);
    }
    lua_setfield(L, -2, "parts");
  } else {
    lua_pushstring(L, upload->files[0].path);
    lua_setfield(L, -2, "body_file");
  }
  upload->kept = true;
}

/* Check the string on top: what C can take for a path. */
static const char *check_path(lua_State *L, const char *field) {
  size_t length;
  const char *path;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "'%s': a path expected, got %s", field, luaL_typename(L, -1));
  path = lua_tolstring(L, -1, &length);
  if (!length || strlen(path) != length)
    luaL_error(L, "'%s': the path is empty or contains a zero byte", field);
  return path;
}

/* Add the file whose path is on top; `name` as in struct upload_file. */
static void add_file(lua_State *L, struct upload *upload, const char *name, const char *path) {
  struct upload_file *file = &upload->files[upload->count];
  if (upload->count == MOST_PARTS)
    luaL_error(L, "'form': at most %d parts expected", MOST_PARTS);
  upload->count++;
  file->fd = -1;
  file->path = strdup(path);
  file->name = name ? strdup(name) : NULL;
  if (!file->path || (name && !file->name))
    luaL_error(L, "out of memory");
}

static void read_form(lua_State *L, struct upload *upload) {
  int form = lua_gettop(L);
  if (!lua_istable(L, form))
    luaL_error(L, "'form': a table expected, got %s", luaL_typename(L, form));
  upload->is_form = true;
  for (lua_pushnil(L); lua_next(L, form); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "'form': names of parts expected, got a key of type %s", luaL_typename(L, -2));
    add_file(L, upload, lua_tostring(L, -2), check_path(L, "form"));
  }
}

void upload_read(lua_State *L, int table, struct upload **upload) {
  bool to_file = lua_getfield(L, table, "save_to") != LUA_TNIL;
  bool to_parts = lua_getfield(L, table, "form") != LUA_TNIL;
  if (to_file && to_parts)
    luaL_error(L, "'save_to' and 'form' exclude each other");
  if (!to_file && !to_parts)
    return;
  *upload = calloc(1, sizeof **upload);
  if (!*upload) {
    luaL_error(L, "out of memory");
    return;
  }
  if (to_parts) {
    read_form(L, *upload);
  } else {
    lua_pop(L, 1);
    add_file(L, *upload, NULL, check_path(L, "save_to"));
  }
}
