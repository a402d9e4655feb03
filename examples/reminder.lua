-- SPDX-License-Identifier: MIT
-- A bot that reminds: "/remind 2h call the dentist" once, "/every 1d water the plants" again and again, "/list" lists
-- the reminders, "/forget 1" removes one.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/reminder.lua
--
-- The bot keeps its reminders in memory: they are lost when the bot ends.

local trueconf = require "trueconf"

local duration = trueconf.duration

local MOST = 100                        -- reminders in one chat
local SHORTEST = 60                     -- seconds between two of "/every"
local LONGEST = 366 * 86400             -- seconds

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

-- The next time counts from the last time, not from now, so that a daily reminder does not drift.
local function schedule(reminder, seconds)
  reminder.due = (reminder.due or trueconf.now()) + math.floor(seconds * 1000)
  reminder.timer = trueconf.timer(math.max(reminder.due - trueconf.now(), 0) / 1000, function()
    if reminder.every then schedule(reminder, reminder.every) else remove(reminder) end
    assert(bot:post(reminder.chat_id, "Reminder: " .. reminder.text)) -- also while the server is away, and only once
  end)
end

-- Add a reminder, and confirm it.
local function take(msg, args, again)
  local list = reminders[msg.chat_id] or {}
  if #list == MOST then return "That is enough for one chat. /forget one first." end
  if args.time > LONGEST then return "That is too far away." end
  if again and args.time < SHORTEST then return "Not more often than every minute, please." end
  reminders[msg.chat_id] = list
  local reminder = { chat_id = msg.chat_id, text = args.text, every = again and args.time or nil }
  list[#list + 1] = reminder
  schedule(reminder, args.time)
  return ("I shall remind you %s %s."):format(again and "every" or "in", duration.format(args.time))
end

bot:on_command("remind", function(msg, args) assert(msg:answer(take(msg, args, false))) end, {
  { "time", type = "duration", description = "such as 30m or 2h" },
  { "text", type = "text" },
  description = "be reminded once",
})

bot:on_command("every", function(msg, args) assert(msg:answer(take(msg, args, true))) end, {
  { "time", type = "duration", description = "such as 1h or 1d" },
  { "text", type = "text" },
  description = "be reminded again and again",
})

bot:on_command("list", function(msg)
  local lines = {}
  for place, reminder in ipairs(reminders[msg.chat_id] or {}) do
    local left = math.ceil((reminder.due - trueconf.now()) / 1000)
    lines[place] = ("%d. in %s: %s"):format(place, duration.format(left), reminder.text)
  end
  assert(msg:answer(lines[1] and table.concat(lines, "\n") or "There is nothing to come."))
end, { description = "show what is to come" })

bot:on_command("forget", function(msg, args)
  local reminder = (reminders[msg.chat_id] or {})[args.number]
  if reminder then remove(reminder) end
  assert(msg:answer(reminder and "Forgotten: " .. reminder.text or "There is no such reminder. /list shows them."))
end, {
  { "number", type = "integer", min = 1, description = "as /list shows it" },
  description = "take a reminder back",
})

local ok, err = bot:run()
if not ok then
  io.stderr:write(("reminder: %s\n"):format(err))
  os.exit(1, true)
end
