-- SPDX-License-Identifier: MIT
-- Reads the flags of a command: --name VALUE or --name=VALUE, --name alone if it takes no value.

local options = require "trueconf.options"

---@class trueconf.cli.Flag
---@field value? boolean takes a value
---@field many? boolean may be given several times; its values are collected
---@field integer? boolean

-- The declared flag an argument names, and the value behind its '='.
local function split(argument)
  local name, value = argument:match "^%-%-([^=]+)=(.*)$"
  if name then return name, value end
  return argument:match "^%-%-(.+)$"
end

local function unknown(argument, name, declared)
  if not name then return ("unexpected argument '%s'"):format(argument) end
  local near = options.nearest(name, declared)
  return ("unknown flag '--%s'%s"):format(name, near and (", did you mean '--%s'?"):format(near) or "")
end

local function store(result, name, flag, value)
  if flag.integer then
    value = value:find "^%d+$" and math.tointeger(tonumber(value))
    if not value then return ("--%s must be a whole number"):format(name) end
  end
  if flag.many then
    result[name] = result[name] or {}
    table.insert(result[name], value)
  elseif result[name] ~= nil then
    return ("--%s was given twice"):format(name)
  else
    result[name] = value
  end
end

---@param args string[]
---@param declared table<string, trueconf.cli.Flag>
---@return table<string, any>? values by name of the flag
---@return string? complaint
local function parse(args, declared)
  local result, index = {}, 1
  while args[index] do
    local name, value = split(args[index])
    local flag = declared[name]
    if not flag then return nil, unknown(args[index], name, declared) end
    if flag.value and not value then
      index = index + 1
      value = args[index]
      if not value then return nil, ("--%s needs a value"):format(name) end
    elseif value and not flag.value then
      return nil, ("--%s takes no value"):format(name)
    end
    local complaint = store(result, name, flag, flag.value and value or true)
    if complaint then return nil, complaint end
    index = index + 1
  end
  return result
end

return { parse = parse }
