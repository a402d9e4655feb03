-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local support = require "spec.support.bridge"

describe("a simulated person", function()
  local server, herald, mira, chat

  before_each(function()
    server = support.server { accounts = { herald = "4711" } }
    herald = support.login(server, "herald")
    mira = server:person "mira"
    chat = mira:chat_with "herald"
  end)

  local function herald_says(text)
    local payload = { chatId = chat.id, content = { text = text, parseMode = "text" } }
    return (herald:request("sendMessage", payload))
  end

  it("is an account, created when it is missing, and one and the same", function()
    assert.equal("mira@chat.acme.test", mira.id)
    assert.equal(mira, server:person "Mira")
    assert.equal("herald", server:person("herald").login)
  end)

  it("has a personal chat that the bot hears of", function()
    local frames = herald:take()
    assert.equal("createP2PChat", frames[1].method)
    assert.equal(chat.id, frames[1].payload.chatId)
    assert.equal("mira@chat.acme.test", frames[1].payload.title)
    assert.equal(chat.id, mira:chat_with("herald").id)
    assert.same({}, herald:take())
  end)

  it("writes as an application does: html, with what was typed escaped", function()
    herald:take()
    local message = chat:say "1 < 2 & 3 > 2\nok"
    local envelope = herald:take()[1].payload
    assert.same({ text = "1 &lt; 2 &amp; 3 &gt; 2<br>ok", parseMode = "html" }, envelope.content)
    assert.same({ id = "mira@chat.acme.test", type = 1 }, envelope.author)
    assert.equal(message.id, envelope.messageId)
    assert.is_true(message.from_me)
  end)

  it("writes exactly what it is told with a parse mode, and answers messages", function()
    local asked = herald_says "which?"
    herald:take()
    local message = chat:say("<b>this</b>", { parse_mode = "html", reply_to = asked.messageId })
    local envelope = herald:take()[1].payload
    assert.same({ text = "<b>this</b>", parseMode = "html" }, envelope.content)
    assert.equal(asked.messageId, envelope.replyMessageId)
    chat:say("more", { reply_to = message })
    assert.equal(message.id, herald:take()[1].payload.replyMessageId)
    local nothing, err = chat:say("lost", { reply_to = "gone" })
    assert.is_nil(nothing)
    assert.equal("MESSAGE_NOT_FOUND", err.name)
    assert.matches("not in this chat", err.message)
  end)

  it("sees whether a message was read: after the ack", function()
    herald:take()
    local message = chat:say "hello"
    assert.is_false(message:is_read_by "herald")
    herald:ack(herald:take()[1].id)
    assert.is_true(message:is_read_by "herald")
    assert.is_true(message:is_read_by "HERALD")
    assert.is_false(message:is_read_by "mira")
    assert.is_false(message:is_read_by "nobody")
  end)

  it("can wait until a message is read", helper.async(function()
    herald:take()
    local message = chat:say "hello"
    local _, err = message:wait_read_by("herald", 0.01)
    assert.equal("TIMEOUT", err.name)
    local id = herald:take()[1].id
    core.spawn(function() herald:ack(id) end)
    assert.is_true(message:wait_read_by("herald", 5))
    assert.is_true(message:wait_read_by("herald", 5))
  end))

  it("gets what others wrote in order, and reading marks it as read", helper.async(function()
    herald_says "one"
    herald_says "two"
    chat:say "mine"
    assert.equal(2, #server:unread "mira")
    local message = mira:wait_message(5)
    assert.equal("one", message.text)
    assert.equal("herald@chat.acme.test", message.author)
    assert.equal(chat.id, message.chat_id)
    assert.equal("text", message.parse_mode)
    assert.is_false(message.from_me)
    assert.is_true(message:is_read_by "mira")
    assert.equal(1, #server:unread "mira")
    assert.equal("two", mira:wait_message(5).text)
    local nothing, err = mira:wait_message(0.01)
    assert.is_nil(nothing)
    assert.equal("TIMEOUT", err.name)
  end))

  it("can wait for a message before it is there", helper.async(function()
    core.spawn(function() herald_says "late" end)
    assert.equal("late", mira:wait_message(5).text)
    assert.equal(0, #server:unread "mira")
  end))

  it("gives each of two waiting calls one message, and none to one that gave up", helper.async(function()
    mira:wait_message(0.01)
    local heard = {}
    local done = core.waiter()
    for _ = 1, 2 do
      core.spawn(function()
        local text = mira:wait_message(5).text
        heard[#heard + 1] = text
        if #heard == 2 then done:wake(true) end
      end)
    end
    core.spawn(function()
      herald_says "a"
      herald_says "b"
    end)
    assert.is_true(done:wait(5))
    assert.same({ "a", "b" }, heard)
  end))

  it("sees messages live, her own from elsewhere too", helper.async(function()
    local seen, done = {}, core.waiter()
    mira:on_message(function(message)
      seen[#seen + 1] = (message.from_me and "I: " or "they: ") .. message.text
      if #seen == 2 then done:wake(true) end
    end)
    herald_says "hello"
    chat:say "hi"
    assert.is_true(done:wait(5))
    assert.same({ "they: hello", "I: hi" }, seen)
    assert.equal(0, #server:unread "mira")
  end))

  it("finds what came while she was not there", helper.async(function()
    server:add_account "john"
    local id = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    herald:request("sendMessage", { chatId = id, content = { text = "for john", parseMode = "text" } })
    assert.equal("for john", server:person("john"):wait_message(5).text)
  end))

  it("reads the history of a chat", function()
    herald_says "one"
    chat:say "two"
    local history = server:history(chat.id)
    assert.equal("one", history[1].text)
    assert.equal("two", history[2].text)
    assert.equal("mira@chat.acme.test", history[2].author)
    assert.is_nil(history[2].from_me)
  end)

  it("is told of misuse", function()
    assert.error_matches(function() mira:chat_with "nobody" end, "there is no account 'nobody'")
    assert.error_matches(function() mira:chat_with "mira" end, "needs somebody else")
    assert.error_matches(function() chat:say(17) end, "text: a string expected, got a number")
    assert.error_matches(function() chat:say "" end, "text must not be empty")
    assert.error_matches(function() chat:say "\xff" end, "text must be UTF%-8")
    assert.error_matches(function() mira:on_message "x" end, "on_message: a function expected, got a string")
    assert.error_matches(function() server:person "a@b" end, "login must be text")
  end)

  it("is left with CLOSED when the Bridge stops", helper.async(function()
    local errs, done = {}, core.waiter()
    local message = chat:say "hello"
    local function note(_, err)
      errs[#errs + 1] = err.name
      if #errs == 2 then done:wake(true) end
    end
    core.spawn(function() note(mira:wait_message(5)) end)
    core.spawn(function() note(message:wait_read_by("herald", 5)) end)
    core.spawn(function()
      mira:close()
      server.publisher:close()
    end)
    assert.is_true(done:wait(5))
    assert.same({ "CLOSED", "CLOSED" }, errs)
  end))
end)
