-- SPDX-License-Identifier: MIT
-- A Bridge with a data folder, and people who write numbered messages to its bot. It may be killed at any time: the
-- last number of a chat is that of its history. Settings come from the environment: SOAK_DATA, SOAK_PORT, SOAK_SEED,
-- SOAK_QUIET (when this file is there, nobody writes any more), SOAK_DONE (a file made when all is answered then).

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local soak = require "tools.soak.shared"

local QUIET = os.getenv "SOAK_QUIET"

math.randomseed(math.tointeger(os.getenv "SOAK_SEED"))
local server = assert(bridge.start(soak.bridge_options(os.getenv "SOAK_DATA", math.tointeger(os.getenv "SOAK_PORT"))))

local function quiet()
  local file = io.open(QUIET)
  return file and file:close()
end

core.spawn(function()
  local chats = soak.chats(server)
  for _, chat in ipairs(chats) do chat.number = #soak.read_chat(server, chat).said end
  while not quiet() do
    local chat = chats[math.random(#chats)]
    chat.number = chat.number + 1
    assert(chat.hold:say(chat.login .. " " .. chat.number))
    core.sleep(math.random() * 0.06)
  end
  for _, chat in ipairs(chats) do
    while #soak.read_chat(server, chat).answered < chat.number do core.sleep(0.2) end
  end
  assert(io.open(os.getenv "SOAK_DONE", "w")):close()
end)

core.run()
