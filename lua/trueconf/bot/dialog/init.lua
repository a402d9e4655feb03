-- SPDX-License-Identifier: MIT
-- Dialogs: handlers that wait for a message or a click. A waiting handler releases its chat's queue. When the answer
-- arrives, it owns that message until it waits again or returns.

local chats = require "trueconf.bot.chat_handle"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local face = require "trueconf.base.face"
local filters = require "trueconf.filter"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local questions = require "trueconf.bot.dialog.question"
local waits = require "trueconf.bot.dialog.waits"
local handler_run = require "trueconf.bot.handler_run"

local CLICK = "command"                 -- the notification
-- Seconds: unread messages come within AFTER_READY of a connection; a timer that is SLEPT late means that the machine
-- has slept; within AFTER_SLEEP of that a lost connection is noticed, because its pings get no answer.
local AFTER_READY, SLEPT, AFTER_SLEEP = 5, 2, 15
local RAISED = {}                       -- in place of an error: the filter of a wait has raised the second value

-- The waits of a bot that has never waited.
local NONE = waits.new()

---@class trueconf.Dialogs
---@field waits trueconf.Waits
---@field private engine trueconf.Engine
local Dialogs = {}
Dialogs.__index = Dialogs

---@param engine trueconf.Engine
---@return trueconf.Dialogs
local function new(engine)
  return setmetatable({ engine = engine, waits = NONE }, Dialogs)
end

-- Makes the error that ends a dialog. When it is raised in a handler, as by assert(), it ends the handler without a
-- report.
local function over(name, message, ...)
  return Error.new(name, message:format(...), { op = "ask" })
end

---True for an error that ends a dialog. The assert() of a test framework puts it into a table of its own.
---@private
---@param err any
---@return boolean
function Dialogs.is_over(err)
  if type(err) == "table" and not Error.is(err) then err = rawget(err, "message") end
  return Error.is(err) and err.op == "ask"
end

-- Matching waits and messages -----------------------------------------------------------------

-- True if a wait is for this author.
local function is_from(wait, author)
  if not wait.from then return true end
  local id = protocol.plain_id(author)
  return wait.from[id] or wait.from[id:match "^[^@]*"] or false
end

-- Does a wait take a message or a click? Returns true, false, or "maybe" if its filter must be asked.
local function fits(wait, item, event)
  if item.method then
    return item.method == CLICK and wait.clicks ~= nil and wait.clicks[event.command] ~= nil
  end
  if event.is_system and not wait.filter or not is_from(wait, event.author) then return false end
  if wait.is_cancel and wait.is_cancel(event) then return true end
  if wait.is_other and wait.is_other(event) then return false end
  return wait.filter and "maybe" or true
end

---The wait that takes an item for sure; nil: none does, or an earlier one has a filter. Filters are not asked, because
---nothing here may wait.
---@private
---@param item table
---@return trueconf.Wait? wait
function Dialogs:find_wait(item)
  local chat_id = item.chat_id
  if not self.waits:any(chat_id) then return nil end
  local event = item.event or self.engine.receive:event_of(item)
  for _, wait in ipairs(self.waits:of(chat_id)) do
    local answer = fits(wait, item, event)
    if answer == "maybe" then return nil end
    if answer then return wait end
  end
end

---End a wait.
---@private
function Dialogs:end_wait(wait, ...)
  self.waits:remove(wait)
  wait.waiter:wake(nil, ...)
end

-- Ask the filter of a wait; its error is raised in the waiting handler.
local function passes(self, wait, msg)
  local ok, answer = pcall(wait.filter, msg, self.engine.face)
  if ok then return answer end
  if wait.open then self:end_wait(wait, RAISED, answer) end
  return false
end

---Offer a handler's message or click to the waits, and ask their filters.
---@private
---@param run trueconf.HandlerRun
---@return boolean taken
function Dialogs:offer(run)
  local item = run.item
  local chat_id = item.chat_id
  if not self.waits:any(chat_id) then return false end
  for _, wait in ipairs(self.waits:of(chat_id)) do
    local answer = wait.open and fits(wait, item, item.event)
    if answer == "maybe" then answer = passes(self, wait, item.event) and wait.open end
    if answer then
      run.item = { event = item.event, method = item.method, dialog = {} } -- the claim is no longer this handler's
      self:hand_over(item, wait)
      return true
    end
  end
  return false
end

---True if a notification could be an answer.
---@private
function Dialogs:may_answer(method)
  return method == CLICK and self.waits:any_clicks()
end

-- Owning and releasing a message -----------------------------------------------------------------

---Give a message or a click to its wait. A handler owns it until it waits again; outside of handlers it is released at
---once, because nothing would release it later.
---@private
---@param item table
---@param wait trueconf.Wait
function Dialogs:hand_over(item, wait)
  self.waits:remove(wait)
  local held = wait.run and wait.run.stage ~= "over"
  if held then wait.item = item end
  wait.waiter:wake(item.event)
  if not held then self.engine.dispatch:finish(item) end
end

-- The dialog of a message or event; it begins with the first question about it.
local function dialog_of(item)
  local dialog = item.dialog or { held = item }
  item.dialog = dialog
  return dialog
end

local function let_go(self, dialog)
  local held = dialog.held
  dialog.held = nil
  if held then self.engine.dispatch:finish(held) end
  return held ~= nil
end

-- The handler takes over the message it has waited for.
local function hold(wait)
  if not wait.item then return end
  local dialog = dialog_of(wait.run.item)
  wait.item.dialog, dialog.held, wait.item = dialog, wait.item, nil
end

---Release the chat's queue of the running handler; see dialog.leave().
---@private
---@param item table? of the message, outside of handlers
---@return boolean left
function Dialogs:leave(item)
  local run = handler_run.running(self.engine)
  if run then return let_go(self, dialog_of(run.item)) end
  local dialog = dialog_of(item)
  return dialog.held == item and let_go(self, dialog)
end

-- Waiting ----------------------------------------------------------------------------------------

local function stopping_error()
  return over("CLOSED", "the bot is stopping"), "stop"
end

-- Runs at every end of a wait, also when its question could not be sent, or its coroutine is closed: an answer that has
-- come by then goes to the ordinary handlers.
local Wait = {}

function Wait.__close(wait)
  local dialogs, item = wait.dialogs, wait.item
  local engine = dialogs.engine
  dialogs.waits:remove(wait)
  wait.item = nil
  if not item then return end
  if engine.stopping then engine.dispatch:finish(item) else engine.dispatch:work_on(item) end
end

-- Begin to wait: from here on no answer is missed. Above the limit the oldest wait ends.
local function open_wait(self, wait)
  local most = self.engine.options.max_dialogs
  if self.engine.stopping then return nil, stopping_error() end
  if self.waits == NONE then
    self.waits = waits.new()
    self.engine.queue.is_urgent = function(item) return self:find_wait(item) ~= nil end
  end
  while self.waits.count >= most do
    self:end_wait(self.waits:oldest(), over("LIMIT", "ended: more than %d dialogs wait and it was the oldest one",
      most))
  end
  wait.dialogs, wait.waiter, wait.run = self, core.waiter(), handler_run.running(self.engine)
  wait.since, wait.began = wait.since or core.now(), core.monotonic()
  wait.expires = core.now() + math.floor(wait.timeout * 1000)
  self.waits:add(setmetatable(wait, Wait))
  return wait
end

-- Seconds until all messages have arrived that were written before a wait timed out: unread ones still have to come
-- when the connection was lost meanwhile, and after this process or its machine has slept, a lost connection may not
-- have been noticed yet.
local function seconds_behind(self, wait, woke_at)
  local engine = self.engine
  local now, state, ready_at = core.monotonic(), engine.link:state(), engine.ready_at
  if state == "closed" or state == "failed" then return 0 end
  -- The monotonic clock goes on while a process is stopped, the real-time clock also while its machine sleeps.
  local late = math.max(now - woke_at, (core.now() - wait.expires) / 1000 - (now - wait.began - wait.timeout))
  if late > SLEPT and not wait.slept_until then wait.slept_until = now + AFTER_SLEEP end
  if state ~= "ready" then return AFTER_READY end
  local up_to_date = math.max(wait.slept_until or 0, ready_at and ready_at > wait.began and ready_at + AFTER_READY or 0)
  return math.max(0, up_to_date - now)
end

local function timed_out(self, err)
  return err ~= RAISED and not self.is_over(err) and err.name == "TIMEOUT"
end

local function await(self, wait)
  local seconds = wait.timeout
  repeat
    local woke_at = core.monotonic() + seconds
    local answer, err, more = wait.waiter:wait(seconds)
    if answer or not timed_out(self, err) then return answer, err, more end
    seconds = seconds_behind(self, wait, woke_at)
  until seconds == 0
  return nil, over("TIMEOUT", "no answer within %g s", wait.timeout), "timeout"
end

-- Wait for the answer; the queue of the chat is released meanwhile.
local function rest(self, wait, item)
  local run = wait.run
  if run or item then self:leave(item) end
  if run then run:pause() end
  local answer, err, more = await(self, wait)
  if run then
    run:go_on()
    hold(wait)
  end
  if answer then return answer end
  if err == RAISED then error(more, 0) end
  return nil, err, more
end

---See chat:wait().
---@private
---@async
---@param chat trueconf.ChatHandle
---@param filter trueconf.Filter|trueconf.Predicate|nil
---@param given trueconf.WaitOptions|number|nil
---@param level integer whom to blame for a mistake
function Dialogs:wait_in(chat, filter, given, level)
  if filter ~= nil and not filters.is_callable(filter) then
    options.refuse("wait", "a filter or a function", filter, level + 1)
  end
  local opts = questions.read_wait(self.engine, given, level + 1)
  local wait <close>, err = open_wait(self, {
    chat_id = chat.id, from = opts.from, filter = filter, timeout = opts.timeout,
    is_other = questions.command_test(self.engine, opts.commands),
  })
  if not wait then return nil, err end
  local msg, why = rest(self, wait)
  return msg, why
end

-- Asking -----------------------------------------------------------------------------------------

-- Send a question by `say`, and wait for an answer to it.
local function exchange(self, question, item, say)
  local opts = question.opts
  local wait <close>, err, kind = open_wait(self, {
    chat_id = question.chat.id, from = question.from, filter = opts.filter, timeout = opts.timeout,
    is_cancel = question:cancel_test(), is_other = questions.command_test(self.engine, opts.commands),
    clicks = question.clicks, question = question.text, author = question.author, since = question.since,
  })
  if not wait then return nil, err, kind end
  local sent
  sent, err = say()
  if not sent then return nil, err end
  local answer
  answer, err, kind = rest(self, wait, item)
  if answer and answer.text and wait.is_cancel and wait.is_cancel(answer) then
    return nil, over("CANCELLED", "the person has cancelled the dialog"), "cancel"
  end
  return answer, err, kind
end

-- Ask until an answer is valid.
local function pursue(self, question, item)
  local say = function() return question:show() end
  local answer, why, kind
  for left = question:tries() - 1, 0, -1 do
    answer, why, kind = exchange(self, question, item, say)
    if not answer then return nil, why, kind end
    local value
    value, why = question:read(answer)
    if value ~= nil then return value, answer end
    local complaint = left > 0 and question:complaint(why, left)
    say = function() return self.engine.client:send_message(question.chat.id, complaint) end
  end
  return nil, over("LIMIT", "no valid answer in %d tries, the last one: %s", question:tries(), why), "invalid"
end

-- No answer will come: send the question's text for that, or call its function.
local function conclude(self, question, err, kind)
  local ending = kind and question.opts["on_" .. kind]
  if type(ending) == "function" then
    local value = ending(err, question.chat)
    if value ~= nil then return value end
  elseif ending then
    local sent, failure = self.engine.client:send_message(question.chat.id, ending)
    if not sent then self.engine.client.log:warn("the text for the end of a dialog could not be sent: %s", failure) end
  end
  return nil, err
end

---See chat:ask() and msg:ask().
---@private
---@async
---@param chat trueconf.ChatHandle
---@param words string
---@param opts trueconf.AskOptions|number|nil
---@param item table? of the message whose author is asked
---@param level integer whom to blame for a mistake
function Dialogs:ask_in(chat, words, opts, item, level)
  local question <close> = questions.new(self.engine, chat, words, opts, item and item.event.author, level + 1)
  question:prepare()
  local value, more, kind = pursue(self, question, item)
  question:close()
  if value ~= nil then return value, more end
  return conclude(self, question, more, kind)
end

-- Listing and cancelling ----------------------------------------------------------------------------

---A waiting dialog.
---@class trueconf.WaitingDialog
---@field chat_id string
---@field author string? of the message it began with
---@field from string[]|"anyone" people whose answer it waits for
---@field question string? none for chat:wait
---@field since integer time of the question, UNIX milliseconds
---@field expires integer time of its timeout, UNIX milliseconds
local WaitingDialog = {}

---Cancel the dialog: its question returns nil and the error CANCELLED.
---@param reason? string for the error
---@return boolean ended false: it had ended before
function WaitingDialog:cancel(reason)
  if not self.wait.open then return false end
  self.dialogs:end_wait(self.wait, over("CANCELLED", "%s", reason or "the bot has ended the dialog"), "cancel")
  return true
end

local WaitingFace = face.class "trueconf.WaitingDialog"
face.add(WaitingFace, "dialog", "waiting", WaitingDialog)

local function names(set)
  if not set then return "anyone" end
  local list = {}
  for id in pairs(set) do list[#list + 1] = id end
  table.sort(list)
  return list
end

---The waiting dialogs, the oldest first. Their method cancel() ends them.
---@return trueconf.WaitingDialog[]
function Dialogs:dialogs()
  local list = {}
  for index, wait in ipairs(self.waits:list()) do
    list[index] = face.set(setmetatable({
      chat_id = wait.chat_id, author = wait.author, from = names(wait.from), question = wait.question,
      since = wait.since, expires = wait.expires,
    }, WaitingFace), { waiting = { dialogs = self, wait = wait } })
  end
  return list
end

---A chat by its id, to write, ask and wait there.
---@param chat_id string
---@return trueconf.ChatHandle
function Dialogs:chat(chat_id)
  if type(chat_id) ~= "string" then options.refuse("chat", "the id of a chat", chat_id, 2) end
  return chats.new(self.engine, { id = chat_id })
end

---End all waits, because the bot stops.
---@private
function Dialogs:end_all()
  while self.waits:oldest() do self:end_wait(self.waits:oldest(), stopping_error()) end
end

-- Chats that end ----------------------------------------------------------------------------------

local leavings = {}

function leavings.removeChat(self, event)
  for _, wait in ipairs(self.waits:of(event.chat_id)) do
    self:end_wait(wait, over("CHAT_NOT_FOUND", "the chat was removed"))
  end
end

-- Remove a person from a wait; returns true if nobody is left who could answer.
local function without(wait, id)
  local from = wait.from
  if not from then return false end
  from[id], from[id:match "^[^@]*"] = nil, nil
  return next(from) == nil
end

function leavings.removeChatParticipant(self, event)
  local id = protocol.plain_id(event.user_id)
  local is_me = id == protocol.plain_id(self.engine.client:user_id() or "")
  for _, wait in ipairs(self.waits:of(event.chat_id)) do
    if is_me or without(wait, id) then
      self:end_wait(wait, over("USER_IS_NOT_CHAT_PARTICIPANT", is_me and "the bot was removed from the chat"
        or "the person has left the chat"))
    end
  end
end

---True if a notification may end dialogs.
---@private
function Dialogs:may_end(method)
  return leavings[method] ~= nil and self.waits.count > 0
end

---End the dialogs in which nobody can answer any more.
---@private
function Dialogs:notice(method, event)
  if self:may_end(method) then leavings[method](self, event) end
end

return { new = new, Dialogs = Dialogs }
