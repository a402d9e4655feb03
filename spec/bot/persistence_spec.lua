-- SPDX-License-Identifier: MIT
-- The data that a bot keeps in its store: handled messages, dead letters, sessions, posts.

local core = require "trueconf.core"
local stores = require "trueconf.store"
local trueconf = require "trueconf"
local bots = require "spec.support.bots"
local helper = require "spec.support.helper"
local scripted = require "spec.support.scripted"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind
local INSIDE = require("trueconf.base.face").INSIDE

local function store_of(bot) return behind(bot).persistence.store end

local LIMIT = bots.LIMIT
local eventually = helper.eventually

describe("a message whose handler fails", function()
  local log, lines
  before_each(function() log, lines = bots.log "info" end)

  it("becomes a dead letter with what happened, is acknowledged, and the rest goes on", bots.case(function(bot, case)
    bot:on_text("^bad", function() error "no good" end)
    bot:on_message(function(msg) assert(msg:answer(msg.text)) end)
    case.place = debug.getinfo(1, "l").currentline - 2
  end, function(case)
    local message = case.chat:say "bad news"
    assert.equal("next", bots.ask(case, "next"))
    assert(message:wait_read_by("herald", LIMIT))
    local letters = case.bot:dead_letters()
    assert.equal(1, #letters)
    assert.same({ message.id, message.chat_id, 1 }, { letters[1].id, letters[1].chat_id, letters[1].tries })
    assert.matches("no good", letters[1].error)
    assert.matches("stack traceback", letters[1].traceback)
    assert.matches("bot/persistence_spec.lua:" .. case.place, letters[1].source)
    assert.equal("bad news", letters[1].payload.content.text)
    case.bot:discard(message.id)
    assert.same({}, case.bot:dead_letters())
  end, { log = "off" }))

  it("is handled again when it is requeued, and leaves when that goes well", bots.case(function(bot, case)
    case.broken = true
    bot:on_text("^bad", function(msg)
      if case.broken then error "no good" end
      assert(msg:answer("well: " .. msg.text))
    end)
  end, function(case)
    local message = case.chat:say "bad"
    eventually(function() return #case.bot:dead_letters() == 1 end)
    assert.is_true(case.bot:requeue(message.id))
    eventually(function() return #case.bot:dead_letters() == 1 and behind(case.bot).dispatch.working == 0 end)
    case.broken = false
    assert.is_true(case.bot:requeue(message.id))
    assert.equal("well: bad", bots.hear(case.mira))
    assert.same({}, case.bot:dead_letters())
    assert.is_nil(case.bot:requeue "none")
  end, { log = "off" }))

  it("that is requeued is a dead letter again for a bot that begins when the first one has ended before", bots.case(
    function(bot, case)
      bot:on_message(function(msg)
        if msg.text == "slow" then case.gate:wait(LIMIT) end
        error "no good"
      end)
    end, function(case)
      case.gate = core.waiter()
      local message = case.chat:say "bad"
      eventually(function() return #case.bot:dead_letters() == 1 end)
      case.chat:say "slow"
      eventually(function() return behind(case.bot).dispatch.working == 1 end)
      assert.is_true(case.bot:requeue(message.id))
      assert.same({}, case.bot:dead_letters())
      assert.is_nil(case.bot:requeue(message.id))
      core.timer(0.02, function() case.gate:wake() end)
      case.bot:stop()
      local given = system.bot_options(case.server)
      given.store = store_of(case.bot)
      local bot = trueconf.bot(given)
      assert.equal(2, #bot:dead_letters())
      bot:on_message(function(msg) assert(msg:answer("well: " .. msg.text)) end)
      assert.is_true(bot:requeue(message.id))
      bot:start()
      assert.equal("well: bad", bots.hear(case.mira))
      bot:stop()
      assert.equal("slow", bot:dead_letters()[1].payload.content.text)
      assert.is_nil(bot:dead_letters()[2])
    end, { log = "off" }))

  it("counts as acknowledged when it is requeued", bots.case(function(bot, case)
    bot:on_message(function(msg) case.acked = { msg.acked, msg:ack() } end)
  end, function(case)
    local payload = bots.message({ text = "one", parseMode = "text" }).payload
    assert.same({}, case.bot:dead_letters())   -- which makes the store
    store_of(case.bot):put("dead_letters", "m1", { chat_id = "c1", payload = payload, error = "x", tries = 1, at = 1 })
    assert.is_true(case.bot:requeue "m1")
    eventually(function() return case.acked end)
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.same({ true, false }, case.acked)
    assert.same({ 0, 0, 0 }, { behind(case.bot).queue:counts() })
    assert.is_nil(next(behind(case.bot).queue.handled)) -- it may be requeued again
  end, { ack = "manual" }))

  it("is an event that is requeued, when it can be read by then", bots.case(function(bot, case)
    bot:on("edit_message", function(event) case.text = event.content.text end)
  end, function(case)
    assert.same({}, case.bot:dead_letters())   -- which makes the store
    local text = '{"chatId":"c1","messageId":"m1","timestamp":1,"content":{"text":"two","parseMode":"text"}}'
    store_of(case.bot):put("dead_letters", "e1", { method = "editMessage", text = text, error = "x", at = 1 })
    assert.is_true(case.bot:requeue "e1")
    eventually(function() return case.text == "two" and behind(case.bot).dispatch.working == 0 end)
    assert.same({}, case.bot:dead_letters())
  end))

  it("is no event: that is acknowledged, and no dead letter", bots.case(function(bot, case)
    bot:on("edit_message", function()
      case.failed = true
      error "no good"
    end)
  end, function(case)
    local message = assert(case.chat:say "one")
    assert(message:wait_read_by("herald", LIMIT))
    assert(case.chat:edit(message, "two"))
    eventually(function() return case.failed and behind(case.bot).dispatch.working == 0 end)
    assert.same({}, case.bot:dead_letters())
    assert.same({ 0, 0, 0 }, { behind(case.bot).queue:counts() })
  end, { log = "off", tries = 3 }))

  it("is requeued behind what waits in its chat", bots.case(function(bot, case)
    case.gate, case.texts, case.broken = core.waiter(), {}, true
    bot:on_message(function(msg)
      table.insert(case.texts, msg.text)
      if msg.text == "bad" and case.broken then error "no good" end
      if msg.text == "slow" then case.gate:wait(LIMIT) end
    end)
  end, function(case)
    local message = case.chat:say "bad"
    eventually(function() return #case.bot:dead_letters() == 1 end)
    case.broken = false
    case.chat:say "slow"
    case.chat:say "next"
    eventually(function() return #case.texts == 2 and behind(case.bot).queue:counts() == 1 end)
    assert.is_true(case.bot:requeue(message.id))
    core.sleep(0)
    assert.same({ "bad", "slow" }, case.texts)
    case.gate:wake()
    eventually(function() return #case.texts == 4 end)
    assert.same({ "bad", "slow", "next", "bad" }, case.texts)
  end, { log = "off" }))

  it("is tried as often as wanted, before the next one of its chat", bots.case(function(bot, case)
    case.count = 0
    bot:on_text("^bad", function(msg)
      case.count = case.count + 1
      if case.count < 3 then error "not yet" end
      assert(msg:answer("try " .. case.count))
    end)
    bot:on_message(function(msg) assert(msg:answer(msg.text)) end)
  end, function(case)
    local begun = core.monotonic()
    assert(case.chat:say "bad")
    assert.equal("try 3", bots.ask(case, "next"))
    assert.equal("next", bots.hear(case.mira))
    assert.is_true(core.monotonic() - begun >= 3)
    assert.same({}, case.bot:dead_letters())
  end, { log = "off", tries = 3 }))

  it("is tried again after pauses that grow up to a minute", bots.virtual_case(function(bot, case)
    case.times = {}
    bot:on_text("^bad", function()
      table.insert(case.times, core.monotonic())
      if #case.times < 9 then error "not yet" end
    end)
  end, function(case)
    assert(case.chat:say "bad")
    core.advance(200)
    local pauses = {}
    for n = 2, #case.times do pauses[n - 1] = math.floor(case.times[n] - case.times[n - 1] + 0.5) end
    assert.same({ 1, 2, 4, 8, 16, 32, 60, 60 }, pauses)
  end, { tries = 9 }))

  it("that waits for another try is not lost when the bot stops", bots.case(function(bot, case)
    case.count = 0
    bot:on_text("^bad", function(msg)
      case.count = case.count + 1
      if case.count == 1 then error "not yet" end
      assert(msg:answer "done")
    end)
  end, function(case)
    assert(case.chat:say "bad")
    eventually(function() return case.count == 1 and behind(case.bot).dispatch.working == 0 end)
    case.bot:stop()
    case.bot:start()
    assert.equal("done", bots.hear(case.mira))
    assert.equal(2, case.count)
  end, { log = "off", tries = 3 }))

  it("in a dialog is not tried again: the answer becomes the dead letter", bots.case(function(bot)
    bot:on_text("^order", function(msg)
      local size = assert(msg:ask "size?")
      error("cannot do " .. size.text)
    end)
  end, function(case)
    assert.equal("size?", bots.ask(case, "order"))
    assert(case.chat:say "huge")
    eventually(function() return #case.bot:dead_letters() == 1 end)
    assert.equal("huge", case.bot:dead_letters()[1].payload.content.text)
  end, { log = "off", tries = 3 }))

  it("stays unread when acknowledging is left to the script", bots.case(function(bot, case)
    bot:on_text("^bad", function()
      case.failed = true
      error "no good"
    end)
  end, function(case)
    assert(case.chat:say "bad")
    eventually(function() return case.failed and behind(case.bot).dispatch.working == 0 end)
    assert.same({}, case.bot:dead_letters())
    assert.equal(1, #case.server:unread "herald")
  end, { log = "off", ack = "manual" }))

  it("is told of once a minute for each handler", function()
    bots.case(function(bot)
      bot:on_text("^bad", function() error "no good" end)
      bot:on_text("^worse", function() error "no good" end)
    end, function(case)
      for _ = 1, 20 do assert(case.chat:say "bad") end
      assert(case.chat:say "worse")
      eventually(function() return #case.bot:dead_letters() == 21 end)
      local told = 0
      for _, line in ipairs(lines) do
        told = told + (line:find "is a dead letter now.*its handler has failed once$" and 1 or 0)
        assert.is_nil(line:find "too many dead letters, the oldest")
      end
      assert.equal(2, told)
      assert.same({}, store_of(case.bot):list "handled") -- of a store that ends with the process
    end, { log = log })()
  end)

  it("is told of with the number of its tries", function()
    bots.case(function(bot)
      bot:on_text("^bad", function() error "no good" end)
    end, function(case)
      assert(case.chat:say "bad")
      eventually(function() return #case.bot:dead_letters() == 1 end)
      assert.matches("is a dead letter now, .*its handler has failed 2 times$", lines[#lines])
    end, { log = log, tries = 2 })()
  end)
end)

describe("sessions", function()
  it("are kept for users and chats, over messages and waiting", bots.case(function(bot)
    bot:on_text("^count", function(msg)
      local user, chat = msg.user_session, msg.chat_session
      user.count = (user.count or 0) + 1
      chat.last = msg.text
      assert.equal(user, msg.user_session)
      local answer = assert(msg:ask(("%d %s"):format(user.count, chat.last)))
      user.count = user.count + 10
      assert(answer:answer(("%d"):format(answer.user_session.count)))
    end)
  end, function(case)
    assert.equal("1 count", bots.ask(case, "count"))
    eventually(function() return (store_of(case.bot):get("sessions", "user mira@localhost") or {}).count == 1 end)
    assert.equal("11", bots.ask(case, "go on"))
    assert.equal("12 count me", bots.ask(case, "count me"))
    assert.equal("22", bots.ask(case, "end"))
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.same({ count = 22 }, store_of(case.bot):get("sessions", "user mira@localhost"))
    assert.same({ last = "count me" }, store_of(case.bot):get("sessions", "chat " .. case.chat.id))
  end))

  it("are written only when they have changed, and go when they are empty", bots.case(function(bot)
    bot:on_message(function(msg)
      local session = msg.chat_session
      if msg.text == "set" then session.a, session.b = 1, { 2 } end
      if msg.text == "clear" then session.a, session.b = nil, nil end
      assert(msg:answer "ok")
    end)
  end, function(case)
    local puts, put = 0, store_of(case.bot).put
    store_of(case.bot).put = function(store, collection, ...)
      if collection == "sessions" then puts = puts + 1 end
      return put(store, collection, ...)
    end
    bots.ask(case, "look")
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.equal(0, puts)
    bots.ask(case, "set")
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.equal(1, puts)
    bots.ask(case, "look")
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.equal(1, puts)
    bots.ask(case, "clear")
    eventually(function() return behind(case.bot).dispatch.working == 0 end)
    assert.is_nil(store_of(case.bot):get("sessions", "chat " .. case.chat.id))
    store_of(case.bot).put = nil
  end, { store = stores.memory() }))

  it("are the same table for handlers that run beside each other", bots.case(function(bot, case)
    local gate = core.waiter()
    bot:on_text("^wait", function(msg)
      local session = msg.user_session
      gate:wait(LIMIT)
      assert(msg:answer(session.note))
    end)
    bot:on_text("^note", function(msg)
      msg.user_session.note = "seen"
      gate:wake()
    end)
    case.group = case.mira:create_group "Notes"
    assert(case.group:add "herald")
  end, function(case)
    assert(case.chat:say "wait")
    eventually(function() return behind(case.bot).dispatch.working == 1 end)
    assert(case.group:say "note")
    assert.equal("seen", bots.hear(case.mira))
  end))

  it("say what cannot be kept, and are there in handlers alone", function()
    local log, lines = bots.log()
    bots.case(function(bot)
      bot:on_message(function(msg)
        msg.user_session.f = print
        msg.chat_session.n = 1234567890123456789
        assert(msg:answer "ok")
      end)
    end, function(case)
      bots.ask(case, "go")
      eventually(function() return #lines > 0 end)
      assert.same({ n = 1234567890123456789 }, store_of(case.bot):get("sessions", "chat " .. case.chat.id))
      assert.matches("the session of user mira@localhost is not kept: cannot encode 'f'", lines[1])
      local message = bots.message({ text = "x" }, { bot = case.bot })
      local _, err = pcall(function() return message.user_session end)
      assert.matches("bot/persistence_spec.lua:%d+: sessions work only while a handler runs", err)
      assert.is_true(case.bot:with_session("user", "MIRA@localhost/x", function(session)
        session.f = nil
        session.n = 1
      end))
      assert.same({ n = 1 }, store_of(case.bot):get("sessions", "user mira@localhost"))
      _, err = pcall(function() case.bot:with_session("group", "x", print) end)
      assert.matches("bot/persistence_spec.lua:%d+: with_session: 'user' or 'chat' expected, got group", err)
      assert.is_true(case.bot:with_session("chat", "C1@x", function(session) session.n = 2 end))
      assert.same({ n = 2 }, store_of(case.bot):get("sessions", "chat C1@x"))
    end, { log = log })()
  end)
end)

describe("posts", function()
  it("are sent, to chats and to users, also from a message", bots.case(function(bot)
    bot:on_message(function(msg) assert(msg:post("posted: " .. msg.text, { key = "k" .. msg.id })) end)
  end, function(case)
    assert.equal("posted: hello", bots.ask(case, "hello"))
    local posted = assert(case.bot:post { user_id = "mira@localhost", text = "by user" })
    assert.is_truthy(posted:wait(LIMIT))
    assert.equal("by user", bots.hear(case.mira))
    assert(case.bot:post(case.chat.id, "<b>bold</b>", { parse_mode = "html" }))
    assert.equal("<b>bold</b>", bots.hear(case.mira))
    eventually(function() return case.bot:outbox().waiting == 0 end)
    assert.same({ waiting = 0, unsent = 0 }, case.bot:outbox())
    -- The personal chat is opened again when it is gone; a group is not.
    local message = { text = "x", parseMode = "text" }
    local personal = bots.message(message, { bot = case.bot, kind = 1 })
    assert.equal(bots.USER, assert(personal:post "a")[INSIDE].record.user_id)
    assert.is_nil(assert(bots.message(message, { bot = case.bot, kind = 2 }):post "b")[INSIDE].record.user_id)
  end, { log = "off" }))

  it("blame the caller's line for mistakes", bots.case(function() end, function(case)
    local _, err = pcall(function() case.bot:post(case.chat.id) end)
    assert.matches("bot/persistence_spec.lua:%d+: post: bad argument 'text'", err)
    _, err = pcall(function() bots.message({ text = "x" }, { bot = case.bot }):post(true) end)
    assert.matches("bot/persistence_spec.lua:%d+: post: bad argument 'text'", err)
    _, err = pcall(function() bots.message({ text = "x" }, { bot = case.bot }):reply(true) end)
    assert.matches("bot/persistence_spec.lua:%d+: send_message: bad argument 'text'", err)
  end))

  it("without a file are sent before the bot stops", bots.case(function() end, function(case)
    for n = 1, 20 do assert(case.bot:post(case.chat.id, tostring(n))) end
    case.bot:stop()
    assert.equal(20, #case.server:history(case.chat.id))
  end))
end)

describe("an answer in a personal chat that is gone", function()
  it("opens it again, once", bots.case(function(bot)
    bot:on_message(function(msg)
      assert(bot:remove_chat(msg.chat_id))
      assert(msg:answer "still here")
    end)
  end, function(case)
    assert.equal("still here", bots.ask(case, "hello"))
  end))
end)

describe("a bot with a store in a file", function()
  local directory, path, server

  before_each(function()
    directory = system.directory()
    path = directory:file "bot.db"
  end)
  after_each(function() directory:__close() end)

  local function bot_with(options, handler)
    options.store = path
    local bot = system.bot(server, options)
    bot:on_message(handler)
    bot:start()
    return bot
  end

  it("knows after a restart what it has handled, and its sessions, posts, asides and token", helper.async(function()
    server = system.start_bridge()
    local chat = server:person("mira"):chat_with "herald"
    local handled = {}
    local function handle(msg)
      handled[#handled + 1] = msg.text
      msg.chat_session.count = (msg.chat_session.count or 0) + 1
      if msg.text == "bad" then error "no good" end
    end
    local first = bot_with({ log = "off" }, handle)
    local message = chat:say "one"
    assert(message:wait_read_by("herald", LIMIT))
    chat:say "bad"
    eventually(function() return #first:dead_letters() == 1 and behind(first).dispatch.working == 0 end)
    first:stop()
    -- The ack was lost, as far as the server knows.
    server.store:add_unread("herald", message.record)
    assert.equal(1, #server:unread "herald")
    local tokens = server.store:last_serial()
    local kept, day = assert(stores.open(path)), 86400 * 1000
    kept:put("handled", "old", { at = core.now() - 30 * day - 10000 })
    kept:put("handled", "young", { at = core.now() - 30 * day + 60000 })
    kept:close()
    local second = bot_with({ log = "off" }, handle)
    assert(message:wait_read_by("herald", LIMIT))
    assert.same({ "one", "bad" }, handled)
    assert.is_nil(store_of(second):get("handled", "old"))
    assert.is_truthy(store_of(second):get("handled", "young"))
    assert.equal(1, #second:dead_letters())
    assert.equal(2, store_of(second):get("sessions", "chat " .. chat.id).count)
    assert.equal(tokens, server.store:last_serial())
    assert.equal("600", system.output("stat -c %%a '%s.token'", path))
    second:stop()
    server:stop()
  end))

  it("tells that a message is acknowledged, though that waits for the file", helper.async(function()
    server = system.start_bridge()
    local chat = server:person("mira"):chat_with "herald"
    local acked
    local bot = bot_with({ ack = "manual" }, function(msg)
      store_of(msg.bot):put("notes", msg.id, { text = msg.text })
      acked = { msg:ack(), msg:ack(), msg.bot:ack(msg) }
    end)
    assert(chat:say("one"):wait_read_by("herald", LIMIT))
    assert.same({ true, false, false }, acked)
    bot:stop()
    server:stop()
  end))

  it("acknowledges a message only when the file says that it was handled, and nothing else", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local bot = bot_with({ log = "off" }, function(msg) assert(msg:answer(msg.text)) end)
    assert(bot:wait_ready(LIMIT))
    store_of(bot).db:rows "PRAGMA query_only = 1"
    local message = chat:say "one"
    assert.equal("one", bots.hear(mira))
    eventually(function() return behind(bot).persistence.stuck and behind(bot).dispatch.working == 0 end)
    assert(bot:get_chats(1, 1))         -- answered behind an ack that had been sent
    assert.same({ 1, 1 }, { store_of(bot).unwritten, #server:unread "herald" })
    store_of(bot).db:rows "PRAGMA query_only = 0"
    assert(message:wait_read_by("herald", LIMIT))
    bot:stop()
    server:stop()
  end))

  it("can be started again after it was stopped", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local bot = bot_with({}, function(msg)
      msg.chat_session.count = (msg.chat_session.count or 0) + 1
      assert(msg:answer(("%d"):format(msg.chat_session.count)))
    end)
    chat:say "a"
    assert.equal("1", bots.hear(mira))
    bot:stop()
    bot:start()
    chat:say "b"
    assert.equal("2", bots.hear(mira))
    bot:stop()
    server:stop()
  end))

  it("keeps what a handler does that outlives the stop, and closes then", helper.async(function()
    server = system.start_bridge()
    local chat, gate = server:person("mira"):chat_with "herald", core.waiter()
    local bot = bot_with({ log = "off" }, function(msg)
      msg.chat_session.seen = msg.text
      gate:wait(LIMIT)
      msg.chat_session.late = true
    end)
    chat:say "hello"
    eventually(function() return behind(bot).dispatch.working == 1 end)
    bot:stop(0)
    assert.is_truthy(store_of(bot))
    gate:wake()
    eventually(function() return behind(bot).dispatch.working == 0 end)
    assert.is_nil(store_of(bot))
    local _, err = pcall(function() bot:dead_letters() end)
    assert.matches("bot/persistence_spec.lua:%d+: the bot is stopped, and its store closed: ", err)
    local kept = assert(stores.open(path))
    assert.same({ seen = "hello", late = true }, kept:get("sessions", "chat " .. chat.id))
    assert.equal(1, #kept:list "handled")
    kept:close()
    bot:start()
    assert.same({}, bot:dead_letters())
    bot:stop()
    server:stop()
  end))

  it("sends after a restart what was posted before", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local bot = trueconf.bot(system.bot_options(server, { store = path }))
    for n = 1, 3 do assert(bot:post(chat.id, "post " .. n, { key = "p" .. n })) end
    bot:stop()
    bot = bot_with({}, function() end)
    for n = 1, 3 do assert.equal("post " .. n, bots.hear(mira)) end
    assert.equal("sent", assert(bot:post(chat.id, "post 1", { key = "p1" })).state)
    bot:stop()
    server:stop()
  end))

  it("says at once when the file will not do", helper.async(function()
    server = system.start_bridge()
    local kept = assert(stores.open(path))
    local _, err = pcall(trueconf.bot, system.bot_options(server, { store = path }))
    assert.matches("another process has it open", err)
    _, err = pcall(function() trueconf.bot(system.bot_options(server, { store = path })) end)
    assert.matches("bot/persistence_spec.lua:%d+: trueconf.bot: store: .*bot%.db: another process has it open", err)
    kept:close()
    system.write(path, ("rubbish "):rep(1000))
    _, err = pcall(trueconf.bot, system.bot_options(server, { store = path }))
    assert.matches("trueconf.bot: store: .*bot%.db: file is not a database", err)
    _, err = pcall(trueconf.bot, system.bot_options(server, { store = {} }))
    assert.matches("'store' must be a path or a store of trueconf.store", err)
    server:stop()
  end))

  -- From now on nothing more fits into the file, or everything does.
  local function set_full(bot, is_full)
    store_of(bot).db:rows(is_full and "PRAGMA max_page_count = 1" or "PRAGMA max_page_count = 100000")
  end

  local function matching(lines, pattern)
    local found = 0
    for _, line in ipairs(lines) do found = found + (line:find(pattern) and 1 or 0) end
    return found
  end

  local BIG = ("x"):rep(100000)

  it("acknowledges nothing while the file is full, says so once, and goes on when it is not", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local log, lines = bots.log "warn"
    local begun = 0
    local bot = bot_with({ log = log }, function(msg)
      begun = begun + 1
      msg.chat_session.text = BIG .. msg.text
      assert(msg:answer(msg.text))
    end)
    assert(bot:wait_ready(LIMIT))
    set_full(bot, true)
    for n = 1, 3 do chat:say(tostring(n)) end
    for n = 1, 2 do assert.equal(tostring(n), bots.hear(mira)) end -- the second was begun in the turn that failed
    eventually(function() return behind(bot).persistence.stuck and behind(bot).dispatch.working == 0 end)
    -- A message that comes again is not handled again, nor acknowledged.
    server:drop()
    eventually(function() return bot:state() == "ready" and behind(bot).client.session:stats().requests_in ~= 0 end)
    chat:say "4"
    core.sleep(1.2)
    assert.same({ 2, 4 }, { begun, #server:unread "herald" })
    set_full(bot, false)
    for n = 3, 4 do assert.equal(tostring(n), bots.hear(mira)) end
    eventually(function() return #server:unread "herald" == 0 end)
    assert.equal(4, begun)
    assert.equal(1, matching(lines, "the store cannot be written, .*bot%.db: database or disk is full"))
    assert.equal(1, matching(lines, "the store is written again"))
    bot:stop()
    local kept = assert(stores.open(path))
    assert.equal(BIG .. "4", kept:get("sessions", "chat " .. chat.id).text)
    assert.equal(4, #kept:list "handled")
    kept:close()
    server:stop()
  end))

  it("tries to write after pauses that grow up to a minute", function()
    bots.virtual_case(function(bot)
      bot:on_message(function(msg) msg.chat_session.text = BIG end)
    end, function(case)
      local bot, begun, times = case.bot, core.monotonic(), {}
      case.server.fault_injector.refusal = function(_, frame) return frame.method == "sendMessage" and 100 or nil end
      local posted = assert(bot:post(case.chat.id, "early"))
      store_of(bot).db:rows "PRAGMA max_page_count = 1"
      assert(case.chat:say "one")
      core.advance(0.5)
      assert.is_true(behind(bot).persistence.stuck)
      local commit = store_of(bot).commit
      store_of(bot).commit = function(store)
        table.insert(times, math.floor(core.monotonic() - begun + 0.5))
        return commit(store)
      end
      core.advance(190)
      assert.same({ 1, 3, 7, 15, 31, 63, 123, 183 }, times)
      case.server.fault_injector.refusal = nil
      store_of(bot).db:rows "PRAGMA max_page_count = 100000"
      core.advance(52)
      assert.equal("waiting", posted.state)
      core.advance(1)                   -- 243 s after the first: it is written, and the outbox goes on at once
      assert.equal("sent", posted.state)
    end, { store = path, log = "off" })()
  end)

  it("loses no message whose handler cannot post, and makes no dead letter", helper.async(function()
    server = system.start_bridge { accounts = { herald = "4711" } }
    local chats = {}
    for n = 1, 10 do chats[n] = server:person("person" .. n):chat_with "herald" end
    local bot = bot_with({ log = "off" }, function(msg)
      assert(msg:post("answer to " .. msg.text, { key = msg.text }))
    end)
    assert(bot:wait_ready(LIMIT))
    set_full(bot, true)
    for n = 1, 100 do chats[n % 10 + 1]:say(tostring(n)) end
    eventually(function() return behind(bot).persistence.stuck and behind(bot).dispatch.working == 0 end)
    core.sleep(0.1)
    assert.is_true(#server:unread "herald" >= 50) -- some fit into what was free in the file
    set_full(bot, false)
    eventually(function() return #server:unread "herald" == 0 and bot:outbox().waiting == 0 end)
    assert.same({}, bot:dead_letters())
    for place, chat in ipairs(chats) do
      local answers = {}
      for _, message in ipairs(server:history(chat.id)) do
        answers[#answers + 1] = math.tointeger(message.text:match "^answer to (%d+)$")
      end
      assert.equal(10, #answers)
      for n = 1, 10 do assert.equal((n - (place == 1 and 0 or 1)) * 10 + place - 1, answers[n]) end
    end
    bot:stop()
    server:stop()
  end))

  it("keeps what waits for room over a stop, unread, and clicks too", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local clicks = 0
    local bot = bot_with({ log = "off" }, function(msg) assert(msg:post(msg.text)) end)
    bot:on("command", function(event)
      clicks = clicks + 1
      assert(bot:post(event.chat_id, "clicked"))
    end)
    assert(bot:wait_ready(LIMIT))
    assert(bot:send_message(chat.id, "menu", { buttons = { { { type = "command", label = "A", command = "a" } } } }))
    local menu = assert(mira:wait_message(LIMIT))
    store_of(bot).db:rows "PRAGMA query_only = 1"
    assert(mira:click(menu, "A"))
    chat:say "one"
    local engine = behind(bot)
    eventually(function() return engine.persistence.stuck and clicks == 1 and engine.dispatch.working == 0 end)
    bot:stop()
    assert.equal(1, #server:unread "herald")
    bot:start()
    assert.equal("clicked", bots.hear(mira))
    assert.equal("one", bots.hear(mira))
    bot:stop()
    assert.equal(0, #server:unread "herald")
    server:stop()
  end))

  it("says what a stop could not write, and is given it again", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local log, lines = bots.log "error"
    local bot = bot_with({ log = log }, function(msg)
      msg.chat_session.text = BIG
      assert(msg:answer(msg.text))
    end)
    assert(bot:wait_ready(LIMIT))
    set_full(bot, true)
    chat:say "one"
    assert.equal("one", bots.hear(mira))
    bot:stop()
    assert.equal(1, matching(lines, "2 changes of the store are not kept: .*bot%.db: database or disk is full"))
    assert.equal(1, #server:unread "herald")
    bot = bot_with({ log = log }, function(msg) assert(msg:answer "again") end)
    assert.equal("again", bots.hear(mira))
    bot:stop()
    server:stop()
  end))

  it("lets messages wait, unread, whose posts the full outbox does not take", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local other = server:person("jonas"):chat_with "herald"
    local handled = 0
    local log, lines = bots.log "warn"
    local bot = bot_with({ log = log }, function(msg)
      handled = handled + 1
      if msg.text == "post" then assert(msg:post("posted")) end
    end)
    assert(bot:wait_ready(LIMIT))
    local outbox = behind(bot).persistence.outbox_box
    outbox:stop(0)
    for n = 1, 10000 do assert(bot:post(chat.id, tostring(n))) end
    assert.equal("LIMIT", select(2, bot:post(chat.id, "more")).name)
    chat:say "post"
    chat:say "behind it"
    other:say "by the way"
    eventually(function() return #server:unread "herald" == 2 and behind(bot).dispatch.working == 0 end)
    core.sleep(0.1)
    assert.same({ 2, 2, {} }, { handled, #server:unread "herald", bot:dead_letters() })
    assert.equal(1, matching(lines, "message %S+ of %S+ and its chat wait until the changes"))
    outbox:start()
    eventually(function() return #server:unread "herald" == 0 end, 25)
    assert.equal(4, handled)
    assert.is_true(bot:outbox().waiting > 8000)
    assert.is_false(outbox.is_full)
    bot:stop(0)
    server:stop()
  end))

  it("begins after a start with what the full outbox has let wait while it stopped", helper.async(function()
    server = system.start_bridge()
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local gate, elsewhere = core.waiter(), server:person("jonas"):chat_with "herald"
    local bot = bot_with({ log = "off" }, function(msg)
      gate:wait(LIMIT)
      assert(msg:post("echo " .. msg.text))
    end)
    assert(bot:wait_ready(LIMIT))
    behind(bot).persistence.outbox_box:stop(0)
    for n = 1, 10000 do assert(bot:post(elsewhere.id, tostring(n))) end
    chat:say "one"
    eventually(function() return behind(bot).dispatch.working == 1 end)
    core.timer(0.02, function() gate:wake() end)
    bot:stop()
    assert.equal(1, #server:unread "herald")
    local kept = assert(stores.open(path))
    kept:drop_oldest("outbox", 0)
    kept:close()
    bot:start()
    assert.equal("echo one", bots.hear(mira))
    bot:stop()
    assert.equal(0, #server:unread "herald")
    server:stop()
  end))
end)

describe("a bot with no room for more messages", function()
  it("has those delivered again that it did not take", bots.case(function(bot, case)
    case.gate, case.texts = core.waiter(), {}
    bot:on_message(function(msg)
      case.gate:wait(LIMIT)
      table.insert(case.texts, msg.text)
    end)
  end, function(case)
    for n = 1, 5 do case.chat:say(tostring(n)) end
    eventually(function() return behind(case.bot).receive.turned_away == 2 end)
    case.gate:wake(true)
    eventually(function() return #case.server:unread "herald" == 0 end)
    assert.equal("1 2 3 4 5", table.concat(case.texts, " "))
  end, { log = "off", max_waiting = 2 }))
end)

describe("a message that cannot be read", function()
  it("becomes a dead letter as it came, acknowledged, and may be requeued when it can be read", helper.async(function()
    local played <close> = setmetatable({ scripted.start() }, { __close = function(self) self[1]:stop() end })
    local log, lines = bots.log "error"
    local odd = {
      '{"chatId":"c1","messageId":7}', '{"messageId":"m"}', '{"chatId":"c1","messageId":"m","box":1e999}',
      ('{"a":'):rep(200) .. "1" .. ("}"):rep(200), "[1]", '"gr\u{fc}n"',
    }
    local steps, texts = {}, {}
    for n, payload in ipairs(odd) do
      steps[n] = { "text", ('{"type":1,"id":%d,"method":"sendMessage","payload":%s}'):format(n, payload) }
    end
    table.insert(steps, scripted.push(7, "sendMessage", bots.message({ text = "fine", parseMode = "text" }).payload))
    table.insert(steps, "silent")
    local bot, name = played[1]:bot(steps, { log = log, before = function(made)
      made:on_message(function(msg) table.insert(texts, msg.text) end)
    end })
    eventually(function() return texts[1] == "fine" end)
    eventually(function() return #played[1]:frames(name) == 7 end)
    local letters = bot:dead_letters()
    assert.equal(#odd, #letters)
    for n, payload in ipairs(odd) do
      assert.same({ payload, "sendMessage" }, { letters[n].text, letters[n].method })
      assert.same({ nil, nil }, { letters[n].payload, letters[n].chat_id })
      assert.equal("PROTOCOL", select(2, bot:requeue(letters[n].id)).name)
    end
    assert.equal(1, #lines)
    assert.matches("^sendMessage of the server cannot be read, it is a dead letter now, see bot:dead_", lines[1])
    assert.equal(#odd, behind(bot).client.session:stats().garbage)
    store_of(bot):put("dead_letters", "later", { method = "sendMessage", at = 1,
      text = '{"chatId":7,"chat":{"chatId":"c1"},"messageId":"m","content":{"text":"later"}}' })
    assert.is_true(bot:requeue "later")
    eventually(function() return texts[2] == "later" end)
    bot:stop()
  end))
end)

describe("a message that is delivered again while its handler is at work", function()
  it("is handled once, and each delivery is acknowledged", helper.async(function()
    local played <close> = setmetatable({ scripted.start() }, { __close = function(self) self[1]:stop() end })
    local gate, handled = core.waiter(), 0
    local payload = bots.message({ text = "one", parseMode = "text" }).payload
    local bot, name = played[1]:bot({
      scripted.push(5, "sendMessage", payload), scripted.push(6, "sendMessage", payload),
      scripted.push(7, "sendMessage", payload), "silent",
    }, { before = function(made)
      made:on_message(function()
        handled = handled + 1
        gate:wait(LIMIT)
      end)
    end })
    eventually(function()
      local repeats = behind(bot).acks.repeats
      return repeats and repeats.m1 and #repeats.m1 == 2
    end)
    gate:wake(true)
    local acks = {}
    eventually(function()
      for _, frame in ipairs(played[1]:frames(name)) do
        if frame.type == 2 then acks[frame.id] = true end
      end
      return acks[5] and acks[6] and acks[7]
    end)
    assert.equal(1, handled)
    bot:stop()
  end))
end)

describe("a request that the server is not able to carry out", function()
  -- The server answers 100 to the next `count` messages.
  local function trouble(server, count)
    local refusal = server.fault_injector.refusal
    server.fault_injector.refusal = function(self, frame)
      if frame.method ~= "sendMessage" then return refusal(self, frame) end
      count = count - 1
      if count >= 0 then return 100 end
      server.fault_injector.refusal = nil
    end
  end

  it("is repeated by a bot", bots.case(function(bot)
    bot:on_message(function(msg) assert(msg:answer(msg.text)) end)
  end, function(case)
    trouble(case.server, 2)
    assert.equal("hello", bots.ask(case, "hello"))
    assert.equal(2, #case.server:history(case.chat.id))
  end))

  it("is given up at its deadline, after so many tries, or when it is refused for good", bots.case(function() end,
    function(case)
      trouble(case.server, 1000)
      local begun = core.monotonic()
      local sent, err = case.bot:send_message(case.chat.id, "x", { timeout = 1 })
      assert.same({ nil, "CONNECTION_ERROR" }, { sent, err.name })
      assert.is_true(core.monotonic() - begun < 1.5)
      behind(case.bot).client.retries = 1
      sent, err = case.bot:send_message(case.chat.id, "x")
      assert.same({ nil, "CONNECTION_ERROR" }, { sent, err.name })
      begun = core.monotonic()
      sent, err = case.bot:edit_message("none", "x")
      assert.same({ nil, "MESSAGE_NOT_FOUND" }, { sent, err.name })
      assert.is_true(core.monotonic() - begun < 0.4)
      assert.equal(0, #case.server:history(case.chat.id))
    end))

  it("is not repeated by a client, nor when it may have been carried out", helper.async(function()
    local server = system.start_bridge()
    local chat = server:person("mira"):chat_with "herald"
    local options = system.bot_options(server)
    local client = trueconf.client(options)
    client:start()
    trouble(server, 1)
    local sent, err = client:send_message(chat.id, "x")
    assert.same({ nil, "CONNECTION_ERROR" }, { sent, err.name })
    client:stop()
    local bot = trueconf.bot(options)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    server:fault { drop_at = "answer" }
    sent, err = bot:send_message(chat.id, "once")
    assert.same({ nil, "unknown" }, { sent, err.outcome })
    server:fault()
    core.sleep(0.7)
    assert.equal(1, #server:history(chat.id))
    bot:stop()
    server:stop()
  end))
end)
