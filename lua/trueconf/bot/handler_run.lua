-- SPDX-License-Identifier: MIT
-- One run of a handler on a message or an event: one coroutine with a deadline, so that it cannot block its chat for
-- ever. It is cleaned up after every end: by itself, by an error, closed at its deadline, or closed by the runtime
-- because it has called coroutine.yield or has blocked the loop.

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"
local Error = require "trueconf.base.error"

---@class trueconf.HandlerRun: trueconf.Context
---@field item table the item of the message or event
---@field thread thread
---@field since number start of the run, or of its work after the last wait for a person; monotonic seconds
---@field stage "working"|"waiting"|"returned"|"over" waiting: for a person's answer, so that neither the limit nor the
---deadline counts; over: its message is released
---@field failure { err: any, traceback: string }? its error
---@field sessions table<trueconf.Session, true>? that it has opened
---@field private warned boolean?
local HandlerRun = {}
HandlerRun.__index = HandlerRun

---@type table<thread, trueconf.HandlerRun> handlers at work, of all bots of the process
local runs = {}

---The handler that runs.
---@param engine? trueconf.Engine of this bot; nil: of whatever bot
---@return trueconf.HandlerRun? run nil: this is no handler's coroutine
local function running(engine)
  local run = runs[coroutine.running()]
  return run and (not engine or run.engine == engine) and run or nil
end

---The coroutines of a bot's handlers.
---@param engine trueconf.Engine
---@return thread[]
local function threads(engine)
  local list = {}
  for thread, run in pairs(runs) do
    if run.engine == engine then list[#list + 1] = thread end
  end
  return list
end

local GIVEN_UP = "the handler did not end by itself: the runtime has closed its coroutine, the log says why"

local function with_traceback(err)
  err = misuse.explain(err, 2)
  return { err = err, traceback = debug.traceback(tostring(err), 2) }
end

---@param engine trueconf.Engine
---@param item table
---@param event table the message or the event
---@param method string the notification on the wire
---@return trueconf.HandlerRun
local function begin(engine, item, event, method)
  local thread = coroutine.running()
  local run = setmetatable({
    bot = engine.face, engine = engine, item = item, event = event, method = method, source = false,
    thread = thread, since = core.monotonic(), stage = "working",
  }, HandlerRun)
  runs[thread] = run
  return run
end

-- End the run, once.
local function let_go(run)
  local counts = run.stage ~= "waiting"
  run.stage, runs[run.thread] = "over", nil
  run.engine.dispatch:end_run(run, counts)
end

-- Runs at the end of the handler's coroutine, also when it is closed. Nothing here may wait.
function HandlerRun:__close()
  if self.stage == "over" then return end
  if self.stage ~= "returned" then
    local err = Error.new("CANCELLED", GIVEN_UP, { op = "handler" })
    self.failure = { err = err, traceback = tostring(err) }
    core.spawn(self.report, self, self.failure)
  end
  let_go(self)
end

---@param failure { err: any, traceback: string }
function HandlerRun:report(failure)
  self.engine.dispatch:report(failure, self.item, self.source or nil)
end

---Note the error of a handler.
---@param failure { err: any, traceback: string }
function HandlerRun:failed(failure)
  local engine = self.engine
  if engine.dialogs.is_over(failure.err) then
    engine.client.log:info("%s: the dialog is over: %s", engine.dispatch.name_of(self.item), failure.err)
    return
  end
  self.failure = failure
  self:report(failure)
end

---Stop the clock of the deadline while the handler waits for a person.
function HandlerRun:pause()
  local persistence = self.engine.persistence
  if self.sessions then persistence:apply(persistence:session_changes(self)) end
  self.stage = "waiting"
  local dispatch = self.engine.dispatch
  dispatch.at_work = dispatch.at_work - 1
  dispatch:begin_ready()
end

function HandlerRun:go_on()
  self.stage, self.warned, self.since = "working", nil, core.monotonic()
  local dispatch = self.engine.dispatch
  dispatch.at_work = dispatch.at_work + 1
end

-- The deadline -----------------------------------------------------------------------------------

local WARN_AT = 0.5                     -- of the deadline

local function warn(run, limit)
  local engine = run.engine
  engine.client.log:warn("the handler of %s has been working on %s for %g s; it is closed at %g s. It waits here: %s",
    run.source or "?", engine.dispatch.name_of(run.item), limit * WARN_AT, limit, debug.traceback(run.thread))
end

-- Close a handler after its deadline; its <close> variables run.
local function end_late(run, limit)
  if run.stage ~= "working" then return end
  local err = Error.new("TIMEOUT", ("the handler was closed after %g s"):format(limit), { op = "handler" })
  local traceback = debug.traceback(run.thread, tostring(err))
  run.failure = { err = err, traceback = traceback }
  let_go(run)
  core.cancel(run.thread)
  run:report(run.failure)
end

-- Do what is due for a handler now: the warning, or closing it. Returns the time of the next check.
local function look_at(run, now, limit)
  local spent = now - run.since
  if spent >= limit then
    core.spawn(end_late, run, limit) -- on_error, which is called then, may wait
    return nil
  end
  if spent < limit * WARN_AT then return run.since + limit * WARN_AT end
  if not run.warned then
    run.warned = true
    warn(run, limit)
  end
  return run.since + limit
end

-- One timer for all bots of the process, set to the earliest check that is due.
---@type table<trueconf.Engine, true> engines whose handlers are looked at
local watched = {}
local timer, timer_at

local sweep

local function set_timer(at)
  if timer then timer:cancel() end
  timer, timer_at = nil, at
  if at then timer = core.timer(math.max(0, at - core.monotonic()), sweep) end
end

function sweep()
  local now, busy, first = core.monotonic(), {}, nil
  for _, run in pairs(runs) do
    local due = watched[run.engine] and run.stage == "working"
      and look_at(run, now, run.engine.options.handler_timeout)
    if due then
      busy[run.engine] = true
      if not first or due < first then first = due end
    end
  end
  for engine in pairs(watched) do engine.dispatch.watched = busy[engine] or false end
  watched, timer = busy, nil
  set_timer(first)
end

---Check the running handlers of a bot in time.
---@param engine trueconf.Engine
local function watch(engine)
  local limit = engine.options.handler_timeout
  if limit == 0 then return end
  local now = core.monotonic()
  local due = now + limit * WARN_AT
  -- A timer that should have fired belonged to a loop that was closed.
  if not timer or due < timer_at or timer_at < now then set_timer(due) end
  watched[engine], engine.dispatch.watched = true, true
end

---Stop checking a bot: the timer would only keep the loop alive.
---@param engine trueconf.Engine
local function unwatch(engine)
  if not watched[engine] then return end
  watched[engine], engine.dispatch.watched = nil, false
  if next(watched) == nil then set_timer(nil) end
end

return {
  running = running, threads = threads, begin = begin, watch = watch, unwatch = unwatch,
  with_traceback = with_traceback,
}
