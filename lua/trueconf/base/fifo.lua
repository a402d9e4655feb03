-- SPDX-License-Identifier: MIT
-- A queue, first in, first out: its entries are at the indexes [first .. last] of the table itself. Above its limit, if
-- it has one, it drops the oldest entry.

---@class trueconf.Fifo
---@field first integer index of the oldest entry
---@field last integer index of the newest one; less than `first`: there is none
---@field private limit number
local Fifo = {}
Fifo.__index = Fifo

---@param limit? integer entries, at most
---@return trueconf.Fifo
local function new(limit)
  return setmetatable({ first = 1, last = 0, limit = limit or math.huge }, Fifo)
end

---@param entry any not nil
---@return any dropped the oldest entry, if it had to go
function Fifo:push(entry)
  local last = self.last + 1
  self[last], self.last = entry, last
  if last - self.first >= self.limit then return self:pop() end
end

---Put an entry before the oldest one.
---@param entry any not nil
function Fifo:push_front(entry)
  local first = self.first - 1
  self[first], self.first = entry, first
end

---@return any oldest entry; nil: there is none
function Fifo:peek()
  return self[self.first]
end

---@return any oldest entry, which is in the queue no longer; nil: there was none
function Fifo:pop()
  local first = self.first
  local entry = self[first]
  if entry ~= nil then self[first], self.first = nil, first + 1 end
  return entry
end

---@return integer entries
function Fifo:count()
  return self.last - self.first + 1
end

return { new = new }
