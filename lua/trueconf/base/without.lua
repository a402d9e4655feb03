-- SPDX-License-Identifier: MIT
-- Lists are replaced, never altered: another function may be iterating over one at this moment.

local list = {}

---A copy without one of the items.
---@generic T
---@param items T[]
---@param unwanted T
---@return T[]
function list.without(items, unwanted)
  local kept = {}
  for _, item in ipairs(items) do
    if item ~= unwanted then kept[#kept + 1] = item end
  end
  return kept
end

return list
