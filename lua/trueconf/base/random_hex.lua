-- SPDX-License-Identifier: MIT
-- Random ids and secrets of hex digits.

local core = require "trueconf.core"

---@param bytes integer of randomness
---@return string digits in lower case, two for each byte
local function random_hex(bytes)
  return (core.random(bytes):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

return random_hex
