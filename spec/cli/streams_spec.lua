-- SPDX-License-Identifier: MIT
-- The standard streams of the command: closed, full, or left by their reader (csrc/system/standard.c).

local command = require "spec.support.command"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

-- Run a command beside a Bridge, under a shell that redirects its streams.
local function with_bridge(fn)
  return helper.async(function()
    local server = system.start_bridge()
    local settings = command.herald(server:url())
    fn(server, function(redirection, ...)
      return command.run({ ... }, { environment = settings, wrap = "sh -c %s' " .. redirection .. "'", input = "" })
    end)
    server:stop()
  end)
end

describe("a standard stream that is closed", function()
  for redirection, what in pairs { ["0<&-"] = "input", ["1>&-"] = "output", ["2>&-"] = "errors",
    ["0<&- 1>&- 2>&-"] = "each of them" } do
    it("is no reason to end early: " .. what, with_bridge(function(server, run)
      local code = run(redirection, "send", "mira", "hello")
      assert.equal(0, code)
      assert.equal("hello", assert(server:person("mira"):wait_message(5)).text)
    end))
  end

  it("is given to no socket of a script either", with_bridge(function(server)
    local directory <close> = system.directory()
    local path = system.write(directory:file "script.lua", ([[
      local core = require "trueconf.core"
      local socket = assert(core.socket { url = "%s/websocket/chat_bot/", subprotocol = "json.v1" })
      io.stdout:write("to nobody")
      io.stderr:write("to nobody")
      local opened = io.popen("readlink /proc/$PPID/fd/0 /proc/$PPID/fd/1 /proc/$PPID/fd/2"):read "a"
      socket:close()
      os.exit(opened == ("/dev/null\n"):rep(3) and 7 or 8)]]):format(server:url()))
    local child <close> = system.launch(('sh -c "%s %s 0<&- 1>&- 2>&-"'):format(os.getenv "LUA" or "lua5.4", path),
      { environment = {
        LD_PRELOAD = os.getenv "LD_PRELOAD", LUA_PATH = package.path, LUA_CPATH = package.cpath } })
    assert.equal(7, child:wait(20))
  end))
end)

describe("a disk that is full", function()
  for _, arguments in ipairs {
    { "--help" }, { "help", "send" }, { "send", "--help" }, { "version" }, { "--version" }, { "completion", "bash" },
    { "token" }, { "token", "--print" }, { "token", "--json" }, { "doctor" }, { "doctor", "--json" },
  } do
    it("fails trueconf " .. table.concat(arguments, " "), with_bridge(function(_, run)
      local code, _, errors = run(">/dev/full", table.unpack(arguments))
      assert.equal(1, code)
      assert.matches("cannot write the output: ", errors)
    end))
  end

  it("fails a watch at the first line", with_bridge(function(server)
    local tail <close> = command.start({ "tail", "--timeout", "10" },
      { environment = command.herald(server:url()), wrap = "sh -c %s' >/dev/full'" })
    helper.eventually(function() return tail:errors():find "watching" end)
    server:person("mira"):chat_with("herald"):say "hello"
    assert.equal(1, tail.child:wait(20))
    assert.matches("cannot write the output: ", tail:errors())
  end))

  it("does not hide that a message was sent", with_bridge(function(server, run)
    local code, _, errors = run(">/dev/full", "send", "mira", "hello")
    assert.equal(1, code)
    assert.equal("hello", assert(server:person("mira"):wait_message(5)).text)
    assert.matches("^trueconf: done, but cannot write the output: ", errors)
  end))
end)

-- Runs a command with a stream that is a pipe without a reader, and with SIGPIPE as a shell hands it down.
local BROKEN = [==[/usr/bin/python3 -c 'import os, signal, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, %d)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execvp("sh", ["sh", "-c", "exec " + sys.argv[1]])' %%s]==]

describe("a reader that goes away", function()
  it("does not end a bot before its first connection", with_bridge(function(server)
    local directory <close> = system.directory()
    local path = system.write(directory:file "bot.lua", [[
      local bot = require("trueconf").bot()
      bot:on_message(function(msg) assert(msg:reply "here") end)
      for _ = 1, 100 do bot.log:warn "nobody reads this" end
      return bot]])
    local bot <close> = command.start({ "run", path },
      { environment = command.herald(server:url()), wrap = BROKEN:format(2) })
    local mira = server:person "mira"
    mira:chat_with("herald"):say "hello"
    assert.equal("here", assert(mira:wait_message(20)).text)
    assert.is_nil(bot.child:status())
  end))

  it("is no failure of what prints", helper.async(function()
    for _, arguments in ipairs { { "completion", "bash" }, { "version" }, { "doctor", "--timeout", "2" } } do
      local code, _, errors = command.run(arguments, { wrap = BROKEN:format(1),
        environment = { TRUECONF_URL = "ws://localhost:" .. system.free_port(), TRUECONF_TOKEN = "x" } })
      assert.equal(arguments[1] == "doctor" and 3 or 0, code)
      assert.equal("", errors)
    end
  end))
end)
