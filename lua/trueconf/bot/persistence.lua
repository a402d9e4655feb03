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
local works = require "trueconf.bot.handler_run"

local HANDLED = "handled"
local HANDLED_LIFE = 30 * 86400 * 1000  -- milliseconds; no server delivers again what is older
local FIRST_RETRY, LONGEST_RETRY = 1, 60 -- seconds between tries of a handler
local PERSONAL = protocol.enums.ChatType.P2P

---@class trueconf.Persistence
---@field store trueconf.Store? nil: it was not needed yet, or is closed
---@field stuck boolean nothing new is begun, as the store cannot be written
---@field postponed table<string|integer, true>? lanes that wait until what their handlers need can be stored
---@field private engine trueconf.Engine
---@field private path string? of a store that the bot opens and closes by itself
---@field private aside_box trueconf.Aside
---@field private sessions trueconf.Sessions
---@field private outbox_box trueconf.Outbox
---@field private replays integer how many messages were replayed
---@field private write_timer trueconf.core.Timer? when it is tried again to write the store
---@field private retry_timers table<table, trueconf.core.Timer>? messages whose handler is tried again, and when
local Persistence = {}
Persistence.__index = Persistence

---@param engine trueconf.Engine
---@return trueconf.Persistence
local function new(engine)
  return setmetatable({ engine = engine, stuck = false, replays = 0 }, Persistence)
end

-- The store ----------------------------------------------------------------------------------

-- What was handled before this process began.
local function recall_handled(self)
  local queue, oldest = self.engine.queue, core.now() - HANDLED_LIFE
  self.store:drop_oldest(HANDLED, queue.limit)
  for _, item in ipairs(self.store:list(HANDLED)) do
    if item.value.at < oldest then self.store:remove(HANDLED, item.id) else queue:remember(item.id) end
  end
end

local function keep_handled(self)
  self.engine.queue.on_remember = function(id, forgotten)
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
  for lane in pairs(lanes or {}) do self.engine.dispatch:begin(lane) end
  self.engine.dispatch:begin_held()
  if self.engine.stopping == false then self.outbox_box:hurry() end
end

-- Try to write again, with longer and longer pauses, until the bot stops or has failed; see store_tried().
local function write_later(self, tries)
  self.write_timer = core.timer(retry_pause(tries), function()
    self.write_timer = nil
    if self.engine.link:state() ~= "failed" and not self.store:commit() then write_later(self, tries + 1) end
  end)
end

-- The store was written, or could not be. As long as it cannot be, nothing new is begun and nothing acknowledged:
-- what comes stays unread at the server.
local function store_tried(self, err)
  if not err then self.engine.dispatch:send_held_acks() end
  if self.stuck == (err ~= nil) then return end
  self.stuck = err ~= nil
  if err then
    if self.engine.dispatch:may_say "store" then
      self.engine.client.log:error("the store cannot be written, messages stay unread until it can: %s", err)
    end
    if self.engine.stopping == false then write_later(self, 1) end
  else
    if self.engine.dispatch:may_say "store again" then
      self.engine.client.log:warn "the store is written again, the bot goes on"
    end
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
  self.aside_box, self.sessions = asides.new(store), sessions.new(store)
  self.outbox_box = outboxes.new(self.engine, store)
  if self.engine.stopping == false then self.outbox_box:start() end
end

-- A bot that was given no store gets one when it first needs it. A file is closed while the bot is stopped.
local function kept(self)
  if self.path and not self.store then
    error("the bot is stopped, and its store closed: " .. self.path, 3)
  end
  if not self.store then use_store(self, stores.memory(), false) end
  return self
end

local function open(self, path)
  local store, err = stores.open(path)
  if not store then return nil, err end
  use_store(self, store, self.engine.options.remember > 0)
  return true
end

---Use the store that the bot was given.
---@private
---@param given string|trueconf.Store|nil the option `store`
---@param level integer whom to blame
function Persistence:open(given, level)
  if type(given) == "string" then
    self.path = given
    local ok, err = open(self, given)
    if not ok then error(("trueconf.bot: store: %s"):format(err.message), level + 1) end
  elseif given then
    use_store(self, given, self.engine.options.remember > 0)
  end
end

---Open the store again that close() has closed.
---@private
function Persistence:reopen()
  if self.path and not self.store then assert(open(self, self.path)) end
  self.postponed = nil
  if self.stuck then write_later(self, 1) end
end

---The outbox has room again.
---@private
function Persistence:outbox_has_room()
  if not self.stuck then go_on(self) end
end

---Begin to send what was posted.
---@private
function Persistence:start()
  if self.outbox_box then self.outbox_box:start() end
end

---Send no more, and write down what has changed: the last acks wait for that.
---@private
---@async
---@param deadline number seconds for what no file keeps
function Persistence:stop(deadline)
  if self.outbox_box then self.outbox_box:stop(deadline) end
  if self.store then self.store:commit() end
end

---The bot has stopped, and no handler is at work any more: close the store, or make sure that it is written.
---@private
function Persistence:close()
  if not self.store then return end
  local close = self.path and self.store.close or self.store.commit
  if self.path then self.outbox_box:close() end
  local unwritten, ok, err = self.store.unwritten, close(self.store)
  if not ok then self.engine.client.log:error("%d changes of the store are not kept: %s", unwritten, err) end
  if self.path then self.store = nil end
end

-- Handlers that fail --------------------------------------------------------------------------

-- The chat waits meanwhile, so that its order holds.
local function try_again(self, item)
  self.retry_timers = self.retry_timers or {}
  self.retry_timers[item] = core.timer(retry_pause(item.tries), function()
    self.retry_timers[item] = nil
    self.engine.dispatch:work_on(item)
  end)
end

-- The message waits, unread at the server, before those that came after it, until what its handler needs can be stored:
-- the store is written again, or the outbox has room.
local function postpone(self, item)
  self.engine.queue:reap(function(other) return other ~= item end)
  self.postponed = self.postponed or {}
  self.postponed[item.lane] = true
  local dispatch = self.engine.dispatch
  if not dispatch:may_say "postponed" then return end
  self.engine.client.log:warn("%s waits, and its chat with it, until its handler can store what it has to",
    dispatch.name_of(item))
end

local function tell_if_full(self, is_full)
  if is_full and self.engine.dispatch:may_say "aside is full" then
    self.engine.client.log:warn "more messages are set aside than are kept, the oldest ones go: see bot:aside()"
  end
end

-- The server cannot help: it would deliver the message again at each connection.
local function set_aside(self, item, work)
  local place = work.place or nil
  tell_if_full(self, kept(self).aside_box:put(item.event, work.failure, place, item.tries))
  local dispatch = self.engine.dispatch
  if not dispatch:may_say("aside " .. (place or "")) then return end
  self.engine.client.log:info("%s is set aside, bot:aside() has it: the handler has failed %s", dispatch.name_of(item),
    item.tries == 1 and "once" or item.tries .. " times")
end

---A handler has failed over a message.
---@private
---@param item trueconf.Item
---@param work trueconf.Work
function Persistence:fail(item, work)
  local engine, given = self.engine, self.engine.options
  local lacks_room = self.stuck or self.outbox_box and self.outbox_box.is_full
  if lacks_room and not item.dialog and given.ack ~= "manual" then return postpone(self, item) end
  if item.method or given.ack == "manual" then return engine.dispatch:finish(item) end
  item.tries = (item.tries or 0) + 1
  if item.tries < given.tries and not item.dialog and not engine.stopping then return try_again(self, item) end
  set_aside(self, item, work)
  engine.dispatch:finish(item)
end

---Put messages back that wait for another try; the next start begins with them.
---@private
function Persistence:stop_retries()
  if self.write_timer then self.write_timer:cancel() end
  local timers = self.retry_timers
  if not timers then return end
  self.retry_timers = nil
  for _, timer in pairs(timers) do timer:cancel() end
  self.engine.queue:reap(function(item) return timers[item] == nil end)
end

---Messages that were set aside because their handler has failed: at most the newest 1000.
---@return trueconf.AsideMessage[] messages oldest first
function Persistence:aside()
  return kept(self).aside_box:list()
end

---Keep what the server has sent and the bot cannot read.
---@private
---@param method string
---@param payload string
---@param why string
function Persistence:set_unreadable_aside(method, payload, why)
  tell_if_full(self, kept(self).aside_box:put_unreadable(method, payload, why))
  if not self.engine.dispatch:may_say("unreadable " .. method) then return end
  self.engine.client.log:error("%s of the server cannot be read and is set aside, bot:aside() has it: %s", method, why)
end

-- A message or an event that was set aside, as an item for the queue; what could not be read is read again.
local function revive(self, aside, key)
  local engine = self.engine
  local payload, chat_id = aside.payload, aside.chat_id
  if aside.text and aside.method ~= "sendMessage" then
    local event, why = engine.receive:read_event(aside.method, aside.text)
    return event and engine.receive:event_item(event, aside.method, key), why
  end
  if aside.text then payload, chat_id = engine.receive.read_message(aside.text) end
  if not payload then return nil, chat_id end
  local lane = engine.options.order == "chat" and chat_id or key
  return message.item(engine.client, payload, chat_id, 0, 0, lane)
end

---Handle a message once more that was set aside, behind what waits in its chat.
---@param id string of the message
---@return true? ok nil without an error: there is no such message
---@return trueconf.Error? err LIMIT: too many messages wait; PROTOCOL: it still cannot be read
function Persistence:replay(id)
  local aside = kept(self).aside_box:get(id)
  if not aside then return nil end
  -- Numbers are not remembered as handled; those of connections are positive.
  self.replays = self.replays + 1
  local key = -self.replays
  local item, why = revive(self, aside, key)
  if not item then return nil, core.error("PROTOCOL", "it cannot be read: " .. why) end
  item.acked = true
  local outcome, err = self.engine.queue:enqueue(item.lane, key, item)
  if outcome ~= "queued" then return nil, err end
  self.aside_box:remove(id)
  self.engine.dispatch:begin(item.lane)
  return true
end

---Forget a message that was set aside.
---@param id string
function Persistence:forget_aside(id)
  kept(self).aside_box:remove(id)
end

-- Sessions ------------------------------------------------------------------------------------

---The session table of a user or a chat, for the handler that runs; see msg.user_session.
---@private
---@param kind "user"|"chat"
---@param id string
---@return table
function Persistence:session_here(kind, id)
  local work = works.running(self.engine)
  if not work then error("sessions are there while a handler runs; elsewhere there is bot:with_session()", 3) end
  local session = kept(self).sessions:open(kind, id)
  work.sessions = work.sessions or {}
  work.sessions[session] = true
  return session.value
end

---Write down what a handler has changed in its sessions.
---@private
---@param work trueconf.Work
function Persistence:save_sessions(work)
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
function Persistence:with_session(kind, id, fn)
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
function Persistence:post(chat_id, text, opts)
  local record, err = outboxes.record_of(2, chat_id, text, opts)
  if not record then return nil, err end
  return kept(self).outbox_box:post(record)
end

---Post a text to the chat of a message; see msg:post().
---@private
---@param level integer
function Persistence:post_to_chat_of(msg, level, text, opts)
  local record, err = outboxes.record_of(level, msg.chat_id, text, opts)
  if not record then return nil, err end
  if msg.chat.type == PERSONAL then record.user_id = msg.author end
  return kept(self).outbox_box:post(record)
end

---What waits to be sent.
---@return trueconf.OutboxState
function Persistence:outbox()
  return kept(self).outbox_box:look()
end

---Posted messages that the server has refused: at most the newest 1000.
---@return trueconf.UnsentMessage[] messages oldest first
function Persistence:unsent()
  return kept(self).outbox_box:unsent()
end

---Post a refused message once more.
---@param id string
---@return trueconf.Posted? posted nil without an error: there is no such message
---@return trueconf.Error? err LIMIT, IO
function Persistence:post_again(id)
  return kept(self).outbox_box:post_again(id)
end

---Forget a refused message.
---@param id string
function Persistence:forget_unsent(id)
  kept(self).outbox_box:forget(id)
end

return { new = new, Persistence = Persistence }
