-- SPDX-License-Identifier: MIT
-- A session takes any bytes from a server that has let it in: frames, and what is in them.
local core = require "trueconf.core"
local peer = require "fuzz.peer"

peer.watch_errors()

local server, port = peer.server()

-- A text frame as a server sends it.
local function frame(text)
  return #text < 126 and string.pack("BB", 0x81, #text) .. text or string.pack(">BBI2", 0x81, 126, #text) .. text
end

local function let_in(connection)
  local head = ""
  peer.turn(function()
    head = head .. (peer.read(connection) or "")
    return head:find "\r\n\r\n"
  end)
  local key = head:match "[Kk]ey: *([^\r\n]+)"
  if not key then return false end
  connection:send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
    "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: json.v1\r\n\r\n"):format(fuzz_accept(key)))
  peer.turn(function() return (peer.read(connection) or "") ~= "" end)
  return true
end

-- The first byte says whether the input is frames as they are, or what is in one.
return function(input)
  local session
  session = core.session {
    url = ("ws://127.0.0.1:%d/websocket/chat_bot"):format(port), token = "t", backoff_min = 60, max_frame = 4096,
    ping_interval = 0, close_timeout = 0.01, on_state = function() end, on_anomaly = function() end,
    on_request = function(method, payload, _, _, why)
      assert(type(method) == "string" and (payload == nil or not why))
      assert(type(session:payload_text()) == "string")
    end,
  }
  session:start()
  local connection = peer.turn(function() return server:accept() end)
  if connection and let_in(connection) then
    connection:send(frame '{"type":2,"id":1,"payload":{"errorCode":0,"userId":"u@s"}}')
    peer.turn(function() return false end)
    core.spawn(function() session:request("getChats", "{}", 0.05) end)
    peer.turn(function() return false end)
    connection:send(input:byte() == 0 and input:sub(2) or frame(input))
    peer.turn(function() return not peer.read(connection) end)
  end
  if connection then connection:close() end
  core.spawn(function() session:stop() end)
  peer.settle()
end
