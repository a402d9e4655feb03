-- SPDX-License-Identifier: MIT
-- Reads the body of a token request: a JSON object whose fields are strings, all of them required. It is unknown
-- whether real servers also read forms, as in OAuth2; a Bridge that is not strict does.

local json = require "trueconf.base.json"

local form = {}

local function type_name(value)
  if type(value) == "table" then return json.is_array(value) and "an array" or "an object" end
  return "a " .. type(value)
end

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function read_urlencoded(body)
  local fields = {}
  for name, value in body:gmatch "([^&=]+)=?([^&]*)" do fields[decoded(name)] = decoded(value) end
  return fields
end

local function is_urlencoded(request)
  local kind = (request.headers or {})["content-type"] or ""
  return kind:lower():find "^%s*application/x%-www%-form%-urlencoded%f[%s;%z]" ~= nil
end

---Read the body of a request. A field that is null counts as missing: json.lua leaves it out. Other fields are ignored.
---@param request trueconf.core.Request
---@param names string[] of the fields
---@param strict boolean only JSON
---@return table<string, any>? fields
---@return string? complaint
---@return string? name of the wrong field, if there is one
function form.read(request, names, strict)
  local fields
  if not strict and is_urlencoded(request) then
    fields = read_urlencoded(request.body)
  else
    fields = json.decode(request.body)
  end
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
