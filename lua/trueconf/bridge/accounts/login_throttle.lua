-- SPDX-License-Identifier: MIT
-- Rate limit of failed logins: counts failures by key within a window of time. Memory is bounded: above the limit of
-- keys, the key with the oldest first failure is forgotten.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"

local MAX_KEYS = 10000

---@class trueconf.bridge.LoginThrottle
---@field private limit integer failures; 0: any number
---@field private window number seconds from the first failure on
---@field private entries table<string, { key: string, count: integer, over: number }>
---@field private order trueconf.Fifo all entries, ordered by their end
local LoginThrottle = {}
LoginThrottle.__index = LoginThrottle

---@param limit integer failures after which a key is refused; 0: no limit
---@param window number seconds after the first failure in which they count
---@return trueconf.bridge.LoginThrottle
local function new(limit, window)
  return setmetatable({ limit = limit, window = window, entries = {}, order = fifo.new() }, LoginThrottle)
end

function LoginThrottle:drop_first()
  local entry = self.order:pop()
  if self.entries[entry.key] == entry then self.entries[entry.key] = nil end
end

-- Forget entries that have ended, and those above the limit of keys.
function LoginThrottle:tidy(now)
  local order = self.order
  while order:peek() and (order:peek().over <= now or order:count() >= MAX_KEYS) do self:drop_first() end
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
    self.order:push(entry)
  end
  entry.count = entry.count + 1
end

---Forget the failures of a key.
---@param key string
function LoginThrottle:clear(key)
  self.entries[key] = nil
end

return { new = new }
