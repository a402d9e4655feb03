-- SPDX-License-Identifier: MIT
-- Observers of a Bridge get a report of every frame in and out, of connections that open and close, of faults that are
-- set and that strike. Secrets are masked.

local json = require "trueconf.base.json"
local without = require("trueconf.base.without").without

local MASK = "***"

---@class trueconf.bridge.Report
---@field kind "frame"|"connection"|"faults"|"fault"
---@field connection string? id of the connection, of a frame or connection
---@field account string? login, once the connection is authorized
---@field direction ("in"|"out")? of a frame, as the Bridge sees it
---@field text string? the frame as it was on the wire, with its secrets masked
---@field state ("open"|"authorized"|"closed")? of a connection
---@field peer string? address of a connection that opens
---@field code integer? close code
---@field faults trueconf.bridge.Faults? the faults that are set now
---@field name string? of a fault that struck
---@field struck integer? number of times it has struck so far

---@class trueconf.bridge.Observers
---@field private watchers fun(report: trueconf.bridge.Report)[]
---@field private log trueconf.Log
local Observers = {}
Observers.__index = Observers

---@param log trueconf.Log
---@return trueconf.bridge.Observers
local function new(log)
  return setmetatable({ watchers = {}, log = log }, Observers)
end

---Call fn(report) from now on. It must not wait.
---@param fn fun(report: trueconf.bridge.Report)
---@return fun() stop
function Observers:watch(fn)
  local list = table.move(self.watchers, 1, #self.watchers, 1, {})
  list[#list + 1] = fn
  self.watchers = list
  return function() self.watchers = without(self.watchers, fn) end
end

-- The error of an observer must not harm the Bridge.
function Observers:tell(report)
  for _, watcher in ipairs(self.watchers) do
    local ok, err = xpcall(watcher, debug.traceback, report)
    if not ok then self.log:error("bridge: a watcher failed: %s", err) end
  end
end

-- Masks the token of `auth` in any spelling, texts that look like our tokens in other frames, and tokens in addresses.
local function masked(direction, text)
  local frame = direction == "in" and json.decode(text)
  local payload = type(frame) == "table" and frame.payload
  if type(payload) == "table" and payload.token ~= nil then
    payload.token = MASK
    text = json.encode(frame) or MASK
  end
  return (text:gsub("eyJ[%w_-]*%.[%w_-]+%.[%w_-]+", MASK):gsub('([?&]token=)[^"&]+', "%1" .. MASK))
end

---@param direction "in"|"out"
---@param conn trueconf.bridge.Connection
---@param text string
function Observers:frame(direction, conn, text)
  if not self.watchers[1] then return end
  self:tell {
    kind = "frame", connection = conn.id, account = conn.account and conn.account.login, direction = direction,
    text = masked(direction, text),
  }
end

---@param state "open"|"authorized"|"closed"
---@param conn trueconf.bridge.Connection
---@param more? { peer: string?, code: integer? }
function Observers:connection(state, conn, more)
  if not self.watchers[1] then return end
  self:tell {
    kind = "connection", connection = conn.id, account = conn.account and conn.account.login, state = state,
    peer = more and more.peer, code = more and more.code,
  }
end

---@param faults trueconf.bridge.Faults
function Observers:faults(faults)
  local copy = {}
  for name, value in pairs(faults) do copy[name] = value end
  self:tell { kind = "faults", faults = copy }
end

---@param name string
---@param struck integer
function Observers:fault(name, struck)
  self:tell { kind = "fault", name = name, struck = struck }
end

return { new = new }
