-- SPDX-License-Identifier: MIT
-- A chat of a simulated person, with the acts that an application offers in a chat.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local outcome = require "trueconf.bridge.person.outcome"
local misuse = require "trueconf.base.misuse"
local refuse = require("trueconf.base.options").refuse
local person_message = require "trueconf.bridge.person.message"
local survey = require "trueconf.bridge.chat.survey"

local see = person_message.see
local ALL = math.maxinteger

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

-- Applications write html, so typed text arrives escaped (protocol: modes).
local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\n"] = "<br>" }

local function content_of(text, opts, level)
  outcome.check_text("text", text, level + 1)
  if opts.parse_mode then return { text = text, parseMode = opts.parse_mode } end
  return { text = text:gsub("[&<>\n]", ESCAPES), parseMode = "html" }
end

---Write a message. Without `parse_mode` the text is typed text, and is sent as the html that an application makes of
---it; with `parse_mode` it is sent as it is.
---@param text string
---@param opts? { parse_mode: ("text"|"markdown"|"html")?, reply_to: trueconf.bridge.PersonMessage|string|nil }
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND (the one to answer), NOT_ENOUGH_RIGHTS (a channel), ...
function PersonChat:say(text, opts)
  opts = opts or {}
  local person, content = self.person, content_of(text, opts, 2)
  local record, err = outcome.of(person,
    person.bridge.messages:say(person.account, self.id, content, outcome.id_of(opts.reply_to)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

-- Send a file as a message of its own kind, or as an attachment.
local function send(chat, name, source, kind, opts)
  local person, failure = chat.person, nil
  local function take()
    local file, err = person.bridge.files:add(name, source, kind)
    failure = err
    return file
  end
  local sent, err = outcome.of(person, person.bridge.files:post(person.account, chat.id, take, opts))
  if not sent then return nil, failure or err end
  return see(person.bridge, sent.message, person.key)
end

---Send a file.
---@param name string
---@param source string|{ path: string } its bytes, or a file on the disk of the Bridge's files, which is moved there
---@param opts? { type: string?, caption: string?, reply_to: trueconf.bridge.PersonMessage|string|nil } type: MIME type,
---default by the extension of the name; caption: a message of its own above the file
---@return trueconf.bridge.PersonMessage? message the one with the file
---@return trueconf.Error? err MESSAGE_NOT_FOUND (the one to answer), NOT_ENOUGH_RIGHTS (a channel), IO, ...
function PersonChat:send_file(name, source, opts)
  opts = opts or {}
  local caption = opts.caption and content_of(opts.caption, {}, 2)
  return send(self, name, source, opts.type, { caption = caption, reply_to = outcome.id_of(opts.reply_to) })
end

---Send a voice message. Servers before 5.5.6 know none: it comes as an audio file.
---@param source string|{ path: string } as of send_file()
---@param opts? { duration: integer?, type: string?, reply_to: trueconf.bridge.PersonMessage|string|nil } duration:
---seconds; type: MIME type, default "audio/ogg"
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err as of send_file()
function PersonChat:send_voice(source, opts)
  opts = opts or {}
  if opts.duration ~= nil and (math.type(opts.duration) ~= "integer" or opts.duration < 0) then
    refuse("duration", "a whole number of seconds", opts.duration, 2)
  end
  return send(self, "voice.ogg", source, opts.type or "audio/ogg",
    { voice = { duration = opts.duration }, reply_to = outcome.id_of(opts.reply_to) })
end

local function check_degrees(name, value, most, level)
  if type(value) == "number" and value >= -most and value <= most then return end
  refuse(name, ("a number of degrees from -%d to %d"):format(most, most), value, level + 1)
end

---Send a place.
---@param latitude number degrees, -90 to 90
---@param longitude number degrees, -180 to 180
---@param opts? { title: string?, reply_to: trueconf.bridge.PersonMessage|string|nil } title: its name
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND (the one to answer), NOT_ENOUGH_RIGHTS (a channel), ...
function PersonChat:send_location(latitude, longitude, opts)
  opts = opts or {}
  check_degrees("latitude", latitude, 90, 2)
  check_degrees("longitude", longitude, 180, 2)
  if opts.title ~= nil then outcome.check_text("title", opts.title, 2) end
  local person, content = self.person, { latitude = latitude, longitude = longitude, title = opts.title }
  local record, err = outcome.of(person,
    person.bridge.messages:post_location(person.account, self.id, content, outcome.id_of(opts.reply_to)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

---Send the card of a survey.
---@param given trueconf.bridge.SurveyGiven
---@param opts? { reply_to: trueconf.bridge.PersonMessage|string|nil }
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND (the one to answer), NOT_ENOUGH_RIGHTS (a channel), ...
function PersonChat:survey(given, opts)
  local person, content = self.person, survey.card(self.person.bridge.store.server_name, given)
  local record, err = outcome.of(person,
    person.bridge.messages:post_survey(person.account, self.id, content, outcome.id_of(opts and opts.reply_to)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

---Replace the card of an own survey.
---@param message trueconf.bridge.PersonMessage|string the message or its id
---@param given trueconf.bridge.SurveyGiven
---@return trueconf.bridge.PersonMessage? message as it is now
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS (not an own one, too old), MESSAGE_NOT_FOUND, UNKNOWN_MESSAGE
function PersonChat:edit_survey(message, given)
  local person, content = self.person, survey.card(self.person.bridge.store.server_name, given)
  local edit, err = outcome.of(person,
    person.bridge.messages:edit_survey(person.account, outcome.id_of(message), content))
  if not edit then return nil, err end
  return see(person.bridge, edit.message, person.key)
end

---Replace an own message. The text has the form of say().
---@param message trueconf.bridge.PersonMessage|string the message or its id
---@param text string
---@param opts? { parse_mode: ("text"|"markdown"|"html")? }
---@return trueconf.bridge.PersonMessage? message as it is now
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS (not an own one, too old), MESSAGE_NOT_FOUND
function PersonChat:edit(message, text, opts)
  local person, content = self.person, content_of(text, opts or {}, 2)
  local edit, err = outcome.of(person, person.bridge.messages:edit(person.account, outcome.id_of(message), content))
  if not edit then return nil, err end
  return see(person.bridge, edit.message, person.key)
end

---Repeat a message of any chat in this one.
---@param message trueconf.bridge.PersonMessage|string the message or its id
---@return trueconf.bridge.PersonMessage? message
---@return trueconf.Error? err MESSAGE_NOT_FOUND, NOT_ENOUGH_RIGHTS
function PersonChat:forward(message)
  local person = self.person
  local record, err = outcome.of(person,
    person.bridge.messages:forward(person.account, self.id, outcome.id_of(message)))
  if not record then return nil, err end
  return see(person.bridge, record, person.key)
end

---Remove a message for everybody, or only for this person.
---@param message trueconf.bridge.PersonMessage|string the message or its id
---@param opts? { only_for_me: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, MESSAGE_NOT_FOUND
function PersonChat:remove(message, opts)
  local person, for_all = self.person, not (opts and opts.only_for_me)
  return outcome.of(person, person.bridge.messages:remove(person.account, outcome.id_of(message), for_all))
end

---Remove all messages for everybody, or only for this person.
---@param opts? { only_for_me: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS
function PersonChat:clear(opts)
  local person, for_all = self.person, not (opts and opts.only_for_me)
  return outcome.of(person, person.bridge.messages:clear(person.account, self.id, for_all))
end

---The messages of the chat that this person sees.
---@param count? integer only the newest ones, at most this many
---@return trueconf.bridge.PersonMessage[]? messages oldest first
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:history(count)
  local person = self.person
  local chat, code = person.bridge.messages:chat_of(self.id, person.account)
  if not chat then return nil, Error.from_code(code) end
  local records, seen = person.bridge.store:history_of(chat, person.key, count or ALL), {}
  for index, record in ipairs(records) do seen[#records + 1 - index] = see(person.bridge, record, person.key) end
  return seen
end

---Mark messages of others as read, up to one of them or all.
---@param up_to? trueconf.bridge.PersonMessage|string the message or its id
---@return integer marked number of messages
function PersonChat:mark_read(up_to)
  local bridge, key, last, marked = self.person.bridge, self.person.key, outcome.id_of(up_to), 0
  for _, message in ipairs(bridge.store:unread_list(key)) do
    if message.chat_id == self.id then
      bridge.publisher:mark_read(key, message)
      marked = marked + 1
      if message.id == last then break end
    end
  end
  return marked
end

---Title, type and role in the chat.
---@return { chat_id: string, title: string, type: integer, role: string? }
function PersonChat:info()
  local person = self.person
  local shown = person.bridge.envelopes:chat(self.record, person.key)
  return {
    chat_id = self.id, title = shown.title, type = self.record.type, role = self.record.roles[person.key],
  }
end

---The participants.
---@return { login: string, role: string }[]? participants in the order they came
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:participants()
  local person, list = self.person, {}
  local chat, code = person.bridge.messages:chat_of(self.id, person.account)
  if not chat then return nil, Error.from_code(code) end
  for index, key in ipairs(person.bridge.store:members_of(chat, 1, ALL)) do
    list[index] = { login = person.bridge.store:account(key).login, role = chat.roles[key] }
  end
  return list
end

---Add somebody to a group or channel.
---@param login string
---@param opts? { show_history: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_ALREADY_CHAT_PARTICIPANT
function PersonChat:add(login, opts)
  local person = self.person
  local user_id = outcome.user_id_of(person.bridge, login, 2)
  return outcome.of(person, person.bridge.chats:add(person.account, self.id, user_id, opts and opts.show_history))
end

---Remove somebody from a group or channel.
---@param login string
---@param opts? { clear_history: boolean? }
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:expel(login, opts)
  local person = self.person
  local user_id = outcome.user_id_of(person.bridge, login, 2)
  return outcome.of(person, person.bridge.chats:expel(person.account, self.id, user_id, opts and opts.clear_history))
end

---Give somebody a role in a group or channel.
---@param login string
---@param role "admin"|"user"|"writer"
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, USER_IS_NOT_CHAT_PARTICIPANT, ROLE_NOT_FOUND
function PersonChat:set_role(login, role)
  local person = self.person
  local user_id = outcome.user_id_of(person.bridge, login, 2)
  return outcome.of(person, person.bridge.chats:set_role(person.account, self.id, user_id, role))
end

---Give a group or channel another title.
---@param title string
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS
function PersonChat:rename(title)
  outcome.check_text("title", title, 2)
  local person = self.person
  local timestamp, err = outcome.of(person, person.bridge.chats:set_title(person.account, self.id, title))
  if not timestamp then return nil, err end
  return true
end

---Give a group or channel another picture.
---@param name string
---@param source string|{ path: string } as send_file() takes it
---@param opts? { type: string? } MIME type
---@return true? ok
---@return trueconf.Error? err NOT_ENOUGH_RIGHTS, IO
function PersonChat:set_avatar(name, source, opts)
  local person, failure = self.person, nil
  local function take()
    local file, err = person.bridge.files:add(name, source, opts and opts.type)
    failure = err
    return file
  end
  local ok, err = outcome.of(person, person.bridge.chats:set_avatar(person.account, self.id, take))
  if not ok then return nil, failure or err end
  return true
end

---Leave the chat; an owner removes it for everybody.
---@return true? ok
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:leave()
  local person = self.person
  return outcome.of(person, person.bridge.chats:remove(person.account, self.id))
end

---Show an activity of this person to the others; it ends by itself.
---@param activity "typing"|"choosing_sticker"|"uploading_file"
---@return true? ok
---@return trueconf.Error? err CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT
function PersonChat:show_activity(activity)
  local ok, code = self.person.bridge.messages:be_active(self.person.account, self.id, activity)
  if not ok then return nil, Error.from_code(code) end
  return true
end

---The activity of a participant at this moment.
---@param login string
---@return ("typing"|"choosing_sticker"|"uploading_file")? activity
function PersonChat:activity(login)
  return self.person.bridge.messages:activity(self.id, core.spelling(login))
end

misuse.guard(PersonChat, "chat")

return { hold = hold }
