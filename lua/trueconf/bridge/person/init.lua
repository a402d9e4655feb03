-- SPDX-License-Identifier: MIT
-- Simulated people: a person in a TrueConf application, driven from Lua. A person has no connection, but is one more
-- receiver of the account.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"
local json = require "trueconf.base.json"
local Error = require "trueconf.base.error"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local sorted_keys = require "trueconf.base.sorted_keys"
local outcome = require "trueconf.bridge.person.outcome"
local person_chat = require "trueconf.bridge.person.chat"
local person_message = require "trueconf.bridge.person.message"

local hold, see = person_chat.hold, person_message.see

-- Messages kept for wait_message(), and events kept for events(), each in its own queue; above the limit the oldest is
-- dropped.
local INBOX_LIMIT = 10000
local EVENTS_LIMIT = 1000
local ALL = math.maxinteger

---@class trueconf.bridge.Person: trueconf.bridge.Receiver
---@field login string
---@field id string TrueConf ID
---@field account trueconf.bridge.Account
---@field bridge trueconf.bridge.Server
---@field private handlers fun(message: trueconf.bridge.PersonMessage)[]
---@field private inbox trueconf.Fifo of messages
---@field private waiters trueconf.core.Waiter[]
---@field private watchers fun(event: trueconf.bridge.Event)[]
---@field private happened trueconf.Fifo of events
---@field private dropped integer events that were not read in time, since the last call of events()
local Person = {}
Person.__index = Person

---@param bridge trueconf.bridge.Server
---@param account trueconf.bridge.Account
---@return trueconf.bridge.Person
local function new(bridge, account)
  local person = setmetatable({
    login = account.login,
    id = account.id,
    key = account.key,
    account = account,
    bridge = bridge,
    handlers = {},
    inbox = fifo.new(INBOX_LIMIT),
    waiters = {},
    watchers = {},
    happened = fifo.new(EVENTS_LIMIT),
    dropped = 0,
  }, Person)
  bridge.publisher:attach(person)
  bridge.publisher:redeliver(person)
  return person
end

---The personal chat with somebody, opened when it does not exist yet.
---@param login string
---@return trueconf.bridge.PersonChat
function Person:chat_with(login)
  local user_id = outcome.user_id_of(self.bridge, login, 2)
  if user_id == self.id then error("a personal chat needs somebody else", 2) end
  local chat = assert(outcome.of(self, self.bridge.chats:personal(self.account, user_id)))
  return hold(self, chat)
end

-- Add the others to a new chat, in a fixed order.
local function invite(chat, participants)
  for _, login in ipairs(sorted_keys(participants or {})) do
    local ok, err = chat:add(login)
    if ok and participants[login] ~= "user" then ok, err = chat:set_role(login, participants[login]) end
    if not ok then return nil, err end
  end
  return chat
end

local function check_participants(bridge, participants, level)
  for login in pairs(participants or {}) do outcome.user_id_of(bridge, login, level + 1) end
end

---Create a group that this person owns.
---@param title string
---@param participants? table<string, "user"|"admin"> roles of others, by login
---@return trueconf.bridge.PersonChat? chat
---@return trueconf.Error? err ROLE_NOT_FOUND, USER_IS_ALREADY_CHAT_PARTICIPANT
function Person:create_group(title, participants)
  outcome.check_text("title", title, 2)
  check_participants(self.bridge, participants, 2)
  local chat = assert(outcome.of(self, self.bridge.chats:create_group(self.account, title)))
  return invite(hold(self, chat), participants)
end

---Create a channel that this person owns.
---@param title string
---@param participants? table<string, "user"|"admin"|"writer"> roles of others, by login
---@return trueconf.bridge.PersonChat? chat
---@return trueconf.Error? err ROLE_NOT_FOUND, USER_IS_ALREADY_CHAT_PARTICIPANT
function Person:create_channel(title, participants)
  outcome.check_text("title", title, 2)
  check_participants(self.bridge, participants, 2)
  local chat = assert(outcome.of(self, self.bridge.chats:create_channel(self.account, title)))
  return invite(hold(self, chat), participants)
end

---This person's notes to itself.
---@return trueconf.bridge.PersonChat
function Person:favorites()
  return hold(self, assert(outcome.of(self, self.bridge.chats:favorites(self.account))))
end

---A chat that this person takes part in.
---@param chat_id string
---@return trueconf.bridge.PersonChat? chat
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function Person:chat(chat_id)
  local chat, code = self.bridge.messages:chat_of(chat_id, self.account)
  if not chat then return nil, Error.from_code(code) end
  return hold(self, chat)
end

---All chats this person takes part in, in the order they were entered.
---@return trueconf.bridge.PersonChat[]
function Person:chats()
  local list = self.bridge.store:chats_of(self.key, 1, ALL)
  for index, chat in ipairs(list) do list[index] = hold(self, chat) end
  return list
end

---A message that this person sees.
---@param message_id string
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function Person:message(message_id)
  local message, code = self.bridge.messages:message_of(message_id, self.account)
  if not message then return nil, Error.from_code(code) end
  return see(self.bridge, message, self.key)
end

---Click a command button below a message.
---@param message trueconf.bridge.PersonMessage|string the message or its id
---@param button_id string the button's id, or its label if it has no id
---@return true? ok
---@return trueconf.Error? err ACCESS_DENIED (no such button), MESSAGE_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function Person:click(message, button_id)
  return outcome.of(self, self.bridge.clicks:click(self.account, outcome.id_of(message), button_id))
end

---Call fn(message) in a coroutine of its own for every new message in a chat of this person, also for own messages that
---another connection of the account writes.
---@param fn fun(message: trueconf.bridge.PersonMessage)
function Person:on_message(fn)
  if type(fn) ~= "function" then options.refuse("on_message", "a function", fn, 2) end
  self.handlers[#self.handlers + 1] = fn
end

function Person:mark_seen(message)
  self.bridge.publisher:mark_read(self.key, message.record)
  return message
end

-- True if a call waited for the message.
function Person:hand_over(message)
  while self.waiters[1] do
    if table.remove(self.waiters, 1):wake(message) then return true end
  end
  return false
end

---Note an event for the observers of this person.
---@param method string
---@param payload table|string the payload, or its JSON text
function Person:note(method, payload)
  if type(payload) == "string" and self.watchers[1] then payload = json.decode(payload) end
  local event = { method = method, payload = payload }
  for _, watcher in ipairs(self.watchers) do core.spawn(watcher, event) end
  if self.happened:push(event) then self.dropped = self.dropped + 1 end
end

---@class trueconf.bridge.Event
---@field method string name of the notification, such as "editMessage"
---@field payload table as it is on the wire

---The events of this person since the last call: the notifications that a connection gets, system messages too, and
---"answerCommand" for a click that a bot answered. Only the newest 1000 are kept.
---@return trueconf.bridge.Event[] events oldest first
---@return integer dropped number of older events that were dropped
function Person:events()
  local events = {}
  for event in self.happened.pop, self.happened do
    if type(event.payload) == "string" then event.payload = json.decode(event.payload) end
    events[#events + 1] = event
  end
  local dropped = self.dropped
  self.dropped = 0
  return events, dropped
end

---Call fn(event) in a coroutine of its own for every event of this person from now on.
---@param fn fun(event: trueconf.bridge.Event)
function Person:on_event(fn)
  if type(fn) ~= "function" then options.refuse("on_event", "a function", fn, 2) end
  self.watchers[#self.watchers + 1] = fn
end

---A notification for the account; messages come to wait_message() and on_message() too.
---@param notification trueconf.bridge.Notification
function Person:notify(notification)
  self:note(notification.method, notification:payload(self.key))
  if not notification.message then return end
  local message = see(self.bridge, notification.message, self.key)
  for _, handler in ipairs(self.handlers) do core.spawn(handler, message) end
  if message.from_me then return end
  if self:hand_over(message) then
    self:mark_seen(message)
    return
  end
  self.inbox:push(message)
  if self.handlers[1] then self:mark_seen(message) end
end

---The next message of somebody else that this function has not returned yet.
---@async
---@param timeout? number
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err TIMEOUT, CLOSED
function Person:wait_message(timeout)
  local message = self.inbox:pop()
  if message then return self:mark_seen(message) end
  local waiter = core.waiter()
  table.insert(self.waiters, waiter)
  local seen, err = waiter:wait(timeout)
  if not seen then self:forget(waiter) end
  return seen, err
end

-- A waiter that ran into its timeout must not stay in the queue.
function Person:forget(waiter)
  for index, waiting in ipairs(self.waiters) do
    if waiting == waiter then return table.remove(self.waiters, index) end
  end
end

---Settle every wait with CLOSED, and receive no more notifications.
function Person:close()
  self.bridge.publisher:detach(self)
  local waiters = self.waiters
  self.waiters = {}
  for _, waiter in ipairs(waiters) do waiter:wake(nil, core.error("CLOSED", "the Bridge was stopped")) end
end

misuse.guard(Person, "person", {
  "chat", "chat_with", "chats", "click", "close", "create_channel", "create_group", "events", "favorites", "mark_seen",
  "message", "on_event", "on_message", "wait_message",
})

return { new = new, see = see }
