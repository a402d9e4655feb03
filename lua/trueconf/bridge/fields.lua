-- SPDX-License-Identifier: MIT
-- Checks the body of an HTTP request against declared fields. A field that is null is missing:
-- json.lua leaves it out. A field's type is "string", "boolean", "integer", "number", "object" or
-- "array", with "?" behind it if the field may be missing or null, or a table of fields for an
-- object whose inside is checked too.

local json = require "trueconf.json"

local is_array = json.is_array

local CHECKS = {
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
  integer = function(value) return math.type(value) == "integer" end,
  number = function(value) return type(value) == "number" end,
  object = function(value) return type(value) == "table" and not is_array(value) end,
  array = function(value) return type(value) == "table" and (next(value) == nil or is_array(value)) end,
}

local function name_of(value)
  if type(value) == "table" then return is_array(value) and "an array" or "an object" end
  return "a " .. type(value)
end

-- Kind and whether it may be missing, of each type that a field can have.
local TYPES = {}
for kind, check in pairs(CHECKS) do
  TYPES[kind] = { kind = kind, check = check, optional = false }
  TYPES[kind .. "?"] = { kind = kind, check = check, optional = true }
end

local complaint

local function complaint_about(value, expected, name, prefix)
  local inside = type(expected) == "table" and expected
  local field = TYPES[inside and "object" or expected]
  if value == nil then
    return not field.optional and ("%s%s: missing"):format(prefix, name) or nil
  end
  if not field.check(value) then
    return ("%s%s: expected %s, got %s"):format(prefix, name, field.kind, name_of(value))
  end
  return inside and complaint(value, inside, prefix .. name .. ".")
end

---Tell what is wrong with an object, naming the field.
---@param object table
---@param fields table<string, string|table> types by name
---@param prefix? string
---@return string? complaint nil: it is well
function complaint(object, fields, prefix)
  local first, found
  for name, expected in pairs(fields) do
    local wrong = complaint_about(object[name], expected, name, prefix or "")
    -- Of several always the same one, so that a run can be repeated.
    if wrong and (not first or name < first) then first, found = name, wrong end
  end
  return found
end

return { complaint = complaint, is_object = CHECKS.object }
