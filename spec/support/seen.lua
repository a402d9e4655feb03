-- SPDX-License-Identifier: MIT
-- Notes which fields of the schema were seen on the wire, and complains of those that the schema does not have, or
-- not yet in the version that is played.
--
--   local seen = seen.new "5.5.4"
--   seen:response("getChats", payload)
--   seen.complaints                                 -- none so far
--   seen:missing()                                  -- fields of this version that nobody sent

local field_notation = require "trueconf.protocol.field"
local protocol = require "trueconf.protocol"

---@class spec.Seen
---@field complaints string[]
---@field private version string
---@field private fields table<string, true> by "Object.field"
local Seen = {}
Seen.__index = Seen

-- Fields under another name than now, in versions before the one named.
local ONCE_CALLED = { ["FileInfo.fileId"] = { name = "infoHash", before = "5.5.4" } }

---@param version string
---@return spec.Seen
local function new(version)
  return setmetatable({ version = version, fields = {}, complaints = {} }, Seen)
end

function Seen:knows(since)
  return protocol.since(self.version, since)
end

-- The name under which this version has a field.
function Seen:name_of(path, field)
  local once = ONCE_CALLED[path .. "." .. field.name]
  return once and not self:knows(once.before) and once.name or field.name
end

function Seen:complain(text, ...)
  self.complaints[#self.complaints + 1] = text:format(...)
end

function Seen:value(kind, value, holder)
  local item, union = field_notation.item_type(kind), protocol.unions[kind]
  if item then
    for _, one in ipairs(value) do self:value(item, one, value) end
    return
  end
  local name = union and union.of[holder[union.by]] or kind
  local object = protocol.objects[name]
  if object then self:object(name, object.fields, value, (object.variants or {})[value.type]) end
end

function Seen:object(path, fields, value, variant)
  local left = {}
  for name in pairs(value) do left[name] = true end
  for _, list in ipairs { fields, variant } do
    for _, field in ipairs(list) do
      local name = self:name_of(path, field)
      if value[name] ~= nil then
        left[name], self.fields[path .. "." .. field.name] = nil, true
        if not self:knows(field.since) then self:complain("%s.%s is of %s", path, name, field.since) end
        self:value(field.type, value[name], value)
      end
    end
  end
  for name in pairs(left) do self:complain("%s.%s is not in the schema", path, name) end
end

function Seen:payload(name, direction, payload)
  local ok, mistake = protocol.check(name, payload, direction, self.version)
  if not ok then self:complain("%s %s: %s", direction, name, mistake.message) end
end

---@param method string
---@param payload table
function Seen:response(method, payload)
  self:payload(method, "response", payload)
  self:value(protocol.methods[method].response, payload, {})
end

---@param name string
---@param payload table
function Seen:notification(name, payload)
  local notification = protocol.notifications[name]
  if not notification or not self:knows(notification.since) then
    return self:complain("this version has no notification %s", name)
  end
  self:payload(name, "notification", payload)
  self.fields[name] = true
  if type(notification.payload) == "string" then return self:value(notification.payload, payload, {}) end
  self:object(name, notification.payload, payload)
end

-- Visible values --------------------------------------------------------------------------

local add_type

local function add_fields(seen, all, path, fields)
  for _, field in ipairs(fields) do
    if seen:knows(field.since) then
      all[path .. "." .. field.name] = true
      add_type(seen, all, field.type)
    end
  end
end

function add_type(seen, all, kind)
  local item = field_notation.item_type(kind)
  if item then return add_type(seen, all, item) end
  for _, name in pairs(protocol.unions[kind] and protocol.unions[kind].of or {}) do add_type(seen, all, name) end
  local object = protocol.objects[kind]
  if not object or all[kind] or not seen:knows(object.since) then return end
  all[kind] = true
  add_fields(seen, all, kind, object.fields)
  for _, fields in pairs(object.variants or {}) do add_fields(seen, all, kind, fields) end
end

-- Everything a server of this version can send.
local function everything(seen)
  local all = {}
  for _, method in pairs(protocol.methods) do
    if seen:knows(method.since) then add_type(seen, all, method.response) end
  end
  for name, notification in pairs(protocol.notifications) do
    if seen:knows(notification.since) then
      all[name] = true
      if type(notification.payload) == "string" then
        add_type(seen, all, notification.payload)
      else
        add_fields(seen, all, name, notification.payload)
      end
    end
  end
  for name in pairs(protocol.objects) do all[name] = nil end
  return all
end

---Notifications, and fields of responses and notifications, that this version has and nobody has sent.
---@return string[] names sorted
function Seen:missing()
  local list = {}
  for name in pairs(everything(self)) do
    if not self.fields[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

return { new = new }
