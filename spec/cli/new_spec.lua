-- SPDX-License-Identifier: MIT
-- trueconf new: a bot to begin with, which runs and passes its test as it stands.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local system = require "spec.support.system"

local LIMIT = 20                        -- seconds any single step may take
-- Reads files of variables with the code that reads those of services.
local SYSTEMD_READER = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
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
    local names = { "bot.lua", "bot_test.lua", "README.md", ".env.example", ".gitignore", ".luarc.json",
      "my-clerk.service" }
    for _, name in ipairs(names) do
      assert.is_truthy(output:find("my-clerk/" .. name, 1, true), name)
      assert.is_nil(file("my-clerk/" .. name):find "@%u+@", name)
    end
    assert.equal("passed", system.run_lua(directory:file "my-clerk", "bot_test.lua"))
    local settings = json.decode(file "my-clerk/.luarc.json")
    local library = settings["workspace.library"][1]
    assert.truthy(io.open(library .. "/meta/core.lua"), library)
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

  -- The steps that the README of the bot names with its settings, and the bot by the last of its commands.
  local function run_made(name, body)
    return helper.async(function()
      local server = system.start_bridge { accounts = { [name] = "4 7'11#", mira = "x" } }
      local output, code = new(name)
      assert.equal(0, code, output)
      system.output("cd '%s' && install -m 600 .env.example .env", directory:file(name))
      local env = directory:file(name .. "/.env")
      local settings = system.read(env):gsub("TRUECONF_URL=[^\n]*", "TRUECONF_URL=" .. server:url())
        :gsub("TRUECONF_PASSWORD=", "%0\"4 7'11#\"")
      system.write(env, settings)
      local child <close> = system.launch_lua(("bin/trueconf run --env %s %s"):format(env,
        directory:file(name .. "/bot.lua")))
      local ok, err = pcall(body, server, child, env)
      local log = child:log()
      child:kill "TERM"
      server:stop(true)
      if not ok then error(("%s\nThe bot said:\n%s"):format(err, log), 0) end
    end)
  end

  for _, name in ipairs { "herald", "a", "my-clerk_2", "name", "username", "x--_", ("n"):rep(31) } do
    it("makes a bot that runs with the settings made for it: " .. name, run_made(name, function(server, child)
      helper.eventually(function() return child:status() or child:log():find("ready as " .. name, 1, true) end, LIMIT)
      assert.is_nil(child:status())
      local chat = server:person("mira"):chat_with(name)
      assert(chat:say "good morning")
      assert.matches("^You said: good morning", assert(chat.person:wait_message(LIMIT)).text)
      assert.equal(0, child:kill "TERM")
    end))
  end

  local read_by_systemd = run_made("my-clerk", function(server, _, env)
    system.output("mkdir -p '%s/environment.d' && cp '%s' '%s/environment.d/made.conf'", directory.path, env,
      directory.path)
    local read = system.output("env -i HOME=/nonexistent XDG_CONFIG_HOME='%s' '%s'", directory.path, SYSTEMD_READER)
    for _, expected in ipairs { "TRUECONF_URL=" .. server:url(), "TRUECONF_USERNAME=my-clerk", "TRUECONF_LOG=info" } do
      assert.is_truthy(("\n" .. read .. "\n"):find("\n" .. expected .. "\n", 1, true), read)
    end
    assert.matches("TRUECONF_PASSWORD=.*4 7.*11#", read)
  end)

  it("makes settings that systemd reads as the command does", function()
    if not core.file_stamp(SYSTEMD_READER) then return pending "systemd is not there" end
    read_by_systemd()
  end)

  it("makes a service in which systemd finds no mistake", function()
    new "my-clerk"
    if not os.execute "systemd-analyze --version >/dev/null 2>&1" then return pending "systemd is not there" end
    local said = system.output("systemd-analyze verify --man=no '%s'", directory:file "my-clerk/my-clerk.service")
    assert.equal("", said)
  end)

  it("names its folder as a shell takes it", function()
    for given, shown in pairs { ["'my bots/x'"] = "cd 'my bots/x' &&", ["./-x"] = "cd ./-x &&", ["y"] = "cd y &&" } do
      assert.matches(shown, (new("clerk --dir " .. given)), 1, true)
    end
  end)

  it("lets a service see what the machine tells of itself", function()
    new "clerk"
    assert.is_nil(file("clerk/clerk.service"):find "\nProcSubset=")
  end)

  it("changes no file that is there", function()
    system.output("mkdir '%s'", directory:file "old")
    system.write(directory:file "old/README.md", "mine")
    local output, code = new "clerk --dir old"
    assert.equal("trueconf new: old/README.md exists already; nothing was written\n", output)
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
