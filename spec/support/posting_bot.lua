-- SPDX-License-Identifier: MIT
-- A bot with a store on disk, for specs that kill it: it writes down the id of each message before its
-- handler returns, and posts an answer under the message's text as key. Settings come from the environment;
-- NUMBERS_FILE and STORE_FILE name the files.

local trueconf = require "trueconf"

-- The specs' network is this machine: what a killed bot has sent is there at once.
require("trueconf.bot.outbox").grace = 0.5

local file = assert(io.open(assert(os.getenv "NUMBERS_FILE", "NUMBERS_FILE is not set"), "a"))
file:setvbuf "no"                       -- one write per line: a kill does not cut it

local bot = trueconf.bot {
  store = os.getenv "STORE_FILE", backoff_min = 0.02, backoff_max = 0.1, backoff_jitter = 0.01,
}

bot:on_message(function(msg)
  assert(msg:post("answer to " .. msg.text, { key = msg.text }))
  assert(file:write(msg.text .. " " .. msg.id .. "\n"))
  trueconf.sleep(0.002)                 -- the kill may come between the work and its acknowledgement
end)

assert(bot:run())
