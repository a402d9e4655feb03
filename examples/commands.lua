-- SPDX-License-Identifier: MIT
-- A list of chores for each chat, kept by commands: /add, /list, /done, and /clear for the owner of the group. The bot
-- makes /help from them.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/commands.lua [FILE]
--
-- The lists are kept in the file; without a file they are lost when the bot ends. TRUECONF_URL names the server; the
-- default is the local Bridge.

local filter = require "trueconf.filter"
local trueconf = require "trueconf"

local MOST = 50                         -- chores of a chat

local bot = trueconf.bot { store = arg[1] }

-- The chat's list, for every handler. The bot stores the session.
bot:use(function(msg, next)
  local session = msg.chat_session
  session.chores = session.chores or {}
  msg.state.chores = session.chores
  next()
end)

local function shown(number, chore)
  local due = chore.within and (" (within %d min)"):format(chore.within // 60) or ""
  return ("%d. %s%s%s"):format(number, chore.urgent and "! " or "", chore.text, due)
end

bot:on_command({ "add", "a" }, function(msg, args)
  local chores = msg.state.chores
  if #chores == MOST then return assert(msg:reply "The list is full.") end
  chores[#chores + 1] = { text = args.text, urgent = args.urgent, within = args.within }
  assert(msg:reply("Noted: " .. shown(#chores, args)))
end, {
  { "urgent", type = "boolean" },
  { "within", type = "duration", named = true, optional = true, description = "such as 30m or 2h" },
  { "text", type = "text" },
  description = "put a chore on the list",
})

bot:on_command("list", function(msg)
  local lines = {}
  for number, chore in ipairs(msg.state.chores) do lines[number] = shown(number, chore) end
  assert(msg:reply(lines[1] and table.concat(lines, "\n") or "Nothing to do."))
end, { description = "show the list" })

bot:on_command("done", function(msg, args)
  local chores = msg.state.chores
  local chore = chores[args.number] and table.remove(chores, args.number)
  assert(msg:reply(chore and "Well done: " .. chore.text or "There is no such chore."))
end, {
  { "number", type = "integer", min = 1 },
  description = "take a chore off the list",
})

bot:on_command("clear", filter.private | filter.role("owner", "admin"), function(msg)
  msg.chat_session.chores = nil
  assert(msg:reply "The list is empty.")
end, { description = "begin anew" })

bot:on_unknown_command(function(msg, command)
  assert(msg:reply(("I do not know /%s. /help tells what I can do."):format(command.name)))
end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("commands: %s\n"):format(err))
  os.exit(1, true)
end
