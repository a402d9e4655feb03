-- SPDX-License-Identifier: MIT
-- Programs with a Lua state in each of several threads: the states share nothing that one of them changes.
-- ThreadSanitizer sees what two threads share, and how, in `make tsan`.

local c_program = require "spec.support.c_program"
local system = require "spec.support.system"

-- Each state for itself: first everything that is looked up or made once for the whole process, all at the same moment.
local SCRIPT = [[
  local number, directory = ...
  local core = require "trueconf.core"
  local function file(name) return ("%s/%d.%s"):format(directory, number, name) end

  local errors = {}
  core.on_error(function(err) errors[#errors + 1] = err end)
  core.busy_limit(0.5)
  core.spawn(function() core.edit_begin "" end)
  core.spawn(function() core.picture_preview { data = "no picture" } end)
  core.spawn(function() core.ldap_bind { url = "ldap://127.0.0.1:9", dn = "cn=a", password = "b", timeout = 5 } end)
  core.spawn(function() assert(core.crypt_hash "secret") end)
  core.spawn(function() while true do local _ = {} end end)
  local part = assert(io.open(file "part", "w"))
  part:write "1"
  part:close()
  core.spawn(function() assert(core.replace_file(file "part", file "whole")) end)
  core.run()
  assert(#errors > 0 and errors[1]:find "blocked the loop", errors[1])
  core.busy_limit(0)

  local server = assert(require "trueconf.bridge".start {
    port = 0, accounts = { herald = "4711" }, password_cost = 1, log = { level = "off" },
  })
  local report
  core.spawn(function() report = core.probe("localhost", server:port(), false, nil, 20) end)
  local client = require "trueconf".client {
    url = server:url():gsub("127%.0%.0%.1", "localhost"), username = "herald", password = "4711",
    token_file = file "token", log = "off",
  }
  client:start()
  assert(client:wait_ready(30))
  while not report do core.sleep(0.01) end
  assert(not report.error, report.error)
  client:stop()
  server:stop()
]]

describe("a program with a Lua state in each of its threads", function()
  it("runs them side by side", function()
    local directory <close> = system.directory()
    local program = c_program.build("spec/support/c/threads_test.c -pthread " ..
      "$(pkg-config --cflags --libs lua5.4 2>/dev/null || pkg-config --cflags --libs lua-5.4)")
    local script = system.write(directory:file "script.lua", SCRIPT)
    local ok, output = c_program.run(("%s timeout 100 %s %s %s %s")
      :format(c_program.HOST, os.getenv "WRAP" or "", program, script, directory.path))
    os.remove(program)
    assert.is_true(ok, output)
    assert.equal("ok\n", output)
  end)
end)
