-- SPDX-License-Identifier: MIT
-- A bot and a Bridge, each in a process of its own, are killed at random, with a bad network between them, while
-- people write. At the end, after a quiet time, each message must have one answer, in order. Status 1 if not.
--
--   lua5.4 tools/soak/run.lua SECONDS [SEED]        make soak SECONDS=n SEED=s
--
-- The seed decides when who is killed and what happens to which connection; what meets what is up to the machine.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local soak = require "tools.soak.shared"
local system = require "spec.support.system"

local SECONDS = assert(tonumber(arg[1]), "how many seconds?")
local SEED = math.tointeger(arg[2]) or core.random(2):byte() * 256 + core.random(1):byte()
local QUIET_TIME = 90                   -- seconds that everything may take to settle
local STRAY_TIME = 3                    -- seconds, more than the proxy holds anything back
local SHOWN = 40                        -- lines of the log, and complaints
local LIVES = { bot = { 0.3, 4 }, bridge = { 2, 10 } } -- seconds, at least and at most

local directory <close> = system.directory()
local ports = { bridge = system.free_port() }
repeat ports.proxy = system.free_port() until ports.proxy ~= ports.bridge
local children, kills = {}, { bot = 0, bridge = 0 }

local function launch(name, command)
  children[name] = system.launch(command, { life = SECONDS + 2 * QUIET_TIME, environment = {
    SOAK_DATA = directory:file "data", SOAK_PORT = ports.bridge, SOAK_SEED = SEED + kills.bridge,
    SOAK_QUIET = directory:file "quiet", SOAK_DONE = directory:file "done",
    NUMBERS_FILE = directory:file "numbers", STORE_FILE = directory:file "bot.db",
    TRUECONF_URL = "ws://127.0.0.1:" .. ports.proxy, TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711",
    TRUECONF_LOG = "error",
  } })
end

local LUA = os.getenv "LUA" or "lua5.4"
local start = {
  bot = function() launch("bot", LUA .. " spec/support/posting_bot.lua") end,
  bridge = function() launch("bridge", LUA .. " tools/soak/bridge.lua") end,
}

-- The output of a process is kept: it belongs to the report of a soak that fails.
local log, complaints = {}, {}

local function complain(...)
  complaints[#complaints + 1] = string.format(...)
end

local function bury(name)
  local child = children[name]
  for line in child:log():gmatch "[^\n]+" do log[#log + 1] = name .. ": " .. line end
  child:__close()
  children[name] = nil
end

local function kill(name)
  local status = children[name]:status()
  if status then complain("%s: ended by itself with status %d", name, status) end
  children[name]:kill "KILL"
  kills[name] = kills[name] + 1
  bury(name)
end

local function next_death(name)
  local life = LIVES[name]
  return core.monotonic() + life[1] + math.random() * (life[2] - life[1])
end

-- Kill and start again, until the time is over.
local function trouble()
  local over = core.monotonic() + SECONDS
  local due = { bot = next_death "bot", bridge = next_death "bridge" }
  while core.monotonic() < over do
    local name = due.bot < due.bridge and "bot" or "bridge"
    core.sleep(math.max(0, math.min(due[name], over) - core.monotonic()))
    if core.monotonic() >= over then break end
    kill(name)
    core.sleep(math.random() * 0.3)
    start[name]()
    due[name] = next_death(name)
  end
end

-- The Bridge says when each message has an answer; what was sent twice may still be on its way.
local function settle()
  local stop = core.monotonic() + QUIET_TIME
  repeat
    core.sleep(0.2)
  until system.read(directory:file "done") or core.monotonic() > stop
  core.sleep(STRAY_TIME)
end

local function judge_chat(login, chat)
  local count = {}
  for place, number in ipairs(chat.answered) do
    count[number] = (count[number] or 0) + 1
    local before = chat.answered[place - 1]
    if before and number < before then complain("%s: out of order: %d after %d", login, number, before) end
  end
  for place, number in ipairs(chat.said) do
    if number ~= place then complain("%s: the history is wrong at %d", login, place) end
    if not count[number] then complain("%s: lost: %d", login, number) end
    if (count[number] or 0) > 1 then complain("%s: doubled: %d, %d times", login, number, count[number]) end
  end
end

-- Read the Bridge's data when everybody has ended.
local function judge()
  local server = assert(bridge.start(soak.bridge_options(directory:file "data", 0)))
  local said = 0
  for _, chat in ipairs(soak.chats(server)) do
    local found = soak.read_chat(server, chat)
    said = said + #found.said
    judge_chat(chat.login, found)
  end
  server:stop(true)
  return said
end

local function main()
  math.randomseed(SEED)
  print(("SEED=%d, %g s"):format(SEED, SECONDS))
  launch("proxy", ("/usr/bin/python3 tools/soak/proxy.py %d %d %d"):format(ports.proxy, ports.bridge, SEED))
  start.bridge()
  start.bot()
  trouble()
  system.write(directory:file "quiet", "")
  os.execute("kill -USR1 " .. children.proxy.pid)
  settle()
  for _, name in ipairs { "bot", "bridge", "proxy" } do
    children[name]:kill "TERM"
    bury(name)
  end
  local said = judge()
  if complaints[1] then
    for place = math.max(1, #log - SHOWN), #log do print(log[place]) end
  end
  for place = 1, math.min(#complaints, SHOWN) do print(complaints[place]) end
  print(("%d messages, %d kills of the bot, %d of the Bridge: %d complaints (SEED=%d)"):format(said, kills.bot,
    kills.bridge, #complaints, SEED))
  return said > 0 and #complaints == 0
end

local ok, fine = xpcall(main, debug.traceback)
for name in pairs(children) do children[name]:__close() end
if not ok then print(fine) end
directory:__close()
core.close()
os.exit(ok and fine and 0 or 1)
