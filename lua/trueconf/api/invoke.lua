-- SPDX-License-Identifier: MIT
-- The methods of the API as methods of a client, made from the schema: arguments by name or by
-- place, checked before anything is sent; answers normalised and in Lua's names.

local Error = require "trueconf.base.error"
local objects = require "trueconf.api.objects"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local survey = require "trueconf.api.survey"

local methods = {}

-- Mistakes --------------------------------------------------------------------------------

-- Mistakes that depend on data, not on the script, are returned as errors; others are raised.
local OF_DATA = { length = true, range = true }

-- A field as the caller wrote it: in snake_case, and without the object whose fields are given beside the others.
local function argument_name(method, path)
  for _, field in ipairs(method.request) do
    if field.inline then path = path:gsub("^" .. field.name .. "%.", "") end
  end
  return (path:gsub("[%a][%w]*", protocol.lua_name))
end

local function complaint(method, mistake)
  if mistake.field == "" then return mistake.message end -- it begins with the method's name
  if mistake.kind == "unknown" then return ("%s: %s"):format(method.lua_name, mistake.message) end
  local name, problem = argument_name(method, mistake.field), "bad argument"
  if mistake.kind == "missing" then problem = "missing argument" end
  local got = mistake.kind ~= "missing" and ", got " .. mistake.got or ""
  return ("%s: %s '%s': %s expected%s"):format(method.lua_name, problem, name, mistake.expected, got)
end

local function limit_error(method, mistake)
  local message = mistake.message
  local first, last = message:find(mistake.field, 1, true)
  if first then message = message:sub(1, first - 1) .. argument_name(method, mistake.field) .. message:sub(last + 1) end
  return Error.new("LIMIT", message, { method = method.name, outcome = "not_sent" })
end

---Check a request before it is sent. A mistake of the script is raised.
---@param method trueconf.protocol.Method
---@param payload table
---@param level integer stack level to blame
---@return true? ok
---@return trueconf.Error? err LIMIT: too long or out of range
local function check(method, payload, level)
  local ok, mistake = protocol.check(method.name, payload, "request")
  if ok then return true end
  if OF_DATA[mistake.kind] then return nil, limit_error(method, mistake) end
  error(complaint(method, mistake), level + 1)
end

methods.check = check

-- Arguments -------------------------------------------------------------------------------

-- Returns the request's payload and the caller's timeout.
local function read_arguments(method, level, ...)
  local args, mistake = protocol.arguments(method.name, ...)
  if not args then error(complaint(method, mistake), level + 1) end
  local timeout = args.timeout
  args.timeout = nil
  if timeout ~= nil and (type(timeout) ~= "number" or timeout <= 0 or timeout ~= timeout) then
    error(("%s: bad argument 'timeout': a positive number expected, got %s"):format(method.lua_name,
      type(timeout) == "number" and timeout or options.type_of(timeout)), level + 1)
  end
  local payload
  payload, mistake = protocol.to_wire(method.name, args)
  if not payload then error(complaint(method, mistake), level + 1) end
  return payload, timeout
end

local function uses_buttons(payload)
  local content = payload.content
  return type(content) == "table" and content.buttons ~= nil
end

local BUTTONS_SINCE = protocol.objects.Button.since

local function unsupported(method, what, since, version)
  return Error.new("UNSUPPORTED", ("%s needs server %s, this one is %s"):format(what, since, version), {
    method = method.name, outcome = "not_sent",
  })
end

---Check that the server is new enough, if its version is known.
---@async
---@param client trueconf.Client
---@param method trueconf.protocol.Method
---@param payload table
---@return true? ok
---@return trueconf.Error? err UNSUPPORTED
local function check_version(client, method, payload)
  local since, what = method.since, method.name
  if uses_buttons(payload) then since, what = BUTTONS_SINCE, "a message with buttons" end
  if since == protocol.versions.OLDEST then return true end
  local version = client:server_version()
  if not version or protocol.since(version, since) then return true end
  return nil, unsupported(method, what, since, version)
end

methods.check_version = check_version

-- Functions that add computed fields to a request.
local complete = {
  sendSurvey = function(_, payload) survey.complete(payload.content) end,
  editSurvey = function(client, payload) survey.complete_edit(client, payload.content) end,
}

-- Answers ---------------------------------------------------------------------------------

---The error for an unreadable answer: the request may have been carried out.
---@param name string of the method on the wire
---@param why string
---@return trueconf.Error err PROTOCOL
function methods.damaged(name, why)
  return Error.new("PROTOCOL", ("the answer to %s is damaged: %s"):format(name, why), {
    method = name, outcome = "unknown",
  })
end

-- Fill in the fields that an answer repeats from its request, if the server left them out.
local function add_echoes(method, answer, request)
  local declared = protocol.objects[method.response]
  for _, field in ipairs(declared and declared.fields or {}) do
    local asked = field.echo and request[field.name]
    if asked and type(answer[field.name]) ~= type(asked) and type(answer[field.alias]) ~= type(asked) then
      answer[field.name] = asked
    end
  end
end

-- Functions that store parts of an answer in the client.
local keep = {
  getFileUploadLimits = function(client, limits) client.limits = limits end,
}

---Read an answer, in Lua's names and the types of the schema.
---@param client trueconf.Client
---@param method trueconf.protocol.Method
---@param answer table as it came
---@param request table the payload of the request
---@return any result
---@return trueconf.Error? err PROTOCOL: a field is missing; the outcome of the request is unknown
local function read_answer(client, method, answer, request)
  if method.response == "Empty" then return true end
  add_echoes(method, answer, request)
  local payload, mistake = protocol.normalise(method.name, answer, "response")
  if not payload then return nil, methods.damaged(method.name, mistake.message) end
  local made, why = objects.from_wire(client, method.response, payload)
  if made == nil then return nil, methods.damaged(method.name, why) end
  if keep[method.name] then keep[method.name](client, made) end
  if method.returns then return made[protocol.lua_name(method.returns)] end
  return made
end

methods.read_answer = read_answer

-- Calls -----------------------------------------------------------------------------------

-- Methods that a script often calls without looking at the result.
local SENDS = {
  sendMessage = true, editMessage = true, forwardMessage = true, sendFile = true, sendSurvey = true, editSurvey = true,
}

local FIRST = "%s failed: %s (further failures like this one are logged at the level debug)"

---Log a message that was not sent, because the script may ignore the error.
---@param client trueconf.Client
---@param method trueconf.protocol.Method
---@param err trueconf.Error
---@return trueconf.Error err
function methods.note_failure(client, method, err)
  if not SENDS[method.name] then return err end
  local noted, kind = client.noted_failures or {}, method.name .. " " .. err.name
  client.noted_failures = noted
  if noted[kind] then
    client.log:debug("%s failed: %s", method.lua_name, err)
  else
    noted[kind] = true
    client.log:warn(FIRST, method.lua_name, err)
  end
  return err
end

---Make the payload of a request from the arguments of its method, and check it.
---@param method trueconf.protocol.Method
---@param level integer stack level to blame for a mistake: 2 is the caller of this function
---@return table? payload
---@return any timeout_or_err the caller's timeout in seconds, or nil; without a payload LIMIT: too long or out of range
function methods.prepare(method, level, ...)
  local payload, timeout = read_arguments(method, level, ...)
  local ok, err = check(method, payload, level)
  if not ok then return nil, err end
  return payload, timeout
end

local function perform(client, method, payload, timeout)
  local ok, err = check_version(client, method, payload)
  if not ok then return nil, err end
  if complete[method.name] then complete[method.name](client, payload) end
  local answer
  answer, err = client:call(method.name, payload, timeout and { timeout = timeout })
  if not answer then return nil, err end
  return read_answer(client, method, answer, payload)
end

---Call a method of the API.
---@async
---@param client trueconf.Client
---@param method trueconf.protocol.Method
---@param level integer stack level to blame for a mistake: 2 is the caller of this function
---@return any result
---@return trueconf.Error? err
function methods.invoke(client, method, level, ...)
  local payload, timeout = methods.prepare(method, level + 1, ...)
  local result, err = nil, timeout
  if payload then result, err = perform(client, method, payload, timeout) end
  if err then methods.note_failure(client, method, err) end
  return result, err
end

-- The session calls this itself.
local NOT_OFFERED = { auth = true }

local function make(method)
  return function(self, ...)
    local result, err = methods.invoke(self, method, 3, ...)
    return result, err -- no tail call: a mistake is reported at the caller's line
  end
end

---Give a class each method of the API that it does not have yet.
---@param class table
function methods.add_to(class)
  for name, method in pairs(protocol.methods) do
    if not NOT_OFFERED[name] and not class[method.lua_name] then class[method.lua_name] = make(method) end
  end
end

return methods
