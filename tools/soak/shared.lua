-- SPDX-License-Identifier: MIT
-- Shared by the Bridge of a soak and its judge: people, chats, and what their histories say.

local soak = {}

local PEOPLE = { "mira", "jonas", "edda", "tilo" }
local MOST_MESSAGES = 1000000

---@param data string folder
---@param port integer
function soak.bridge_options(data, port)
  return {
    port = port, data = data, accounts = { herald = "4711" }, password_cost = 1, history_limit = MOST_MESSAGES,
    log = { level = "error" },
  }
end

---@param server trueconf.bridge.Server
---@return { login: string, hold: trueconf.bridge.PersonChat }[]
function soak.chats(server)
  local chats = {}
  for place, login in ipairs(PEOPLE) do
    chats[place] = { login = login, hold = server:person(login):chat_with "herald" }
  end
  return chats
end

---Numbers as they stand in the history of a chat: what the person has said, and what the bot has answered to.
---@return { said: integer[], answered: integer[] }
function soak.read_chat(server, chat)
  local said, answered = {}, {}
  for _, message in ipairs(server:history(chat.hold.id)) do
    local answer, number = message.text:match("^(.-)" .. chat.login .. " (%d+)$")
    if answer == "" then said[#said + 1] = math.tointeger(number)
    elseif answer == "answer to " then answered[#answered + 1] = math.tointeger(number) end
  end
  return { said = said, answered = answered }
end

return soak
