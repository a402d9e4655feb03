-- SPDX-License-Identifier: MIT
-- What a Bridge remembers, kept in memory: accounts, chats, messages, who has read what, and
-- the key its tokens are signed with. It holds no rules; those are in accounts.lua, tokens.lua
-- and chats.lua, which reach their data only through the methods below. A store on disk offers
-- the same methods. No method looks at more messages than it returns.
--
-- "key" is an account's login in lower case: logins are compared without regard to case.

local core = require "trueconf.core"
local unread = require "trueconf.bridge.unread"

---@class trueconf.bridge.Message
---@field id string UUID
---@field chat_id string
---@field box integer place in the chat
---@field timestamp integer UNIX milliseconds
---@field type integer envelope type
---@field author string TrueConf ID
---@field author_key string
---@field content { text: string, parseMode: string }
---@field edited boolean
---@field reply_to string? message id

---@class trueconf.bridge.ChatRecord
---@field id string
---@field type integer ChatType
---@field title string?
---@field members string[] keys, in the order they came
---@field member table<string, boolean>
---@field first integer box of the oldest message kept
---@field last integer box of the newest message
---@field boxes table<integer, trueconf.bridge.Message>

---@class trueconf.bridge.Store
---@field signing_key string
---@field server_name string? set by the first Bridge that uses the store
---@field expired_through integer tokens with a serial up to this one are expired, of all accounts
---@field in_use boolean
local Store = {}
Store.__index = Store

---@param options { history_limit: integer, unread_limit: integer }
---@return trueconf.bridge.Store
local function new(options)
  return setmetatable({
    signing_key = core.random(32),
    expired_through = 0,
    in_use = false,
    serial = 0,
    history_limit = options.history_limit,
    unread_limit = options.unread_limit,
    accounts = {},
    chats = {},
    personal = {},
    messages = {},
    unread = {},
  }, Store)
end

-- Accounts and tokens --------------------------------------------------------------------

---@param key string
---@return trueconf.bridge.Account?
function Store:account(key)
  return self.accounts[key]
end

---@param account trueconf.bridge.Account
function Store:put_account(account)
  self.accounts[account.key] = account
end

---@return integer serial never given before
function Store:next_serial()
  self.serial = self.serial + 1
  return self.serial
end

---@return integer serial the last one given
function Store:last_serial()
  return self.serial
end

-- Chats and messages ---------------------------------------------------------------------

-- '/' cannot be part of a login.
local function pair(key_a, key_b)
  if key_b < key_a then key_a, key_b = key_b, key_a end
  return key_a .. "/" .. key_b
end

---@param chat_id string
---@return trueconf.bridge.ChatRecord?
function Store:chat(chat_id)
  return self.chats[chat_id]
end

---@param key_a string
---@param key_b string
---@return trueconf.bridge.ChatRecord?
function Store:personal_chat(key_a, key_b)
  return self.personal[pair(key_a, key_b)]
end

---Add a chat; one of two members is found by personal_chat() from then on.
---@param chat trueconf.bridge.ChatRecord
---@param personal boolean
function Store:add_chat(chat, personal)
  chat.first, chat.last, chat.boxes = 1, 0, {}
  self.chats[chat.id] = chat
  if personal then self.personal[pair(chat.members[1], chat.members[2])] = chat end
end

---Append a message to its chat and give it its box; the oldest one leaves when the history is full.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
function Store:append(chat, message)
  chat.last = chat.last + 1
  message.box = chat.last
  chat.boxes[message.box] = message
  self.messages[message.id] = message
  if chat.last - chat.first < self.history_limit then return end
  local oldest = chat.boxes[chat.first]
  chat.boxes[chat.first] = nil
  self.messages[oldest.id] = nil
  chat.first = chat.first + 1
end

---@param message_id string
---@return trueconf.bridge.Message?
function Store:message(message_id)
  return self.messages[message_id]
end

---@param chat trueconf.bridge.ChatRecord
---@return trueconf.bridge.Message[] oldest first
function Store:history(chat)
  return table.move(chat.boxes, chat.first, chat.last, 1, {})
end

-- Unread ---------------------------------------------------------------------------------

---@param key string
---@param message trueconf.bridge.Message
function Store:add_unread(key, message)
  local set = self.unread[key]
  if not set then
    set = unread.new(self.unread_limit)
    self.unread[key] = set
  end
  set:add(message)
end

---@param key string
---@param message_id string
---@return boolean removed
function Store:remove_unread(key, message_id)
  local set = self.unread[key]
  return set ~= nil and set:remove(message_id)
end

---@param key string
---@param message_id string
---@return boolean
function Store:is_unread(key, message_id)
  local set = self.unread[key]
  return set ~= nil and set:has(message_id)
end

---@param key string
---@param limit? integer the newest so many; nil: all
---@return trueconf.bridge.Message[] oldest first
function Store:unread_list(key, limit)
  local set = self.unread[key]
  return set and set:list(limit) or {}
end

return { new = new }
