-- SPDX-License-Identifier: MIT
-- Acknowledgements: the requests of the server for each item, and the acks that wait until the store is written. A
-- message whose changes are not stored is not acknowledged.

local MOST_DELIVERIES = 100             -- acknowledged deliveries of one item on one connection

---@class trueconf.Acks
---@field store trueconf.Store? acks wait for its commit
---@field private link trueconf.core.Session
---@field private expected table<string|integer, integer> by id of an item: connection and number of the request
---@field private repeats table<string|integer, integer[]>? further requests that have brought an item
---@field private held { epoch: integer, [integer]: integer }? requests whose acks wait until the store is written
local Acks = {}
Acks.__index = Acks

---@param link trueconf.core.Session
---@return trueconf.Acks
local function new(link)
  return setmetatable({ link = link, expected = {} }, Acks)
end

---Acknowledge a request of the server, when all earlier changes of the store are written.
---@param frame_id integer the request
---@param epoch integer of its connection
---@return boolean sent or to be sent
function Acks:acknowledge(frame_id, epoch)
  local store, held = self.store, self.held
  if not store or store.unwritten == 0 then return self.link:ack(frame_id, epoch) end
  if not held or held.epoch ~= epoch then -- those of a lost connection would reach nobody
    held = { epoch = epoch }
    self.held = held
  end
  held[#held + 1] = frame_id
  return true
end

---The store is written: send the acks that have waited for that.
function Acks:flush()
  local held = self.held
  if not held then return end
  self.held = nil
  for _, frame_id in ipairs(held) do self.link:ack(frame_id, held.epoch) end
end

---An item was taken in.
---@param id string|integer of the item
---@param frame_id integer
---@param epoch integer
function Acks:expect(id, frame_id, epoch)
  self.expected[id] = epoch << 32 | frame_id
end

---An item came again that waits or is being handled. Each delivery on this connection gets its ack; those of a lost
---connection get none.
---@param id string|integer of the item
---@param frame_id integer
---@param epoch integer
function Acks:came_again(id, frame_id, epoch)
  local expected = self.expected[id]
  if not expected then return self:acknowledge(frame_id, epoch) end
  local repeats = self.repeats or {}
  self.repeats = repeats
  if expected >> 32 ~= epoch then
    self.expected[id], repeats[id] = epoch << 32 | frame_id, nil
    return
  end
  local list = repeats[id] or {}
  repeats[id] = list
  if #list < MOST_DELIVERIES then list[#list + 1] = frame_id end
end

---@param id string|integer|nil of an item
---@return boolean expected it was not acknowledged yet
function Acks:is_expected(id)
  return id ~= nil and self.expected[id] ~= nil
end

---Acknowledge an item, and each delivery of it that has come meanwhile.
---@param id string|integer
---@return boolean sent false: it was acknowledged before, or its connection is gone
function Acks:send(id)
  local expected = self.expected[id]
  if not expected then return false end
  local epoch, list = expected >> 32, self.repeats and self.repeats[id]
  self.expected[id] = nil
  if list then
    self.repeats[id] = nil
    for _, frame_id in ipairs(list) do self:acknowledge(frame_id, epoch) end
  end
  return self:acknowledge(expected & 0xffffffff, epoch)
end

return { new = new }
