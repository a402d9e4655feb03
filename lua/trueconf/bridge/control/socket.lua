-- SPDX-License-Identifier: MIT
-- One WebSocket of the control endpoint. A client sends the key in the header Authorization, or in its first frame, as
-- a page in a browser must: {"key": ...}. Then each frame {"id", "act", ...fields} is answered with {"id", "result"} or
-- {"id", "error", ...}, in the order in which the acts end, and watched events come as {"event", ...}.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local acts = require "trueconf.bridge.control.acts"
local base64 = require "trueconf.bridge.control.base64"
local guard = require "trueconf.bridge.control.guard"

local MOST_ACTS = 64                    -- running acts of one client
-- Unsent bytes above which events for a client are dropped (backpressure), and the interval of looking again.
local EVENTS_ROOM = 1 << 20
local LOOK_AGAIN = 0.1                  -- seconds
local LARGEST_DOWNLOAD = 512 << 10      -- bytes of a file in one frame
local POLICY = 1008

---@class trueconf.bridge.ControlSocket
---@field private control trueconf.bridge.Control
---@field private transport trueconf.core.Connection
---@field private allowed boolean
---@field private deadline trueconf.core.Timer? of the key
---@field private at_work integer running acts
---@field private wanted table subscriptions besides people
---@field private dropped integer events since the last one that was sent
---@field private timer trueconf.core.Timer?
---@field private stop_watching fun()?
local ControlSocket = {}
ControlSocket.__index = ControlSocket

---@param control trueconf.bridge.Control
---@param transport trueconf.core.Connection
---@param head trueconf.core.RequestHead of the upgrade
---@return trueconf.bridge.ControlSocket
local function new(control, transport, head)
  local self = setmetatable({
    control = control, transport = transport, allowed = false, at_work = 0, wanted = {}, dropped = 0,
  }, ControlSocket)
  local complaint = guard.complaint(head)
  if complaint then
    transport:close(POLICY, complaint)
  elseif head.headers.authorization then
    self:admit(control:is_allowed(head))
  else
    self.deadline = core.timer(control.patience, function()
      transport:close(POLICY, "the key did not come in time")
    end)
  end
  return self
end

function ControlSocket:send(message)
  self.transport:send(assert(json.encode(message)))
end

-- A client with a wrong key has no second try on this connection.
function ControlSocket:admit(is_allowed)
  if self.deadline then self.deadline:cancel() end
  self.deadline = nil
  if not is_allowed then return self.transport:close(POLICY, "wrong key") end
  self.allowed = true
  self.transport:admit()
  self:send { event = "ready", version = self.control.bridge.options.version }
end

-- Acts -----------------------------------------------------------------------------------------

local function with_bytes(answer)
  if answer.file.size > LARGEST_DOWNLOAD then
    local most = ("at most %d bytes in a frame; GET /control/download has no limit"):format(LARGEST_DOWNLOAD)
    return nil, core.error("LIMIT", most)
  end
  local file <close>, err = io.open(answer.serve, "rb")
  if not file then return nil, core.error("IO", err) end
  local told = { data = base64.encode(file:read "a") }
  for name, value in pairs(answer.file) do told[name] = value end
  return told
end

function ControlSocket:answer(id, answer, wrong)
  if answer and answer.serve then answer, wrong = with_bytes(answer) end
  if answer then return self:send { id = id, result = answer } end
  local told = self.control.error_of(wrong)
  told.id = id
  self:send(told)
end

local function is_id(id)
  return math.type(id) == "integer" or type(id) == "string" and #id <= 64 and utf8.len(id) ~= nil
end

function ControlSocket:refuse(id, message)
  self:send { id = is_id(id) and id or json.null, error = "INVALID", message = message }
end

function ControlSocket:perform(id, act, input)
  self.at_work = self.at_work + 1
  core.spawn(function()
    local answer, wrong = self.control:perform(act, input, { client = self })
    self.at_work = self.at_work - 1
    self:answer(id, answer, wrong)
  end)
end

function ControlSocket:on_act(frame)
  local id = frame.id
  if not is_id(id) then return self:refuse(nil, "id: expected a whole number or at most 64 bytes of text") end
  local act = acts[frame.act]
  if not act then return self:refuse(id, "act: expected one of those that docs/control.md lists") end
  if self.at_work >= MOST_ACTS then
    return self:answer(id, nil, core.error("LIMIT", ("at most %d acts at a time"):format(MOST_ACTS)))
  end
  frame.id, frame.act = nil, nil
  self:perform(id, act, frame)
end

---@param data string
function ControlSocket:on_frame(data)
  local frame = json.decode(data)
  local is_object = type(frame) == "table" and not json.is_array(frame)
  if not self.allowed then return self:admit(is_object and self.control:is_key(frame.key)) end
  if not is_object then return self:refuse(nil, "expected a JSON object") end
  self:on_act(frame)
end

-- Watching --------------------------------------------------------------------------------------

-- Report the number of dropped events as soon as there is space again.
function ControlSocket:look_again()
  self.timer = core.timer(LOOK_AGAIN, function()
    self.timer = nil
    if self.transport:unsent() > EVENTS_ROOM then return self:look_again() end
    self:tell_dropped()
  end)
end

function ControlSocket:tell_dropped()
  local dropped = self.dropped
  self.dropped = 0
  if dropped > 0 then self:send { event = "dropped", count = dropped } end
end

function ControlSocket:tell(event)
  if self.transport:unsent() > EVENTS_ROOM then
    self.dropped = self.dropped + 1
    if not self.timer then self:look_again() end
    return
  end
  self:tell_dropped()
  self:send(event)
end

---Send an event of a watched person.
---@param person trueconf.bridge.Person
---@param event trueconf.bridge.Event
function ControlSocket:on_person(person, event)
  self:tell { event = "person", person = person.login, method = event.method, payload = event.payload }
end

local WANTED_AS = { frame = "frames", connection = "connections", faults = "faults", fault = "faults" }

function ControlSocket:on_report(report)
  if not self.wanted[WANTED_AS[report.kind]] then return end
  local event = { event = report.kind }
  for name, value in pairs(report) do
    if name ~= "kind" then event[name] = value end
  end
  self:tell(event)
end

---Replace the subscriptions.
---@param wanted { people: string[]?, frames: boolean?, connections: boolean?, faults: boolean? }
---@return table answer
function ControlSocket:watch(wanted)
  local control, people, logins = self.control, {}, json.array()
  for index, login in ipairs(wanted.people or {}) do
    people[index] = control.bridge:person(login)
    logins[index] = people[index].login
  end
  control:follow(self, people)
  self:unwatch()
  self.wanted = wanted
  if wanted.frames or wanted.connections or wanted.faults then
    self.stop_watching = control.bridge:watch(function(report) self:on_report(report) end)
  end
  return { people = logins, frames = wanted.frames == true, connections = wanted.connections == true,
    faults = wanted.faults == true }
end

function ControlSocket:unwatch()
  if self.stop_watching then self.stop_watching() end
  self.stop_watching = nil
end

---Release everything; the connection is closed.
function ControlSocket:on_close()
  self:unwatch()
  self.control:follow(self, {})
  for _, timer in pairs { self.deadline, self.timer } do timer:cancel() end
  self.deadline, self.timer = nil, nil
end

return { new = new }
