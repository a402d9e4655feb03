-- SPDX-License-Identifier: MIT
-- A bot that repeats each message, and shows how to handle errors: a lost connection, a message that could not be sent,
-- an error in a handler.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/echo.lua
--
-- TRUECONF_URL names the server; the default is the local Bridge.

local trueconf = require "trueconf"

local bot = trueconf.bot()

bot:on_message(function(msg)
  if msg.text == "" then return end
  local sent, err = msg:answer(msg.text)
  if not sent then
    -- With the outcome "unknown" the text may have arrived; sending it again could send it twice.
    bot.log:error("the answer to %s was not sent (%s): %s", msg.author, err.outcome or "not sent", err)
  end
end)

bot:on_state(function(new, _, err)
  if new == "backoff" then bot.log:warn("no connection, trying again by itself: %s", err) end
end)

bot:on_error(function(_, traceback, msg)
  bot.log:error("while handling %s: %s", msg, traceback)
end)

-- Runs until SIGINT or SIGTERM, or until the bot gives up, as with a wrong password.
local ok, err = bot:run()
if not ok then
  io.stderr:write(("echo: %s\n"):format(err))
  os.exit(1, true)
end
