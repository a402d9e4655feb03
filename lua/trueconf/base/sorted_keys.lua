-- SPDX-License-Identifier: MIT
-- The keys of a table in a fixed order, where effects or messages must come in the same order each time.

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
