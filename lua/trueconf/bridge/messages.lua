-- SPDX-License-Identifier: MIT
-- What is said in chats: rules of writing, changing, removing and reading messages. Every act
-- returns its result and a list of notifications to send after the answer; or nil, an error
-- code and optionally a description.

local core = require "trueconf.core"
local protocol = require "trueconf.protocol"
local envelopes = require "trueconf.bridge.envelopes"

local codes, rights = protocol.codes, protocol.rights
local EnvelopeType, Role = protocol.enums.EnvelopeType, protocol.enums.Role
local MAX_TEXT, MAX_PAGE = protocol.limits.TEXT, protocol.limits.HISTORY_PAGE

---@class trueconf.bridge.Messages
---@field private store trueconf.bridge.Store
---@field private envelopes trueconf.bridge.Envelopes
---@field private news trueconf.bridge.News
---@field private options { edit_window: number }
local Messages = {}
Messages.__index = Messages

---@param store trueconf.bridge.Store
---@param shapes trueconf.bridge.Envelopes
---@param news trueconf.bridge.News
---@param options { edit_window: number }
---@return trueconf.bridge.Messages
local function new(store, shapes, news, options)
  return setmetatable({ store = store, envelopes = shapes, news = news, options = options }, Messages)
end

-- Access ---------------------------------------------------------------------------------

---A chat that the account takes part in.
---@param chat_id string
---@param account trueconf.bridge.Account
---@return trueconf.bridge.ChatRecord? chat
---@return integer? code
function Messages:chat_of(chat_id, account)
  local chat = self.store:chat(chat_id)
  if not chat then return nil, codes.CHAT_NOT_FOUND end
  if chat.roles[account.key] then return chat end
  -- A side of a personal chat never stops to be one; the chat is gone for it until it comes back.
  local side = chat.pair and (chat.pair[1] == account.key or chat.pair[2] == account.key)
  return nil, side and codes.CHAT_NOT_FOUND or codes.USER_IS_NOT_CHAT_PARTICIPANT
end

local function may(chat, account, action)
  return rights.may(chat.roles[account.key], action, chat.type)
end

---A chat that the account may write in.
---@param chat_id string
---@param account trueconf.bridge.Account
---@return trueconf.bridge.ChatRecord? chat
---@return integer? code
---@return string? description
function Messages:writable_chat(chat_id, account)
  local chat, code = self:chat_of(chat_id, account)
  if not chat then return nil, code end
  if may(chat, account, "write") then return chat end
  return nil, codes.NOT_ENOUGH_RIGHTS, "chatId: in a channel users only read"
end

---A message that the account sees, and its chat.
---@param message_id string
---@param account trueconf.bridge.Account
---@return trueconf.bridge.Message? message
---@return trueconf.bridge.ChatRecord|integer chat or code
function Messages:message_of(message_id, account)
  local message = self.store:message(message_id)
  if not message then return nil, codes.MESSAGE_NOT_FOUND end
  local chat = self.store:chat(message.chat_id)
  if not chat.roles[account.key] then return nil, codes.USER_IS_NOT_CHAT_PARTICIPANT end
  if not self.store:is_visible(chat, message, account.key) then return nil, codes.MESSAGE_NOT_FOUND end
  return message, chat
end

-- Writing --------------------------------------------------------------------------------

-- Too long a text is cut without a word (protocol: length). This version counts code points,
-- markup included; no shorter text is ever cut.
local function cut(text)
  if #text <= MAX_TEXT then return text end
  local too_far = utf8.offset(text, MAX_TEXT + 1)
  return too_far and text:sub(1, too_far - 1) or text
end

local function text_content(content)
  return { text = cut(content.text), parseMode = content.parseMode }
end

-- Somebody who removed a personal chat has it again when the other side writes.
function Messages:recall_sides(chat)
  local returned = {}
  for _, key in ipairs(chat.pair or {}) do
    if not chat.roles[key] then
      self.store:join(chat, key, Role.USER, true)
      returned[#returned + 1] = self.news:created(chat, { key })
    end
  end
  return returned
end

-- Append a message of an account; it is unread for everybody else.
function Messages:write(chat, account, kind, content, reply_to)
  local news = self:recall_sides(chat)
  local message = {
    id = core.uuid(),
    chat_id = chat.id,
    timestamp = core.now(),
    type = kind,
    author = account.id,
    author_key = account.key,
    content = content,
    edited = false,
    reply_to = reply_to,
  }
  self.store:append(chat, message)
  for _, key in ipairs(chat.members) do
    if key ~= account.key then self.store:add_unread(key, message) end
  end
  news[#news + 1] = self.news:message(chat, message)
  return message, news
end

---Note in a chat what happened to it; only those who asked are told, nobody has it unread.
---@param chat trueconf.bridge.ChatRecord
---@param kind integer envelope type below 200
---@param content table
---@return trueconf.bridge.Notification
---@return integer timestamp
function Messages:note(chat, kind, content)
  local message = {
    id = core.uuid(),
    chat_id = chat.id,
    timestamp = core.now(),
    type = kind,
    author = self.store.server_name,
    content = content,
    edited = false,
  }
  self.store:append(chat, message)
  return self.news:message(chat, message), message.timestamp
end

function Messages:post(account, chat_id, kind, content, reply_to)
  local chat, code, description = self:writable_chat(chat_id, account)
  if not chat then return nil, code, description end
  if reply_to then
    local target, where = self:message_of(reply_to, account)
    if not target or where ~= chat then return nil, codes.MESSAGE_NOT_FOUND end
  end
  return self:write(chat, account, kind, content, reply_to)
end

---Write a text.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param content { text: string, parseMode: string }
---@param reply_to? string message id
---@return trueconf.bridge.Message? message
---@return any news or code
---@return string? description
function Messages:say(account, chat_id, content, reply_to)
  return self:post(account, chat_id, EnvelopeType.PLAIN_MESSAGE, text_content(content), reply_to)
end

---Repeat a message in another chat. The original of a forward is what is forwarded.
---@param account trueconf.bridge.Account
---@param chat_id string where to
---@param message_id string
---@return trueconf.bridge.Message? message
---@return any news or code
---@return string? description
function Messages:forward(account, chat_id, message_id)
  local chat, code, description = self:writable_chat(chat_id, account)
  if not chat then return nil, code, description end
  local source = self:message_of(message_id, account)
  if not source then return nil, codes.MESSAGE_NOT_FOUND end
  if envelopes.is_system(source) then
    return nil, codes.UNKNOWN_MESSAGE, "messageId: messages of the system are not forwarded"
  end
  local content = source.type == EnvelopeType.FORWARDED_MESSAGE and source.content or self.envelopes:forwarded(source)
  return self:write(chat, account, EnvelopeType.FORWARDED_MESSAGE, content)
end

-- Changing -------------------------------------------------------------------------------

-- A message the account wrote and may still change, and its chat.
function Messages:own_message(account, message_id, kind)
  local message, chat = self:message_of(message_id, account)
  if not message then return nil, codes.MESSAGE_NOT_FOUND end
  if message.author_key ~= account.key then
    return nil, codes.NOT_ENOUGH_RIGHTS, "messageId: somebody else wrote it"
  end
  if message.type ~= kind then
    return nil, codes.UNKNOWN_MESSAGE, ("messageId: it is of type %d, not %d"):format(message.type, kind)
  end
  if not may(chat, account, "edit_own") then return nil, codes.NOT_ENOUGH_RIGHTS end
  local window = self.options.edit_window
  if window > 0 and core.now() - message.timestamp > window * 1000 then
    return nil, codes.NOT_ENOUGH_RIGHTS, "messageId: it is too old to be edited"
  end
  return message, chat
end

function Messages:replace(account, message_id, kind, renew)
  local message, chat, description = self:own_message(account, message_id, kind)
  if not message then return nil, chat, description end
  self.store:edit(message, renew(message.content))
  local timestamp = core.now()
  return { message = message, timestamp = timestamp }, { self.news:edited(chat, message, timestamp) }
end

---Replace a text whole.
---@param account trueconf.bridge.Account
---@param message_id string
---@param content { text: string, parseMode: string }
---@return { message: trueconf.bridge.Message, timestamp: integer }? edit
---@return any news or code
---@return string? description
function Messages:edit(account, message_id, content)
  return self:replace(account, message_id, EnvelopeType.PLAIN_MESSAGE, function() return text_content(content) end)
end

-- Removing -------------------------------------------------------------------------------

-- The right that a removal needs.
local function removal(message, account, for_all)
  if message.author_key == account.key then return "remove_own" end
  return for_all and "remove_others_for_all" or "remove_others_for_self"
end

---Remove a message for everybody or for oneself.
---@param account trueconf.bridge.Account
---@param message_id string
---@param for_all boolean
---@return true? ok
---@return any news or code
---@return string? description
function Messages:remove(account, message_id, for_all)
  local message, chat = self:message_of(message_id, account)
  if not message then return nil, codes.MESSAGE_NOT_FOUND end
  if not may(chat, account, removal(message, account, for_all)) then
    return nil, codes.NOT_ENOUGH_RIGHTS, "messageId: somebody else wrote it"
  end
  local news = self.news:message_removed(chat, message, account, for_all)
  if for_all then self.store:remove(chat, message) else self.store:hide(account.key, message) end
  return true, { news }
end

---Remove all messages of a chat for everybody or for oneself.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param for_all boolean
---@return true? ok
---@return any news or code
---@return string? description
function Messages:clear(account, chat_id, for_all)
  local chat, code = self:chat_of(chat_id, account)
  if not chat then return nil, code end
  local action = for_all and "clear_for_all" or "clear_for_self"
  if not may(chat, account, action) then return nil, codes.NOT_ENOUGH_RIGHTS end
  if not for_all then
    self.store:hide_all(chat, account.key)
    return true, { self.news:cleared(chat, account, false) }
  end
  self.store:clear(chat)
  local note = self:note(chat, EnvelopeType.CLEAR_HISTORY, { forAll = true })
  return true, { self.news:cleared(chat, account, true), note }
end

-- Reading --------------------------------------------------------------------------------

---A message as the account sees it.
---@param account trueconf.bridge.Account
---@param message_id string
---@return table? envelope
---@return integer? code
function Messages:get(account, message_id)
  local message, chat = self:message_of(message_id, account)
  if not message then return nil, chat --[[@as integer]] end
  return self.envelopes:envelope(chat, message, account.key, true)
end

---Messages backwards in time.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param count integer at most so many, and never more than 100
---@param from_id? string the first one; nil: the latest
---@return table[]? envelopes newest first
---@return integer? code
function Messages:history(account, chat_id, count, from_id)
  local chat, code = self:chat_of(chat_id, account)
  if not chat then return nil, code end
  local from, where
  if from_id then
    from, where = self:message_of(from_id, account)
    if not from or where ~= chat then return nil, codes.MESSAGE_NOT_FOUND end
  end
  local list = self.store:history_of(chat, account.key, math.min(count, MAX_PAGE), from)
  for index, message in ipairs(list) do
    list[index] = self.envelopes:envelope(chat, message, account.key, true)
  end
  return list
end

return { new = new }
