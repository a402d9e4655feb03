-- SPDX-License-Identifier: MIT
-- Messages of a Bridge: the rules for writing, changing, removing and reading them. Every act returns its result and a
-- list of notifications to send after the answer; or nil, an error code and optionally a description.

local core = require "trueconf.core"
local protocol = require "trueconf.protocol"
local contents = require "trueconf.bridge.chat.content"
local envelopes = require "trueconf.bridge.chat.envelopes"

local codes, rights = protocol.codes, protocol.rights
local EnvelopeType, Role = protocol.enums.EnvelopeType, protocol.enums.Role
local MAX_PAGE, ACTIVITY = protocol.limits.HISTORY_PAGE, protocol.limits.TYPING_REFRESH

---@class trueconf.bridge.Messages
---@field private store trueconf.bridge.Store
---@field private envelopes trueconf.bridge.Envelopes
---@field private notifications trueconf.bridge.Notifications
---@field private profile trueconf.bridge.Profile
---@field private options { edit_window: number, long_text: "cut"|"refuse" }
---@field private activities table<string, { kind: string, over: integer }> by chat id and key
local Messages = {}
Messages.__index = Messages

---@param store trueconf.bridge.Store
---@param shapes trueconf.bridge.Envelopes
---@param notifications trueconf.bridge.Notifications
---@param profile trueconf.bridge.Profile
---@param options { edit_window: number, long_text: "cut"|"refuse" }
---@return trueconf.bridge.Messages
local function new(store, shapes, notifications, profile, options)
  return setmetatable({
    store = store,
    envelopes = shapes,
    notifications = notifications,
    profile = profile,
    options = options,
    activities = {},
  }, Messages)
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
  -- A side that removed a personal chat stays its side; the chat is hidden from it until it comes back.
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

-- A side that removed a personal chat gets it back when the other side writes.
function Messages:recall_sides(chat)
  local returned = {}
  for _, key in ipairs(chat.pair or {}) do
    if not chat.roles[key] then
      self.store:join(chat, key, Role.USER, true)
      returned[#returned + 1] = self.notifications:created(chat, { key })
    end
  end
  return returned
end

-- Append a message of an account; it is unread for everybody else.
function Messages:write(chat, account, kind, content, reply_to)
  local notifications = self:recall_sides(chat)
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
  notifications[#notifications + 1] = self.notifications:message(chat, message)
  return message, notifications
end

---Write a system message into a chat. Only connections that asked for system messages get it; it is never unread.
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
  return self.notifications:message(chat, message), message.timestamp
end

function Messages:post(account, chat_id, kind, content, reply_to)
  local chat, code, description = self:writable_chat(chat_id, account)
  if not chat then return nil, code, description end
  if reply_to then
    local target, where = self:message_of(reply_to, account)
    if not target or where ~= chat then
      return nil, codes.MESSAGE_NOT_FOUND, "replyMessageId: the message to answer is not in this chat"
    end
  end
  return self:write(chat, account, kind, content, reply_to)
end

---Write a text.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param content { text: string, parseMode: string, buttons: table[][]? }
---@param reply_to? string message id
---@return trueconf.bridge.Message? message
---@return any notifications or code
---@return string? description
function Messages:say(account, chat_id, content, reply_to)
  local kept, complaint = contents.of_text(content, self.profile, self.options.long_text)
  if not kept then return nil, codes.WRONG_PAYLOAD_FORMAT, complaint end
  return self:post(account, chat_id, EnvelopeType.PLAIN_MESSAGE, kept, reply_to)
end

---Post a place.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param content { latitude: number, longitude: number, title: string? }
---@param reply_to? string message id
---@return trueconf.bridge.Message? message
---@return any notifications or code
---@return string? description
function Messages:post_location(account, chat_id, content, reply_to)
  return self:post(account, chat_id, EnvelopeType.LOCATION, content, reply_to)
end

---Post the card of a survey.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param content table
---@param reply_to? string message id
---@return trueconf.bridge.Message? message
---@return any notifications or code
---@return string? description
function Messages:post_survey(account, chat_id, content, reply_to)
  return self:post(account, chat_id, EnvelopeType.SURVEY, contents.of_survey(content, {}), reply_to)
end

---Repeat a message in another chat. Forwarding a forward repeats its original.
---@param account trueconf.bridge.Account
---@param chat_id string of the other chat
---@param message_id string
---@return trueconf.bridge.Message? message
---@return any notifications or code
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
  return { message = message, timestamp = timestamp }, { self.notifications:edited(chat, message, timestamp) }
end

---Replace a text whole.
---@param account trueconf.bridge.Account
---@param message_id string
---@param content { text: string, parseMode: string, buttons: table[][]? }
---@return { message: trueconf.bridge.Message, timestamp: integer }? edit
---@return any notifications or code
---@return string? description
function Messages:edit(account, message_id, content)
  local kept, complaint = contents.of_text(content, self.profile, self.options.long_text)
  if not kept then return nil, codes.WRONG_PAYLOAD_FORMAT, complaint end
  return self:replace(account, message_id, EnvelopeType.PLAIN_MESSAGE, function() return kept end)
end

---Replace the card of a survey.
---@param account trueconf.bridge.Account
---@param message_id string
---@param content table
---@return { message: trueconf.bridge.Message, timestamp: integer }? edit
---@return any notifications or code
---@return string? description
function Messages:edit_survey(account, message_id, content)
  local function renew(before) return contents.of_survey(content, before) end
  return self:replace(account, message_id, EnvelopeType.SURVEY, renew)
end

-- Removing -------------------------------------------------------------------------------

-- The right that is needed to remove a message.
local function removal(message, account, for_all)
  if message.author_key == account.key then return "remove_own" end
  return for_all and "remove_others_for_all" or "remove_others_for_self"
end

---Remove a message for everybody or for oneself.
---@param account trueconf.bridge.Account
---@param message_id string
---@param for_all boolean
---@return true? ok
---@return any notifications or code
---@return string? description
function Messages:remove(account, message_id, for_all)
  local message, chat = self:message_of(message_id, account)
  if not message then return nil, codes.MESSAGE_NOT_FOUND end
  if not may(chat, account, removal(message, account, for_all)) then
    return nil, codes.NOT_ENOUGH_RIGHTS, "messageId: somebody else wrote it"
  end
  local notifications = self.notifications:message_removed(chat, message, account, for_all)
  if for_all then self.store:remove(chat, message) else self.store:hide(account.key, message) end
  return true, { notifications }
end

---Remove all messages of a chat for everybody or for oneself.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param for_all boolean
---@return true? ok
---@return any notifications or code
---@return string? description
function Messages:clear(account, chat_id, for_all)
  local chat, code = self:chat_of(chat_id, account)
  if not chat then return nil, code end
  local action = for_all and "clear_for_all" or "clear_for_self"
  if not may(chat, account, action) then return nil, codes.NOT_ENOUGH_RIGHTS end
  if not for_all then
    self.store:hide_all(chat, account.key)
    return true, { self.notifications:cleared(chat, account, false) }
  end
  self.store:clear(chat)
  local note = self:note(chat, EnvelopeType.CLEAR_HISTORY, { forAll = true })
  return true, { self.notifications:cleared(chat, account, true), note }
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
---@param count integer at most this many, and never more than 100
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

-- Activity -------------------------------------------------------------------------------

---Note the activity of an account in a chat; it ends by itself.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param kind "typing"|"choosing_sticker"|"uploading_file"
---@return true? ok
---@return integer? code
function Messages:be_active(account, chat_id, kind)
  local chat, code = self:chat_of(chat_id, account)
  if not chat then return nil, code end
  self.activities[chat.id .. "/" .. account.key] = { kind = kind, over = core.now() + ACTIVITY }
  return true
end

---The activity of an account in a chat.
---@param chat_id string
---@param key string
---@return string? kind
function Messages:activity(chat_id, key)
  local slot = chat_id .. "/" .. key
  local activity = self.activities[slot]
  if activity and core.now() < activity.over then return activity.kind end
  self.activities[slot] = nil
end

return { new = new }
