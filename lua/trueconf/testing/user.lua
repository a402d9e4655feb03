-- SPDX-License-Identifier: MIT
-- A person in a test: acts as people do in an application, and remembers the messages of bots.

local failure = require "trueconf.testing.failure"
local misuse = require "trueconf.base.misuse"
local person_message = require "trueconf.bridge.person.message"
local transcript = require "trueconf.testing.transcript"

local MOST_KEPT = 10000                 -- messages kept; then the oldest are forgotten

---A message of a bot as people see it, and:
---@class trueconf.testing.Heard: trueconf.bridge.PersonMessage
---@field text string as a person sees it
---@field name string? of the file, if it is one

---@class (exact) trueconf.testing.SayOptions
---@field chat? trueconf.testing.Group|string a group or the id of a chat; default the personal chat with the bot
---@field parse_mode? "text"|"markdown"|"html" default: the text is what the person types
---@field caption? string of a file
---@field type? string MIME type of a file; default by its name
---@field message? trueconf.bridge.PersonMessage|string the message; default the newest that fits
---@field twice? boolean for clicks: a double click

---@class trueconf.testing.User
---@field login string
---@field person trueconf.bridge.Person for everything else that people do
---@field private kit trueconf.testing.Kit
---@field private inbox { record: trueconf.bridge.Message, heard: boolean }[] of bots, oldest first
---@field private unheard integer all entries of the inbox before this index have been heard
---@field private latest table<string, trueconf.bridge.PersonMessage> own messages, the last of each chat
local User = {}
User.__index = User

---@param kit trueconf.testing.Kit
---@param login string
---@return trueconf.testing.User
local function new(kit, login)
  local person = kit.bridge:person(login)
  return setmetatable({ login = login, person = person, kit = kit, inbox = {}, unheard = 1, latest = {} }, User)
end

-- Receiving ---------------------------------------------------------------------------------

---Take a message of a bot.
---@param record trueconf.bridge.Message
function User:receive(record)
  self.inbox[#self.inbox + 1] = { record = record, heard = false }
  if #self.inbox <= MOST_KEPT then return end
  table.remove(self.inbox, 1)
  self.unheard = math.max(self.unheard - 1, 1)
end

---A message as this person sees it now.
---@param record trueconf.bridge.Message
---@return trueconf.testing.Heard
function User:see(record)
  local seen = person_message.see(self.kit.bridge, record, self.person.key)
  local words = record.content.fileId and "" or transcript.words_of(record.content)
  return setmetatable({ text = words, name = record.content.name }, { __index = seen })
end

local function id_of(chat)
  return type(chat) == "table" and chat.id or chat
end

---The oldest message that was not heard yet.
---@param chat? trueconf.testing.Group|string
---@return trueconf.testing.Heard?
---@return table? entry for mark_heard()
function User:next_unheard(chat)
  local chat_id = id_of(chat)
  for index = self.unheard, #self.inbox do
    local entry = self.inbox[index]
    if not entry.heard and (not chat_id or entry.record.chat_id == chat_id) then
      return self:see(entry.record), entry
    end
  end
end

---@param entry table
function User:mark_heard(entry)
  entry.heard = true
  while self.inbox[self.unheard] and self.inbox[self.unheard].heard do self.unheard = self.unheard + 1 end
end

---The messages of bots, newest first, as they are now.
---@param chat? trueconf.testing.Group|string
---@return fun(): trueconf.testing.Heard?
function User:newest(chat)
  local index, chat_id = #self.inbox + 1, id_of(chat)
  return function()
    repeat
      index = index - 1
    until index == 0 or not chat_id or self.inbox[index].record.chat_id == chat_id
    return index > 0 and self:see(self.inbox[index].record) or nil
  end
end

-- Acts --------------------------------------------------------------------------------------

function User:chat(options)
  local chat = options and options.chat
  if not chat then return self.person:chat_with(self.kit:bot_login()) end
  local found, err = self.person:chat(id_of(chat))
  if not found then failure.raise("%s is not in this chat: %s", self.login, err) end
  return found
end

-- Ends an act: runs until bot and Bridge have nothing left to do at this moment.
function User:done(what, result, err)
  if not result then failure.raise("%s cannot %s: %s", self.login, what, err) end
  self.kit:settle()
  return result
end

function User:sent(what, message, err)
  if message then self.latest[message.chat_id] = message end
  return self:done(what, message, err)
end

---Write a message, in the personal chat with the bot unless another one is named.
---@param text string|string[] several are written at once, before anybody can answer
---@param options? trueconf.testing.SayOptions
---@return trueconf.bridge.PersonMessage message the last one
function User:says(text, options)
  self.kit:begin()
  local chat = self:chat(options)
  local texts = type(text) == "table" and text or { text }
  local more = { parse_mode = options and options.parse_mode }
  for index = 1, #texts - 1 do assert(chat:say(texts[index], more)) end
  return self:sent("say this", chat:say(texts[#texts], more))
end

-- The message of another person that an act is about.
function User:message_of(options)
  local message = options and options.message or self:newest(options and options.chat)()
  if not message then failure.raise("%s has not been told anything yet", self.login) end
  return message
end

---Answer a message, the newest one of a bot unless another one is named.
---@param text string
---@param options? trueconf.testing.SayOptions
---@return trueconf.bridge.PersonMessage message
function User:replies(text, options)
  self.kit:begin()
  local answered = self:message_of(options)
  local where = options and options.chat and options or { chat = type(answered) == "table" and answered.chat_id or nil }
  local more = { parse_mode = options and options.parse_mode, reply_to = id_of(answered) }
  return self:sent("reply", self:chat(where):say(text, more))
end

---Send a file.
---@param name string
---@param bytes string
---@param options? trueconf.testing.SayOptions
---@return trueconf.bridge.PersonMessage message
function User:sends_file(name, bytes, options)
  self.kit:begin()
  local more = { caption = options and options.caption, type = options and options.type }
  return self:sent("send this file", self:chat(options):send_file(name, bytes, more))
end

-- The own message that an act is about.
function User:own_message(chat, options)
  local message = options and options.message or self.latest[chat.id]
  if not message then failure.raise("%s has not written anything here yet", self.login) end
  return message
end

---Change an own message, the last one unless another one is named.
---@param text string
---@param options? trueconf.testing.SayOptions
---@return trueconf.bridge.PersonMessage message as it is now
function User:edits(text, options)
  self.kit:begin()
  local chat = self:chat(options)
  local message = self:own_message(chat, options)
  return self:done("change the message", chat:edit(message, text, { parse_mode = options and options.parse_mode }))
end

---Remove an own message for everybody, the last one unless another one is named.
---@param options? trueconf.testing.SayOptions
function User:removes(options)
  self.kit:begin()
  local chat = self:chat(options)
  self:done("remove the message", chat:remove(self:own_message(chat, options)))
end

-- Buttons -----------------------------------------------------------------------------------

---The labels of the buttons below a message, in order.
---@param message trueconf.testing.Heard
---@return string[]
local function labels_of(message)
  local labels = {}
  for _, row in ipairs(message.buttons or {}) do
    for _, button in ipairs(row) do labels[#labels + 1] = button.label end
  end
  return labels
end

local function find_button(message, name)
  for _, row in ipairs(message.buttons or {}) do
    for _, button in ipairs(row) do
      if button.label == name or button.id == name then return button end
    end
  end
end

-- The newest message with such a button.
function User:find_button(name, given)
  local visible = {}
  for message in self:newest() do
    if not given or message.id == id_of(given) then
      local button = find_button(message, name)
      if button then return message, button end
      for _, label in ipairs(labels_of(message)) do visible[#visible + 1] = ("[%s]"):format(label) end
    end
  end
  failure.raise("%s sees no button [%s]%s", self.login, name,
    visible[1] and ", but " .. table.concat(visible, " ") or ", nor any other one")
end

---Click a button, of the newest message that has such a one.
---@param name string label or id of the button
---@param options? trueconf.testing.SayOptions
function User:clicks(name, options)
  self.kit:begin()
  local message, button = self:find_button(name, options and options.message)
  local clicked = button.id or button.label
  self.kit:let_click(message.id .. "\0" .. clicked)
  self.kit:note("%s clicks [%s]", self.login, button.label)
  if options and options.twice then assert(self.person:click(message, clicked)) end
  self:done("click", self.person:click(message, clicked))
end

misuse.guard(User, "anna", { "says", "replies", "sends_file", "edits", "removes", "clicks" })

return { new = new, labels_of = labels_of }
