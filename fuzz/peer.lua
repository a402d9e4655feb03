-- SPDX-License-Identifier: MIT
-- A TCP peer beside the loop of the core, for harnesses whose input is a stream of bytes.
local core = require "trueconf.core"
local socket = require "socket"

local peer = {}

local TURNS = 40                        -- of the loop, for one step of a connection

---Turn the loop until `ready` returns something true; false: it did not in time.
function peer.turn(ready)
  for _ = 1, TURNS do
    core.step()
    local value = ready()
    if value then return value end
  end
  return false
end

---Turn the loop until nothing of a connection is left, so that one input does not reach into the next.
function peer.settle()
  for _ = 1, 100 * TURNS do
    core.step()
    local stats = core.stats()
    if stats.sockets == 0 and stats.transfers == 0 and stats.coroutines == 0 then return end
  end
  error(("left over: %d sockets, %d transfers, %d coroutines"):format(core.stats().sockets, core.stats().transfers,
    core.stats().coroutines))
end

---Where another party may connect to.
---@return table server
---@return integer port
function peer.server()
  local server = assert(socket.bind("127.0.0.1", 0))
  server:settimeout(0)
  return server, select(2, server:getsockname())
end

---Read the bytes that have come, without waiting; false: the connection has ended.
function peer.read(connection)
  connection:settimeout(0)
  local all, err, some = connection:receive "*a"
  local data = all or some or ""
  return (data ~= "" or err == "timeout") and data
end

---An error in any coroutine is a finding.
function peer.watch_errors()
  core.on_error(function(err, traceback)
    io.stderr:write(tostring(err), "\n", traceback, "\n")
    os.exit(77)
  end)
end

return peer
