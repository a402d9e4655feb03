/*
 * coverage.c - notes which lines of the module's Lua files run, for `make coverage`. A hook in C: coroutines
 * inherit it, those that the core makes, too. Each source has a file in the directory COVERAGE, a byte for a
 * line, which all processes map: so nothing is lost of one that is killed, and nothing has to be merged.
 * LUA_INIT loads this; see tools/run-specs. SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_LINES = 16384, SLOTS = 1024, MOST_NAME = 512 };

struct source {
  const char *text;     /* where Lua keeps its name */
  char name[MOST_NAME]; /* another source may come to lie there */
  unsigned char *lines; /* NULL: not one of ours */
};

static struct source sources[SLOTS];

/* The name of a file of ours from the root of the tree on. */
static const char *path_of(const char *name) {
  static const char *const ours[] = {"lua/trueconf/", "bin/trueconf"};
  for (size_t i = 0; *name == '@' && i < sizeof ours / sizeof *ours; i++) {
    const char *path = strstr(name, ours[i]);
    if (path)
      return path;
  }
  return NULL;
}

static unsigned char *map(const char *path) {
  const char *directory = getenv("COVERAGE");
  char name[MOST_NAME * 2];
  void *lines = MAP_FAILED;
  int fd, length = snprintf(name, sizeof name, "%s/", directory ? directory : ".");
  for (; *path && length < (int)sizeof name - 1; path++)
    name[length++] = *path == '/' ? '%' : *path;
  name[length] = '\0';
  fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0 && ftruncate(fd, MOST_LINES) == 0)
    lines = mmap(NULL, MOST_LINES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd >= 0)
    close(fd);
  return lines == MAP_FAILED ? NULL : lines;
}

static struct source *find(const char *text) {
  struct source *source = &sources[((size_t)text >> 4) % SLOTS];
  if (source->text == text && strncmp(source->name, text, MOST_NAME - 1) == 0)
    return source;
  if (source->lines)
    munmap(source->lines, MOST_LINES);
  source->text = text;
  snprintf(source->name, sizeof source->name, "%s", text);
  source->lines = path_of(source->name) ? map(path_of(source->name)) : NULL;
  return source;
}

static void on_line(lua_State *L, lua_Debug *ar) {
  struct source *source;
  lua_getinfo(L, "S", ar);
  source = find(ar->source);
  if (source->lines && ar->currentline > 0 && ar->currentline < MOST_LINES)
    source->lines[ar->currentline] = 1;
}

int luaopen_coverage(lua_State *L);

int luaopen_coverage(lua_State *L) {
  lua_sethook(L, on_line, LUA_MASKLINE, 0);
  return 0;
}
