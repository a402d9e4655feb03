/*
 * system/picture.c - a small picture made of a large one, on the thread pool.
 * Lua sees: core.picture_preview.
 * gdk-pixbuf is loaded on first use, so that it is optional; hence the declarations below in place of its
 * headers. They are the interface of its versions 2.32 and later.
 * Pictures are untrusted: bytes and pixels are bounded before they are decoded, only four kinds are read, and
 * the work ends at its timeout. SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/buffer.h"
#include "base/dynamic.h"
#include "base/errors.h"
#include "base/options.h"
#include "base/plain_file.h"
#include "loop/offload.h"

#include <assert.h>
#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PICTURE_OP_T "trueconf.PictureOp"
#define LIBRARY "libgdk_pixbuf-2.0.so.0"
enum {
  DEFAULT_SIZE = 512,
  MAX_SIZE = 4096,
  DEFAULT_TIMEOUT = 10,
  MAX_BYTES = 32 << 20,
  MAX_PIXELS = 25000000, /* 100 MB while it is read */
  PIECE = 64 << 10,
  WEBP_HEAD = 30 /* bytes in which the measures are */
};

/* ---- gdk-pixbuf --------------------------------------------------------------------------------- */

typedef struct pixbuf Pixbuf;
typedef struct loader Loader;
typedef struct gerror {
  uint32_t domain;
  int code;
  char *message;
} GError;

static struct {
  Loader *(*loader_new)(const char *type, GError **error);
  void (*loader_set_size)(Loader *loader, int width, int height);
  int (*loader_write)(Loader *loader, const unsigned char *data, size_t length, GError **error);
  int (*loader_close)(Loader *loader, GError **error);
  Pixbuf *(*loader_get_pixbuf)(Loader *loader); /* stays the loader's */
  Pixbuf *(*upright)(Pixbuf *pixbuf);
  int (*has_alpha)(const Pixbuf *pixbuf);
  int (*width)(const Pixbuf *pixbuf);
  int (*height)(const Pixbuf *pixbuf);
  int (*rowstride)(const Pixbuf *pixbuf);
  const unsigned char *(*pixels)(const Pixbuf *pixbuf);
  int (*save)(Pixbuf *pixbuf, char **data, size_t *length, const char *type, char **keys, char **values,
              GError **error);
  unsigned long (*connect)(void *object, const char *signal, void (*handler)(void), void *data,
                           void (*destroy)(void), int flags);
  void (*unref)(void *object);
  void (*error_free)(GError *error);
  void (*free)(void *memory);
} api;
static bool api_complete;
static pthread_once_t api_once = PTHREAD_ONCE_INIT;

static void load_api(void) {
  static const char *const libraries[] = {LIBRARY, NULL};
  static const struct dynamic_symbol symbols[] = {{"gdk_pixbuf_loader_new_with_type", &api.loader_new},
                                                  {"gdk_pixbuf_loader_set_size", &api.loader_set_size},
                                                  {"gdk_pixbuf_loader_write", &api.loader_write},
                                                  {"gdk_pixbuf_loader_close", &api.loader_close},
                                                  {"gdk_pixbuf_loader_get_pixbuf", &api.loader_get_pixbuf},
                                                  {"gdk_pixbuf_apply_embedded_orientation", &api.upright},
                                                  {"gdk_pixbuf_get_has_alpha", &api.has_alpha},
                                                  {"gdk_pixbuf_get_width", &api.width},
                                                  {"gdk_pixbuf_get_height", &api.height},
                                                  {"gdk_pixbuf_get_rowstride", &api.rowstride},
                                                  {"gdk_pixbuf_read_pixels", &api.pixels},
                                                  {"gdk_pixbuf_save_to_bufferv", &api.save},
                                                  {"g_signal_connect_data", &api.connect},
                                                  {"g_object_unref", &api.unref},
                                                  {"g_error_free", &api.error_free},
                                                  {"g_free", &api.free},
                                                  {NULL, NULL}};
  api_complete = dynamic_load(libraries, symbols);
}

/* ---- the work ----------------------------------------------------------------------------------- */

struct picture_outcome {
  struct reason reason;
  struct buffer data;
  const char *type;
};

struct picture_work {
  struct offload offload;
  char *path; /* NULL: data */
  struct buffer data;
  int size;
  atomic_bool interrupted;
  Loader *loader;
  size_t taken, announced; /* bytes; announced: the length in the header of a WebP */
  bool too_large;
  struct picture_outcome outcome;
};

struct picture_op {
  struct offload_op wait;
  struct picture_outcome outcome;
};

static void explain(struct picture_work *work, const char *what, GError *error) {
  struct reason *reason = &work->outcome.reason;
  if (atomic_load(&work->interrupted))
    reason_set(reason, ERR_TIMEOUT, 0, "%s: it takes longer than %g s", what, work->offload.patience);
  else if (work->too_large)
    reason_set(reason, ERR_LIMIT, 0, "%s: it has more than %d pixels", what, MAX_PIXELS);
  else if (!reason->err)
    reason_set(reason, ERR_IO, 0, "%s: %.100s", what, error ? error->message : "it is broken");
  if (error)
    api.error_free(error);
}

/* Before memory for the pixels is allocated: set the size to decode to, or none to refuse the picture. */
static void on_size(Loader *loader, int width, int height, void *data) {
  struct picture_work *work = data;
  int longer = width > height ? width : height;
  work->too_large = (double)width * height > MAX_PIXELS;
  if (work->too_large) {
    api.loader_set_size(loader, 0, 0);
  } else if (longer > work->size) {
    double scale = (double)work->size / longer;
    int narrow = (int)(width * scale + 0.5), low = (int)(height * scale + 0.5);
    api.loader_set_size(loader, narrow > 0 ? narrow : 1, low > 0 ? low : 1);
  }
}

/* The kind of a picture by its first bytes, since names may be wrong. NULL: none of the supported kinds. */
static const char *kind_of(const unsigned char *bytes, size_t length) {
  if (length >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
    return "jpeg";
  if (length >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
    return "png";
  if (length >= 6 && (memcmp(bytes, "GIF87a", 6) == 0 || memcmp(bytes, "GIF89a", 6) == 0))
    return "gif";
  if (length >= WEBP_HEAD && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
    return "webp";
  return NULL;
}

static unsigned little_endian(const unsigned char *bytes, int count) {
  unsigned value = 0;
  while (count-- > 0)
    value = value << 8 | bytes[count];
  return value;
}

/* The loader of WebP allocates the pixels of all frames without asking, so check the header before. libwebp
 * keeps pictures to the size in their header (RFC 9649). */
static bool is_modest_webp(const unsigned char *bytes) {
  const unsigned char *chunk = bytes + 12, *data = bytes + 20;
  unsigned width, height;
  if (memcmp(chunk, "VP8X", 4) == 0) {
    if (data[0] & 2) /* animated */
      return false;
    width = little_endian(data + 4, 3) + 1, height = little_endian(data + 7, 3) + 1;
  } else if (memcmp(chunk, "VP8L", 4) == 0) {
    unsigned bits = little_endian(data + 1, 4);
    width = (bits & 0x3fff) + 1, height = (bits >> 14 & 0x3fff) + 1;
  } else {
    width = little_endian(data + 6, 2) & 0x3fff, height = little_endian(data + 8, 2) & 0x3fff;
  }
  return (double)width * height <= MAX_PIXELS;
}

static bool begin(struct picture_work *work, const unsigned char *bytes, size_t length) {
  const char *kind = kind_of(bytes, length);
  GError *error = NULL;
  assert(api_complete && !work->loader);
  if (!kind) {
    reason_set(&work->outcome.reason, ERR_IO, 0, "it is not a JPEG, PNG, GIF or WebP picture");
    return false;
  }
  if (strcmp(kind, "webp") == 0 && !is_modest_webp(bytes)) {
    reason_set(&work->outcome.reason, ERR_LIMIT, 0, "the picture is animated, or has more than %d pixels",
               MAX_PIXELS);
    return false;
  }
  work->loader = api.loader_new(kind, &error);
  if (!work->loader) {
    reason_set(&work->outcome.reason, ERR_IO, 0, "gdk-pixbuf does not read %s here", kind);
    if (error)
      api.error_free(error);
    return false;
  }
  work->announced = strcmp(kind, "webp") == 0 ? (size_t)little_endian(bytes + 4, 4) + 8 : 0;
  api.connect(work->loader, "size-prepared", (void (*)(void))on_size, work, NULL, 0);
  return true;
}

/* The next piece of the picture. */
static bool take(struct picture_work *work, const unsigned char *bytes, size_t length) {
  GError *error = NULL;
  if (!work->loader && !begin(work, bytes, length))
    return false;
  work->taken += length;
  if (!atomic_load(&work->interrupted) && api.loader_write(work->loader, bytes, length, &error) &&
      !work->too_large)
    return true;
  explain(work, "the picture cannot be read", error);
  return false;
}

static bool read_data(struct picture_work *work) {
  const unsigned char *bytes = (const unsigned char *)work->data.data;
  for (size_t at = 0, left; (left = work->data.length - at) > 0; at += left) {
    if (left > PIECE)
      left = PIECE;
    if (!take(work, bytes + at, left))
      return false;
  }
  return true;
}

static bool read_descriptor(struct picture_work *work, int fd) {
  unsigned char piece[PIECE];
  ssize_t n;
  while ((n = read(fd, piece, sizeof piece)) != 0) {
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      reason_set(&work->outcome.reason, ERR_IO, errno, "cannot read %s: %s", work->path, strerror(errno));
      return false;
    }
    if (work->taken + (size_t)n > MAX_BYTES) {
      reason_set(&work->outcome.reason, ERR_LIMIT, 0, "the picture has more than %d bytes", MAX_BYTES);
      return false;
    }
    if (!take(work, piece, (size_t)n))
      return false;
  }
  return true;
}

static bool read_file(struct picture_work *work) {
  struct stat status;
  int fd = plain_file_open(work->path, &status, &work->outcome.reason);
  bool ok = fd >= 0 && read_descriptor(work, fd);
  if (fd >= 0)
    close(fd);
  return ok;
}

/* True if any pixel is transparent. With transparency pixels have four bytes, the last one alpha. */
static bool is_transparent(const Pixbuf *pixbuf) {
  int width = api.width(pixbuf), height = api.height(pixbuf);
  if (!api.has_alpha(pixbuf))
    return false;
  for (int y = 0; y < height; y++) {
    const unsigned char *row = api.pixels(pixbuf) + (size_t)y * (size_t)api.rowstride(pixbuf);
    for (int x = 0; x < width; x++)
      if (row[4 * x + 3] != 255)
        return true;
  }
  return false;
}

/* Save as a PNG if the picture is transparent, else as a JPEG. */
static void save(struct picture_work *work, Pixbuf *pixbuf) {
  char *quality[] = {"quality", NULL}, *good[] = {"85", NULL}, *none[] = {NULL};
  bool jpeg = !is_transparent(pixbuf);
  GError *error = NULL;
  char *data = NULL;
  size_t length = 0;
  if (!api.save(pixbuf, &data, &length, jpeg ? "jpeg" : "png", jpeg ? quality : none, jpeg ? good : none,
                &error)) {
    explain(work, "the preview cannot be written", error);
    return;
  }
  work->outcome.type = jpeg ? "image/jpeg" : "image/png";
  if (!buffer_append(&work->outcome.data, data, length))
    reason_set(&work->outcome.reason, ERR_NOMEM, 0, "no memory for the preview");
  api.free(data);
}

/* The whole picture has been read: turn it upright and save it. Of a truncated picture the loaders return
 * what they have, but the loader of WebP returns black. */
static void finish_picture(struct picture_work *work) {
  GError *error = NULL;
  Pixbuf *pixbuf, *upright;
  bool whole = api.loader_close(work->loader, &error) && work->taken >= work->announced;
  pixbuf = whole ? api.loader_get_pixbuf(work->loader) : NULL;
  upright = pixbuf ? api.upright(pixbuf) : NULL;
  if (!upright) {
    explain(work, "the picture cannot be read", error);
    return;
  }
  save(work, upright);
  api.unref(upright);
}

static void picture_work(struct offload *offload) {
  struct picture_work *work = (struct picture_work *)offload;
  bool ok = work->path ? read_file(work) : read_data(work);
  if (ok && work->loader)
    finish_picture(work);
  else if (work->loader)
    api.loader_close(work->loader, NULL);
  else if (ok)
    reason_set(&work->outcome.reason, ERR_IO, 0, "the picture is empty");
  if (work->loader)
    api.unref(work->loader);
}

static void picture_interrupt(struct offload *offload) {
  atomic_store(&((struct picture_work *)offload)->interrupted, true);
}

static void picture_finish(struct offload *offload, struct op *op) {
  struct picture_work *work = (struct picture_work *)offload;
  ((struct picture_op *)op)->outcome = work->outcome;
  memset(&work->outcome, 0, sizeof work->outcome);
}

static void picture_destroy(struct offload *offload) {
  struct picture_work *work = (struct picture_work *)offload;
  buffer_free(&work->outcome.data);
  buffer_free(&work->data);
  free(work->path);
  free(work);
}

/* ---- for Lua ------------------------------------------------------------------------------------ */

struct picture_request { /* borrowed from Lua */
  const char *path, *data;
  size_t length;
  lua_Integer size;
  double timeout;
};

static struct offload *picture_new(const struct picture_request *request) {
  struct picture_work *work = calloc(1, sizeof *work);
  if (!work)
    return NULL;
  work->offload.work = picture_work;
  work->offload.interrupt = picture_interrupt;
  work->offload.patience = request->timeout;
  work->offload.finish = picture_finish;
  work->offload.destroy = picture_destroy;
  work->size = (int)request->size;
  work->path = request->path ? strdup(request->path) : NULL;
  if (request->path ? work->path != NULL : buffer_append(&work->data, request->data, request->length))
    return &work->offload;
  picture_destroy(&work->offload);
  return NULL;
}

static void read_request(lua_State *L, struct picture_request *request) {
  luaL_checktype(L, 1, LUA_TTABLE);
  request->path = options_text(L, 1, "option", "path", NULL);
  request->data = options_text(L, 1, "option", "data", &request->length);
  if (!request->path == !request->data)
    luaL_error(L, "picture_preview: either 'path' or 'data' expected");
  request->size = options_integer(L, 1, "option", "size", 1, MAX_SIZE, DEFAULT_SIZE);
  request->timeout = options_seconds(L, 1, "option", "timeout", DEFAULT_TIMEOUT);
}

static int picture_push(lua_State *L, struct op *op) {
  struct picture_outcome *outcome = &((struct picture_op *)op)->outcome;
  if (outcome->reason.err)
    return fail_reason(L, &outcome->reason);
  lua_pushlstring(L, outcome->data.data, outcome->data.length);
  lua_pushstring(L, outcome->type);
  buffer_free(&outcome->data);
  return 2;
}

static int l_op_gc(lua_State *L) {
  struct picture_op *op = lua_touserdata(L, 1);
  buffer_free(&op->outcome.data);
  return 0;
}

/* core.picture_preview(request) -> data, type */
static int l_picture_preview(lua_State *L) {
  struct picture_request request = {0};
  struct picture_op *op;
  read_request(L, &request);
  if (request.length > MAX_BYTES)
    return fail(L, ERR_LIMIT, 0, "the picture has more than %d bytes", MAX_BYTES);
  pthread_once(&api_once, load_api);
  if (!api_complete)
    return fail(L, ERR_IO, 0, "gdk-pixbuf is missing (%s)", LIBRARY);
  op = op_new(L, sizeof *op, PICTURE_OP_T, "a preview");
  op->wait.op.push = picture_push;
  reason_set(&op->outcome.reason, ERR_NOMEM, 0, "no memory for the picture");
  return offload_wait(L, &op->wait, picture_new(&request));
}

void picture_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", l_op_gc}, {NULL, NULL}};
  rt_new_type(L, PICTURE_OP_T, NULL, metamethods);
  lua_pushcfunction(L, l_picture_preview);
  lua_setfield(L, -2, "picture_preview");
}
