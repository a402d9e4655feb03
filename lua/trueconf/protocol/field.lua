-- SPDX-License-Identifier: MIT
-- Reads the notation of fields in objects.lua, methods.lua and notifications.lua:
--
--   { "replyMessageId", "string|null?", "the message being answered", since = "5.5.6" }
--
-- a wire name, a type, and one line of meaning. A type is string, integer, number, boolean,
-- object (any), the name of an enum, an object or a union, or [T] for an array of T; with
-- `|null` behind it null is allowed, with `?` the field may be missing. More by name:
--
--   min, max    range of a number, length of a string (see `measure`), items of an array
--   measure     what a string's length counts: "characters" (default), "visible characters",
--               "ASCII characters"; of an array the word for its items
--   schemes     what an address may begin with
--   default     what a client sends when the caller does not say
--   absent      what a missing field stands for when it arrives
--   alias       another wire name under which it is taken
--   also        another Lua name under which it is taken
--   inline      in Lua its fields are given beside it, not inside
--   short       in Lua a string stands for the object with only this field
--   since       version that brought it
--   required_since   servers before this version do without it
--   spare       what arrives is of use without it: a value of another type counts as none
--   echo        in an answer it repeats the field of the request, which stands for a missing one
--   at_server   what is different when a server looks at it: servers are milder

local names = require "trueconf.protocol.names"

---@class trueconf.protocol.Field
---@field name string on the wire
---@field lua_name string
---@field type string without `|null` and `?`
---@field doc string
---@field optional boolean may be missing
---@field nullable boolean may be null
---@field min? integer
---@field max? integer
---@field measure? string
---@field schemes? string[]
---@field default? any
---@field absent? any
---@field alias? string
---@field also? string
---@field inline? boolean
---@field short? string
---@field since? string
---@field required_since? string
---@field spare? boolean
---@field echo? boolean
---@field at_server? table

local field = {}

---@param notation table
---@return trueconf.protocol.Field
function field.read(notation)
  local read = {}
  for key, value in pairs(notation) do
    if type(key) == "string" then read[key] = value end
  end
  local kind, mark = notation[2]:match "^(.-)(%??)$"
  local bare, null = kind:match "^(.-)(|null)$"
  read.name, read.lua_name, read.doc = notation[1], names.lua_name(notation[1]), notation[3]
  read.type, read.nullable, read.optional = bare or kind, null ~= nil, mark == "?"
  return read
end

---@param notations table[]
---@return trueconf.protocol.Field[]
function field.list(notations)
  local list = {}
  for index, notation in ipairs(notations) do list[index] = field.read(notation) end
  return list
end

---@param kind string a type
---@return string? item the type of the items if it is an array
function field.item_type(kind)
  return kind:match "^%[(.*)%]$"
end

return field
