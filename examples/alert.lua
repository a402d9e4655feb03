-- SPDX-License-Identifier: MIT
-- Sends an alert from cron or a monitor to a user, or to a chat.
--
--   */5 * * * *  df / | awk '$5+0 > 90' | lua5.4 alert.lua --key "disk $(date +\%F)" mira@chat.example.com
--
-- The text is an argument, or comes from the standard input; without a text there is no alert. With an idempotency key
-- the same alert is sent only once, however often cron runs the script: here once a day. An alert that cannot be sent
-- now is kept, and the next call sends it first. The script prints nothing unless something fails, since cron mails the
-- output.
-- Cron has nearly no environment: write url, username and password into ~/.config/trueconf/config, mode 0600.
--
-- Exit codes: 0 sent, now or before; 1 refused, or it cannot be kept; 2 wrong usage; 75 kept, but not sent yet.

local argparse = require "argparse"
local trueconf = require "trueconf"

local PATIENCE = 30                     -- seconds for the store to be free, and for the server to answer
local MOST = 1 << 20                    -- bytes of the input

local function fail(status, message)
  io.stderr:write("alert: ", tostring(message), "\n")
  os.exit(status, true)
end

local function read_arguments()
  local parser = argparse("alert.lua", "Send an alert.")
  parser:argument("to", "User, LOGIN@SERVER, or the ID of a chat."):argname "TO"
  parser:argument("words", "Text; none: the standard input."):args "*"
  parser:option("--key", "The same alert is sent once under the same key."):argname "KEY"
  parser:option("--store", "File for what waits and the keys that were used."):default "alerts.db":argname "FILE"
  function parser.error(_, message) fail(2, message) end
  return parser:parse()
end

-- The output of programs may be long, and is not always UTF-8: send its beginning.
local function read_text(words)
  local text = words[1] and table.concat(words, " ") or io.read(MOST) or ""
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  return trueconf.text.cut(text:match "^%s*(.-)%s*$")
end

-- Two calls may run at the same time; only one of them can open the file.
local function open_store(path)
  local deadline = trueconf.monotonic() + PATIENCE
  local store, err = trueconf.store.open(path)
  while not store and err.message:find "has it open" and trueconf.monotonic() < deadline do
    trueconf.sleep(0.2)
    store, err = trueconf.store.open(path)
  end
  return store or fail(1, err)
end

-- Send all waiting alerts, also those of earlier calls.
local function send(bot)
  bot:start()
  local deadline = trueconf.monotonic() + PATIENCE
  local ready, err = bot:wait_ready(PATIENCE)
  while ready and bot:outbox().waiting > 0 and trueconf.monotonic() < deadline do trueconf.sleep(0.05) end
  bot:stop(0)
  return err
end

local given = read_arguments()
local text = read_text(given.words)
local store = open_store(given.store)
local bot = trueconf.bot {
  store = store, token_file = given.store .. ".token", log = os.getenv "TRUECONF_LOG" or "error",
}

local alert, err
if text ~= "" then
  local place = given.to:find "@" and "user_id" or "chat_id"
  alert, err = bot:post { [place] = given.to, text = text, key = given.key }
  if not alert then fail(1, err) end
end
if bot:outbox().waiting > 0 then err = send(bot) end

local waiting = bot:outbox().waiting
store:close()
if alert and alert.state == "refused" then fail(1, alert.err) end
if waiting > 0 then
  fail(75, ("%d kept, not sent yet: %s"):format(waiting, err or alert and alert.err or "no answer"))
end
