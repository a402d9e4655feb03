-- SPDX-License-Identifier: MIT
-- A bot that writes down the text of each message before its handler returns, for specs that kill
-- it. Settings come from the environment; NUMBERS_FILE names the file.

local trueconf = require "trueconf"

local file = assert(io.open(assert(os.getenv "NUMBERS_FILE", "NUMBERS_FILE is not set"), "a"))
file:setvbuf "no"                       -- one write per line: a kill does not cut it

local bot = trueconf.bot { backoff_min = 0.02, backoff_max = 0.1, backoff_jitter = 0.01 }

bot:on_message(function(msg)
  assert(file:write(msg.text .. "\n"))
  trueconf.sleep(0.005)                 -- the kill may come between the work and its acknowledgement
end)

assert(bot:run())
