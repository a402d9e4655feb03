-- SPDX-License-Identifier: MIT
-- Things that are kept for a while, all for the same time, and at most so many of them.

local core = require "trueconf.core"

---@class trueconf.bridge.Expiring
---@field private lifetime integer milliseconds
---@field private most integer
---@field private on_drop fun(value: any)
local Expiring = {}
Expiring.__index = Expiring

---@param lifetime number seconds
---@param most integer of several the oldest one leaves
---@param on_drop? fun(value: any) called for what nobody has taken in time
---@return trueconf.bridge.Expiring
local function new(lifetime, most, on_drop)
  return setmetatable({
    lifetime = math.floor(lifetime * 1000),
    most = most,
    on_drop = on_drop or function() end,
    slots = {},
    queue = {},
    first = 1,
    last = 0,
  }, Expiring)
end

function Expiring:drop_first()
  local slot = self.queue[self.first]
  self.queue[self.first] = nil
  self.first = self.first + 1
  if self.slots[slot.id] ~= slot then return end
  self.slots[slot.id] = nil
  self.on_drop(slot.value)
end

---Let go of what is too old. Called by the others.
function Expiring:sweep()
  local now = core.now()
  while self.first <= self.last and self.queue[self.first].over <= now do self:drop_first() end
end

---@param id string
---@param value any
function Expiring:put(id, value)
  self:sweep()
  if self.last - self.first + 1 >= self.most then self:drop_first() end
  local slot = { id = id, value = value, over = core.now() + self.lifetime }
  self.last = self.last + 1
  self.queue[self.last], self.slots[id] = slot, slot
end

---@param id string
---@return any value nil: there is none, or it was kept too long
function Expiring:get(id)
  self:sweep()
  local slot = self.slots[id]
  return slot and slot.value
end

---Get something, and keep it no longer.
---@param id string
---@return any value
function Expiring:take(id)
  local value = self:get(id)
  self.slots[id] = nil
  return value
end

---Let go of everything.
function Expiring:clear()
  while self.first <= self.last do self:drop_first() end
end

return { new = new }
