-- SPDX-License-Identifier: MIT
-- The HTTP client takes any answer: a response, or an error with a name.
local core = require "trueconf.core"
local peer = require "fuzz.peer"

peer.watch_errors()

local server, port = peer.server()

return function(input)
  local over
  core.spawn(function()
    local response, err = core.http { url = ("http://127.0.0.1:%d/"):format(port), timeout = 2, max_body = 4096 }
    assert(response and math.type(response.status) == "integer" or err.name, "neither a response nor an error")
    over = true
  end)
  local connection = peer.turn(function() return server:accept() end)
  assert(connection, "no connection came")
  peer.turn(function() return (peer.read(connection) or "") ~= "" end)
  connection:send(input)
  peer.turn(function() return over end)
  connection:close()
  peer.settle()
end
