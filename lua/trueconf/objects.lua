-- SPDX-License-Identifier: MIT
-- What arrives, as scripts see it: names in snake_case, objects by their kind. Made from the
-- schema, one converter for each kind of object. Fields that the schema does not know keep the
-- name they have on the wire.

local field_notation = require "trueconf.protocol.field"
local protocol = require "trueconf.protocol"

local schema, enums = protocol.objects, protocol.enums

local objects = {}

---Names of what a chat is, by the number on the wire (protocol 8.4).
---@type table<integer, trueconf.ChatKind>
objects.chat_kinds = {}

for number, name in pairs(enums.ChatType.names) do objects.chat_kinds[number] = name:lower() end

---@alias trueconf.ChatKind "undef"|"p2p"|"group"|"system"|"favorites"|"channel"

-- Kinds that are more than their fields: what makes one from the table of the wire.
---@type table<string, fun(client: trueconf.Client, wire: table): any>
local makers = {}

---Let a kind of object be made by a function.
---@param kind string name in the schema
---@param make fun(client: trueconf.Client, wire: table): any
function objects.register(kind, make)
  makers[kind] = make
end

local converter_of

-- Lua name and converter of each field, by its name on the wire.
local function slots_of(fields)
  local slots = {}
  for _, field in ipairs(fields) do
    slots[field.name] = { name = field.lua_name, convert = converter_of(field.type) }
  end
  return slots
end

local function convert_fields(client, wire, slots)
  local made = {}
  for key, value in pairs(wire) do
    local slot = slots[key]
    if not slot then
      made[key] = value
    elseif slot.convert and type(value) == "table" then
      made[slot.name] = slot.convert(client, value)
    else
      made[slot.name] = value
    end
  end
  if made.chat_type ~= nil then made.kind = objects.chat_kinds[made.chat_type] end
  return made
end

-- Objects hold each other, so the slots of one are made when the first of its kind is met.
local function object_converter(kind)
  local slots
  return function(client, wire)
    local make = makers[kind]
    if make then return make(client, wire) end
    slots = slots or slots_of(schema[kind].fields)
    return convert_fields(client, wire, slots)
  end
end

local function array_converter(item_kind)
  local convert = converter_of(item_kind)
  return function(client, wire)
    local made = {}
    for place, item in ipairs(wire) do
      made[place] = convert and type(item) == "table" and convert(client, item) or item
    end
    return made
  end
end

local converters = {}

-- nil for what needs no conversion.
function converter_of(kind)
  local converter = converters[kind]
  if converter then return converter end
  local item_kind = field_notation.item_type(kind)
  if item_kind then
    converter = array_converter(item_kind)
  elseif schema[kind] then
    converter = object_converter(kind)
  end
  converters[kind] = converter
  return converter
end

---The Lua side of an object or an array of them.
---@param client trueconf.Client whom the methods of what is made go to
---@param kind string a type of the schema
---@param wire table normalised
---@return any
function objects.from_wire(client, kind, wire)
  local convert = converter_of(kind)
  return convert and convert(client, wire) or wire
end

local of_notification = {}

---The Lua side of a notification's payload.
---@param client trueconf.Client
---@param name string on the wire
---@param payload table normalised
---@return table
function objects.from_notification(client, name, payload)
  local declared = protocol.notifications[name].payload
  if type(declared) == "string" then return objects.from_wire(client, declared, payload) end
  local slots = of_notification[name] or slots_of(declared)
  of_notification[name] = slots
  return convert_fields(client, payload, slots)
end

return objects
