-- SPDX-License-Identifier: MIT
-- A moderator for groups: removes messages with banned words, warns their authors, and mutes people after too many
-- warnings or when they write too fast (rate limit). Make the bot an admin of the group. Owner and admins use /ban
-- WORD, /allow WORD, /warn PERSON [REASON], /mute PERSON [TIME], /forgive PERSON.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/moderator.lua
--
-- The bot keeps its data in memory: it is lost when the bot ends.

local filter = require "trueconf.filter"
local middleware = require "trueconf.middleware"
local text = require "trueconf.text"
local trueconf = require "trueconf"

local WARNINGS = 3                      -- then a person is muted
local MUTE = 600                        -- seconds
local FLOOD = { count = 5, seconds = 10 }

local bot = trueconf.bot()
bot.data.groups = {}                    -- by chat: banned words, and people with warnings and the end of their mute

bot:use(function(event, next)
  local groups = bot.data.groups
  groups[event.chat_id] = groups[event.chat_id] or { words = {}, people = {} }
  event.state.group = groups[event.chat_id]
  next()
end)

local function file_on(group, user_id)
  local file = group.people[user_id] or { warnings = 0, muted_until = 0 }
  group.people[user_id] = file
  return file
end

local function tell(chat_id, user_id, words)
  local name = bot:get_user_display_name(user_id) or user_id
  local content = text.html(text.html.mention(user_id, name), " ", words)
  assert(bot:send_message(chat_id, tostring(content), { parse_mode = "html" }))
end

local function mute(msg, user_id, seconds)
  file_on(msg.state.group, user_id).muted_until = trueconf.monotonic() + seconds
  tell(msg.chat_id, user_id, ("is muted for %g s."):format(seconds))
end

local function warn(msg, user_id, reason)
  local file = file_on(msg.state.group, user_id)
  file.warnings = file.warnings + 1
  tell(msg.chat_id, user_id, ("%s Warning %d of %d."):format(reason, file.warnings, WARNINGS))
  if file.warnings < WARNINGS then return end
  file.warnings = 0
  mute(msg, user_id, MUTE)
end

-- Without the right to remove messages, the bot only warns.
local function remove(msg)
  local removed, err = msg:remove(true)
  if not removed then bot.log:warn("message %s stays: %s", msg.id, err) end
end

local function banned_word(msg)
  for word in text.fold(msg.text):gmatch "[%w_\x80-\xff]+" do
    if msg.state.group.words[word] then return word end
  end
end

-- For owner and admins -----------------------------------------------------------------------

local office = trueconf.router()
bot:mount(office, filter.group & filter.role("owner", "admin"))

office:on_command("ban", function(msg, args)
  msg.state.group.words[text.fold(args.word)] = true
  assert(msg:reply(("Messages with %q are removed from now on."):format(args.word)))
end, { { "word" }, description = "ban a word" })

office:on_command("allow", function(msg, args)
  msg.state.group.words[text.fold(args.word)] = nil
  assert(msg:reply(("%q is a word like others."):format(args.word)))
end, { { "word" }, description = "allow a word again" })

office:on_command("warn", function(msg, args) warn(msg, args.person, args.reason) end, {
  { "person", type = "user" }, { "reason", type = "text", default = "behave, please." }, description = "warn somebody",
})

office:on_command("mute", function(msg, args) mute(msg, args.person, args.time) end, {
  { "person", type = "user" }, { "time", type = "duration", default = MUTE, min = 1 },
  description = "remove what somebody writes for a while",
})

office:on_command("forgive", function(msg, args)
  msg.state.group.people[args.person] = nil
  tell(msg.chat_id, args.person, "begins anew.")
end, { { "person", type = "user" }, description = "forget warnings and mute" })

-- Other messages of owner and admins are not moderated.
office:default(function() end)

-- For everybody else -------------------------------------------------------------------------

local gate = trueconf.router()
bot:mount(gate, filter.group)

gate:use(function(msg, next)
  if file_on(msg.state.group, msg.author).muted_until > trueconf.monotonic() then remove(msg) else next() end
end)

FLOOD.on_limit = function(msg, _, first)
  remove(msg)
  if first then mute(msg, msg.author, MUTE) end
end
gate:use(middleware.rate_limit(FLOOD))

gate:on_message(banned_word, function(msg)
  remove(msg)
  warn(msg, msg.author, "that word is not for this group.")
end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("moderator: %s\n"):format(err))
  os.exit(1, true)
end
