-- SPDX-License-Identifier: MIT
-- Ids and secrets that nobody can guess, of hex digits.

local core = require "trueconf.core"

---@param bytes integer of randomness
---@return string digits in lower case, two for each byte
local function random_hex(bytes)
  return (core.random(bytes):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

return random_hex
