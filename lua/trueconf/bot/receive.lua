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

---@class trueconf.Bot
local Intake = {}

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
function Intake.read_message(payload)
  local envelope, err = json.receive(payload)
  if type(envelope) ~= "table" then return nil, err and err.message or "its payload is no object" end
  local chat_id = chat_of(envelope)
  if not chat_id or type(envelope.messageId) ~= "string" then return nil, "it has no chatId or messageId" end
  return envelope, chat_id
end

-- Is this account the author? Ids are compared without their instance part and in lower
-- case (protocol 4.6); what was found for an author is kept while the connection lasts.
function Intake:is_mine(envelope, epoch)
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

-- A message that is under way came again. Each delivery on this connection gets its ack, those of a lost one get none.
local function redirect(self, known, id, epoch)
  if known.acked then
    self:acknowledge(id, epoch)
  elseif known.epoch == epoch then
    local others = rawget(known, "other_frames") or {}
    known.other_frames = others
    if #others < MOST_DELIVERIES then others[#others + 1] = id end
  else
    known.frame_id, known.epoch, known.other_frames = id, epoch, nil
  end
end

-- Put a message into the queue of its chat, and begin with it if the chat is free.
function Intake:take_in(envelope, chat_id, id, epoch)
  local key = self.remembers and envelope.messageId or epoch << 32 | id
  local lane = self.ordered and chat_id or key
  local incoming = message.new(self, envelope, chat_id, id, epoch, lane)
  local outcome, known = self.inbox:enqueue(lane, key, incoming)
  if outcome == "queued" then
    self:begin(lane)
  elseif outcome == "handled" then
    self:acknowledge(id, epoch)
  elseif outcome == "duplicate" then
    redirect(self, known, id, epoch)
  else
    self:turn_away(known)
  end
end

-- There is no room for a message. Nothing but a new connection brings it again.
function Intake:turn_away(err)
  self.turned_away = (self.turned_away or 0) + 1
  if self:may_say "turned away" then self.log:error("messages are not taken and stay unread: %s", err) end
end

---Have the messages delivered again for which there was no room, when nothing else is to be done.
---@private
function Intake:fetch_turned_away()
  if self.at_work > 0 or self.inbox.waiting > 0 or self.stopping then return end
  self.log:warn("connecting again for %d messages that were not taken", self.turned_away)
  self.turned_away = nil
  self.session:drop()
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
function Intake:read_event(method, payload)
  local decoded, err = json.receive(payload)
  if type(decoded) ~= "table" then return nil, err and err.message or "its payload is no object" end
  return events.read(self, method, decoded)
end

-- A message or event that was wanted and cannot be read is kept, for whoever finds out why.
local function pass_over(self, method, payload, why, id, epoch, wanted)
  self.session:damaged()
  if wanted then
    self:set_unreadable_aside(method, payload, why)
  else
    self.log:warn("request %d is no %s: %s", id, method, why)
  end
  self:acknowledge(id, epoch)
end

-- Put an event into the queue of its chat, behind the messages that came before it.
function Intake:take_event(event, method, id, epoch)
  local key = epoch << 32 | id
  local item = self:event_item(event, method, key)
  item.frame_id, item.epoch = id, epoch
  local outcome, err = self.inbox:enqueue(item.lane, key, item)
  if outcome == "queued" then
    self:begin(item.lane)
  else
    self.session:ack(id, epoch)
    self.log:error("%s is not taken: %s", method, err)
  end
end

---The item that holds an event in the queue.
---@private
---@param key integer its id there
function Intake:event_item(event, method, key)
  self.event_meta = self.event_meta or make_event_meta(self)
  setmetatable(event, self.event_meta)
  return { event = event, method = method, lane = self.ordered and events.lane(event) or key }
end

-- Whether a handler would look at a notification.
local function is_wanted(self, method)
  if not protocol.notifications[method] then return self.routes.hooks.unknown ~= nil end
  return router.wants(self, method) or self:may_answer(method) or method == router.CLICK and self.late_click ~= false
end

-- A notification other than a message.
function Intake:on_notification(method, payload, id, epoch)
  local wanted = is_wanted(self, method) and not self.stopping
  local concerns = events.concerns_client(method) or chat_cache.concerned(self, method) or self:may_end_dialogs(method)
  local event, why
  if wanted or concerns then event, why = self:read_event(method, payload) end
  if why then return pass_over(self, method, payload, why, id, epoch, wanted) end
  if event and concerns then
    chat_cache.notice(self, method, event)
    self:notice_leaving(method, event)
  end
  if event and wanted and not (method == router.CLICK and self:is_double_click(event)) then
    self:take_event(event, method, id, epoch)
  else
    self.session:ack(id, epoch)
  end
end

-- A request of the server, at the drain point: nothing here may wait.
function Intake:on_request(method, payload, id, epoch)
  if method ~= "sendMessage" then
    self:on_notification(method, payload, id, epoch)
    return
  end
  local envelope, chat_id = self.read_message(payload)
  if not envelope then
    if not self.stopping then pass_over(self, method, payload, chat_id, id, epoch, true) end
  elseif self:is_mine(envelope, epoch) then
    self.session:ack(id, epoch)
  elseif not self.stopping then
    self:take_in(envelope, chat_id, id, epoch)
  end
end

return Intake
