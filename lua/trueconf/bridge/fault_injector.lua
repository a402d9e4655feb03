-- SPDX-License-Identifier: MIT
-- Injects faults: decides when one strikes, and carries it out. Each fault has a random source of its own, made from
-- the seed, so that a run can be repeated and one fault does not influence another one.

local core = require "trueconf.core"
local protocol = require "trueconf.protocol"
local url = require "trueconf.base.url"
local reply = require "trueconf.bridge.http.reply"

local codes = protocol.codes

local HOLD = 0.1                        -- seconds a notification waits for one to follow it
local UNAVAILABLE = 503
local PATHS = url.PATHS
local FILES_PATH = PATHS.files
local TOKEN_PATHS = {
  [PATHS.token] = true, [PATHS.oauth_token] = true, [PATHS.oauth_code] = true, [PATHS.oauth_exchange] = true,
}

-- Random sources ---------------------------------------------------------------------------

---Injects the faults of a Bridge.
---@class trueconf.bridge.FaultInjector
---@field values trueconf.bridge.Faults the set faults
---@field struck table<string, integer> number of times that each has struck
---@field private bridge trueconf.bridge.Server
---@field private seed integer?
---@field private sources table<string, integer> states of the random sources
---@field private tried table<string, integer>
---@field private held table<trueconf.core.Connection, string> notifications to be sent after the next one
---@field private touched table<trueconf.core.Connection, number> when the last frame passed
---@field private timers table<trueconf.core.Timer, trueconf.core.Connection>
---@field private uploads table<string, fun(request: trueconf.core.Request)> answers to failing uploads, by task
local FaultInjector = {}
FaultInjector.__index = FaultInjector

---@param bridge trueconf.bridge.Server
---@param values trueconf.bridge.Faults
---@return trueconf.bridge.FaultInjector
local function new(bridge, values)
  return setmetatable({
    bridge = bridge, values = values, struck = {}, sources = {}, tried = {}, held = {}, touched = {}, timers = {},
    uploads = {},
  }, FaultInjector)
end

---Begin the random sources anew.
---@param seed? integer nil: one that is different each time
function FaultInjector:start(seed)
  self.seed, self.sources, self.tried = seed, {}, {}
end

-- The state in which the random source of a name begins: FNV-1a of the name, by the seed.
local function first_state(seed, name)
  local state = 0xcbf29ce484222325 ~ seed
  for index = 1, #name do state = (state ~ name:byte(index)) * 0x100000001b3 end
  return state
end

---A number from 0 to below 1, by SplitMix64.
---@param name string of the random source
---@return number
function FaultInjector:draw(name)
  self.seed = self.seed or string.unpack("<i8", core.random(8))
  local state = (self.sources[name] or first_state(self.seed, name)) + 0x9E3779B97F4A7C15
  self.sources[name] = state
  local mixed = (state ~ (state >> 30)) * 0xBF58476D1CE4E5B9
  mixed = (mixed ~ (mixed >> 27)) * 0x94D049BB133111EB
  return ((mixed ~ (mixed >> 31)) >> 11) * 2.0 ^ -53
end

function FaultInjector:strikes_at(name, rate)
  local tried = (self.tried[name] or 0) + 1
  self.tried[name] = tried
  if rate > 1 then return tried % rate == 0 end
  return self:draw(name) < rate
end

function FaultInjector:note(name)
  self.struck[name] = (self.struck[name] or 0) + 1
  self.bridge.observers:fault(name, self.struck[name])
  return true
end

---Decide whether a fault strikes this time.
---@param name string
---@param method? string that it is about
---@return boolean
function FaultInjector:strikes(name, method)
  local rate, source = self.values[name], name
  if method and type(rate) == "table" then
    rate, source = rate[method], name .. "." .. method
  elseif method == "auth" then
    rate = nil
  end
  return rate ~= nil and self:strikes_at(source, rate) and self:note(name)
end

-- Requests ---------------------------------------------------------------------------------

---True if a request gets no answer and does nothing.
---@param frame table
---@return boolean
function FaultInjector:ignores(frame)
  if frame.method == "auth" and self:strikes "expire" then self.bridge.store:expire_tokens() end
  return self:strikes("silence", frame.method)
end

---The code of the error that a request gets; nil: it is not refused.
---@param frame table
---@return integer?
function FaultInjector:refusal(frame)
  if not self:strikes("request_error", frame.method) then return nil end
  return self.values.request_error_code or codes.INTERNAL_ERROR
end

---The seconds that a request waits.
---@return number? seconds
function FaultInjector:delay()
  local most = self.values.delay_up_to
  if not most then return self.values.delay end
  return (self.values.delay or 0) + most * self:draw "delay_up_to"
end

-- Frames -----------------------------------------------------------------------------------

function FaultInjector:after(seconds, transport, fn)
  local timer
  timer = core.timer(seconds, function()
    self.timers[timer] = nil
    fn()
  end)
  self.timers[timer] = transport
end

local DROP_PLACES = { "before", "middle", "after" }

function FaultInjector:emit(transport, text)
  self.bridge:on_sent(transport, text)
  transport:send(text)
end

function FaultInjector:drop(transport, text)
  local place = self.values.drop_place or DROP_PLACES[1 + math.floor(3 * self:draw "drop_place")]
  if place == "before" then return transport:drop() end
  local sent = place == "middle" and #text // 2 or #text
  self.bridge:on_sent(transport, text:sub(1, sent))
  transport:drop(text, sent)
end

function FaultInjector:release(transport)
  local text = self.held[transport]
  self.held[transport] = nil
  if text then self:emit(transport, text) end
end

function FaultInjector:pass(transport, text, is_notification)
  if self:strikes "drop" then return self:drop(transport, text) end
  if is_notification and not self.held[transport] and self:strikes "reorder" then
    self.held[transport] = text
    return self:after(HOLD, transport, function() self:release(transport) end)
  end
  self:emit(transport, text)
  if self:strikes "duplicate" then self:emit(transport, text) end
  if is_notification then self:release(transport) end
end

---Send a frame, or apply the faults to it.
---@param transport trueconf.core.Connection
---@param text string
---@param is_notification? boolean it is a notification
function FaultInjector:send(transport, text, is_notification)
  local values = self.values
  if not next(values) then return self:emit(transport, text) end
  self:touch(transport)
  if not is_notification or not values.notification_delay then return self:pass(transport, text, is_notification) end
  self:after(values.notification_delay, transport, function() self:pass(transport, text, true) end)
end

-- Idle connections -------------------------------------------------------------------------

function FaultInjector:watch(transport)
  local idle, since = self.values.idle_drop, self.touched[transport]
  if not idle or not since then
    self.touched[transport] = nil
    return
  end
  local left = since + idle - core.monotonic()
  if left > 0 then return self:after(left, transport, function() self:watch(transport) end) end
  self.touched[transport] = nil
  self:note "idle_drop"
  transport:drop()
end

---A frame passes, or the connection opens.
---@param transport trueconf.core.Connection
function FaultInjector:touch(transport)
  if not self.values.idle_drop then return end
  local watched = self.touched[transport]
  self.touched[transport] = core.monotonic()
  if not watched then self:watch(transport) end
end

---A connection is gone.
---@param transport trueconf.core.Connection
function FaultInjector:forget(transport)
  self.held[transport], self.touched[transport] = nil, nil
  for timer, of in pairs(self.timers) do
    if of == transport then
      self.timers[timer] = nil
      timer:cancel()
    end
  end
end

---Release everything.
function FaultInjector:close()
  for timer in pairs(self.timers) do timer:cancel() end
  self.timers, self.held, self.touched, self.uploads = {}, {}, {}, {}
end

-- HTTP -------------------------------------------------------------------------------------

local function respond_unavailable(request) reply.as_proxy(request, UNAVAILABLE) end

local function drop(request) request:drop() end

-- The function that answers a failing request about files; nil: it does not fail.
function FaultInjector:fate_of_file(method)
  if method == "POST" and self:strikes "upload_cut" then return drop end
  return self:strikes "files_error" and respond_unavailable or nil
end

---An upload begins. A failing upload does not use up its task, so that it can be tried again.
---@param head trueconf.core.RequestHead
---@return trueconf.core.BodyDecision?
function FaultInjector:on_head(head)
  if head.path ~= FILES_PATH or head.method ~= "POST" then return nil end
  local task = head.headers["upload-task-id"] or ""
  self.uploads[task] = self:fate_of_file "POST"
  return self.uploads[task] and { ignore_body = true }
end

---Slow down or cut the body of an upload.
---@param decision trueconf.core.BodyDecision?
---@return trueconf.core.BodyDecision?
function FaultInjector:hamper(decision)
  if not decision or not decision.form then return decision end
  decision.rate, decision.cut_after = self.values.upload_rate, self.values.upload_cut_after
  return decision
end

---Answer an HTTP request in the place of the Bridge, if a fault wants it.
---@param request trueconf.core.Request
---@return boolean handled
function FaultInjector:on_http(request)
  local fate
  if TOKEN_PATHS[request.path] then
    fate = self:strikes "token_error" and respond_unavailable
  elseif request.path == FILES_PATH then
    local task = request.headers["upload-task-id"] or ""
    fate, self.uploads[task] = self.uploads[task], nil
  elseif request.path:sub(1, #FILES_PATH + 1) == FILES_PATH .. "/" then
    fate = self:fate_of_file "GET"
  end
  if fate then fate(request) end
  return fate and true or false
end

return { new = new }
