-- SPDX-License-Identifier: MIT
-- trueconf new: a bot to begin with, which runs and passes its test as it stands.

local system = require "spec.support.system"

local COMMAND = (os.getenv "LUA" or "lua5.4") .. " " .. system.absolute "bin/trueconf"

describe("trueconf new", function()
  local directory

  before_each(function() directory = system.directory() end)
  after_each(function() directory:__close() end)

  local function new(arguments)
    local pipe = assert(io.popen(("cd '%s' && LUA_PATH='%s' LUA_CPATH='%s' %s new %s 2>&1 </dev/null"):format(
      directory.path, system.absolute(package.path), system.absolute(package.cpath), COMMAND, arguments)))
    local output = pipe:read "a"
    return output, select(3, pipe:close())
  end

  local function file(name) return system.read(directory:file(name)) end

  it("writes a bot that passes its test", function()
    local output, code = new "my-clerk"
    assert.equal(0, code, output)
    local names = { "bot.lua", "bot_test.lua", "README.md", ".env.example", ".gitignore", "my-clerk.service" }
    for _, name in ipairs(names) do
      assert.is_truthy(output:find("my-clerk/" .. name, 1, true), name)
      assert.is_nil(file("my-clerk/" .. name):find("NAME[^=]"), name)
    end
    assert.equal("passed", system.run_lua(directory:file "my-clerk", "bot_test.lua"))
    assert.matches('store = os.getenv "MY_CLERK_STORE"', file "my-clerk/bot.lua", 1, true)
  end)

  it("writes a test that sees a mistake", function()
    new "clerk"
    local text = file("clerk/bot.lua"):gsub("Nice to meet you", "Go away")
    system.write(directory:file "clerk/bot.lua", text)
    local printed = system.run_lua(directory:file "clerk", "bot_test.lua")
    assert.matches('anna should hear "Nice to meet you, Anna.", but heard "Go away, Anna."', printed, 1, true)
  end)

  it("writes a service that systemd takes, and that says where the secrets are", function()
    new "clerk"
    local service = file "clerk/clerk.service"
    assert.matches("ExecStart=.* trueconf run /opt/clerk/bot.lua\n", service)
    assert.matches("\nEnvironmentFile=/etc/clerk.env\nEnvironment=CLERK_STORE=/var/lib/clerk/clerk.db\n", service)
    assert.matches("install -m 600 .env /etc/clerk.env", file "clerk/README.md", 1, true)
    local seen = {}
    for line in service:gmatch "[^\n]+" do
      assert.is_truthy(line:find "^#" or line:find "^%[%u%l+%]$" or line:find "^%u%w+=", line)
      local key = line:match "^(%u%w+)=" or line
      assert.is_true(not seen[key] or key:find "^SystemCallFilter" ~= nil or line:find "^#" ~= nil, line)
      seen[key] = true
    end
  end)

  it("changes no file that is there", function()
    system.output("mkdir '%s'", directory:file "old")
    system.write(directory:file "old/README.md", "mine")
    local output, code = new "clerk --dir old"
    assert.equal("trueconf new: old/README.md is there already; nothing was written\n", output)
    assert.equal(1, code)
    assert.equal("mine", file "old/README.md")
    assert.is_nil(file "old/bot.lua")
    os.remove(directory:file "old/README.md")
    assert.equal(0, select(2, new "clerk --dir old"))
    local before = file "old/bot.lua"
    assert.equal(1, select(2, new "other --dir old"))
    assert.equal(before, file "old/bot.lua")
  end)

  it("says what is wrong", function()
    for arguments, expected in pairs {
      [""] = { "missing argument 'name'", 2 }, ["Clerk"] = { "begin with a letter; got 'Clerk'", 2 },
      ["../clerk"] = { "the name must be", 2 }, ["'a b'"] = { "the name must be", 2 },
      ["clerk --dir /proc/no"] = { "cannot make the folder /proc/no", 1 },
      ["clerk now"] = { "too many arguments", 2 },
    } do
      local output, code = new(arguments)
      assert.matches("trueconf new: .*" .. expected[1], output)
      assert.equal(expected[2], code, arguments)
    end
    assert.matches("trueconf new clerk %-%-dir", (new "--help"))
  end)
end)
