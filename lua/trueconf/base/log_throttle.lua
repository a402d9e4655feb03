-- SPDX-License-Identifier: MIT
-- Rate limit of log lines: a handler that fails a thousand times a second must not fill the disk with its tracebacks.

local lru = require "trueconf.base.lru"
local core = require "trueconf.core"

local PERIOD = 60                       -- seconds between two of a kind
local MOST_KINDS = 200

---@class trueconf.LogThrottle
---@field private kinds trueconf.Lru
local LogThrottle = {}
LogThrottle.__index = LogThrottle

---@return trueconf.LogThrottle
local function new()
  return setmetatable({ kinds = lru.new(MOST_KINDS) }, LogThrottle)
end

---Ask whether to log a line of this kind now.
---@param kind string lines of the same kind count together
---@return integer? suppressed lines of this kind suppressed since the last one; nil: do not log it
function LogThrottle:may_say(kind)
  local now, known = core.monotonic(), self.kinds:get(kind)
  if not known or now - known.at >= PERIOD then
    self.kinds:put(kind, { at = now, suppressed = 0 })
    return known and known.suppressed or 0
  end
  known.suppressed = known.suppressed + 1
end

return { new = new }
