-- SPDX-License-Identifier: MIT
-- Receiving: reads and checks the messages and notifications of the server, and puts them into the queue of their chat.

local events = require "trueconf.api.events"
local chat_cache = require "trueconf.api.chat_cache"
local Error = require "trueconf.base.error"
local message = require "trueconf.bot.message"
local protocol = require "trueconf.protocol"
local router = require "trueconf.bot.router"

local MOST_AUTHORS = 1000               -- results of is_mine() that are kept

---@class trueconf.Receive
---@field turned_away integer? messages refused because the queue was full
---@field private engine trueconf.Engine
---@field private link trueconf.core.Session
---@field private my_id string? of this account, as ids are compared
---@field private authors table<string, boolean>? whether ids are this account's, while a connection lasts
---@field private authors_kept integer?
---@field private authors_epoch integer? the connection
---@field private event_meta table? of the bot's events
local Receive = {}
Receive.__index = Receive

---@param engine trueconf.Engine
---@return trueconf.Receive
local function new(engine)
  return setmetatable({ engine = engine, link = engine.link, batch = {} }, Receive)
end

local function chat_of(envelope)
  local chat = envelope.chat
  local id = envelope.chatId
  if type(id) ~= "string" and type(chat) == "table" then id = chat.chatId end
  return type(id) == "string" and id or nil
end

---The envelope of a message, if it has the required fields.
---@private
---@param envelope any the payload
---@param why string? it is not JSON
---@return table? envelope
---@return string chat_id or why it cannot be read
function Receive.read_message(envelope, why)
  if type(envelope) ~= "table" then return nil, why or "its payload is no object" end
  local chat_id = chat_of(envelope)
  if not chat_id or type(envelope.messageId) ~= "string" then return nil, "it has no chatId or messageId" end
  return envelope, chat_id
end

-- True if this account is the author. Ids are compared without their instance part and in lower case (protocol 4.6);
-- the result for an author is kept while the connection lasts.
function Receive:is_mine(envelope, epoch)
  if epoch ~= self.authors_epoch then
    self.my_id = protocol.plain_id(self.link:user_id() or "")
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

-- Put an item into the queue, and begin with it if its chat is free.
---@return trueconf.Outcome
local function take(self, item, frame_id, epoch)
  local engine, batch = self.engine, self.batch
  batch[1] = item
  local outcome = engine.queue:take(batch)[1]
  if outcome == "queued" then
    engine.acks:expect(item.id, frame_id, epoch)
    engine.dispatch:begin_ready()
  elseif outcome == "handled" then
    engine.acks:acknowledge(frame_id, epoch)
  elseif outcome == "duplicate" then
    engine.acks:came_again(item.id, frame_id, epoch)
  end
  return outcome
end

---The item of a message.
---@private
---@param envelope table
---@param chat_id string
---@param id string|integer
---@return trueconf.Item
function Receive:message_item(envelope, chat_id, id)
  return {
    key = self.engine.options.order == "chat" and chat_id or id, id = id, payload = envelope, chat_id = chat_id,
    tries = 0,
  }
end

function Receive:take_in(envelope, chat_id, frame_id, epoch)
  local id = self.engine.options.remember > 0 and envelope.messageId or epoch << 32 | frame_id
  local item = self:message_item(envelope, chat_id, id)
  if take(self, item, frame_id, epoch) == "full" then self:turn_away() end
end

-- Refuse a message because the queue is full. Only a new connection brings it again.
function Receive:turn_away()
  self.turned_away = (self.turned_away or 0) + 1
  if not self.engine.dispatch:may_say "turned away" then return end
  self.engine.client.log:error("new messages are refused and stay unread: %s", self:full_error())
end

---@private
---@return trueconf.Error
function Receive:full_error()
  return Error.new("LIMIT", ("%d messages wait to be handled, the queue is full"):format(self.engine.queue.waiting))
end

---Reconnect when the queue is empty, so that the server delivers the refused messages again.
---@private
function Receive:fetch_turned_away()
  local engine = self.engine
  if engine.dispatch.at_work > 0 or engine.queue.waiting > 0 or engine.stopping then return end
  self.engine.client.log:warn("connecting again for %d refused messages", self.turned_away)
  self.turned_away = nil
  self.link:drop()
end

-- The metatable of events, with fields that messages have too: the bot, and a table for notes.
local function make_event_meta(bot)
  return {
    __index = function(event, key)
      if key == "bot" then return bot end
      if key ~= "state" then return nil end
      local state = {}
      rawset(event, "state", state)
      return state
    end,
  }
end

---Read a notification, if it fits the schema.
---@private
---@param method string
---@param payload any
---@param why string? it is not JSON
---@return table? event
---@return string? why it cannot be read
function Receive:read_event(method, payload, why)
  if type(payload) ~= "table" then return nil, why or "its payload is no object" end
  return events.read(self.engine.client, method, payload)
end

-- Make a dead letter of a wanted message or event that cannot be read, so that somebody can find out why.
local function pass_over(self, method, why, id, epoch, wanted)
  self.link:damaged()
  if wanted then
    self.engine.persistence:keep_unreadable(method, self.link:payload_text(), why)
  else
    self.engine.client.log:warn("request %d is no %s: %s", id, method, why)
  end
  self.engine.acks:acknowledge(id, epoch)
end

-- Put an event into the queue of its chat, behind the messages that came before it.
function Receive:take_event(event, payload, method, frame_id, epoch)
  local item = self:event_item(event, payload, method, epoch << 32 | frame_id)
  if take(self, item, frame_id, epoch) ~= "full" then return end
  self.link:ack(frame_id, epoch)
  self.engine.client.log:error("%s is not taken: %s", method, self:full_error())
end

---The item of an event.
---@private
---@param id integer
---@return trueconf.Item
function Receive:event_item(event, payload, method, id)
  local chat_id = event.chat_id
  return {
    key = self.engine.options.order == "chat" and events.key(event) or id, id = id, payload = payload, method = method,
    chat_id = type(chat_id) == "string" and chat_id or nil, tries = 0,
  }
end

---The message or event of an item, for a handler.
---@private
---@param item trueconf.Item
---@return trueconf.Message|table
function Receive:event_of(item)
  local engine = self.engine
  if not item.method then return message.new(engine.client, item) end
  self.event_meta = self.event_meta or make_event_meta(engine.face)
  return setmetatable(assert(events.read(engine.client, item.method, item.payload)), self.event_meta)
end

-- True if a handler is for a notification.
local function is_wanted(engine, method)
  if not protocol.notifications[method] then return engine.router.routes.hooks.unknown ~= nil end
  return router.wants(engine.router, method) or engine.dialogs:may_answer(method)
    or method == router.CLICK and engine.options.late_click ~= false
end

-- A notification other than a message.
function Receive:on_notification(method, payload, id, epoch, why)
  local engine = self.engine
  local wanted = is_wanted(engine, method) and not engine.stopping
  local concerns = events.concerns_client(method) or chat_cache.concerned(engine.client, method)
    or engine.dialogs:may_end(method)
  local event
  if wanted or concerns then
    event, why = self:read_event(method, payload, why)
    if not event then return pass_over(self, method, why, id, epoch, wanted) end
  end
  if event and concerns then
    chat_cache.notice(engine.client, method, event)
    engine.dialogs:notice(method, event)
  end
  if event and wanted and not (method == router.CLICK and engine.clicks:is_double(event)) then
    self:take_event(event, payload, method, id, epoch)
  else
    self.link:ack(id, epoch)
  end
end

-- A request of the server, at the drain point: nothing here may wait.
---@param method string
---@param payload any
---@param id integer of the frame
---@param epoch integer of the connection
---@param why string? the payload is not JSON
function Receive:on_request(method, payload, id, epoch, why)
  if method ~= "sendMessage" then
    self:on_notification(method, payload, id, epoch, why)
    return
  end
  local envelope, chat_id = self.read_message(payload, why)
  if not envelope then
    if not self.engine.stopping then pass_over(self, method, chat_id, id, epoch, true) end
  elseif self:is_mine(envelope, epoch) then
    self.link:ack(id, epoch)
  elseif not self.engine.stopping then
    self:take_in(envelope, chat_id, id, epoch)
  end
end

return { new = new }
