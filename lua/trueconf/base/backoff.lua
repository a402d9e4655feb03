-- SPDX-License-Identifier: MIT
-- Exponential backoff: after each failed try the pause is twice as long, up to a limit.

local core = require "trueconf.core"

local backoff = {}

---@param tries integer failed so far, at least 1
---@param first number seconds after the first one
---@param longest number seconds
---@return number seconds
function backoff.pause(tries, first, longest)
  return math.min(first * 2.0 ^ (tries - 1), longest)
end

---Jitter: spread a pause by a quarter to both sides, so that clients that failed together do not retry together.
---@param seconds number
---@return number seconds
function backoff.jittered(seconds)
  return seconds * (0.75 + core.random(1):byte() / 512)
end

return backoff
