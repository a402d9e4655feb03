-- SPDX-License-Identifier: MIT
-- tools/coverage.lua and the hook that notes the lines of Lua: small files of which is known what runs.

local system = require "spec.support.system"

local LUA_FILE = [[
local counted = {
  1,
  2,
}
local function never(x)
  local y = x + 1
  return y
end
local function once()
  if #counted == 3 then
    never(1)
  end
  return counted
end
local in_coroutine = coroutine.wrap(function()
  coroutine.yield(1)
  return 2
end)
in_coroutine()
return once()
]]

local C_FILE = [[
#include "room/a.h"
int twice(int x) {
  if (x > 1000)
    return half(x);
  return 2 * x;
}
int never(void) {
  return 0;
}
int main(void) {
  return twice(1) - 2;
}
]]

local HEADER = [[
static inline int half(int x) {
  return x / 2;
}
]]

describe("make coverage", function()
  local tree

  local function shell(command, ...)
    return system.output("cd '%s' && " .. command, tree.path, ...)
  end

  local function coverage(what)
    return system.output("cd '%s' && lua5.4 '%s' build %s", tree.path, system.absolute "tools/coverage.lua", what)
  end

  local function hooked(command)
    return shell([[COVERAGE="$PWD/build/lua" LUA_INIT='package.loadlib("%s/hook.so", "luaopen_coverage")()' %s]],
      tree.path, command)
  end

  setup(function()
    tree = system.directory()
    shell "mkdir -p lua/trueconf/bot csrc/room build/lua build/obj/room"
    system.write(tree:file "lua/trueconf/bot/some.lua", LUA_FILE)
    system.write(tree:file "lua/trueconf/none.lua", "local a = 1\nreturn a\n")
    system.write(tree:file "csrc/room/a.c", C_FILE)
    system.write(tree:file "csrc/room/a.h", HEADER)
    shell "gcc -Icsrc -O0 --coverage -c -o build/obj/room/a.o csrc/room/a.c"
    shell "gcc --coverage -o program build/obj/room/a.o && ./program"
    system.output("${CC:-cc} -O1 -shared -fPIC -Wall -Werror $(pkg-config --cflags lua5.4) -o '%s' %s",
      tree:file "hook.so", "spec/support/c/coverage.c")
    hooked "lua5.4 lua/trueconf/bot/some.lua"
  end)
  teardown(function() tree:__close() end)

  it("shows the lines of a Lua file that nothing reached", function()
    assert.equal([[
    6    local y = x + 1
    7    return y
   11      never(1)
   17    return 2
  75.0 %      4 of    16  lua/trueconf/bot/some.lua]], coverage "lua/trueconf/bot/some.lua")
  end)

  it("shows the lines of a C file and of a header that nothing reached", function()
    assert.equal([[
    4      return half(x);
    7  int never(void) {
    8    return 0;
  62.5 %      3 of     8  csrc/room/a.c]], coverage "csrc/room/a.c")
    assert.matches("\n +0%.0 %% +2 of +2  csrc/room/a%.h$", coverage "csrc/room/a.h")
  end)

  it("sums up rooms, and names the least covered files first", function()
    local short = coverage "short"
    assert.matches("csrc/room/\n.*lua/trueconf/\n.*lua/trueconf/bot/\n", short)
    assert.matches("\n   0%.0 %% .- csrc/room/a%.h\n   0%.0 %% .- lua/trueconf/none%.lua\n  62%.5 %% ", short)
    assert.matches("  50%.0 %% +5 of +10  all C\n", short)
    assert.matches("  66%.7 %% +6 of +18  all Lua$", short)
  end)

  it("shows each file in its room", function()
    assert.matches("lua/trueconf/bot/\n[^\n]*lua/trueconf/bot/some%.lua\n", coverage "all")
  end)

  it("refuses a file that it does not know", function()
    local ok, err = pcall(coverage, "csrc/room/none.c")
    assert.is_false(ok)
    assert.matches("no such file in the build: csrc/room/none.c", err)
  end)

  it("counts what ran in a process that was killed", function()
    hooked [[lua5.4 -e 'dofile "lua/trueconf/none.lua"; os.execute("kill -9 $PPID")' || true]]
    assert.matches("100%.0 %%", coverage "lua/trueconf/none.lua")
  end)
end)
