-- SPDX-License-Identifier: MIT
-- Checks a payload against the fields a method declares.

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
  if value == nil or value == json.null then return "nothing" end
  if type(value) == "table" then return is_array(value) and "an array" or "an object" end
  return "a " .. type(value)
end

local complaint

local function complaint_about(value, expected, name)
  local optional = false
  if type(expected) == "string" and expected:sub(-1) == "?" then
    expected, optional = expected:sub(1, -2), true
  end
  if value == nil or value == json.null then
    return not optional and ("%s: missing"):format(name) or nil
  end
  local fields = type(expected) == "table" and expected
  local kind = fields and "object" or expected
  if not CHECKS[kind](value) then
    return ("%s: expected %s, got %s"):format(name, kind, name_of(value))
  end
  return fields and complaint(value, fields, name .. ".")
end

---Tell what is wrong with an object, naming the field.
---@param object table
---@param fields table<string, string|table> see methods.lua
---@param prefix? string
---@return string? complaint nil: it is well
function complaint(object, fields, prefix)
  for name, expected in pairs(fields) do
    local found = complaint_about(object[name], expected, (prefix or "") .. name)
    if found then return found end
  end
end

return { complaint = complaint, is_object = CHECKS.object }
