-- SPDX-License-Identifier: MIT
-- The version of TrueConf Server that a Bridge plays (protocol: version matrix): its methods, fields and notifications.

local protocol = require "trueconf.protocol"

---@class trueconf.bridge.Profile
---@field version string
---@field private told table<string, boolean> notifications that this version sends
---@field private newer table<string, string[]> fields of a request that this version does not know, by method
local Profile = {}
Profile.__index = Profile

local function newer_fields(method, version)
  local list = {}
  for _, field in ipairs(method.request) do
    if not protocol.since(version, field.since) then list[#list + 1] = field.name end
  end
  return list
end

---@param version string
---@return trueconf.bridge.Profile
local function new(version)
  local newer = {}
  for name, method in pairs(protocol.methods) do newer[name] = newer_fields(method, version) end
  local told = {}
  for name, notification in pairs(protocol.notifications) do
    told[name] = protocol.since(version, notification.since)
  end
  return setmetatable({ version = version, newer = newer, told = told }, Profile)
end

---True if the server has the additions of a version.
---@param since string
---@return boolean
function Profile:has(since)
  return protocol.since(self.version, since)
end

---@param name string
---@return trueconf.protocol.Method?
function Profile:method(name)
  local method = protocol.methods[name]
  return method and self:has(method.since) and method or nil
end

---@param name string
---@return boolean
function Profile:tells(name)
  return self.told[name]
end

---Check the payload of a request, and remove fields that this version does not know.
---@param name string
---@param payload any
---@return string? complaint nil: it is correct
function Profile:complaint(name, payload)
  local ok, mistake = protocol.check(name, payload, "incoming", self.version)
  if not ok then return mistake.message end
  for _, field in ipairs(self.newer[name]) do payload[field] = nil end
end

return { new = new }
