-- SPDX-License-Identifier: MIT
-- Brings payloads from all versions of the server into one shape: a chat by `chatId` or by `chat`, forwards flat or
-- nested, `infoHash`, a bare list of chats or an object with them, truth values as strings, missing `isEdited`. Tables
-- are altered in place: a decoded payload belongs to its caller.

local check = require "trueconf.protocol.check"
local enums = require "trueconf.protocol.enums"
local field_notation = require "trueconf.protocol.field"
local object_tables = require "trueconf.protocol.objects"

local objects, unions = object_tables.objects, object_tables.unions
local type, math_type, tointeger = type, math.type, math.tointeger

local TRUTH = { ["true"] = true, ["false"] = false }

local repair_type

-- Values ----------------------------------------------------------------------------------

local function whole(value)
  return math_type(value) == "float" and tointeger(value) or value
end

local function truth(value)
  if type(value) ~= "string" then return value end
  local meant = TRUTH[value:lower()]
  if meant == nil then return value end
  return meant
end

local function enum_repair(enum)
  local numbers = enum.numbers
  if enum.base == "integer" then return whole end
  return numbers and function(value) return numbers[value] or value end
end

-- Objects ---------------------------------------------------------------------------------

-- Fields that are whole numbers, and those that need more.
local function sort_fields(fields)
  local numbers, others = {}, {}
  for _, field in ipairs(fields) do
    local repair = repair_type(field.type)
    if repair == whole and field.absent == nil then
      numbers[#numbers + 1] = field.name
    elseif repair or field.alias or field.absent ~= nil then
      others[#others + 1] = { name = field.name, alias = field.alias, absent = field.absent, repair = repair }
    end
  end
  return numbers, others
end

local function repair_field(object, entry)
  local name = entry.name
  local value = object[name]
  if value == nil and entry.alias then
    value = object[entry.alias]
    object[name], object[entry.alias] = value, nil
  end
  if value == nil then
    object[name] = entry.absent
  elseif entry.repair then
    object[name] = entry.repair(value, object)
  end
end

local function fields_repair(fields)
  local numbers, others = sort_fields(fields)
  return function(object)
    for i = 1, #numbers do
      local value = object[numbers[i]]
      -- Decoded JSON has whole numbers already; others may come from elsewhere.
      if value and math_type(value) == "float" then object[numbers[i]] = whole(value) end
    end
    for i = 1, #others do repair_field(object, others[i]) end
  end
end

-- A message names its chat twice since 5.5.6, once before; one inside of something else is in the same chat.
local function name_chat_twice(message, holder)
  local chat = type(message.chat) == "table" and message.chat or {}
  local id = message.chatId
  if type(id) ~= "string" then id = chat.chatId end
  if type(id) ~= "string" then id = holder and holder.chatId end
  if type(id) ~= "string" then return end
  message.chatId, message.chat, chat.chatId = id, chat, id
end

-- One client expects the text of a forwarded message beside it, not inside.
local function nest(forwarded)
  if forwarded.content ~= nil or type(forwarded.text) ~= "string" then return end
  forwarded.content = { text = forwarded.text, parseMode = forwarded.parseMode or enums.ParseMode.TEXT }
  forwarded.type = forwarded.type or enums.EnvelopeType.PLAIN_MESSAGE
  forwarded.text, forwarded.parseMode = nil, nil
end

local function bare_extensions(extensions)
  local list = extensions.list
  if type(list) ~= "table" then return end
  for index, extension in ipairs(list) do
    if type(extension) == "string" then list[index] = extension:gsub("^%.+", ""):lower() end
  end
end

-- Repairs of an object before its fields are repaired.
local FIRST = {
  Envelope = name_chat_twice,
  AnsweredMessage = name_chat_twice,
  LastMessage = name_chat_twice,
  CommandMessage = name_chat_twice,
  ForwardedContent = nest,
  ExtensionList = bare_extensions,
}

local repairs = {}

-- Objects hold each other, so each is compiled when the first of its kind is repaired.
local function object_repair(name)
  local found = repairs[name]
  if found then return found end
  local first, fields = FIRST[name], fields_repair(objects[name].fields)
  found = first and function(object, holder)
    first(object, holder)
    fields(object)
  end or fields
  repairs[name] = found
  return found
end

-- Lists where an object belongs are left to the check.
local function is_object(value)
  return type(value) == "table" and value[1] == nil
end

local function reference_repair(name)
  local repair
  return function(value, holder)
    if is_object(value) then
      repair = repair or object_repair(name)
      repair(value, holder)
    end
    return value
  end
end

local function union_repair(union)
  local by, of = union.by, union.of
  return function(value, holder)
    local name = of[holder[by]]
    if name and is_object(value) then object_repair(name)(value) end
    return value
  end
end

local function array_repair(item_type)
  local repair = repair_type(item_type)
  return repair and function(value, holder)
    if type(value) ~= "table" then return value end
    for index = 1, #value do value[index] = repair(value[index], holder) end
    return value
  end
end

function repair_type(kind)
  local item_type = field_notation.item_type(kind)
  if item_type then return array_repair(item_type) end
  if kind == "integer" then return whole end
  if kind == "boolean" then return truth end
  if enums[kind] then return enum_repair(enums[kind]) end
  if unions[kind] then return union_repair(unions[kind]) end
  return objects[kind] and reference_repair(kind)
end

-- Payloads --------------------------------------------------------------------------------

local function payload_repair(declared)
  if type(declared) == "string" then return repair_type(declared) end
  local repair = fields_repair(declared)
  return function(payload)
    repair(payload)
    return payload
  end
end

local compiled = { request = {}, response = {}, notification = {} }

local function repair_of(name, direction)
  local slots = compiled[direction] or error(("not a direction: '%s'"):format(tostring(direction)), 3)
  local repair = slots[name]
  if not repair then
    local declared = check.declared_payload(name, direction)
    if not declared then error(("the schema knows no %s '%s'"):format(direction, tostring(name)), 3) end
    repair = payload_repair(declared)
    slots[name] = repair
  end
  return repair
end

local function is_list(name, direction)
  return direction == "response" and name == "getChats"
end

-- Upload limits that make no sense are refused: a client keeps the limits it has.
local function has_limits(name, direction)
  return name == "UploadLimits" or (name == "getFileUploadLimits" and direction ~= "request")
end

---Bring a payload that arrived into the shape of the schema, in place. Values that cannot be repaired stay as they are;
---see check().
---@param name string a notification, a method, or an object
---@param payload any nil stands for an empty one
---@param direction? "request"|"response"|"notification" default "notification"
---@return table? payload
---@return trueconf.protocol.Mistake? mistake not a table, or upload limits that make no sense
local function normalise(name, payload, direction)
  direction = direction or "notification"
  local repair = repair_of(name, direction)
  if payload == nil then payload = {} end
  if is_list(name, direction) and type(payload) == "table" and type(payload.chats) == "table" then
    payload = payload.chats
  end
  if type(payload) ~= "table" then return nil, select(2, check.check("Empty", payload, "response")) end
  payload = repair(payload)
  if has_limits(name, direction) then
    local ok, mistake = check.check("UploadLimits", payload)
    if not ok then return nil, mistake end
  end
  return payload
end

return { normalise = normalise }
