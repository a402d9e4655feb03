-- SPDX-License-Identifier: MIT
-- Chats of a Bridge: who takes part, what was said, and how a message looks on the wire.

local core = require "trueconf.core"
local json = require "trueconf.json"
local codes = require "trueconf.bridge.codes"

local P2P = 1
local PLAIN_MESSAGE = 200
local USER = 1
local MAX_TEXT = 4096

---@class trueconf.bridge.Chats
---@field private store trueconf.bridge.Store
local Chats = {}
Chats.__index = Chats

---@param store trueconf.bridge.Store
---@return trueconf.bridge.Chats
local function new(store)
  return setmetatable({ store = store }, Chats)
end

local function new_chat_id()
  return (core.random(20):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

---The personal chat of two accounts.
---@param account trueconf.bridge.Account
---@param other trueconf.bridge.Account
---@return trueconf.bridge.ChatRecord chat
---@return boolean created
function Chats:personal(account, other)
  local chat = self.store:personal_chat(account.key, other.key)
  if chat then return chat, false end
  chat = {
    id = new_chat_id(),
    type = P2P,
    members = { account.key, other.key },
    member = { [account.key] = true, [other.key] = true },
  }
  self.store:add_chat(chat, true)
  return chat, true
end

---A chat that the account takes part in.
---@param chat_id string
---@param account trueconf.bridge.Account
---@return trueconf.bridge.ChatRecord? chat
---@return integer? code
function Chats:of_member(chat_id, account)
  local chat = self.store:chat(chat_id)
  if not chat then return nil, codes.CHAT_NOT_FOUND end
  if not chat.member[account.key] then return nil, codes.USER_IS_NOT_CHAT_PARTICIPANT end
  return chat
end

-- Too long a text is cut without a word (protocol: length). This version counts code points,
-- markup included; no shorter text is ever cut.
local function cut(text)
  if #text <= MAX_TEXT then return text end
  local too_far = utf8.offset(text, MAX_TEXT + 1)
  return too_far and text:sub(1, too_far - 1) or text
end

---Put a message into a chat; it is unread for everybody but its author.
---@param chat trueconf.bridge.ChatRecord
---@param author trueconf.bridge.Account
---@param content { text: string, parseMode: string }
---@param reply_to? string message id
---@return trueconf.bridge.Message? message
---@return integer? code
function Chats:post(chat, author, content, reply_to)
  local target = reply_to and self.store:message(reply_to)
  if reply_to and not (target and target.chat_id == chat.id) then return nil, codes.MESSAGE_NOT_FOUND end
  local message = {
    id = core.uuid(),
    chat_id = chat.id,
    timestamp = core.now(),
    type = PLAIN_MESSAGE,
    author = author.id,
    author_key = author.key,
    content = { text = cut(content.text), parseMode = content.parseMode },
    edited = false,
    reply_to = reply_to,
  }
  self.store:append(chat, message)
  for _, key in ipairs(chat.members) do
    if key ~= author.key then self.store:add_unread(key, message) end
  end
  return message
end

---The payload that carries a message (protocol: envelope).
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param expand boolean fill in the message that was answered
---@return table
function Chats:envelope(chat, message, expand)
  local answered = expand and message.reply_to and self.store:message(message.reply_to)
  return {
    messageId = message.id,
    chatId = chat.id,
    chat = { chatId = chat.id, chatTitle = chat.title or json.null, chatType = chat.type },
    timestamp = message.timestamp,
    author = { id = message.author, type = USER },
    box = { id = message.box, position = "0" },
    type = message.type,
    isEdited = message.edited,
    content = message.content,
    replyMessageId = message.reply_to,
    replyMessage = answered and self:envelope(chat, answered, false) or nil,
  }
end

return { new = new }
