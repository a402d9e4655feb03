-- SPDX-License-Identifier: MIT
-- Checks the fields of an act. Each has a kind, with "?" after it if the field may be missing. No message repeats a
-- value that could be a secret.

local json = require "trueconf.base.json"
local mime = require "trueconf.base.mime"
local protocol = require "trueconf.protocol"
local sorted_keys = require "trueconf.base.sorted_keys"

local MAX_WAIT = 60                     -- seconds
local MAX_COUNT = 10000

---@class trueconf.bridge.Refusal a complaint about a field
---@field field string
---@field expected string
---@field got string

local fields = {}

---@param field string
---@param expected string
---@param got string
---@return trueconf.bridge.Refusal
function fields.refusal(field, expected, got)
  return { field = field, expected = expected, got = got }
end

local function is_text(value)
  return type(value) == "string" and value ~= "" and utf8.len(value) ~= nil
end

local function is_object(value)
  return type(value) == "table" and not json.is_array(value)
end

local function one_of(names)
  local allowed = {}
  for _, name in ipairs(names) do allowed[name] = true end
  return { expected = "one of " .. table.concat(names, ", "), fits = function(value) return allowed[value] == true end }
end

local function number(expected, fits)
  return { expected = expected, fits = function(value) return type(value) == "number" and fits(value) end,
    is_number = true }
end

local ROLES = one_of { "user", "admin", "writer" }

-- Logins with the roles they are to have.
local function is_roles(value)
  if not is_object(value) then return false end
  for login, role in pairs(value) do
    if not is_text(login) or not ROLES.fits(role) then return false end
  end
  return true
end

local function is_texts(value)
  if not json.is_array(value) then return false end
  for _, item in ipairs(value) do
    if not is_text(item) then return false end
  end
  return true
end

local KINDS = {
  text = { expected = "text that is not empty", fits = is_text },
  string = { expected = "text", fits = function(value) return type(value) == "string" end },
  boolean = { expected = "true or false", fits = function(value) return type(value) == "boolean" end },
  parse_mode = one_of { "text", "markdown", "html" },
  mime_type = { expected = "a MIME type", fits = function(value) return is_text(value) and mime.is_type(value) end },
  role = ROLES,
  roles = { expected = "an object of logins with " .. ROLES.expected, fits = is_roles },
  activity = one_of(protocol.enums.ActivityType.values),
  extension_mode = one_of(protocol.enums.ExtensionMode.values),
  texts = { expected = "an array of texts", fits = is_texts },
  latitude = number("degrees from -90 to 90", function(value) return math.abs(value) <= 90 end),
  longitude = number("degrees from -180 to 180", function(value) return math.abs(value) <= 180 end),
  seconds = number("a number of seconds", function(value) return value == value and math.abs(value) < 1e12 end),
  bytes = number("a number of bytes above 0", function(value) return math.type(value) == "integer" and value > 0 end),
  count = number(("a whole number from 1 to %d"):format(MAX_COUNT), function(value)
    return math.type(value) == "integer" and value >= 1 and value <= MAX_COUNT
  end),
  wait = number(("seconds from 0 to %d"):format(MAX_WAIT), function(value) return value >= 0 and value <= MAX_WAIT end),
}

-- The value in words for a message: a number itself, of others the type, because a text may be a password.
local function shown(value)
  if value == nil then return "nothing" end
  if value == "" then return "an empty string" end
  if type(value) == "number" then return tostring(value) end
  return type(value) == "table" and "an object or array" or "a " .. type(value)
end

local function kind_of(described)
  local name, optional = described:match "^([%w_]+)(%??)$"
  return KINDS[name], optional == "?"
end

---The complaint about the first wrong field, by name.
---@param input table
---@param described table<string, string> kinds by name
---@return trueconf.bridge.Refusal? wrong
function fields.complaint(input, described)
  for _, name in ipairs(sorted_keys(input)) do
    if not described[name] then
      local known = sorted_keys(described)
      local expected = known[1] and "one of " .. table.concat(known, ", ") or "no fields"
      return fields.refusal(tostring(name):sub(1, 64), expected, "an unknown field")
    end
  end
  for _, name in ipairs(sorted_keys(described)) do
    local kind, optional = kind_of(described[name])
    local value = input[name]
    if not (value == nil and optional) and not kind.fits(value) then
      return fields.refusal(name, kind.expected, shown(value))
    end
  end
end

local WORDS = { ["true"] = true, ["false"] = false }

---The fields of a query, in which every value is text.
---@param query table<string, string>
---@param described table<string, string>
---@return table input
function fields.of_query(query, described)
  local input = {}
  for name, text in pairs(query) do
    local kind = described[name] and kind_of(described[name])
    local value = text
    if kind and kind.is_number then value = math.tointeger(tonumber(text)) or tonumber(text) or text end
    if kind == KINDS.boolean and WORDS[text] ~= nil then value = WORDS[text] end
    input[name] = value
  end
  return input
end

return fields
