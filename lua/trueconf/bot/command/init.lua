-- SPDX-License-Identifier: MIT
-- Commands: messages that begin with "/name", and their arguments. Apps do not mark them (protocol 10.3); in groups a
-- mention or "/name@bot" addresses a command to a bot.

local arguments = require "trueconf.bot.command.arguments"
local core = require "trueconf.core"
local face = require "trueconf.base.face"
local mentions = require "trueconf.text.mentions"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local words = require "trueconf.bot.command.words"

local INSIDE = face.INSIDE
local PREFIX = "/"
local PARSE_MODES = protocol.enums.ParseMode.set
local LONGEST_NAME = 64                 -- bytes; longer words are paths or the like, no commands

---A message as a command.
---@class trueconf.Command
---@field name string in small letters, without the prefix; as the handler's on_command spells it
---@field text string the text after the name, as a person reads it
---@field addressed boolean it names the bot, by a mention before it or by /name@bot
---@field private key string the name in the form by which names are compared
---@field private raw string the text with marks for mentions
---@field private mentioned { id: string, label: string }[]

local command = {}

-- The prefix of commands of the bot that got the message.
local function prefix_of(msg)
  local engine = msg[INSIDE].client.engine
  return engine and engine.options.command_prefix or PREFIX
end

-- Reading ----------------------------------------------------------------------------------------

-- True for the bot's own ID or login.
local function is_me(id, me)
  id = protocol.plain_id(id)
  return me ~= "" and (id == me or id == me:match "^[^@]*")
end

-- The addressee of a command: true for the bot, nil without one, false for another one.
local function addressee(suffix, addressed, me)
  if suffix ~= "" then return is_me(suffix:sub(2), me) end
  if not addressed[1] then return nil end
  for _, id in ipairs(addressed) do
    if is_me(id, me) then return true end
  end
  return false
end

---Read the command in a message.
---@param msg trueconf.Message
---@return trueconf.Command? command nil: it is no command, or a command for another bot
function command.read(msg)
  local content, prefix = msg.content, prefix_of(msg)
  if msg.type ~= protocol.PLAIN_MESSAGE or type(content.text) ~= "string" then return nil end
  if not content.text:find(prefix, 1, true) then return nil end
  local mode = PARSE_MODES[content.parseMode] and content.parseMode or "text"
  local line, mentioned, addressed = mentions.command_words(content.text, mode)
  if line:sub(1, #prefix) ~= prefix then return nil end
  local name, suffix, at = line:match("^([^%s@]+)(@?%S*)%s*()", #prefix + 1)
  if not name or #name > LONGEST_NAME or name:find("/", 1, true) then return nil end
  local for_me = addressee(suffix, addressed, protocol.plain_id(msg[INSIDE].client:user_id() or ""))
  if for_me == false then return nil end
  local raw = line:sub(at)
  return {
    name = core.lower(name), key = core.fold(name), text = words.readable(raw, mentioned), addressed = for_me or false,
    raw = raw, mentioned = mentioned,
  }
end

-- Declaring --------------------------------------------------------------------------------------

---@class (exact) trueconf.CommandSpec
---@field [integer] trueconf.Argument the arguments, in order; none declared: the handler gets the words as a list
---@field description? string for the help
---@field hidden? boolean not shown in the help

local SCHEMA = {
  description = { type = "string" },
  hidden = { type = "boolean", default = false },
}

local function check_name(name, level)
  if type(name) ~= "string" then
    options.refuse("on_command", "a command's name", name, level + 1)
  end
  if not name:find "^[^%s@/]+$" or #name > LONGEST_NAME then
    error(("on_command: '%s' cannot be a command's name: no spaces, no @, no /"):format(name), level + 1)
  end
  return core.lower(name)
end

-- The spellings of a command's names, by the form in which they are compared; and the first one, which is shown.
local function names_of(given, level)
  local list = type(given) == "table" and given or { given }
  local names, first = {}, check_name(list[1], level + 1)
  for _, name in ipairs(list) do
    name = check_name(name, level + 1)
    names[core.fold(name)] = name
  end
  return names, first
end

---@class trueconf.command.Declared
---@field names table<string, string> how a name is spelled, by its folded form
---@field first string the name that is shown
---@field list table? its arguments
---@field description string?
---@field hidden boolean

---@param name string|string[] its name, or names
---@param given trueconf.CommandSpec?
---@param level integer whom to blame for a mistake
---@return trueconf.command.Declared
function command.declare(name, given, level)
  if given ~= nil and type(given) ~= "table" then
    options.refuse("on_command", "a table with arguments and a description", given, level + 1)
  end
  local args, named = {}, {}
  for key, value in pairs(given or {}) do
    if math.type(key) == "integer" then args[key] = value else named[key] = value end
  end
  local declared = options.check(SCHEMA, named, level + 1, "on_command")
  declared.names, declared.first = names_of(name, level + 1)
  if args[1] then declared.list = arguments.declare(args, level + 1) end
  return declared
end

---The command of a message, if it is this one.
---@param declared trueconf.command.Declared
---@param msg trueconf.Message
---@return trueconf.Command?
function command.match(declared, msg)
  local found = msg.command
  local name = found and declared.names[found.key]
  if not name then return nil end
  found.name = name
  return found
end

---Read the arguments of a command in a message.
---@async
---@param declared trueconf.command.Declared
---@param msg trueconf.Message
---@return table? args
---@return trueconf.UsageMistake? mistake
function command.arguments(declared, msg)
  local found = msg.command
  if not declared.list then return arguments.words(found) end
  local args, mistake = arguments.read(declared.list, found, msg)
  if args then return args end
  return nil, { message = mistake.message, argument = mistake.argument, usage = command.usage(declared, msg) }
end

-- Help -------------------------------------------------------------------------------------------

---How a command is written: "/order SIZE [COUNT]".
---@param declared trueconf.command.Declared
---@param msg trueconf.Message
---@return string
function command.usage(declared, msg)
  return prefix_of(msg) .. declared.first .. (declared.list and arguments.usage(declared.list) or "")
end

local function line_of(declared, msg)
  local usage = command.usage(declared, msg)
  return declared.description and usage .. " - " .. declared.description or usage
end

---The help: a line for each command.
---@param list trueconf.command.Declared[]
---@param msg trueconf.Message
---@return string
function command.help(list, msg)
  local lines = {}
  for index, declared in ipairs(list) do lines[index] = line_of(declared, msg) end
  return table.concat(lines, "\n")
end

---The detailed help of one command.
---@param declared trueconf.command.Declared
---@param msg trueconf.Message
---@return string
function command.details(declared, msg)
  local lines = { line_of(declared, msg) }
  for _, argument in ipairs(declared.list or {}) do lines[#lines + 1] = arguments.details(argument) end
  return table.concat(lines, "\n")
end

return command
