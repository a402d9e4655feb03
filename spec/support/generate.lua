-- SPDX-License-Identifier: MIT
-- Payloads made from the schema, valid ones and ones with exactly one mistake. The same seed
-- gives the same payloads.
--
--   local some = generate.new(17)
--   local payload = some:valid("sendMessage")                      -- fit for the direction "request"
--   local broken, mistake = some:broken("sendMessage")             -- mistake.field, mistake.kind
--   local news = some:valid("sendMessage", "notification")
--   local name = some:method_name()
--
-- Not at random but all there is:
--
--   for _, mistake in ipairs(generate.mistakes("sendMessage", "incoming", "5.5.4")) do
--     send(mistake.payload)                       -- whole but for mistake.field; see Mistake
--   end
--   for _, edge in ipairs(generate.edges("sendMessage")) do send(edge.payload) end -- as short and long as allowed

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

local MAX_DEPTH = 4                     -- of messages in messages
local LETTERS = { "a", "b", "Z", "0", "9", " ", "-", "é", "Ж", "漢", "🙂" }
local ASCII_LETTERS = 7                 -- as many of them at the front

---@class spec.Generator
---@field private state integer
---@field private whole string? version whose fields are all there
local Generator = {}
Generator.__index = Generator

---@param seed integer
---@return spec.Generator
local function new(seed)
  return setmetatable({ state = seed }, Generator)
end

-- One that leaves out nothing that the version has, and makes an item of each kind in a list.
local function new_whole(version)
  return setmetatable({ state = 1, whole = version }, Generator)
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

-- One item of each kind, if there are several.
function Generator:one_of_each(item, depth)
  local list, kinds = {}, {}
  for kind in pairs((protocol.objects[item] or {}).variants or { [false] = true }) do kinds[#kinds + 1] = kind end
  table.sort(kinds, function(one, other) return tostring(one) < tostring(other) end)
  for place, kind in ipairs(kinds) do
    list[place] = kind and self:variant(item, kind, depth) or self:value({ type = item }, list, depth)
  end
  return json.array(list)
end

function Generator:array(item, field, depth)
  if self.whole then return self:one_of_each(item, depth) end
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
  if self.whole then
    if protocol.since(self.whole, field.since) then object[field.name] = self:value(field, object, depth) end
    return
  end
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

function Generator:variant(name, kind, depth)
  local known = protocol.objects[name]
  local object = self:fields({}, known.fields, depth)
  object.type = kind
  return self:fields(object, known.variants[kind], depth)
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

local OBJECT, ARRAY = { a = 1 }, json.array { 1 }

-- Values that are not of a type; the first one is made into a mistake at random.
local WRONG_TYPES = {
  string = { 7, true, OBJECT, ARRAY }, integer = { "7", true, 1.5, OBJECT, ARRAY },
  number = { true, "7", OBJECT, ARRAY },
  boolean = { "yes", 1, OBJECT, ARRAY }, object = { "{}", 7, true, ARRAY },
  array = { OBJECT, "[]", 7, true },
}

local function base_of(kind)
  if kind:find "^%[" then return "array" end
  if protocol.enums[kind] then return protocol.enums[kind].base end
  return WRONG_TYPES[kind] and kind or "object"
end

local function path_of(path, name)
  return path == "" and name or path .. "." .. name
end

---@class spec.Mistake
---@field field string path of the field
---@field kind string as the check calls it; "null" where null is given to what may not be null
---@field declared trueconf.protocol.Field as the side that looks has it
---@field value any what was put there; nil: nothing
---@field object table that holds the field
---@field spoil fun()
---@field payload? table with the mistake

-- How a side looks at a payload: `limited` by lengths and ranges, milder as a `server`; `all` mistakes are wanted.
---@class spec.Side
---@field limited boolean
---@field server? boolean
---@field all? boolean

local function side_of(direction, version)
  return { limited = direction == nil or direction == "request" or direction == "incoming",
    server = direction == "incoming", version = version }
end

-- Servers that do without a field that newer ones want.
local function is_spared(field, side)
  local version = side.version or protocol.versions.NEWEST
  return side.server and field.required_since and not protocol.since(version, field.required_since)
end

-- A field as a side has it.
local function as_seen(field, side)
  if not (side.server and field.at_server) and not is_spared(field, side) then return field end
  local copy = {}
  for key, value in pairs(field) do copy[key] = value end
  for key, value in pairs(field.at_server or {}) do copy[key] = value or nil end
  copy.optional = field.optional or is_spared(field, side)
  return copy
end

-- Ways to spoil a payload, each a function that spoils and the mistake that must be found then.
local function add(ways, path, field, kind, object, value)
  ways[#ways + 1] = {
    field = path, kind = kind, declared = field, value = value, object = object,
    spoil = function() object[field.name] = value end,
  }
end

local spoil_object

local function spoil_type(ways, object, field, path, side)
  local wrong = WRONG_TYPES[base_of(field.type)]
  for place = 1, side.all and #wrong or 1 do add(ways, path, field, "type", object, wrong[place]) end
  if side.all and not field.nullable then add(ways, path, field, "null", object, json.null) end
end

local function spoil_string(ways, object, field, path)
  if (field.min or 0) > 0 then add(ways, path, field, "length", object, "") end
  if field.max then add(ways, path, field, "length", object, ("x"):rep(field.max + 1)) end
  if is_ascii(field) then add(ways, path, field, "type", object, "https://" .. ("é"):rep(field.min or 1)) end
  if field.schemes then add(ways, path, field, "enum", object, "javascript:alert(1)") end
end

local function spoil_number(ways, object, field, path)
  if field.min then add(ways, path, field, "range", object, field.min - 1) end
  if field.max then add(ways, path, field, "range", object, field.max + 1) end
  if field.type == "integer" then add(ways, path, field, "type", object, 1.5) end
end

local function as_long_as(list, length)
  local copy = json.array()
  for place = 1, length do copy[place] = list[(place - 1) % #list + 1] end
  return copy
end

local function spoil_array(ways, list, field, path, side)
  local item = field.type:match "^%[(.*)%]$"
  for place, value in ipairs(list) do
    local inner, there = { name = place, type = item, max = field.row_max }, path .. "[" .. place .. "]"
    spoil_type(ways, list, inner, there, { all = false })
    if item:find "^%[" then
      if inner.max and side.limited then
        add(ways, there, inner, "length", list, as_long_as(value, inner.max + 1))
      end
      spoil_array(ways, value, inner, there, side)
    elseif protocol.objects[item] then
      spoil_object(ways, value, item, there, side)
    end
  end
end

local function spoil_inside(ways, object, field, path, side)
  local kind, value = field.type, object[field.name]
  local union = protocol.unions[kind]
  local name = union and union.of[object[union.by]] or kind
  if protocol.objects[name] then return spoil_object(ways, value, name, path, side) end
  if base_of(kind) == "array" then
    if field.max and side.limited then add(ways, path, field, "length", object, as_long_as(value, field.max + 1)) end
    return spoil_array(ways, value, field, path, side)
  end
  if protocol.enums[kind] then
    add(ways, path, field, "enum", object, base_of(kind) == "integer" and 77 or "nonsense")
  elseif side.limited and kind == "string" then
    spoil_string(ways, object, field, path)
  elseif kind == "integer" then
    spoil_number(ways, object, side.limited and field or { name = field.name, type = kind }, path)
  end
end

local function spoil_fields(ways, object, fields, path, side)
  for _, given in ipairs(fields) do
    local field = as_seen(given, side)
    local there, value = path_of(path, field.name), object[field.name]
    if value ~= nil or not side.all then
      if not field.optional and not field.nullable then add(ways, there, field, "missing", object, nil) end
    end
    if value ~= nil then spoil_type(ways, object, field, there, side) end
    if value ~= nil and value ~= json.null then spoil_inside(ways, object, field, there, side) end
  end
end

function spoil_object(ways, object, name, path, side)
  local known = protocol.objects[name]
  spoil_fields(ways, object, known.fields, path, side)
  local variant = (known.variants or {})[object.type]
  if variant then spoil_fields(ways, object, variant, path, side) end
end

local function ways_to_spoil(payload, known, side)
  local ways = {}
  if type(known) == "table" then
    spoil_fields(ways, payload, known, "", side)
  elseif protocol.objects[known] then
    spoil_object(ways, payload, known, "", side)
  else
    spoil_array(ways, payload, { type = known }, "", side)
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
  local ways, fitting = ways_to_spoil(payload, declared(name, direction), side_of(direction)), {}
  for _, way in ipairs(ways) do
    if not kind or way.kind == kind then fitting[#fitting + 1] = way end
  end
  if #fitting == 0 then return nil end
  local way = self:pick(fitting)
  way.spoil()
  return payload, { field = way.field, kind = way.kind }
end

-- Everything there is -----------------------------------------------------------------------

---A payload that leaves out nothing: every field of the version, an item of each kind in lists.
---@param name string a method
---@param version? string default the newest
---@return table
local function whole(name, version)
  return new_whole(version or protocol.versions.NEWEST):valid(name)
end

-- Every payload anew: what one way spoils is not what the next one finds.
local function each_way(name, version, find)
  local list, place = {}, 1
  while true do
    local payload = whole(name, version)
    local way = find(payload)[place]
    if not way then return list end
    way.spoil()
    way.payload = payload
    list[place], place = way, place + 1
  end
end

---Every mistake that a request can have, one in each payload.
---@param name string a method
---@param direction? "request"|"incoming" who looks; default "request": the client that is about to send it
---@param version? string whose fields there are; default the newest
---@return spec.Mistake[]
local function mistakes(name, direction, version)
  local side = side_of(direction, version)
  side.all = true
  return each_way(name, version, function(payload)
    return ways_to_spoil(payload, declared(name), side)
  end)
end

---Every request in which one text is very long, where nothing limits it.
---@param name string a method
---@param length integer bytes
---@return spec.Mistake[] floods that are no mistakes
local function floods(name, length)
  local side, text = { limited = true, server = true, all = true }, ("é"):rep(length // 2)
  return each_way(name, nil, function(payload)
    local ways = {}
    for _, way in ipairs(ways_to_spoil(payload, declared(name), side)) do
      local field, object = way.declared, way.object
      local free = field.type == "string" and not field.max and not is_ascii(field)
      if free and way.value == json.null or free and field.nullable and way.value == 7 then
        add(ways, way.field, field, "flood", object, text)
      end
    end
    return ways
  end)
end

-- The values at both ends of what a field may be.
local function ends_of(field, value)
  local ends = {}
  for _, bound in ipairs { field.min or false, field.max or false } do
    if bound and field.schemes then
      ends[#ends + 1] = field.schemes[1] .. "://" .. ("x"):rep(bound - #field.schemes[1] - 3)
    elseif bound and field.type == "string" then
      ends[#ends + 1] = ("x"):rep(bound)
    elseif bound and field.type == "integer" then
      ends[#ends + 1] = bound
    elseif bound then
      ends[#ends + 1] = as_long_as(value, bound)
    end
  end
  return ends
end

local edges_of_fields

local function edges_inside(ways, value, kind, path, side, row_max)
  local item, object = kind:match "^%[(.*)%]$", protocol.objects[kind]
  for place, inner in ipairs(item and value or {}) do
    local there = path .. "[" .. place .. "]"
    if row_max then
      local row = { name = place, type = item, max = row_max }
      add(ways, there, row, "edge", value, as_long_as(inner, row_max))
    end
    edges_inside(ways, inner, item, there, side)
  end
  if not object then return end
  edges_of_fields(ways, value, object.fields, path, side)
  edges_of_fields(ways, value, (object.variants or {})[value.type] or {}, path, side)
end

function edges_of_fields(ways, object, fields, path, side)
  for _, given in ipairs(fields) do
    local field, value = as_seen(given, side), object[given.name]
    local there = path_of(path, field.name)
    if value ~= nil then
      for _, last in ipairs(ends_of(field, value)) do add(ways, there, field, "edge", object, last) end
      edges_inside(ways, value, field.type, there, side, field.row_max)
    end
  end
end

---Every request in which one field is as short, long, small or large as it may be.
---@param name string a method
---@param direction? "request"|"incoming" default "request"
---@return spec.Mistake[] edges that are no mistakes
local function edges(name, direction)
  local side = side_of(direction)
  return each_way(name, nil, function(payload)
    local ways = {}
    edges_of_fields(ways, payload, declared(name), "", side)
    return ways
  end)
end

return { new = new, whole = whole, mistakes = mistakes, edges = edges, floods = floods }
