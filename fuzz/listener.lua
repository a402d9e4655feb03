-- SPDX-License-Identifier: MIT
-- The server of the core takes any bytes: requests, upgrades and frames, in one packet or in two (a zero byte parts
-- them).
local core = require "trueconf.core"
local peer = require "fuzz.peer"
local socket = require "socket"

peer.watch_errors()

local listener = assert(core.listen {
  websocket_paths = { "/ws" }, max_body = 4096, max_frame = 4096,
  on_http = function(request)
    assert(type(request.path) == "string" and type(request.headers) == "table" and type(request.query) == "table")
    request:respond(200, { ["X-Path"] = "p" }, request.method .. request.body)
  end,
  on_frame = function(connection, data) connection:send(data) end,
})

return function(input)
  local connection = assert(socket.connect("127.0.0.1", listener:port()))
  for piece in (input .. "\0"):gmatch "(%Z*)%z" do
    connection:send(piece)
    peer.turn(function() return not peer.read(connection) end)
  end
  connection:close()
  peer.settle()
end
