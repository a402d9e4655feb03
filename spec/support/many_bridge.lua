-- SPDX-License-Identifier: MIT
-- A Bridge for many accounts, bot1 to botN, all with the password "x": many_bridge.lua N. Prints its
-- address and runs until SIGTERM.

local core = require "trueconf.core"
local bridge = require "trueconf.bridge"

local count = assert(math.tointeger(arg[1]), "usage: many_bridge.lua N")
-- One cheap hash for all: that each account has a costly one of its own is not what is looked at here.
local accounts, hash = {}, core.crypt_hash_now("x", 1)
for number = 1, count do accounts["bot" .. number] = { password_hash = hash } end
local server = assert(bridge.start { accounts = accounts, max_connections = count + 10 })
local signal
signal = core.signal("SIGTERM", function()
  server:stop()
  signal:close()
end)
io.stdout:setvbuf "line"
print(server:url())
core.run()
