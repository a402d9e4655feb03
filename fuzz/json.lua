-- SPDX-License-Identifier: MIT
-- JSON: what is read can be written and reads as the same again; text that is read is UTF-8.
local json = require "trueconf.base.json"

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return json.is_array(a) == json.is_array(b)
end

return function(text)
  local value, err = json.decode(text)
  if err or value == nil then return end
  local written = assert(json.encode(value))
  assert(utf8.len(written), "the written text is not UTF-8")
  local again = assert(json.decode(written))
  assert(same(value, again), written)
end
