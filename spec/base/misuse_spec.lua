-- SPDX-License-Identifier: MIT
-- Slips of the pen in scripts: methods called with a dot, names that are nearly right.

local filter = require "trueconf.filter"
local helper = require "spec.support.helper"
local system = require "spec.support.system"
local testing = require "trueconf.testing"
local text = require "trueconf.text"
local trueconf = require "trueconf"

local HERE = "misuse_spec%.lua:%d+: "

local function offline()
  return trueconf.bot { username = "herald", password = "4711", log = "off" }
end

-- The error that fn raises.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

-- The error that a handler raises when it gets a message.
local function raised_in_handler(handler)
  local seen
  local t <close> = testing.start { bot = function(options)
    local bot = trueconf.bot(options)
    bot:on_message(handler)
    bot:on_error(function(err) seen = err end)
    return bot
  end }
  t:user("anna"):says "hello"
  t:expect_error "."
  return tostring(seen)
end

describe("a method called with a dot", function()
  -- The methods of an object by its name in the reference, in a section or wherever they are.
  local function documented(name, section)
    local list, page = {}, assert(system.read "docs/reference.md") .. "\n## "
    if section then page = page:match("\n## " .. section .. "\n(.-)\n## ") end
    for method in page:gmatch("\n### `" .. name .. ":([%l_]+)%(") do list[method] = true end
    assert.is_not_nil(next(list), name)
    return list
  end

  local function all_blame_the_caller(object, name, section)
    for method in pairs(documented(name, section)) do
      for _, first in ipairs { "x", {}, 1, false } do
        local expected = ("^[^:]*%scall %s with a colon, as in [%%l_]+:%s%%("):format(HERE, method, method)
        assert.matches(expected, raised(function() object[method](first or nil, "more") end), nil, method)
      end
    end
  end

  it("blames the caller, for each method of a bot, a client and a router", function()
    local bot = offline()
    all_blame_the_caller(bot, "bot")
    all_blame_the_caller(bot, "client")
    all_blame_the_caller(trueconf.client { username = "herald", password = "4711", log = "off" }, "client")
    all_blame_the_caller(trueconf.router(), "bot", "Handlers")
  end)

  it("blames the caller, for each method of a message, a chat and a sent message", function()
    local done
    local t <close> = testing.start { bot = function(options)
      local bot = trueconf.bot(options)
      bot:on_message(function(msg)
        all_blame_the_caller(msg, "msg")
        all_blame_the_caller(msg.chat, "chat", "Dialogs")
        local ok, blamed = pcall(function() local sent = msg.chat:send() return sent end)
        assert.is_false(ok)
        assert.matches("base/misuse_spec.lua:%d+: send_message: missing argument 'text'", blamed)
        local sent = assert(msg:reply "ok")
        all_blame_the_caller(sent, "sent")
        all_blame_the_caller(assert(msg:post "posted"), "posted")
        done = true
      end)
      return bot
    end }
    t:user("anna"):says "hello"
    t:expect(t:user "anna"):hears "ok"
    assert.is_true(done)
  end)

  it("blames the caller, for each method of a log, a cancel token and the test kit", function()
    all_blame_the_caller(offline().log, "log")
    all_blame_the_caller(trueconf.cancel_token(), "cancel_token")
    local t <close> = testing.start { bot = function(options) return trueconf.bot(options) end }
    local anna = t:user "anna"
    all_blame_the_caller(anna, "user", "People of a test")
    all_blame_the_caller(t:expect(anna), "expectation")
    all_blame_the_caller(t, "t")
  end)

  it("blames the caller, for each method of a Bridge and its people", helper.async(function()
    local server = system.start_bridge()
    local person = server:person "mira"
    local chat = person:chat_with "herald"
    all_blame_the_caller(server, "server")
    all_blame_the_caller(person, "person")
    all_blame_the_caller(chat, "chat", "People of a Bridge")
    all_blame_the_caller(assert(chat:say "x"), "message")
    server:stop()
  end))
end)

describe("arguments that are", function()
  it("numbers are texts where people read them", function()
    local t <close> = testing.start { bot = function(options)
      local bot = trueconf.bot(options)
      bot:on_message(function(msg)
        assert(msg:reply(42))
        local sent = assert(msg.chat:send(1.5))
        trueconf.sleep(1)
        assert(sent:edit(7))
        assert(bot:send_message { chat_id = msg.chat_id, text = 9,
          buttons = { { { type = "command", label = 1, command = "x" } } } })
        assert(msg:post(3))
        trueconf.sleep(1)
        assert(msg:ask(5))
      end)
      return bot
    end }
    local anna = t:user "anna"
    anna:says "hello"
    t:expect(anna):hears "42"
    t:expect(anna):hears "1.5"
    t:expect(anna):sees "7"
    t:expect(anna):hears "9"
    t:expect(anna):sees_buttons { "1" }
    t:expect(anna):hears "3"
    t:expect(anna):hears "5"
  end)

  it("numbers are no ids", function()
    assert.matches(HERE .. "send_message: bad argument 'chat_id': a string expected, got a number",
      raised(function() offline():send_message(42, "x") end))
  end)

  it("unknown are told with those that there are", function()
    assert.matches(HERE .. "send_message: unknown argument 'where'; there are buttons, chat_id, content, parse_mode, "
      .. "reply_message_id, reply_to, text", raised(function() offline():send_message { where = "x", text = "y" } end))
    assert.matches("unknown argument 'chat', did you mean 'chat_id'%?$",
      raised(function() offline():send_message { chat = "x", text = "y" } end))
    assert.matches("unknown option 'user', did you mean 'username'%?$",
      raised(function() trueconf.bot { user = "x" } end))
    assert.matches("unknown argument 'txt', did you mean 'text'%?$",
      raised(function() offline():send_message { chat_id = "x", txt = "y" } end))
    assert.matches(HERE .. "send_message: unknown option 'colour'; there are buttons, parse_mode, reply_to, timeout",
      raised(function() offline():send_message("x", "y", { colour = "red" }) end))
  end)
end)

describe("a name that is nearly right", function()
  it("of a method that takes handlers is refused at the script's line", function()
    local bot, router = offline(), trueconf.router()
    assert.matches("^[^:]*" .. HERE .. "the bot has no 'on_mesage', did you mean 'on_message'%?$",
      raised(function() bot:on_mesage(print) end))
    assert.matches("the bot has no 'onMessage', did you mean 'on_message'%?$",
      raised(function() bot:onMessage(print) end))
    assert.matches("a router has no 'on_comand', did you mean 'on_command'%?$",
      raised(function() router:on_comand("x", print) end))
    assert.is_nil(bot.on_something_else)
    assert.is_nil(bot.stats)
    bot.stats = 1
    assert.equal(1, bot.stats)
  end)

  it("of a module is refused at the script's line", function()
    assert.matches("^[^:]*" .. HERE .. "trueconf.filter has no 'privat', did you mean 'private'%?$",
      raised(function() return filter.privat & filter.file end))
    assert.matches("trueconf.text has no 'spilt', did you mean 'split'%?$", raised(function() text.spilt "x" end))
    assert.matches("^[^:]*" .. HERE .. "trueconf has no 'bto', did you mean 'bot'%?$",
      raised(function() trueconf.bto() end))
    assert.matches("trueconf has no 'fliter', did you mean 'filter'%?$", raised(function() return trueconf.fliter end))
    assert.is_nil(trueconf.something_else)
    assert.is_nil(filter.something_else)
  end)

  it("in a handler comes with the right one", function()
    local said = {
      ["(method 'repyl'), did you mean 'reply'?"] = function(msg) msg:repyl "x" end,
      ["(field 'txt'), did you mean 'text'?"] = function(msg) return "x" .. msg.txt end,
      ["(method 'sendMessage'), did you mean 'send_message'?"] = function(msg) msg.bot:sendMessage() end,
      ["(method 'sned'), did you mean 'send'?"] = function(msg) msg.chat:sned "x" end,
      ["(method 'edti'), did you mean 'edit'?"] = function(msg) msg:reply("x"):edti "y" end,
    }
    for expected, handler in pairs(said) do
      local text_of_error = raised_in_handler(handler)
      assert.matches("misuse_spec%.lua:%d+: attempt to ", text_of_error)
      assert.matches(expected, text_of_error, 1, true)
    end
  end)

  it("of the script's own stays as it was", function()
    local own = { reply = print }
    assert.matches("%(method 'repyl'%)$", raised_in_handler(function() own:repyl() end))
    assert.matches("%(global 'no_such'%)$", raised_in_handler(function() no_such() end)) -- luacheck: ignore
  end)

  it("in the file of a bot is told by trueconf run", helper.async(function()
    local directory <close> = system.directory()
    system.write(directory:file "bot.lua", "local t = require 'trueconf'\nlocal bot = t.bot { username = 'a', "
      .. "password = 'b' }\nbot:chat('x'):sned 'y'\nreturn bot\n")
    local child <close> = system.launch_lua("bin/trueconf run " .. directory:file "bot.lua")
    assert.equal(1, child:wait())
    assert.matches("bot.lua:3: attempt to call a nil value %(method 'sned'%), did you mean 'send'%?", child:log())
  end))
end)
