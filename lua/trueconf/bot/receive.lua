-- SPDX-License-Identifier: MIT
-- What comes in for a bot: looked at, told apart, and put into the queue of its chat.

local events = require "trueconf.api.events"
local chat_cache = require "trueconf.api.chat_cache"
local json = require "trueconf.base.json"
local message = require "trueconf.bot.message"
local protocol = require "trueconf.protocol"
local router = require "trueconf.bot.router"

local MOST_AUTHORS = 1000               -- whose ids are kept in compared form
local MOST_DELIVERIES = 100             -- of one message at once that get their acks

---@class trueconf.Receive
---@field turned_away integer? messages for which there was no room
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
  return setmetatable({ engine = engine, link = engine.link }, Receive)
end

local function chat_of(envelope)
  local chat = envelope.chat
  local id = envelope.chatId
  if type(id) ~= "string" and type(chat) == "table" then id = chat.chatId end
  return type(id) == "string" and id or nil
end

---The envelope of a message, if it says enough to be handled.
---@private
---@param payload string
---@return table? envelope
---@return string chat_id or why it cannot be read
function Receive.read_message(payload)
  local envelope, err = json.receive(payload)
  if type(envelope) ~= "table" then return nil, err and err.message or "its payload is no object" end
  local chat_id = chat_of(envelope)
  if not chat_id or type(envelope.messageId) ~= "string" then return nil, "it has no chatId or messageId" end
  return envelope, chat_id
end

-- Is this account the author? Ids are compared without their instance part and in lower
-- case (protocol 4.6); what was found for an author is kept while the connection lasts.
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

-- A message that is under way came again. Each delivery on this connection gets its ack, those of a lost one get none.
local function redirect(self, known, id, epoch)
  if known.acked then
    self.engine.dispatch:acknowledge(id, epoch)
  elseif known.epoch == epoch then
    local others = known.other_frames or {}
    known.other_frames = others
    if #others < MOST_DELIVERIES then others[#others + 1] = id end
  else
    known.frame_id, known.epoch, known.other_frames = id, epoch, nil
  end
end

-- Put a message into the queue of its chat, and begin with it if the chat is free.
function Receive:take_in(envelope, chat_id, id, epoch)
  local engine = self.engine
  local given = engine.options
  local key = given.remember > 0 and envelope.messageId or epoch << 32 | id
  local lane = given.order == "chat" and chat_id or key
  local item = message.item(engine.client, envelope, chat_id, id, epoch, lane)
  local outcome, known = engine.queue:enqueue(lane, key, item)
  if outcome == "queued" then
    engine.dispatch:begin(lane)
  elseif outcome == "handled" then
    engine.dispatch:acknowledge(id, epoch)
  elseif outcome == "duplicate" then
    redirect(self, known, id, epoch)
  else
    self:turn_away(known)
  end
end

-- There is no room for a message. Nothing but a new connection brings it again.
function Receive:turn_away(err)
  self.turned_away = (self.turned_away or 0) + 1
  if not self.engine.dispatch:may_say "turned away" then return end
  self.engine.client.log:error("messages are not taken and stay unread: %s", err)
end

---Have the messages delivered again for which there was no room, when nothing else is to be done.
---@private
function Receive:fetch_turned_away()
  local engine = self.engine
  if engine.dispatch.at_work > 0 or engine.queue.waiting > 0 or engine.stopping then return end
  self.engine.client.log:warn("connecting again for %d messages that were not taken", self.turned_away)
  self.turned_away = nil
  self.link:drop()
end

-- What events have like messages: the bot, and a table for notes.
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

---The event of a notification, if it says what the schema says.
---@private
---@param method string
---@param payload string
---@return table? event
---@return string? why
function Receive:read_event(method, payload)
  local decoded, err = json.receive(payload)
  if type(decoded) ~= "table" then return nil, err and err.message or "its payload is no object" end
  return events.read(self.engine.client, method, decoded)
end

-- A message or event that was wanted and cannot be read is kept, for whoever finds out why.
local function pass_over(self, method, payload, why, id, epoch, wanted)
  self.link:damaged()
  if wanted then
    self.engine.persistence:set_unreadable_aside(method, payload, why)
  else
    self.engine.client.log:warn("request %d is no %s: %s", id, method, why)
  end
  self.engine.dispatch:acknowledge(id, epoch)
end

-- Put an event into the queue of its chat, behind the messages that came before it.
function Receive:take_event(event, method, id, epoch)
  local key = epoch << 32 | id
  local item = self:event_item(event, method, key)
  item.frame_id, item.epoch = id, epoch
  local outcome, err = self.engine.queue:enqueue(item.lane, key, item)
  if outcome == "queued" then
    self.engine.dispatch:begin(item.lane)
  else
    self.link:ack(id, epoch)
    self.engine.client.log:error("%s is not taken: %s", method, err)
  end
end

---The item that holds an event in the queue.
---@private
---@param key integer its id there
function Receive:event_item(event, method, key)
  self.event_meta = self.event_meta or make_event_meta(self.engine.face)
  setmetatable(event, self.event_meta)
  return { event = event, method = method, lane = self.engine.options.order == "chat" and events.key(event) or key }
end

-- Whether a handler would look at a notification.
local function is_wanted(engine, method)
  if not protocol.notifications[method] then return engine.router.routes.hooks.unknown ~= nil end
  return router.wants(engine.router, method) or engine.dialogs:may_answer(method)
    or method == router.CLICK and engine.options.late_click ~= false
end

-- A notification other than a message.
function Receive:on_notification(method, payload, id, epoch)
  local engine = self.engine
  local wanted = is_wanted(engine, method) and not engine.stopping
  local concerns = events.concerns_client(method) or chat_cache.concerned(engine.client, method)
    or engine.dialogs:may_end(method)
  local event, why
  if wanted or concerns then event, why = self:read_event(method, payload) end
  if why then return pass_over(self, method, payload, why, id, epoch, wanted) end
  if event and concerns then
    chat_cache.notice(engine.client, method, event)
    engine.dialogs:notice(method, event)
  end
  if event and wanted and not (method == router.CLICK and engine.clicks:is_double(event)) then
    self:take_event(event, method, id, epoch)
  else
    self.link:ack(id, epoch)
  end
end

-- A request of the server, at the drain point: nothing here may wait.
function Receive:on_request(method, payload, id, epoch)
  if method ~= "sendMessage" then
    self:on_notification(method, payload, id, epoch)
    return
  end
  local envelope, chat_id = self.read_message(payload)
  if not envelope then
    if not self.engine.stopping then pass_over(self, method, payload, chat_id, id, epoch, true) end
  elseif self:is_mine(envelope, epoch) then
    self.link:ack(id, epoch)
  elseif not self.engine.stopping then
    self:take_in(envelope, chat_id, id, epoch)
  end
end

return { new = new }
