-- SPDX-License-Identifier: MIT
local trueconf = require "trueconf"
local bot = trueconf.bot()
bot:on_message(function(msg) assert(msg:reply("Hello! You said: " .. msg.text)) end)
assert(bot:run())
