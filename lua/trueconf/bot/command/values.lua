-- SPDX-License-Identifier: MIT
-- Reads the word of a command by the type of the argument. Each reader returns the value, or nil and the expected form
-- in words.

local core = require "trueconf.core"
local duration = require "trueconf.duration"
local face = require "trueconf.base.face"

local values = {}

---@type table<string, fun(word: trueconf.command.Word, argument: table, msg: trueconf.Message): any, string?>
local readers = {}

function readers.string(word)
  return word.text
end

readers.text = readers.string

local function in_range(value, argument)
  local min, max = argument.min, argument.max
  return (not min or value >= min) and (not max or value <= max)
end

local function with_range(noun, argument)
  local min, max = argument.min, argument.max
  if min and max then return ("%s from %s to %s"):format(noun, min, max) end
  if min then return ("%s of at least %s"):format(noun, min) end
  return max and ("%s of at most %s"):format(noun, max) or noun
end

-- Digits as people write them, with a point or a comma before the decimals; no hexadecimal, no "1e3", no "nan".
local function decimal_in(text)
  return text:match "^[+-]?%d+[%.,]?%d*$" and text:gsub(",", ".") or nil
end

-- A number with so many digits that Lua makes infinity of it is refused.
local function number_in(text)
  local number = tonumber(decimal_in(text))
  return number and number - number == 0 and number or nil
end

-- "1,500" is one thousand five hundred to some people, and one and a half to others.
local function may_be_thousands(text)
  return text:find "^[+-]?[1-9]%d?%d?,%d%d%d$" ~= nil
end

function readers.integer(word, argument)
  local value = word.text:match "^[+-]?%d+$" and math.tointeger(tonumber(word.text))
  if value and in_range(value, argument) then return value end
  return nil, with_range("a whole number", argument)
end

function readers.number(word, argument)
  if may_be_thousands(word.text) then return nil, with_range("a number without a comma for thousands", argument) end
  local value = number_in(word.text)
  if value and in_range(value, argument) then return value end
  return nil, with_range("a number", argument)
end

local BOOLEANS = { yes = true, on = true, ["true"] = true, no = false, off = false, ["false"] = false }

function readers.boolean(word)
  local value = BOOLEANS[core.fold(word.text)]
  if value == nil then return nil, "yes or no" end
  return value
end

function readers.duration(word, argument)
  local seconds = decimal_in(word.text)
  local value = duration.parse(seconds and seconds .. "s" or word.text:lower())
  if value and in_range(value, argument) then return value end
  return nil, with_range("a time such as 90s, 10m or 1h30m", argument)
end

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function days_of(year, month)
  local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month == 2 and is_leap and 29 or DAYS[month] or 0
end

-- Returns a table for os.time.
function readers.date(word)
  local year, month, day = word.text:match "^(%d%d%d%d)%-(%d%d?)%-(%d%d?)$"
  if not year then day, month, year = word.text:match "^(%d%d?)%.(%d%d?)%.(%d%d%d%d)$" end
  year, month, day = math.tointeger(tonumber(year)), math.tointeger(tonumber(month)), math.tointeger(tonumber(day))
  if year and day >= 1 and day <= days_of(year, month) then return { year = year, month = month, day = day } end
  return nil, "a date such as 2026-12-31 or 31.12.2026"
end

-- A mentioned user, or an ID; a login alone is a user of the bot's own server.
function readers.user(word, _, msg)
  if word.user_id then return word.user_id end
  local login, server = word.text:match "^@?([^%s@/]+)(@?[^%s@/]*)$"
  if not login or server == "@" then return nil, "a mention or an ID of a user" end
  if server == "" then server = (msg[face.INSIDE].client:user_id() or ""):match "@.*$" or "" end
  return login .. server
end

local function listed(choices)
  local last = #choices
  if last == 1 then return choices[1] end
  return table.concat(choices, ", ", 1, last - 1) .. " or " .. choices[last]
end

values.listed = listed

local function choose(word, choices)
  local wanted = core.fold(word.text)
  for _, choice in ipairs(choices) do
    if core.fold(choice) == wanted then return choice end
  end
  return nil, listed(choices)
end

---@param kind any
---@return boolean
function values.is_type(kind)
  return type(kind) == "function" or readers[kind] ~= nil
end

values.TYPES = {}
for name in pairs(readers) do table.insert(values.TYPES, name) end
table.sort(values.TYPES)

---@param word trueconf.command.Word
---@param argument table
---@param msg trueconf.Message
---@return any value
---@return string? expected
function values.read(word, argument, msg)
  if argument.one_of then return choose(word, argument.one_of) end
  local kind = argument.type
  if type(kind) == "function" then return kind(word.text, msg) end
  return readers[kind](word, argument, msg)
end

return values
