-- SPDX-License-Identifier: MIT
-- The control endpoint of a Bridge: people and faults as JSON, over HTTP under /control/ and over a WebSocket, for
-- clients on loopback that have the key. acts/ lists the acts.

local core = require "trueconf.core"
local acts = require "trueconf.bridge.control.acts"
local fields = require "trueconf.bridge.control.fields"
local guard = require "trueconf.bridge.control.guard"
local http = require "trueconf.bridge.control.http"
local socket = require "trueconf.bridge.control.socket"

local PREFIX = "/control/"

---@class trueconf.bridge.Control
---@field key string
---@field bridge trueconf.bridge.Server
---@field patience number seconds in which a WebSocket must send the key
---@field private polls table<trueconf.bridge.Person, table<trueconf.core.Waiter, true>> calls that wait for events
---@field private followers table<trueconf.bridge.Person, table<trueconf.bridge.ControlSocket, true>>
---@field private sockets table<trueconf.core.Connection, trueconf.bridge.ControlSocket>
local Control = { WEBSOCKET = { path = PREFIX .. "socket", subprotocol = "trueconf-control" }, PREFIX = PREFIX }
Control.__index = Control

---@param bridge trueconf.bridge.Server
---@param key string|true true: make one
---@return trueconf.bridge.Control
function Control.new(bridge, key)
  if key == true then key = core.base64url_encode(core.random(24)) end
  return setmetatable({
    bridge = bridge, key = key, patience = 5, polls = {}, followers = {}, sockets = {},
  }, Control)
end

---True for a request to the control endpoint. Its path on the wire must be plain, too: a proxy may read another
---spelling (dot segments, percent signs, a fragment) as a path that it may pass on.
---@param head trueconf.core.RequestHead
---@return boolean
function Control.is_for(head)
  return head.guarded and head.path:sub(1, #PREFIX) == PREFIX
end

---@param given any
---@return boolean
function Control:is_key(given)
  return type(given) == "string" and core.equal(given, self.key)
end

---True if a request has the key in its header Authorization.
---@param head trueconf.core.RequestHead
---@return boolean
function Control:is_allowed(head)
  return self:is_key((head.headers.authorization or ""):match "^[Bb]earer +(.*)$")
end

-- Commit before the answer; if the commit fails, the changes are undone and the answer is the error.
function Control:kept(answer, err)
  local ok, failure = self.bridge.store:commit()
  if ok then return answer, err end
  return nil, failure
end

---Carry out an act.
---@async
---@param act trueconf.bridge.Act
---@param input table its fields
---@param more? { client: trueconf.bridge.ControlSocket?, file: trueconf.bridge.ControlFile? } asking client, uploaded
---file
---@return table? answer
---@return any? wrong a refusal, or an error
function Control:perform(act, input, more)
  local wrong = act.fields and fields.complaint(input, act.fields)
  if wrong then return nil, wrong end
  local complaint = act.http and not act.http:find "^GET" and self.bridge.store:complaint()
  if complaint then return nil, core.error("IO", complaint) end
  local ok, answer, err = xpcall(act.perform, debug.traceback, self, input, more or {})
  if ok then return self:kept(answer, err) end
  self.bridge.log:error("bridge: control: %s", answer)
  return nil, { name = "INTERNAL_ERROR", message = "internal error of the Bridge; see its log" }
end

---The answer for an error.
---@param wrong trueconf.bridge.Refusal|trueconf.Error
---@return table
function Control.error_of(wrong)
  if not wrong.field then return { error = wrong.name, code = wrong.code, message = wrong.message } end
  return {
    error = "INVALID", field = wrong.field, expected = wrong.expected, got = wrong.got,
    message = ("%s: expected %s, got %s"):format(wrong.field, wrong.expected, wrong.got),
  }
end

-- Events of people ---------------------------------------------------------------------------

local function wake_all(waiters)
  for waiter in pairs(waiters) do waiter:wake(true) end
end

-- Watches a person from the first call that waits for its events, or the first WebSocket that follows it.
function Control:observe(person)
  if self.polls[person] then return end
  local polls, followers = {}, {}
  self.polls[person], self.followers[person] = polls, followers
  person:on_event(function(event)
    wake_all(polls)
    for follower in pairs(followers) do follower:on_person(person, event) end
  end)
end

---The events of a person since the last call; waits until there is one.
---@async
---@param person trueconf.bridge.Person
---@param timeout number
---@return trueconf.bridge.Event[] events
---@return integer dropped
function Control:events(person, timeout)
  local events, dropped = person:events()
  if events[1] or timeout == 0 then return events, dropped end
  self:observe(person)
  local waiters, waiter = self.polls[person], core.waiter()
  waiters[waiter] = true
  waiter:wait(timeout)
  waiters[waiter] = nil
  return person:events()
end

---From now on send a client the events of these people and of no others.
---@param client trueconf.bridge.ControlSocket
---@param people trueconf.bridge.Person[]
function Control:follow(client, people)
  for _, followers in pairs(self.followers) do followers[client] = nil end
  for _, person in ipairs(people) do
    self:observe(person)
    self.followers[person][client] = true
  end
end

---End the calls that wait for events.
function Control:close()
  for _, polls in pairs(self.polls) do wake_all(polls) end
end

-- HTTP and WebSocket ---------------------------------------------------------------------------

---Decide where the body of a request goes.
---@param head trueconf.core.RequestHead
---@return trueconf.core.BodyDecision?
function Control:on_head(head)
  if guard.complaint(head) or not self:is_allowed(head) then return { ignore_body = true } end
  return http.on_head(self, head)
end

---Answer a request, only from loopback and only with the key.
---@async
---@param request trueconf.core.Request
function Control:handle(request)
  local complaint = guard.complaint(request)
  if complaint then return http.refuse(request, 403, "FORBIDDEN", complaint) end
  if not self:is_allowed(request) then
    return http.refuse(request, 401, "UNAUTHORIZED", "expected the key in Authorization: Bearer",
      { ["WWW-Authenticate"] = "Bearer" })
  end
  http.handle(self, request, request.path:sub(#PREFIX + 1))
end

---Take a connection, if it is to the control endpoint.
---@param transport trueconf.core.Connection
---@return boolean taken
function Control:on_open(transport)
  local head = transport:head()
  if not head then return false end
  self.sockets[transport] = socket.new(self, transport, head)
  return true
end

---@param transport trueconf.core.Connection
---@param data string
function Control:on_frame(transport, data)
  local client = self.sockets[transport]
  if client then client:on_frame(data) end
end

---@param transport trueconf.core.Connection
function Control:on_close(transport)
  local client = self.sockets[transport]
  self.sockets[transport] = nil
  if client then client:on_close() end
end

Control.acts = acts

return Control
