-- SPDX-License-Identifier: MIT
-- Simulated people: what a person does and sees in a TrueConf application, driven from Lua. A
-- person takes part without a connection, as one more receiver of the account.

local core = require "trueconf.core"
local json = require "trueconf.json"
local Error = require "trueconf.error"

-- Messages kept for wait_message(), and events for events(); the oldest is dropped when nobody
-- reads them.
local INBOX_LIMIT = 10000
local EVENTS_LIMIT = 1000
local ALL = math.maxinteger

-- Messages as people see them ------------------------------------------------------------

---@class trueconf.bridge.SeenMessage
---@field id string
---@field chat_id string
---@field author string TrueConf ID
---@field type integer envelope type: 200 a text, 201 a forward, 202 a file, 204 a survey, below 200 of the system
---@field text string as it travelled, marked up as `parse_mode` says; of a forward the text of the original; else ""
---@field parse_mode ("text"|"markdown"|"html")? nil: it has no text
---@field content table as it is on the wire
---@field buttons table[][]? rows of buttons below the text
---@field edited boolean
---@field timestamp integer UNIX milliseconds
---@field box integer place in the chat
---@field reply_to string? id of the message it answers
---@field from_me boolean? who looks is the author; nil if nobody in particular looks
---@field private bridge trueconf.bridge.Server
---@field private record trueconf.bridge.Message
local SeenMessage = {}
SeenMessage.__index = SeenMessage

-- What a message says in words: a forward carries the original inside.
local function words_of(content)
  if content.text or not content.content then return content end
  return content.content
end

---@param bridge trueconf.bridge.Server
---@param record trueconf.bridge.Message
---@param key? string who looks
---@return trueconf.bridge.SeenMessage
local function see(bridge, record, key)
  local words = words_of(record.content)
  return setmetatable({
    id = record.id,
    chat_id = record.chat_id,
    author = record.author,
    type = record.type,
    text = words.text or "",
    parse_mode = words.parseMode,
    content = record.content,
    buttons = record.content.buttons,
    edited = record.edited,
    timestamp = record.timestamp,
    box = record.box,
    reply_to = record.reply_to,
    from_me = key and record.author_key == key,
    bridge = bridge,
    record = record,
  }, SeenMessage)
end

---Whether a participant other than the author has read the message: a bot by acking it, a
---simulated person by seeing it.
---@param login string
---@return boolean
function SeenMessage:is_read_by(login)
  local key, record = login:lower(), self.record
  local chat = self.bridge.store:chat(record.chat_id)
  return chat.roles[key] ~= nil and key ~= record.author_key and not self.bridge.store:is_unread(key, record.id)
end

---Wait until a participant has read the message.
---@async
---@param login string
---@param timeout? number
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED
function SeenMessage:wait_read_by(login, timeout)
  return self.bridge.delivery:wait_read(login:lower(), self.record, timeout)
end

-- A chat in a person's hands ---------------------------------------------------------------

---@class trueconf.bridge.PersonChat
---@field id string
---@field private person trueconf.bridge.Person
---@field private record trueconf.bridge.ChatRecord
local PersonChat = {}
PersonChat.__index = PersonChat

---@param person trueconf.bridge.Person
---@param record trueconf.bridge.ChatRecord
---@return trueconf.bridge.PersonChat
local function hold(person, record)
  return setmetatable({ id = record.id, person = person, record = record }, PersonChat)
end

-- An act returns its result and what is told about it, or nil, a code and a description.
-- People get errors as clients do.
local function outcome(person, result, news, description)
  if result == nil then return nil, Error.from_code(news, nil, description) end
  person.bridge.delivery:publish_all(news, person)
  return result
end

-- Applications compose in html, so what somebody types arrives escaped (protocol: modes).
local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\n"] = "<br>" }

local function content_of(text, opts, level)
  if type(text) ~= "string" or text == "" or not utf8.len(text) then
    error(("text must be UTF-8 and not empty, got %s"):format(type(text)), level + 1)
  end
  if opts.parse_mode then return { text = text, parseMode = opts.parse_mode } end
  return { text = text:gsub("[&<>\n]", ESCAPES), parseMode = "html" }
end

-- The id of a message, given as one or as its id.
local function id_of(message)
  return type(message) == "table" and message.id or message
end

-- The TrueConf ID of an account that must exist.
local function user_id_of(bridge, login, level)
  local account = type(login) == "string" and bridge.accounts:by_login(login)
  if not account then error(("there is no account '%s'"):format(tostring(login)), level + 1) end
  return account.id
end

local function check_title(title)
  if type(title) ~= "string" or title == "" or not utf8.len(title) then
    error(("title must be UTF-8 and not empty, got %s"):format(type(title)), 3)
  end
end

---Write a message. Without `parse_mode` the text is what the person types, and it travels as the
---html an application makes of it; with `parse_mode` it travels as it is.
---@param text string
---@param opts? { parse_mode: ("text"|"markdown"|"html")?, reply_to: trueconf.bridge.SeenMessage|string|nil }
---@return trueconf.bridge.SeenMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND (the one to answer), NOT_ENOUGH_RIGHTS (a channel), ...
function PersonChat:say(text, opts)
  opts = opts or {}
  local person, content = self.person, content_of(text, opts, 2)
  local record, err = outcome(person,
    person.bridge.messages:say(person.account, self.id, content, id_of(opts.reply_to)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

---Replace an own message. The text is taken as say() takes it.
---@param message trueconf.bridge.SeenMessage|string the message or its id
---@param text string
---@param opts? { parse_mode: ("text"|"markdown"|"html")? }
---@return trueconf.bridge.SeenMessage? message as it is now
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS (not an own one, too old), MESSAGE_NOT_FOUND
function PersonChat:edit(message, text, opts)
  local person, content = self.person, content_of(text, opts or {}, 2)
  local edit, err = outcome(person, person.bridge.messages:edit(person.account, id_of(message), content))
  if not edit then return nil, err end
  return see(person.bridge, edit.message, person.key)
end

---Repeat a message of any chat in this one.
---@param message trueconf.bridge.SeenMessage|string the message or its id
---@return trueconf.bridge.SeenMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND, NOT_ENOUGH_RIGHTS
function PersonChat:forward(message)
  local person = self.person
  local record, err = outcome(person,
    person.bridge.messages:forward(person.account, self.id, id_of(message)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

---Remove a message for everybody, or only for this person.
---@param message trueconf.bridge.SeenMessage|string the message or its id
---@param opts? { only_for_me: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, MESSAGE_NOT_FOUND
function PersonChat:remove(message, opts)
  local person, for_all = self.person, not (opts and opts.only_for_me)
  return outcome(person, person.bridge.messages:remove(person.account, id_of(message), for_all))
end

---Remove all messages for everybody, or only for this person.
---@param opts? { only_for_me: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS
function PersonChat:clear(opts)
  local person, for_all = self.person, not (opts and opts.only_for_me)
  return outcome(person, person.bridge.messages:clear(person.account, self.id, for_all))
end

---What this person sees of the chat.
---@return trueconf.bridge.SeenMessage[]? messages oldest first
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:history()
  local person = self.person
  local chat, code = person.bridge.messages:chat_of(self.id, person.account)
  if not chat then return nil, Error.from_code(code) end
  local records, seen = person.bridge.store:history_of(chat, person.key, ALL), {}
  for place, record in ipairs(records) do seen[#records + 1 - place] = see(person.bridge, record, person.key) end
  return seen
end

---Add somebody to a group or channel.
---@param login string
---@param opts? { show_history: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_ALREADY_CHAT_PARTICIPANT
function PersonChat:add(login, opts)
  local person = self.person
  local user_id = user_id_of(person.bridge, login, 2)
  return outcome(person, person.bridge.chats:add(person.account, self.id, user_id, opts and opts.show_history))
end

---Remove somebody from a group or channel.
---@param login string
---@param opts? { clear_history: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:expel(login, opts)
  local person = self.person
  local user_id = user_id_of(person.bridge, login, 2)
  return outcome(person, person.bridge.chats:expel(person.account, self.id, user_id, opts and opts.clear_history))
end

---Give somebody a role in a group or channel.
---@param login string
---@param role "admin"|"user"|"writer"
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_NOT_CHAT_PARTICIPANT, ROLE_NOT_FOUND
function PersonChat:set_role(login, role)
  local person = self.person
  local user_id = user_id_of(person.bridge, login, 2)
  return outcome(person, person.bridge.chats:set_role(person.account, self.id, user_id, role))
end

---Give a group or channel another title.
---@param title string
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS
function PersonChat:rename(title)
  check_title(title)
  local person = self.person
  local timestamp, err = outcome(person, person.bridge.chats:set_title(person.account, self.id, title))
  if not timestamp then return nil, err end
  return true
end

---Leave the chat; an owner removes it for everybody.
---@return true? ok
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:leave()
  local person = self.person
  return outcome(person, person.bridge.chats:remove(person.account, self.id))
end

---What somebody is doing in the chat at this moment.
---@param login string
---@return ("typing"|"choosing_sticker"|"uploading_file")? activity
function PersonChat:activity(login)
  return self.person.bridge.messages:activity(self.id, login:lower())
end

-- People -----------------------------------------------------------------------------------

---@class trueconf.bridge.Person: trueconf.bridge.Receiver
---@field login string
---@field id string TrueConf ID
---@field account trueconf.bridge.Account
---@field bridge trueconf.bridge.Server
---@field private handlers fun(message: trueconf.bridge.SeenMessage)[]
---@field private inbox table queue of messages, from `first` to `last`
---@field private waiters trueconf.core.Waiter[]
---@field private watchers fun(event: trueconf.bridge.Event)[]
---@field private happened table queue of what was told, from `first` to `last`
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
    inbox = { first = 1, last = 0 },
    waiters = {},
    watchers = {},
    happened = { first = 1, last = 0 },
  }, Person)
  bridge.delivery:attach(person)
  bridge.delivery:redeliver(person)
  return person
end

---The personal chat with somebody, opened when it does not exist yet.
---@param login string
---@return trueconf.bridge.PersonChat
function Person:chat_with(login)
  local user_id = user_id_of(self.bridge, login, 2)
  if user_id == self.id then error("a personal chat needs somebody else", 2) end
  local chat = assert(outcome(self, self.bridge.chats:personal(self.account, user_id)))
  return hold(self, chat)
end

---Create a group that this person owns.
---@param title string
---@return trueconf.bridge.PersonChat
function Person:create_group(title)
  check_title(title)
  return hold(self, assert(outcome(self, self.bridge.chats:create_group(self.account, title))))
end

---Create a channel that this person owns.
---@param title string
---@return trueconf.bridge.PersonChat
function Person:create_channel(title)
  check_title(title)
  return hold(self, assert(outcome(self, self.bridge.chats:create_channel(self.account, title))))
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
  for place, chat in ipairs(list) do list[place] = hold(self, chat) end
  return list
end

---Click a command button below a message.
---@param message trueconf.bridge.SeenMessage|string the message or its id
---@param button_id string the button's id, or its label if it has no id
---@return true? ok
---@return trueconf.Error? err ACCESS_DENIED (no such button), MESSAGE_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function Person:click(message, button_id)
  return outcome(self, self.bridge.commands:click(self.account, id_of(message), button_id))
end

---Call fn(message) in a coroutine of its own for every message that appears in a chat of this
---person from now on, own ones written elsewhere included.
---@param fn fun(message: trueconf.bridge.SeenMessage)
function Person:on_message(fn)
  if type(fn) ~= "function" then error(("expected a function, got %s"):format(type(fn)), 2) end
  self.handlers[#self.handlers + 1] = fn
end

local function enqueue(inbox, message, limit)
  inbox.last = inbox.last + 1
  inbox[inbox.last] = message
  if inbox.last - inbox.first < limit then return end
  inbox[inbox.first] = nil
  inbox.first = inbox.first + 1
end

local function dequeue(inbox)
  if inbox.first > inbox.last then return nil end
  local message = inbox[inbox.first]
  inbox[inbox.first] = nil
  inbox.first = inbox.first + 1
  return message
end

function Person:mark_seen(message)
  self.bridge.delivery:mark_read(self.key, message.record)
  return message
end

-- True if somebody waited for the message.
function Person:hand_over(message)
  while self.waiters[1] do
    if table.remove(self.waiters, 1):wake(message) then return true end
  end
  return false
end

---Note an event for those who watch.
---@param method string
---@param payload table|string the payload, or its JSON text
function Person:note(method, payload)
  if type(payload) == "string" and self.watchers[1] then payload = json.decode(payload) end
  local event = { method = method, payload = payload }
  for _, watcher in ipairs(self.watchers) do core.spawn(watcher, event) end
  enqueue(self.happened, event, EVENTS_LIMIT)
end

---@class trueconf.bridge.Event
---@field method string name of the notification, such as "editMessage"
---@field payload table as it is on the wire

---What this person was told since the last call: the notifications that a connection gets, those
---of the system too, and "answerCommand" for a click that a bot answered. Only the newest 1000
---are kept.
---@return trueconf.bridge.Event[] events oldest first
function Person:events()
  local events = {}
  for event in dequeue, self.happened do
    if type(event.payload) == "string" then event.payload = json.decode(event.payload) end
    events[#events + 1] = event
  end
  return events
end

---Call fn(event) in a coroutine of its own for everything this person is told from now on.
---@param fn fun(event: trueconf.bridge.Event)
function Person:on_event(fn)
  if type(fn) ~= "function" then error(("expected a function, got %s"):format(type(fn)), 2) end
  self.watchers[#self.watchers + 1] = fn
end

---A notification for the account; messages come to wait_message() and on_message() too.
---@param news trueconf.bridge.Notification
function Person:notify(news)
  self:note(news.method, news:payload(self.key))
  if not news.message then return end
  local message = see(self.bridge, news.message, self.key)
  for _, handler in ipairs(self.handlers) do core.spawn(handler, message) end
  if message.from_me then return end
  if self:hand_over(message) then
    self:mark_seen(message)
    return
  end
  enqueue(self.inbox, message, INBOX_LIMIT)
  if self.handlers[1] then self:mark_seen(message) end
end

---The next message somebody else wrote and this person has not got from here yet.
---@async
---@param timeout? number
---@return trueconf.bridge.SeenMessage? message
---@return trueconf.Error? err TIMEOUT, CLOSED
function Person:wait_message(timeout)
  local message = dequeue(self.inbox)
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

---Settle every wait with CLOSED and see nothing any more.
function Person:close()
  self.bridge.delivery:detach(self)
  local waiters = self.waiters
  self.waiters = {}
  for _, waiter in ipairs(waiters) do waiter:wake(nil, core.error("CLOSED", "the Bridge was stopped")) end
end

return { new = new, see = see }
