-- SPDX-License-Identifier: MIT
-- The Bridge that conformance.py and the specs of odd frames talk to, in a process of its own; its argument is the
-- version to play, by default the newest. Prints one line of JSON, what a client must know, and runs until SIGTERM.
-- Mira, beside what her connections do, clicks on every command button she sees.

local core = require "trueconf.core"
local bridge = require "trueconf.bridge"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

local server = assert(bridge.start {
  server_name = "chat.acme.test",
  accounts = { herald = "4711", sora = "0815", mira = "x", noah = "y" },
  password_cost = 1,
  oauth_applications = { app = { scopes = { "version:read" } }, bare = { scopes = {} } },
  version = arg[1],
  ping_interval = 0.5,
  upload_limits = { max_size = 50000000, extensions = { mode = "block", list = { "exe", "bat" } } },
})

local mira = server:person "mira"
mira:on_message(function(message)
  for _, row in ipairs(message.buttons or {}) do
    for _, button in ipairs(row) do
      if button.type == protocol.enums.ButtonType.COMMAND then
        mira:click(message, button.id or button.label)
      end
    end
  end
end)

local signal
signal = core.signal("SIGTERM", function()
  server:stop()
  signal:close()
end)

io.stdout:setvbuf "line"
print(json.encode {
  url = server:url(),
  token = server:mint_token "herald",
  expired_token = server:mint_token("herald", { expires_in = -60 }),
})
core.run()
