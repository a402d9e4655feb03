-- SPDX-License-Identifier: MIT
-- Many requests at random, right and wrong, repeatable by their seed: nothing fails inside, what
-- comes back is as the protocol has it (support/bridge.lua looks at each frame), nobody is told of
-- chats of others, what is counted agrees with what is listed, and a data folder holds all of it.

local core = require "trueconf.core"
local sorted_keys = require "trueconf.base.sorted_keys"
local snapshot = require "spec.support.snapshot"
local support = require "spec.support.bridge"
local system = require "spec.support.system"

local LOGINS = { "herald", "mira", "john" }
local MOST_CHATS = 5
local ROLES = { "owner", "admin", "user", "writer", "conf_owner", "king" }

local server, clients, chats, messages

local function one_of(list)
  return #list > 0 and list[math.random(#list)] or "none"
end

local function some_chat() return math.random(20) == 1 and "gone" or one_of(chats) end
local function some_message() return math.random(20) == 1 and "none" or one_of(messages) end
local function some_user() return one_of(LOGINS) .. "@chat.acme.test" end
local function some_truth() return math.random(2) == 1 end

local function some_content()
  local buttons = math.random(4) == 1 and { { { type = "command", label = "Go", command = "go", id = "g" } } } or nil
  return { text = math.random(30) == 1 and "" or "x" .. math.random(99), parseMode = "text", buttons = buttons }
end

local function some_survey()
  return { url = "u", appVersion = 1, path = "p", title = "t", description = "{{Survey}}", buttonText = "b" }
end

-- A payload for each method; weights by how often a method is named.
local MAKE
MAKE = {
  { "sendMessage", function()
    local reply = math.random(3) == 1 and some_message() or nil
    return { chatId = some_chat(), replyMessageId = reply, content = some_content() }
  end },
  { "sendMessage", function() return { chatId = some_chat(), content = some_content() } end },
  { "sendMessage", function() return { chatId = some_chat(), content = some_content() } end },
  { "editMessage", function() return { messageId = some_message(), content = some_content() } end },
  { "forwardMessage", function() return { chatId = some_chat(), messageId = some_message() } end },
  { "removeMessage", function() return { messageId = some_message(), forAll = some_truth() } end },
  { "getMessageById", function() return { messageId = some_message() } end },
  { "getChatHistory", function()
    local from = some_truth() and some_message() or nil
    return { chatId = some_chat(), count = math.random(0, 9), fromMessageId = from }
  end },
  { "clearHistory", function() return { chatId = some_chat(), forAll = math.random(4) == 1 } end },
  { "createP2PChat", function() return { userId = some_user() } end },
  { "createGroupChat", function() return { title = "g" .. math.random(9) } end },
  { "createChannel", function() return { title = "c" .. math.random(9) } end },
  { "createFavoritesChat", function() return {} end },
  { "getChats", function() return { count = math.random(0, 5), page = math.random(0, 3) } end },
  { "getChatByID", function() return { chatId = some_chat() } end },
  { "removeChat", function() return { chatId = some_chat() } end },
  { "editChatTitle", function() return { chatId = some_chat(), title = "t" .. math.random(9) } end },
  { "addChatParticipant", function() return MAKE.add() end },
  { "addChatParticipant", function() return MAKE.add() end },
  { "removeChatParticipant", function()
    return { chatId = some_chat(), userId = some_user(), clearHistory = some_truth() }
  end },
  { "changeParticipantRole", function()
    return { chatId = some_chat(), userId = some_user(), role = one_of(ROLES) }
  end },
  { "getChatParticipants", function() return { chatId = some_chat(), pageSize = 2, pageNumber = math.random(3) } end },
  { "getChatParticipant", function() return { chatId = some_chat(), userId = some_user() } end },
  { "hasChatParticipant", function() return { chatId = some_chat(), userId = some_user() } end },
  { "sendSurvey", function() return { chatId = some_chat(), content = some_survey() } end },
  { "editSurvey", function() return { messageId = some_message(), content = some_survey() } end },
  { "sendChatActivity", function() return { chatId = some_chat(), activityType = "typing" } end },
}

MAKE.add = function() return { chatId = some_chat(), userId = some_user(), displayHistory = some_truth() } end

-- Now and then something is missing or of another type.
local function spoil(payload)
  if math.random(25) > 1 then return payload end
  local names = sorted_keys(payload)
  if names[1] then payload[one_of(names)] = some_truth() and 17 or nil end
  return payload
end

local function forget(chat_id)
  for place, known in ipairs(chats) do
    if known == chat_id then return table.remove(chats, place) end
  end
end

local function members_of(chat_id)
  local chat, set = server.store:chat(chat_id), {}
  for _, key in ipairs(chat and chat.members or {}) do set[key] = true end
  return set
end

local function chat_of(payload)
  return payload.chatId or payload.commandSource and payload.commandSource.message.chatId
end

local function some_request()
  local method, make = table.unpack(MAKE[math.random(#MAKE)])
  -- Few chats with much in them find more than many empty ones.
  if method:find "^create" and #chats >= MOST_CHATS then method, make = "sendMessage", MAKE[1][2] end
  if method == "removeChat" and math.random(5) > 1 then method, make = "addChatParticipant", MAKE.add end
  return method, spoil(make())
end

-- Checks after a request that was carried out.
local AFTER = {
  clearHistory = function(login, payload)
    local page = clients[login]:request("getChatHistory", { chatId = payload.chatId, count = 9 })
    assert.equal(payload.forAll and 1 or 0, page.count)
  end,
  addChatParticipant = function(_, payload)
    local login = payload.userId:match "^%w+"
    local page = clients[login]:request("getChatHistory", { chatId = payload.chatId, count = 9 })
    if not payload.displayHistory then assert.equal(1, page.count) end
  end,
  removeMessage = function(login, payload)
    assert.equal(306, (clients[login]:request("getMessageById", { messageId = payload.messageId })).errorCode)
    local message = server.store:message(payload.messageId)
    assert.equal(payload.forAll, message == nil)
  end,
  removeChatParticipant = function(_, payload)
    local login = payload.userId:match "^%w+"
    assert.equal(305, (clients[login]:request("getChatByID", { chatId = payload.chatId })).errorCode)
  end,
}

-- A sender for the request: mostly a participant of the chat.
local function some_sender(payload)
  local message = server.store:message(payload.messageId or "none")
  local chat = server.store:chat(message and message.chat_id or payload.chatId)
  if not chat or math.random(4) == 1 then return one_of(LOGINS) end
  return one_of(chat.members)
end

-- Send a request; everybody who hears of it takes part, or did just before.
local function step()
  local method, payload = some_request()
  local login, before = some_sender(payload), {}
  for _, chat_id in ipairs(chats) do before[chat_id] = members_of(chat_id) end
  local response, echo = clients[login]:request(method, payload)
  assert.not_equal(300, response.errorCode, method)
  if response.messageId and response.chatId then messages[#messages + 1] = response.messageId end
  if method:find "^create" and response.chatId and not before[response.chatId] then
    chats[#chats + 1] = response.chatId
  end
  if method == "removeChat" and not server.store:chat(payload.chatId) then forget(payload.chatId) end
  for _, hearer in ipairs(LOGINS) do
    for _, frame in ipairs(hearer == login and echo or clients[hearer]:take()) do
      local chat_id = chat_of(frame.payload)
      local took_part = before[chat_id] and before[chat_id][hearer]
      assert.is_true(took_part or members_of(chat_id)[hearer] or false, hearer .. " " .. frame.method)
      if frame.method == "sendMessage" and math.random(3) == 1 then clients[hearer]:ack(frame.id) end
    end
  end
  if not response.errorCode and AFTER[method] then AFTER[method](login, payload) end
  return not response.errorCode
end

-- All that an account sees of a chat, by pages of three whose anchors overlap.
local function count_by_pages(client, chat_id)
  local seen, count, from = {}, 0, nil
  repeat
    local page = client:request("getChatHistory", { chatId = chat_id, count = 3, fromMessageId = from }).messages
    local new = 0
    for _, message in ipairs(page) do
      if not seen[message.messageId] then new = new + 1 end
      seen[message.messageId], from = true, message.messageId
    end
    count = count + new
  until new == 0
  return count, seen
end

local function check_account(login)
  local client, unread = clients[login], 0
  for _, chat in ipairs((client:request("getChats", { count = 100, page = 1 }))) do
    local count, seen = count_by_pages(client, chat.chatId)
    assert.equal(server.store:chat(chat.chatId).count, #server:history(chat.chatId))
    for _, message in ipairs(server:history(chat.chatId)) do
      local given = client:request("getMessageById", { messageId = message.id })
      assert.equal(seen[message.id] and message.id or nil, given.messageId)
    end
    assert.equal(math.min(count, 100),
      (client:request("getChatHistory", { chatId = chat.chatId, count = 100 })).count)
    if chat.lastMessage then assert.is_true(seen[chat.lastMessage.messageId]) else assert.equal(0, count) end
    unread = unread + chat.unreadMessages
  end
  assert.equal(#server:unread(login), unread)
end

-- Check that disk and memory hold the same data, and go on with the data read from disk.
local function check_disk()
  local before = snapshot(server.store)
  server.store:commit()
  server.store:load()
  assert.same(before, snapshot(server.store))
end

local function run(seed, folder)
  math.randomseed(seed)
  core.virtual_time(true, 1788000000000, seed)
  server = support.server {
    accounts = { herald = "1", mira = "2", john = "3" }, history_limit = 40, unread_limit = 60, data = folder,
  }
  clients, chats, messages = {}, {}, {}
  for _, login in ipairs(LOGINS) do
    clients[login] = support.login(server, login, { receiveSystemMessageEnvelopes = login ~= "john" })
  end
  local carried_out = 0
  for round = 1, 500 do
    if step() then carried_out = carried_out + 1 end
    if round % 100 == 0 then
      for _, login in ipairs(LOGINS) do check_account(login) end
      if folder then check_disk() end
    end
  end
  assert.is_true(carried_out > 200 and carried_out < 450, carried_out)
  server.store:close()
end

describe("requests at random", function()
  after_each(function() core.virtual_time(false) end)

  for seed = 1, 6 do
    it("do no harm, seed " .. seed, function() run(seed) end)
    it("do no harm and are kept on disk, seed " .. seed, function()
      local directory <close> = system.directory()
      run(seed, directory:file "data")
    end)
  end
end)
