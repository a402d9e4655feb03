-- SPDX-License-Identifier: MIT
-- Option tables, validated once at the edge: one table in, a checked copy with the defaults out. A mistake in the
-- options is misuse, so it raises an error at the line of the caller. Every message names the option, the expected and
-- the given type, but never a value that could be a secret.

local sorted_keys = require "trueconf.base.sorted_keys"

---@class trueconf.Option the rules for one option in a schema
---@field type? string a Lua type, "integer", or several separated by "|"; none: any value
---@field required? boolean
---@field default? any taken when the option is nil; false is a value
---@field enum? any[] the values it may have
---@field min? number
---@field max? number default for a number that need not be an integer 1e9: it is a duration in seconds
---@field check? fun(value: any): boolean|nil, string? false and what was expected, if the value will not do

---@alias trueconf.Schema table<string, trueconf.Option>

local options = {}

local SHORTEST_BEGINNING = 3            -- letters of a prefix that is taken for the whole name
local FEW = 12                          -- a complaint lists all options up to this number
local LONGEST = 1e9                     -- seconds; the core's timers take less than 1e10

-- The number of letters to insert, delete, replace or swap with the next one to make one word from the other.
local function edit_distance(from, to)
  local before, last
  local row = {}
  for j = 0, #to do row[j] = j end
  for i = 1, #from do
    before, last, row = last, row, { [0] = i }
    for j = 1, #to do
      local same = from:byte(i) == to:byte(j)
      row[j] = math.min(last[j - 1] + (same and 0 or 1), last[j] + 1, row[j - 1] + 1)
      if before and j > 1 and from:byte(i) == to:byte(j - 1) and from:byte(i - 1) == to:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
  end
  return row[#to]
end

-- The shortest name that begins with a word.
local function begun_with(word, names)
  local shortest
  for name in pairs(names) do
    local fits = #word >= SHORTEST_BEGINNING and name:sub(1, #word) == word
    if fits and (not shortest or #name < #shortest or #name == #shortest and name < shortest) then shortest = name end
  end
  return shortest
end

---The name that was probably meant, or nil if none is near.
---@param name string
---@param names table<string, any> keys are the possible names
---@return string?
function options.nearest(name, names)
  local best, best_distance
  for candidate in pairs(names) do
    local distance = edit_distance(name:lower(), candidate:lower())
    if not best or distance < best_distance or distance == best_distance and candidate < best then
      best, best_distance = candidate, distance
    end
  end
  if best and best_distance <= math.max(1, #best // 3) then return best end
  return begun_with(name, names)
end

local function is_of_type(value, name)
  if name == "integer" then return math.type(value) == "integer" end
  if name == "number" then return type(value) == "number" and value == value end
  return type(value) == name
end

local function fits(value, types)
  for name in types:gmatch "[^|]+" do
    if is_of_type(value, name) then return true end
  end
  return false
end

local function with_article(noun)
  return (noun:find "^[aeiou]" and "an " or "a ") .. noun
end

local function expected_types(types)
  local names = {}
  for name in types:gmatch "[^|]+" do names[#names + 1] = with_article(name) end
  return table.concat(names, " or ")
end

---The given value in words for a message: its type, never the value itself, which could be a secret.
---@param value any
---@return string
function options.type_of(value)
  return value == nil and "nil" or with_article(type(value))
end

local function given_type(value, types)
  if value ~= value then return "NaN" end
  if math.type(value) == "float" and types:find "integer" then return "a number with a fraction" end
  return options.type_of(value)
end

local function type_mistake(value, types)
  if fits(value, types) then return nil end
  local hint = type(value) == "number" and fits("", types) and "; put it in quotes" or ""
  return ("must be %s, got %s%s"):format(expected_types(types), given_type(value, types), hint)
end

local function enum_mistake(value, enum)
  local names = {}
  for i, allowed in ipairs(enum) do
    if value == allowed then return nil end
    names[i] = type(allowed) == "string" and ("'%s'"):format(allowed) or tostring(allowed)
  end
  return ("must be one of %s"):format(table.concat(names, ", "))
end

local function range_mistake(value, option)
  if type(value) ~= "number" then return nil end
  local max = option.max or option.type and fits(0.5, option.type) and LONGEST
  if option.min and value < option.min then return ("must be at least %s, got %s"):format(option.min, value) end
  if max and value > max then return ("must be at most %s, got %s"):format(max, value) end
end

-- Checks of options -----------------------------------------------------------------------

---Fit to be the `check` of an option: a string is not empty and holds no zero byte, which would end it for C.
---@param value any other values pass
---@return boolean
---@return string expected
function options.is_filled(value)
  if value == "" then return false, "must not be empty" end
  return type(value) ~= "string" or not value:find("\0", 1, true), "must not hold a zero byte"
end

---Fit to be the `check` of an option: a table is a list of strings.
---@param value any other values pass
---@return boolean
---@return string expected
function options.is_list_of_strings(value)
  local expected = "must be a list of strings"
  if type(value) ~= "table" then return true, expected end
  for key, one in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > #value or type(one) ~= "string" then return false, expected end
  end
  return true, expected
end

local function check_mistake(value, check)
  local ok, expected = check(value)
  if not ok then return expected or "has an invalid value" end
end

-- The complaint about a value, or nil.
local function mistake(value, option)
  return option.type and type_mistake(value, option.type)
    or option.enum and enum_mistake(value, option.enum)
    or range_mistake(value, option)
    or option.check and check_mistake(value, option.check)
end

local function shallow_copy(table)
  local copy = {}
  for key, value in pairs(table) do copy[key] = value end
  return copy
end

-- The value that is kept. A plain table is copied, because the caller may go on using it. A whole float counts as an
-- integer: 1e3 is a usual way to write 1000.
local function taken(value, option)
  if type(value) == "table" and getmetatable(value) == nil then return shallow_copy(value) end
  if math.type(value) == "float" and option.type and fits(0, option.type) and not fits(0.5, option.type) then
    return math.tointeger(value) or value
  end
  return value
end

local function unknown_option(key, schema)
  if type(key) ~= "string" then
    local shown = type(key) == "number" and "[" .. key .. "]" or type(key)
    return ("unknown option %s: option names are strings"):format(shown)
  end
  local near, names = options.nearest(key, schema), sorted_keys(schema)
  if near then return ("unknown option '%s', did you mean '%s'?"):format(key, near) end
  local list = #names <= FEW and "; there are " .. table.concat(names, ", ") or ""
  return ("unknown option '%s'%s"):format(key, list)
end

-- In a fixed order, so that of several mistakes always the same one is reported.
local function find_mistake(schema, given, result)
  for key in pairs(given) do
    if not schema[key] then return unknown_option(key, schema) end
  end
  for _, name in ipairs(sorted_keys(schema)) do
    local option, value = schema[name], given[name]
    if value == nil then value = option.default else value = taken(value, option) end
    if value == nil and option.required then return ("option '%s' is required"):format(name) end
    local wrong = value ~= nil and mistake(value, option)
    if wrong then return ("option '%s' %s"):format(name, wrong) end
    result[name] = value
  end
end

---Check a table of options against a schema.
---@param schema trueconf.Schema
---@param given table? nil counts as an empty table
---@param level? integer the level to blame, as in error(); default 2: the caller of the function that calls this
---@param what? string put before the message, such as "trueconf.bot"
---@return table checked a new table with the defaults filled in; `given` is left alone
function options.check(schema, given, level, what)
  level = (level or 2) + 1
  local result = {}
  local wrong
  if given ~= nil and type(given) ~= "table" then
    wrong = ("options must be a table, got %s"):format(given_type(given, "table"))
  else
    wrong = find_mistake(schema, given or {}, result)
  end
  if wrong then error(what and ("%s: %s"):format(what, wrong) or wrong, level) end
  return result
end

---Raise an error: a function got another value than it takes.
---@param what string the function
---@param expected string
---@param value any the given value
---@param level integer the level to blame, as in error()
function options.refuse(what, expected, value, level)
  error(("%s: %s expected, got %s"):format(what, expected, options.type_of(value)), level + 1)
end

---Check an argument that people will read: a number is a text, too, as it is elsewhere in Lua.
---@param what string the function it was given to
---@param name string
---@param value any
---@param level integer the level to blame, as in error()
---@return string text
function options.text(what, name, value, level)
  if type(value) == "number" then return tostring(value) end
  options.argument(what, name, value, "string", level + 1)
  return value
end

---Check one argument that is not in a table of options.
---@param what string the function it was given to
---@param name string
---@param value any
---@param types string as in a schema
---@param level integer the level to blame, as in error()
function options.argument(what, name, value, types, level)
  if fits(value, types) then return end
  error(("%s: bad argument '%s': %s expected, got %s"):format(what, name, expected_types(types),
    given_type(value, types)), level + 1)
end

return options
