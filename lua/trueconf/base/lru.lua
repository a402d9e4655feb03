-- SPDX-License-Identifier: MIT
-- An LRU cache: a table of bounded size that drops the least recently used entries first. It has two generations, so
-- nothing has to be sorted or timed: when the young one is full, it replaces the old one, and the entries left in the
-- old one are dropped.

---@class trueconf.Lru
---@field private young table
---@field private old table
---@field private count integer entries of the young generation
---@field private half integer
local Lru = {}
Lru.__index = Lru

---@param limit integer entries, at least 2
---@return trueconf.Lru
local function new(limit)
  return setmetatable({ young = {}, old = {}, count = 0, half = math.max(1, limit // 2) }, Lru)
end

---@param key any
---@param value any not nil
function Lru:put(key, value)
  if self.young[key] == nil then
    if self.count >= self.half then self.old, self.young, self.count = self.young, {}, 0 end
    self.count = self.count + 1
  end
  self.young[key] = value
end

---@param key any
---@return any? value
function Lru:get(key)
  local value = self.young[key]
  if value ~= nil then return value end
  value = self.old[key]
  if value ~= nil then self:put(key, value) end
  return value
end

---@param key any
function Lru:remove(key)
  self.old[key] = nil
  if self.young[key] ~= nil then self.young[key], self.count = nil, self.count - 1 end
end

function Lru:clear()
  self.young, self.old, self.count = {}, {}, 0
end

return { new = new }
