-- SPDX-License-Identifier: MIT
-- The protocol as data: every method, notification, object, enum, error and limit, from which
-- the client's methods, the checks of both sides, the annotations, the reference and the
-- generators of tests are made. Names of the wire are as they are; Lua names are derived.

local arguments = require "trueconf.protocol.arguments"
local check = require "trueconf.protocol.check"
local codes = require "trueconf.protocol.codes"
local core = require "trueconf.core"
local enums = require "trueconf.protocol.enums"
local limits = require "trueconf.protocol.limits"
local methods = require "trueconf.protocol.methods"
local names = require "trueconf.protocol.names"
local normalise = require "trueconf.protocol.normalise"
local notifications = require "trueconf.protocol.notifications"
local objects = require "trueconf.protocol.objects"
local rights = require "trueconf.protocol.rights"
local versions = require "trueconf.protocol.versions"

---@class trueconf.protocol
local protocol = {
  methods = methods.methods,            ---@type table<string, trueconf.protocol.Method> by wire name
  method_order = methods.order,
  notifications = notifications.notifications, ---@type table<string, trueconf.protocol.Notification> by wire name
  notification_order = notifications.order,
  objects = objects.objects,
  unions = objects.unions,
  enums = enums,
  limits = limits,
  rights = rights,
  codes = codes.by_name,                ---@type table<string, integer> errorCode by name
  code_since = codes.since,
  code_at = codes.at,
  versions = versions,
  since = versions.since,
  check = check.check,
  normalise = normalise.normalise,
  to_wire = arguments.to_wire,
  arguments = arguments.named,
  lua_name = names.lua_name,
  wire_name = names.wire_name,
}

---Methods that change nothing: repeated by themselves when a connection was lost before
---their answer came (protocol section 6).
---@type table<string, true>
protocol.READS = {}

---@type table<string, trueconf.protocol.Method>
protocol.by_lua_name = {}

for name, method in pairs(protocol.methods) do
  if method.read then protocol.READS[name] = true end
  protocol.by_lua_name[method.lua_name] = method
end

-- The names of all fields, so that the reader of JSON has them ready.
local function wire_keys()
  local set, keys = { errorCode = true, errorDescription = true }, {}
  local function add(fields)
    for _, field in ipairs(type(fields) == "table" and fields or {}) do
      set[field.name] = true
      if field.alias then set[field.alias] = true end
    end
  end
  for _, object in pairs(protocol.objects) do add(object.fields) end
  for _, method in pairs(protocol.methods) do add(method.request) end
  for _, notification in pairs(protocol.notifications) do add(notification.payload) end
  for name in pairs(set) do keys[#keys + 1] = name end
  table.sort(keys)                      -- so that each run knows the same ones
  return keys
end

core.json_keys(wire_keys())

---Envelope types (protocol 8.5); below 200 they are of the system.
protocol.PLAIN_MESSAGE = enums.EnvelopeType.PLAIN_MESSAGE

---Parse modes of a text (protocol 10.1).
protocol.PARSE_MODES = enums.ParseMode.values

---Errors that a method may answer with: its own, then those that any may (protocol 6.0).
---@param name string
---@param version? string of the server; default the newest
---@return string[] names
function protocol.errors_of(name, version)
  local list = {}
  local function add(some)
    for _, error_name in ipairs(some) do
      local since = codes.since(codes.by_name[error_name])
      if versions.since(version or versions.NEWEST, since) then list[#list + 1] = error_name end
    end
  end
  add(protocol.methods[name].errors)
  add(methods.ANY_METHOD)
  return list
end

---A TrueConf ID without its instance part and in lower case, as ids are compared (protocol 4.6).
---@param user_id string
---@return string
function protocol.plain_id(user_id)
  return (user_id:match "^[^/]*"):lower()
end

return protocol
