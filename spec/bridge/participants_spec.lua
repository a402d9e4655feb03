-- SPDX-License-Identifier: MIT
-- Participants of groups and channels, their roles and rights.

local core = require "trueconf.core"
local support = require "spec.support.bridge"

local server, herald, mira, john, chat_id

local function id(login)
  return login .. "@chat.acme.test"
end

local function code(client, method, payload)
  payload.chatId = payload.chatId or chat_id
  return (client:request(method, payload)).errorCode
end

local function add(client, login, history)
  return code(client, "addChatParticipant", { userId = id(login), displayHistory = history })
end

local function remove(client, login, clear)
  return code(client, "removeChatParticipant", { userId = id(login), clearHistory = clear or false })
end

local function set_role(client, login, role)
  return code(client, "changeParticipantRole", { userId = id(login), role = role })
end

local function role_of(login)
  return (herald:request("getChatParticipant", { chatId = chat_id, userId = id(login) })).role
end

local function texts(client)
  local found = {}
  for index, message in ipairs((client:request("getChatHistory", { chatId = chat_id, count = 100 })).messages) do
    found[index] = message.content.text or "#" .. message.type
  end
  return table.concat(found, " ")
end

local function setup(kind, options)
  options = options or {}
  options.accounts = { herald = "1", mira = "2", john = "3" }
  server = support.server(options)
  herald, mira, john = support.login(server, "herald"), support.login(server, "mira"), support.login(server, "john")
  chat_id = herald:request(kind or "createGroupChat", { title = "Ops" }).chatId
  herald:take()
end

local function take_all()
  herald:take()
  mira:take()
  john:take()
end

describe("a participant", function()
  before_each(function() setup() end)
  after_each(function() core.virtual_time(false) end)

  it("is added, and all are told, also the newcomer", function()
    core.virtual_time(true, 1788000000000, 1)
    local response, frames =
      herald:request("addChatParticipant", { chatId = chat_id, userId = "MIRA@chat.acme.test", displayHistory = false })
    assert.same({}, response)
    assert.equal("addChatParticipant", frames[1].method)
    assert.same({
      chatId = chat_id, userId = id "mira", timestamp = core.now(), addedBy = { id = id "herald", type = 1 },
    }, frames[1].payload)
    assert.equal(1, #frames)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal("user", role_of "mira")
    assert.same({}, john:take())
  end)

  it("is added by owner and admins, once, and must exist", function()
    assert.equal(305, add(mira, "john"))
    assert.is_nil(add(herald, "mira"))
    assert.equal(303, add(mira, "john"))
    assert.equal(309, add(herald, "mira"))
    assert.equal(302, add(herald, "nobody"))
    assert.equal(302, code(herald, "addChatParticipant", { userId = "john" }))
    assert.equal(304, code(herald, "addChatParticipant", { chatId = "gone", userId = id "john" }))
    set_role(herald, "mira", "admin")
    assert.is_nil(add(mira, "john"))
  end)

  it("sees older messages only if that was wanted", function()
    herald:say(chat_id, "old")
    add(herald, "mira", true)
    add(herald, "john")
    herald:say(chat_id, "new")
    assert.equal("new #1 #1 old", texts(mira))
    assert.equal("new #1", texts(john))
    local page = mira:request("getChatHistory", { chatId = chat_id, count = 100 })
    local old = page.messages[page.count].messageId
    assert.equal(306, code(john, "getMessageById", { messageId = old }))
    assert.equal(306, code(john, "getChatHistory", { count = 1, fromMessageId = old }))
  end)

  it("is removed, and all are told, also who is removed", function()
    add(herald, "mira")
    herald:say(chat_id, "unread")
    take_all()
    local response, frames =
      herald:request("removeChatParticipant", { chatId = chat_id, userId = id "mira", clearHistory = false })
    assert.same({}, response)
    assert.equal("removeChatParticipant", frames[1].method)
    assert.equal(id "mira", frames[1].payload.userId)
    assert.same({ id = id "herald", type = 1 }, frames[1].payload.removedBy)
    assert.same(frames[1].payload, mira:take()[1].payload)
    herald:say(chat_id, "x")
    assert.same({}, mira:take())
    assert.equal(305, (mira:say(chat_id, "x")).errorCode)
    assert.equal(305, remove(herald, "mira"))
    assert.same({}, (mira:request("getChats", { count = 9, page = 1 })))
    assert.same({}, server:unread "mira")
  end)

  it("is removed by owner and admins or leaves, but the owner stays", function()
    add(herald, "mira")
    add(herald, "john")
    assert.equal(303, remove(mira, "john"))
    assert.equal(303, remove(mira, "herald"))
    assert.equal(305, remove(herald, "nobody"))
    assert.equal(305, code(herald, "removeChatParticipant", { userId = "john", clearHistory = false }))
    assert.is_nil(remove(mira, "mira"))
    set_role(herald, "john", "admin")
    assert.equal(303, remove(john, "herald"))
    assert.equal(303, remove(herald, "herald"))
  end)

  it("who comes back sees what was before, unless it was wiped", function()
    herald:say(chat_id, "old")
    add(herald, "mira", true)
    add(herald, "john", true)
    remove(herald, "mira", true)
    remove(herald, "john", false)
    add(herald, "mira", true)
    add(herald, "john", true)
    assert.is_nil(texts(mira):find "old")
    assert.is_truthy(texts(john):find "old")
  end)

  it("gets a role, and all are told", function()
    core.virtual_time(true, 1788000000000, 1)
    add(herald, "mira")
    take_all()
    local response, frames =
      herald:request("changeParticipantRole", { chatId = chat_id, userId = id "mira", role = "admin" })
    assert.same({}, response)
    assert.equal("changeParticipantRole", frames[1].method)
    assert.same({ chatId = chat_id, userId = id "mira", role = "admin", timestamp = core.now() }, frames[1].payload)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal("admin", role_of "mira")
  end)

  it("gets only roles there are, from who may give them", function()
    add(herald, "mira")
    add(herald, "john")
    assert.equal(303, set_role(mira, "john", "admin"))
    for _, role in ipairs { "king", "writer", "conf_owner", "favorites_owner" } do
      assert.equal(312, set_role(herald, "mira", role), role)
    end
    assert.equal(303, set_role(herald, "mira", "owner"))
    assert.equal(303, set_role(herald, "herald", "user"))
    assert.equal(305, set_role(herald, "nobody", "user"))
    assert.equal(304, code(herald, "changeParticipantRole", { chatId = "gone", userId = id "mira", role = "user" }))
    assert.equal("user", role_of "mira")
  end)

  it("is listed by pages, asked for, and found or not", function()
    add(herald, "mira")
    add(herald, "john")
    local function page(size, number)
      return (mira:request("getChatParticipants", { chatId = chat_id, pageSize = size, pageNumber = number }))
        .participants
    end
    assert.same({ { userId = id "herald", role = "owner" }, { userId = id "mira", role = "user" } }, page(2, 1))
    assert.same({ { userId = id "john", role = "user" } }, page(2, 2))
    assert.same({}, page(2, 3))
    assert.equal(3, #page(1000000, 1))
    local payload = { chatId = chat_id, userId = id "herald" }
    assert.same({ userId = id "herald", role = "owner", type = 1 }, (mira:request("getChatParticipant", payload)))
    assert.same({ result = true }, (mira:request("hasChatParticipant", payload)))
    payload.userId = id "nobody"
    assert.same({ errorCode = 305 }, (mira:request("getChatParticipant", payload)))
    assert.same({ result = false }, (mira:request("hasChatParticipant", payload)))
  end)

  it("is shown only to participants", function()
    for method, payload in pairs {
      getChatParticipants = { pageSize = 1, pageNumber = 1 },
      getChatParticipant = { userId = id "herald" },
      hasChatParticipant = { userId = id "herald" },
    } do
      payload.chatId = nil
      assert.equal(305, code(mira, method, payload), method)
      payload.chatId = "gone"
      assert.equal(304, code(mira, method, payload), method)
    end
  end)

  it("who moderates removes and clears for all", function()
    add(herald, "mira")
    local mine = herald:say(chat_id, "one").messageId
    local hers = mira:say(chat_id, "two").messageId
    assert.equal(303, code(mira, "removeMessage", { messageId = mine, forAll = true }))
    assert.is_nil(code(herald, "removeMessage", { messageId = hers, forAll = true }))
    assert.equal("one #1", texts(mira))
    assert.equal(303, code(mira, "clearHistory", { forAll = true }))
    take_all()
    local response, frames = herald:request("clearHistory", { chatId = chat_id, forAll = true })
    assert.same({}, response)
    assert.same({ chatId = chat_id, forAll = true }, frames[1].payload)
    assert.same(frames[1].payload, mira:take()[1].payload)
    assert.equal("#23", texts(mira))
    assert.same({}, server:unread "mira")
    assert.equal(306, code(herald, "getMessageById", { messageId = mine }))
  end)
end)

describe("a channel", function()
  before_each(function()
    setup "createChannel"
    add(herald, "mira")
  end)

  it("is told to its creator", function()
    local response, frames = herald:request("createChannel", { title = "News" })
    assert.equal("createChannel", frames[1].method)
    assert.equal(6, frames[1].payload.chatType)
    assert.equal(response.chatId, frames[1].payload.chatId)
  end)

  it("is only read by users", function()
    herald:say(chat_id, "news")
    local frames = mira:take()
    assert.equal("news", frames[#frames].payload.content.text)
    assert.equal(303, (mira:say(chat_id, "x")).errorCode)
    local message = frames[#frames].payload.messageId
    assert.equal(303, code(mira, "forwardMessage", { messageId = message }))
  end)

  it("is written by writers and admins, until they are users again", function()
    assert.is_nil(set_role(herald, "mira", "writer"))
    local sent = mira:say(chat_id, "mine")
    assert.is_nil(sent.errorCode)
    assert.equal(303, add(mira, "john"))
    set_role(herald, "mira", "admin")
    assert.is_nil(add(mira, "john"))
    set_role(herald, "mira", "user")
    local edit = { messageId = sent.messageId, content = { text = "x", parseMode = "text" } }
    assert.equal(303, code(mira, "editMessage", edit))
  end)
end)

describe("messages of the system", function()
  local wanting

  before_each(function()
    setup()
    add(herald, "mira", true)
    wanting = support.login(server, "mira", { receiveSystemMessageEnvelopes = true })
    take_all()
  end)

  local function system_frames(client)
    local found = {}
    for _, frame in ipairs(client:take()) do
      if frame.method == "sendMessage" then found[#found + 1] = frame.payload end
    end
    return found
  end

  it("tell what happened, to connections that asked for them", function()
    add(herald, "john")
    set_role(herald, "john", "admin")
    herald:request("editChatTitle", { chatId = chat_id, title = "Operations" })
    remove(herald, "john")
    herald:request("clearHistory", { chatId = chat_id, forAll = true })
    local told = {}
    for index, envelope in ipairs(system_frames(wanting)) do
      told[index] = { envelope.type, envelope.content }
      assert.same({ id = "chat.acme.test", type = 0 }, envelope.author)
      assert.is_nil(envelope.isEdited)
      assert.equal(chat_id, envelope.chat.chatId)
      assert.equal("integer", math.type(envelope.box.id))
    end
    assert.same({
      { 1, { userId = id "john", role = "user" } },
      { 110, { userId = id "john", role = "admin" } },
      { 21, { title = "Operations" } },
      { 2, { userId = id "john" } },
      { 23, { forAll = true } },
    }, told)
    assert.same({}, system_frames(mira))
    assert.same({}, system_frames(herald))
  end)

  it("are in the history and the newest message of everybody, and unread by nobody", function()
    herald:request("editChatTitle", { chatId = chat_id, title = "Operations" })
    assert.equal("#21 #1", texts(mira))
    local chat = mira:request("getChatByID", { chatId = chat_id })
    assert.equal(21, chat.lastMessage.type)
    assert.same({ title = "Operations" }, chat.lastMessage.content)
    assert.equal(0, chat.unreadMessages)
    assert.same({}, server:unread "mira")
  end)

  it("are not forwarded or edited", function()
    herald:request("editChatTitle", { chatId = chat_id, title = "Operations" })
    local message = (mira:request("getChatHistory", { chatId = chat_id, count = 1 })).messages[1].messageId
    assert.equal(307, code(herald, "forwardMessage", { messageId = message }))
    local edit = { messageId = message, content = { text = "x", parseMode = "text" } }
    assert.equal(303, code(herald, "editMessage", edit))
  end)
end)
