-- SPDX-License-Identifier: MIT
-- Makes the wire format of chats and messages (protocol: objects and enums).

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

local AuthorType = protocol.enums.AuthorType
local P2P = protocol.enums.ChatType.P2P
local FIRST_USER_TYPE = protocol.enums.EnvelopeType.PLAIN_MESSAGE
-- Version that brought `chat` and `replyMessage`.
local WHOLE_SINCE = "5.5.6"

---@class trueconf.bridge.Envelopes
---@field private store trueconf.bridge.Store
---@field private files trueconf.bridge.Files
---@field private whole boolean with the fields that came with 5.5.6
local Envelopes = {}
Envelopes.__index = Envelopes

---@param store trueconf.bridge.Store
---@param profile trueconf.bridge.Profile
---@param files trueconf.bridge.Files
---@return trueconf.bridge.Envelopes
local function new(store, profile, files)
  return setmetatable({ store = store, whole = profile:has(WHOLE_SINCE), files = files }, Envelopes)
end

local function author_of(message)
  return { id = message.author, type = message.author_key and AuthorType.USER or AuthorType.SYSTEM }
end

-- Only history and getMessageById return buttons; people see them in their application.
local function content_of(message, with_buttons)
  local content = message.content
  if with_buttons or not content.buttons then return content end
  return { text = content.text, parseMode = content.parseMode }
end

local function chat_part(chat)
  return { chatId = chat.id, chatTitle = chat.title or json.null, chatType = chat.type }
end

---@param message trueconf.bridge.Message
---@return boolean
local function is_system(message)
  return message.type < FIRST_USER_TYPE
end

---The message that another one answers, if the viewer can see it.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param key string
---@return trueconf.bridge.Message?
function Envelopes:answered(chat, message, key)
  local answered = self.whole and message.reply_to and self.store:message(message.reply_to)
  return answered and self.store:is_visible(chat, answered, key) and answered or nil
end

function Envelopes:shape(chat, message, with_buttons)
  local edited
  if not is_system(message) then edited = message.edited end
  return {
    messageId = message.id,
    chatId = chat.id,
    chat = self.whole and chat_part(chat) or nil,
    timestamp = message.timestamp,
    author = author_of(message),
    box = { id = message.box, position = "0" },
    type = message.type,
    isEdited = edited,
    content = content_of(message, with_buttons),
    replyMessageId = message.reply_to,
  }
end

---The payload that carries a message; the message it answers is filled in one level deep.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param key string of the recipient
---@param with_buttons? boolean
---@return table
function Envelopes:envelope(chat, message, key, with_buttons)
  local payload = self:shape(chat, message, with_buttons)
  local answered = self:answered(chat, message, key)
  payload.replyMessage = answered and self:shape(chat, answered, with_buttons) or nil
  return payload
end

---The content of a forward: the whole original, but not its buttons.
---@param message trueconf.bridge.Message
---@return table content
function Envelopes:forwarded(message)
  return {
    messageId = message.id,
    chatId = message.chat_id,
    timestamp = message.timestamp,
    author = author_of(message),
    box = { id = message.box, position = "0" },
    type = message.type,
    isEdited = message.edited,
    content = content_of(message, false),
  }
end

function Envelopes:last_message(chat, message)
  return {
    messageId = message.id,
    chatId = chat.id,
    chat = self.whole and chat_part(chat) or nil,
    timestamp = message.timestamp,
    author = author_of(message),
    type = message.type,
    content = content_of(message, false),
  }
end

-- The title of a personal chat is the name of the other side.
function Envelopes:title(chat, key)
  if chat.type ~= P2P then return chat.title or json.null end
  local other = chat.pair[1] == key and chat.pair[2] or chat.pair[1]
  return self.store:account(other).id
end

---The address of a chat's picture, valid for a limited time.
---@param chat trueconf.bridge.ChatRecord
---@return any address json.null: it has none
function Envelopes:avatar(chat)
  local picture = chat.avatar and self.store:file(chat.avatar)
  return picture and self.files:address(picture, "") or json.null
end

---A chat as ChatCreated has it.
---@param chat trueconf.bridge.ChatRecord
---@param key string of the viewer
---@return table
function Envelopes:created(chat, key)
  local newest = self.store:history_of(chat, key, 1)[1]
  return {
    chatId = chat.id,
    title = self:title(chat, key),
    chatType = chat.type,
    lastMessage = newest and self:last_message(chat, newest) or json.null,
    unreadMessages = self.store:unread_count(key, chat.id),
  }
end

---A chat as getChats and getChatByID give it.
---@param chat trueconf.bridge.ChatRecord
---@param key string of the viewer
---@return table
function Envelopes:chat(chat, key)
  local payload = self:created(chat, key)
  payload.avatarUrl = self:avatar(chat)
  return payload
end

return { new = new, is_system = is_system }
