-- SPDX-License-Identifier: MIT
-- Many clients in one process, against many_bridge.lua: many_clients.lua bots|sessions N AT_ONCE URL.
-- So many are started at a time. Prints lines "name value": what was reached, what it took.
--
-- Resident memory is measured twice, after one client has done all there is to do (what all share
-- is there by then) and when the rest is ready and idle; the difference is divided by their number.

local core = require "trueconf.core"
local trueconf = require "trueconf"

local LIMIT = 50                        -- seconds any single step may take

local kind, count, at_once, url = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3]), arg[4]

local function say(name, value)
  print(name .. " " .. tostring(value))
end

local function resident()               -- KiB
  for _ = 1, 3 do collectgarbage() end
  for line in io.lines "/proc/self/status" do
    local value = line:match "^VmRSS:%s*(%d+) kB"
    if value then return tonumber(value) end
  end
end

-- Call fn(place) for each of `first` to `last` in a coroutine of its own and wait for all.
local function all(first, last, fn)
  local waiting, over = last - first + 1, core.waiter()
  for place = first, last do
    core.spawn(function()
      local ok, err = fn(place)
      if not ok then error(("client %d: %s"):format(place, err), 0) end
      waiting = waiting - 1
      if waiting == 0 then over:wake(true) end
    end)
  end
  if waiting > 0 then assert(over:wait(LIMIT)) end
end

-- Bots that answer what is said to them, each a member of a chat with the next one.
local function make_bot(place, answers)
  local bot = trueconf.bot { url = url, username = "bot" .. place, password = "x", log = "warn" }
  bot:on_message(function(msg)
    if msg.text:match "^answer" then
      answers[place]:wake(msg.text)
    else
      assert(msg:answer("answer to " .. msg.text))
    end
  end)
  answers[place] = core.waiter()
  return bot
end

local function make_session(place)
  return core.session {
    url = url .. "/websocket/chat_bot/", token_url = url:gsub("^ws", "http") .. "/bridge/api/client/v1/oauth/token",
    username = "bot" .. place, password = "x",
  }
end

-- A bot opens the chat with the next one, says something there, and gets the answer.
local function talk(bots, place, answers)
  local bot, other = bots[place], place % count + 1
  local chat_id, err = bot:create_p2p_chat(("bot%d@localhost"):format(other))
  if not chat_id then return nil, err end
  local sent
  sent, err = bot:send_message(chat_id, "hello from " .. place)
  if not sent then return nil, err end
  local answer
  answer, err = answers[place]:wait(LIMIT)
  if not answer then return nil, err end
  return answer == "answer to hello from " .. place, answer
end

local clients, answers = {}, {}
local function start(place)
  clients[place] = kind == "bots" and make_bot(place, answers) or make_session(place)
  clients[place]:start()
  return clients[place]:wait_ready(LIMIT)
end

core.on_error(function(err)
  io.stderr:write(tostring(err), "\n")
  os.exit(1)
end)
io.stdout:setvbuf "line"
local begun = core.monotonic()
all(1, 1, start)
local before = resident()
for first = 2, count, at_once do all(first, math.min(first + at_once - 1, count), start) end
say("ready_after", ("%.2f"):format(core.monotonic() - begun))
say("ready", #clients)
core.sleep(0.2)                         -- what the last answers have left behind is let go
say("kib_per_client", ("%.2f"):format((resident() - before) / (count - 1)))
if kind == "bots" then
  all(1, count, function(place) return talk(clients, place, answers) end)
  say("talked", count)
  say("talked_after", ("%.2f"):format(core.monotonic() - begun))
  say("kib_per_client_after_talk", ("%.2f"):format((resident() - before) / (count - 1)))
end
all(1, count, function(place)
  clients[place]:stop()
  return true
end)
say("stopped", count)
core.close()
say("handles", core.stats().handles)
