-- SPDX-License-Identifier: MIT
-- Makes the notifications for the participants of a chat (protocol: server notifications). A payload is encoded once
-- for all recipients of the same payload.

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local envelopes = require "trueconf.bridge.chat.envelopes"

local ChatType, ParseMode = protocol.enums.ChatType, protocol.enums.ParseMode
local USER = protocol.enums.AuthorType.USER

-- A notification -------------------------------------------------------------------------

---@class trueconf.bridge.Notification
---@field method string
---@field head string the frame up to its id
---@field recipients string[] keys of accounts
---@field message trueconf.bridge.Message? message that an ack marks as read
---@field system boolean only for connections that asked for system messages
---@field private make fun(key: string): table makes the payload for a recipient
---@field private slot_of fun(key: string): any recipients with the same slot get the same payload
---@field private encoded table<any, string>
local Notification = {}
Notification.__index = Notification

local function same_for_all() return true end
local function own_for_each(key) return key end

local function notification(method, recipients, make, slot_of)
  return setmetatable({
    method = method,
    head = '{"method":"' .. method .. '","type":1,"id":',
    recipients = recipients,
    system = false,
    make = make,
    slot_of = slot_of or same_for_all,
    encoded = {},
  }, Notification)
end

---@param key string
---@return string payload JSON text
function Notification:payload(key)
  local slot = self.slot_of(key)
  local text = self.encoded[slot]
  if not text then
    text = json.encode(self.make(key))
    self.encoded[slot] = text
  end
  return text
end

local function plain(method, recipients, payload)
  return notification(method, recipients, function() return payload end)
end

local function by(account)
  return { id = account.id, type = USER }
end

-- Each of them ---------------------------------------------------------------------------

---@class trueconf.bridge.Notifications
---@field private store trueconf.bridge.Store
---@field private envelopes trueconf.bridge.Envelopes
local Notifications = {}
Notifications.__index = Notifications

---@param store trueconf.bridge.Store
---@param shapes trueconf.bridge.Envelopes
---@return trueconf.bridge.Notifications
local function new(store, shapes)
  return setmetatable({ store = store, envelopes = shapes }, Notifications)
end

-- The members of a chat who see a message.
function Notifications:audience(chat, message)
  local list = {}
  for _, key in ipairs(chat.members) do
    if self.store:is_visible(chat, message, key) then list[#list + 1] = key end
  end
  return list
end

---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@return trueconf.bridge.Notification
function Notifications:message(chat, message)
  local function make(key) return self.envelopes:envelope(chat, message, key) end
  local function slot_of(key) return self.envelopes:answered(chat, message, key) ~= nil end
  local made = notification("sendMessage", chat.members, make, message.reply_to and slot_of)
  made.system = envelopes.is_system(message)
  made.message = not made.system and message or nil
  return made
end

-- The notification of an edit holds only text; of a survey the text that stands for it in other places.
local function edited_text(content)
  if content.text then return { text = content.text, parseMode = content.parseMode } end
  if content.alt then return { text = content.alt, parseMode = ParseMode.HTML } end
  return { text = content.title, parseMode = ParseMode.TEXT }
end

---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param timestamp integer of the edit
---@return trueconf.bridge.Notification
function Notifications:edited(chat, message, timestamp)
  local payload = { chatId = chat.id, timestamp = timestamp, content = edited_text(message.content) }
  return plain("editMessage", self:audience(chat, message), payload)
end

---To be made before the message is removed.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param account trueconf.bridge.Account that removes it
---@param for_all boolean
---@return trueconf.bridge.Notification
function Notifications:message_removed(chat, message, account, for_all)
  local recipients = for_all and self:audience(chat, message) or { account.key }
  local payload = { chatId = chat.id, messageId = message.id, removedBy = by(account) }
  return plain("removeMessage", recipients, payload)
end

---@param chat trueconf.bridge.ChatRecord
---@param account trueconf.bridge.Account that cleared it
---@param for_all boolean
---@return trueconf.bridge.Notification
function Notifications:cleared(chat, account, for_all)
  local payload = { chatId = chat.id, forAll = for_all }
  return plain("clearHistory", for_all and chat.members or { account.key }, payload)
end

local CREATED = {
  [ChatType.P2P] = "createP2PChat",
  [ChatType.GROUP] = "createGroupChat",
  [ChatType.FAVORITES] = "createFavoritesChat",
  [ChatType.CHANNEL] = "createChannel",
}

---@param chat trueconf.bridge.ChatRecord
---@param recipients string[]
---@return trueconf.bridge.Notification
function Notifications:created(chat, recipients)
  local function make(key) return self.envelopes:created(chat, key) end
  return notification(CREATED[chat.type], recipients, make, own_for_each)
end

---@param chat trueconf.bridge.ChatRecord
---@param recipients string[]
---@return trueconf.bridge.Notification
function Notifications:chat_removed(chat, recipients)
  return plain("removeChat", recipients, { chatId = chat.id })
end

---@param chat trueconf.bridge.ChatRecord
---@return trueconf.bridge.Notification
function Notifications:title(chat)
  return plain("editChatTitle", chat.members, { chatId = chat.id, title = chat.title })
end

---@param chat trueconf.bridge.ChatRecord
---@param address any of the picture
---@return trueconf.bridge.Notification
function Notifications:avatar(chat, address)
  return plain("editChatAvatar", chat.members, { chatId = chat.id, avatarUrl = address })
end

---@param chat trueconf.bridge.ChatRecord
---@param member trueconf.bridge.Account the newcomer
---@param account trueconf.bridge.Account that added it
---@param timestamp integer
---@return trueconf.bridge.Notification
function Notifications:added(chat, member, account, timestamp)
  return plain("addChatParticipant", chat.members,
    { chatId = chat.id, userId = member.id, timestamp = timestamp, addedBy = by(account) })
end

---@param chat trueconf.bridge.ChatRecord
---@param recipients string[] the members before the change
---@param member trueconf.bridge.Account that has left
---@param account trueconf.bridge.Account that removed the member; the member itself: it left
---@param timestamp integer
---@return trueconf.bridge.Notification
function Notifications:removed(chat, recipients, member, account, timestamp)
  return plain("removeChatParticipant", recipients,
    { chatId = chat.id, userId = member.id, timestamp = timestamp, removedBy = by(account) })
end

---@param chat trueconf.bridge.ChatRecord
---@param member trueconf.bridge.Account
---@param timestamp integer
---@return trueconf.bridge.Notification
function Notifications:role(chat, member, timestamp)
  return plain("changeParticipantRole", chat.members,
    { chatId = chat.id, userId = member.id, role = chat.roles[member.key], timestamp = timestamp })
end

local INLINE_KEYBOARD = protocol.enums.CommandSourceType.INLINE_KEYBOARD
local USER_COMMAND = protocol.enums.CommandType.USER_COMMAND

---A click, without its author.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param button table
---@param key string of the bot that gets it
---@param command_id? string
---@return trueconf.bridge.Notification
function Notifications:command(chat, message, button, key, command_id)
  return plain("command", { key }, {
    commandId = command_id,
    commandSource = {
      type = INLINE_KEYBOARD,
      buttonId = button.id,
      waitReply = button.waitReply,
      message = self.envelopes:envelope(chat, message, key),
    },
    commandPayload = { type = USER_COMMAND, command = button.command, customData = button.customData },
  })
end

---The upload limits.
---@param limits table as on the wire
---@return trueconf.bridge.Notification
function Notifications:upload_limits(limits)
  return plain("getFileUploadLimits", {}, limits)
end

return { new = new }
