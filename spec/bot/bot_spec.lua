-- SPDX-License-Identifier: MIT
-- A bot against the Bridge in the same process: handlers, order, acks, dialogs, the end.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local trueconf = require "trueconf"
local bridge = require "trueconf.bridge"

local behind = require("trueconf.base.hooks").behind

local QUIET = "off"

local function start_bridge(given)
  given = given or {}
  given.accounts = given.accounts or { herald = "4711", scribe = "4712" }
  given.log = given.log or { level = "off" }
  return assert(bridge.start(given))
end

local function new_bot(server, given)
  given = given or {}
  given.url, given.username, given.password = server:url(), given.username or "herald", given.password or "4711"
  given.log = given.log or QUIET
  given.backoff_min, given.backoff_jitter = 0.02, 0
  return trueconf.bot(given)
end

local function up(bot)
  bot:start()
  assert(bot:wait_ready(5))
end

local function down(bot, server)
  bot:stop()
  server:stop()
end

-- A Bridge, a bot that is ready, a person's chat with it; all ended afterwards.
local function with_bot(given, body)
  return helper.async(function()
    local server = start_bridge(given.bridge)
    local bot = new_bot(server, given.options)
    if given.on_message then bot:on_message(function(msg) given.on_message(msg, bot) end) end
    up(bot)
    local mira = server:person "mira"
    helper.finally(function()
      bot:stop(1)
      server:stop()
    end, body, server, bot, mira:chat_with "herald", mira)
  end)
end

local function texts_of(person, count)
  local texts = {}
  for i = 1, count do texts[i] = assert(person:wait_message(5)).text end
  return texts
end

local function echo(msg)
  assert(msg:answer("You said: " .. msg.text))
end

describe("a bot", function()
  describe("that gets a message", function()
    it("answers in the same chat", with_bot({ on_message = echo }, function(_, _, chat, mira)
      chat:say "hello"
      local answer = assert(mira:wait_message(5))
      assert.equal("You said: hello", answer.text)
      assert.equal(chat.id, answer.chat_id)
      assert.is_nil(answer.reply_to)
    end))

    it("names the message it replies to", with_bot({ on_message = function(msg) assert(msg:reply "yes") end },
      function(_, _, chat, mira)
        local question = chat:say "are you there?"
        assert.equal(question.id, assert(mira:wait_message(5)).reply_to)
      end))

    it("sees what a person sees, not the html of the app", with_bot({ on_message = echo }, function(_, _, chat, mira)
      chat:say("5 < 6 & \"so on\"\nnext line")
      assert.equal("You said: 5 < 6 & \"so on\"\nnext line", assert(mira:wait_message(5)).text)
    end))

    it("can look at everything that came", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local seen = core.waiter()
      bot:on_message(function(msg) seen:wake(msg) end)
      up(bot)
      local sent = server:person("mira"):chat_with("herald"):say "look"
      local msg = seen:wait(5)
      assert.equal(sent.id, msg.id)
      assert.equal("mira@" .. "localhost", msg.author)
      assert.equal(200, msg.type)
      assert.equal("html", msg.parse_mode)
      assert.equal(sent.timestamp, msg.timestamp)
      assert.same({ id = msg.chat_id, title = msg.envelope.chat.chatTitle, type = 1, kind = "p2p" }, msg.chat)
      assert.is_false(msg.is_edited)
      assert.matches("^trueconf.Message %(" .. sent.id:gsub("%-", "%%-") .. " from mira@", tostring(msg))
      down(bot, server)
    end))

    it("does not handle its own messages, but reads them", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local handled = 0
      bot:on_message(function() handled = handled + 1 end)
      up(bot)
      server:person "mira"
      local chat_id = assert(bot:create_p2p_chat("mira@localhost"))
      local sent = assert(bot:send_message(chat_id, "to myself too"))
      assert.equal(chat_id, sent.chat_id)
      assert.is_string(sent.id)
      assert.equal("integer", math.type(sent.timestamp))
      local chat = server:person("mira"):chat_with "herald"
      chat:say "a word"
      helper.eventually(function() return #server:unread "herald" == 0 end)
      assert.equal(1, handled)
      down(bot, server)
    end))
  end)

  describe("acknowledges a message", function()
    it("when its handler has finished, not before", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local started, go_on = core.waiter(), core.waiter()
      bot:on_message(function() started:wake(); go_on:wait(5) end)
      up(bot)
      local sent = server:person("mira"):chat_with("herald"):say "slow"
      started:wait(5)
      core.sleep(0.05)
      assert.is_false(sent:is_read_by "herald")
      go_on:wake()
      assert(sent:wait_read_by("herald", 5))
      down(bot, server)
    end))

    -- The handler ends only when the message has been seen as read, however long that takes.
    local function acknowledged_while_at_work(options, begin)
      return helper.async(function()
        local server = start_bridge()
        local bot = new_bot(server, options)
        local release, ended = core.waiter(), false
        bot:on_message(function(msg)
          begin(msg)
          release:wait(10)
          ended = true
        end)
        up(bot)
        local sent = server:person("mira"):chat_with("herald"):say "slow"
        assert(sent:wait_read_by("herald", 5))
        assert.is_false(ended)
        release:wake()
        down(bot, server)
      end)
    end

    it("before its handler runs, if told so", acknowledged_while_at_work({ ack = "before" }, function() end))

    it("by hand only, if told so", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server, { ack = "manual" })
      local kept
      bot:on_message(function(msg) kept = msg end)
      up(bot)
      local sent = server:person("mira"):chat_with("herald"):say "keep"
      helper.eventually(function() return kept end)
      core.sleep(0.05)
      assert.is_false(sent:is_read_by "herald")
      assert.is_true(kept:ack())
      assert.is_false(kept:ack())
      assert.error_matches(function() bot:ack {} end, "ack: a message expected, got a table")
      assert(sent:wait_read_by("herald", 5))
      down(bot, server)
    end))

    it("early, by msg:ack() in the handler", acknowledged_while_at_work({}, function(msg) assert(msg:ack()) end))

    it("also when its handler raises an error", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local errors = {}
      bot:on_error(function(err, traceback, msg) errors[#errors + 1] = { err, traceback, msg.text } end)
      bot:on_message(function(msg)
        if msg.text == "bad" then error { code = 7 } end
        echo(msg)
      end)
      up(bot)
      local mira = server:person "mira"
      local chat = mira:chat_with "herald"
      local bad = chat:say "bad"
      chat:say "good"
      assert.equal("You said: good", assert(mira:wait_message(5)).text)
      assert(bad:wait_read_by("herald", 5))
      assert.same({ code = 7 }, errors[1][1])
      assert.matches("bot_spec", errors[1][2])
      assert.equal("bad", errors[1][3])
      down(bot, server)
    end))
  end)

  describe("that gets many messages", function()
    it("handles those of one chat in order, one at a time", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local at_work, most, order = 0, 0, {}
      bot:on_message(function(msg)
        at_work = at_work + 1
        most = math.max(most, at_work)
        core.sleep(0.002)
        order[#order + 1] = tonumber(msg.text)
        at_work = at_work - 1
      end)
      up(bot)
      local chat = server:person("mira"):chat_with "herald"
      local expected = {}
      for i = 1, 30 do
        chat:say(tostring(i))
        expected[i] = i
      end
      helper.eventually(function() return #order == 30 end)
      assert.same(expected, order)
      assert.equal(1, most)
      down(bot, server)
    end))

    it("handles chats beside each other", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local at_work, all = 0, core.waiter()
      bot:on_message(function()
        at_work = at_work + 1
        if at_work == 5 then all:wake(true) end
        all:wait(5)
      end)
      up(bot)
      for i = 1, 5 do server:person("p" .. i):chat_with("herald"):say "at once" end
      assert.is_true(all:wait(5))
      down(bot, server)
    end))

    it("handles all at once with order = \"none\"", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server, { order = "none" })
      local at_work, all = 0, core.waiter()
      bot:on_message(function()
        at_work = at_work + 1
        if at_work == 5 then all:wake(true) end
        all:wait(5)
      end)
      up(bot)
      local chat = server:person("mira"):chat_with "herald"
      for _ = 1, 5 do chat:say "at once" end
      assert.is_true(all:wait(5))
      down(bot, server)
    end))
  end)

  describe("that asks", function()
    local function order(msg)
      local size = assert(msg:ask "Which size?")
      local color = assert(msg:ask "And the colour?")
      assert(msg:answer(("One %s %s."):format(size.text, color.text)))
    end

    it("gets the next message of the same author", with_bot({ on_message = order }, function(_, _, chat, mira)
      chat:say "/order"
      assert.equal("Which size?", assert(mira:wait_message(5)).text)
      chat:say "large"
      assert.equal("And the colour?", assert(mira:wait_message(5)).text)
      chat:say "red"
      assert.equal("One large red.", assert(mira:wait_message(5)).text)
    end))

    it("has acknowledged the question's message while it waits", with_bot({ on_message = order },
      function(_, _, chat, mira)
        local first = chat:say "/order"
        assert(mira:wait_message(5))
        assert(first:wait_read_by("herald", 5))
        local second = chat:say "large"
        assert(mira:wait_message(5))
        assert(second:wait_read_by("herald", 5))
        local third = chat:say "red"
        assert(mira:wait_message(5))
        assert(third:wait_read_by("herald", 5))
      end))

    it("keeps dialogs of several chats apart", with_bot({ on_message = order }, function(server)
      local people = {}
      for i = 1, 4 do
        people[i] = server:person("p" .. i)
        people[i]:chat_with("herald"):say "/order"
      end
      for _, person in ipairs(people) do assert.equal("Which size?", assert(person:wait_message(5)).text) end
      for i, person in ipairs(people) do person:chat_with("herald"):say("size" .. i) end
      for _, person in ipairs(people) do assert(person:wait_message(5)) end
      for i, person in ipairs(people) do person:chat_with("herald"):say("color" .. i) end
      for i, person in ipairs(people) do
        assert.equal(("One size%d color%d."):format(i, i), assert(person:wait_message(5)).text)
      end
    end))

    it("takes what was written too early as the answer", with_bot({ on_message = order }, function(_, _, chat, mira)
      chat:say "/order"
      chat:say "large"
      chat:say "red"
      assert.same({ "Which size?", "And the colour?", "One large red." }, texts_of(mira, 3))
    end))

    it("gets TIMEOUT when nobody answers, and the next message is handled anew", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local outcome = core.waiter()
      bot:on_message(function(msg)
        if msg.text ~= "ask" then return echo(msg) end
        outcome:wake(msg:ask("well?", 0.05))
      end)
      up(bot)
      local mira = server:person "mira"
      local chat = mira:chat_with "herald"
      chat:say "ask"
      assert.equal("well?", assert(mira:wait_message(5)).text)
      local answer, err = outcome:wait(5)
      assert.is_nil(answer)
      assert.equal("TIMEOUT", err.name)
      chat:say "late"
      assert.equal("You said: late", assert(mira:wait_message(5)).text)
      down(bot, server)
    end))

    it("gets CLOSED when the bot stops", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local outcome = core.waiter()
      bot:on_message(function(msg) outcome:wake(msg:ask "well?") end)
      up(bot)
      local mira = server:person "mira"
      mira:chat_with("herald"):say "ask"
      assert(mira:wait_message(5))
      core.sleep(0.05)
      bot:stop()
      local answer, err = outcome:wait(5)
      assert.is_nil(answer)
      assert.equal("CLOSED", err.name)
      server:stop()
    end))
  end)

  describe("that stops", function()
    it("lets handlers finish and takes nothing more", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local started, finished, handled = core.waiter(), false, 0
      bot:on_message(function(msg)
        handled = handled + 1
        started:wake()
        core.sleep(0.1)
        assert(msg:answer "done")
        finished = true
      end)
      up(bot)
      local mira = server:person "mira"
      local chat = mira:chat_with "herald"
      chat:say "work"
      started:wait(5)
      local second = chat:say "too late"
      bot:stop()
      assert.is_true(finished)
      assert.equal("closed", bot:state())
      assert.equal("done", assert(mira:wait_message(5)).text)
      assert.equal(1, handled)
      assert.is_false(second:is_read_by "herald")
      server:stop()
    end))

    it("leaves what waits behind a handler for the next start", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local started, release, seen = core.waiter(), core.waiter(), {}
      bot:on_message(function(msg)
        seen[#seen + 1] = msg.text
        started:wake()
        release:wait(5)
      end)
      up(bot)
      local chat = server:person("mira"):chat_with "herald"
      chat:say "first"
      local second = chat:say "second"
      started:wait(5)
      core.sleep(0.05)
      core.timer(0.05, function() release:wake() end)
      bot:stop()
      assert.same({ "first" }, seen)
      assert.is_false(second:is_read_by "herald")
      bot:start()
      assert(second:wait_read_by("herald", 5))
      assert.same({ "first", "second" }, seen)
      down(bot, server)
    end))

    it("does not wait for longer than told", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      local started, release = core.waiter(), core.waiter()
      bot:on_message(function() started:wake(); release:wait(5) end)
      up(bot)
      server:person("mira"):chat_with("herald"):say "work"
      started:wait(5)
      bot:stop(0.05)
      assert.equal("closed", bot:state())
      release:wake()
      core.sleep(0)
      server:stop()
    end))

    it("may be stopped by a handler of its own", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      bot:on_message(function() bot:stop() end)
      up(bot)
      server:person("mira"):chat_with("herald"):say "/stop"
      local ok, err = bot:run()
      assert.is_true(ok, tostring(err))
      assert.equal("closed", bot:state())
      server:stop()
    end))

    it("may be started again", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server)
      bot:on_message(echo)
      local mira = server:person "mira"
      local chat = mira:chat_with "herald"
      for round = 1, 3 do
        up(bot)
        chat:say("round " .. round)
        assert.equal("You said: round " .. round, assert(mira:wait_message(5)).text)
        bot:stop()
      end
      server:stop()
    end))
  end)

  describe("that gives up", function()
    it("returns the reason from run()", helper.async(function()
      local server = start_bridge()
      local bot = new_bot(server, { password = "wrong", max_denials = 2 })
      local states = {}
      bot:on_state(function(new, _, err) states[#states + 1] = new .. (err and " " .. err.name or "") end)
      local ok, err = bot:run()
      assert.is_nil(ok)
      assert.equal("AUTH_FAILED", err.name)
      assert.equal(400, err.code)
      assert.is_nil(tostring(err):find("wrong", 1, true))
      helper.eventually(function() return states[#states] == "failed AUTH_FAILED" end)
      local sent, refusal = bot:send_message("x", "y")
      assert.is_nil(sent)
      assert.equal("AUTH_FAILED", refusal.name)
      assert.equal("not_sent", refusal.outcome)
      server:stop()
    end))
  end)

  it("receives what came while it was away, oldest first, each once", helper.async(function()
    local server = start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    for i = 1, 20 do chat:say(tostring(i)) end
    local bot = new_bot(server)
    local seen = {}
    bot:on_message(function(msg) seen[#seen + 1] = msg.text end)
    bot:start()
    helper.eventually(function() return #seen == 20 end)
    core.sleep(0.05)
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", table.concat(seen, " "))
    assert.equal(0, #server:unread "herald")
    down(bot, server)
  end))

  it("does not handle a message again that comes again", helper.async(function()
    local server = start_bridge()
    local bot = new_bot(server)
    local handled, started, release = 0, core.waiter(), core.waiter()
    bot:on_message(function() handled = handled + 1; started:wake(); release:wait(5) end)
    up(bot)
    local sent = server:person("mira"):chat_with("herald"):say "once"
    started:wait(5)
    behind(bot).client.session:drop()
    helper.eventually(function() return bot:state() ~= "ready" end)
    assert(bot:wait_ready(5))
    core.sleep(0.05)
    release:wake()
    assert(sent:wait_read_by("herald", 5))
    assert.equal(1, handled)
    down(bot, server)
  end))

  describe("calls", function()
    it("any method with any payload", with_bot({}, function(_, bot)
      local result = assert(bot:call("getUserDisplayName", { userId = "herald@localhost" }))
      assert.is_string(result.displayName)
      assert.equal(result.displayName, bot:get_user_display_name "herald@localhost")
    end))

    it("and gets the server's refusal by name", with_bot({}, function(_, bot)
      local sent, err = bot:send_message("nowhere", "hello")
      assert.is_nil(sent)
      assert.equal("CHAT_NOT_FOUND", err.name)
      assert.equal(304, err.code)
      assert.equal("sendMessage", err.method)
      assert.equal("rejected", err.outcome)
      local result, unknown = bot:call("noSuchMethod")
      assert.is_nil(result)
      assert.equal(104, unknown.code)
    end))

    it("from a plain script, without a coroutine", function()
      local server = start_bridge()
      local bot = new_bot(server)
      up(bot)
      assert.equal("herald@localhost", bot:user_id())
      assert.is_string(bot:get_user_display_name "herald@localhost")
      down(bot, server)
      core.close()
      assert.equal(0, core.stats().handles)
    end)

    it("refuses what cannot be sent", with_bot({}, function(_, bot)
      assert.error_matches(function() bot:send_message(4, "x") end,
        "bad argument 'chat_id': a string expected, got a number")
      assert.error_matches(function() bot:send_message("c", nil) end,
        "missing argument 'text': a string expected")
      assert.error_matches(function() bot:send_message("c", "x", { parse_mode = "rtf" }) end,
        "'parse_mode' must be one of")
      local sent, err = bot:send_message("c", "\xff")
      assert.is_nil(sent)
      assert.equal("PROTOCOL", err.name)
      assert.equal("not_sent", err.outcome)
    end))
  end)

  describe("is made", function()
    local function message_of(given)
      local ok, err = pcall(function()
        local made = trueconf.bot(given)
        return made
      end)
      assert.is_false(ok)
      return tostring(err)
    end

    it("with options that are checked by name", function()
      assert.matches("bot/bot_spec.lua:%d+: .*unknown option 'usrname'.*username", message_of { usrname = "x" })
      assert.matches("option 'password' must be a string, got a number; put it in quotes",
        message_of { username = "herald", password = 4711 })
      assert.matches("option 'ack' must be one of 'after', 'before', 'manual'", message_of { ack = "never" })
      assert.matches("option 'url' must", message_of { url = "ftp://somewhere" })
    end)

    it("with credentials", function()
      local message = message_of { url = "ws://localhost:4309" }
      assert.matches("TRUECONF_USERNAME", message)
      assert.matches("bot/bot_spec.lua", message)
    end)

    it("without letting a secret go unencrypted to another machine", function()
      local message = message_of { url = "ws://chat.example.org", username = "herald", password = "geheim" }
      assert.matches("chat.example.org", message)
      assert.matches("allow_plaintext", message)
      assert.is_nil(message:find("geheim", 1, true))
      trueconf.bot { url = "ws://chat.example.org", username = "herald", password = "geheim", allow_plaintext = true }
      trueconf.bot { url = "wss://chat.example.org", username = "herald", password = "geheim" }
    end)
  end)
end)
