-- A handler at work on a message or an event: one coroutine, watched so that it cannot hold its chat
-- for ever, and cleaned up after however it ends: by itself, by an error, closed at its deadline, or
-- given up by the runtime because it has yielded by itself or would not let the loop turn.
-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local Error = require "trueconf.error"

---@class trueconf.Work
---@field bot trueconf.Bot
---@field item table the message, or what holds an event
---@field thread thread
---@field since number when it began, or came back from waiting for a person; monotonic seconds
---@field walk trueconf.Walk? how far the event has come
---@field waiting boolean for a person's answer: neither the limit nor the deadline counts meanwhile
---@field private warned boolean
---@field private returned boolean it came to its end, by itself or by an error
---@field over boolean it has ended, and what it held is let go
local Work = {}
Work.__index = Work

local function with_traceback(err)
  return { err = err, traceback = debug.traceback(tostring(err), 2) }
end

---@param bot trueconf.Bot
---@param item table
---@return trueconf.Work
local function begin(bot, item)
  local thread = coroutine.running()
  local work = setmetatable({
    bot = bot, item = item, thread = thread, since = core.monotonic(), waiting = false, warned = false,
    returned = false, over = false,
  }, Work)
  bot.works[thread] = work
  return work
end

local GIVEN_UP = "the handler did not end by itself: the runtime has given it up, see what was logged of a coroutine"

-- Runs at the end of the handler's coroutine, and when somebody closes it. Nothing here may wait.
function Work:__close()
  if self.over then return end
  self.over = true
  if not self.returned then
    local err = Error.new("CANCELLED", GIVEN_UP, { op = "handler" })
    core.spawn(self.report, self, { err = err, traceback = tostring(err) })
  end
  self.bot:end_work(self)
end

---Run the handlers and note what they raise.
function Work:run()
  local ok, failure = xpcall(self.bot.handle, with_traceback, self.bot, self)
  if not ok then self:report(failure) end
  self.returned = true
end

function Work:report(failure)
  self.bot:report(failure, self.item, self.walk and self.walk.place)
end

---Time spent on waiting for a person is not the handler's.
function Work:pause()
  self.waiting = true
  self.bot.at_work = self.bot.at_work - 1
  self.bot:begin_held()
end

function Work:go_on()
  self.waiting, self.warned, self.since = false, false, core.monotonic()
  self.bot.at_work = self.bot.at_work + 1
end

-- The deadline -----------------------------------------------------------------------------------

local WARN_AT = 0.5                     -- of the deadline

local function warn(work, limit)
  local bot = work.bot
  bot.log:warn("the handler of %s is at work on %s for %g s; at %g s it is ended. It waits here: %s",
    work.walk and work.walk.place or "?", bot.name_of(work.item), limit * WARN_AT, limit,
    debug.traceback(work.thread))
end

-- Close a handler that is past its deadline; its <close> variables run.
local function end_late(work, limit)
  local err = Error.new("TIMEOUT", ("the handler was ended after %g s"):format(limit), { op = "handler" })
  local traceback = debug.traceback(work.thread, tostring(err))
  work.over = true
  core.cancel(work.thread)
  work.bot:end_work(work)
  work:report { err = err, traceback = traceback }
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

local watch

local function sweep(bot)
  bot.watching = nil
  local now, works = core.monotonic(), {}
  for _, work in pairs(bot.works) do
    if not work.waiting then works[#works + 1] = work end
  end
  local next_due
  for _, work in ipairs(works) do
    local due = not work.over and look_at(work, now, bot.handler_timeout)
    if due and (not next_due or due < next_due) then next_due = due end
  end
  if next_due then watch(bot, next_due - now) end
end

-- One timer for all handlers: whoever begins later is due later.
function watch(bot, seconds)
  if bot.watching or bot.handler_timeout == 0 then return end
  bot.watching = core.timer(seconds or bot.handler_timeout * WARN_AT, function() sweep(bot) end)
end

---Nobody is at work: the timer would only keep the loop alive.
---@param bot trueconf.Bot
local function unwatch(bot)
  if bot.watching then bot.watching:cancel() end
  bot.watching = nil
end

return { begin = begin, watch = watch, unwatch = unwatch, with_traceback = with_traceback }
