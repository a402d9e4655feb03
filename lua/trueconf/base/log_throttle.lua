-- SPDX-License-Identifier: MIT
-- Lets the same thing be said only now and then: a handler that fails a thousand times a second
-- must not fill the disk with its tracebacks.

local bounded = require "trueconf.base.lru"
local core = require "trueconf.core"

local PERIOD = 60                       -- seconds between two of a kind
local MOST_KINDS = 200

---@class trueconf.HeldDown
---@field private kinds trueconf.Bounded
local HeldDown = {}
HeldDown.__index = HeldDown

---@return trueconf.HeldDown
local function new()
  return setmetatable({ kinds = bounded.new(MOST_KINDS) }, HeldDown)
end

---Whether this is to be said now.
---@param kind string what makes two the same
---@return integer? suppressed how often it was not said since it was said last; nil: do not say it
function HeldDown:may_say(kind)
  local now, known = core.monotonic(), self.kinds:get(kind)
  if not known or now - known.at >= PERIOD then
    self.kinds:put(kind, { at = now, suppressed = 0 })
    return known and known.suppressed or 0
  end
  known.suppressed = known.suppressed + 1
end

return { new = new }
