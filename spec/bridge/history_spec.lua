-- SPDX-License-Identifier: MIT
-- Messages after they were sent: read, edited, forwarded, removed, cleared.

local core = require "trueconf.core"
local support = require "spec.support.bridge"

local MIRA = "mira@chat.acme.test"

local server, herald, mira, john, chat_id

local function setup(options)
  options = options or {}
  options.accounts = { herald = "1", mira = "2", john = "3" }
  server = support.server(options)
  herald, mira, john = support.login(server, "herald"), support.login(server, "mira"), support.login(server, "john")
  chat_id = herald:request("createP2PChat", { userId = MIRA }).chatId
  herald:take()
  mira:take()
end

local function code(client, method, payload)
  return (client:request(method, payload)).errorCode
end

local function edit(client, id, text)
  return client:request("editMessage", { messageId = id, content = { text = text, parseMode = "text" } })
end

local function history(client, more)
  local payload = { chatId = chat_id, count = 100 }
  for name, value in pairs(more or {}) do payload[name] = value end
  return (client:request("getChatHistory", payload))
end

local function texts(client, more)
  local found = {}
  for index, message in ipairs(history(client, more).messages) do
    found[index] = message.content.text or "#" .. message.type
  end
  return table.concat(found, " ")
end

describe("a message", function()
  before_each(function() setup() end)
  after_each(function() core.virtual_time(false) end)

  it("is given whole by its id, to those who see it", function()
    local sent, frames = herald:say(chat_id, "hello")
    assert.same(frames[1].payload, (mira:request("getMessageById", { messageId = sent.messageId })))
    assert.equal(305, code(john, "getMessageById", { messageId = sent.messageId }))
    assert.equal(306, code(herald, "getMessageById", { messageId = "none" }))
  end)

  it("can be edited by its author, and all are told", function()
    core.virtual_time(true, 1788000000000, 1)
    local sent = herald:say(chat_id, "one")
    mira:take()
    local response, frames = edit(herald, sent.messageId, "two")
    assert.same({ messageId = sent.messageId, timestamp = core.now() }, response)
    local content = { text = "two", parseMode = "text" }
    assert.same({ chatId = chat_id, timestamp = core.now(), content = content }, frames[1].payload)
    assert.equal("editMessage", frames[1].method)
    assert.same(frames[1].payload, mira:take()[1].payload)
    local envelope = mira:request("getMessageById", { messageId = sent.messageId })
    assert.same(content, envelope.content)
    assert.is_true(envelope.isEdited)
    assert.equal(sent.timestamp, envelope.timestamp)
  end)

  it("cannot be edited by others, nor when it is not there", function()
    local sent = herald:say(chat_id, "one")
    assert.equal(303, edit(mira, sent.messageId, "x").errorCode)
    assert.equal(306, edit(john, sent.messageId, "x").errorCode)
    assert.equal(306, edit(herald, "none", "x").errorCode)
    assert.equal(399, edit(herald, sent.messageId, "").errorCode)
    assert.equal("one", texts(mira))
  end)

  it("can be edited as long as the Bridge is told", function()
    core.virtual_time(true, 1788000000000, 1)
    setup { edit_window = 48 * 3600 }
    local sent = herald:say(chat_id, "one")
    core.advance(48 * 3600)
    assert.is_nil(edit(herald, sent.messageId, "two").errorCode)
    core.advance(1)
    assert.equal(303, edit(herald, sent.messageId, "three").errorCode)
    assert.equal("two", texts(mira))
  end)

  it("can be edited always, when the Bridge is told nothing", function()
    core.virtual_time(true, 1788000000000, 1)
    local sent = herald:say(chat_id, "one")
    core.advance(1000 * 3600)
    assert.is_nil(edit(herald, sent.messageId, "two").errorCode)
  end)

  it("is what an unread one comes as after an edit", function()
    local sent = herald:say(chat_id, "one")
    edit(herald, sent.messageId, "two")
    local _, frames = support.login(server, "mira", { receiveUnread = true })
    assert.equal("two", frames[1].payload.content.text)
    assert.is_true(frames[1].payload.isEdited)
  end)

  it("is forwarded with the whole original inside", function()
    local sent = herald:say(chat_id, "hello")
    local target = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    john:take()
    local response, frames = herald:request("forwardMessage", { chatId = target, messageId = sent.messageId })
    assert.equal(target, response.chatId)
    assert.not_equal(sent.messageId, response.messageId)
    local envelope = john:take()[1].payload
    assert.same(frames[1].payload, envelope)
    assert.equal(201, envelope.type)
    assert.same({
      messageId = sent.messageId, chatId = chat_id, timestamp = sent.timestamp,
      author = { id = "herald@chat.acme.test", type = 1 }, box = { id = 1, position = "0" },
      type = 200, isEdited = false, content = { text = "hello", parseMode = "text" },
    }, envelope.content)
    local again = john:request("forwardMessage", { chatId = target, messageId = response.messageId })
    assert.same(envelope.content, (john:request("getMessageById", { messageId = again.messageId })).content)
  end)

  it("is forwarded only from and to where the account takes part", function()
    local sent = herald:say(chat_id, "hello")
    local target = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    assert.equal(306, code(john, "forwardMessage", { chatId = target, messageId = sent.messageId }))
    assert.equal(306, code(herald, "forwardMessage", { chatId = target, messageId = "none" }))
    assert.equal(304, code(herald, "forwardMessage", { chatId = "gone", messageId = sent.messageId }))
    assert.equal(305, code(mira, "forwardMessage", { chatId = target, messageId = sent.messageId }))
    assert.equal(307, edit(herald, (herald:request("forwardMessage",
      { chatId = target, messageId = sent.messageId })).messageId, "x").errorCode)
  end)

  it("is removed for everybody by its author", function()
    local sent = herald:say(chat_id, "one")
    herald:say(chat_id, "two")
    mira:take()
    local response, frames = herald:request("removeMessage", { messageId = sent.messageId, forAll = true })
    assert.same({}, response)
    assert.equal("removeMessage", frames[1].method)
    assert.same({
      chatId = chat_id, messageId = sent.messageId, removedBy = { id = "herald@chat.acme.test", type = 1 },
    }, frames[1].payload)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal(306, code(herald, "getMessageById", { messageId = sent.messageId }))
    assert.equal("two", texts(mira))
    assert.equal(1, #server:unread "mira")
  end)

  it("is removed by others only for themselves", function()
    local sent = herald:say(chat_id, "one")
    mira:take()
    assert.equal(303, code(mira, "removeMessage", { messageId = sent.messageId, forAll = true }))
    assert.equal(306, code(john, "removeMessage", { messageId = sent.messageId, forAll = false }))
    local response, frames = mira:request("removeMessage", { messageId = sent.messageId, forAll = false })
    assert.same({}, response)
    assert.equal(sent.messageId, frames[1].payload.messageId)
    assert.same({}, herald:take())
    assert.equal("", texts(mira))
    assert.equal("one", texts(herald))
    assert.equal(306, code(mira, "getMessageById", { messageId = sent.messageId }))
    assert.equal(306, code(mira, "removeMessage", { messageId = sent.messageId, forAll = false }))
    assert.equal(0, #server:unread "mira")
    local reply = { replyMessageId = sent.messageId }
    assert.equal(306, (mira:say(chat_id, "x", reply)).errorCode)
  end)

  it("that was removed is not shown in answers to it, only to whom it is removed", function()
    local sent = herald:say(chat_id, "one")
    mira:request("removeMessage", { messageId = sent.messageId, forAll = false })
    mira:take()
    herald:take()
    local _, frames = herald:say(chat_id, "two", { replyMessageId = sent.messageId })
    assert.equal("one", frames[1].payload.replyMessage.content.text)
    local seen = mira:take()[1].payload
    assert.is_nil(seen.replyMessage)
    assert.equal(sent.messageId, seen.replyMessageId)
  end)
end)

describe("history", function()
  local ids

  before_each(function()
    setup()
    ids = {}
    for index = 1, 5 do ids[index] = herald:say(chat_id, "m" .. index).messageId end
  end)

  it("goes backwards from the latest", function()
    local page = history(mira, { count = 2 })
    assert.equal(chat_id, page.chatId)
    assert.equal(2, page.count)
    assert.equal("m5 m4", texts(mira, { count = 2 }))
    assert.equal("m5 m4 m3 m2 m1", texts(mira))
    assert.equal(5, history(mira, { count = 1000000 }).count)
  end)

  it("goes backwards from a message, that one included", function()
    assert.equal("m3 m2", texts(mira, { count = 2, fromMessageId = ids[3] }))
    assert.equal("m1", texts(mira, { fromMessageId = ids[1] }))
  end)

  it("closes up where messages were removed", function()
    herald:request("removeMessage", { messageId = ids[5], forAll = true })
    herald:request("removeMessage", { messageId = ids[3], forAll = true })
    herald:request("removeMessage", { messageId = ids[1], forAll = true })
    mira:request("removeMessage", { messageId = ids[4], forAll = false })
    assert.equal("m2", texts(mira, { count = 1 }))
    assert.equal("m4 m2", texts(herald))
    herald:say(chat_id, "m6")
    assert.equal("m6 m2", texts(mira))
  end)

  it("has at most 100 messages on a page", function()
    for index = 6, 103 do herald:say(chat_id, "m" .. index) end
    assert.equal(100, history(mira, { count = 101 }).count)
    assert.equal(100, #history(mira, { count = 101 }).messages)
  end)

  it("is an empty array in an empty chat", function()
    local empty = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    john:take()
    john:raw('{"type":1,"id":9,"method":"getChatHistory","payload":{"chatId":"' .. empty .. '","count":5}}')
    assert.is_truthy(john.sent[1]:find('"messages":[]', 1, true))
  end)

  it("is refused where it does not belong to", function()
    assert.equal(304, code(herald, "getChatHistory", { chatId = "gone", count = 1 }))
    assert.equal(305, code(john, "getChatHistory", { chatId = chat_id, count = 1 }))
    assert.equal(306, code(herald, "getChatHistory", { chatId = chat_id, count = 1, fromMessageId = "none" }))
    local other = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    assert.equal(306, code(herald, "getChatHistory", { chatId = other, count = 1, fromMessageId = ids[1] }))
    assert.equal(399, code(herald, "getChatHistory", { chatId = chat_id, count = 0 }))
    assert.equal(399, code(herald, "getChatHistory", { chatId = chat_id, count = 1.5 }))
  end)

  it("can be cleared for oneself", function()
    herald:take()
    local response, frames = mira:request("clearHistory", { chatId = chat_id, forAll = false })
    assert.same({}, response)
    assert.equal("clearHistory", frames[1].method)
    assert.same({ chatId = chat_id, forAll = false }, frames[1].payload)
    assert.same({}, herald:take())
    assert.equal("", texts(mira))
    assert.equal(0, #server:unread "mira")
    assert.equal(306, code(mira, "getMessageById", { messageId = ids[5] }))
    assert.equal("m5 m4 m3 m2 m1", texts(herald))
    herald:say(chat_id, "m6")
    assert.equal("m6", texts(mira))
    assert.equal(304, code(mira, "clearHistory", { chatId = "gone", forAll = false }))
    assert.equal(305, code(john, "clearHistory", { chatId = chat_id, forAll = false }))
  end)
end)
