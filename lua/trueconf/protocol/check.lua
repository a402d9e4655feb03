-- SPDX-License-Identifier: MIT
-- Checks payloads against the schema. Each method, notification and object is compiled once
-- into nested closures per direction and version of the server; a check that finds nothing
-- allocates nothing.

local enums = require "trueconf.protocol.enums"
local field_notation = require "trueconf.protocol.field"
local json = require "trueconf.base.json"
local methods = require "trueconf.protocol.methods".methods
local notifications = require "trueconf.protocol.notifications".notifications
local object_tables = require "trueconf.protocol.objects"
local versions = require "trueconf.protocol.versions"

local objects, unions = object_tables.objects, object_tables.unions
local is_array, null = json.is_array, json.null
local type, next, math_type = type, next, math.type

---@class trueconf.protocol.Mistake
---@field field string path of the wrong field, such as "content.buttons[1][2].label", with indexes from 0 when
---"incoming"; "" for the payload itself
---@field expected string
---@field got string never a secret: a type, a number, or a word where one of several was expected
---@field kind "missing"|"type"|"range"|"length"|"enum"|"unknown"
---@field message string for people

---@alias trueconf.protocol.Direction
---| "request"      a client is about to send it
---| "incoming"     a server received it from a client
---| "response"     a server answers with it
---| "notification" a server tells it

-- Mistakes --------------------------------------------------------------------------------

local MAX_WORD = 40                     -- characters of a value that are quoted

local function type_of(value)
  if value == nil or value == null then return "null" end
  if type(value) == "table" then return is_array(value) and "an array" or "an object" end
  if value ~= value then return "NaN" end
  if math_type(value) == "float" then return value % 1 > 0 and "a number with a fraction" or tostring(value) end
  return "a " .. type(value)
end

local function quoted(value)
  if type(value) ~= "string" then return tostring(value) end
  local cut = utf8.offset(value, MAX_WORD + 1)
  if cut and cut <= #value then value = value:sub(1, cut - 1) .. "…" end
  return "'" .. value:gsub("%c", "?") .. "'"
end

local function mistake(kind, expected, got)
  return { field = "", kind = kind, expected = expected, got = got }
end

-- Put the name of the enclosing field before a mistake's path.
local function inside(wrong, name)
  local path = wrong.field
  local separator = (path == "" or path:byte() == 91) and "" or "."
  wrong.field = name .. separator .. path
  return wrong
end

local function message_of(wrong)
  local name = wrong.field
  if wrong.kind == "missing" then return ("missing field '%s': %s expected"):format(name, wrong.expected) end
  if wrong.kind == "length" then return ("%s %s, %s"):format(name, wrong.got, wrong.expected) end
  local what = name == "" and "bad payload" or ("bad field '%s'"):format(name)
  return ("%s: %s expected, got %s"):format(what, wrong.expected, wrong.got)
end

-- Values ----------------------------------------------------------------------------------

-- The mistake of a value of a wrong type; nil if it is null and null is allowed.
local function wrong_type(value, field, expected)
  if value == null and field.nullable then return nil end
  return mistake("type", expected, type_of(value))
end

local visible_length

-- text.lua counts what a person sees; it stands above this file and may be missing its count.
local function visible(text)
  visible_length = visible_length or require "trueconf.text".visible_length
  if visible_length then return visible_length(text) end
  return utf8.len(text) or #text
end

local COUNTS = {
  ["visible characters"] = visible,
  ["ASCII characters"] = string.len,
  characters = function(text) return utf8.len(text) or #text end,
}

local function too_short(count, field, measure)
  local range = field.max and ("%d to %d %s expected"):format(field.min, field.max, measure)
    or ("at least %d %s expected"):format(field.min, measure)
  return mistake("length", range, count == 0 and "is empty" or ("is %d %s"):format(count, measure))
end

-- A character has at least one byte, so the number of bytes is enough to check a minimum (which is 1, or of ASCII), and
-- a maximum unless there are more bytes than allowed characters.
local function length_check(field)
  local measure = field.measure or "characters"
  local min, max, count = field.min or 0, field.max or math.huge, COUNTS[measure]
  return function(value)
    if #value < min then return too_short(#value, field, measure) end
    if #value <= max then return nil end
    local length = count(value)
    if length <= max then return nil end
    return mistake("length", ("%d allowed"):format(max), ("is %d %s"):format(length, measure))
  end
end

local function scheme_check(schemes)
  local set = {}
  for _, scheme in ipairs(schemes) do set[scheme] = true end
  local expected = "an address with " .. table.concat(schemes, ", ")
  return function(value)
    local scheme = value:match "^(%a[%w+.-]*):"
    if scheme and set[scheme:lower()] then return nil end
    return mistake("enum", expected, scheme and quoted(scheme) or "none of them")
  end
end

local function ascii_check(value)
  if not value:find "[\x80-\xff]" then return nil end
  return mistake("type", "ASCII characters", "others too")
end

local function string_check(field)
  local tests = {}
  if field.measure == "ASCII characters" then tests[#tests + 1] = ascii_check end
  if field.min or field.max then tests[#tests + 1] = length_check(field) end
  if field.schemes then tests[#tests + 1] = scheme_check(field.schemes) end
  local first = tests[1]
  return function(value)
    if type(value) ~= "string" then return wrong_type(value, field, "a string") end
    if not first then return nil end
    for i = 1, #tests do
      local wrong = tests[i](value)
      if wrong then return wrong end
    end
  end
end

local function range_of(noun, field)
  if not field.min then return ("%s of at most %d"):format(noun, field.max) end
  if not field.max then return ("%s of at least %d"):format(noun, field.min) end
  return ("%s from %d to %d"):format(noun, field.min, field.max)
end

local function number_check(field, noun, is_one)
  local min, max = field.min or -math.huge, field.max or math.huge
  return function(value)
    if not is_one(value) then return wrong_type(value, field, noun) end
    if value < min or value > max then return mistake("range", range_of(noun, field), tostring(value)) end
  end
end

local function is_integer(value) return math_type(value) == "integer" end
local function is_number(value) return type(value) == "number" and value == value end

local function is_object(value)
  return type(value) == "table" and not is_array(value)
end

local PRIMITIVES = {
  string = string_check,
  integer = function(field) return number_check(field, "an integer", is_integer) end,
  number = function(field) return number_check(field, "a number", is_number) end,
  boolean = function(field)
    return function(value)
      if type(value) ~= "boolean" then return wrong_type(value, field, "a boolean") end
    end
  end,
  object = function(field)
    return function(value)
      if not is_object(value) then return wrong_type(value, field, "an object") end
    end
  end,
}

local function words_of(enum)
  local words = {}
  for index, value in ipairs(enum.values) do
    words[index] = tostring(value)
    if enum.base == "integer" then words[index] = words[index] .. " (" .. enum.names[value] .. ")" end
  end
  return (#words > 1 and "one of " or "") .. table.concat(words, ", ")
end

local function enum_check(enum, field)
  local set, expected = enum.set, words_of(enum)
  return function(value)
    if set[value] then return nil end
    if type(value) == type(enum.values[1]) then return mistake("enum", expected, quoted(value)) end
    return wrong_type(value, field, expected)
  end
end

-- Objects ---------------------------------------------------------------------------------

local compile_type

-- The expected type in words that a user understands.
local function noun_of(field)
  local kind = field.type
  if kind == "integer" then return "an integer" end
  if PRIMITIVES[kind] then return (kind == "object" and "an " or "a ") .. kind end
  if enums[kind] then return words_of(enums[kind]) end
  return field_notation.item_type(kind) and "an array" or "an object"
end

-- A field as the two ends of a direction see it.
local function seen(context, field)
  local more = not context.limited and { min = false, max = false, measure = false, schemes = false }
    or context.server and field.at_server
  if not more then return field end
  local copy = {}
  for key, value in pairs(field) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value or nil end
  return copy
end

local function known(context, field)
  return versions.since(context.version, field.since)
end

local function is_required(context, field)
  if field.optional or field.nullable then return false end
  return not (context.server and field.required_since) or versions.since(context.version, field.required_since)
end

local function field_checks(context, fields)
  local list = {}
  for _, declared in ipairs(fields) do
    if known(context, declared) then
      local field = seen(context, declared)
      list[#list + 1] = {
        name = field.name, alias = field.alias or field.name, required = is_required(context, field),
        noun = noun_of(field), check = compile_type(context, field),
      }
    end
  end
  return list
end

local function fields_check(context, fields)
  local list = field_checks(context, fields)
  local count = #list
  return function(object)
    for i = 1, count do
      local entry = list[i]
      local value = object[entry.name]
      if value == nil then value = object[entry.alias] end
      if value ~= nil then
        local wrong = entry.check(value, object)
        if wrong then return inside(wrong, entry.name) end
      elseif entry.required then
        return inside(mistake("missing", entry.noun, "nothing"), entry.name)
      end
    end
  end
end

local function object_check(context, object)
  local own, variants = fields_check(context, object.fields), {}
  for kind, fields in pairs(object.variants or {}) do variants[kind] = fields_check(context, fields) end
  return function(value)
    local wrong = own(value)
    if wrong then return wrong end
    local variant = variants[value.type]
    return variant and variant(value)
  end
end

-- Objects hold each other, so each is compiled when the first of its kind is checked.
local function object_named(context, name)
  local check = context.objects[name]
  if not check then
    check = object_check(context, objects[name])
    context.objects[name] = check
  end
  return check
end

local function reference_check(context, name, field)
  local check
  return function(value)
    if not is_object(value) then return wrong_type(value, field, "an object") end
    check = check or object_named(context, name)
    return check(value)
  end
end

local function union_check(context, union, field)
  local by, of, checks = union.by, union.of, {}
  return function(value, holder)
    if not is_object(value) then return wrong_type(value, field, "an object") end
    local name = of[holder[by]]
    if not name then return nil end
    local check = checks[name] or object_named(context, name)
    checks[name] = check
    return check(value)
  end
end

local function array_check(context, item_type, field)
  local min, max, measure = field.min or 0, field.max or math.huge, field.measure or "items"
  local check = compile_type(context, { type = item_type, max = field.row_max, measure = "buttons in a row" })
  local offset = context.server and 1 or 0      -- a client of any language counts as JSON does, a caller as Lua does
  return function(value)
    if type(value) ~= "table" or (next(value) ~= nil and not is_array(value)) then
      return wrong_type(value, field, "an array")
    end
    if #value < min then return too_short(#value, field, measure) end
    if #value > max then
      return mistake("length", ("%d allowed"):format(max), ("is %d %s"):format(#value, measure))
    end
    for i = 1, #value do
      local wrong = check(value[i], value)
      if wrong then return inside(wrong, "[" .. i - offset .. "]") end
    end
  end
end

function compile_type(context, field)
  local kind = field.type
  local item_type = field_notation.item_type(kind)
  if item_type then return array_check(context, item_type, field) end
  if PRIMITIVES[kind] then return PRIMITIVES[kind](field) end
  if enums[kind] then return enum_check(enums[kind], field) end
  if unions[kind] then return union_check(context, unions[kind], field) end
  if objects[kind] then return reference_check(context, kind, field) end
  error("the schema knows no type " .. kind)
end

-- Payloads --------------------------------------------------------------------------------

local function compile_payload(context, declared)
  if type(declared) == "string" then return compile_type(context, { type = declared }) end
  local check = fields_check(context, declared)
  return function(payload)
    if not is_object(payload) then return mistake("type", "an object", type_of(payload)) end
    return check(payload)
  end
end

-- The declaration of a name in the schema: a type, or a list of fields.
local function declared_payload(name, direction)
  if objects[name] then return name end
  if direction == "notification" then return (notifications[name] or {}).payload end
  local method = methods[name]
  return method and (direction == "response" and method.response or method.request)
end

local LIMITED = { request = true, incoming = true, response = false, notification = false }

local contexts = {}

local function context_of(direction, version)
  if LIMITED[direction] == nil then error(("not a direction: '%s'"):format(tostring(direction)), 3) end
  local profile = version and versions.profile(version) or versions.NEWEST
  local key = direction .. " " .. profile
  local context = contexts[key]
  if not context then
    context = {
      limited = LIMITED[direction], server = direction == "incoming", version = profile, objects = {}, payloads = {},
    }
    contexts[key] = context
  end
  return context
end

-- Without a version, which is the usual case, contexts are found by direction alone.
local newest = {}
for direction in pairs(LIMITED) do newest[direction] = context_of(direction) end

local function payload_check(context, name, direction)
  local declared = declared_payload(name, direction)
  if not declared then
    error(("the schema knows no %s '%s'"):format(direction == "notification" and direction or "method", name), 3)
  end
  local compiled = compile_payload(context, declared)
  context.payloads[name] = compiled
  return compiled
end

---Check a payload against the schema. Unknown fields are ignored, and so are fields newer than `version`. Lengths,
---ranges and addresses are checked only on the way to the server.
---@param name string a method, a notification, or an object
---@param payload any
---@param direction? trueconf.protocol.Direction default "request"
---@param version? string of the server; default the newest
---@return true? ok
---@return trueconf.protocol.Mistake? mistake the first one, in the order of the fields
local function check(name, payload, direction, version)
  direction = direction or "request"
  local context = not version and newest[direction] or context_of(direction, version)
  local compiled = context.payloads[name] or payload_check(context, name, direction)
  local wrong = compiled(payload)
  if not wrong then return true end
  wrong.message = message_of(wrong)
  return nil, wrong
end

return { check = check, declared_payload = declared_payload }
