-- SPDX-License-Identifier: MIT
-- A bot that keeps the files of each chat: it saves each file it gets, "list" lists the files, and "get NAME" sends one
-- back.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/archive.lua [FOLDER]
--
-- The folder must exist; after a restart the bot still knows its files. Without a folder the files are saved here, and
-- the bot knows them only while it runs. TRUECONF_URL names the server; the default is the local Bridge.

local filter = require "trueconf.filter"
local trueconf = require "trueconf"

local FOLDER = arg[1] or "."
local LARGEST = 100 * 1000 * 1000       -- bytes

local bot = trueconf.bot { store = arg[1] and FOLDER .. "/archive.db" }

-- The sender chose the file's name, so it must not become a path: each file is saved under the ID of its message.
local function path_of(id)
  return ("%s/%s"):format(FOLDER, id)
end

-- The files of a chat: the IDs of their messages by name.
local function files_of(msg)
  local session = msg.chat_session
  session.files = session.files or {}
  return session.files
end

bot:on_message(filter.file, function(msg)
  local files, name = files_of(msg), msg.file.name or msg.id
  local saved, err = bot:download(msg, { path = path_of(msg.id), max_bytes = LARGEST })
  if not saved then return assert(msg:reply("I could not keep it: " .. err.message)) end
  if files[name] then os.remove(path_of(files[name])) end
  files[name] = msg.id
  assert(msg:reply(("Kept %s, %d bytes."):format(name, saved.size)))
end)

bot:on_text("^list$", function(msg)
  local names = {}
  for name in pairs(files_of(msg)) do names[#names + 1] = name end
  table.sort(names)
  assert(msg:reply(names[1] and table.concat(names, "\n") or "There is nothing yet."))
end)

bot:on_text("^get (.+)$", function(msg, found)
  local name = found[1]
  local id = files_of(msg)[name]
  if not id then return assert(msg:reply("There is no " .. name .. ".")) end
  local sent, err = bot:send_file(msg.chat_id, {
    path = path_of(id), name = name:gsub("[/\\%c]", "_"), reply_to = msg.id,
  })
  if not sent then assert(msg:reply("I could not send it: " .. err.message)) end
end)

bot:default(function(msg) assert(msg:reply "Send me a file, or write list, or get and its name.") end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("archive: %s\n"):format(err))
  os.exit(1, true)
end
