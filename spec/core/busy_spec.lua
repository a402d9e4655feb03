-- SPDX-License-Identifier: MIT
-- core.busy_limit in programs that have more than one Lua state, and that handle its signal, too. core/runtime_spec.lua
-- checks its effect on coroutines.

local c_program = require "spec.support.c_program"
local system = require "spec.support.system"

local WRAP = os.getenv "WRAP" or ""
local BUILD = os.getenv "BUILD" or "build"
local SUPPRESSIONS = WRAP:find "^valgrind" and " --suppressions=spec/support/c/host.valgrind.supp" or ""

describe("core.busy_limit in a program", function()
  local program

  setup(function()
    program = c_program.build("spec/support/c/busy_test.c -pthread " ..
      "$(pkg-config --cflags --libs lua5.4 2>/dev/null || pkg-config --cflags --libs lua-5.4)")
  end)
  teardown(function() os.remove(program) end)

  local function check(case, environment)
    local command = "%s " .. c_program.HOST .. " timeout 60 %s %s"
    local ok, output = c_program.run(command:format(environment or "", WRAP .. SUPPRESSIONS, program .. " " .. case))
    assert.is_true(ok, output)
    assert.equal("ok\n", output)
  end

  it("sees the coroutine of one loop when that of another has turned inside of it", function() check "nested" end)
  it("leaves signals of others to them", function() check "others" end)
  it("takes signals of others when its Lua state is closed", function() check "closed" end)
  it("watches over several threads", function() check "threads" end)
  it("lets a child of the process close the Lua state", function() check "forks" end)
  it("lets a coroutine end the process", function() check "exits" end)

  it("stays mapped for the signal when Lua has unloaded it", function()
    local directory <close> = system.directory()
    -- Linked as LuaRocks does.
    local command = "-shared ${COVERAGE:+--coverage} $(find %s/obj -name '*.o') %s -ldl $(pkg-config --libs %s)"
    local module = c_program.build(command:format(BUILD,
      (os.getenv "LD_PRELOAD" or ""):find "libasan" and "-fsanitize=address,undefined" or "",
      "libuv libwebsockets libcurl openssl libcrypt libutf8proc"))
    system.output("mkdir '%s' && mv %s '%s'", directory:file "trueconf", module, directory:file "trueconf/core.so")
    check("closed", ("LUA_CPATH='%s;;'"):format(directory:file "?.so"))
  end)
end)
