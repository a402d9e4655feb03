-- SPDX-License-Identifier: MIT
-- Messages that are to be sent whatever happens, over a real Bridge that misbehaves.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local outboxes = require "trueconf.bot.outbox"
local stores = require "trueconf.store"
local bots = require "spec.support.bots"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local scripted = require "spec.support.scripted"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind
local INSIDE = require("trueconf.base.face").INSIDE

local async = helper.async

describe("the outbox of a bot", function()
  local server, bot, store, outbox, chat_id
  local grace = outboxes.grace

  before_each(function() outboxes.grace = 0.2 end)
  after_each(function() outboxes.grace = grace end)

  local function open(more)
    server = system.start_bridge(more)
    chat_id = server:person("mira"):chat_with("herald").id
    bot = system.bot(server, { call_timeout = 1 })
    bot:start()
    store = stores.memory()
    outbox = outboxes.new(behind(bot), store)
    outbox:start()
  end

  local function close()
    outbox:stop(0)
    bot:stop(0)
    server:stop(true)
  end

  local function post(text, more)
    local given = { chat_id = chat_id, text = text }
    for name, value in pairs(more or {}) do given[name] = value end
    return assert(outbox:post(assert(outboxes.record_of(1, given))))
  end

  local function said()
    local list = {}
    for place, message in ipairs(server:history(chat_id)) do list[place] = message.text end
    return table.concat(list, " ")
  end

  local function scene(body, more)
    return async(function()
      open(more)
      body()
      close()
    end)
  end

  it("sends in order, chats beside each other, and keeps nothing of what was sent", scene(function()
    local last
    for n = 1, 20 do last = post(tostring(n)) end
    local other = assert(outbox:post(assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "21" }))))
    assert.is_truthy(last:wait(10))
    assert.is_truthy(other:wait(10))
    assert.matches("^1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", (said():gsub("21 ?", "")))
    assert.equal("sent", last.state)
    assert.same({}, store:list "outbox")
    assert.same({ waiting = 0, unsent = 0 }, outbox:look())
    assert.is_false(outbox.is_full)
  end))

  it("waits for the server, and sends what was posted before", scene(function()
    server:fault { refuse_upgrades = true }
    server:drop()
    helper.eventually(function() return bot:state() ~= "ready" end)
    local posted = post "late"
    local ok, err = posted:wait(0.05)
    assert.is_nil(ok)
    assert.equal("TIMEOUT", err.name)
    assert.equal(1, outbox:look().waiting)
    local other = post("other", { chat_id = "nowhere" })
    local oldest = outbox:look().oldest
    assert.is_true(oldest >= 0.05 and oldest < 10, oldest)
    assert.equal(2, outbox:look().waiting)
    server:fault { refuse_upgrades = false }
    assert.is_truthy(posted:wait(10))
    assert.equal("late", said())
    assert.is_nil((other:wait(10)))
  end))

  it("waits for a stop to send what waits, no longer than that takes", scene(function()
    local begun = core.monotonic()
    outbox:stop(60)
    outbox:start()
    post "one"
    outbox:stop(60)
    assert.equal("one", said())
    assert.is_true(core.monotonic() - begun < 20)
  end))

  it("looks into the chat before it sends again what may have arrived", scene(function()
    post("before"):wait(10)
    server:fault { drop_at = "answer" }
    local posted = post "once"
    helper.eventually(function() return bot:state() ~= "ready" end)
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.equal("before once", said())
    assert.equal(server:history(chat_id)[2].id, posted.message_id)
  end))

  it("sends again what did not arrive, also if the same text was sent before", scene(function()
    post("again"):wait(10)
    server:fault { silent = true }
    local posted = post "again"
    core.sleep(0.1)
    server:drop()
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.equal("again again", said())
  end))

  it("finds an answer to a message that arrived", scene(function()
    post("before"):wait(10)             -- from then on it knows where a look-up ends
    local question = server:person("mira"):chat_with("herald"):say "question"
    server:fault { drop_at = "answer" }
    local posted = post("once", { reply_to = question.id })
    helper.eventually(function() return bot:state() ~= "ready" end)
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.equal("before question once", said())
    assert.same({ server:history(chat_id)[3].id, 1 }, { posted.message_id, posted[INSIDE].record.tries })
  end))

  it("does not send before it knows what is in the chat", scene(function()
    server:fault { silence = { getChatHistory = 1 } }
    local posted = post "one"
    assert.is_nil((posted:wait(1.5)))
    assert.same({ "waiting", 0, "" }, { posted.state, posted[INSIDE].record.tries, said() })
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.equal("one", said())
  end))

  it("finds nothing in a chat that is gone", scene(function()
    local record = assert(outboxes.record_of(1, "nowhere", "one"))
    record.in_doubt, record.after = true, ""
    local posted = assert(outbox:post(record))
    assert.is_nil((posted:wait(10)))
    assert.same({ "refused", "CHAT_NOT_FOUND", 1 }, { posted.state, posted.err.name, posted[INSIDE].record.tries })
  end))

  it("waits until the chat can be looked into", scene(function()
    post("before"):wait(10)
    server:fault { drop_at = "answer" }
    local posted = post "once"
    helper.eventually(function() return bot:state() ~= "ready" end)
    server:fault()
    server:fault { silence = { getChatHistory = 1 } }
    assert.is_nil((posted:wait(1.5)))
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.same({ "before once", 1 }, { said(), posted[INSIDE].record.tries })
  end))

  it("posts once under a key", scene(function()
    local first, second = post("hello", { key = "a" }), post("hello", { key = "a" })
    assert.equal(first, second)
    assert.is_truthy(first:wait(10))
    local third = post("hello", { key = "a" })
    assert.same({ "sent", first.message_id }, { third.state, third.message_id })
    assert.equal(first.message_id, third:wait())
    post("hello", { key = "b" }):wait(10)
    assert.equal("hello hello", said())
  end))

  it("sets aside what the server refuses, tells of it, and goes on", scene(function()
    local log, lines = bots.log "error"
    behind(bot).client.log = log
    local refused = post("lost", { chat_id = "nowhere" })
    local ok, err = refused:wait(10)
    assert.is_nil(ok)
    assert.equal("CHAT_NOT_FOUND", err.name)
    assert.equal("refused", refused.state)
    assert.matches("^a posted message was refused, bot:unsent%(%) has it: chat nowhere: CHAT_NOT_FOUND", lines[1])
    local unsent = outbox:unsent()
    assert.equal(1, #unsent)
    assert.same({ "nowhere", "lost", "CHAT_NOT_FOUND", 1 },
      { unsent[1].chat_id, unsent[1].text, unsent[1].error, unsent[1].tries })
    assert.equal(1, outbox:look().unsent)
    local again = assert(outbox:post_again(unsent[1].id))
    assert.is_nil((again:wait(10)))
    outbox:forget(outbox:unsent()[1].id)
    assert.same({}, outbox:unsent())
    assert.is_nil(outbox:post_again "none")
  end))

  it("keeps what was refused when there is no room to post it again", scene(function()
    outbox:stop(0)
    store:put("unsent", "one", { chat_id = chat_id, text = "lost", at = 1, tries = 1 })
    for n = 1, 10000 do post(tostring(n)) end
    local again, err = outbox:post_again "one"
    assert.is_nil(again)
    assert.equal("LIMIT", err.name)
    assert.is_true(outbox.is_full)
    assert.equal("lost", outbox:unsent()[1].text)
  end))

  it("tells the age of the oldest message that waits, whatever its chat", scene(function()
    outbox:stop(0)
    for n = 1, 9 do
      post(tostring(n), { chat_id = "chat " .. n })[INSIDE].record.at = core.now() - 1000000 - (n == 5 and 1000000 or n)
    end
    local oldest = outbox:look().oldest
    assert.is_true(oldest >= 2000 and oldest < 2001, oldest)
  end))

  it("goes on when a function of use_call raises, and after a stop and a start", scene(function()
    local log, lines = bots.log "error"
    behind(bot).client.log = log
    local left = 1
    bot:use_call(function(call, next)
      if call.method == "sendMessage" and left > 0 then
        left = left - 1
        error "no good"
      end
      return next()
    end)
    local posted, second = post "one", post "two"
    assert.is_truthy(posted:wait(10))
    assert.is_truthy(second:wait(10))
    assert.equal("one two", said())
    assert.matches("error while handling a posted message: .*no good", lines[1])
    left = 2
    posted = post "three"
    helper.eventually(function() return left == 1 and posted.err end)
    assert.same({ "CANCELLED", true }, { posted.err.name, posted.err.message:find "no good" ~= nil })
    outbox:stop(0)
    helper.eventually(function() return next(outbox.queues) and not outbox.queues[chat_id].busy end)
    outbox:start()
    assert.is_truthy(posted:wait(20))
    assert.equal("one two three", said())
  end))

  it("looks up what it has sent when a function of use_call raises after that", scene(function()
    behind(bot).client.log = bots.log "off"
    local raised
    bot:use_call(function(call, next)
      local answer, err = next()
      if call.method == "sendMessage" and not raised then
        raised = true
        error "no good"
      end
      return answer, err
    end)
    assert.is_truthy(post("one"):wait(10))
    assert.equal("one", said())
  end))

  it("forgets who has waited for too long", scene(function()
    outbox:stop(0)
    local posted = post "one"
    for _ = 1, 3 do assert.equal("TIMEOUT", select(2, posted:wait(0.01)).name) end
    assert.is_nil(next(posted[INSIDE].waiters))
    outbox:start()
    assert.is_truthy(posted:wait(10))
  end))

  -- The server answers a code to the next message.
  local function answers(code)
    server.fault_injector.refusal = function(fault_injector, frame)
      if frame.method ~= "sendMessage" then return nil end
      fault_injector.refusal = nil
      return code
    end
  end

  -- Codes that say something about the message itself, or those that do not.
  local function codes(about_the_message)
    local list = {}
    for name, entry in pairs(Error.names) do
      local is_about = (entry.class == "request" or entry.class == "done") and name ~= "DUPLICATE_ID"
      if entry.code and is_about == about_the_message then list[#list + 1] = entry.code end
    end
    return list
  end

  it("keeps no doubt about what was refused", scene(function()
    behind(bot).client.log = bots.log "off"
    assert.is_nil((post("lost", { chat_id = "nowhere" }):wait(10)))
    answers(302)
    assert.is_nil((post("no"):wait(10)))
    for _, item in ipairs(store:list "unsent") do assert.is_nil(item.value.in_doubt) end
  end))

  it("waits for a stop of a second, too", bots.virtual_case(function() end, function(case)
    local own = case.bot
    for n = 1, 3 do assert(own:post(case.chat.id, tostring(n))) end
    local box = behind(own).persistence.outbox_box
    core.spawn(box.stop, box, 1)
    core.advance(0.9)
    assert.equal(0, own:outbox().waiting)
    assert.equal(3, #case.server:history(case.chat.id))
  end))

  it("gives up on what the server says of the message", scene(function()
    local final = codes(true)
    for _, code in ipairs(final) do
      answers(code)
      local posted = post("no " .. code)
      assert.is_nil((posted:wait(10)))
      assert.same({ "refused", code }, { posted.state, posted.err.code })
    end
    assert.equal(#final, #outbox:unsent())
    assert.equal("", said())
  end))

  it("gives up on nothing else that the server says", scene(function()
    behind(bot).client.retries = 0
    for _, code in ipairs(codes(false)) do
      answers(code)
      local posted = post("yes " .. code)
      local queue = outbox.queues[chat_id]
      helper.eventually(function() return queue.pause end)
      assert.same({ "waiting", code }, { posted.state, posted.err.code })
      queue.pause:wake(true)
      assert.is_truthy(posted:wait(10))
    end
    assert.same({}, outbox:unsent())
  end))

  it("gives up on what the server is too old for", scene(function()
    local posted = post("menu", { buttons = { { { type = "command", label = "A", command = "a" } } } })
    assert.is_nil((posted:wait(10)))
    assert.same({ "refused", "UNSUPPORTED" }, { posted.state, posted.err.name })
    assert.equal("", said())
  end, { version = "5.5.3" }))

  it("tries again after pauses that grow up to a minute", function()
    local log, lines = bots.log "debug"
    bots.virtual_case(function(made) behind(made).client.retries = 0 end, function(case)
      case.server.fault_injector.refusal = function(_, frame) return frame.method == "sendMessage" and 100 or nil end
      local posted = assert(case.bot:post(case.chat.id, "one"))
      core.advance(500)
      case.server.fault_injector.refusal = nil
      core.advance(80)
      assert.equal("sent", posted.state)
      local place = 0
      for _, line in ipairs(lines) do
        local wait = tonumber(line:match "a posted message waits ([%d.]+) s for its next try")
        if wait then
          place = place + 1
          local pause = math.min(2 ^ (place - 1), 60)
          assert.is_true(wait >= 0.74 * pause and wait <= 1.26 * pause, line)
        end
      end
      assert.is_true(place >= 10)
    end, { log = log })()
  end)

  it("looks up what the server has taken too long for", scene(function()
    local messages = server.fault_injector
    local first = true
    messages.refusal = function(_, frame)
      if frame.method ~= "sendMessage" or not first then return nil end
      first = false
      server:person("herald"):chat_with("mira"):say(frame.payload.content.text)
      return 301
    end
    assert.is_truthy(post("once"):wait(10))
    assert.equal("once", said())
  end))

  it("looks again before it sends what the network may still hold", scene(function()
    assert.is_true(grace > 20)          -- after which a server gives a silent connection up
    outboxes.grace = 2
    local looked, sent = 0, 0
    server.fault_injector.refusal = function(_, frame)
      if frame.method == "getChatHistory" then looked = looked + 1 end
      if frame.method ~= "sendMessage" then return nil end
      sent = sent + 1
      return sent < 3 and 301 or nil
    end
    local posted = post "held"
    helper.eventually(function() return looked == 2 end) -- for the message before it, and for itself
    server:person("herald"):chat_with("mira"):say "held"
    assert.is_truthy(posted:wait(10))
    assert.same({ "held", 1 }, { said(), sent })
    outboxes.grace = 0.9
    local begun = core.monotonic()
    assert.is_truthy(post("lost"):wait(10))
    assert.same({ "held lost", 3 }, { said(), sent })
    assert.is_true(core.monotonic() - begun >= 0.9)
  end))

  -- The server does not carry out the next message, and cannot tell.
  local function swallow(before_look)
    local looked = false
    server.fault_injector.refusal = function(fault_injector, frame)
      if frame.method == "sendMessage" then
        looked = true
        return 301
      end
      if frame.method ~= "getChatHistory" or not looked then return nil end
      fault_injector.refusal = nil
      if before_look then before_look() end
    end
  end

  it("takes for its own only what looks the same and is newer", scene(function()
    local herald = server:person("herald"):chat_with "mira"
    local question = server:person("mira"):chat_with("herald"):say "question"
    herald:say "same"                   -- before it, and not known to the outbox
    swallow(function()
      server:person("mira"):chat_with("herald"):say "same"
      herald:send_file("same.txt", "same")
      herald:say "same"                 -- which answers nothing
      herald:say("other", { reply_to = question })
    end)
    local posted = post("same", { reply_to = question.id })
    assert.is_truthy(posted:wait(10))
    local history = server:history(chat_id)
    assert.equal(history[#history].id, posted.message_id)
    assert.same({ 7, "same" }, { #history, history[7].text })
  end))

  it("sends again what it does not find, and knows what was there before", scene(function()
    server:person("herald"):chat_with("mira"):say "again"
    swallow()
    assert.is_truthy(post("again"):wait(10))
    assert.equal("again again", said())
  end))

  it("looks for a message behind five hundred newer ones, no further", scene(function()
    local herald, mira = server:person("herald"):chat_with "mira", server:person("mira"):chat_with "herald"
    for _, newer in ipairs { 499, 500 } do
      swallow(function()
        herald:say("held " .. newer)
        for n = 1, newer do mira:say(tostring(n)) end
      end)
      assert.is_truthy(post("held " .. newer):wait(20))
      local found = 0
      for _, message in ipairs(server:history(chat_id)) do
        if message.text == "held " .. newer then found = found + 1 end
      end
      assert.equal(newer == 499 and 1 or 2, found)
    end
  end))

  it("keeps so many keys, so long, and so many refused posts", scene(function()
    outbox:stop(0)
    local now, day = core.now(), 86400 * 1000
    store:put("posted", "old", { id = "old", message_id = "m", at = now - 30 * day - 10000 })
    store:put("posted", "young", { id = "young", message_id = "m", at = now - 30 * day + 60000 })
    for n = 1, 9998 do store:put("posted", "k" .. n, { id = "k", message_id = "m", at = now }) end
    outbox = outboxes.new(behind(bot), store)
    assert.is_nil(store:get("posted", "old"))
    assert.equal(9999, #store:list "posted")
    store:put("posted", "k9999", { id = "k", message_id = "m", at = now })
    store:put("posted", "more", { id = "more", message_id = "m", at = now })
    outbox = outboxes.new(behind(bot), store)
    assert.is_nil(store:get("posted", "young"))
    assert.equal(10000, #store:list "posted")
    outbox:start()
    outbox.kept_keys = 998
    assert.is_truthy(post("one", { key = "one" }):wait(10))
    assert.equal(10001, #store:list "posted")
    assert.is_truthy(post("two", { key = "two" }):wait(10))
    assert.equal(10000, #store:list "posted")
    for n = 1, 1000 do store:put("unsent", "u" .. n, { chat_id = chat_id, text = "x", at = 1, tries = 1 }) end
    assert.is_nil((post("lost", { chat_id = "nowhere" }):wait(10)))
    assert.equal(1000, #outbox:unsent())
    assert.equal("lost", outbox:unsent()[1000].text)
  end))

  it("takes an answer without an id for none", async(function()
    local played <close> = setmetatable({ scripted.start() }, { __close = function(self) self[1]:stop() end })
    local mine = { id = "herald@test", type = 1 }
    for _, odd in ipairs { json.object {}, { messageId = 7 }, "text", json.null } do
      local client = played[1]:client { { "take" }, { "answer", 1, odd }, "silent" }
      local sent, err = client:send_message("c", "one")
      assert.same({ nil, "PROTOCOL", "unknown" }, { sent, err.name, err.outcome })
      client:stop()
    end
    local page = { count = 1, messages = json.array { { messageId = "m1", chatId = "c", author = mine,
      box = { id = 1, position = "1" }, timestamp = 1, type = 200, isEdited = false,
      content = { text = "one", parseMode = "text" } } } }
    local steps = scripted.answers {
      { count = 0, messages = json.array() }, {}, page, { messageId = "m2", chatId = "c", timestamp = 1 },
    }
    bot = played[1]:bot(steps)
    outbox = outboxes.new(behind(bot), stores.memory())
    outbox:start()
    chat_id = "c"
    local posted, second = post "one", post "two"
    assert.equal("m1", posted:wait(10))
    assert.equal("m2", second:wait(10))
    bot:stop(0)
    outbox:stop(0)
  end))

  it("opens a personal chat that is gone, once", scene(function()
    local log, lines = bots.log "error"
    behind(bot).client.log = log
    local posted = assert(outbox:post(assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "one" }))))
    assert.is_truthy(posted:wait(10))
    assert(bot:remove_chat(posted[INSIDE].record.chat_id))
    local record = assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "two" }))
    record.chat_id = posted[INSIDE].record.chat_id
    posted = assert(outbox:post(record))
    assert.is_truthy(posted:wait(10))
    assert.equal("one two", said())
    assert.same({}, lines)
    local sent = 0
    server.fault_injector.refusal = function(_, frame)
      if frame.method ~= "sendMessage" then return nil end
      sent = sent + 1
      return 304
    end
    posted = assert(outbox:post(assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "three" }))))
    assert.is_nil((posted:wait(10)))
    assert.same({ "refused", 2 }, { posted.state, sent })
  end))

  it("checks what it accepts", scene(function()
    local record, err = outboxes.record_of(1, chat_id, ("x"):rep(5000))
    assert.is_nil(record)
    assert.equal("LIMIT", err.name)
    assert.equal("7", outboxes.record_of(1, "c", 7).text)
    for _, case in ipairs {
      { { nil, "x" }, "post: either 'chat_id' or 'user_id' is needed" },
      { { { chat_id = "c", user_id = "u", text = "x" } }, "post: either 'chat_id' or 'user_id' is needed" },
      { { "c", true }, "post: bad argument 'text': a string expected, got a boolean" },
      { { "c" }, "post: bad argument 'text': a string expected, got nil" },
      { { 7, "x" }, "post: bad argument 'chat_id': a string expected, got a number" },
      { { "c", "x", { mode = "html" } }, "unknown option 'mode'" },
      { { "c", "x", { buttons = { 7 } } }, "bad argument 'buttons[1]'" },
    } do
      local line = debug.getinfo(1, "l").currentline + 1
      local _, mistake = pcall(function() bot:post(table.unpack(case[1], 1, 3)) end)
      assert.matches("bot/outbox_spec.lua:" .. line .. ": ", mistake, 1, true)
      assert.matches(case[2], mistake, 1, true)
    end
  end))

  it("goes on where another one ended, with what was in doubt too", scene(function()
    post("one"):wait(10)
    server:fault { drop_at = "answer" }
    post "two"
    post "three"
    helper.eventually(function() return bot:state() ~= "ready" end)
    outbox:stop(0)
    bot:stop(0)
    server:fault()
    bot = system.bot(server)
    bot:start()
    outbox = outboxes.new(behind(bot), store)
    assert.equal(2, outbox:look().waiting)
    assert.is_nil(outbox.queues[chat_id].busy)
    outbox:start()
    helper.eventually(function() return outbox:look().waiting == 0 end, 10)
    assert.equal("one two three", said())
  end))
end)
