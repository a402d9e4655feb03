-- SPDX-License-Identifier: MIT
-- Public. Questions about a message or an event that combine: `filter.group & ~filter.role "owner"`, and
-- with plain functions: `filter.photo & function(msg) return msg.photo.size < 1e6 end`.
-- A filter is called with the event and the bot, and answers with something true or not. Most look
-- only at the event; those that must ask the server (chat kinds on servers before 5.5.6, roles) wait.

require "trueconf.base.needs"

local face = require "trueconf.base.face"
local chat_cache = require "trueconf.api.chat_cache"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

---@alias trueconf.Predicate fun(event: table, bot: trueconf.Bot): any

---@class trueconf.Filter
---@field private test trueconf.Predicate
---@operator band(trueconf.Filter|trueconf.Predicate): trueconf.Filter
---@operator bor(trueconf.Filter|trueconf.Predicate): trueconf.Filter
---@operator bnot: trueconf.Filter
---@overload fun(event: table, bot: trueconf.Bot): any
local Filter = {}
Filter.__index = Filter
Filter.__name = "trueconf.Filter"

function Filter:__call(event, bot)
  return self.test(event, bot)
end

local filter = {}

-- Combining ----------------------------------------------------------------------------------

local function is_callable(value)
  return type(value) == "function" or getmetatable(value) == Filter
end

-- The function of a filter or a predicate; any other value raises an error at the caller's line.
local function test_of(value, level)
  if type(value) == "function" then return value end
  if getmetatable(value) == Filter then return value.test end
  options.refuse("filter", "a filter or a function", value, level + 1)
end

filter.is_callable = is_callable

---Make a filter of a function, so that it combines with others.
---@param test trueconf.Predicate
---@return trueconf.Filter
function filter.new(test)
  return setmetatable({ test = test_of(test, 2) }, Filter)
end

local make = filter.new

function Filter.__band(left, right)
  local one, other = test_of(left, 2), test_of(right, 2)
  return make(function(event, bot) return one(event, bot) and other(event, bot) end)
end

function Filter.__bor(left, right)
  local one, other = test_of(left, 2), test_of(right, 2)
  return make(function(event, bot) return one(event, bot) or other(event, bot) end)
end

function Filter.__bnot(operand)
  local test = operand.test
  return make(function(event, bot) return not test(event, bot) end)
end

-- Arguments ------------------------------------------------------------------------------------

-- Strings, given one by one or as a list, as a set.
local function set_of(what, level, change, ...)
  local given = ...
  local list = type(given) == "table" and given or { ... }
  local set = {}
  for _, name in ipairs(list) do
    if type(name) ~= "string" then options.refuse(what, "a string", name, level + 1) end
    set[change and change(name) or name] = true
  end
  if next(set) == nil then error(what .. ": at least one string expected", level + 1) end
  return set
end

local function known(what, level, set, names)
  for name in pairs(set) do
    if not names[name] then error(("%s: there is no '%s'"):format(what, name), level + 1) end
  end
  return set
end

-- Where and who --------------------------------------------------------------------------------

-- The id of an event's chat, if the event names one.
local function chat_of(event)
  local message = event.message
  return event.chat or type(message) == "table" and message.chat or nil
end

-- The client behind a bot. A test of a script may pass an object of its own in place of the bot.
local function client_of(bot)
  local inside = face.inside(bot)
  return inside and inside.client or bot
end

-- The kind of the chat; older servers must be asked for it.
local function kind_of(event, bot)
  local chat = chat_of(event)
  local kind = chat and chat.kind or event.kind
  if kind or not event.chat_id then return kind end
  local client = client_of(bot)
  local asked, err = chat_cache.chat_kind(client, event.chat_id)
  if not asked then client.log:warn("the kind of chat %s is not known: %s", event.chat_id, err) end
  return asked
end

filter.kind_of = kind_of

local KINDS = { undef = true, p2p = true, group = true, system = true, favorites = true, channel = true }

---In a chat of one of these kinds: "p2p", "group", "channel", "favorites", "system".
---@param ... string|string[]
---@return trueconf.Filter
function filter.chat_kind(...)
  local kinds = known("filter.chat_kind", 2, set_of("filter.chat_kind", 2, nil, ...), KINDS)
  return make(function(event, bot) return kinds[kind_of(event, bot)] end)
end

---In a personal chat.
filter.private = filter.chat_kind "p2p"

---In a group.
filter.group = filter.chat_kind "group"

---In a channel.
filter.channel = filter.chat_kind "channel"

---In one of these chats, by id.
---@param ... string|string[]
---@return trueconf.Filter
function filter.chat(...)
  local ids = set_of("filter.chat", 2, nil, ...)
  return make(function(event) return ids[event.chat_id] end)
end

local ACTORS = { "author", "added_by", "removed_by" }

---The author of a message or an event; nil where the server does not say, as for clicks.
---@param event table
---@return string? user_id
function filter.author_of(event)
  for _, name in ipairs(ACTORS) do
    local value = event[name]
    if type(value) == "table" then value = value.id end
    if type(value) == "string" and value ~= "" then return value end
  end
end

local author_of = filter.author_of

---By one of these people: TrueConf IDs, or logins, which match on any server.
---@param ... string|string[]
---@return trueconf.Filter
function filter.author(...)
  local ids = set_of("filter.author", 2, protocol.plain_id, ...)
  return make(function(event)
    local id = author_of(event)
    id = id and protocol.plain_id(id)
    return id and (ids[id] or ids[id:match "^[^@]*"])
  end)
end

local ROLES = {}
for _, role in ipairs(protocol.enums.Role.values) do ROLES[role] = true end

---By a person with one of these roles in the chat; false if the server cannot answer. A role is kept for a minute, or
---until the server reports a change.
---@async
---@param ... string|string[] "owner", "admin", "user", "writer", ...
---@return trueconf.Filter
function filter.role(...)
  local roles = known("filter.role", 2, set_of("filter.role", 2, nil, ...), ROLES)
  return make(function(event, bot)
    local author = author_of(event)
    if not author or not event.chat_id then return false end
    local client = client_of(bot)
    local role, err = chat_cache.role(client, event.chat_id, author)
    if role == nil then client.log:warn("the role of %s in chat %s is not known: %s", author, event.chat_id, err) end
    return role and roles[role]
  end)
end

-- Content ----------------------------------------------------------------------------------------

local function field(name)
  return make(function(event) return event[name] end)
end

---A file of any kind.
filter.file = field "file"

---A picture.
filter.photo = field "photo"

---A video.
filter.video = field "video"

---Sound; from servers before 5.5.6 also a voice message.
filter.audio = field "audio"

---A voice message.
filter.voice = field "voice"

---A sticker.
filter.sticker = field "sticker"

---A file of any other kind, but no contact.
filter.document = field "document"

---A place.
filter.location = field "location"

---A survey.
filter.survey = field "survey"

---A contact that was sent.
filter.contact = field "contact"

---A forwarded message.
filter.forwarded = field "forwarded"

---A plain text message: no caption of a file, no forwarded message, no system message.
filter.plain = make(function(event) return event.type == protocol.PLAIN_MESSAGE and event.text ~= "" end)

---A system message.
filter.system = make(function(event) return event.is_system end)

---Mentions the bot by name.
filter.mention = make(function(event) return event.mentions_me end)

---Addresses everybody, by "@all".
filter.everybody = make(function(event)
  local mentions = event.mentions
  return mentions and mentions[#mentions] == "@all"
end)

---Answers another message.
filter.reply = make(function(event) return event.reply_to end)

---Answers a message of the bot; never true on servers before 5.5.6, which do not name its author.
filter.reply_to_me = make(function(event, bot)
  local answered = event.reply_message
  return answered and protocol.plain_id(answered.author) == protocol.plain_id(client_of(bot):user_id() or "")
end)

---A command, whatever its name. (The command of a click is a string.)
filter.command = make(function(event) return type(event.command) == "table" end)

-- Patterns of lpeg and regular expressions of lrexlib are objects with a method.
local function has_match(object)
  local kind = type(object)
  return (kind == "userdata" or kind == "table") and type(object.match) == "function"
end

---A pattern for texts: a Lua pattern, a function of the text, or an object with a method `match`, such as patterns of
---lpeg and lrexlib.
---@alias trueconf.Finder string|fun(text: string): any, ...|{ match: fun(self, text: string): any, ... }

---Compile a pattern for texts.
---@param pattern trueconf.Finder
---@param what string
---@param level integer
---@return fun(text: string): table? finds the captures, or what the function has returned
function filter.finder(pattern, what, level)
  if type(pattern) == "string" then
    local ok, mistake = pcall(string.find, "", pattern)
    if not ok then error(("%s: %s"):format(what, tostring(mistake):gsub("^[^:]*:%d+: ", "")), level + 1) end
    return function(text)
      local found = { text:match(pattern) }
      return found[1] ~= nil and found or nil
    end
  end
  local object = pattern
  if has_match(object) then pattern = function(text) return object:match(text) end end
  if type(pattern) ~= "function" then options.refuse(what, "a pattern or a function", pattern, level + 1) end
  return function(text)
    local found = table.pack(pattern(text))
    return found[1] and found or nil
  end
end

---A text that matches a pattern.
---@param pattern trueconf.Finder a Lua pattern, a function of the text, or an object such as a pattern of lpeg
---@return trueconf.Filter
function filter.text(pattern)
  local find = filter.finder(pattern, "filter.text", 2)
  return make(function(event) return type(event.text) == "string" and event.text ~= "" and find(event.text) end)
end

return misuse.strict(filter, "trueconf.filter")
