-- SPDX-License-Identifier: MIT
-- The keys of a table in a fixed order, where what is done or told must be the same each time.

---@generic K
---@param map table<K, any> with keys of one type that can be compared
---@return K[]
local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

return sorted_keys
