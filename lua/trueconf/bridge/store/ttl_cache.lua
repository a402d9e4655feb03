-- SPDX-License-Identifier: MIT
-- A cache of values with the same time to live (TTL) and a bounded number of entries; on a shelf of the store they
-- outlive the Bridge.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"

---@class trueconf.bridge.TtlCache
---@field private lifetime integer milliseconds
---@field private most integer
---@field private on_drop fun(value: any)
---@field private shelf trueconf.bridge.Shelf?
local TtlCache = {}
TtlCache.__index = TtlCache

---@param lifetime number seconds
---@param most integer entries; above that the oldest one is dropped
---@param on_drop? fun(value: any) called for each value that expires or is dropped
---@param shelf? trueconf.bridge.Shelf whose values are loaded
---@return trueconf.bridge.TtlCache
local function new(lifetime, most, on_drop, shelf)
  local self = setmetatable({
    lifetime = math.floor(lifetime * 1000),
    most = most,
    on_drop = on_drop or function() end,
    slots = {},
    queue = fifo.new(),
    count = 0,                          -- of kept values; taken ones may still be in the queue
    owned = {},                         -- the same of each owner
    shelf = shelf,
  }, TtlCache)
  for _, item in ipairs(shelf and shelf:list() or {}) do self:enqueue(item.id, item.value, item.over) end
  return self
end

function TtlCache:note(value, change)
  self.count = self.count + change
  if not value.key then return end
  local owned = (self.owned[value.key] or 0) + change
  self.owned[value.key] = owned > 0 and owned or nil
end

function TtlCache:enqueue(id, value, over)
  local slot = { id = id, value = value, over = over }
  self.queue:push(slot)
  self.slots[id] = slot
  self:note(value, 1)
end

function TtlCache:remove(id)
  self:note(self.slots[id].value, -1)
  self.slots[id] = nil
  if self.shelf then self.shelf:remove(id) end
end

function TtlCache:drop_first()
  local slot = self.queue:pop()
  if self.slots[slot.id] ~= slot then return end
  self:remove(slot.id)
  self.on_drop(slot.value)
end

---Drop expired values. The other methods call it.
function TtlCache:sweep()
  local now = core.now()
  for slot in self.queue.peek, self.queue do
    if slot.over > now and self.slots[slot.id] == slot then return end
    self:drop_first()
  end
end

---@param id string
---@param value any
function TtlCache:put(id, value)
  self:sweep()
  if self.count >= self.most then self:drop_first() end
  local over = core.now() + self.lifetime
  self:enqueue(id, value, over)
  if self.shelf then self.shelf:put(id, value, over) end
end

---@param id string
---@return any value nil: there is none, or it has expired
function TtlCache:get(id)
  self:sweep()
  local slot = self.slots[id]
  return slot and slot.value
end

---Number of values of one owner, which is the field `key` of a value.
---@param key string
---@return integer
function TtlCache:count_of(key)
  self:sweep()
  return self.owned[key] or 0
end

---Get a value and remove it.
---@param id string
---@return any value
function TtlCache:take(id)
  local value = self:get(id)
  if value ~= nil then self:remove(id) end
  return value
end

---Call fn(value) for each value.
---@param fn fun(value: any)
function TtlCache:each(fn)
  for _, slot in pairs(self.slots) do fn(slot.value) end
end

---Drop everything.
function TtlCache:clear()
  while self.queue:peek() do self:drop_first() end
end

return { new = new }
