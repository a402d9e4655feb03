-- SPDX-License-Identifier: MIT
-- A session that sends one request and prints what came of it: stopped_client.lua URL TIMEOUT. It is to be stopped when
-- it has said that the request is under way.

local core = require "trueconf.core"

local session = core.session { url = arg[1], token = "t" }
session:start()
assert(session:wait_ready(20))
core.timer(0.05, function() io.write "asked\n" io.flush() end)
local answer, err = session:request("getChats", "{}", tonumber(arg[2]))
print("then " .. (answer and "answered" or tostring(err)))
session:stop()
