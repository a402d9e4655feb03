-- SPDX-License-Identifier: MIT
-- From the arguments of a Lua call to the payload on the wire: snake_case to camelCase, fields
-- of `content` given beside the others, defaults filled in. Values are not checked here.

local field_notation = require "trueconf.protocol.field"
local json = require "trueconf.base.json"
local methods = require "trueconf.protocol.methods".methods
local objects = require "trueconf.protocol.objects".objects
local options = require "trueconf.base.options"
local sorted_keys = require "trueconf.base.sorted_keys"

local type, next = type, next

local converter_of_type

-- Objects ---------------------------------------------------------------------------------

---@class trueconf.protocol.Slot where an argument goes
---@field wire string
---@field inside? string wire name of the object it goes into
---@field merge? boolean its fields may stand beside it too
---@field convert? fun(value: any): any, table?
---@field holds boolean a table may be given for it

-- A computed whole number is often a float: 10 / 2 is 5.0.
local function whole_number(value)
  return math.type(value) == "float" and math.tointeger(value) or value
end

-- Fields that people read take a number as text, as Lua does elsewhere.
local FOR_PEOPLE = { text = true, label = true, title = true }

local function as_text(value)
  return type(value) == "number" and tostring(value) or value
end

local add_fields

local function add_field(converter, field, inside)
  local slot = { wire = field.name, inside = inside, convert = converter_of_type(field) }
  slot.holds = slot.convert ~= nil
  if field.type == "integer" then slot.convert = whole_number end
  if field.type == "string" and FOR_PEOPLE[field.lua_name] then slot.convert = as_text end
  converter.slots[field.lua_name] = slot
  if field.also then converter.slots[field.also] = slot end
  if field.default ~= nil then
    converter.defaults[#converter.defaults + 1] = { wire = field.name, inside = inside, value = field.default }
  end
  if field.inline then
    slot.merge = true
    converter.inline[#converter.inline + 1] = field.name
    add_fields(converter, objects[field.type].fields, field.name)
  end
end

function add_fields(converter, fields, inside)
  for _, field in ipairs(fields) do add_field(converter, field, inside) end
end

local function new_converter(fields, variants)
  local converter = { slots = {}, defaults = {}, inline = {} }
  add_fields(converter, fields)
  for _, more in next, variants or {} do add_fields(converter, more) end
  return converter
end

local function unknown(converter, key)
  local name = tostring(key)
  local nearest = options.nearest(name, converter.slots)
  local hint = nearest and (", did you mean '%s'?"):format(nearest) or
    ("; there are %s"):format(table.concat(sorted_keys(converter.slots), ", "))
  return {
    field = name, kind = "unknown", expected = nearest or "no such argument", got = name,
    message = ("unknown argument '%s'%s"):format(name, hint),
  }
end

-- Merge the fields of an object that is given whole with those given beside it. A value that is no object stays as it
-- is, so that the check complains about it.
local function put(payload, slot, value)
  if slot.merge and type(value) == "table" and type(payload[slot.wire]) == "table" then
    for key, inner in next, value do payload[slot.wire][key] = inner end
    return
  end
  local target = slot.inside and payload[slot.inside] or payload
  if type(target) == "table" then target[slot.wire] = value end
end

local function fill_in(converter, payload)
  for i = 1, #converter.defaults do
    local default = converter.defaults[i]
    local target = default.inside and payload[default.inside] or payload
    if type(target) == "table" and target[default.wire] == nil then target[default.wire] = default.value end
  end
end

local function convert_all(converter, args, payload)
  for key, value in next, args do
    local slot = converter.slots[key]
    if not slot then return unknown(converter, key) end
    local mistake
    if slot.convert then value, mistake = slot.convert(value) end
    if mistake then return mistake end
    put(payload, slot, value)
  end
end

local function apply(converter, args)
  local payload = {}
  for i = 1, #converter.inline do payload[converter.inline[i]] = {} end
  local mistake = convert_all(converter, args, payload)
  if mistake then return nil, mistake end
  fill_in(converter, payload)
  return payload
end

-- Types -----------------------------------------------------------------------------------

local by_object = {}

local function object_converter(name, short)
  return function(value)
    if short and (type(value) == "string" or type(value) == "number") then value = { [short] = value } end
    if type(value) ~= "table" or json.is_array(value) then return value end
    by_object[name] = by_object[name] or new_converter(objects[name].fields, objects[name].variants)
    return apply(by_object[name], value)
  end
end

local function array_converter(convert)
  return function(value)
    if type(value) ~= "table" or (next(value) ~= nil and not json.is_array(value)) then return value end
    local list = {}
    for index = 1, #value do
      local converted, mistake = convert(value[index])
      if mistake then return nil, mistake end
      list[index] = converted
    end
    return json.array(list)
  end
end

function converter_of_type(field)
  local item_type = field_notation.item_type(field.type)
  if item_type then
    local convert = converter_of_type { type = item_type }
    return convert and array_converter(convert)
  end
  return objects[field.type] and object_converter(field.type, field.short)
end

-- Calls -----------------------------------------------------------------------------------

local arguments, by_method = {}, {}

---Make the payload of a request from arguments by their Lua names. Missing arguments take their defaults; fields of
---`content` may stand beside the others.
---@param name string a method, on the wire
---@param args table<string, any>
---@return table? payload to be checked with check()
---@return trueconf.protocol.Mistake? mistake an argument that the method does not have
function arguments.to_wire(name, args)
  local converter = by_method[name]
  if not converter then
    local method = methods[name] or error(("the schema knows no method '%s'"):format(tostring(name)), 2)
    converter = new_converter(method.request)
    by_method[name] = converter
  end
  return apply(converter, args)
end

local holds_object = {}

-- Parameters that may be a table themselves, by method.
local function parameters(name)
  local found = holds_object[name]
  if found then return found end
  found = {}
  local method = methods[name] or error(("the schema knows no method '%s'"):format(tostring(name)), 3)
  local slots = new_converter(method.request).slots
  for index, parameter in ipairs(method.params) do found[index] = slots[parameter].holds end
  holds_object[name] = found
  return found
end

local function too_many(method, count)
  local most = #method.params
  return {
    field = "", kind = "unknown", expected = ("at most %d arguments and a table"):format(most),
    got = ("%d arguments"):format(count),
    message = ("%s: at most %d arguments and a table expected, got %d"):format(method.lua_name, most, count),
  }
end

---Name the arguments of a call in either form: f{chat_id = "c", text = "t"}, or f("c", "t"), with or without a table of
---further ones at the end.
---@param name string a method, on the wire
---@param ... any
---@return table? args for to_wire(); a new table
---@return trueconf.protocol.Mistake? mistake too many arguments
function arguments.named(name, ...)
  local method, holds = methods[name], parameters(name)
  local given, count, args = { ... }, select("#", ...), {}
  local last = given[count]
  if type(last) == "table" and not holds[count] then
    for key, value in next, last do args[key] = value end
    count = count - 1
  end
  if count > #method.params then return nil, too_many(method, select("#", ...)) end
  for index = 1, count do args[method.params[index]] = given[index] end
  return args
end

return arguments
