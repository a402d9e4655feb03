-- SPDX-License-Identifier: MIT
-- Persistence: the data of a bot in its store, and the guarantees that depend on it: ids of handled messages, dead
-- letters, sessions, and the outbox.

local backoff = require "trueconf.base.backoff"
local core = require "trueconf.core"
local dead_letters = require "trueconf.bot.dead_letters"
local json = require "trueconf.base.json"
local outboxes = require "trueconf.bot.outbox"
local protocol = require "trueconf.protocol"
local sessions = require "trueconf.bot.sessions"
local stores = require "trueconf.store"
local handler_run = require "trueconf.bot.handler_run"

local FIRST_RETRY, LONGEST_RETRY = 1, 60 -- seconds between tries of a handler
local PERSONAL = protocol.enums.ChatType.P2P

---@class trueconf.Persistence
---@field store trueconf.Store? nil: it was not needed yet, or is closed
---@field stuck boolean the store cannot be written, so no handler is started
---@field private puts_off boolean? messages wait until their handlers can store what they have to
---@field private engine trueconf.Engine
---@field private path string? of a store that the bot opens and closes by itself
---@field private letters trueconf.DeadLetters
---@field private sessions trueconf.Sessions
---@field private outbox_box trueconf.Outbox
---@field private requeued integer number of dead letters that were requeued
---@field private in_queue table<string, true> ids of requeued letters that are not handled yet
---@field private write_timer trueconf.core.Timer? for the next try to write the store
local Persistence = {}
Persistence.__index = Persistence

---@param engine trueconf.Engine
---@return trueconf.Persistence
local function new(engine)
  return setmetatable({ engine = engine, stuck = false, requeued = 0, in_queue = {} }, Persistence)
end

-- The store ----------------------------------------------------------------------------------

local function retry_pause(tries)
  return backoff.pause(tries, FIRST_RETRY, LONGEST_RETRY)
end

-- Go on with the messages that have waited because their changes could not be stored.
local function go_on(self)
  if self.puts_off then self.engine.queue:hurry() end
  self.puts_off = nil
  self.engine.dispatch:begin_ready()
  if self.engine.stopping == false then self.outbox_box:hurry() end
end

-- Try to write again, with longer and longer pauses, until the bot stops or has failed; see store_tried().
local function write_later(self, tries)
  self.write_timer = core.timer(retry_pause(tries), function()
    self.write_timer = nil
    if self.engine.link:state() ~= "failed" and not self.store:commit() then write_later(self, tries + 1) end
  end)
end

-- Called after each try to write the store. While it cannot be written, no handler is started and nothing acknowledged:
-- new messages stay unread at the server.
local function store_tried(self, err)
  if not err then self.engine.acks:flush() end
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
  self.engine.acks.store = store
  self.engine.queue:use(store, keeps_handled)
  self.letters, self.sessions = dead_letters.new(store, self.in_queue), sessions.new(store)
  self.outbox_box = outboxes.new(self.engine, store)
  if self.engine.stopping == false then self.outbox_box:start() end
end

-- A bot without the option `store` gets a store in memory on first use. A file is closed while the bot is stopped.
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

---Use the store of the option `store`.
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
  if self.stuck then write_later(self, 1) end
end

---The outbox has room again.
---@private
function Persistence:outbox_has_room()
  if not self.stuck then go_on(self) end
end

---Begin to send posts.
---@private
function Persistence:start()
  if self.outbox_box then self.outbox_box:start() end
end

---Stop sending, and write all changes: the last acks wait for that.
---@private
---@async
---@param deadline number seconds for posts that no file keeps
function Persistence:stop(deadline)
  if self.outbox_box then self.outbox_box:stop(deadline) end
  if self.store then self.store:commit() end
end

---The bot has stopped, and no handler runs any more: close the store, or make sure that it is written.
---@private
function Persistence:close()
  if not self.store then return end
  local close = self.path and self.store.close or self.store.commit
  if self.path then self.outbox_box:close() end
  local unwritten, ok, err = self.store.unwritten, close(self.store)
  if not ok then self.engine.client.log:error("%d changes of the store are not kept: %s", unwritten, err) end
  if self.path then
    self.store, self.engine.acks.store = nil, nil
    self.engine.queue:use(nil, false)
  end
end

-- Handlers that fail --------------------------------------------------------------------------

-- Put a message off, unread at the server and before later messages of its chat, until its handler's changes can be
-- stored: the store is written again, or the outbox has room.
local function postpone(self, claim)
  self.engine.queue:later(claim, math.huge)
  self.puts_off = true
  local dispatch = self.engine.dispatch
  if not dispatch:may_say "postponed" then return end
  self.engine.client.log:warn("%s and its chat wait until the changes of its handler can be stored",
    dispatch.name_of(claim))
end

local function tell_if_full(self, is_full)
  if is_full and self.engine.dispatch:may_say "dead letters" then
    self.engine.client.log:warn "too many dead letters, the oldest ones are dropped: see bot:dead_letters()"
  end
end

-- The server cannot help: it would deliver the message again at each connection.
---@return trueconf.StoreChange
local function dead_letter(self, claim, run)
  local source = run.source or nil
  local change, is_full = kept(self).letters:change(claim.event, run.failure, source, claim.tries)
  tell_if_full(self, is_full)
  local dispatch = self.engine.dispatch
  if dispatch:may_say("dead letter " .. (source or "")) then
    self.engine.client.log:info("%s is a dead letter now, see bot:dead_letters(): its handler has failed %s",
      dispatch.name_of(claim), claim.tries == 1 and "once" or claim.tries .. " times")
  end
  return change
end

-- Put a claim off whose handler has failed, for another try; returns false if it gets no other try.
local function put_off(self, claim)
  local engine, given = self.engine, self.engine.options
  local lacks_room = self.stuck or self.outbox_box and self.outbox_box.is_full
  if claim.dialog or given.ack == "manual" then return false end
  if lacks_room then
    postpone(self, claim)
    return true
  end
  if claim.method then return false end
  claim.tries = claim.tries + 1
  if claim.tries >= given.tries or engine.stopping then return false end
  engine.queue:later(claim, retry_pause(claim.tries)) -- the chat waits meanwhile, so that its order holds
  return true
end

---A handler has failed over a message.
---@private
---@param claim trueconf.Item
---@param run trueconf.HandlerRun
---@param effects trueconf.StoreChange[]?
function Persistence:fail(claim, run, effects)
  local dispatch = self.engine.dispatch
  if put_off(self, claim) then
    if effects then self:apply(effects) end
    return dispatch:begin_ready()
  end
  if not claim.method and self.engine.options.ack ~= "manual" then
    if claim.dialog then claim.tries = claim.tries + 1 end
    effects = effects or {}
    effects[#effects + 1] = dead_letter(self, claim, run)
  end
  dispatch:finish(claim, effects)
end

---Make changes of the store that belong to no claim.
---@private
---@param changes trueconf.StoreChange[]
function Persistence:apply(changes)
  if self.store then self.store:apply(changes) end
end

---Stop trying to write the store; the next start tries again.
---@private
function Persistence:stop_writing()
  if self.write_timer then self.write_timer:cancel() end
end

---Dead letters: messages whose handler has failed, and requests that could not be read; at most the newest 1000.
---@return trueconf.DeadLetter[] letters oldest first
function Persistence:dead_letters()
  return kept(self).letters:list()
end

---Keep a request of the server that the bot cannot read.
---@private
---@param method string
---@param payload string
---@param why string
function Persistence:keep_unreadable(method, payload, why)
  tell_if_full(self, kept(self).letters:put_unreadable(method, payload, why))
  if not self.engine.dispatch:may_say("unreadable " .. method) then return end
  self.engine.client.log:error("%s of the server cannot be read, it is a dead letter now, see bot:dead_letters(): %s",
    method, why)
end

-- A dead letter as an item for the queue; an unreadable request is read again.
local function revive(self, letter, id)
  local receive = self.engine.receive
  local payload, chat_id = letter.payload, letter.chat_id
  if letter.text then
    local err
    payload, err = json.receive(letter.text)
    local why = err and err.message
    if letter.method ~= "sendMessage" then
      local event, complaint = receive:read_event(letter.method, payload, why)
      if not event then return nil, complaint end
      return receive:event_item(event, payload, letter.method, id)
    end
    payload, chat_id = receive.read_message(payload, why)
  end
  if not payload then return nil, chat_id end
  return receive:message_item(payload, chat_id, id)
end

---Put a dead letter into the queue again, behind the messages that wait in its chat. It stays in the store until it was
---handled, and is a dead letter again if the bot ends before.
---@param id string of the message
---@return true? ok nil without an error: there is no such message
---@return trueconf.Error? err LIMIT: too many messages wait; PROTOCOL: it still cannot be read
function Persistence:requeue(id)
  local letter = kept(self).letters:get(id)
  if not letter then return nil end
  -- Numbers are not remembered as handled; those of connections are positive.
  self.requeued = self.requeued + 1
  local item, why = revive(self, letter, -self.requeued)
  if not item then return nil, core.error("PROTOCOL", "it cannot be read: " .. why) end
  item.letter = id
  if self.engine.queue:take({ item })[1] == "full" then return nil, self.engine.receive:full_error() end
  self.in_queue[id] = true
  self.engine.dispatch:begin_ready()
  return true
end

---A requeued dead letter was handled: what its handler has changed, and that it goes.
---@private
---@param claim trueconf.Item
---@param effects trueconf.StoreChange[]?
---@return trueconf.StoreChange[]
function Persistence:end_letter(claim, effects)
  effects = effects or {}
  table.insert(effects, 1, self.letters:removal(claim.letter)) -- it may have become one again, under the same id
  claim.letter = nil
  return effects
end

---Forget a dead letter.
---@param id string
function Persistence:discard(id)
  kept(self).letters:remove(id)
end

-- Sessions ------------------------------------------------------------------------------------

---The session table of a user or a chat, for the handler that runs; see msg.user_session.
---@private
---@param kind "user"|"chat"
---@param id string
---@return table
function Persistence:session_here(kind, id)
  local run = handler_run.running(self.engine)
  if not run then error("sessions work only while a handler runs; use bot:with_session() elsewhere", 3) end
  local session = kept(self).sessions:open(kind, id)
  run.sessions = run.sessions or {}
  run.sessions[session] = true
  return session.value
end

---The changes of the store that keep the sessions of a handler.
---@private
---@param run trueconf.HandlerRun
---@return trueconf.StoreChange[]
function Persistence:session_changes(run)
  local changes = {}
  for session in pairs(run.sessions) do
    local change, err = self.sessions:change(session)
    changes[#changes + 1] = change
    if err then
      err = ("the session of %s is not kept: %s"):format(session.key, err.message)
      core.spawn(run.report, run, { err = err, traceback = err })
    end
  end
  return changes
end

---Call fn(session) with the session table of a user or a chat, and keep its changes; for code outside of handlers.
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
  local change, err = self.sessions:change(session)
  if err then return nil, err end
  self:apply { change } -- an empty list if nothing has changed
  return true
end

-- The outbox ----------------------------------------------------------------------------------

---Post a message that must arrive: the call returns when the message is in the store. The bot sends posts in order per
---chat, and tries again until the server has accepted or refused them, over restarts too when the store is a file.
---After a lost connection it looks for the message in the chat before it sends it again. `key` is an idempotency key.
---@param chat_id string
---@param text string
---@param opts? trueconf.PostOptions all arguments may also be given by name, in one table
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

---The state of the outbox: the number and age of waiting posts.
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
