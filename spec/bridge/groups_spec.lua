-- SPDX-License-Identifier: MIT
-- Groups, channels and the Favorites chat: created, listed, renamed, removed.

local core = require "trueconf.core"
local support = require "spec.support.bridge"

local server, herald, mira

local function setup(options)
  server = support.server(options)
  herald, mira = support.login(server, "herald"), support.login(server, "mira")
end

local function code(client, method, payload)
  return (client:request(method, payload)).errorCode
end

local function add(chat_id, login)
  local payload = { chatId = chat_id, userId = login .. "@chat.acme.test", displayHistory = true }
  assert.is_nil(code(herald, "addChatParticipant", payload))
end

local function group(title)
  local chat_id = herald:request("createGroupChat", { title = title }).chatId
  add(chat_id, "mira")
  herald:take()
  mira:take()
  return chat_id
end

local function titles(client, count, page)
  local found = {}
  for index, chat in ipairs((client:request("getChats", { count = count, page = page }))) do
    found[index] = chat.title or "-"
  end
  return table.concat(found, " ")
end

describe("a group", function()
  before_each(function() setup() end)
  after_each(function() core.virtual_time(false) end)

  it("is created anew each time and told only to its creator", function()
    local other = support.login(server, "herald")
    local response, frames = herald:request("createGroupChat", { title = "Release 17" })
    assert.same({ {
      method = "createGroupChat", type = 1, id = 2,
      payload = { chatId = response.chatId, title = "Release 17", chatType = 2, unreadMessages = 0 },
    } }, frames)
    assert.is_truthy(other.sent[1]:find('"lastMessage":null', 1, true))
    assert.same({}, mira:take())
    assert.not_equal(response.chatId, (herald:request("createGroupChat", { title = "Release 17" })).chatId)
  end)

  it("takes its title under the name that the documentation has too", function()
    local response = herald:request("createGroupChat", { name = "Ops" })
    assert.equal("Ops", (herald:request("getChatByID", response)).title)
  end)

  it("has a title of 1 to 256 characters", function()
    assert.is_string(herald:request("createGroupChat", { title = ("ä"):rep(256) }).chatId)
    for _, title in ipairs { ("a"):rep(257), "", 17 } do
      assert.equal(399, code(herald, "createGroupChat", { title = title }))
    end
    assert.equal(399, code(herald, "createGroupChat", {}))
  end)

  it("gets another title, and all are told", function()
    core.virtual_time(true, 1788000000000, 1)
    local chat_id = group "Ops"
    local response, frames = herald:request("editChatTitle", { chatId = chat_id, title = "Operations" })
    assert.same({ chatId = chat_id, timestamp = core.now() }, response)
    assert.equal("editChatTitle", frames[1].method)
    assert.same({ chatId = chat_id, title = "Operations" }, frames[1].payload)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal("Operations", titles(mira, 1, 1))
    herald:say(chat_id, "x")
    assert.equal("Operations", mira:take()[1].payload.chat.chatTitle)
  end)

  it("is renamed only by owner and admins", function()
    local chat_id = group "Ops"
    local rename = { chatId = chat_id, title = "x" }
    assert.equal(303, code(mira, "editChatTitle", rename))
    herald:request("changeParticipantRole", { chatId = chat_id, userId = "mira@chat.acme.test", role = "admin" })
    assert.is_nil(code(mira, "editChatTitle", rename))
    assert.equal(304, code(mira, "editChatTitle", { chatId = "gone", title = "x" }))
    local personal = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    assert.equal(303, code(herald, "editChatTitle", { chatId = personal, title = "x" }))
  end)

  it("is removed for all by its owner", function()
    local chat_id = group "Ops"
    local sent = herald:say(chat_id, "hello")
    mira:take()
    local response, frames = herald:request("removeChat", { chatId = chat_id })
    assert.same({}, response)
    assert.equal("removeChat", frames[1].method)
    assert.same({ chatId = chat_id }, frames[1].payload)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal(304, code(mira, "getChatByID", { chatId = chat_id }))
    assert.equal(304, code(herald, "removeChat", { chatId = chat_id }))
    assert.equal(306, code(herald, "getMessageById", { messageId = sent.messageId }))
    assert.equal("", titles(mira, 10, 1))
    assert.same({}, server:unread "mira")
  end)

  it("is left by others who remove it", function()
    local chat_id = group "Ops"
    herald:say(chat_id, "hello")
    mira:take()
    local response, frames = mira:request("removeChat", { chatId = chat_id })
    assert.same({}, response)
    assert.equal("removeChat", frames[1].method)
    assert.equal(305, code(mira, "getChatByID", { chatId = chat_id }))
    assert.equal(305, code(mira, "removeChat", { chatId = chat_id }))
    assert.same({}, server:unread "mira")
    local news = herald:take()
    assert.equal("removeChatParticipant", news[#news].method)
    assert.same({ id = "mira@chat.acme.test", type = 1 }, news[#news].payload.removedBy)
    herald:say(chat_id, "x")
    assert.same({}, mira:take())
  end)

  it("reaches nobody who does not take part", function()
    server:add_account "john"
    local john = support.login(server, "john")
    local chat_id = group "Ops"
    herald:say(chat_id, "secret")
    assert.same({}, john:take())
    assert.equal(305, (john:say(chat_id, "x")).errorCode)
    assert.equal(305, code(john, "getChatByID", { chatId = chat_id }))
    assert.equal(305, code(john, "getChatHistory", { chatId = chat_id, count = 1 }))
  end)
end)

describe("a personal chat that is removed", function()
  local chat_id

  before_each(function()
    setup()
    chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    herald:say(chat_id, "old")
    herald:take()
    mira:take()
  end)

  it("is gone for who did it and there for the other", function()
    local response, frames = mira:request("removeChat", { chatId = chat_id })
    assert.same({}, response)
    assert.equal("removeChat", frames[1].method)
    assert.equal(1, #frames)
    assert.same({}, herald:take())
    assert.equal(304, (mira:say(chat_id, "x")).errorCode)
    assert.equal("", titles(mira, 10, 1))
    assert.equal("mira@chat.acme.test", titles(herald, 10, 1))
    assert.same({}, server:unread "mira")
  end)

  it("comes back without the old messages when the other side writes", function()
    mira:request("removeChat", { chatId = chat_id })
    herald:say(chat_id, "new")
    local frames = mira:take()
    assert.equal("createP2PChat", frames[1].method)
    assert.equal("new", frames[2].payload.content.text)
    local page = mira:request("getChatHistory", { chatId = chat_id, count = 10 })
    assert.equal(1, page.count)
    assert.equal(1, #server:unread "mira")
  end)

  it("comes back when it is opened again", function()
    mira:request("removeChat", { chatId = chat_id })
    local response, frames = mira:request("createP2PChat", { userId = "herald@chat.acme.test" })
    assert.same({ chatId = chat_id }, response)
    assert.equal("createP2PChat", frames[1].method)
    assert.is_nil(frames[1].payload.lastMessage)
    assert.is_nil((mira:say(chat_id, "x")).errorCode)
  end)
end)

describe("the Favorites chat", function()
  it("is the account's own and there is one", function()
    setup()
    local response, frames = herald:request "createFavoritesChat"
    assert.same({ {
      method = "createFavoritesChat", type = 1, id = 2,
      payload = { chatId = response.chatId, chatType = 5, unreadMessages = 0 },
    } }, frames)
    assert.is_truthy(mira:request("createFavoritesChat").chatId ~= response.chatId)
    local again, none = herald:request "createFavoritesChat"
    assert.same(response, again)
    assert.same({}, none)
    herald:say(response.chatId, "note")
    assert.equal(303, code(herald, "addChatParticipant",
      { chatId = response.chatId, userId = "mira@chat.acme.test", displayHistory = true }))
    assert.equal(303, code(herald, "removeChatParticipant",
      { chatId = response.chatId, userId = "herald@chat.acme.test", clearHistory = false }))
    local people = herald:request("getChatParticipants", { chatId = response.chatId, pageSize = 5, pageNumber = 1 })
    assert.same({ { userId = "herald@chat.acme.test", role = "favorites_owner" } }, people.participants)
    assert.same({}, (herald:request("removeChat", response)))
    assert.not_equal(response.chatId, (herald:request "createFavoritesChat").chatId)
  end)
end)

describe("the list of chats", function()
  before_each(function() setup() end)

  it("comes in pages, from 1, as a bare array", function()
    for index = 1, 5 do herald:request("createGroupChat", { title = "g" .. index }) end
    assert.equal("g1 g2", titles(herald, 2, 1))
    assert.equal("g3 g4", titles(herald, 2, 2))
    assert.equal("g5", titles(herald, 2, 3))
    assert.equal("", titles(herald, 2, 4))
    herald:take()
    herald:raw '{"type":1,"id":77,"method":"getChats","payload":{"count":2,"page":9007199254740992}}'
    assert.equal('{"type":2,"id":77,"payload":[]}', herald.sent[1])
    assert.equal(399, code(herald, "getChats", { count = 0, page = 1 }))
    assert.equal(399, code(herald, "getChats", { count = 1, page = 0 }))
  end)

  it("tells of the newest message, without its place, and of unread ones", function()
    local chat_id = group "Ops"
    local first = herald:say(chat_id, "one")
    herald:say(chat_id, "two", { replyMessageId = first.messageId })
    local chat = mira:request("getChats", { count = 1, page = 1 })[1]
    local last = chat.lastMessage
    chat.lastMessage = nil
    assert.same({ chatId = chat_id, title = "Ops", chatType = 2, unreadMessages = 2 }, chat)
    assert.equal("two", last.content.text)
    for _, field in ipairs { "box", "isEdited", "replyMessageId", "replyMessage" } do assert.is_nil(last[field]) end
    chat = mira:request("getChatByID", { chatId = chat_id })
    assert.same(last, chat.lastMessage)
    assert.equal(2, chat.unreadMessages)
    assert.equal(0, (herald:request("getChatByID", { chatId = chat_id })).unreadMessages)
    mira:ack(mira:take()[1].id)
    assert.equal(1, (mira:request("getChatByID", { chatId = chat_id })).unreadMessages)
  end)

  it("names a personal chat after the other side, and says null where there is nothing", function()
    local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    assert.equal("mira@chat.acme.test", titles(herald, 1, 1))
    assert.equal("herald@chat.acme.test", titles(mira, 1, 1))
    mira:take()
    mira:raw('{"type":1,"id":7,"method":"getChatByID","payload":{"chatId":"' .. chat_id .. '"}}')
    for _, field in ipairs { "lastMessage", "avatarUrl" } do
      assert.is_truthy(mira.sent[1]:find(('"%s":null'):format(field), 1, true))
    end
    assert.equal(304, code(mira, "getChatByID", { chatId = "gone" }))
  end)
end)
