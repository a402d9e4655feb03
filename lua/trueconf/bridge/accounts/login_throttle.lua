-- SPDX-License-Identifier: MIT
-- Counts failures by key, and tells when there were too many of them in a while. Memory is bounded: of too
-- many keys the one whose first failure is the longest ago is forgotten.

local core = require "trueconf.core"

local MAX_KEYS = 10000

---@class trueconf.bridge.LoginThrottle
---@field private limit integer failures; 0: any number
---@field private window number seconds from the first failure on
---@field private entries table<string, { key: string, count: integer, over: number }>
---@field private order table<integer, table> all entries, those first that are over first
---@field private first integer place in `order`
---@field private last integer
local LoginThrottle = {}
LoginThrottle.__index = LoginThrottle

---@param limit integer failures from which on a key is refused; 0: none
---@param window number seconds after the first failure in which they count
---@return trueconf.bridge.LoginThrottle
local function new(limit, window)
  return setmetatable({ limit = limit, window = window, entries = {}, order = {}, first = 1, last = 0 }, LoginThrottle)
end

function LoginThrottle:drop_first()
  local entry = self.order[self.first]
  self.order[self.first] = nil
  self.first = self.first + 1
  if self.entries[entry.key] == entry then self.entries[entry.key] = nil end
end

-- Forget what is over, and what there is no room for.
function LoginThrottle:tidy(now)
  while self.first <= self.last do
    if self.order[self.first].over > now and self.last - self.first + 1 < MAX_KEYS then return end
    self:drop_first()
  end
end

---@param key string
---@return number? seconds until the key may try again; nil: now
function LoginThrottle:pause(key)
  local entry = self.entries[key]
  if not entry or self.limit == 0 or entry.count < self.limit then return nil end
  local left = entry.over - core.monotonic()
  return left > 0 and left or nil
end

---Count a failure.
---@param key string
function LoginThrottle:add(key)
  if self.limit == 0 then return end
  local now = core.monotonic()
  self:tidy(now)
  local entry = self.entries[key]
  if not entry then
    entry = { key = key, count = 0, over = now + self.window }
    self.entries[key] = entry
    self.last = self.last + 1
    self.order[self.last] = entry
  end
  entry.count = entry.count + 1
end

---Forget the failures of a key.
---@param key string
function LoginThrottle:clear(key)
  self.entries[key] = nil
end

return { new = new }
