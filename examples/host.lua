-- SPDX-License-Identifier: MIT
-- A host for groups: greets new members, "/who" lists the participants, "/talkers" counts the messages of each. Add the
-- bot to a group to try it.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/host.lua

local text = require "trueconf.text"
local trueconf = require "trueconf"

local bot = trueconf.bot()

local function name_of(user_id)
  return bot:get_user_display_name(user_id) or user_id
end

bot:on("add_chat_participant", function(event)
  if event.user_id == bot:user_id() then
    assert(bot:send_message(event.chat_id, "Hello all. I know /who and /talkers."))
  else
    local greeting = text.html("Welcome, ", text.html.mention(event.user_id, name_of(event.user_id)), "!")
    assert(bot:send_message(event.chat_id, tostring(greeting), { parse_mode = "html" }))
  end
end)

bot:on_command("who", function(msg)
  local names = {}
  for participant in bot:participants(msg.chat_id) do
    names[#names + 1] = ("%s (%s)"):format(name_of(participant.user_id), participant.role)
  end
  assert(msg:reply(table.concat(names, ", ")))
end, { description = "list the participants" })

-- Reading the whole history takes a while; meanwhile the others see that the bot is typing.
bot:on_command("talkers", function(msg)
  local _ <close> = bot:keep_typing(msg.chat_id)
  local counts, order = {}, {}
  for message in bot:history(msg.chat_id) do
    local author = message.author
    if not message.is_system and author ~= bot:user_id() then
      if not counts[author] then order[#order + 1] = author end
      counts[author] = (counts[author] or 0) + 1
    end
  end
  table.sort(order, function(one, other) return counts[one] > counts[other] end)
  local lines = {}
  for place, author in ipairs(order) do lines[place] = ("%s: %d"):format(name_of(author), counts[author]) end
  assert(msg:reply(table.concat(lines, "\n")))
end, { description = "count who wrote how much" })

assert(bot:run())
