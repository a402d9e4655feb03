-- SPDX-License-Identifier: MIT
-- Messages that are to be sent whatever happens, over a real Bridge that misbehaves.

local core = require "trueconf.core"
local outboxes = require "trueconf.bot.outbox"
local stores = require "trueconf.store"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local async = helper.async

describe("the outbox of a bot", function()
  local server, bot, store, outbox, chat_id

  local function open(more)
    server = system.start_bridge(more)
    chat_id = server:person("mira"):chat_with("herald").id
    bot = system.bot(server, { call_timeout = 1 })
    bot:start()
    store = stores.memory()
    outbox = outboxes.new(bot, store)
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
    assert.is_true(outbox:look().oldest >= 0.05)
    server:fault { refuse_upgrades = false }
    assert.is_truthy(posted:wait(10))
    assert.equal("late", said())
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

  it("waits until the chat can be looked into", scene(function()
    server:fault { drop_at = "answer" }
    local posted = post "once"
    helper.eventually(function() return bot:state() ~= "ready" end)
    server:fault()
    server:fault { silence = { getChatHistory = 1 } }
    assert.is_nil((posted:wait(1.5)))
    server:fault()
    assert.is_truthy(posted:wait(10))
    assert.equal("once", said())
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
    local refused = post("lost", { chat_id = "nowhere" })
    local ok, err = refused:wait(10)
    assert.is_nil(ok)
    assert.equal("CHAT_NOT_FOUND", err.name)
    assert.equal("refused", refused.state)
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
    assert.equal("lost", outbox:unsent()[1].text)
  end))

  it("opens a personal chat that is gone, once", scene(function()
    local posted = assert(outbox:post(assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "one" }))))
    assert.is_truthy(posted:wait(10))
    assert(bot:remove_chat(posted.record.chat_id))
    local record = assert(outboxes.record_of(1, { user_id = "mira@localhost", text = "two" }))
    record.chat_id = posted.record.chat_id
    posted = assert(outbox:post(record))
    assert.is_truthy(posted:wait(10))
    assert.equal("one two", said())
  end))

  it("checks what it accepts", scene(function()
    local record, err = outboxes.record_of(1, chat_id, ("x"):rep(5000))
    assert.is_nil(record)
    assert.equal("LIMIT", err.name)
    for _, case in ipairs {
      { { nil, "x" }, "post: either 'chat_id' or 'user_id' is needed" },
      { { { chat_id = "c", user_id = "u", text = "x" } }, "post: either 'chat_id' or 'user_id' is needed" },
      { { "c", 7 }, "post: bad argument 'text': a string expected, got a number" },
      { { "c" }, "post: bad argument 'text': a string expected, got nil" },
      { { 7, "x" }, "post: bad argument 'chat_id': a string expected, got a number" },
      { { "c", "x", { mode = "html" } }, "unknown option 'mode'" },
    } do
      assert.error_matches(function() outboxes.record_of(1, table.unpack(case[1], 1, 3)) end, case[2], 1, true)
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
    outbox = outboxes.new(bot, store)
    assert.equal(2, outbox:look().waiting)
    outbox:start()
    helper.eventually(function() return outbox:look().waiting == 0 end, 10)
    assert.equal("one two three", said())
  end))
end)
