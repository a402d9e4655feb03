-- SPDX-License-Identifier: MIT
-- The test kit for authors of bots: what it lets them do, how it fails, what it leaves behind.

local core = require "trueconf.core"
local system = require "spec.support.system"
local testing = require "trueconf.testing"
local trueconf = require "trueconf"

-- A bot whose handler of messages is `fn`.
local function bot_with(fn, more)
  return function(options)
    for name, value in pairs(more or {}) do options[name] = value end
    local bot = trueconf.bot(options)
    bot:on_message(function(msg) fn(msg, bot) end)
    return bot
  end
end

local echo = bot_with(function(msg) assert(msg:answer("You said: " .. msg.text)) end)
local mute = bot_with(function() end)

-- A case with a kit, which is stopped whatever happens.
local function with_kit(given, body)
  if type(given) ~= "table" then given = { bot = given } end
  return function()
    local t <close> = testing.start(given)
    body(t, t:user "anna", t:user "bob")
  end
end

-- The message of the error that fn must raise.
local function failure_of(fn)
  local ok, err = pcall(fn)
  assert.is_false(ok, "an error was expected")
  return tostring(err)
end

local function contains(text, part)
  assert.is_truthy(text:find(part, 1, true), ("no %q in:\n%s"):format(part, text))
end

-- Run fn(path) with a script of this text.
local function with_script(text, fn)
  local directory <close> = system.directory()
  fn(system.write(directory:file "bot.lua", text), directory)
end

local function answers(given, text)
  if type(given) ~= "table" or given.new then given = { bot = given } end
  local t <close> = testing.start(given)
  t:user("anna"):says(text or "hello")
  return t:expect("anna"):hears({ pattern = "" }).text
end

local ECHO = [[
local bot = require("trueconf").bot(...)
bot:on_message(function(msg) assert(msg:answer("You said: " .. msg.text)) end)
]]

describe("the bot of a test", function()
  it("is a script as it stands", function()
    local t <close> = testing.start { bot = "examples/order.lua" }
    local anna = t:user "anna"
    anna:says "/order"
    t:expect(anna):hears { contains = "Which size" }
    anna:says "large"
    t:expect(anna):hears "And the colour?"
    t:advance "2h"
    t:expect(anna):hears { pattern = "^I have waited" }
  end)

  it("is a function, or a table with the function new", function()
    assert.equal("You said: hello", answers(echo))
    assert.equal("You said: hello", answers { new = echo })
  end)

  it("is a script that returns the bot, or a function or table that makes it", function()
    for _, ending in ipairs {
      "bot:run()", "return bot", "bot:start()",
    } do
      with_script(ECHO .. ending, function(path) assert.equal("You said: hello", answers(path)) end)
    end
    for _, form in ipairs {
      "return function(...) %s return bot end",
      "return { new = function(...) %s return bot end }",
    } do
      with_script(form:format(ECHO), function(path) assert.equal("You said: hello", answers(path)) end)
    end
  end)

  it("is a module, which is loaded anew each time like those it needs", function()
    local directory <close> = system.directory()
    system.write(directory:file "kit_counter.lua", "return { count = 0 }")
    system.write(directory:file "kit_own.lua", "return { 'of the test' }")
    system.write(directory:file "kit_bot.lua", [[
      local counter = require "kit_counter"
      counter.count = counter.count + 1
      local bot = require("trueconf").bot()
      bot:on_message(function(msg) assert(msg:answer(tostring(counter.count))) end)
      bot:run()]])
    local path = package.path
    package.path = directory:file "?.lua;" .. path
    local first, second = answers "kit_bot", answers "kit_bot"
    local t = testing.start { bot = "kit_bot" }
    local own = require "kit_own"
    t:stop()
    package.path = path
    assert.same({ "1", "1" }, { first, second })
    assert.is_nil(package.loaded.kit_counter)
    assert.equal(own, package.loaded.kit_own)
    package.loaded.kit_own = nil
  end)

  it("belongs to the Bridge of the test, whatever server and account it names", function()
    local script = ECHO:gsub("%.%.%.", [[{
      url = "wss://chat.acme.test", username = "Herald", token = "a.b.c", ca_file = "/nowhere",
      proxy = "http://proxy" }]])
    with_script(script .. "bot:run()", function(path)
      local t <close> = testing.start { bot = path }
      t:user("anna"):says "hello"
      t:expect("anna"):hears "You said: hello"
      contains(t:transcript(), "  Herald: You said: hello\n")
      assert.equal("bot", t:user("bot").login)
    end)
  end)

  it("gets its arguments, and keeps its globals to itself", function()
    with_script([[
      words = arg[0]:match "[^/]*$" .. " " .. arg[1] .. " " .. select("#", ...)
      local bot = require("trueconf").bot()
      bot:on_message(function(msg) assert(msg:answer(words)) end)
      bot:run()]], function(path)
      assert.equal("bot.lua one 2", answers { bot = path, args = { "one", "two" } })
      assert.is_nil(rawget(_G, "words"))
    end)
  end)

  it("may be several ones", function()
    with_script([[
      local trueconf = require "trueconf"
      for _, login in ipairs { "herald", "scribe" } do
        local bot = trueconf.bot { username = login }
        bot:on_message(function(msg) assert(msg:answer("I am " .. login)) end)
        trueconf.spawn(bot.run, bot)
      end]], function(path)
      local t <close> = testing.start { bot = path }
      local anna = t:user "anna"
      local other = anna.person:chat_with "scribe"
      anna:says "hello"
      t:expect(anna):hears "I am herald"
      anna:says("hello", { chat = other })
      t:expect(anna):hears("I am scribe", { chat = other })
      assert.equal(2, #t.bots)
    end)
  end)

  it("may run the loop by itself", function()
    with_script([[
      local trueconf = require "trueconf"
      local bot = trueconf.bot()
      bot:on_message(function(msg)
        assert(msg:answer "yes")
        if msg.text == "/stop" then trueconf.stop() end
      end)
      bot:start()
      trueconf.run()
      bot:stop()]], function(path)
      local run, t = trueconf.run, testing.start { bot = path }
      local anna = t:user "anna"
      anna:says "hello"
      t:expect(anna):hears "yes"
      anna:says "/stop"
      t:expect(anna):hears "yes"
      assert.equal("closed", t.bots[1]:state())
      t:restart()
      anna:says "hello"
      t:expect(anna):hears "yes"
      t:stop()
      assert.equal(run, trueconf.run)
    end)
  end)

  it("can be stopped and started anew, with what waits for it", function()
    local t <close> = testing.start { bot = echo }
    local anna = t:user "anna"
    anna:says "one"
    t:expect(anna):hears "You said: one"
    local first = t.bots[1]
    t:restart()
    assert.not_equal(first, t.bots[1])
    anna:says "two"
    t:expect(anna):hears "You said: two"
    t:expect(anna):hears_nothing()
  end)

  it("takes its leave of several people in an order that does not change", function()
    local t <close> = testing.start { bot = "examples/order.lua" }
    local chats, heard = {}, {}
    for number = 1, 7 do
      local person = t:user("person" .. number)
      chats[number] = person:says("/order").chat_id
      t:expect(person):hears { contains = "Which size" }
    end
    t.bridge.publisher.observer = function(told) heard[#heard + 1] = told.message and told.message.chat_id end
    t:restart()
    assert.same(chats, heard)
  end)

  it("that cannot be started is an error that says why", function()
    for script, complaint in pairs {
      ["return { state = function() end, start = function() end }"] = "the bot's script has made no bot",
      ["local ="] = "<name> expected near '='",
      ["error 'no luck'"] = "no luck",
      ["return 1"] = "the bot's script has made no bot",
      ["require('trueconf').bot()"] = "the bot is not ready, but idle",
      ["os.exit(3)"] = "the bot called os.exit(3)",
      ["require('trueconf').bot { colour = 'red' }"] = "unknown option 'colour'",
    } do
      with_script(script, function(path)
        contains(failure_of(function() testing.start { bot = path } end), complaint)
      end)
    end
    local early = trueconf.bot { url = "ws://localhost:9", username = "early", password = "x" }
    contains(failure_of(function() testing.start { bot = function() return early end } end),
      "the bot was made before the test began")
    contains(failure_of(function() testing.start { bot = "/nowhere/bot.lua" } end), "cannot open /nowhere/bot.lua")
    contains(failure_of(function() testing.start { bot = "no_such_module" } end), "there is no module 'no_such_module'")
    contains(failure_of(function() testing.start { bot = {} } end), "must have the function `new`")
    contains(failure_of(function() testing.start {} end), "option 'bot' is required")
    assert.equal("You said: hello", answers(echo))
  end)
end)

describe("a person", function()
  it("writes, several messages at once too", with_kit(echo, function(t, anna)
    local said = anna:says { "one", "two <b>" }
    assert.is_true(said:is_read_by "bot")
    t:expect(anna):hears "You said: one"
    t:expect(anna):hears "You said: two <b>"
  end))

  it("writes in groups, to whom all of a group listen", with_kit(echo, function(t, anna, bob)
    local ops = t:group { "anna", "bob", title = "Ops" }
    bob:says("hello", { chat = ops })
    t:expect(anna):hears("You said: hello", { chat = ops })
    t:expect(bob):hears "You said: hello"
    contains(t:transcript(), "  bob in Ops: hello\n")
    contains(t:transcript(), "  -- the group Ops: anna, bob, bot\n")
  end))

  it("replies to what it was told, or to any message", with_kit(bot_with(function(msg)
    assert(msg:answer(msg.reply_message and "about " .. msg.reply_message.text or "what about?"))
  end), function(t, anna)
    local first = anna:says "hello"
    t:expect(anna):hears "what about?"
    anna:replies "that"
    t:expect(anna):hears "about what about?"
    anna:replies("this", { message = first })
    t:expect(anna):hears "about hello"
  end))

  it("changes and removes its messages", function()
    local happened = {}
    local t <close> = testing.start { bot = function(options)
      local bot = mute(options)
      bot:on("edit_message", function(event) happened[#happened + 1] = event.content.text end)
      bot:on("remove_message", function(event) happened[#happened + 1] = event.message_id end)
      return bot
    end }
    local anna = t:user "anna"
    local first = anna:says "one"
    anna:says "two"
    anna:edits "zwei"
    anna:edits("eins", { message = first })
    anna:removes { message = first }
    assert.same({ "zwei", "eins", first.id }, happened)
    contains(t:transcript(), "  anna changes a message: zwei\n")
    contains(t:transcript(), "  anna removes a message\n")
  end)

  it("sends files", with_kit(bot_with(function(msg, bot)
    if msg.file then assert(msg:answer(msg.file.name .. ": " .. assert(bot:download(msg, {})))) end
  end), function(t, anna)
    anna:sends_file("plan.txt", "the plan", { caption = "Here it is" })
    t:expect(anna):hears "plan.txt: the plan"
    contains(t:transcript(), "  anna: (file plan.txt, 8 bytes)\n")
  end))

  it("clicks buttons, by label or id", function()
    local clicked = {}
    local t <close> = testing.start { bot = function(options)
      local bot = trueconf.bot(options)
      bot:on_message(function(msg)
        assert(msg:answer("Sure?", { buttons = {
          { { type = "command", label = "Yes", command = "yes", id = "y" } },
          { { type = "command", label = "No", command = "no" } },
        } }))
      end)
      bot:on("command", function(event) clicked[#clicked + 1] = event.command_payload.command end)
      return bot
    end }
    local anna = t:user "anna"
    contains(failure_of(function() anna:clicks "Yes" end), "anna sees no button [Yes], nor any other one")
    anna:says "/deploy"
    t:expect(anna):sees_buttons { "Yes", "No" }
    anna:clicks "No"
    anna:clicks "Yes"
    anna:clicks "y"
    assert.same({ "no", "yes", "yes" }, clicked)
    contains(failure_of(function() anna:clicks "Maybe" end), "anna sees no button [Maybe], but [Yes] [No]")
    contains(failure_of(function() t:expect(anna):sees_buttons { "Yes" } end),
      "anna should see the buttons [Yes], but sees [Yes] [No]")
    contains(t:transcript(), "bot: Sure?\n" .. (" "):rep(21) .. "[Yes]\n" .. (" "):rep(21) .. "[No]\n")
    contains(t:transcript(), "-- anna clicks [No]\n")
  end)

  it("hears bots, not other people, and is no bot", with_kit(echo, function(t, anna)
    local boris = t.bridge:person "boris"
    boris:chat_with("anna"):say "hello"
    t:settle()
    t:expect(anna):hears_nothing()
    contains(t:transcript(), "boris: hello\n")
    contains(failure_of(function() t:user "Bot" end), "Bot is a bot")
  end))

  it("is told what cannot be done", with_kit(mute, function(_, anna)
    contains(failure_of(function() anna:edits "x" end), "anna has not written anything here yet")
    contains(failure_of(function() anna:replies "x" end), "anna has not been told anything yet")
    contains(failure_of(function() anna:says("x", { chat = "no-such-chat" }) end), "anna is not in this chat")
    contains(failure_of(function() anna:replies("x", { message = "no-such-message" }) end),
      "anna cannot reply: MESSAGE_NOT_FOUND")
  end))
end)

describe("what is expected", function()
  it("is a text, a part, a pattern or a function", with_kit(echo, function(t, anna)
    anna:says { "1", "22", "333", "4444" }
    t:expect(anna):hears "You said: 1"
    t:expect(anna):hears { contains = "22" }
    t:expect(anna):hears { pattern = ": %d+$" }
    local heard = t:expect(anna):hears(function(text, message) return #text == 14 and message.chat_id end)
    assert.equal("You said: 4444", heard.text)
    assert.matches("^bot@", heard.author)
    contains(failure_of(function() t:expect(anna):hears {} end),
      "expected a text, { contains = }, { pattern = } or a function, got a table")
  end))

  it("fails at the line of the test, and shows what was said", with_kit(echo, function(t, anna)
    anna:says "two\nlines"
    local line = debug.getinfo(1, "l").currentline + 1
    local text = failure_of(function() t:expect(anna):hears "Which size?" end)
    assert.equal(([[
spec/testing/testing_spec.lua:%d: anna should hear "Which size?", but heard "You said: two\nlines"
What was said:
  2026-01-01 00:00:00  anna: two
                       lines
  2026-01-01 00:00:00  bot: You said: two
                       lines]]):format(line), text)
    text = failure_of(function() t:expect(anna):hears { contains = "a", pattern = "b" } end)
    contains(text, 'anna should hear something with "a" and something like "b", but heard nothing')
    text = failure_of(function() t:expect(anna):hears(function() end) end)
    contains(text, "anna should hear what the function at spec/testing/testing_spec.lua:")
  end))

  it("is what comes next: nothing is passed over", with_kit(echo, function(t, anna, bob)
    anna:says { "one", "two" }
    contains(failure_of(function() t:expect(anna):hears "You said: two" end), 'but heard "You said: one"')
    t:expect(anna):hears "You said: two"
    t:expect(bob):hears_nothing()
    anna:says "three"
    contains(failure_of(function() t:expect(anna):hears_nothing() end),
      'anna should hear nothing, but heard "You said: three"')
  end))

  it("may be said in one chat only", with_kit(echo, function(t, anna)
    local ops = t:group { "anna" }
    anna:says "one"
    anna:says("two", { chat = ops })
    t:expect(anna):hears("You said: two", { chat = ops })
    t:expect(anna):hears_nothing { chat = ops }
    t:expect(anna):hears "You said: one"
  end))

  it("may take its time, and the clock goes no further than that", function()
    local t <close> = testing.start { bot = bot_with(function(msg)
      trueconf.sleep(tonumber(msg.text))
      assert(msg:answer "done")
    end) }
    local anna, start = t:user "anna", t:now()
    local function seconds() return (t:now() - start) / 1000 end
    anna:says "7"
    t:expect(anna):hears_nothing()
    t:expect(anna):hears_nothing { within = 6 }
    t:expect(anna):hears "done"
    assert.equal(7.0, seconds())
    anna:says "90"
    contains(failure_of(function() t:expect(anna):hears "done" end), "heard nothing")
    assert.equal(17.0, seconds())
    t:expect(anna):hears("done", { within = "2m" })
    assert.equal(97.0, seconds())
    anna:says "90"
    contains(failure_of(function() t:expect(anna):hears_nothing { within = "2m" } end), 'heard "done"')
  end)

  it("may be a file", function()
    local t <close> = testing.start { bot = bot_with(function(msg, bot)
      if msg.text == "file" then
        assert(bot:send_file(msg.chat_id, { data = "the plan", name = "plan.txt" }))
      else
        assert(msg:answer "text")
      end
    end) }
    local anna = t:user "anna"
    for _ = 1, 5 do anna:says "file" end
    local message, bytes = t:expect(anna):gets_file "plan.txt"
    assert.same({ "plan.txt", "the plan" }, { message.name, bytes })
    t:expect(anna):gets_file({ pattern = "%.txt$" }, { bytes = "the plan" })
    contains(failure_of(function() t:expect(anna):gets_file(nil, { bytes = "another" }) end), "its 8 bytes are others")
    contains(failure_of(function() t:expect(anna):gets_file "photo.png" end),
      'anna should get the file "photo.png", but got the file plan.txt')
    contains(failure_of(function() t:expect(anna):hears "plan.txt" end), "but heard the file plan.txt")
    anna:says "text"
    contains(failure_of(function() t:expect(anna):gets_file() end), 'anna should get a file, but got "text"')
  end)

  it("may be seen, as after an edit", with_kit(bot_with(function(msg)
    local sent = assert(msg:answer "working")
    trueconf.sleep(3)
    assert(sent:edit "done")
  end), function(t, anna)
    anna:says "go"
    t:expect(anna):sees "working"
    t:expect(anna):sees "done"
    contains(failure_of(function() t:expect(anna):sees "working" end), 'anna should see "working", but does not')
    contains(t:transcript(), "2026-01-01 00:00:03  bot changes a message: done\n")
  end))
end)

describe("virtual time", function()
  it("goes by hours at once, also for os.time and os.date", function()
    local t <close> = testing.start { bot = mute, now = 1767225600000 + 500 }
    assert.same({ 1767225600, "2026-01-01" }, { os.time(), os.date "!%Y-%m-%d" })
    for _, span in ipairs { 0.5, "90s", "2h30m", "1d" } do t:advance(span) end
    assert.equal(1767225600000 + 500 + 500 + 90000 + 9000000 + 86400000, t:now())
    assert.equal(t:now() // 1000, os.time())
    assert.equal(0, os.time { year = 1970, month = 1, day = 1, hour = 12 } // 86400)
    for _, span in ipairs { "soon", -1, 1 / 0, {} } do
      contains(failure_of(function() t:advance(span) end), "expected seconds or a time such as 90s, 2h30m or 1d")
    end
  end)

  it("is the same chance for the same seed", function()
    local function drawn(seed)
      local t <close> = testing.start { bot = mute, seed = seed }
      t:settle()
      return math.random(1 << 40) .. core.uuid()
    end
    assert.equal(drawn(5), drawn(5))
    assert.not_equal(drawn(5), drawn(6))
  end)

  it("ends with the test", function()
    local real = { os.time, os.date, os.exit }
    do
      local _ <close> = testing.start { bot = mute }
      assert.not_equal(real[1], os.time)
    end
    assert.same(real, { os.time, os.date, os.exit })
    assert.is_true(math.abs(os.time() - core.now() // 1000) <= 1)
    assert.is_true(os.time() > 1767225600)
    assert.error_matches(function() core.advance(1) end, "needs virtual time")
  end)

  it("does not wait forever for two bots that talk to each other", function()
    local t = testing.start { patience = 1, bot = function(options)
      local ears = bot_with(function(msg) msg:answer "and you?" end)
      local one, other = ears(options), ears(setmetatable({ username = "parrot" }, { __index = options }))
      one:start()
      other:start()
      trueconf.spawn(function()
        one:wait_ready(5)
        trueconf.sleep(1)
        one:send_message(assert(one:create_p2p_chat "parrot@localhost"), "hello")
      end)
    end }
    contains(failure_of(function() t:advance "1h" end), "bot and Bridge did not come to rest within 1 s of real time")
    t:stop()
  end)
end)

describe("a fault", function()
  it("drops the connection, makes tokens expire, or anything else by name", with_kit(echo, function(t, anna)
    local states = {}
    t.bots[1]:on_state(function(new) states[#states + 1] = new end)
    t:expire_token()
    t:drop()
    assert.equal("backoff", t.bots[1]:state())
    anna:says "are you there?"
    t:expect(anna):hears("You said: are you there?", { within = "1m" })
    contains(table.concat(states, " "), "token connecting authorizing ready")
    t:fault("delay", 3)
    local start = t:now()
    anna:says "slowly"
    t:expect(anna):hears "You said: slowly"
    assert.equal(3000, t:now() - start)
    t:fault "silent"
    anna:says "lost"
    t:expect(anna):hears_nothing { within = "10s" }
    t:fault("silent", false)
    t:fault("silence", { getChats = 1, editMessage = 0.5 })
    t:fault()
    t:drop()
    t:expect(anna):hears("You said: lost", { within = "1m" })
    contains(failure_of(function() t:fault "no_such" end), "unknown fault 'no_such'")
    for _, note in ipairs {
      "the connection is lost", "all tokens expire", "fault delay = 3", "fault silence = editMessage 0.5, getChats 1",
      "all is well again",
    } do
      contains(t:transcript(), "  -- " .. note .. "\n")
    end
  end))
end)

describe("an error in the bot", function()
  local function crash(msg) error("cannot make " .. msg.text) end

  it("fails the test at its next step, with the traceback", with_kit(bot_with(crash), function(t, anna)
    anna:says "tea"
    local text = failure_of(function() t:expect(anna):hears "tea" end)
    assert.matches("^spec/testing/testing_spec.lua:%d+: an error in the bot, in message %S+ of %S+: ", text)
    assert.matches("spec/testing/testing_spec.lua:%d+: cannot make tea\nstack traceback:\n", text)
    contains(text, "The bot's log:\n  error: error while handling")
    anna:says "coffee"
    contains(failure_of(function() t:stop() end), "cannot make coffee")
  end))

  it("may be expected", with_kit(bot_with(crash), function(t, anna)
    anna:says "tea"
    assert.matches("cannot make tea$", t:expect_error "make tea")
    anna:says "tea"
    t:expect_error { pattern = "tea$" }
    anna:says "tea"
    t:expect_error()
    contains(failure_of(function() t:expect_error() end), "an error in the bot was expected, but there was none")
    anna:says "tea"
    contains(failure_of(function() t:expect_error "coffee" end),
      'an error in the bot should be something with "coffee", but is spec/testing/testing_spec.lua')
  end))

  it("counts also if the bot looks after it, or in a timer", function()
    local seen
    local t <close> = testing.start { bot = function(options)
      local bot = bot_with(crash)(options)
      bot:on_error(function(err) seen = err end)
      trueconf.timer(3600, function() error "in a timer" end)
      return bot
    end }
    t:user("anna"):says "tea"
    t:expect_error "cannot make tea"
    assert.matches("cannot make tea", seen)
    contains(failure_of(function() t:advance "2h" end), "in a timer")
    t:advance "1h"
  end)
end)

describe("the end of a test", function()
  it("names handlers that do not end", function()
    local t = testing.start { bot = bot_with(function() trueconf.sleep(1e6) end, { stop_timeout = 5 }) }
    t:user("anna"):says "hello"
    local text = failure_of(function() t:stop() end)
    contains(text, "the bot has left behind:\na handler that does not end\nstack traceback:")
    assert.matches("spec/testing/testing_spec.lua:%d+: in upvalue", text)
  end)

  it("names connections that the bot did not close", function()
    local t = testing.start { bot = mute }
    core.spawn(function() core.socket { url = t.bridge:url() .. "/websocket/chat_bot/" } end)
    local listener = assert(core.listen {})
    t:settle()
    contains(failure_of(function() t:stop() end), "1 listeners")
    listener:close()
  end)

  it("leaves timers and sleeping coroutines of the bot to it", function()
    local t = testing.start { bot = function(options)
      trueconf.timer(86400, function() end)
      trueconf.spawn(function() while true do trueconf.sleep(60) end end)
      return mute(options)
    end }
    t:advance "1h"
    t:stop()
    t:stop()
    assert.same({ 0, 0 }, { core.stats().timers, core.stats().pending })
    contains(failure_of(function() t:advance(1) end), "this test has been stopped")
  end)

  it("comes by itself when the next one begins", function()
    local left = testing.start { bot = mute }
    assert.equal("You said: hello", answers(echo))
    contains(failure_of(function() left:user "anna" end), "this test has been stopped")
  end)

  it("does not hide why the test has failed", function()
    contains(failure_of(function()
      local t <close> = testing.start { bot = bot_with(function() error "second" end) }
      t:user("anna"):says "hello"
      error "first"
    end), "first")
  end)

  it("is for tests outside of coroutines, on a loop at rest", function()
    local inside = coroutine.wrap(function() return failure_of(function() testing.start { bot = mute } end) end)
    contains(inside(), "must be used outside of coroutines")
    local timer = core.timer(100, function() end)
    contains(failure_of(function() testing.start { bot = mute } end), "needs a loop without timers")
    timer:cancel()
  end)
end)

-- Compares an order with a golden file.
local ORDER = [[
local ok, err = pcall(function()
  local t <close> = require("trueconf.testing").start { bot = "examples/order.lua" }
  local anna = t:user "anna"
  for _, line in ipairs { "/order", "large", "red" } do anna:says(line) end
  t:advance(1)
  t:golden(arg[1])
end)
print(ok or err)]]

describe("a golden file", function()
  it("is written on demand, compared, and the difference shown", function()
    local directory <close> = system.directory()
    local path, script = directory:file "order.txt", system.write(directory:file "order.lua", ORDER)
    local function play(environment)
      return system.run_lua(".", script .. " " .. path, environment)
    end
    contains(play(), ("there is no golden file %s; run the test with TRUECONF_GOLDEN=write"):format(path))
    assert.equal("true", play("TRUECONF_GOLDEN=write"))
    assert.equal("true", play())
    local golden = system.read(path)
    assert.equal(10, select(2, golden:gsub("\n", "")))
    system.write(path, (golden:gsub("And the colour%?", "Which colour?")))
    local text = play()
    contains(text, ("the transcript is not that of %s (-), but this (+):\n"):format(path))
    contains(text, "  2026-01-01 00:00:00  anna: large\n- 2026-01-01 00:00:00  bot: Which colour?\n"
      .. "+ 2026-01-01 00:00:00  bot: And the colour?\n  2026-01-01 00:00:00  bot changes a message: ")
    assert.equal("true", play("TRUECONF_GOLDEN=write"))
    assert.equal(golden, system.read(path))
  end)
end)

describe("the difference of two texts", function()
  local diff = require("trueconf.testing.diff").diff

  it("shows what is different and what is around it", function()
    assert.is_nil(diff("a\n", "a\n"))
    assert.equal("- a\n+ b", diff("a\n", "b\n"))
    assert.equal("  2\n  3\n+ x\n  4\n  5\n  ...\n  7\n  8\n- 9\n  10",
      diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "1\n2\n3\nx\n4\n5\n6\n7\n8\n10\n"))
  end)

  it("says so if there is nothing but the end of the last line", function()
    assert.equal("- a\n+ a (without the end of the line)", diff("a\n", "a"))
  end)

  it("stays short", function()
    local many = ("x\n"):rep(200)
    local _, lines = diff(many, many:gsub("x", "y")):gsub("\n", "")
    assert.equal(60, lines)
  end)
end)

-- Long lives ----------------------------------------------------------------------------------

describe("a year", function()
  it("goes by with a reminder on each day", function()
    local t <close> = testing.start { bot = "examples/reminder.lua" }
    local anna, start = t:user "anna", t:now()
    anna:says "/every 1d water the plants"
    t:expect(anna):hears "I shall remind you every 1d."
    for _ = 1, 365 do
      t:advance "1d"
      t:expect(anna):hears "Reminder: water the plants"
      t:expect(anna):hears_nothing()
    end
    assert.equal(365 * 86400000, t:now() - start)
    contains(t:transcript(), "2027-01-01 00:00:00  bot: Reminder: water the plants\n")
  end)
end)

-- Further faults of a server in such hours, each at random.
local STORM = {
  delay_up_to = 2, drop = 0.02, token_error = 0.2, expire = 0.3, duplicate = 0.02,
  silence = { sendMessage = 0.02, getChatHistory = 0.02 },
  request_error = { sendMessage = 0.05, getChatHistory = 0.05 },
}

-- Fresh tokens that are refused three times in a row are no reason to give up here.
local answering = bot_with(function(msg)
  assert(msg:post("seen: " .. msg.text, { key = msg.id }))
end, { max_denials = 100 })

-- Hours at a Bridge whose tokens live for a minute. Returns all that was said, how many lines each person has
-- written, and how often each fault has struck.
local function stormy_day(seed, hours)
  local struck = {}
  local t <close> = testing.start { seed = seed, bridge = { token_lifetime = 60 }, bot = answering }
  t.bridge:watch(function(report)
    if report.kind == "fault" then struck[report.name] = report.struck end
  end)
  t.bridge:fault(STORM)
  local names, said, night = { "anna", "bob", "carl" }, { anna = 0, bob = 0, carl = 0 }, t:now() + hours * 3600000
  while t:now() < night do
    t:advance(math.random(600))
    local name = names[math.random(#names)]
    for _ = 1, math.random(3) do
      said[name] = said[name] + 1
      t:user(name):says(("%s %d"):format(name, said[name]))
    end
    if math.random(10) == 1 then t:drop() end
  end
  t:fault()
  t:advance "10m"
  assert.same({ waiting = 0, unsent = 0 }, t.bots[1]:outbox())
  assert.same({}, t.bridge:unread "bot")
  return t:transcript(), said, struck
end

describe("a day with tokens that live for a minute and faults at random", function()
  it("has no failed send, and no message that is missed, answered twice or out of its turn", function()
    local text, said, struck = stormy_day(7, 24)
    local heard = { anna = 0, bob = 0, carl = 0 }
    for name, number in text:gmatch "bot: seen: (%a+) (%d+)\n" do
      assert.equal(heard[name] + 1, tonumber(number), name)
      heard[name] = heard[name] + 1
    end
    assert.same(said, heard)
    assert.is_true(said.anna + said.bob + said.carl > 400)
    for name in pairs(STORM) do
      if name ~= "delay_up_to" then assert.is_true((struck[name] or 0) > 5, name .. " has not struck") end
    end
  end)

  it("is the same day for the same seed", function()
    local first = stormy_day(3, 2)
    for _ = 1, 9 do assert.equal(first, (stormy_day(3, 2))) end
    assert.not_equal(first, (stormy_day(4, 2)))
  end)
end)
