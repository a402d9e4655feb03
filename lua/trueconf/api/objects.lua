-- SPDX-License-Identifier: MIT
-- Converts arriving objects to their form for scripts: names in snake_case, objects by their kind. There is one
-- converter for each kind of object, made from the schema. Unknown fields keep their name on the wire.
--
-- The converters also check arriving objects, because servers differ and newer ones send new values. A field of a wrong
-- type counts as missing. An object without a required field (one that is neither optional nor spare) counts as missing
-- in the object that holds it, and is left out of a list.

local field_notation = require "trueconf.protocol.field"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

local schema, enums = protocol.objects, protocol.enums
local is_array = json.is_array
local type, math_type, pairs, ipairs, next = type, math.type, pairs, ipairs, next

local objects = {}

---Names of the kinds of chats, by the number on the wire (protocol 8.4).
---@type table<integer, trueconf.ChatKind>
objects.chat_kinds = {}

for number, name in pairs(enums.ChatType.names) do objects.chat_kinds[number] = name:lower() end

---@alias trueconf.ChatKind "undef"|"p2p"|"group"|"system"|"favorites"|"channel"

-- Makers of the kinds that are more than their fields: each makes an object from the table of the wire, or returns nil
-- and why not.
---@type table<string, fun(client: trueconf.Client, wire: table): any, string?>
local makers = {}

---Let a kind of object be made by a function.
---@param kind string name in the schema
---@param make fun(client: trueconf.Client, wire: table): any, string?
function objects.register(kind, make)
  makers[kind] = make
end

-- Types -----------------------------------------------------------------------------------

local function is_object(value) return type(value) == "table" and not is_array(value) end
local function is_list(value) return type(value) == "table" and (is_array(value) or next(value) == nil) end

---@type table<string, { is: (fun(value: any): boolean), noun: string }>
local KINDS = {
  string = { noun = "a string", is = function(value) return type(value) == "string" end },
  integer = { noun = "an integer", is = function(value) return math_type(value) == "integer" end },
  number = { noun = "a number", is = function(value) return type(value) == "number" end },
  boolean = { noun = "a boolean", is = function(value) return type(value) == "boolean" end },
  object = { noun = "an object", is = is_object },
  array = { noun = "an array", is = is_list },
}

-- Unknown values of an enum are accepted: newer servers have more.
local function kind_of(type_name)
  if field_notation.item_type(type_name) then return KINDS.array end
  if enums[type_name] then return KINDS[enums[type_name].base] end
  return KINDS[type_name] or KINDS.object
end

local function missing(name, kind)
  return ("missing field '%s': %s expected"):format(name, kind.noun)
end

local function wrong(kind, value)
  if is_array(value) then return ("%s expected, got an array"):format(kind.noun) end
  local noun = type(value) == "table" and "object" or type(value)
  return ("%s expected, got %s"):format(kind.noun, noun == "object" and "an object" or "a " .. noun)
end

-- Objects ---------------------------------------------------------------------------------

local converter_of

---@class trueconf.Slot a field of an object, as it is read
---@field wire string
---@field name string
---@field kind { is: (fun(value: any): boolean), noun: string }
---@field convert? fun(client: trueconf.Client, wire: table): any, string?
---@field needed boolean
---@field absent any

-- Returns the fields by name on the wire, and the required ones in order.
local function slots_of(fields)
  local slots, needed = {}, {}
  for _, field in ipairs(fields) do
    local slot = {
      wire = field.name, name = field.lua_name, kind = kind_of(field.type), absent = field.absent,
      convert = converter_of(field.type),
      needed = not (field.optional or field.nullable or field.spare),
    }
    slots[field.name] = slot
    if slot.needed then needed[#needed + 1] = slot end
  end
  return { by_name = slots, needed = needed }
end

-- The first required field that an object lacks, or nil.
local function mistake_in(wire, slots)
  for _, slot in ipairs(slots.needed) do
    local value = wire[slot.wire]
    if value == nil then return missing(slot.wire, slot.kind) end
    if not slot.kind.is(value) then return ("bad field '%s': %s"):format(slot.wire, wrong(slot.kind, value)) end
  end
end

local function convert_fields(client, wire, slots)
  local made, why = {}, mistake_in(wire, slots)
  if why then return nil, why end
  for key, value in pairs(wire) do
    local slot = slots.by_name[key]
    if not slot then
      made[key] = value
    elseif not slot.kind.is(value) then
      made[slot.name] = slot.absent
    elseif slot.convert then
      made[slot.name], why = slot.convert(client, value)
      if slot.needed and made[slot.name] == nil then return nil, ("bad field '%s': %s"):format(slot.wire, why) end
    else
      made[slot.name] = value
    end
  end
  if made.chat_type ~= nil then made.kind = objects.chat_kinds[made.chat_type] end
  return made
end

-- A maker uses the table itself: remove fields of a wrong type.
local function remove_wrong(wire, slots)
  for key, value in pairs(wire) do
    local slot = slots.by_name[key]
    if slot and not slot.kind.is(value) then wire[key] = slot.absent end
  end
end

-- Objects hold each other, so the slots of a kind are made when the first object of that kind arrives.
local function object_converter(kind)
  local slots
  return function(client, wire)
    if not is_object(wire) then return nil, wrong(KINDS.object, wire) end
    slots = slots or slots_of(schema[kind].fields)
    local make = makers[kind]
    if not make then return convert_fields(client, wire, slots) end
    local why = mistake_in(wire, slots)
    if why then return nil, why end
    remove_wrong(wire, slots)
    return make(client, wire)
  end
end

-- Lists -----------------------------------------------------------------------------------

-- Reports an object that is left out as an anomaly of the server.
local function leave_out(client, why)
  client.left_out = (client.left_out or 0) + 1
  if client.anomaly_logger then client.anomaly_logger("an item of a list", client.left_out, why) end
end

local function array_converter(item_type)
  local kind, convert = kind_of(item_type), converter_of(item_type)
  return function(client, wire)
    if not KINDS.array.is(wire) then return nil, wrong(KINDS.array, wire) end
    local made = {}
    for _, item in ipairs(wire) do
      local value, why
      if not kind.is(item) then why = wrong(kind, item)
      elseif convert then value, why = convert(client, item)
      else value = item end
      if value == nil then leave_out(client, why) else made[#made + 1] = value end
    end
    return made
  end
end

local converters = {}

-- The converter of a type; nil: it needs no conversion.
function converter_of(kind)
  local converter = converters[kind]
  if converter then return converter end
  local item_type = field_notation.item_type(kind)
  if item_type then
    converter = array_converter(item_type)
  elseif schema[kind] then
    converter = object_converter(kind)
  end
  converters[kind] = converter
  return converter
end

---The Lua side of an object or an array of them.
---@param client trueconf.Client that the methods of the object use
---@param kind string a type of the schema
---@param wire table normalised
---@return any made nil: a required field is missing
---@return string? why
function objects.from_wire(client, kind, wire)
  return converter_of(kind)(client, wire)
end

local of_notification = {}

---The Lua side of a notification's payload.
---@param client trueconf.Client
---@param name string on the wire
---@param payload table normalised
---@return table? made nil: a required field is missing
---@return string? why
function objects.from_notification(client, name, payload)
  local declared = protocol.notifications[name].payload
  if type(declared) == "string" then return objects.from_wire(client, declared, payload) end
  local slots = of_notification[name] or slots_of(declared)
  of_notification[name] = slots
  if not is_object(payload) then return nil, wrong(KINDS.object, payload) end
  return convert_fields(client, payload, slots)
end

return objects
