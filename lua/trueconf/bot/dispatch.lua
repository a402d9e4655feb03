-- SPDX-License-Identifier: MIT
-- Dispatch at work: which message is next, how many may run, what becomes of it when one has ended.

local core = require "trueconf.core"
local events = require "trueconf.api.events"
local face = require "trueconf.base.face"
local fifo = require "trueconf.base.fifo"
local router = require "trueconf.bot.router"
local hooks = require "trueconf.base.hooks"
local log_throttle = require "trueconf.base.log_throttle"
local works = require "trueconf.bot.handler_run"

local INSIDE = face.INSIDE
local NONE = {}

---@class trueconf.Dispatch
---@field working integer handlers at work
---@field at_work integer those that do not wait for a person
---@field private engine trueconf.Engine
---@field private link trueconf.core.Session
---@field private queue trueconf.Queue
---@field private idle_at integer so few may be at work for wait_until_idle() to return
---@field private idle trueconf.core.Waiter?
---@field private log_throttle trueconf.LogThrottle? what was logged lately; made when it is needed
---@field private held trueconf.Fifo? lanes that wait for room
---@field private is_held table<string|integer, true>? the same lanes
---@field watched boolean? its handlers are looked at in time
---@field private acks { epoch: integer, [integer]: integer }? requests whose acks wait until the store is written
local Dispatch = {}
Dispatch.__index = Dispatch

---@param engine trueconf.Engine
---@return trueconf.Dispatch
local function new(engine)
  return setmetatable({
    engine = engine, link = engine.link, queue = engine.queue, working = 0, at_work = 0, idle_at = 0,
  }, Dispatch)
end

-- Errors -----------------------------------------------------------------------------------------

-- A message, or an event, for the log.
function Dispatch.name_of(item)
  local method = item.method
  if method then return "the event " .. (events.is_known(method) and events.name_of(method) or method) end
  return ("message %s of %s"):format(item.event.id, item.event.author)
end

---Whether something is to be logged now; see base/log_throttle.lua.
---@private
---@param kind string
---@return integer? held_back
function Dispatch:may_say(kind)
  self.log_throttle = self.log_throttle or log_throttle.new()
  return self.log_throttle:may_say(kind)
end

-- Where the handler was registered, unless the traceback has that line.
local function handler_of(place, traceback)
  if not place or traceback:find(place:gsub("%p", "%%%0") .. "[:>]") then return "" end
  return " in the handler of " .. place
end

-- The same error of the same handler is logged once a minute, with its number since.
local function log_error(self, what, failure, place)
  local held_back = self:may_say((place or "") .. "\0" .. tostring(failure.err))
  if not held_back then return end
  self.engine.client.log:error("error while handling %s%s%s: %s", what, handler_of(place, failure.traceback),
    held_back > 0 and (", %d more like this since the last one"):format(held_back) or "", failure.traceback)
end

---Tell of an error that nobody else can be told of.
---@private
---@param failure { err: any, traceback: string }
---@param item table? the message, or what holds an event; nil: a change of state
---@param place string? where the handler was registered
---@param what string? what has failed, if it is no item
function Dispatch:report(failure, item, place, what)
  what = item and self.name_of(item) or what or "a change of state"
  if hooks.failed then hooks.failed(failure, what) end
  local hook = self.engine.router.routes.hooks.error
  if hook then
    local ok, second = pcall(hook.run, failure.err, failure.traceback, item and item.event, place)
    if ok then return end
    self.engine.client.log:error("error in the error handler: %s", second)
  end
  log_error(self, what, failure, place)
end

-- One handler ------------------------------------------------------------------------------------

-- Acknowledge what a handler has done with, and go on in its chat.
function Dispatch:finish(item)
  if self.engine.options.ack == "manual" and not item.acked and not item.method then
    self.queue:release(item.lane, item)
  else
    self.queue:ack(item.lane, item)     -- which notes in the store that it was handled
    if not item.acked then self:send_ack(item) end
  end
  self:begin(item.lane)
end

-- Find the handlers, in the table as it is now.
local function run_handlers(work)
  local engine, method = work.engine, work.method
  if engine.dialogs:offer(work) then return end
  if method == router.MESSAGE or router.is_known(method) then return router.run(engine.router, work) end
  local hook = engine.router.routes.hooks.unknown
  if hook then hook.run(method, work.event) end
end

local function handle(self, item)
  local work <close> = works.begin(self.engine, item, item.event, item.method or router.MESSAGE)
  local ok, failure = xpcall(run_handlers, works.with_traceback, work)
  if not ok then work:failed(failure) end
  work.stage = "returned"
end

---A handler has ended, in whatever way. Nothing here may wait.
---@private
---@param work trueconf.Work
---@param counts boolean whether it was one of those at work
function Dispatch:end_work(work, counts)
  local engine = self.engine
  self.working = self.working - 1
  if counts then self.at_work = self.at_work - 1 end
  local held = work.item
  if held.dialog then held = held.dialog.held end
  if work.sessions then engine.persistence:save_sessions(work) end
  if held and work.failure then engine.persistence:fail(held, work) elseif held then self:finish(held) end
  if self.held then self:begin_held() end
  if engine.receive.turned_away then engine.receive:fetch_turned_away() end
  if engine.stopped and self.working == 0 then engine:settle_down() end
  if self.idle and self.working <= self.idle_at then self.idle:wake() end
end

-- Which is next ----------------------------------------------------------------------------------

local function has_room(self)
  local engine = self.engine
  return not engine.persistence.stuck and self.at_work < engine.options.max_handlers
end

-- Note that a lane waits until fewer handlers are at work.
local function hold(self, lane)
  self.held, self.is_held = self.held or fifo.new(), self.is_held or {}
  if self.is_held[lane] then return end
  self.is_held[lane] = true
  self.held:push(lane)
end

---Begin with lanes that had to wait for room.
---@private
function Dispatch:begin_held()
  local held = self.held
  while held and held:peek() and has_room(self) do
    local lane = held:pop()
    self.is_held[lane] = nil
    self:begin(lane)
  end
end

local function count_in(self)
  self.working, self.at_work = self.working + 1, self.at_work + 1
  if not self.watched then works.watch(self.engine) end
end

---Start a handler for what was claimed.
---@private
---@param item table
function Dispatch:work_on(item)
  core.spawn(handle, self, item)
  count_in(self)
end

-- Claim the next message of a lane for the handler that waits for it, or for a new one. With no room left, only
-- answers that a handler waits for go on. What waits when the bot stops goes on waiting: it is begun by the next
-- start, or delivered again. What there is no memory to begin with waits for the next connection; see begin_lanes().
function Dispatch:begin(lane)
  local engine = self.engine
  local postponed = engine.persistence.postponed
  if engine.stopping or postponed and postponed[lane] then return end
  local item = self.queue:peek(lane)
  if not item then return end
  local wait = engine.dialogs:find_wait(item)
  if not wait and not has_room(self) then return hold(self, lane) end
  if not wait and not pcall(core.spawn, handle, self, item) then return self.link:drop() end
  self.queue:claim(lane)
  if self.engine.options.ack == "before" then self:send_ack(item) end
  if wait then
    engine.dialogs:hand_over(item, wait)
  else
    count_in(self)
  end
end

---Begin with all lanes in which messages wait.
---@private
function Dispatch:begin_lanes()
  for _, lane in ipairs(self.queue:lanes()) do self:begin(lane) end
end

-- Acknowledging ----------------------------------------------------------------------------------

---Acknowledge a request of the server, once all is written that was put into the store before.
---@private
---@param id integer
---@param epoch integer of its connection
---@return boolean sent or to be sent
function Dispatch:acknowledge(id, epoch)
  local store, acks = self.engine.persistence.store, self.acks
  if not store or store.unwritten == 0 then return self.link:ack(id, epoch) end
  if not acks or acks.epoch ~= epoch then -- those of a lost connection would reach nobody
    acks = { epoch = epoch }
    self.acks = acks
  end
  acks[#acks + 1] = id
  return true
end

---The store is written: send the acks that have waited for that.
---@private
function Dispatch:send_held_acks()
  local acks = self.acks
  if not acks then return end
  self.acks = nil
  for _, id in ipairs(acks) do self.link:ack(id, acks.epoch) end
end

---Acknowledge a message or an event, and each delivery of it that has come meanwhile.
---@private
---@return boolean sent
function Dispatch:send_ack(item)
  item.acked = true
  for _, id in ipairs(item.other_frames or NONE) do self:acknowledge(id, item.epoch) end
  return self:acknowledge(item.frame_id, item.epoch)
end

---@private
---@param item table
---@return boolean sent
function Dispatch:ack_item(item)
  if item.acked then return false end
  if self.engine.options.ack == "manual" then self.queue:ack(item.lane, item) end
  return self:send_ack(item)
end

---Acknowledge a message by hand; the same as msg:ack().
---@param msg trueconf.Message
---@return boolean sent
function Dispatch:ack(msg)
  return self:ack_item(msg[INSIDE])
end

-- Stopping ---------------------------------------------------------------------------------------

---Wait until the handlers at work have finished; the one that calls is not waited for.
---@private
---@async
---@param deadline number seconds
function Dispatch:wait_until_idle(deadline)
  self.idle_at = works.running(self.engine) and 1 or 0
  if self.working <= self.idle_at then return end
  self.idle = core.waiter()
  self.idle:wait(deadline)
  self.idle = nil
end

return { new = new, Dispatch = Dispatch }
