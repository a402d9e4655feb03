-- SPDX-License-Identifier: MIT
-- Simulated people: what a person does and sees in a TrueConf application, driven from Lua. A
-- person takes part without a connection, as one more receiver of the account.

local core = require "trueconf.core"

-- Messages kept for wait_message(); the oldest is dropped when nobody reads them.
local INBOX_LIMIT = 10000

-- Messages as people see them ------------------------------------------------------------

---@class trueconf.bridge.SeenMessage
---@field id string
---@field chat_id string
---@field author string TrueConf ID
---@field text string as it travelled, marked up as `parse_mode` says
---@field parse_mode "text"|"markdown"|"html"
---@field timestamp integer UNIX milliseconds
---@field box integer place in the chat
---@field reply_to string? id of the message it answers
---@field from_me boolean? who looks is the author; nil if nobody in particular looks
---@field private bridge trueconf.bridge.Server
---@field private record trueconf.bridge.Message
local SeenMessage = {}
SeenMessage.__index = SeenMessage

---@param bridge trueconf.bridge.Server
---@param record trueconf.bridge.Message
---@param key? string who looks
---@return trueconf.bridge.SeenMessage
local function see(bridge, record, key)
  return setmetatable({
    id = record.id,
    chat_id = record.chat_id,
    author = record.author,
    text = record.content.text,
    parse_mode = record.content.parseMode,
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

-- Applications compose in html, so what somebody types arrives escaped (protocol: modes).
local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\n"] = "<br>" }

---Write a message. Without `parse_mode` the text is what the person types, and it travels as the
---html an application makes of it; with `parse_mode` it travels as it is.
---@param text string
---@param opts? { parse_mode: ("text"|"markdown"|"html")?, reply_to: trueconf.bridge.SeenMessage|string|nil }
---@return trueconf.bridge.SeenMessage? message
---@return string? err the message that is answered is not in this chat
function PersonChat:say(text, opts)
  if type(text) ~= "string" or text == "" or not utf8.len(text) then
    error(("text must be UTF-8 and not empty, got %s"):format(type(text)), 2)
  end
  opts = opts or {}
  local bridge, account = self.person.bridge, self.person.account
  local content = { text = text, parseMode = opts.parse_mode or "html" }
  if not opts.parse_mode then content.text = text:gsub("[&<>\n]", ESCAPES) end
  local reply_to = type(opts.reply_to) == "table" and opts.reply_to.id or opts.reply_to
  local record, news = bridge.messages:say(account, self.id, content, reply_to)
  if not record then return nil, "the message to answer is not in this chat" end
  bridge.delivery:publish_all(news, self.person)
  return see(bridge, record, account.key)
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
  }, Person)
  bridge.delivery:attach(person)
  bridge.delivery:redeliver(person)
  return person
end

---The personal chat with somebody, opened when it does not exist yet.
---@param login string
---@return trueconf.bridge.PersonChat
function Person:chat_with(login)
  local bridge = self.bridge
  local other = type(login) == "string" and bridge.accounts:by_login(login)
  if not other then error(("there is no account '%s'"):format(tostring(login)), 2) end
  if other == self.account then error("a personal chat needs somebody else", 2) end
  local record, news = bridge.chats:personal(self.account, other.id)
  bridge.delivery:publish_all(news, self)
  return setmetatable({ id = record.id, person = self, record = record }, PersonChat)
end

---Call fn(message) in a coroutine of its own for every message that appears in a chat of this
---person from now on, own ones written elsewhere included.
---@param fn fun(message: trueconf.bridge.SeenMessage)
function Person:on_message(fn)
  if type(fn) ~= "function" then error(("expected a function, got %s"):format(type(fn)), 2) end
  self.handlers[#self.handlers + 1] = fn
end

local function enqueue(inbox, message)
  inbox.last = inbox.last + 1
  inbox[inbox.last] = message
  if inbox.last - inbox.first < INBOX_LIMIT then return end
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

---A notification for the account; only messages interest a person.
---@param news trueconf.bridge.Notification
function Person:notify(news)
  if not news.message then return end
  local message = see(self.bridge, news.message, self.key)
  for _, handler in ipairs(self.handlers) do core.spawn(handler, message) end
  if message.from_me then return end
  if self:hand_over(message) then
    self:mark_seen(message)
    return
  end
  enqueue(self.inbox, message)
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
