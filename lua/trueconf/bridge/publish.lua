-- SPDX-License-Identifier: MIT
-- Publishes notifications. An account has receivers: its authorized connections and, for a simulated person, that
-- person. A notification goes to every receiver of each of its recipients.

local core = require "trueconf.core"
local without = require("trueconf.base.without").without

---@class trueconf.bridge.Receiver
---@field key string of the account
---@field notify fun(self, notification: trueconf.bridge.Notification)

---@class trueconf.bridge.Publisher
---@field observer? fun(notification: trueconf.bridge.Notification, acting: trueconf.bridge.Receiver?) sees all of them
---@field private store trueconf.bridge.Store
---@field private notifications trueconf.bridge.Notifications
---@field private profile trueconf.bridge.Profile
---@field private options { echo: "all"|"others", redelivery_limit: integer }
---@field private receivers table<string, trueconf.bridge.Receiver[]>
---@field private readers table<string, trueconf.core.Waiter[]>
local Publisher = {}
Publisher.__index = Publisher

---@param store trueconf.bridge.Store
---@param notifications trueconf.bridge.Notifications
---@param profile trueconf.bridge.Profile
---@param options { echo: "all"|"others", redelivery_limit: integer }
---@return trueconf.bridge.Publisher
local function new(store, notifications, profile, options)
  return setmetatable({
    store = store,
    notifications = notifications,
    profile = profile,
    options = options,
    receivers = {},
    readers = {},
  }, Publisher)
end

---@param receiver trueconf.bridge.Receiver
function Publisher:attach(receiver)
  local list = without(self.receivers[receiver.key] or {}, receiver)
  list[#list + 1] = receiver
  self.receivers[receiver.key] = list
end

---@param receiver trueconf.bridge.Receiver
function Publisher:detach(receiver)
  local list = without(self.receivers[receiver.key] or {}, receiver)
  self.receivers[receiver.key] = list[1] and list or nil
end

---@param key string of an account
---@return integer receivers
function Publisher:count(key)
  return #(self.receivers[key] or {})
end

---Send a notification to all receivers of its recipients.
---@param notification trueconf.bridge.Notification
---@param acting? trueconf.bridge.Receiver that caused it
function Publisher:publish(notification, acting)
  if not self.profile:tells(notification.method) then return end
  if self.observer then self.observer(notification, acting) end
  local skipped = self.options.echo == "others" and acting or nil
  for _, key in ipairs(notification.recipients) do
    for _, receiver in ipairs(self.receivers[key] or {}) do
      if receiver ~= skipped then receiver:notify(notification) end
    end
  end
end

---Send a notification to one receiver, even if its account is no recipient.
---@param receiver trueconf.bridge.Receiver
---@param notification trueconf.bridge.Notification
function Publisher:tell(receiver, notification)
  if self.profile:tells(notification.method) then receiver:notify(notification) end
end

---Send several, in their order.
---@param list trueconf.bridge.Notification[]
---@param acting? trueconf.bridge.Receiver that caused them
function Publisher:publish_all(list, acting)
  for _, notification in ipairs(list) do self:publish(notification, acting) end
end

---Send a receiver the unread messages of its account (protocol: unread delivery): the newest messages up to the limit,
---oldest first, without waiting for acks.
---@param receiver trueconf.bridge.Receiver
function Publisher:redeliver(receiver)
  for _, message in ipairs(self.store:unread_list(receiver.key, self.options.redelivery_limit)) do
    receiver:notify(self.notifications:message(self.store:chat(message.chat_id), message))
  end
end

-- Read marks -----------------------------------------------------------------------------

---@param key string
---@param message trueconf.bridge.Message
function Publisher:mark_read(key, message)
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
function Publisher:wait_read(key, message, timeout)
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
function Publisher:close()
  local readers = self.readers
  self.readers = {}
  for _, waiters in pairs(readers) do
    for _, waiter in ipairs(waiters) do waiter:wake(nil, core.error("CLOSED", "the Bridge was stopped")) end
  end
end

return { new = new }
