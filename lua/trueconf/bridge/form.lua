-- SPDX-License-Identifier: MIT
-- What is sent to get a token: JSON objects whose fields are strings, all of them required.

local json = require "trueconf.json"

local form = {}

local function type_name(value)
  if type(value) == "table" then return json.is_array(value) and "an array" or "an object" end
  return "a " .. type(value)
end

---Read the body of a request. A field that is null is missing: json.lua leaves it out. Other fields are passed over.
---@param body string
---@param names string[] of the fields
---@return table<string, any>? fields
---@return string? complaint
---@return string? name of the field it is about, if it is about one
function form.read(body, names)
  local fields = json.decode(body)
  if type(fields) ~= "table" or json.is_array(fields) then return nil, "the body must be a JSON object" end
  for _, name in ipairs(names) do
    local value = fields[name]
    if value == nil then return nil, name .. ": missing", name end
    if type(value) ~= "string" then
      return nil, ("%s: expected string, got %s"):format(name, type_name(value)), name
    end
  end
  return fields
end

return form
