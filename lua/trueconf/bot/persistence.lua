-- SPDX-License-Identifier: MIT
-- What a bot keeps in its store, and the promises that rest on it: which messages were handled, what was
-- set aside, sessions, and the outbox.

local backoff = require "trueconf.base.backoff"
local core = require "trueconf.core"
local asides = require "trueconf.bot.dead_letters"
local message = require "trueconf.bot.message"
local outboxes = require "trueconf.bot.outbox"
local protocol = require "trueconf.protocol"
local sessions = require "trueconf.bot.sessions"
local stores = require "trueconf.store"

local HANDLED = "handled"
local HANDLED_LIFE = 30 * 86400 * 1000  -- milliseconds; no server delivers again what is older
local FIRST_RETRY, LONGEST_RETRY = 1, 60 -- seconds between tries of a handler
local PERSONAL = protocol.enums.ChatType.P2P

---@class trueconf.Bot
---@field store trueconf.Store
---@field private store_path string? of a store that the bot opens and closes by itself
---@field private aside_box trueconf.Aside
---@field private sessions trueconf.Sessions
---@field private outbox_box trueconf.Outbox
---@field private write_timer trueconf.core.Timer? when it is tried again to write the store
---@field private retry_timers table<table, trueconf.core.Timer>? messages whose handler is tried again, and when
local Delivery = {}

-- The store ----------------------------------------------------------------------------------

-- What was handled before this process began.
local function recall_handled(self)
  self.store:drop_oldest(HANDLED, self.inbox.limit)
  local oldest = core.now() - HANDLED_LIFE
  for _, item in ipairs(self.store:list(HANDLED)) do
    if item.value.at < oldest then self.store:remove(HANDLED, item.id) else self.inbox:remember(item.id) end
  end
end

local function keep_handled(self)
  self.inbox.on_remember = function(id, forgotten)
    self.store:put(HANDLED, id, { at = core.now() })
    if forgotten then self.store:remove(HANDLED, forgotten) end
  end
end

local function retry_pause(tries)
  return backoff.pause(tries, FIRST_RETRY, LONGEST_RETRY)
end

-- Go on with the messages that have waited because what they need could not be stored.
local function go_on(self)
  local lanes = self.postponed
  self.postponed = nil
  for lane in pairs(lanes or {}) do self:begin(lane) end
  self:begin_held()
  if self.stopping == false then self.outbox_box:hurry() end
end

-- Try to write again, with longer and longer pauses, until the bot stops or has failed; see store_tried().
local function write_later(self, tries)
  self.write_timer = core.timer(retry_pause(tries), function()
    self.write_timer = nil
    if self:state() ~= "failed" and not self.store:commit() then write_later(self, tries + 1) end
  end)
end

-- The store was written, or could not be. As long as it cannot be, nothing new is begun and nothing acknowledged:
-- what comes stays unread at the server.
local function store_tried(self, err)
  if not err then self:send_held_acks() end
  if self.stuck == (err ~= nil) then return end
  self.stuck = err ~= nil
  if err then
    if self:may_say "store" then
      self.log:error("the store cannot be written, messages stay unread until it can: %s", err)
    end
    if self.stopping == false then write_later(self, 1) end
  else
    if self:may_say "store again" then self.log:warn "the store is written again, the bot goes on" end
    go_on(self)
  end
end

local function use_store(self, store, keeps_handled)
  self.store = store
  self.stuck = store.failing ~= nil
  store:watch(self, function(err) store_tried(self, err) end)
  if keeps_handled then
    recall_handled(self)
    keep_handled(self)
  end
  self.aside_box, self.sessions, self.outbox_box = asides.new(store), sessions.new(store), outboxes.new(self, store)
  if self.stopping == false then self.outbox_box:start() end
end

-- A bot that was given no store gets one when it first needs it. A file is closed while the bot is stopped.
local function kept(self)
  if self.store_path and not self.store then
    error("the bot is stopped, and its store closed: " .. self.store_path, 3)
  end
  if not self.store then use_store(self, stores.memory(), false) end
  return self
end

local function open(self, path)
  local store, err = stores.open(path)
  if not store then return nil, err end
  use_store(self, store, self.remembers)
  return true
end

---Use the store that the bot was given.
---@private
---@param given string|trueconf.Store|nil the option `store`
---@param level integer whom to blame
function Delivery:open_store(given, level)
  if type(given) == "string" then
    self.store_path = given
    local ok, err = open(self, given)
    if not ok then error(("trueconf.bot: store: %s"):format(err.message), level + 1) end
  elseif given then
    use_store(self, given, self.remembers)
  end
end

---Open the store again that stop() has closed.
---@private
function Delivery:reopen_store()
  if self.store_path and not self.store then assert(open(self, self.store_path)) end
  self.postponed = nil
  if self.stuck then write_later(self, 1) end
end

---The outbox has room again.
---@private
function Delivery:outbox_has_room()
  if not self.stuck then go_on(self) end
end

---The bot has stopped, and no handler is at work any more: close the store, or make sure that it is written.
---@private
function Delivery:close_store()
  if not self.store then return end
  local close = self.store_path and self.store.close or self.store.commit
  if self.store_path then self.outbox_box:close() end
  local unwritten, ok, err = self.store.unwritten, close(self.store)
  if not ok then self.log:error("%d changes of the store are not kept: %s", unwritten, err) end
  if self.store_path then self.store = nil end
end

-- Handlers that fail --------------------------------------------------------------------------

-- The chat waits meanwhile, so that its order holds.
local function try_again(self, msg)
  self.retry_timers = self.retry_timers or {}
  self.retry_timers[msg] = core.timer(retry_pause(msg.tries), function()
    self.retry_timers[msg] = nil
    self:work_on(msg)
  end)
end

-- The message waits, unread at the server, before those that came after it, until what its handler needs can be stored:
-- the store is written again, or the outbox has room.
local function postpone(self, msg)
  self.inbox:reap(function(item) return item ~= msg end)
  self.postponed = self.postponed or {}
  self.postponed[msg.lane] = true
  if not self:may_say "postponed" then return end
  self.log:warn("%s waits, and its chat with it, until its handler can store what it has to", self.name_of(msg))
end

local function tell_if_full(self, is_full)
  if is_full and self:may_say "aside is full" then
    self.log:warn "more messages are set aside than are kept, the oldest ones go: see bot:aside()"
  end
end

-- The server cannot help: it would deliver the message again at each connection.
local function set_aside(self, msg, work)
  local place = work.place or nil
  tell_if_full(self, kept(self).aside_box:put(msg, work.failure, place, msg.tries))
  if not self:may_say("aside " .. (place or "")) then return end
  self.log:info("%s is set aside, bot:aside() has it: the handler has failed %s", self.name_of(msg),
    msg.tries == 1 and "once" or msg.tries .. " times")
end

---A handler has failed over a message.
---@private
---@param msg trueconf.Message
---@param work trueconf.Work
function Delivery:fail(msg, work)
  local lacks_room = self.stuck or self.outbox_box and self.outbox_box.is_full
  if lacks_room and not msg.dialog and self.ack_when ~= "manual" then return postpone(self, msg) end
  if msg.event or self.ack_when == "manual" then return self:finish(msg) end
  msg.tries = (msg.tries or 0) + 1
  if msg.tries < self.tries and not msg.dialog and not self.stopping then return try_again(self, msg) end
  set_aside(self, msg, work)
  self:finish(msg)
end

---Put messages back that wait for another try; the next start begins with them.
---@private
function Delivery:stop_retries()
  if self.write_timer then self.write_timer:cancel() end
  local timers = self.retry_timers
  if not timers then return end
  self.retry_timers = nil
  for _, timer in pairs(timers) do timer:cancel() end
  self.inbox:reap(function(msg) return timers[msg] == nil end)
end

---Messages that were set aside because their handler has failed: at most the newest 1000.
---@return trueconf.AsideMessage[] messages oldest first
function Delivery:aside()
  return kept(self).aside_box:list()
end

---Keep what the server has sent and the bot cannot read.
---@private
---@param method string
---@param payload string
---@param why string
function Delivery:set_unreadable_aside(method, payload, why)
  tell_if_full(self, kept(self).aside_box:put_unreadable(method, payload, why))
  if not self:may_say("unreadable " .. method) then return end
  self.log:error("%s of the server cannot be read and is set aside, bot:aside() has it: %s", method, why)
end

-- A message or an event that was set aside, as an item for the queue; what could not be read is read again.
local function revive(self, aside, key)
  local payload, chat_id = aside.payload, aside.chat_id
  if aside.text and aside.method ~= "sendMessage" then
    local event, why = self:read_event(aside.method, aside.text)
    return event and self:event_item(event, aside.method, key), why
  end
  if aside.text then payload, chat_id = self.read_message(aside.text) end
  if not payload then return nil, chat_id end
  return message.new(self, payload, chat_id, 0, 0, self.ordered and chat_id or key)
end

---Handle a message once more that was set aside, behind what waits in its chat.
---@param id string of the message
---@return true? ok nil without an error: there is no such message
---@return trueconf.Error? err LIMIT: too many messages wait; PROTOCOL: it still cannot be read
function Delivery:replay(id)
  local aside = kept(self).aside_box:get(id)
  if not aside then return nil end
  -- Numbers are not remembered as handled; those of connections are positive.
  self.replays = (self.replays or 0) + 1
  local key = -self.replays
  local item, why = revive(self, aside, key)
  if not item then return nil, core.error("PROTOCOL", "it cannot be read: " .. why) end
  item.acked = true
  local outcome, err = self.inbox:enqueue(item.lane, key, item)
  if outcome ~= "queued" then return nil, err end
  self.aside_box:remove(id)
  self:begin(item.lane)
  return true
end

---Forget a message that was set aside.
---@param id string
function Delivery:forget_aside(id)
  kept(self).aside_box:remove(id)
end

-- Sessions ------------------------------------------------------------------------------------

---The session table of a user or a chat, for the handler that runs; see msg.user_session.
---@private
---@param kind "user"|"chat"
---@param id string
---@return table
function Delivery:session_here(kind, id)
  local work = self.works[coroutine.running()]
  if not work then error("sessions are there while a handler runs; elsewhere there is bot:with_session()", 3) end
  local session = kept(self).sessions:open(kind, id)
  work.sessions = work.sessions or {}
  work.sessions[session] = true
  return session.value
end

---Write down what a handler has changed in its sessions.
---@private
---@param work trueconf.Work
function Delivery:save_sessions(work)
  for session in pairs(work.sessions or {}) do
    local ok, err = self.sessions:save(session)
    if not ok then
      err = ("the session of %s is not kept: %s"):format(session.key, err.message)
      core.spawn(work.report, work, { err = err, traceback = err })
    end
  end
end

---Call fn(session) with the session table of a user or a chat, and keep what it has changed; for what is
---no handler.
---@async
---@param kind "user"|"chat"
---@param id string login@server, or a chat id
---@param fn fun(session: table)
---@return true? ok
---@return trueconf.Error? err PROTOCOL: something in it has no form in JSON
function Delivery:with_session(kind, id, fn)
  if kind ~= "user" and kind ~= "chat" then
    error(("with_session: 'user' or 'chat' expected, got %s"):format(tostring(kind)), 2)
  end
  local session = kept(self).sessions:open(kind, kind == "user" and protocol.plain_id(id) or id)
  fn(session.value)
  return self.sessions:save(session)
end

-- The outbox ----------------------------------------------------------------------------------

---Accept a message for sending, whatever happens: it returns when the message is kept in the store. It is
---sent in order per chat; tried again until the server has taken or refused it, over restarts too when the
---store is a file; and looked for in the chat before it is sent again after a lost connection.
---@param chat_id string
---@param text string
---@param opts? trueconf.PostOptions all of it may also be given by name, in one table
---@return trueconf.Posted? posted
---@return trueconf.Error? err LIMIT: too long, or 10000 messages wait; IO: it cannot be kept
---@overload fun(self, message: table): trueconf.Posted?, trueconf.Error?
function Delivery:post(chat_id, text, opts)
  local record, err = outboxes.record_of(2, chat_id, text, opts)
  if not record then return nil, err end
  return kept(self).outbox_box:post(record)
end

---Post a text to the chat of a message; see msg:post().
---@private
---@param level integer
function Delivery:post_to_chat_of(msg, level, text, opts)
  local record, err = outboxes.record_of(level, msg.chat_id, text, opts)
  if not record then return nil, err end
  if msg.chat.type == PERSONAL then record.user_id = msg.author end
  return kept(self).outbox_box:post(record)
end

---What waits to be sent.
---@return trueconf.OutboxState
function Delivery:outbox()
  return kept(self).outbox_box:look()
end

---Posted messages that the server has refused: at most the newest 1000.
---@return trueconf.UnsentMessage[] messages oldest first
function Delivery:unsent()
  return kept(self).outbox_box:unsent()
end

---Post a refused message once more.
---@param id string
---@return trueconf.Posted? posted nil without an error: there is no such message
---@return trueconf.Error? err LIMIT, IO
function Delivery:post_again(id)
  return kept(self).outbox_box:post_again(id)
end

---Forget a refused message.
---@param id string
function Delivery:forget_unsent(id)
  kept(self).outbox_box:forget(id)
end

return Delivery
