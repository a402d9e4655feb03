-- SPDX-License-Identifier: MIT
-- A bot that keeps files: it saves what it is sent, "list" names what there is, and "get NAME"
-- brings it back.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/archive.lua [FOLDER]
--
-- The folder must exist. TRUECONF_URL names the server; without it the bot looks for the local
-- Bridge.

local filter = require "trueconf.filter"
local trueconf = require "trueconf"

local FOLDER = arg[1] or "."
local LARGEST = 100 * 1000 * 1000       -- bytes

local bot = trueconf.bot()
local kept, names = {}, {}

-- What a sender calls a file is no path: no folder, no dots at its beginning.
local function safe(name)
  return (name:gsub("[^%w._-]", "_"):gsub("^%.+", "_"))
end

bot:on_message(filter.file, function(msg)
  local name = safe(msg.file.name or msg.id)
  local saved, err = bot:download(msg, { path = FOLDER .. "/" .. name, max_bytes = LARGEST })
  if not saved then return assert(msg:reply("I could not keep it: " .. err.message)) end
  if not kept[name] then names[#names + 1] = name end
  kept[name] = true
  assert(msg:reply(("Kept %s, %d bytes."):format(name, saved.size)))
end)

bot:on_text("^list$", function(msg)
  assert(msg:reply(names[1] and table.concat(names, "\n") or "There is nothing yet."))
end)

bot:on_text("^get (.+)$", function(msg, found)
  local name = found[1]
  if not kept[name] then return assert(msg:reply("There is no " .. name .. ".")) end
  local sent, err = bot:send_file(msg.chat_id, { path = FOLDER .. "/" .. name, reply_to = msg.id })
  if not sent then assert(msg:reply("I could not send it: " .. err.message)) end
end)

bot:default(function(msg) assert(msg:reply "Send me a file, or write list, or get and its name.") end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("archive: %s\n"):format(err))
  os.exit(1, true)
end
