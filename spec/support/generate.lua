-- SPDX-License-Identifier: MIT
-- Payloads made from the schema, valid ones and ones with exactly one mistake. The same seed
-- gives the same payloads.
--
--   local some = generate.new(17)
--   local payload = some:valid("sendMessage")                      -- fit for the direction "request"
--   local broken, mistake = some:broken("sendMessage")             -- mistake.field, mistake.kind
--   local news = some:valid("sendMessage", "notification")
--   local name = some:method_name()

local json = require "trueconf.json"
local protocol = require "trueconf.protocol"

local MAX_DEPTH = 4                     -- of messages in messages
local LETTERS = { "a", "b", "Z", "0", "9", " ", "-", "é", "Ж", "漢", "🙂" }
local ASCII_LETTERS = 7                 -- as many of them at the front

---@class spec.Generator
---@field private state integer
local Generator = {}
Generator.__index = Generator

---@param seed integer
---@return spec.Generator
local function new(seed)
  return setmetatable({ state = seed }, Generator)
end

-- Chance ------------------------------------------------------------------------------------

---A number from 1 to `most`, or from `least` to `most`.
---@param least integer
---@param most? integer
---@return integer
function Generator:number(least, most)
  if not most then least, most = 1, least end
  -- SplitMix64.
  self.state = self.state + 0x9E3779B97F4A7C15
  local mixed = self.state
  mixed = (mixed ~ (mixed >> 30)) * 0xBF58476D1CE4E5B9
  mixed = (mixed ~ (mixed >> 27)) * 0x94D049BB133111EB
  return least + ((mixed ~ (mixed >> 31)) >> 1) % (most - least + 1)
end

function Generator:chance(one_in)
  return self:number(one_in) == 1
end

function Generator:pick(list)
  return list[self:number(#list)]
end

---@return string
function Generator:method_name()
  return self:pick(protocol.method_order)
end

---@return string
function Generator:notification_name()
  return self:pick(protocol.notification_order)
end

-- Values ------------------------------------------------------------------------------------

local function is_ascii(field)
  return field.measure == "ASCII characters"
end

function Generator:letters(count, ascii)
  local out = {}
  for place = 1, count do out[place] = LETTERS[self:number(ascii and ASCII_LETTERS or #LETTERS)] end
  return table.concat(out)
end

-- Mostly short, now and then as long as allowed.
function Generator:string(field)
  local least = math.max(field.min or 0, 1)
  local most = field.max or 40
  local length = self:chance(8) and most or self:number(least, math.max(least, math.min(most, 40)))
  if field.schemes then
    local head = self:pick(field.schemes) .. "://"
    return head .. ("x"):rep(math.max(length - #head, 1))
  end
  return self:letters(length, is_ascii(field))
end

function Generator:integer(field)
  local least = field.min or 0
  return self:number(least, math.min(field.max or math.maxinteger >> 11, least + (1 << self:number(0, 40))))
end

function Generator:enum(enum, depth)
  local types = protocol.enums.EnvelopeType
  if enum == types and depth > MAX_DEPTH then return types.PLAIN_MESSAGE end
  return self:pick(enum.values)
end

function Generator:array(item, field, depth)
  local list = {}
  for place = 1, self:number(math.max(field.min or 0, 1), math.min(field.max or 3, 3)) do
    list[place] = self:value({ type = item, max = field.row_max }, list, depth)
  end
  return json.array(list)
end

function Generator:value(field, holder, depth)
  local kind = field.type
  local item, union = kind:match "^%[(.*)%]$", protocol.unions[kind]
  if item then return self:array(item, field, depth) end
  if protocol.enums[kind] then return self:enum(protocol.enums[kind], depth) end
  if union then return self:object(union.of[holder[union.by]], depth + 1) end
  if protocol.objects[kind] then return self:object(kind, depth + 1) end
  if kind == "boolean" then return self:chance(2) end
  if kind == "number" then return self:number(0, 100) + 0.5 end
  if kind == "object" then return {} end
  return self[kind](self, field)
end

-- Objects -----------------------------------------------------------------------------------

local function is_deep(field, depth)
  return depth > MAX_DEPTH and (field.optional or field.nullable)
end

function Generator:field(object, field, depth)
  if is_deep(field, depth) or (field.optional and self:chance(3)) then return end
  if field.nullable and self:chance(3) then
    object[field.name] = json.null
    return
  end
  object[field.name] = self:value(field, object, depth)
end

function Generator:fields(object, fields, depth)
  for _, field in ipairs(fields) do self:field(object, field, depth) end
  return object
end

function Generator:object(name, depth)
  local declared = protocol.objects[name]
  local object = self:fields({}, declared.fields, depth)
  local variant = (declared.variants or {})[object.type]
  return variant and self:fields(object, variant, depth) or object
end

local function declared(name, direction)
  if protocol.objects[name] then return name end
  if direction == "notification" then return protocol.notifications[name].payload end
  local method = protocol.methods[name]
  return direction == "response" and method.response or method.request
end

---A payload that fits.
---@param name string a method, a notification, or an object
---@param direction? trueconf.protocol.Direction default "request"
---@return table
function Generator:valid(name, direction)
  local payload = declared(name, direction)
  if type(payload) == "string" then return self:value({ type = payload }, {}, 0) end
  return self:fields({}, payload, 0)
end

-- Mistakes ----------------------------------------------------------------------------------

local WRONG_TYPES = { string = 7, integer = "7", number = true, boolean = "yes", object = "{}", array = { a = 1 } }

local function base_of(kind)
  if kind:find "^%[" then return "array" end
  if protocol.enums[kind] then return protocol.enums[kind].base end
  return WRONG_TYPES[kind] and kind or "object"
end

local function path_of(path, name)
  return path == "" and name or path .. "." .. name
end

-- All ways to spoil a payload, each a function that spoils and a mistake that must be found.
local function add(ways, path, kind, spoil)
  ways[#ways + 1] = { field = path, kind = kind, spoil = spoil }
end

local function way_to(object, name, value)
  return function() object[name] = value end
end

local spoil_object

local function spoil_string(ways, object, field, path)
  if (field.min or 0) > 0 then add(ways, path, "length", way_to(object, field.name, "")) end
  if field.max then add(ways, path, "length", way_to(object, field.name, ("x"):rep(field.max + 1))) end
  if is_ascii(field) then
    add(ways, path, "type", way_to(object, field.name, "https://" .. ("é"):rep(field.min or 1)))
  end
  if field.schemes then add(ways, path, "enum", way_to(object, field.name, "javascript:alert(1)")) end
end

local function spoil_number(ways, object, field, path)
  if field.min then add(ways, path, "range", way_to(object, field.name, field.min - 1)) end
  if field.type == "integer" then add(ways, path, "type", way_to(object, field.name, 1.5)) end
end

local function too_long(list, field)
  return function()
    for place = #list + 1, field.max + 1 do list[place] = list[1] end
  end
end

local function spoil_array(ways, list, field, path, limited)
  if field.max and limited then add(ways, path, "length", too_long(list, field)) end
  local item = field.type:match "^%[(.*)%]$"
  local inner = { type = item, max = field.row_max }
  for place, value in ipairs(list) do
    local there = path .. "[" .. place .. "]"
    add(ways, there, "type", way_to(list, place, WRONG_TYPES[base_of(item)]))
    if item:find "^%[" then
      spoil_array(ways, value, inner, there, limited)
    elseif protocol.objects[item] then
      spoil_object(ways, value, item, there, limited)
    end
  end
end

local function spoil_inside(ways, object, field, path, limited)
  local kind, value = field.type, object[field.name]
  local union = protocol.unions[kind]
  local name = union and union.of[object[union.by]] or kind
  if protocol.objects[name] then return spoil_object(ways, value, name, path, limited) end
  if base_of(kind) == "array" then return spoil_array(ways, value, field, path, limited) end
  if protocol.enums[kind] then
    add(ways, path, "enum", way_to(object, field.name, base_of(kind) == "integer" and 77 or "nonsense"))
  elseif limited and kind == "string" then
    spoil_string(ways, object, field, path)
  elseif kind == "integer" then
    spoil_number(ways, object, limited and field or { name = field.name, type = kind }, path)
  end
end

local function spoil_fields(ways, object, fields, path, limited)
  for _, field in ipairs(fields) do
    local there, value = path_of(path, field.name), object[field.name]
    if not field.optional and not field.nullable then
      add(ways, there, "missing", way_to(object, field.name, nil))
    end
    if value ~= nil then
      add(ways, there, "type", way_to(object, field.name, WRONG_TYPES[base_of(field.type)]))
    end
    if value ~= nil and value ~= json.null then spoil_inside(ways, object, field, there, limited) end
  end
end

function spoil_object(ways, object, name, path, limited)
  local known = protocol.objects[name]
  spoil_fields(ways, object, known.fields, path, limited)
  local variant = (known.variants or {})[object.type]
  if variant then spoil_fields(ways, object, variant, path, limited) end
end

local function ways_to_spoil(payload, known, limited)
  local ways = {}
  if type(known) == "table" then
    spoil_fields(ways, payload, known, "", limited)
  elseif protocol.objects[known] then
    spoil_object(ways, payload, known, "", limited)
  else
    spoil_array(ways, payload, { type = known }, "", limited)
  end
  return ways
end

---A payload with one mistake.
---@param name string a method, a notification, or an object
---@param direction? trueconf.protocol.Direction default "request"
---@param kind? string only a mistake of this kind
---@return table? payload nil: nothing in it can be wrong in that way
---@return { field: string, kind: string }? mistake
function Generator:broken(name, direction, kind)
  local payload = self:valid(name, direction)
  local limited = direction == nil or direction == "request"
  local ways, fitting = ways_to_spoil(payload, declared(name, direction), limited), {}
  for _, way in ipairs(ways) do
    if not kind or way.kind == kind then fitting[#fitting + 1] = way end
  end
  if #fitting == 0 then return nil end
  local way = self:pick(fitting)
  way.spoil()
  return payload, { field = way.field, kind = way.kind }
end

return { new = new }
