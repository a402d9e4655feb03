-- SPDX-License-Identifier: MIT
-- kit.lua - measures the gain of virtual time, and checks that it runs the same way each time.
-- Lives through a year with a daily reminder, then through the same bad hours again and again, each time in a process
-- of its own, and compares what was said.
--
--   lua5.4 bench/kit.lua [RUNS]       100 runs unless told otherwise
--

local testing = require "trueconf.testing"
local trueconf = require "trueconf"

local YEAR = 365 * 86400
local LUA = arg[-1] or "lua5.4"

local function a_year()
  local began = os.clock()
  local t <close> = testing.start { bot = "examples/reminder.lua" }
  local anna = t:user "anna"
  anna:says "/every 1d water the plants"
  t:expect(anna):hears "I shall remind you every 1d."
  for _ = 1, 365 do
    t:advance "1d"
    t:expect(anna):hears "Reminder: water the plants"
  end
  return os.clock() - began
end

local function make_bot(options)
  local bot = trueconf.bot(options)
  bot:on_message(function(msg)
    local sent, err = msg:answer("seen: " .. msg.text)
    bot.log:debug("%s", sent and sent.message_id or err)
  end)
  return bot
end

-- Tokens that live for a minute, lost connections, slow answers in any order.
local function bad_hours()
  local t <close> = testing.start { bot = make_bot, bridge = { token_lifetime = 60 } }
  for name, value in pairs { delay_up_to = 2, drop = 0.05, token_error = 0.2, expire = 0.2, duplicate = 0.05 } do
    t.bridge:fault { [name] = value }
  end
  local people = { t:user "anna", t:user "boris", t:user "carla" }
  for number = 1, 100 do
    t:advance(math.random(200))
    people[math.random(#people)]:says("number " .. number)
    if math.random(10) == 1 then t:drop() end
  end
  t:advance "10m"
  return t:transcript()
end

local function compare(runs)
  local first, different
  for _ = 1, runs do
    local pipe = assert(io.popen(("%s bench/kit.lua bad-hours"):format(LUA)))
    local text = pipe:read "a"
    assert(pipe:close())
    first = first or text
    different = different or first ~= text
  end
  assert(not different, "the runs differ")
  return #first
end

if arg[1] == "bad-hours" then
  io.write(bad_hours())
else
  local seconds, runs = a_year(), math.tointeger(tonumber(arg[1] or 100))
  print(("a year with a reminder on each day: %.2f s of CPU, %.0f million times as fast as the clock"):format(
    seconds, YEAR / seconds / 1e6))
  print(("%d runs of the same bad hours: the same %d bytes each time"):format(runs, compare(runs)))
end
