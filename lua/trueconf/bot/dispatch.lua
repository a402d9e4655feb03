-- SPDX-License-Identifier: MIT
-- Dispatch: chooses the next message, limits the number of running handlers (backpressure), and acknowledges messages
-- when their handlers have ended.

local core = require "trueconf.core"
local events = require "trueconf.api.events"
local face = require "trueconf.base.face"
local router = require "trueconf.bot.router"
local hooks = require "trueconf.base.hooks"
local log_throttle = require "trueconf.base.log_throttle"
local options = require "trueconf.base.options"
local handler_run = require "trueconf.bot.handler_run"

local INSIDE = face.INSIDE

---@class trueconf.Dispatch
---@field working integer handlers at work
---@field at_work integer running handlers that do not wait for a person
---@field private engine trueconf.Engine
---@field private link trueconf.core.Session
---@field private queue trueconf.Queue
---@field private idle_at integer so few may be at work for wait_until_idle() to return
---@field private idle trueconf.core.Waiter?
---@field private log_throttle trueconf.LogThrottle? made on first use
---@field watched boolean? its handlers are looked at in time
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

---Ask whether to log a line of this kind now; see base/log_throttle.lua.
---@private
---@param kind string
---@return integer? held_back
function Dispatch:may_say(kind)
  self.log_throttle = self.log_throttle or log_throttle.new()
  return self.log_throttle:may_say(kind)
end

-- Where the handler was registered, unless the traceback has that line.
local function handler_of(source, traceback)
  if not source or traceback:find(source:gsub("%p", "%%%0") .. "[:>]") then return "" end
  return " in the handler of " .. source
end

-- The same error of the same handler is logged once a minute, with its number since.
local function log_error(self, what, failure, source)
  local held_back = self:may_say((source or "") .. "\0" .. tostring(failure.err))
  if not held_back then return end
  self.engine.client.log:error("error while handling %s%s%s: %s", what, handler_of(source, failure.traceback),
    held_back > 0 and (", %d more like this since the last one"):format(held_back) or "", failure.traceback)
end

---Report an error to the handler of on_error, or to the log.
---@private
---@param failure { err: any, traceback: string }
---@param item table? of the message or event; nil: a change of state
---@param source string? where the handler was registered
---@param what string? name of the failed function, if it handled no item
function Dispatch:report(failure, item, source, what)
  what = item and self.name_of(item) or what or "a change of state"
  if hooks.failed then hooks.failed(failure, what) end
  local hook = self.engine.router.routes.hooks.error
  if hook then
    local ok, second = pcall(hook.run, failure.err, failure.traceback, item and item.event, source)
    if ok then return end
    self.engine.client.log:error("error in the error handler: %s", second)
  end
  log_error(self, what, failure, source)
end

-- One handler ------------------------------------------------------------------------------------

-- A handler has finished with a claim: acknowledge it, and go on with its chat.
---@param claim trueconf.Item
---@param effects trueconf.StoreChange[]? changes of the handler in the store
function Dispatch:finish(claim, effects)
  local engine = self.engine
  if claim.letter then effects = engine.persistence:end_letter(claim, effects) end
  local is_left_open = engine.options.ack == "manual" and not claim.method and engine.acks:is_expected(claim.id)
  if claim.settled or is_left_open then
    if effects then engine.persistence:apply(effects) end
    self.queue:release(claim)
  elseif self.queue:settle(claim, effects) then
    engine.acks:send(claim.id)
  end
  self:begin_ready()
end

-- Find the handlers, in the table as it is now.
local function run_handlers(run)
  local engine, method = run.engine, run.method
  if engine.dialogs:offer(run) then return end
  if method == router.MESSAGE or router.is_known(method) then return router.run(engine.router, run) end
  local hook = engine.router.routes.hooks.unknown
  if hook then hook.run(method, run.event) end
end

local function handle(self, claim)
  local run <close> = handler_run.begin(self.engine, claim, claim.event, claim.method or router.MESSAGE)
  local ok, failure = xpcall(run_handlers, handler_run.with_traceback, run)
  if not ok then run:failed(failure) end
  run.stage = "returned"
end

---A handler has ended, by itself or not. Nothing here may wait.
---@private
---@param run trueconf.HandlerRun
---@param counts boolean it was counted as running
function Dispatch:end_run(run, counts)
  local engine = self.engine
  self.working = self.working - 1
  if counts then self.at_work = self.at_work - 1 end
  local held = run.item
  if held.dialog then held = held.dialog.held end
  local effects = run.sessions and engine.persistence:session_changes(run)
  if not held then
    if effects then engine.persistence:apply(effects) end
    self:begin_ready()
  elseif run.failure then
    engine.persistence:fail(held, run, effects)
  else
    self:finish(held, effects)
  end
  if engine.receive.turned_away then engine.receive:fetch_turned_away() end
  if engine.stopped and self.working == 0 then engine:settle_down() end
  if self.idle and self.working <= self.idle_at then self.idle:wake() end
end

-- The next message -------------------------------------------------------------------------------

local function count_in(self)
  self.working, self.at_work = self.working + 1, self.at_work + 1
  if not self.watched then handler_run.watch(self.engine) end
end

---Start a handler for a claim.
---@private
---@param claim trueconf.Item
function Dispatch:work_on(claim)
  core.begin(handle, self, claim)
  count_in(self)
end

-- Make the event of a claim, and start a handler for it if none waits for it.
local function start(self, claim)
  claim.event = self.engine.receive:event_of(claim)
  local wait = self.engine.dialogs:find_wait(claim)
  if not wait then core.begin(handle, self, claim) end
  return wait
end

-- Give a claim to the handler that waits for it, or to a new one; or put it back, for the next connection, if memory
-- is short.
local function begin(self, claim)
  local ok, wait = pcall(start, self, claim)
  if not ok then
    self.queue:reap(function(other) return other ~= claim end)
    self.link:drop()
    return false
  end
  if self.engine.options.ack == "before" then self.engine.acks:send(claim.id) end
  if wait then
    self.engine.dialogs:hand_over(claim, wait)
  else
    count_in(self)
  end
  return true
end

---Begin with items that are ready, as long as there is room for handlers; answers that a handler waits for need none.
---Items that wait while the bot is stopped go on waiting: the next start begins with them, or they are delivered again.
---@private
function Dispatch:begin_ready()
  local engine, queue = self.engine, self.queue
  while queue.waiting > 0 and engine.stopping == false do
    local has_room = self.at_work < engine.options.max_handlers and not engine.persistence.stuck
    local claim = queue:claim(has_room and 1 or 0, has_room and 0 or 1)[1]
    if not claim or not begin(self, claim) then return end
  end
end

-- Acknowledging ----------------------------------------------------------------------------------

---Acknowledge a claim before its handler has finished.
---@private
---@param claim trueconf.Item
---@return boolean sent
function Dispatch:ack_now(claim)
  local engine = self.engine
  if not engine.acks:is_expected(claim.id) then return false end
  if engine.options.ack == "manual" then
    self.queue:settle(claim, nil, true)
    self:begin_ready()
  end
  return engine.acks:send(claim.id)
end

---Acknowledge a message by hand; the same as msg:ack().
---@param msg trueconf.Message
---@return boolean sent
function Dispatch:ack(msg)
  local claim = type(msg) == "table" and msg[INSIDE]
  if not claim then options.refuse("ack", "a message", msg, 2) end
  return self:ack_now(claim)
end

-- Stopping ---------------------------------------------------------------------------------------

---Wait until the handlers at work have finished; the one that calls is not waited for.
---@private
---@async
---@param deadline number seconds
function Dispatch:wait_until_idle(deadline)
  self.idle_at = handler_run.running(self.engine) and 1 or 0
  if self.working <= self.idle_at then return end
  self.idle = core.waiter()
  self.idle:wait(deadline)
  self.idle = nil
end

return { new = new, Dispatch = Dispatch }
