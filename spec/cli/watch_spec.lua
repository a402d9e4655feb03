-- SPDX-License-Identifier: MIT
-- trueconf run --watch: a bot whose file changes while it runs, in a process of its own at a real Bridge.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 10                        -- seconds any single step may take
local BOT = [[
local trueconf = require "trueconf"
local bot = trueconf.bot { username = "herald" }
]]

-- A file whose bot answers every message with the same words before it.
local function bot_that_says(words, more)
  return BOT .. ("bot:on_message(function(msg) assert(msg:answer(%q .. ' ' .. msg.text)) end)\n"):format(words)
    .. (more or "") .. "assert(bot:run())\n"
end

---@class trueconf.spec.Watched
local Watched = {}
Watched.__index = Watched

---Write a file of the bot.
function Watched:write(name, text)
  local folder = name:match "^(.*)/"
  if folder then system.output("mkdir -p '%s'", self.directory:file(folder)) end
  return system.write(self.directory:file(name), text)
end

---Write the bot's file, or another one, and wait until it is said what became of it.
function Watched:rewrite(text, expected, name)
  local before = #self.child:log()
  self:write(name or "bot.lua", text)
  self:hears(expected or "reloaded", before)
end

function Watched:hears(expected, from)
  helper.eventually(function() return self.child:log():find(expected, from or 1) end, LIMIT)
end

---Say something and wait for the answer.
function Watched:ask(text, person)
  local chat = self.server:person(person or "mira"):chat_with "herald"
  assert(chat:say(text))
  return assert(chat.person:wait_message(LIMIT)).text
end

---How many connections have been made so far.
function Watched:connections()
  return self.opened
end

-- A case: a Bridge, and `trueconf run --watch` with the files of a bot.
local function watched(files, body)
  if type(files) == "string" then files = { ["bot.lua"] = files } end
  return helper.async(function()
    local server = system.start_bridge { accounts = { herald = "4711", mira = "x", john = "x" } }
    local directory <close> = system.directory()
    local at = setmetatable({ server = server, directory = directory, opened = 0 }, Watched)
    for name, text in pairs(files) do at:write(name, text) end
    server:watch(function(report)
      if report.kind == "connection" and report.state == "open" then at.opened = at.opened + 1 end
    end)
    local child <close> = system.launch_lua(("bin/trueconf run --watch --url %s %s"):format(server:url(),
      directory:file "bot.lua"), { environment = { TRUECONF_PASSWORD = "4711" } })
    at.child = child
    local ok, err = xpcall(function()
      at:hears "\n"                     -- the file has been run
      body(at)
    end, debug.traceback)
    server:stop(true)
    if not ok then error(("%s\nThe bot said:\n%s"):format(err, child:log()), 0) end
  end)
end

describe("trueconf run --watch", function()
  it("exchanges the handlers over the same connection", watched(bot_that_says "one", function(at)
    assert.equal("one hello", at:ask "hello")
    at:rewrite(bot_that_says "two")
    assert.equal("two hello", at:ask "hello")
    at:rewrite(bot_that_says "three")
    assert.equal("three hello", at:ask "hello")
    assert.equal(1, at:connections())
    assert.equal(0, at.child:kill "TERM")
  end))

  it("sees a file that takes the place of another", watched(bot_that_says "one", function(at)
    assert.equal("one hello", at:ask "hello")
    local path = at:write("bot.lua~", bot_that_says "two")
    assert(os.rename(path, at.directory:file "bot.lua"))
    at:hears "reloaded"
    assert.equal("two hello", at:ask "hello")
  end))

  local function order_bot(version)
    return BOT .. ([[
      bot:on_command("order", function(msg)
        local size = assert(msg:ask "%s: which size?")
        local colour = assert(size:ask "%s: which colour?")
        assert(msg:answer("%s: " .. size.text .. " " .. colour.text))
      end)
      return bot
    ]]):gsub("%%s", version)
  end

  it("lets a dialog end with the code it began with", watched(order_bot "one", function(at)
    assert.equal("one: which size?", at:ask "/order")
    at:rewrite(order_bot "two")
    assert.equal("one: which colour?", at:ask "large")
    assert.equal("two: which size?", at:ask("/order", "john"))
    at:rewrite(order_bot "three")
    assert.equal("one: large red", at:ask "red")
    assert.equal("two: which colour?", at:ask("small", "john"))
    assert.equal("three: which size?", at:ask "/order")
    assert.equal(1, at:connections())
  end))

  it("goes on with the old code when the file is wrong", watched(bot_that_says "one", function(at)
    assert.equal("one hello", at:ask "hello")
    at:rewrite("local x\nlocal y = = 2\n", "bot.lua:2: unexpected symbol near '='; the old code keeps running\n")
    assert.equal("one hello", at:ask "hello")
    local half = BOT .. "bot:on_message(function(msg) msg:answer 'half' end)\nerror 'no coffee'\n"
    at:rewrite(half, "bot.lua:4: no coffee; the old code keeps running\n")
    assert.equal("one hello", at:ask "hello")
    at:rewrite("print 'nothing'", "bot.lua has made no bot; .*; the old code keeps running\n")
    assert.equal("one hello", at:ask "hello")
    at:rewrite(bot_that_says "two")
    assert.equal("two hello", at:ask "hello")
    assert.equal(1, at:connections())
  end))

  it("waits for a change when the file is wrong from the beginning", watched("local x = = 1", function(at)
    at:hears "bot.lua:1: unexpected symbol near '='; waiting for a change"
    at:rewrite(bot_that_says "two")
    assert.equal("two hello", at:ask "hello")
  end))

  local WITH_MODULES = {
    ["bot.lua"] = BOT .. [[
      local words = require "parts.words"
      bot:on_message(function(msg) assert(msg:answer(words .. " " .. require("parts.late"))) end)
      assert(bot:run())
    ]],
    ["parts/words.lua"] = "return 'one'", ["parts/late.lua"] = "return 'early'",
  }

  it("reloads modules of the bot, whatever asked for them", watched(WITH_MODULES, function(at)
    assert.equal("one early", at:ask "hello")
    at:rewrite("return 'two'", nil, "parts/words.lua")
    assert.equal("two early", at:ask "hello")
    at:rewrite("return 'later'", nil, "parts/late.lua")
    assert.equal("two later", at:ask "hello")
    assert.equal(1, at:connections())
  end))

  it("keeps the old modules when a module is wrong, and sees it mended", watched(bot_that_says "one", function(at)
    at:rewrite(BOT .. "local w = require 'words'\nbot:on_message(function(msg) msg:answer(w .. require 'words') end)\n"
      .. "return bot", "bot.lua:3: module 'words' not found; the old code keeps running")
    assert.equal("one hello", at:ask "hello")
    at:rewrite("return = 1", "words.lua:1: unexpected symbol near '='; the old code keeps running", "words.lua")
    at:rewrite("return 'good '", nil, "words.lua")
    assert.equal("good good ", at:ask "hello")
    at:rewrite("error 'bad'", "words.lua:1: bad; the old code keeps running", "words.lua")
    assert.equal("good good ", at:ask "hello")
  end))

  it("loses no message and handles none twice", watched(bot_that_says "v0", function(at)
    local chat, heard, count = at.server:person("mira"):chat_with "herald", {}, 300
    helper.eventually(function() return at.server.listener:count() == 1 end)
    local next_version = 1
    for number = 1, count do
      assert(chat:say(tostring(number)))
      if number % 50 == 0 then
        at:write("bot.lua", bot_that_says("v" .. next_version))
        next_version = next_version + 1
        at:hears("reloaded", #at.child:log())
      end
    end
    for number = 1, count do
      local version, text = assert(chat.person:wait_message(LIMIT)).text:match "^(v%d+) (%d+)$"
      assert.equal(tostring(number), text)
      heard[version] = true
    end
    assert.equal("v6 last", at:ask "last")
    assert.is_true(heard.v0 and heard.v5)
    assert.equal(1, at:connections())
  end))

  it("ends what the file itself has set going, and leaves what handlers did", watched(BOT .. "return bot", function(at)
    local function ticking(name)
      return BOT .. ([[
        bot.data.running = bot.data.running or {}
        local function tick(kind)
          bot.data.running[kind .. "NAME"] = (bot.data.running[kind .. "NAME"] or 0) + 1
        end
        trueconf.spawn(function() while true do tick "spawned" trueconf.sleep(0.01) end end)
        local function again() tick "timed" trueconf.timer(0.01, again) end
        again()
        bot:on_command("later", function(msg)
          trueconf.timer(0.6, function() assert(msg:answer "NAME later") end)
          assert(msg:answer "yes")
        end)
        bot:on_command("who", function(msg)
          local names, before = {}, {}
          for key, value in pairs(bot.data.running) do before[key] = value end
          trueconf.sleep(0.1)
          for key, value in pairs(bot.data.running) do
            if value > (before[key] or 0) then names[#names + 1] = key end
          end
          table.sort(names)
          assert(msg:answer(table.concat(names, " ")))
        end)
        return bot
      ]]):gsub("NAME", name)
    end
    at:rewrite(ticking "A")
    assert.equal("spawnedA timedA", at:ask "/who")
    assert.equal("yes", at:ask "/later")
    at:rewrite(ticking "B")
    assert.equal("spawnedB timedB", at:ask("/who", "john"))
    at:rewrite(ticking "C" .. "\nlocal x = = 1", "the old code keeps running")
    local broken = ticking("D"):gsub("return bot", "error 'late'")
    at:rewrite(broken, "late; the old code keeps running")
    assert.equal("spawnedB timedB", at:ask("/who", "john"))
    assert.equal("A later", assert(at.server:person("mira"):wait_message(LIMIT)).text)
  end))

  it("stops a bot that the file no longer makes, and starts a new one", watched(bot_that_says "one", function(at)
    assert.equal("one hello", at:ask "hello")
    local other = bot_that_says("john"):gsub('"herald"', '"john", password = "x"')
    at:rewrite(other)
    local chat = at.server:person("mira"):chat_with "john"
    assert(chat:say "hello")
    assert.equal("john hello", assert(chat.person:wait_message(LIMIT)).text)
    helper.eventually(function() return at.server.listener:count() == 1 end)
    assert.equal(2, at:connections())
    assert.equal(0, at.child:kill "INT")
  end))

  it("keeps bots apart that are on one account or on tokens alone", watched(BOT .. "return bot", function(at)
    local token = at.server:mint_token "john"
    local function two(words)
      return (([[
        local trueconf = require "trueconf"
        for number = 1, 2 do
          local bot = trueconf.bot { token = function() return "TOKEN" end }
          bot:on_message(function(msg) assert(msg:answer("WORDS " .. number .. " " .. msg.text)) end)
          bot:start()
        end
        trueconf.run()
      ]]):gsub("TOKEN", token):gsub("WORDS", words))
    end
    local function ask(text)
      local chat, heard = at.server:person("mira"):chat_with "john", {}
      assert(chat:say(text))
      for place = 1, 2 do heard[place] = assert(chat.person:wait_message(LIMIT)).text end
      table.sort(heard)
      return heard
    end
    at:rewrite(two "one")
    helper.eventually(function() return at.server.listener:count() == 2 end)
    assert.same({ "one 1 hello", "one 2 hello" }, ask "hello")
    at:rewrite(two "two")
    assert.same({ "two 1 hello", "two 2 hello" }, ask "hello")
    assert.equal(3, at:connections())
  end))

  it("says which options of a bot stay as they are", watched(bot_that_says "one", function(at)
    assert.equal("one hello", at:ask "hello")
    local changed = bot_that_says("two"):gsub('"herald"', '"herald", ask_timeout = 5')
    at:rewrite(changed, "keeps its options; to change ask_timeout, start it again")
    assert.equal("two hello", at:ask "hello")
  end))

  it("says so of options that are tables, and not of those that hold the same", watched(
    bot_that_says("one"):gsub('"herald"', '%0, headers = { ["X-One"] = "1" }, log = { level = "info" }'), function(at)
      assert.equal("one hello", at:ask "hello")
      local function with(header)
        return (bot_that_says("two"):gsub('"herald"', ('%%0, headers = { ["X-One"] = "%s" }, %s'):format(header,
          'log = { level = "info" }, store = trueconf.store.memory()')))
      end
      at:rewrite(with "2", "keeps its options; to change headers, store, start it again")
      at:rewrite(with("1"):gsub("store = .*memory%(%)", ""))
      assert.equal("two hello", at:ask "hello")
      assert.equal(1, select(2, at.child:log():gsub("keeps its options", "")))
    end))

  it("goes on when the file computes without end", watched(
    bot_that_says("one"):gsub('"herald"', '"herald", busy_timeout = 0.3'), function(at)
      assert.equal("one hello", at:ask "hello")
      at:rewrite("while true do end", "bot.lua: it has blocked the loop, and was ended; the old code keeps running")
      assert.equal("one hello", at:ask "hello")
      at:rewrite(bot_that_says("two"):gsub('"herald"', '"herald", busy_timeout = 0.3'))
      assert.equal("two hello", at:ask "hello")
    end))

  it("ends with 1 when its bot gives up", watched(
    "local bot = require('trueconf').bot { username = 'herald', token = 'stale', max_denials = 1 }\nbot:run()",
    function(at)
      assert.equal(1, at.child:wait())
      assert.matches("gave up", at.child:log())
    end))

  it("ends when its bot has stopped itself", watched(
    BOT .. "bot:on_message(function() trueconf.spawn(bot.stop, bot) end)\nreturn bot", function(at)
      helper.eventually(function() return at.server.listener:count() == 1 end)
      assert(at.server:person("mira"):chat_with("herald"):say "stop")
      assert.equal(0, at.child:wait())
    end))
end)
