-- SPDX-License-Identifier: MIT
-- The world a test lives in: virtual time and seeded chance, also for what the bot asks `os` and
-- `math`, a script that believes it has the process to itself, and how all of it is put back.
-- One at a time in a process.

local core = require "trueconf.core"
local failure = require "trueconf.testing.failure"
local hooks = require "trueconf.base.hooks"
local trueconf = require "trueconf"

-- luacheck: globals os.time os.date os.exit
local real = { time = os.time, date = os.date, exit = os.exit, run = trueconf.run, stop = trueconf.stop }

---@class trueconf.testing.World
---@field private loaded table<string, boolean> modules that the bot has asked for and were not there
---@field private watch_loading fun(name: string)
---@field private over trueconf.core.Waiter where trueconf.run() of the bot waits for its end
---@field private on_error function? the handler of errors that was there before
local World = {}
World.__index = World

-- The bot runs in coroutines, the test does not.
local function is_test()
  return select(2, coroutine.running())
end

-- What stands for functions of `os` and of trueconf -------------------------------------------

local function virtual_time(when)
  if when ~= nil then return real.time(when) end
  return core.now() // 1000
end

local function virtual_date(format, time)
  return real.date(format, time or core.now() // 1000)
end

-- A bot that gives up must not take the tests along.
local function guarded_exit(code, close)
  if is_test() then real.exit(code, close) end
  error(("the bot called os.exit(%s)"):format(tostring(code)), 2)
end

-- The loop runs already, under the test.
function World:run()
  if is_test() then return real.run() end
  self.over:wait()
end

function World:stop()
  if is_test() then return real.stop() end
  self.over:wake(true)
end

-- Modules -------------------------------------------------------------------------------------

-- Stands before the searchers of `require`, and finds nothing.
local function watch_loading(self)
  return function(name)
    if not is_test() then self.loaded[name] = true end
  end
end

local function remove(list, value)
  for index, other in ipairs(list) do
    if other == value then return table.remove(list, index) end
  end
end

-- Of this module and of those in C there is one for the whole process.
local function is_own(name)
  return not name:find "^trueconf%f[.\0]" and package.searchpath(name, package.path) ~= nil
end

---The bot begins, or ends: it shares nothing with the next one. Modules of Lua that it has loaded are loaded anew,
---as in a new process, and trueconf.run() returns.
function World:part()
  self.over:wake(true)
  self.over = core.waiter()
  for name in pairs(self.loaded) do
    if is_own(name) then package.loaded[name] = nil end
  end
  self.loaded = {}
end

-- Begin and end -------------------------------------------------------------------------------

local function check_outside()
  if not is_test() then failure.raise "trueconf.testing must be used outside of coroutines" end
  if core.stats().timers > 0 then
    failure.raise "trueconf.testing needs a loop without timers: something else of this process uses trueconf"
  end
end

---Begin one.
---@param options { now: integer?, seed: integer }
---@param hold trueconf.Hooks what takes hold of the bots
---@param on_error fun(err: any, traceback: string) is told of coroutines that die
---@return trueconf.testing.World
local function enter(options, hold, on_error)
  check_outside()
  core.virtual_time(true, options.now, options.seed)
  math.randomseed(options.seed)
  local self = setmetatable({ loaded = {}, over = core.waiter() }, World)
  os.time, os.date, os.exit = virtual_time, virtual_date, guarded_exit
  trueconf.run, trueconf.stop = function() self:run() end, function() self:stop() end
  self.watch_loading = watch_loading(self)
  table.insert(package.searchers, 1, self.watch_loading)
  for name, fn in pairs(hold) do hooks[name] = fn end
  self.on_error = core.on_error(on_error)
  return self
end

---Put everything back. Coroutines, timers and connections that are left end with the loop.
function World:leave()
  core.close()
  core.on_error(self.on_error)
  for name in pairs(hooks) do hooks[name] = nil end
  remove(package.searchers, self.watch_loading)
  trueconf.run, trueconf.stop = real.run, real.stop
  os.time, os.date, os.exit = real.time, real.date, real.exit
  math.randomseed()
  self:part()
end

---Seconds of real time, whole ones.
---@return integer
local function real_time()
  return real.time()
end

return { enter = enter, real_time = real_time }
