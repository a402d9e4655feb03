/*
 * system/line_editor.c - the line editor at a terminal, with history. Lua sees: core.edit_begin,
 * core.edit_key, core.edit_end. It uses the readline of the interpreter, if it has one, as Debian's has. A
 * process has one terminal and readline one line: so has this file. SPDX-License-Identifier: MIT
 */
#include "system/system.h"

#include "base/dynamic.h"
#include "base/errors.h"

#include <lauxlib.h>
#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MOST_LINES = 1000 };

static struct {
  void (*install)(const char *prompt, void (*handler)(char *line));
  void (*read_char)(void);
  void (*remove)(void);
  void (*using_history)(void);
  void (*stifle_history)(int most);
  void (*add_history)(const char *line);
} api;
static bool api_complete;
static pthread_once_t api_once = PTHREAD_ONCE_INIT;

static struct {
  bool begun; /* without a line to edit readline ends the process */
  bool over;  /* the line has ended, or the input */
  char *line; /* from malloc(); NULL: the input has ended */
} typed;

/* Letters beyond ASCII are letters only in the locale of the terminal; Lua begins in that of C. */
static void load_api(void) {
  static const struct dynamic_symbol symbols[] = {
      {"rl_callback_handler_install", &api.install},
      {"rl_callback_read_char", &api.read_char},
      {"rl_callback_handler_remove", &api.remove},
      {"using_history", &api.using_history},
      {"stifle_history", &api.stifle_history},
      {"add_history", &api.add_history},
      {NULL, NULL},
  };
  setlocale(LC_CTYPE, "");
  api_complete = dynamic_load(NULL, symbols);
  if (api_complete) {
    api.using_history();
    api.stifle_history(MOST_LINES);
  }
}

/* The next line begins with the next edit_begin. */
static void on_line(char *line) {
  api.remove();
  free(typed.line);
  typed.line = line;
  typed.over = true;
  typed.begun = false;
}

/* core.edit_begin(prompt) -> true */
static int l_edit_begin(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  pthread_once(&api_once, load_api);
  if (!api_complete)
    return fail(L, ERR_UNSUPPORTED, 0, "the interpreter has no readline");
  typed.over = false;
  typed.begun = true;
  api.install(prompt, on_line);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.edit_key() -> line; nil: it goes on; false: the input has ended */
static int l_edit_key(lua_State *L) {
  if (!typed.begun)
    return luaL_error(L, "there is no line to edit: core.edit_begin comes first");
  api.read_char();
  if (!typed.over)
    return 0;
  typed.over = false;
  if (!typed.line) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (*typed.line)
    api.add_history(typed.line);
  lua_pushstring(L, typed.line);
  return 1;
}

/* core.edit_end(): the terminal is as it was */
static int l_edit_end(lua_State *L) {
  (void)L;
  if (typed.begun)
    api.remove();
  typed.begun = false;
  free(typed.line);
  typed.line = NULL;
  return 0;
}

void line_editor_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"edit_begin", l_edit_begin}, {"edit_key", l_edit_key}, {"edit_end", l_edit_end}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
