-- SPDX-License-Identifier: MIT
-- Makes events of the server's notifications other than messages: checked, in one shape for all servers, in Lua's
-- names.

local objects = require "trueconf.api.objects"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

---A click on a button.
---@class trueconf.CommandEvent
---@field command string as set at the button
---@field custom_data string? as set at the button
---@field button_id string?
---@field message trueconf.Message the message with the button, of the bot itself; its buttons are not in it
---@field chat_id string

local events = {}

-- Renamed: "send_message" would read as an action of the bot.
local RENAMED = { sendMessage = "message", getFileUploadLimits = "file_upload_limits" }

---The name of the event that a notification makes.
---@param method string
---@return string
function events.name_of(method)
  return RENAMED[method] or protocol.notifications[method].lua_name
end

---@type table<string, string> wire name of a notification by the name of its event
local methods = {}

for name in pairs(protocol.notifications) do methods[events.name_of(name)] = name end

---@param name any
---@return string? method the notification on the wire
function events.method_of(name)
  return methods[name]
end

---@param name any
---@return string complaint
function events.unknown_name(name)
  if type(name) ~= "string" then return ("on: the name of an event expected, got %s"):format(options.type_of(name)) end
  local near = options.nearest(name, methods)
  return ("on: unknown event '%s'%s"):format(name, near and (", did you mean '%s'?"):format(near) or "")
end

-- Puts the fields of a click that scripts use on the event itself.
local function flatten_command(_, event)
  local source, payload = event.command_source, event.command_payload
  event.message, event.button_id = source.message, source.button_id
  event.command, event.custom_data = payload.command, payload.custom_data
  event.chat_id = source.message.chat_id
end

-- Further steps for some events.
---@type table<string, fun(client: trueconf.Client, event: table)>
local finish = {
  command = flatten_command,
  getFileUploadLimits = function(client, event) client.limits = event end,
}

---Add a step of another room for each event of a notification.
---@param method string
---@param step fun(client: trueconf.Client, event: table)
function events.finish_with(method, step)
  finish[method] = step
end

---True if the client itself needs the notification, with or without a handler.
---@param method string
---@return boolean
function events.concerns_client(method)
  return method == "getFileUploadLimits" or method == "uploadFileProgress"
end

---The event a notification makes.
---@param client trueconf.Client
---@param method string
---@param payload table as it came
---@return table? event nil: the payload is damaged
---@return string? why
function events.read(client, method, payload)
  if not protocol.notifications[method] then return payload end
  local normal, mistake = protocol.normalise(method, payload, "notification")
  if not normal then return nil, mistake.message end
  local event, why = objects.from_notification(client, method, normal)
  if not event then return nil, why end
  if finish[method] then finish[method](client, event) end
  return event
end

---True if the schema has the notification.
---@param method string
---@return boolean
function events.is_known(method)
  return protocol.notifications[method] ~= nil
end

---The key of the queue in which an event is handled in order: a chat, or a file.
---@param event table
---@return string? key nil: it needs no order
function events.key(event)
  local key = event.chat_id or event.file_id
  return type(key) == "string" and key or nil
end

return events
