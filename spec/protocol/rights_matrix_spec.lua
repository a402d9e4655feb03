-- SPDX-License-Identifier: MIT
-- Rights by role (protocol), over real sockets: every action in every kind of chat under every role that somebody can
-- have there. An action that the role does not allow is answered 303 and changes nothing.

local helper = require "spec.support.helper"
local protocol = require "trueconf.protocol"
local scene = require "spec.support.scene"

local LIMIT = 100                       -- seconds for all; usually it takes one
local RIGHTS = protocol.codes.NOT_ENOUGH_RIGHTS
local MIRA, NOAH, JOHN = "mira@chat.acme.test", "noah@chat.acme.test", "john@chat.acme.test"

-- Kinds of chats and the roles there, in the order of the columns below. Roles of conferences cannot be had: no
-- method makes one.
local COLUMNS = {
  { "group", "owner" }, { "group", "admin" }, { "group", "user" },
  { "channel", "owner" }, { "channel", "admin" }, { "channel", "writer" }, { "channel", "user" },
  { "personal", "user" }, { "favorites", "favorites_owner" },
}

-- y: allowed, n: 303, -: there is nothing of the kind.
local TABLE = [[
write                   | y y y | y y y n | y | y
forward                 | y y y | y y y n | y | y
send a survey           | y y y | y y y n | y | y
read                    | y y y | y y y y | y | y
be active               | y y y | y y y y | y | y
add a participant       | y y n | y y n n | n | n
remove a participant    | y y n | y y n n | n | n
leave                   | n y y | n y y y | n | n
edit own                | y y y | y y y n | y | y
edit others'            | n n n | n n n n | n | -
remove own for all      | y y y | y y y n | y | y
remove others' for self | y y y | y y y y | y | -
remove others' for all  | y y n | y y n n | n | -
clear for self          | y y y | y y y y | y | y
clear for all           | y y n | y y n n | y | n
rename                  | y y n | y y n n | n | n
change the picture      | y y n | y y n n | n | n
change a role           | y y n | y y n n | n | n
]]

local function text(words)
  return { text = words, parseMode = "text" }
end

-- The requests; `it` is a chat and what there is in it.
local ACTIONS = {
  ["write"] = function(it) return "sendMessage", { chatId = it.chat, content = text "hello" } end,
  ["forward"] = function(it) return "forwardMessage", { chatId = it.chat, messageId = it.own } end,
  ["send a survey"] = function(it) return "sendSurvey", { chatId = it.chat, content = scene.survey "Lunch" } end,
  ["read"] = function(it) return "getChatHistory", { chatId = it.chat, count = 9 } end,
  ["be active"] = function(it) return "sendChatActivity", { chatId = it.chat, activityType = "typing" } end,
  ["add a participant"] = function(it)
    return "addChatParticipant", { chatId = it.chat, userId = JOHN, displayHistory = false }
  end,
  ["remove a participant"] = function(it)
    return "removeChatParticipant", { chatId = it.chat, userId = NOAH, clearHistory = false }
  end,
  ["leave"] = function(it)
    return "removeChatParticipant", { chatId = it.chat, userId = MIRA, clearHistory = false }
  end,
  ["edit own"] = function(it) return "editMessage", { messageId = it.own, content = text "changed" } end,
  ["edit others'"] = function(it) return "editMessage", { messageId = it.other, content = text "changed" } end,
  ["remove own for all"] = function(it) return "removeMessage", { messageId = it.own, forAll = true } end,
  ["remove others' for self"] = function(it) return "removeMessage", { messageId = it.other, forAll = false } end,
  ["remove others' for all"] = function(it) return "removeMessage", { messageId = it.other, forAll = true } end,
  ["clear for self"] = function(it) return "clearHistory", { chatId = it.chat, forAll = false } end,
  ["clear for all"] = function(it) return "clearHistory", { chatId = it.chat, forAll = true } end,
  ["rename"] = function(it) return "editChatTitle", { chatId = it.chat, title = "Renamed" } end,
  ["change the picture"] = function(it)
    return "editChatAvatar", { chatId = it.chat, temporalFileId = it.scene:upload "mira" }
  end,
  ["change a role"] = function(it)
    return "changeParticipantRole", { chatId = it.chat, userId = NOAH, role = "admin" }
  end,
}

local function say(it, login)
  return it.scene:call(login, "sendMessage", { chatId = it.chat, content = text("of " .. login) }).messageId
end

-- A group or channel in which mira has a role; her own message is from when she could write.
local function fill(it, create, role)
  local owner, call = role == "owner" and "mira" or "herald", function(...) return it.scene:call(...) end
  it.chat = call(owner, create, { title = "Rights" }).chatId
  local guests = owner == "mira" and { "herald", "noah" } or { "mira", "noah" }
  for _, login in ipairs(guests) do
    local person = { chatId = it.chat, userId = login .. "@chat.acme.test", displayHistory = true, role = "admin" }
    call(owner, "addChatParticipant", person)
    if login ~= "noah" then call(owner, "changeParticipantRole", person) end
  end
  it.own, it.other = say(it, "mira"), say(it, "herald")
  if role ~= "owner" then call(owner, "changeParticipantRole", { chatId = it.chat, userId = MIRA, role = role }) end
end

local MAKE = {
  group = function(it, role) fill(it, "createGroupChat", role) end,
  channel = function(it, role) fill(it, "createChannel", role) end,
  personal = function(it)
    it.chat = it.scene:call("mira", "createP2PChat", { userId = "herald@chat.acme.test" }).chatId
    it.own, it.other = say(it, "mira"), say(it, "herald")
  end,
  favorites = function(it)
    it.chat = it.scene:call("mira", "createFavoritesChat", {}).chatId
    it.own = say(it, "mira")
  end,
}

-- All that the Bridge knows of a chat, to see that a refused request changed nothing.
local function state_of(it)
  local chat, messages = it.scene.server.store:chat(it.chat), {}
  for place, message in ipairs(it.scene.server:history(it.chat)) do
    messages[place] = message.id .. (message.text or "") .. tostring(message.edited)
  end
  local roles = {}
  for key, role in pairs(chat.roles) do roles[#roles + 1] = key .. role end
  table.sort(roles)
  return table.concat(messages, " ") .. " / " .. table.concat(roles, " ") .. " / " .. tostring(chat.title)
    .. tostring(chat.avatar)
end

-- One action in a chat of its own; nil or what is wrong.
local function attempt(its_scene, action, kind, role, expected)
  local it = { scene = its_scene }
  MAKE[kind](it, role)
  local method, payload = ACTIONS[action](it)
  local before = state_of(it)
  local answer, err = its_scene.clients.mira:call(method, payload)
  if expected == "y" then return not answer and ("%s %s: %s"):format(kind, role, err) or nil end
  if answer or err.code ~= RIGHTS then return ("%s %s: 303 was due, got %s"):format(kind, role, err or "a yes") end
  if state_of(it) ~= before then return ("%s %s: it was done nevertheless"):format(kind, role) end
end

describe("whoever has a role in a chat", function()
  local wrong = {}

  setup(helper.async(function()
    local its_scene = scene.start(protocol.versions.NEWEST)
    for action, cells in TABLE:gmatch "([^|\n]-)%s*|([^\n]*)" do
      wrong[action] = {}
      local column = 0
      for cell in cells:gmatch "[yn-]" do
        column = column + 1
        local kind, role = table.unpack(COLUMNS[column])
        local found = wrong[action]
        if cell ~= "-" then found[#found + 1] = attempt(its_scene, action, kind, role, cell) end
      end
      assert(column == #COLUMNS, action)
    end
    its_scene:stop()
  end, LIMIT))

  for action in pairs(ACTIONS) do
    it("may " .. action .. " or may not", function() assert.same({}, wrong[action]) end)
  end
end)
