-- SPDX-License-Identifier: MIT
-- Write a line to somebody from the command line and print the first answer: a way to talk
-- to a bot by hand, from a second account.
--
--   TRUECONF_USERNAME=mira TRUECONF_PASSWORD=... lua5.4 examples/say.lua herald "hello"
--
-- The exit code is 0 if an answer came within ten seconds.

local trueconf = require "trueconf"

local PATIENCE = 10

local function fail(status, message)
  io.stderr:write("say: ", tostring(message), "\n")
  os.exit(status, true)
end

local login, text = arg[1], arg[2]
if not login or not text then fail(2, "expected: say.lua LOGIN TEXT") end

local me = trueconf.bot { log = "error" }
local answered = trueconf.waiter()
local chat_id

me:on_message(function(msg)
  if msg.chat_id == chat_id then answered:wake(msg.text) end
end)

-- A call that waits outside a coroutine runs the loop until it is done, so this reads like any script.
local function say()
  me:start()
  local ok, err = me:wait_ready(PATIENCE)
  if not ok then return nil, err end
  local server = me:user_id():match "@.*$"
  chat_id, err = me:create_p2p_chat(login:find "@" and login or login .. server)
  if not chat_id then return nil, err end
  ok, err = me:send_message(chat_id, text)
  if not ok then return nil, err end
  return answered:wait(PATIENCE)
end

local answer, err = say()
me:stop()
if not answer then fail(1, err) end
print(answer)
