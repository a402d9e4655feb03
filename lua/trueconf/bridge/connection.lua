-- SPDX-License-Identifier: MIT
-- One WebSocket connection of a Bridge: reads frames, answers requests, takes acks, and sends notifications under ids
-- of its own (protocol: WebSocket message format). The methods are in methods/.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local random_hex = require "trueconf.base.random_hex"
local methods = require "trueconf.bridge.methods"

local codes = protocol.codes

local REQUEST, RESPONSE = protocol.enums.FrameType.REQUEST, protocol.enums.FrameType.RESPONSE
local MAX_ID = protocol.limits.MAX_ID
local MAX_AUTH_FAILURES = 10
local MAX_DESCRIPTION = 300             -- characters of an error's description
-- Notifications that wait for their ack; an ack that comes after this many later notifications is ignored.
local MAX_UNACKED = 20000
local CLOSE = { UNSUPPORTED_DATA = 1003, INVALID_TEXT = 1007, POLICY = 1008 }

---@class trueconf.bridge.Connection: trueconf.bridge.Receiver
---@field id string `connectionId` of the auth response
---@field instance string part of `userId` behind the '/'
---@field account trueconf.bridge.Account? its account, after `auth`
---@field key string? of that account
---@field wants_system boolean? it asked for system messages
---@field transport trueconf.core.Connection
---@field private bridge trueconf.bridge.Server
---@field private next_id integer
---@field private unacked table<integer, trueconf.bridge.Message|true>
---@field private delayed table<integer, trueconf.core.Timer> answers held back, by request id
---@field private awaited table<integer, trueconf.core.Timer> deadlines of acks, by id
---@field private auth_failures integer
---@field private deadline trueconf.core.Timer? of `auth`
local Connection = {}
Connection.__index = Connection

---@param bridge trueconf.bridge.Server
---@param transport trueconf.core.Connection or anything with its send, close and drop
---@return trueconf.bridge.Connection
local function new(bridge, transport)
  local self = setmetatable({
    id = "c-" .. random_hex(6),
    instance = random_hex(6),
    bridge = bridge,
    transport = transport,
    next_id = 1,
    unacked = {},
    delayed = {},
    awaited = {},
    auth_failures = 0,
  }, Connection)
  self:await_auth(bridge.options.auth_timeout)
  return self
end

-- Closes the connection if it does not authorize in time: connections are limited.
function Connection:await_auth(seconds)
  if seconds == 0 then return end
  self.deadline = core.timer(seconds, function()
    self.deadline = nil
    self:close(CLOSE.POLICY, "no authorization in time")
  end)
end

function Connection:end_deadline()
  if self.deadline then self.deadline:cancel() end
  self.deadline = nil
end

-- Requests of the client -----------------------------------------------------------------

function Connection:respond(id, payload)
  local frame = '{"type":2,"id":' .. id .. ',"payload":' .. json.encode(payload) .. "}"
  self.bridge.fault_injector:send(self.transport, frame)
end

-- A description quotes the input, which may be as long as a frame.
local function shortened(description)
  local cut = description and utf8.offset(description, MAX_DESCRIPTION + 1)
  return cut and cut <= #description and description:sub(1, cut - 1) .. "…" or description
end

function Connection:refuse(id, code, description)
  description = shortened(description)
  self.bridge.log:debug("bridge: %s: request %d refused with %d %s", self.id, id, code, description or "")
  self:respond(id, { errorCode = code, errorDescription = description })
end

-- Check and carry out a request; the same results as `perform` of a method.
function Connection:perform(frame)
  local name = frame.method
  local method = type(name) == "string" and self.bridge.profile:method(name)
  if not self.account and not (method and method.before_auth) then return nil, codes.NOT_AUTHORIZED end
  if type(name) ~= "string" then return nil, codes.WRONG_PAYLOAD_FORMAT, "method: missing or not a string" end
  local perform = method and methods[name]
  if not perform then return nil, codes.ROUTE_NOT_FOUND, ("method: there is no '%s'"):format(name) end
  local payload = frame.payload == nil and {} or frame.payload
  local complaint = self.bridge.profile:complaint(name, payload)
  if complaint then return nil, codes.WRONG_PAYLOAD_FORMAT, complaint end
  local refusal = self.bridge.fault_injector:refusal(frame)
  if refusal then return nil, refusal end
  if not (method.read or method.before_auth) and self.bridge.store:complaint() then
    return nil, codes.INTERNAL_ERROR, "the server cannot write its data"
  end
  return perform(self.bridge, self, payload)
end

-- An error in a method is a fault of the Bridge: it is reported, and only this request fails.
function Connection:perform_safely(frame)
  local ok, result, extra, description = xpcall(self.perform, debug.traceback, self, frame)
  if ok then return result, extra, description end
  self.bridge.log:error("bridge: %s", result)
  return nil, codes.INTERNAL_ERROR
end

function Connection:count_auth_failure()
  self.auth_failures = self.auth_failures + 1
  if self.auth_failures >= MAX_AUTH_FAILURES then
    self:close(CLOSE.POLICY, "too many failed authorizations")
  end
end

-- Runs after the response to a request: sends the notifications, or calls the function.
function Connection:follow_up(extra)
  if type(extra) == "function" then return extra() end
  if extra then self.bridge.publisher:publish_all(extra, self) end
end

function Connection:answer(frame)
  local result, extra, description = self:perform_safely(frame)
  if self.bridge.faults.drop_at == "answer" and frame.method ~= "auth" then
    self:drop()
    return result and self:follow_up(extra)
  end
  if result then
    self:respond(frame.id, result)
    self:follow_up(extra)
    return
  end
  local silent = extra == codes.WRONG_PAYLOAD_FORMAT and self.bridge.options.legacy_silence
  if not silent then self:refuse(frame.id, extra, description) end
  if frame.method == "auth" then self:count_auth_failure() end
end

-- With the faults `delay` and `delay_up_to` a request stays in flight for a while.
function Connection:answer_later(frame, seconds)
  self.delayed[frame.id] = core.timer(seconds, function()
    self.delayed[frame.id] = nil
    self:answer(frame)
  end)
end

function Connection:on_request(frame)
  local faults, fault_injector = self.bridge.faults, self.bridge.fault_injector
  if faults.silent or fault_injector:ignores(frame) then return end
  if faults.drop_at == "auth" and frame.method == "auth" then return self:drop() end
  if self.delayed[frame.id] then return self:refuse(frame.id, codes.DUPLICATE_ID) end
  local delay = fault_injector:delay()
  if delay then return self:answer_later(frame, delay) end
  self:answer(frame)
end

-- Acks -----------------------------------------------------------------------------------

-- With the option `ack_timeout`, closes the connection of a client that does not ack.
function Connection:await_ack(id)
  local timeout = self.bridge.options.ack_timeout
  if timeout == 0 then return end
  self.awaited[id] = core.timer(timeout, function()
    self.awaited[id] = nil
    self:close(CLOSE.POLICY, "no ack in time")
  end)
end

function Connection:on_response(id)
  if self.awaited[id] then self.awaited[id]:cancel() end
  self.awaited[id] = nil
  local message = self.unacked[id]
  self.unacked[id] = nil
  if message and message ~= true then self.bridge.publisher:mark_read(self.key, message) end
end

-- Frames ---------------------------------------------------------------------------------

-- A strict Bridge closes the connection on odd input, otherwise the Bridge ignores the frame.
function Connection:odd(code, reason)
  if self.bridge.options.strict then self:close(code, reason) end
end

---Take a frame of the client (protocol: odd input).
---@param data string
---@param binary boolean
function Connection:on_frame(data, binary)
  if binary and self.bridge.options.strict then return self:odd(CLOSE.UNSUPPORTED_DATA, "binary frame") end
  local frame = json.decode(data)
  if type(frame) ~= "table" or json.is_array(frame) then return self:odd(CLOSE.INVALID_TEXT, "not a JSON object") end
  local id = frame.id
  if math.type(id) ~= "integer" or id < 0 or id > MAX_ID then return end
  if frame.type == REQUEST then
    self:on_request(frame)
  elseif frame.type == RESPONSE then
    self:on_response(id)
  end
end

-- Notifications --------------------------------------------------------------------------

---Send a notification; the ack of a message marks it as read.
---@param notification trueconf.bridge.Notification
function Connection:notify(notification)
  if self.bridge.faults.silent or notification.system and not self.wants_system then return end
  local id = self.next_id
  self.next_id = id < MAX_ID and id + 1 or 1
  self.unacked[id] = notification.message or true
  self.unacked[id - MAX_UNACKED] = nil
  self:await_ack(id)
  local frame = notification.head .. id .. ',"payload":' .. notification:payload(self.key) .. "}"
  self.bridge.fault_injector:send(self.transport, frame, true)
end

-- Life -----------------------------------------------------------------------------------

---@param account trueconf.bridge.Account
---@param wants_system boolean send system messages, too
function Connection:authorize(account, wants_system)
  self.account, self.key, self.wants_system = account, account.key, wants_system
  self:end_deadline()
  self.transport:admit()
end

---@param code integer
---@param reason string
function Connection:close(code, reason)
  self.transport:close(code, reason)
end

---Close the connection if the account has its limit of connections, so that other accounts find room, too.
---@param account trueconf.bridge.Account
---@return boolean closed
function Connection:close_surplus(account)
  local most = self.bridge.options.account_connections
  if self.account or most == 0 or self.bridge.publisher:count(account.key) < most then return false end
  self:close(CLOSE.POLICY, "too many connections of this account")
  return true
end

---Drop the TCP connection without a close frame.
function Connection:drop()
  self.transport:drop()
end

---Release everything; the transport is closed.
function Connection:on_close()
  self:end_deadline()
  for _, timers in ipairs { self.delayed, self.awaited } do
    for id, timer in pairs(timers) do
      timers[id] = nil
      timer:cancel()
    end
  end
  if self.account then self.bridge.publisher:detach(self) end
end

return { new = new }
