-- A bot: handlers for what comes in, on top of a client. Messages of one chat are handled
-- in order and one at a time, chats run beside each other, and a message is acknowledged
-- when its handler has finished: a crash loses none.
-- SPDX-License-Identifier: MIT

local client = require "trueconf.client"
local core = require "trueconf.core"
local Error = require "trueconf.error"
local events = require "trueconf.events"
local json = require "trueconf.json"
local message = require "trueconf.message"
local options = require "trueconf.options"
local protocol = require "trueconf.protocol"
local queue = require "trueconf.queue"
local seam = require "trueconf.seam"

---@class trueconf.BotOptions: trueconf.ClientOptions
---@field ack? "after"|"before"|"manual" when a message is acknowledged: after its handler has finished or has begun
---to wait for its next message (default), before it runs, or only by msg:ack()
---@field order? "chat"|"none" "none": every message at once, also those of one chat; default "chat"
---@field remember? integer ids of handled messages that are kept, so that a repeat is not handled; 0: none
---@field max_waiting? integer messages that may wait for their handlers; default 10000
---@field ask_timeout? number seconds msg:ask waits unless told otherwise; default 3600
---@field stop_timeout? number seconds stop() gives to handlers at work; default 10
local OWN = {
  ack = { type = "string", enum = { "after", "before", "manual" }, default = "after" },
  order = { type = "string", enum = { "chat", "none" }, default = "chat" },
  remember = { type = "integer", min = 0, default = 10000 },
  max_waiting = { type = "integer", min = 1, default = 10000 },
  ask_timeout = { type = "number", min = 0.001, default = 3600 },
  stop_timeout = { type = "number", min = 0, default = 10 },
}

local MOST_AUTHORS = 1000 -- whose ids are kept in compared form

local SCHEMA = {}
for _, part in ipairs { client.SCHEMA, OWN } do
  for name, option in pairs(part) do SCHEMA[name] = option end
end

---@class trueconf.Bot: trueconf.Client
---@field private inbox trueconf.Queue
---@field private asking table<string, table[]> who waits in which chat, oldest first
---@field private handlers table<thread, boolean> handlers at work
---@field private event_handlers table<string, fun(event: table)> by the notification's name on the wire
---@field private unknown_handler? fun(method: string, payload: table)
local Bot = setmetatable({}, { __index = client.Client })
Bot.__index = Bot
Bot.__name = "trueconf.Bot"

-- Incoming --------------------------------------------------------------------------------

local function chat_of(envelope)
  local chat = envelope.chat
  return envelope.chatId or type(chat) == "table" and chat.chatId or nil
end

-- Is this account the author? Ids are compared without their instance part and in lower
-- case (protocol 4.6); what was found for an author is kept while the connection lasts.
function Bot:is_mine(envelope, epoch)
  if epoch ~= self.authors_epoch then
    self.my_id = protocol.plain_id(self.session:user_id() or "")
    self.authors, self.authors_kept, self.authors_epoch = {}, 0, epoch
  end
  local author = envelope.author
  local id = type(author) == "table" and author.id
  if type(id) ~= "string" then return false end
  local mine = self.authors[id]
  if mine == nil then
    mine = protocol.plain_id(id) == self.my_id
    if self.authors_kept < MOST_AUTHORS then
      self.authors[id], self.authors_kept = mine, self.authors_kept + 1
    end
  end
  return mine
end

-- A message that is under way came again on a new connection: its ack goes there.
local function redirect(self, known, id, epoch)
  known.frame_id, known.epoch = id, epoch
  if known.acked then self.session:ack(id, epoch) end
end

-- Put a message into the queue of its chat, and begin with it if the chat is free.
function Bot:take_in(envelope, chat_id, id, epoch)
  local key = self.remembers and envelope.messageId or epoch << 32 | id
  local lane = self.ordered and chat_id or key
  local incoming = message.new(self, envelope, chat_id, id, epoch, lane)
  local outcome, known = self.inbox:enqueue(lane, key, incoming)
  if outcome == "queued" then
    self:begin(lane)
  elseif outcome == "handled" then
    self.session:ack(id, epoch)
  elseif outcome == "duplicate" then
    redirect(self, known, id, epoch)
  else
    self.log:error("message %s is not taken and stays unread: %s", envelope.messageId, known)
  end
end

-- Whether a notification was worth a look. Not worth it: no JSON, or not what the schema says.
local function read_notification(self, method, payload, id)
  local decoded, err = json.decode(payload)
  local event
  if type(decoded) == "table" then
    event, err = events.read(self, method, decoded)
  end
  if event then return event end
  self.session:damaged()
  self.log:warn("request %d is no %s: %s", id, method, err or "its payload is no object")
end

-- Put an event into the queue of its chat, behind the messages that came before it.
function Bot:take_event(event, handler, method, id, epoch)
  local key = epoch << 32 | id
  local lane = self.ordered and events.lane(event) or key
  local item = { event = event, handler = handler, method = method, lane = lane, frame_id = id, epoch = epoch }
  local outcome, err = self.inbox:enqueue(lane, key, item)
  if outcome == "queued" then
    self:begin(lane)
  else
    self.session:ack(id, epoch)
    self.log:error("%s is not taken: %s", method, err)
  end
end

-- A notification other than a message.
function Bot:on_notification(method, payload, id, epoch)
  local known = protocol.notifications[method]
  local handler = self.event_handlers[method]
  if not known and self.unknown_handler then
    handler = function(event) return self.unknown_handler(method, event) end
  end
  local event = (handler or events.concerns_client(method)) and read_notification(self, method, payload, id)
  if event and handler and not self.stopping then
    self:take_event(event, handler, method, id, epoch)
  else
    self.session:ack(id, epoch)
  end
end

-- A request of the server, at the drain point: nothing here may wait.
function Bot:on_request(method, payload, id, epoch)
  if method ~= "sendMessage" then
    self:on_notification(method, payload, id, epoch)
    return
  end
  local envelope, err = json.decode(payload)
  local chat_id = type(envelope) == "table" and chat_of(envelope)
  if type(chat_id) ~= "string" or type(envelope.messageId) ~= "string" then
    self.session:damaged()
    self.session:ack(id, epoch)
    self.log:warn("request %d is not a message: %s", id, err or "it has no chatId or messageId")
  elseif self:is_mine(envelope, epoch) then
    self.session:ack(id, epoch)
  elseif not self.stopping then
    self:take_in(envelope, chat_id, id, epoch)
  end
end

-- Handlers --------------------------------------------------------------------------------

local function with_traceback(err)
  return { err = err, traceback = debug.traceback(tostring(err), 2) }
end

function Bot:report(failure, msg)
  if seam.failed then seam.failed(failure, tostring(msg and msg.event and msg.method or msg or "a change of state")) end
  if self.error_handler then
    local ok, second = pcall(self.error_handler, failure.err, failure.traceback, msg and msg.event or msg)
    if ok then return end
    self.log:error("error in the error handler: %s", second)
  end
  local what = msg and msg.event and msg.method or msg or "a change of state"
  self.log:error("error while handling %s: %s", what, failure.traceback)
end

-- Acknowledge what a handler has done with, and go on in its chat.
function Bot:finish(msg)
  if self.ack_when == "manual" and not msg.acked and not msg.event then
    self.inbox:release(msg.lane, msg)
  else
    if not msg.acked then self:send_ack(msg) end
    self.inbox:ack(msg.lane, msg)
  end
  self:begin(msg.lane)
end

local function handle(self, msg)
  local thread = coroutine.running()
  self.handlers[thread] = true
  local handler, event = self.message_handler, msg.event
  if event then handler = msg.handler end
  if handler then
    local ok, failure = xpcall(handler, with_traceback, event or msg)
    if not ok then self:report(failure, msg) end
  end
  self.handlers[thread] = nil
  self.working = self.working - 1
  local dialog, held = msg.dialog, msg
  if dialog then held = dialog.held end
  if held then self:finish(held) end
  if self.idle and self.working <= self.idle_at then self.idle:wake() end
end

-- The handler that asked the author of a message for it, if one did.
function Bot:take_asker(msg)
  local list = self.asking[msg.chat_id]
  if not list then return nil end
  local author = protocol.plain_id(msg.author)
  for place, asker in ipairs(list) do
    if asker.author == author then
      self:forget_asker(msg.chat_id, asker, place)
      return asker
    end
  end
end

-- Claim the next message of a lane for the handler that waits for it, or for a new one. What
-- waits when the bot stops goes on waiting: it is begun by the next start, or delivered again.
function Bot:begin(lane)
  local msg = not self.stopping and self.inbox:claim(lane)
  if not msg then return end
  if self.ack_when == "before" then self:send_ack(msg) end
  local asker = next(self.asking) and not msg.event and self:take_asker(msg)
  if asker then
    msg.dialog, asker.dialog.held = asker.dialog, msg
    asker.waiter:wake(msg)
  else
    self.working = self.working + 1
    core.spawn(handle, self, msg)
  end
end

function Bot:send_ack(msg)
  msg.acked = true
  return self.session:ack(msg.frame_id, msg.epoch)
end

---Acknowledge a message by hand; the same as msg:ack().
---@param msg trueconf.Message
---@return boolean sent
function Bot:ack(msg)
  if msg.acked then return false end
  local sent = self:send_ack(msg)
  if self.ack_when == "manual" then self.inbox:ack(msg.lane, msg) end
  return sent
end

-- Asking ----------------------------------------------------------------------------------

local function stopping_error()
  return Error.new("CLOSED", "the bot is stopping")
end

function Bot:forget_asker(chat_id, asker, place)
  local list = self.asking[chat_id] or {}
  for i = place or 1, #list do
    if list[i] == asker then
      table.remove(list, i)
      break
    end
  end
  if #list == 0 then self.asking[chat_id] = nil end
end

-- Let go of the message a dialog holds, and wait for the next one of its author.
function Bot:wait_for_next(msg, dialog, timeout)
  local asker = { author = protocol.plain_id(msg.author), waiter = core.waiter(), dialog = dialog }
  local list = self.asking[msg.chat_id] or {}
  self.asking[msg.chat_id] = list
  list[#list + 1] = asker
  local held = dialog.held
  dialog.held = nil
  if held then self:finish(held) end
  local answer, err = asker.waiter:wait(timeout or self.ask_timeout)
  if not answer then self:forget_asker(msg.chat_id, asker) end
  return answer, err
end

---Send a question and wait for the next message of the author of `msg` in its chat; see
---msg:ask().
---@async
---@param msg trueconf.Message
---@param question string
---@param timeout? number seconds
---@return trueconf.Message? answer
---@return trueconf.Error? err
function Bot:ask(msg, question, timeout)
  if self.stopping then return nil, stopping_error() end
  local sent, err = self:send_message(msg.chat_id, question)
  if not sent then return nil, err end
  -- stop() has woken all who waited by then, and would wait in vain for this one.
  if self.stopping then return nil, stopping_error() end
  local dialog = msg.dialog or { held = msg }
  msg.dialog = dialog
  return self:wait_for_next(msg, dialog, timeout)
end

-- Registration ----------------------------------------------------------------------------

local function check_handler(handler, name)
  if type(handler) ~= "function" then
    error(("%s needs a function, got a %s"):format(name, type(handler)), 3)
  end
  return handler
end

---Handle messages written by others. Each call runs in a coroutine of its own and may wait.
---@param handler fun(msg: trueconf.Message)
function Bot:on_message(handler)
  self.message_handler = check_handler(handler, "on_message")
end

---Handle an event: what the server tells besides messages, under its name in snake_case, such as
---"edit_message" or "add_chat_participant"; "message" is the same as on_message. The handler
---runs in a coroutine of its own and may wait; the events of a chat and its messages are handled
---in order. An event is acknowledged when its handler has finished, whatever the option `ack`
---says. One handler for each event: a later one replaces it.
---@param name string
---@param handler fun(event: table)
---@overload fun(self, name: "message", handler: fun(event: trueconf.Message))
---@overload fun(self, name: "edit_message", handler: fun(event: trueconf.EditMessageEvent))
---@overload fun(self, name: "remove_message", handler: fun(event: trueconf.RemoveMessageEvent))
---@overload fun(self, name: "create_p2p_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_group_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_channel", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_favorites_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "add_chat_participant", handler: fun(event: trueconf.AddChatParticipantEvent))
---@overload fun(self, name: "remove_chat_participant", handler: fun(event: trueconf.RemoveChatParticipantEvent))
---@overload fun(self, name: "change_participant_role", handler: fun(event: trueconf.ChangeParticipantRoleEvent))
---@overload fun(self, name: "remove_chat", handler: fun(event: trueconf.RemoveChatEvent))
---@overload fun(self, name: "clear_history", handler: fun(event: trueconf.ClearHistoryEvent))
---@overload fun(self, name: "edit_chat_title", handler: fun(event: trueconf.EditChatTitleEvent))
---@overload fun(self, name: "edit_chat_avatar", handler: fun(event: trueconf.EditChatAvatarEvent))
---@overload fun(self, name: "file_upload_limits", handler: fun(event: trueconf.UploadLimits))
---@overload fun(self, name: "upload_file_progress", handler: fun(event: trueconf.UploadFileProgressEvent))
---@overload fun(self, name: "command", handler: fun(event: trueconf.CommandEvent))
function Bot:on(name, handler)
  local method = events.method_of(name)
  if not method then error(events.unknown_name(name), 2) end
  check_handler(handler, "on")
  if method == "sendMessage" then
    self.message_handler = handler
  else
    self.event_handlers[method] = handler
  end
end

---Handle what the server tells and this version of the module does not know.
---@param handler fun(method: string, payload: table) gets everything as it is on the wire
function Bot:on_unknown(handler)
  self.unknown_handler = check_handler(handler, "on_unknown")
end

---Be told of every change of the connection's state.
---@param handler fun(new: trueconf.State, old: trueconf.State, err: trueconf.Error?)
function Bot:on_state(handler)
  self.state_handler = check_handler(handler, "on_state")
end

---Be told when a handler raises an error; else it goes to the log.
---@param handler fun(err: any, traceback: string, msg: trueconf.Message|table|nil) with the message or event
function Bot:on_error(handler)
  self.error_handler = check_handler(handler, "on_error")
end

-- Running ---------------------------------------------------------------------------------

local function log_state(self, new, old, err)
  if new == "failed" then
    self.log:error("%s: gave up: %s", self.url, err)
  elseif err and old ~= "backoff" then -- which repeats why it was entered
    self.log:warn("%s: %s -> %s: %s", self.url, old, new, err)
  elseif new == "ready" then
    self.log:info("%s: ready as %s", self.url, self:user_id())
  else
    self.log:debug("%s: %s -> %s", self.url, old, new)
  end
end

function Bot:state_changed(new, old, err)
  log_state(self, new, old, err)
  if self.state_handler then
    local ok, failure = xpcall(self.state_handler, with_traceback, new, old, err)
    if not ok then self:report(failure) end
  end
  if new == "failed" then self.ended:wake(nil, err) end
  if new == "closed" then self.ended:wake(true) end
end

---Connect and begin to handle messages; returns at once.
function Bot:start()
  self.stopping, self.ended = false, core.waiter()
  self.session:start()
  for _, lane in ipairs(self.inbox:lanes()) do self:begin(lane) end
end

local function wake_askers(self)
  local asking = self.asking
  self.asking = {}
  for _, list in pairs(asking) do
    for _, asker in ipairs(list) do
      asker.waiter:wake(nil, stopping_error())
    end
  end
end

-- Wait until the handlers at work have finished; the one that calls is not waited for.
local function wait_for_handlers(self, deadline)
  self.idle_at = self.handlers[coroutine.running()] and 1 or 0
  if self.working <= self.idle_at then return end
  self.idle = core.waiter()
  self.idle:wait(deadline)
  self.idle = nil
end

---Take no more messages, let handlers finish, send what waits to be sent, and close the
---connection. What was not handled stays unread at the server.
---@async
---@param deadline? number seconds for the handlers; default the option stop_timeout
function Bot:stop(deadline)
  self.stopping = true
  wake_askers(self)
  wait_for_handlers(self, deadline or self.stop_timeout)
  client.Client.stop(self)
end

-- The first signal stops in good order, the second at once.
local function watch_signals(self)
  local signals = {}
  if seam.settings then return signals end
  for i, name in ipairs { "SIGINT", "SIGTERM" } do
    signals[i] = core.signal(name, function()
      if self.stopping then
        self.ended:wake(nil, Error.new("CANCELLED", ("stopped by %s"):format(name)))
      else
        self:stop()
      end
    end)
  end
  return signals
end

---Run until the bot is stopped, by stop(), SIGINT or SIGTERM, or gives up.
---@async
---@return true? ok
---@return trueconf.Error? err why it gave up
function Bot:run()
  if self:state() == "idle" or self:state() == "closed" or self:state() == "failed" then self:start() end
  local signals = watch_signals(self)
  local ok, err = self.ended:wait()
  for _, signal in ipairs(signals) do signal:close() end
  return ok, err
end

---Make a bot.
---@param given? trueconf.BotOptions
---@param level? integer
---@return trueconf.Bot
local function new(given, level)
  level = (level or 2) + 1
  given = options.check(SCHEMA, given or {}, level, "trueconf.bot")
  local own = {}
  for name in pairs(OWN) do own[name], given[name] = given[name], nil end
  local self
  self = client.new(given, {
    on_request = function(method, payload, id, epoch) self:on_request(method, payload, id, epoch) end,
    on_state = function(state, old, err) self:state_changed(state, old, err) end,
  }, level)
  self.ack_when, self.ordered, self.remembers = own.ack, own.order == "chat", own.remember > 0
  self.ask_timeout, self.stop_timeout = own.ask_timeout, own.stop_timeout
  self.inbox = queue.new { limit = math.max(own.remember, 1), max_waiting = own.max_waiting }
  self.event_handlers = {}
  self.asking, self.handlers, self.working, self.idle_at = {}, {}, 0, 0
  return setmetatable(self, Bot)
end

return { new = new }
