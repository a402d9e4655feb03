-- SPDX-License-Identifier: MIT
-- Who hears what. An account has receivers: its authorized connections and, for a simulated
-- person, that person. A notification goes to every receiver of every account it concerns.

local core = require "trueconf.core"
local without = require("trueconf.base.without").without

---@class trueconf.bridge.Receiver
---@field key string of the account
---@field notify fun(self, notification: trueconf.bridge.Notification)

---@class trueconf.bridge.Delivery
---@field observer? fun(news: trueconf.bridge.Notification, acting: trueconf.bridge.Receiver?) is shown what is told
---@field private store trueconf.bridge.Store
---@field private news trueconf.bridge.News
---@field private profile trueconf.bridge.Profile
---@field private options { echo: "all"|"others", redelivery_limit: integer }
---@field private receivers table<string, trueconf.bridge.Receiver[]>
---@field private readers table<string, trueconf.core.Waiter[]>
local Delivery = {}
Delivery.__index = Delivery

---@param store trueconf.bridge.Store
---@param news trueconf.bridge.News
---@param profile trueconf.bridge.Profile
---@param options { echo: "all"|"others", redelivery_limit: integer }
---@return trueconf.bridge.Delivery
local function new(store, news, profile, options)
  return setmetatable({
    store = store,
    news = news,
    profile = profile,
    options = options,
    receivers = {},
    readers = {},
  }, Delivery)
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

---@param key string of an account
---@return integer receivers
function Delivery:count(key)
  return #(self.receivers[key] or {})
end

---Send a notification to everybody it concerns.
---@param news trueconf.bridge.Notification
---@param acting? trueconf.bridge.Receiver who caused it
function Delivery:publish(news, acting)
  if not self.profile:tells(news.method) then return end
  if self.observer then self.observer(news, acting) end
  local skipped = self.options.echo == "others" and acting or nil
  for _, key in ipairs(news.recipients) do
    for _, receiver in ipairs(self.receivers[key] or {}) do
      if receiver ~= skipped then receiver:notify(news) end
    end
  end
end

---Send a notification to one receiver, whoever it concerns.
---@param receiver trueconf.bridge.Receiver
---@param news trueconf.bridge.Notification
function Delivery:tell(receiver, news)
  if self.profile:tells(news.method) then receiver:notify(news) end
end

---Send several, in their order.
---@param list trueconf.bridge.Notification[]
---@param acting? trueconf.bridge.Receiver who caused them
function Delivery:publish_all(list, acting)
  for _, news in ipairs(list) do self:publish(news, acting) end
end

---Send a receiver what its account has not read (protocol: unread delivery): the newest
---messages up to the limit, oldest first, without waiting for acks.
---@param receiver trueconf.bridge.Receiver
function Delivery:redeliver(receiver)
  for _, message in ipairs(self.store:unread_list(receiver.key, self.options.redelivery_limit)) do
    receiver:notify(self.news:message(self.store:chat(message.chat_id), message))
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
