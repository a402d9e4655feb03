-- SPDX-License-Identifier: MIT
-- trueconf run: a bot's file as it stands, in a process of its own.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 10                        -- seconds any single step may take

local REPLY = [[
local trueconf = require "trueconf"
local bot = trueconf.bot { username = "herald" }
bot:on_message(function(msg) assert(msg:reply("%s " .. msg.text)) end)
%s
]]

-- Run a file by `trueconf run`: its output, and the exit code.
local function run(text, arguments)
  local directory <close> = system.directory()
  local path = system.write(directory:file "bot.lua", text)
  local pipe = assert(io.popen(("cd '%s'; env -u TRUECONF_USERNAME LUA_PATH='%s' LUA_CPATH='%s' %s %s run %s 2>&1 "
    .. "</dev/null"):format(directory.path, system.absolute(package.path), system.absolute(package.cpath),
    os.getenv "LUA" or "lua5.4", system.absolute "bin/trueconf", (arguments or "bot.lua"):gsub("PATH", path))))
  local output = pipe:read "a"
  local _, _, code = pipe:close()
  return output, code
end

-- A Bridge, and a folder with a bot that `trueconf run` runs there.
local function with_bot(text, body, arguments)
  return helper.async(function()
    local server = system.start_bridge()
    local directory <close> = system.directory()
    local path = system.write(directory:file "bot.lua", text)
    local child <close> = system.launch_lua(("bin/trueconf run --url %s %s"):format(server:url(),
      ((arguments or "FILE"):gsub("FILE", path))), { environment = { TRUECONF_PASSWORD = "4711" } })
    helper.eventually(function() return server.listener:count() == 1 or child:status() end)
    local at = { server = server, child = child, directory = directory, path = path }
    local ok, err = xpcall(body, debug.traceback, at)
    server:stop(true)
    if not ok then error(("%s\nThe bot said:\n%s"):format(err, child:log()), 0) end
  end)
end

local function answer(chat, text)
  assert(chat:say(text))
  return assert(chat.person:wait_message(LIMIT)).text
end

describe("trueconf run", function()
  it("explains itself", function()
    local output, code = run("", "--help")
    assert.matches("^Usage: trueconf run", output)
    assert.matches("trueconf run %-%-watch", output)
    assert.equal(0, code)
  end)

  for what, ending in pairs {
    ["runs its bot"] = "assert(bot:run())", ["returns its bot"] = "return bot",
    ["returns what makes its bot"] = "return function() return bot end",
  } do
    it("runs a file that " .. what, with_bot(REPLY:format("you said", ending), function(at)
      assert.equal("you said hello", answer(at.server:person("mira"):chat_with "herald", "hello"))
      assert.equal(0, at.child:kill "TERM")
    end))
  end

  it("gives the file its arguments, flags and all", function()
    local output = run([[print(arg[0], #arg, ...) os.exit(7, true)]], "--log off bot.lua --watch -x -- y")
    assert.equal("bot.lua\t4\t--watch\t-x\t--\ty\n", output)
  end)

  it("lets a file end the program", function()
    assert.equal(7, select(2, run "os.exit(7, true)"))
  end)

  it("finds modules beside the file from any folder", with_bot(
    REPLY:gsub("on_message", "default"):format("said", "bot:on_command('x', (require 'extra'))\nreturn bot"),
    function(at)
      assert.matches("bot.lua:4: module 'extra' not found", at.child:log())
      system.write(at.directory:file "extra.lua", "return function(msg) assert(msg:reply 'extra') end")
      local child <close> = system.launch_lua(("bin/trueconf run --url %s %s"):format(at.server:url(), at.path),
        { environment = { TRUECONF_PASSWORD = "4711" } })
      assert.equal("extra", answer(at.server:person("mira"):chat_with "herald", "/x"))
      assert.equal(0, child:kill "INT")
    end))

  it("takes settings from a file of variables that is private", with_bot("error('not this one')", function(at)
    local env = system.write(at.directory:file "env", "# bot\nTRUECONF_USERNAME=herald\nTRUECONF_PASSWORD='4711'\n")
    local bot = system.write(at.path, "local bot = require('trueconf').bot()\nassert(bot:run())")
    local arguments = ("bin/trueconf run --env %s --url %s %s"):format(env, at.server:url(), bot)
    local open <close> = system.launch_lua(arguments)
    assert.equal(2, open:wait())
    assert.matches("%-%-env: will not use .*env: others may read it; run chmod 600", open:log())
    system.output("chmod 600 '%s'", env)
    local child <close> = system.launch_lua(arguments)
    helper.eventually(function() return child:log():match "ready as herald" end)
    assert.equal(0, child:kill "TERM")
  end))

  it("takes the proxy from a file of variables too, and never goes past it", with_bot("error('not this one')",
    function(at)
      local env = system.write(at.directory:file "env", "https_proxy=http://127.0.0.1:1\n")
      system.output("chmod 600 '%s'", env)
      local bot = system.write(at.path, "local bot = require('trueconf').bot { url = 'wss://192.0.2.7', "
        .. "username = 'herald', password = '4711' }\nassert(bot:run())")
      local child <close> = system.launch_lua(("bin/trueconf run --env %s %s"):format(env, bot))
      helper.eventually(function() return child:log():find("cannot connect to the proxy 127.0.0.1:1", 1, true) end)
      child:kill "TERM"
    end))

  it("ends with 1 when the bot gives up, whatever the file makes of it", with_bot([[
    local bot = require("trueconf").bot { username = "herald", token = "stale", max_denials = 1 }
    bot:run()
  ]], function(at)
    assert.equal(1, at.child:wait())
    assert.matches("gave up", at.child:log())
  end))

  it("stops at once at the second signal", with_bot(REPLY:format("", "bot:on_command('wait', function(msg) "
    .. "msg:reply 'waiting' require('trueconf').sleep(60) end)\nbot:run()"):gsub("on_message", "default"), function(at)
      assert.equal("waiting", answer(at.server:person("mira"):chat_with "herald", "/wait"))
      -- One that comes too soon counts for nothing; one that comes while the process ends would kill it.
      helper.eventually(function()
        os.execute("kill -INT " .. at.child.pid)
        core.sleep(0.6)
        return at.child:log():match "stopped by"
      end)
      helper.eventually(function() return at.child:status() end)
      assert.equal(1, at.child:status())
      assert.matches("stopped by SIGINT", at.child:log())
    end))

  it("blames a flag for its value", function()
    local output, code = run("return require('trueconf').bot()", "--url localhost bot.lua")
    assert.equal("trueconf run: option '--url' must begin with ws://, wss://, http:// or https://\n", output)
    assert.equal(2, code)
  end)

  it("says in one line what is wrong", function()
    for text, expected in pairs {
      ["local x\nlocal y = = 2"] = "bot.lua:2: unexpected symbol near '='",
      ["\nerror 'no coffee'"] = "bot.lua:2: no coffee",
      ["\nassert(nil, 'no\\ncoffee')"] = "bot.lua:2: no coffee",
      ["\n\nrequire 'trueconf'.bot { usernam = 1 }"] = "bot.lua:3: trueconf.bot: unknown option 'usernam', "
        .. "did you mean 'username'?",
      ["return require('trueconf').bot()"] = "bot.lua: no username: set the option 'username', the environment "
        .. "variable TRUECONF_USERNAME, or a config file",
      ["local x\nrequire 'no.such'"] = "bot.lua:2: module 'no.such' not found",
      ["local x = nil + 1"] = "bot.lua:1: attempt to perform arithmetic on a nil value",
      ["\nlocal t = require 'trueconf'.error.new"] = "bot.lua:2: trueconf has no 'error', did you mean 'Error'?",
      ["x = 1"] = "bot.lua has made no bot; a bot's file ends with bot:run() or returns the bot",
      ["require('trueconf').bot { username = 'a', password = 'b' }"] = "bot.lua has not run its bot; "
        .. "a bot's file ends with bot:run() or returns the bot",
    } do
      local output, code = run(text)
      assert.equal("trueconf run: " .. expected .. "\n", output)
      assert.equal(1, code)
    end
  end)

  it("ends with 2 when it is used wrongly", function()
    for arguments, expected in pairs {
      [""] = "missing argument 'file'", ["no.lua"] = "cannot read no.lua: No such file",
      ["--log loud bot.lua"] = "'%-%-log' must be one of debug, info, warn, error, off, got 'loud'",
      ["--env no.env bot.lua"] = "%-%-env: there is no file no.env", ["--wtch bot.lua"] = "did you mean '%-%-watch'",
    } do
      local output, code = run("", arguments)
      assert.matches("^trueconf run: .*" .. expected, output)
      assert.equal(2, code, arguments)
    end
  end)
end)
