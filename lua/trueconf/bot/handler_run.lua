-- SPDX-License-Identifier: MIT
-- A handler at work on a message or an event: one coroutine, watched so that it cannot hold its chat
-- for ever, and cleaned up after however it ends: by itself, by an error, closed at its deadline, or
-- given up by the runtime because it has yielded by itself or would not let the loop turn.

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"
local Error = require "trueconf.base.error"

---@class trueconf.Work: trueconf.Walk
---@field item table the message, or what holds an event
---@field thread thread
---@field since number when it began, or came back from waiting for a person; monotonic seconds
---@field stage "working"|"waiting"|"returned"|"over" waiting: for a person's answer, so that neither the limit nor the
---deadline counts; over: what it held is let go
---@field failure { err: any, traceback: string }? why it has failed
---@field sessions table<trueconf.Session, true>? that it has opened
---@field private warned boolean?
local Work = {}
Work.__index = Work

local bots = setmetatable({}, { __mode = "k" })

---A bot begins to have handlers.
---@param bot trueconf.Bot
local function register(bot)
  bot.works, bots[bot] = {}, true
end

---The handler that runs, of whatever bot.
---@return trueconf.Work? work nil: this is no handler's coroutine
local function running()
  local thread = coroutine.running()
  for bot in pairs(bots) do
    if bot.works[thread] then return bot.works[thread] end
  end
end

local GIVEN_UP = "the handler did not end by itself: the runtime has given it up, see what was logged of a coroutine"

local function with_traceback(err)
  err = misuse.explain(err, 2)
  return { err = err, traceback = debug.traceback(tostring(err), 2) }
end

---@param bot trueconf.Bot
---@param item table
---@param event table the message or the event
---@param method string the notification on the wire
---@return trueconf.Work
local function begin(bot, item, event, method)
  local thread = coroutine.running()
  local work = setmetatable({
    bot = bot, item = item, event = event, method = method, place = false,
    thread = thread, since = core.monotonic(), stage = "working",
  }, Work)
  bot.works[thread] = work
  return work
end

-- The end, once.
local function let_go(work)
  local counts = work.stage ~= "waiting"
  work.stage = "over"
  work.bot:end_work(work, counts)
end

-- Runs at the end of the handler's coroutine, and when somebody closes it. Nothing here may wait.
function Work:__close()
  if self.stage == "over" then return end
  if self.stage ~= "returned" then
    local err = Error.new("CANCELLED", GIVEN_UP, { op = "handler" })
    self.failure = { err = err, traceback = tostring(err) }
    core.spawn(self.report, self, self.failure)
  end
  let_go(self)
end

---@param failure { err: any, traceback: string }
function Work:report(failure)
  self.bot:report(failure, self.item, self.place or nil)
end

---Note what the handlers have raised.
---@param failure { err: any, traceback: string }
function Work:failed(failure)
  if self.bot.is_over(failure.err) then
    self.bot.log:info("%s: the dialog is over: %s", self.bot.name_of(self.item), failure.err)
    return
  end
  self.failure = failure
  self:report(failure)
end

---Time spent on waiting for a person is not the handler's.
function Work:pause()
  if self.sessions then self.bot:save_sessions(self) end
  self.stage = "waiting"
  self.bot.at_work = self.bot.at_work - 1
  self.bot:begin_held()
end

function Work:go_on()
  self.stage, self.warned, self.since = "working", nil, core.monotonic()
  self.bot.at_work = self.bot.at_work + 1
end

-- The deadline -----------------------------------------------------------------------------------

local WARN_AT = 0.5                     -- of the deadline

local function warn(work, limit)
  local bot = work.bot
  bot.log:warn("the handler of %s is at work on %s for %g s; at %g s it is ended. It waits here: %s",
    work.place or "?", bot.name_of(work.item), limit * WARN_AT, limit, debug.traceback(work.thread))
end

-- Close a handler that is past its deadline; its <close> variables run.
local function end_late(work, limit)
  if work.stage ~= "working" then return end
  local err = Error.new("TIMEOUT", ("the handler was ended after %g s"):format(limit), { op = "handler" })
  local traceback = debug.traceback(work.thread, tostring(err))
  work.failure = { err = err, traceback = traceback }
  let_go(work)
  core.cancel(work.thread)
  work:report(work.failure)
end

-- When something is next due of a handler; what is due now is done.
local function look_at(work, now, limit)
  local spent = now - work.since
  if spent >= limit then
    core.spawn(end_late, work, limit) -- whoever is told of it may wait
    return nil
  end
  if spent < limit * WARN_AT then return work.since + limit * WARN_AT end
  if not work.warned then
    work.warned = true
    warn(work, limit)
  end
  return work.since + limit
end

-- One timer for all bots of the process, set to the first time something is due.
local watched = {}                      -- bots, by when something of them is due
local timer, timer_at

local sweep

local function set_timer(at)
  if timer then timer:cancel() end
  timer, timer_at = nil, at
  if at then timer = core.timer(math.max(0, at - core.monotonic()), sweep) end
end

local function next_due(bot, now)
  local first
  for _, work in pairs(bot.works) do
    local due = work.stage == "working" and look_at(work, now, bot.handler_timeout)
    if due and (not first or due < first) then first = due end
  end
  return first
end

function sweep()
  local now, first = core.monotonic(), nil
  for bot, due in pairs(watched) do
    if due <= now then
      due = next_due(bot, now)
      watched[bot], bot.watched = due, due ~= nil
    end
    if due and (not first or due < first) then first = due end
  end
  timer = nil
  set_timer(first)
end

---See to it that handlers of a bot are looked at in time, while any are at work.
---@param bot trueconf.Bot
local function watch(bot)
  if bot.handler_timeout == 0 then return end
  local now = core.monotonic()
  local due = now + bot.handler_timeout * WARN_AT
  -- One that should have fired went with the loop it was for.
  if not timer or due < timer_at or timer_at < now then set_timer(due) end
  watched[bot], bot.watched = due, true
end

---Look after a bot no more: the timer would only keep the loop alive.
---@param bot trueconf.Bot
local function unwatch(bot)
  watched[bot], bot.watched = nil, false
  if next(watched) == nil then set_timer(nil) end
end

return {
  register = register, running = running, begin = begin, watch = watch, unwatch = unwatch,
  with_traceback = with_traceback,
}
