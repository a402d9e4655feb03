-- SPDX-License-Identifier: MIT
-- Who hears what. An account has receivers: its authorized connections and, for a simulated
-- person, that person. A notification goes to every receiver of every account it concerns; its
-- payload is encoded once for all who get the same one.

local core = require "trueconf.core"
local json = require "trueconf.json"

-- Notifications --------------------------------------------------------------------------

---@class trueconf.bridge.Notification
---@field method string
---@field head string the frame up to its id
---@field recipients string[] keys of accounts
---@field message trueconf.bridge.Message? what an ack marks as read
---@field private make fun(key: string): table
---@field private shared boolean all recipients get the same payload
---@field private encoded table<string|boolean, string>
local Notification = {}
Notification.__index = Notification

---@param method string
---@param recipients string[]
---@param make fun(key: string): table makes the payload for a recipient
---@param shared boolean
---@param message? trueconf.bridge.Message
---@return trueconf.bridge.Notification
local function notification(method, recipients, make, shared, message)
  return setmetatable({
    method = method,
    head = '{"method":"' .. method .. '","type":1,"id":',
    recipients = recipients,
    message = message,
    make = make,
    shared = shared,
    encoded = {},
  }, Notification)
end

---@param key string
---@return string payload JSON text
function Notification:payload(key)
  local slot = self.shared or key
  local text = self.encoded[slot]
  if not text then
    text = json.encode(self.make(key))
    self.encoded[slot] = text
  end
  return text
end

-- Delivery -------------------------------------------------------------------------------

---@class trueconf.bridge.Receiver
---@field key string of the account
---@field notify fun(self, notification: trueconf.bridge.Notification)

---@class trueconf.bridge.Delivery
---@field private store trueconf.bridge.Store
---@field private chats trueconf.bridge.Chats
---@field private options { echo: "all"|"others", redelivery_limit: integer }
---@field private receivers table<string, trueconf.bridge.Receiver[]>
---@field private readers table<string, trueconf.core.Waiter[]>
local Delivery = {}
Delivery.__index = Delivery

---@param store trueconf.bridge.Store
---@param chats trueconf.bridge.Chats
---@param options { echo: "all"|"others", redelivery_limit: integer }
---@return trueconf.bridge.Delivery
local function new(store, chats, options)
  return setmetatable({
    store = store,
    chats = chats,
    options = options,
    receivers = {},
    readers = {},
  }, Delivery)
end

-- A list is replaced, never altered: it may be gone through at this moment.
local function without(list, unwanted)
  local kept = {}
  for _, item in ipairs(list) do
    if item ~= unwanted then kept[#kept + 1] = item end
  end
  return kept
end

---@param receiver trueconf.bridge.Receiver
function Delivery:attach(receiver)
  local list = without(self.receivers[receiver.key] or {}, receiver)
  list[#list + 1] = receiver
  self.receivers[receiver.key] = list
end

---@param receiver trueconf.bridge.Receiver
function Delivery:detach(receiver)
  local list = without(self.receivers[receiver.key] or {}, receiver)
  self.receivers[receiver.key] = list[1] and list or nil
end

---Send a notification to everybody it concerns.
---@param news trueconf.bridge.Notification
---@param acting? trueconf.bridge.Receiver who caused it
function Delivery:publish(news, acting)
  local skipped = self.options.echo == "others" and acting or nil
  for _, key in ipairs(news.recipients) do
    for _, receiver in ipairs(self.receivers[key] or {}) do
      if receiver ~= skipped then receiver:notify(news) end
    end
  end
end

---The notification of a message.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@return trueconf.bridge.Notification
function Delivery:of_message(chat, message)
  local function envelope() return self.chats:envelope(chat, message, true) end
  return notification("sendMessage", chat.members, envelope, true, message)
end

---The notification of a new personal chat: each side reads the TrueConf ID of the other one.
---@param chat trueconf.bridge.ChatRecord
---@param account trueconf.bridge.Account
---@param other trueconf.bridge.Account
---@return trueconf.bridge.Notification
function Delivery:of_personal_chat(chat, account, other)
  local function created(key)
    return {
      chatId = chat.id,
      title = key == account.key and other.id or account.id,
      chatType = chat.type,
      lastMessage = json.null,
      unreadMessages = 0,
    }
  end
  return notification("createP2PChat", chat.members, created, false)
end

---Send a receiver what its account has not read (protocol: unread delivery): the newest
---messages up to the limit, oldest first, without waiting for acks.
---@param receiver trueconf.bridge.Receiver
function Delivery:redeliver(receiver)
  for _, message in ipairs(self.store:unread_list(receiver.key, self.options.redelivery_limit)) do
    receiver:notify(self:of_message(self.store:chat(message.chat_id), message))
  end
end

-- Read marks -----------------------------------------------------------------------------

---@param key string
---@param message trueconf.bridge.Message
function Delivery:mark_read(key, message)
  if not self.store:remove_unread(key, message.id) then return end
  local slot = key .. "/" .. message.id
  local waiters = self.readers[slot]
  if not waiters then return end
  self.readers[slot] = nil
  for _, waiter in ipairs(waiters) do waiter:wake(true) end
end

---Wait until an account has read a message.
---@async
---@param key string
---@param message trueconf.bridge.Message
---@param timeout? number
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED
function Delivery:wait_read(key, message, timeout)
  if not self.store:is_unread(key, message.id) then return true end
  local slot, waiter = key .. "/" .. message.id, core.waiter()
  self.readers[slot] = self.readers[slot] or {}
  table.insert(self.readers[slot], waiter)
  local ok, err = waiter:wait(timeout)
  if not ok and self.readers[slot] then
    local left = without(self.readers[slot], waiter)
    self.readers[slot] = left[1] and left or nil
  end
  return ok, err
end

---Settle every wait for a read mark with CLOSED.
function Delivery:close()
  local readers = self.readers
  self.readers = {}
  for _, waiters in pairs(readers) do
    for _, waiter in ipairs(waiters) do waiter:wake(nil, core.error("CLOSED", "the Bridge was stopped")) end
  end
end

return { new = new }
