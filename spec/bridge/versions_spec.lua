-- SPDX-License-Identifier: MIT
-- Older servers: methods, fields and notifications they do not have.

local protocol = require "trueconf.protocol"
local support = require "spec.support.bridge"

local VERSIONS = { "5.5.0", "5.5.2", "5.5.3", "5.5.4", "5.5.6" }

local function setup(version, more)
  local options = more or {}
  options.version = version
  local server = support.server(options)
  return server, support.login(server, "herald"), support.login(server, "mira")
end

describe("a Bridge that plays an older server", function()
  it("knows the methods that version knows, and answers 104 to others", function()
    for _, version in ipairs(VERSIONS) do
      local server, herald = setup(version, { legacy_silence = false })
      for name, method in pairs(protocol.methods) do
        local known = protocol.since(version, method.since)
        if not known then assert.equal(104, (herald:request(name, {})).errorCode, version .. " " .. name) end
        assert.equal(known, server.profile:method(name) ~= nil)
      end
    end
  end)

  -- Requests as the SDKs for servers below 5.5.3 send them; they wait for an answer, and a server of the time gives it.
  it("answers what clients of its time send", function()
    for _, version in ipairs { "5.5.0", "5.5.2" } do
      local _, herald = setup(version)
      local group = herald:request("createGroupChat", { title = "Ops" }).chatId
      assert.same({}, (herald:request("addChatParticipant", { chatId = group, userId = "mira@chat.acme.test" })))
      assert.same({}, (herald:request("removeChatParticipant", { chatId = group, userId = "mira@chat.acme.test" })))
    end
    local _, herald = setup "5.5.3"     -- from then on they send it, and nobody knows what is done without
    local group = herald:request("createGroupChat", { title = "Ops" }).chatId
    assert.has_error(function()
      herald:request("removeChatParticipant", { chatId = group, userId = "mira@chat.acme.test" })
    end, "the response must come first")
  end)

  it("plays 5.5.6 if it is not told, and no version it does not know", function()
    assert.equal("5.5.6", support.server().options.version)
    assert.error_matches(function() support.server { version = "5.4.0" } end, "version")
  end)

  it("leaves out what an envelope did not have", function()
    for _, version in ipairs(VERSIONS) do
      local new = version == "5.5.6"
      local _, herald, mira = setup(version)
      local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
      local first = herald:say(chat_id, "one")
      mira:take()
      herald:say(chat_id, "two", { replyMessageId = first.messageId })
      local envelope = mira:take()[1].payload
      assert.equal(chat_id, envelope.chatId)
      assert.is_false(envelope.isEdited)
      assert.equal(first.messageId, envelope.replyMessageId)
      assert.equal(new, envelope.chat ~= nil)
      assert.equal(new, envelope.replyMessage ~= nil)
      local last = (mira:request("getChatByID", { chatId = chat_id })).lastMessage
      assert.equal(chat_id, last.chatId)
      assert.equal(new, last.chat ~= nil)
    end
  end)

  it("has no buttons before 5.5.6", function()
    for _, version in ipairs(VERSIONS) do
      local _, herald = setup(version)
      local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
      local buttons = { { { type = "copy", label = "x", data = "x" } } }
      local sent = herald:say(chat_id, "x", { content = { text = "x", parseMode = "text", buttons = buttons } })
      local message = herald:request("getMessageById", { messageId = sent.messageId })
      assert.equal(version == "5.5.6", message.content.buttons ~= nil)
    end
  end)

  it("passes over fields it does not know", function()
    local function received(version)
      local server, herald = setup(version)
      local chat_id = herald:request("createGroupChat", { title = "x" }).chatId
      herald:say(chat_id, "old")
      local add = { chatId = chat_id, userId = "mira@chat.acme.test", displayHistory = true }
      herald:request("addChatParticipant", add)
      local mira = support.login(server, "mira", { receiveSystemMessageEnvelopes = true })
      local count = mira:request("getChatHistory", { chatId = chat_id, count = 9 }).count
      herald:request("removeChatParticipant", { chatId = chat_id, userId = add.userId, clearHistory = false })
      herald:request("addChatParticipant", add)
      local system = 0
      for _, frame in ipairs(mira:take()) do
        if frame.method == "sendMessage" then system = system + 1 end
      end
      return count, system
    end
    assert.same({ 1, 0 }, { received "5.5.0" })
    assert.same({ 2, 0 }, { received "5.5.2" })
    assert.same({ 2, 1 }, { received "5.5.4" })
  end)

  it("sends no notifications that came later", function()
    for _, version in ipairs(VERSIONS) do
      local server = support.server { version = version }
      local herald, _, _, limits = support.login(server, "herald")
      assert.equal(protocol.since(version, "5.5.3"), limits ~= nil, version)
      server:set_upload_limits {}
      assert.equal(protocol.since(version, "5.5.3"), herald:take()[1] ~= nil, version)
    end
  end)

  it("is silent where 399 is due before 5.5.6, unless told otherwise", function()
    local request = '{"type":1,"id":9,"method":"getUserDisplayName","payload":{}}'
    for _, version in ipairs(VERSIONS) do
      local _, herald = setup(version)
      herald:raw(request)
      assert.equal(version == "5.5.6" and 1 or 0, #herald:take(), version)
      _, herald = setup(version, { legacy_silence = false })
      herald:raw(request)
      assert.equal(399, herald:take()[1].payload.errorCode)
    end
  end)
end)
