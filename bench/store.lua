-- SPDX-License-Identifier: MIT
-- The cost of a data folder: sends messages to a Bridge that keeps them in memory and to one that keeps them on disk,
-- by turns in one process. Prints CPU time per message (client and Bridge together) and the ratio.
--
--   lua5.4 bench/store.lua [MESSAGES] [ROUNDS]

local core = require "trueconf.core"
local trueconf = require "trueconf"
local bridge = require "trueconf.bridge"

local MESSAGES, ROUNDS = math.tointeger(arg[1] or 20000), math.tointeger(arg[2] or 5)
local WINDOW = 64

local function send_all(client, chat_id)
  local sent, left, done = 0, WINDOW, core.waiter()
  local function send()
    while sent < MESSAGES do
      sent = sent + 1
      assert(client:send_message(chat_id, "message " .. sent))
    end
    left = left - 1
    if left == 0 then done:wake(true) end
  end
  for _ = 1, WINDOW do core.spawn(send) end
  done:wait()
end

-- Microseconds of CPU per message.
local function measure(folder)
  local server = assert(bridge.start {
    data = folder, accounts = { herald = "4711", mira = "x" }, password_cost = 1, history_limit = 1000000,
    unread_limit = 1000000,
  })
  local client = trueconf.client { url = server:url(), username = "herald", password = "4711", log = "off" }
  client:start()
  local chat_id = assert(client:create_p2p_chat "mira@localhost")
  local begun = os.clock()
  send_all(client, chat_id)
  local spent = (os.clock() - begun) / MESSAGES * 1e6
  client:stop()
  server:stop()
  return spent
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

core.spawn(function()
  local folder, memory, disk = os.tmpname(), {}, {}
  os.remove(folder)
  for round = 1, ROUNDS do
    memory[round], disk[round] = measure(nil), measure(folder)
    os.execute("rm -rf '" .. folder .. "'")
  end
  local in_memory, on_disk = median(memory), median(disk)
  print(("a message kept: %.1f us of CPU in memory, %.1f us on disk, ratio %.2f"):format(
    in_memory, on_disk, on_disk / in_memory))
end)
core.run()
