-- SPDX-License-Identifier: MIT
-- The script of `make demo`: a Bridge in this process, the bot of examples/order.lua in another one, and two people who
-- talk to it at the same time. In the middle the bot is killed and started again. The processes talk over real HTTP and
-- WebSocket connections.
--
-- The exit code is 0 if every expected answer came.

local trueconf = require "trueconf"
local bridge = require "trueconf.bridge"

local BOT, PASSWORD = "herald", "4711"
local PAUSE = 0.5                       -- seconds a person takes before writing
local PATIENCE = 10                     -- seconds any single step may take
local LIMIT = 60                        -- seconds the whole demo may take

-- The screen ------------------------------------------------------------------------------
-- 80 columns: the time, then a column for each of the two chats.

local WIDTH, GAP = 34, 2
local MARGIN = { Anna = "", Boris = (" "):rep(WIDTH + GAP) }
local STYLES = { dim = "\27[2m", Anna = "\27[36m", Boris = "\27[33m", [BOT] = "\27[32m", bold = "\27[1m" }

io.stdout:setvbuf "line"
local coloured = not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb" and os.execute "test -t 1"

local function styled(text, style)
  return coloured and STYLES[style] .. text .. "\27[0m" or text
end

-- The text in lines of at most `width` characters.
local function wrapped(text, width)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1], line = line, ""
    end
    line = line == "" and word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return lines
end

-- Print an event in the column of `person`.
local function show(person, text, style)
  local time = os.date "%H:%M:%S"
  for _, line in ipairs(wrapped(text, WIDTH)) do
    print(styled(time, "dim") .. "  " .. MARGIN[person] .. styled(line, style))
    time = (" "):rep(#time)
  end
end

-- The heads of the two columns.
local function show_heads()
  local head = "%s's chat with " .. BOT
  print()
  local left = (head:format "Anna" .. MARGIN.Boris):sub(1, #MARGIN.Boris)
  print((" "):rep(10) .. styled(left .. head:format "Boris", "dim"))
end

-- Print an event of the bot.
local function announce(text, ...)
  print(styled(os.date "%H:%M:%S", "dim") .. "  " .. styled("-- " .. text:format(...), "bold"))
end

-- Waiting ---------------------------------------------------------------------------------

-- Fail because an expected answer did not come, without a line of this file, which says nothing.
local function fail(text, ...)
  error(text:format(...), 0)
end

-- Wait until fn() returns something true, for an effect of another process.
local function eventually(what, fn)
  for _ = 1, PATIENCE / 0.02 do
    local value = fn()
    if value then return value end
    trueconf.sleep(0.02)
  end
  fail("%s did not happen within %d s", what, PATIENCE)
end

-- The bot's process -----------------------------------------------------------------------

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The interpreter that runs this script.
local function interpreter()
  local index = -1
  while arg[index - 1] do index = index - 1 end
  return arg[index]
end

-- A shell waits for the bot's end. The bot ignores the user's own settings for bots.
local LAUNCH = [[
box=%s
rm -f "$box/pid" "$box/status"
{ env -u TRUECONF_TOKEN -u TRUECONF_CA_FILE TRUECONF_CONFIG=/dev/null TRUECONF_LOG=info \
    TRUECONF_URL=%s TRUECONF_USERNAME=%s TRUECONF_PASSWORD=%s %s %s >"$box/log" 2>&1 </dev/null &
  echo $! >"$box/pid"; wait $!; echo $? >"$box/status"; } >/dev/null 2>&1 &]]

local Process = {}
Process.__index = Process

local function temporary_directory()
  local pipe = assert(io.popen "mktemp -d")
  local path = pipe:read "l"
  if not pipe:close() then fail "no directory for temporary files could be made" end
  return path
end

local function new_process(server)
  return setmetatable({ server = server }, Process)
end

function Process:note(name)
  return tonumber(read(self.directory .. "/" .. name) or "")
end

-- Start the bot and wait until the Bridge knows it.
function Process:start()
  self.directory = self.directory or temporary_directory()
  local script = (arg[0]:match "^.*/" or "./") .. "order.lua"
  os.execute(LAUNCH:format(quoted(self.directory), quoted(self.server:url()), BOT, PASSWORD, quoted(interpreter()),
    quoted(script)))
  self.pid = eventually("the start of the bot", function() return self:note "pid" end)
  for _ = 1, PATIENCE / 0.02 do
    if self.server:connections(BOT) > 0 then return end
    if self:note "status" then break end
    trueconf.sleep(0.02)
  end
  fail("the bot did not come up; it says:\n%s", read(self.directory .. "/log"))
end

-- Send a signal and wait for the end.
function Process:kill(signal)
  os.execute(("kill -%s %d"):format(signal, self.pid))
  return eventually("the end of the bot", function() return self:note "status" end)
end

-- Leave nothing behind, however the demo ends.
function Process:clean()
  if self.pid and not self:note "status" then os.execute(("kill -KILL %d"):format(self.pid)) end
  if self.directory then os.execute("rm -rf " .. quoted(self.directory)) end
end

-- People ----------------------------------------------------------------------------------

local Speaker = {}
Speaker.__index = Speaker

local function new_speaker(server, name)
  local person = server:person(name:lower())
  return setmetatable({ name = name, person = person, chat = person:chat_with(BOT) }, Speaker)
end

-- Write a line, and show when the bot has read it, that is, has handled it.
function Speaker:say(text)
  trueconf.sleep(PAUSE)
  local message = self.chat:say(text)
  show(self.name, ("%s: %s"):format(self.name, text), self.name)
  trueconf.spawn(function()
    if message:wait_read_by(BOT, PATIENCE) then show(self.name, ("(read: %s)"):format(text), "dim") end
  end)
  return message
end

function Speaker:hear(expected)
  local answer, err = self.person:wait_message(PATIENCE)
  if not answer then fail("%s waits for the answer '%s': %s", self.name, expected, err) end
  show(self.name, ("%s: %s"):format(BOT, answer.text), BOT)
  if answer.text ~= expected then fail("%s expected the answer '%s'", self.name, expected) end
end

-- A dialog: a line to write is followed by the answers that have to come.
function Speaker:talk(dialog)
  for _, step in ipairs(dialog) do
    self:say(step[1])
    for place = 2, #step do self:hear(step[place]) end
  end
end

-- Let people do something at the same time, and wait for all of them.
local function together(...)
  local over = {}
  for place, fn in ipairs { ... } do
    local waiter = trueconf.waiter()
    over[place] = waiter
    trueconf.spawn(function() waiter:wake(pcall(fn)) end)
  end
  for _, waiter in ipairs(over) do
    local ok, err = waiter:wait()
    if not ok then error(err, 0) end
  end
end

-- The play --------------------------------------------------------------------------------

local HELLO = "Hello %s. Write /order to order a T-shirt."
local SIZE, COLOUR = "Which size: small, medium or large?", "And the colour?"
local MOMENT, DONE = "One moment, please.", "One %s T-shirt is on its way, %s."

local function two_dialogs(anna, boris)
  together(function()
    anna:talk {
      { "/order", SIZE },
      { "large", COLOUR },
      { "red", MOMENT, DONE:format("large red", "Anna") },
    }
  end, function()
    trueconf.sleep(PAUSE / 2)
    boris:talk {
      { "Good morning!", HELLO:format "Boris" },
      { "/order", SIZE },
      { "huge", "There is small, medium and large. Which shall it be?" },
      { "medium", COLOUR },
      { "blue", MOMENT, DONE:format("medium blue", "Boris") },
    }
  end)
end

local function crash(anna, boris, process)
  local order = anna:say "/order small green"
  anna:hear(MOMENT)
  process:kill "KILL"
  announce "SIGKILL in the middle of Anna's order"
  local question = boris:say "Are you still there?"
  for _, message in ipairs { order, question } do
    if message:is_read_by(BOT) then fail("'%s' counts as read, but nobody has handled it", message.text) end
  end
  trueconf.sleep(PAUSE)
  announce "Both messages are unread; the bot is started again"
  together(function()
    process:start()
  end, function()
    anna:hear(MOMENT)
    anna:hear(DONE:format("small green", "Anna"))
  end, function()
    boris:hear(HELLO:format "Boris")
  end)
end

local function goodbye(server, process)
  eventually("reading the last message", function() return #server:unread(BOT) == 0 end)
  trueconf.sleep(PAUSE)
  local status = process:kill "TERM"
  if status ~= 0 then fail("the bot ended with status %d", status) end
  announce "SIGTERM: the bot has stopped in good order"
end

local function play(server, process)
  announce("The Bridge listens on %s", server:url())
  process:start()
  announce("%s, the bot of examples/order.lua, is connected: process %d", BOT, process.pid)
  show_heads()
  local anna, boris = new_speaker(server, "Anna"), new_speaker(server, "Boris")
  two_dialogs(anna, boris)
  crash(anna, boris, process)
  goodbye(server, process)
end

-- Ctrl-C ends the demo like a failure: with nothing left behind.
local function run(server)
  local process, over = new_process(server), trueconf.waiter()
  for _, name in ipairs { "SIGINT", "SIGTERM", "SIGHUP" } do
    trueconf.signal(name, function() over:wake(false, "ended by " .. name) end)
  end
  trueconf.spawn(function() over:wake(pcall(play, server, process)) end)
  local ok, err = over:wait(LIMIT)
  process:clean()
  return ok, err
end

local server = assert(bridge.start {
  accounts = { [BOT] = PASSWORD, anna = { display_name = "Anna" }, boris = { display_name = "Boris" } },
})
local ok, err = run(server)
server:stop()
if not ok then
  io.stderr:write("demo: ", tostring(err), "\n")
  os.exit(1, true)
end
print [[

Shown: two dialogs at once, messages marked as read when they were handled, a
crash that lost none, and a stop in good order. Next: read README.md, then
change examples/order.lua and run make demo again.]]
