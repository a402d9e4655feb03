-- SPDX-License-Identifier: MIT
-- A poll among the members of a group: /poll asks for the question and the answers to choose from, then
-- asks each member in their personal chat, all at the same time, and shows the result in the group.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/survey.lua
--
-- TRUECONF_URL names the server; the default is the local Bridge.

local filter = require "trueconf.filter"
local text = require "trueconf.text"
local trueconf = require "trueconf"

local OPEN_FOR = 600                    -- seconds a member has for the answer
local MOST = 10                         -- answers to choose from
local BAR = 10                          -- characters of the bar for all votes

local bot = trueconf.bot { ask_defaults = { timeout = 300, on_cancel = "No poll, then." } }

-- "tea, coffee" as a list without doubles.
local function answers_of(msg)
  local list, seen = {}, {}
  for answer in msg.text:gmatch "[^,\n]+" do
    answer = answer:match "^%s*(.-)%s*$"
    local folded = trueconf.text.fold(answer)
    if folded ~= "" and not seen[folded] then
      list[#list + 1], seen[folded] = answer, true
    end
  end
  return #list > 1 and #list <= MOST and list, ("Between 2 and %d answers, please, with commas between."):format(MOST)
end

-- The members of a group except the bot.
local function members_of(chat_id)
  local list, me = {}, bot:user_id():lower()
  for member in bot:participants(chat_id) do
    if member.user_id:lower():match "^[^/]*" ~= me then list[#list + 1] = member.user_id end
  end
  return list
end

-- The choice of one member; nil without an answer. Nobody else can click the buttons of a personal chat.
local function vote_of(user_id, poll)
  local chat_id, err = bot:create_p2p_chat(user_id)
  local vote
  if chat_id then
    vote, err = bot:chat(chat_id):ask(poll.question, {
      choices = poll.answers, timeout = OPEN_FOR, on_cancel = "As you like.", on_timeout = "The poll is closed.",
    })
  end
  if vote then bot:chat(chat_id):send "Thank you." else bot.log:info("no vote of %s: %s", user_id, err) end
  return vote
end

-- Ask all members at once and count the answers; returns when the last one has answered or the time is over.
local function collect(poll)
  local votes, open, over = {}, #poll.members, trueconf.waiter()
  for _, user_id in ipairs(poll.members) do
    trueconf.spawn(function()
      local _ <close> = setmetatable({}, { __close = function()
        open = open - 1
        if open == 0 then over:wake() end
      end })
      local vote = vote_of(user_id, poll)
      if vote then votes[vote] = (votes[vote] or 0) + 1 end
    end)
  end
  if open > 0 then over:wait() end
  return votes
end

local function line_of(answer, count, all)
  local bar = ("\u{2588}"):rep(all > 0 and math.floor(BAR * count / all + 0.5) or 0)
  return ("%s %d %s"):format(bar, count, answer)
end

local function result_of(poll, votes)
  local all = 0
  for _, count in pairs(votes) do all = all + count end
  local lines = { text.html(text.html.bold(poll.question)) }
  for _, answer in ipairs(poll.answers) do
    lines[#lines + 1] = text.html(line_of(answer, votes[answer] or 0, all))
  end
  lines[#lines + 1] = text.html(("%d of %d have answered."):format(all, #poll.members))
  return tostring(text.html.join(lines, "\n"))
end

local function hold(poll, chat)
  local sent, err = chat:send(result_of(poll, collect(poll)), { parse_mode = "html" })
  if not sent then bot.log:error("the result of a poll was not sent: %s", err) end
end

bot:on_command("poll", filter.group, function(msg)
  local poll = { question = assert(msg:ask("What is the question?", { type = "string" })) }
  poll.answers = assert(msg:ask("Which answers are there? Write them with commas between.", { validate = answers_of }))
  poll.members = members_of(msg.chat_id)
  assert(msg:answer(("I am asking %d people now; they have %d minutes."):format(#poll.members, OPEN_FOR // 60)))
  trueconf.spawn(hold, poll, msg.chat) -- in a coroutine of its own, so that the group's handler does not wait
end, { description = "ask all members of this group" })

bot:default(function(msg)
  if filter.private(msg, bot) then assert(msg:reply "Add me to a group, and write /poll there.") end
end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("survey: %s\n"):format(err))
  os.exit(1, true)
end
