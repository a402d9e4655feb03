-- SPDX-License-Identifier: MIT
-- The arguments of a command: reads the words of a person by the declaration of the author, by position or by name:
-- "/order large", "/order size=large", "/order --size large".

local core = require "trueconf.core"
local options = require "trueconf.base.options"
local values = require "trueconf.bot.command.values"
local words = require "trueconf.bot.command.words"

---@class trueconf.Argument
---@field [1] string name, under which the handler finds the value
---@field type? string|fun(word: string, msg: trueconf.Message): any, string? "string" (default), "integer", "number",
---"boolean", "duration" (seconds), "date" (year, month, day), "user" (TrueConf ID), "text" (the rest of the line as it
---was written); or a function that returns the value, or nil and the expected form in words
---@field one_of? string[] allowed values, in any case of letters
---@field min? number
---@field max? number
---@field default? any value when it is missing; makes the argument optional
---@field optional? boolean
---@field named? boolean only by its name, never by position; booleans always are
---@field many? boolean takes all remaining words, as a list
---@field description? string for the help

local SCHEMA = {
  type = { type = "string|function", default = "string", check = function(kind)
    return values.is_type(kind), "must be a function or one of " .. table.concat(values.TYPES, ", ")
  end },
  one_of = { type = "table", check = function(list)
    return list[1] ~= nil and options.is_list_of_strings(list), "must be a list of strings"
  end },
  min = { type = "number", max = math.huge },
  max = { type = "number", max = math.huge },
  default = {},
  optional = { type = "boolean" },
  named = { type = "boolean" },
  many = { type = "boolean", default = false },
  description = { type = "string" },
}

local arguments = {}

-- Declaring --------------------------------------------------------------------------------------

local function declare(given, index, level)
  local what = ("argument %d of the command"):format(index)
  if type(given) ~= "table" or type(given[1]) ~= "string" or not given[1]:find "^[%a_\x80-\xff][%w_\x80-\xff]*$" then
    error(what .. " must be a table that begins with the argument's name", level + 1)
  end
  local named = {}
  for key, value in pairs(given) do
    if key ~= 1 then named[key] = value end
  end
  local argument = options.check(SCHEMA, named, level + 1, ("argument '%s'"):format(given[1]))
  argument.name = given[1]
  -- A switch is off by default.
  if argument.type == "boolean" and argument.default == nil then argument.default = false end
  argument.named = argument.named or argument.type == "boolean"
  argument.optional = argument.optional or argument.default ~= nil
  argument.greedy = argument.many or argument.type == "text"
  return argument
end

-- An argument that can never be reached is a mistake of the script.
local function check_order(list, level)
  local optional, greedy
  for _, argument in ipairs(list) do
    if not argument.named then
      if greedy then
        error(("argument '%s' takes the rest of the line, so '%s' cannot come after it"):format(greedy, argument.name),
          level + 1)
      end
      if optional and not argument.optional then
        error(("argument '%s' must be optional, as '%s' before it is"):format(argument.name, optional), level + 1)
      end
      optional = optional or argument.optional and argument.name
      greedy = argument.greedy and argument.name
    end
  end
end

---@param given trueconf.Argument[]
---@param level integer
---@return table list the arguments in order, also by name in `by_name`
function arguments.declare(given, level)
  local list = { by_name = {} }
  for index, one in ipairs(given) do
    local argument = declare(one, index, level + 1)
    local key = core.fold(argument.name)
    if list.by_name[key] then error(("argument '%s' is given twice"):format(argument.name), level + 1) end
    list[index], list.by_name[key] = argument, argument
  end
  check_order(list, level + 1)
  return list
end

-- Reading ----------------------------------------------------------------------------------------

---@class trueconf.UsageMistake
---@field message string for the person who wrote the command
---@field argument string? the name of the argument it is about
---@field usage string how the command is written

local Reading = {}
Reading.__index = Reading

-- Mistakes are raised as this table; inside the pcall only types that are functions may wait.
local function fail(argument, text, ...)
  error({ argument = argument and argument.name, message = text:format(...), is_mistake = true }, 0)
end

local function shown(text)
  if #text > 60 then text = text:sub(1, utf8.offset(text, 0, 57) - 1) .. "..." end
  return '"' .. text .. '"'
end

function Reading:value_of(argument, word)
  local value, expected = values.read(word, argument, self.msg)
  if value ~= nil then return value end
  fail(argument, "%s: %s expected, got %s", argument.name, expected or "something else", shown(word.text))
end

function Reading:set(argument, value)
  if self.found[argument.name] ~= nil then fail(argument, "%s is given twice", argument.name) end
  self.found[argument.name] = value
end

-- The argument named by "--size", "--no-fast" or "size=".
function Reading:named(name)
  name = core.fold(name)
  local argument = self.list.by_name[name]
  if argument then return argument, true end
  argument = self.list.by_name[name:match "^no%-(.+)$" or ""]
  if argument and argument.type == "boolean" then return argument, false end
end

function Reading:unknown(name)
  local near = options.nearest(core.fold(name), self.list.by_name)
  fail(nil, "unknown option --%s%s", name,
    near and (", did you mean --%s?"):format(self.list.by_name[near].name) or "")
end

-- Takes a word that names its argument; returns false for other words. Telephones make one long dash of two.
function Reading:take_named(word)
  if word.quoted then return false end
  local dashed = word.text:match "^%-%-(.+)$" or word.text:match "^—(.+)$"
  local name, value = (dashed or word.text):match "^([^=%s]+)=(.*)$"
  local argument, on = self:named(name or dashed or "")
  if not argument then
    if dashed then self:unknown(name or dashed) end
    return false
  end
  if value then
    if value == "" then return self:take_next(argument) end
    if words.opens_quote(value) then return self:take_quoted(argument, word, value) end
    self:set(argument, self:value_of(argument, { text = value, quoted = false }))
  elseif argument.type == "boolean" then
    self:set(argument, on)
  else
    return self:take_next(argument)
  end
  return true
end

-- name="two words": the quote was split at its spaces, so split again from its beginning.
function Reading:take_quoted(argument, word, value)
  local from = word.from + #word.text - #value
  local list, unclosed = words.split(self.text:sub(from), self.mentioned)
  self.unclosed = unclosed
  self:set(argument, self:value_of(argument, list[1]))
  local resume = list[2] and from + list[2].from - 1 or #self.text + 1
  self.words, self.index = words.split(self.text:sub(resume), self.mentioned), 0
  for _, one in ipairs(self.words) do one.from = one.from + resume - 1 end
  return true
end

function Reading:take_next(argument)
  self.index = self.index + 1
  local word = self.words[self.index]
  if not word then fail(argument, "%s has no value", argument.name) end
  self:set(argument, self:value_of(argument, word))
  return true
end

-- The next argument for a word without a name.
function Reading:next_open()
  for _, argument in ipairs(self.list) do
    local value = self.found[argument.name]
    if not argument.named and (value == nil or self.growing == argument) then return argument end
  end
end

function Reading:take_by_index(word)
  local argument = self:next_open()
  if not argument then fail(nil, "unexpected %s", shown(word.text)) end
  if argument.type == "text" then
    local rest = word.quoted and self.index == #self.words and word.text
      or words.readable(self.text:sub(word.from), self.mentioned)
    self:set(argument, rest)
    self.index, self.unclosed = #self.words, false -- it is taken as it is, with any quotes
  elseif argument.many then
    local list = self.found[argument.name] or {}
    list[#list + 1] = self:value_of(argument, word)
    self.found[argument.name], self.growing = list, argument
  else
    self:set(argument, self:value_of(argument, word))
  end
end

function Reading:fill_in()
  for _, argument in ipairs(self.list) do
    if self.found[argument.name] == nil then
      if argument.default ~= nil then
        self.found[argument.name] = argument.default
      elseif not argument.optional then
        fail(argument, "%s is missing", argument.name)
      end
    end
  end
end

local function read_all(reading)
  local by_name = true
  while reading.index < #reading.words do
    reading.index = reading.index + 1
    local word = reading.words[reading.index]
    if by_name and word.text == "--" and not word.quoted then
      by_name = false
    elseif not (by_name and reading:take_named(word)) then
      reading:take_by_index(word)
    end
  end
  if reading.unclosed then fail(nil, "a quote is not closed") end
end

---Read the words after a command's name.
---@param list table declared
---@param command trueconf.Command
---@param msg trueconf.Message
---@return table<string, any>? found
---@return trueconf.UsageMistake? mistake
function arguments.read(list, command, msg)
  local cut, unclosed = words.split(command.raw, command.mentioned)
  local reading = setmetatable({
    list = list, msg = msg, text = command.raw, mentioned = command.mentioned, words = cut, index = 0, found = {},
    unclosed = unclosed,
  }, Reading)
  local ok, mistake = pcall(function()
    read_all(reading)
    reading:fill_in()
  end)
  if ok then return reading.found end
  if type(mistake) == "table" and mistake.is_mistake then return nil, mistake end
  error(mistake, 0)
end

---Without declared arguments: the words.
---@param command trueconf.Command
---@return string[]
function arguments.words(command)
  local list = words.split(command.raw, command.mentioned)
  for index, word in ipairs(list) do list[index] = word.user_id or word.text end
  return list
end

-- Usage --------------------------------------------------------------------------------------------

-- One argument as the usage line shows it: SIZE, [COUNT], [NAME...], [--fast].
local function in_usage(argument)
  if argument.type == "boolean" then return ("[--%s]"):format(argument.name) end
  local word = core.upper(argument.name) .. (argument.many and "..." or "")
  if argument.named then word = ("--%s %s"):format(argument.name, word) end
  return argument.optional and "[" .. word .. "]" or word
end

---@param list table declared
---@return string
function arguments.usage(list)
  local shown_list = {}
  for index, argument in ipairs(list) do shown_list[index] = " " .. in_usage(argument) end
  return table.concat(shown_list)
end

---Describe an argument: its values, its default.
---@param argument table
---@return string? text nil: the usage line says everything
function arguments.details(argument)
  local parts = { argument.description }
  if argument.one_of then parts[#parts + 1] = values.listed(argument.one_of) end
  local default = argument.default
  if default ~= nil and default ~= false then parts[#parts + 1] = ("default %s"):format(default) end
  return parts[1] and ("%s: %s"):format(argument.name, table.concat(parts, "; "))
end

return arguments
