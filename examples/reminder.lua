-- SPDX-License-Identifier: MIT
-- A bot that reminds: "/remind 2h call the dentist" once, "/every 1d water the plants" again and again, "/list" shows
-- what is to come, "/forget 1" takes it back.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/reminder.lua
--
-- It keeps its reminders in memory: they end with it.

local duration = require "trueconf.duration"
local text = require "trueconf.text"
local trueconf = require "trueconf"

local MOST = 100                        -- reminders in one chat
local SHORTEST = 60                     -- seconds between two of "/every"
local PAUSE = 30                        -- seconds until the next attempt, when the server is away
local HELP = [[
/remind 2h call the dentist
/every 1d water the plants
/list shows what is to come
/forget 1 takes a reminder back]]

local bot = trueconf.bot()
local reminders = {}                    -- by chat, each a list

local function remove(reminder)
  reminder.timer:cancel()
  local list = reminders[reminder.chat_id]
  for place, other in ipairs(list) do
    if other == reminder then table.remove(list, place) end
  end
  if not list[1] then reminders[reminder.chat_id] = nil end
end

-- Nobody is there to repeat it, so the bot does until it is sent, or may be.
local function deliver(reminder)
  local sent, err = bot:send_message(reminder.chat_id, "Reminder: " .. reminder.text)
  while not sent and err.outcome == "not_sent" and err.retryable do
    trueconf.sleep(PAUSE)
    sent, err = bot:send_message(reminder.chat_id, "Reminder: " .. reminder.text)
  end
  if not sent then bot.log:error("a reminder was not sent: %s", err) end
end

-- From its hour on, not from now: a daily reminder does not come later each day.
local function schedule(reminder, seconds)
  reminder.due = (reminder.due or trueconf.now()) + math.floor(seconds * 1000)
  reminder.timer = trueconf.timer(math.max(reminder.due - trueconf.now(), 0) / 1000, function()
    if reminder.every then schedule(reminder, reminder.every) else remove(reminder) end
    deliver(reminder)
  end)
end

local function take(msg, span, words, again)
  local seconds = duration.parse(span or "")
  if not seconds then return "When? In 90s, 2h30m or 1d, for example." end
  if words == "" then return "What shall I remind you of?" end
  if again and seconds < SHORTEST then return "Not more often than every minute, please." end
  local list = reminders[msg.chat_id] or {}
  if #list >= MOST then return "That is enough for one chat. /forget one first." end
  reminders[msg.chat_id] = list
  local reminder = { chat_id = msg.chat_id, text = words, every = again and seconds or nil }
  list[#list + 1] = reminder
  schedule(reminder, seconds)
  return ("I shall remind you %s %s."):format(again and "every" or "in", duration.format(seconds))
end

local commands = {}

function commands.remind(msg, rest)
  local span, words = rest:match "^(%S+)%s*(.-)$"
  return take(msg, span, words or "", false)
end

function commands.every(msg, rest)
  local span, words = rest:match "^(%S+)%s*(.-)$"
  return take(msg, span, words or "", true)
end

function commands.list(msg)
  local lines = {}
  for place, reminder in ipairs(reminders[msg.chat_id] or {}) do
    local left = math.ceil((reminder.due - trueconf.now()) / 1000)
    lines[place] = ("%d. in %s: %s"):format(place, duration.format(left), reminder.text)
  end
  return lines[1] and table.concat(lines, "\n") or "There is nothing to come."
end

function commands.forget(msg, rest)
  local reminder = (reminders[msg.chat_id] or {})[math.tointeger(tonumber(rest))]
  if not reminder then return "There is no such reminder. /list shows them." end
  remove(reminder)
  return ("Forgotten: %s"):format(reminder.text)
end

bot:on_message(function(msg)
  local name, rest = text.command_text(msg.content.text or "", msg.parse_mode):match "^/(%a+)%s*(.*)$"
  local command = commands[name]
  if command then
    assert(msg:answer(command(msg, rest)))
  elseif not msg.in_group then
    assert(msg:answer(HELP))
  end
end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("reminder: %s\n"):format(err))
  os.exit(1, true)
end
