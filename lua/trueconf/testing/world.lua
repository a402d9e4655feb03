-- SPDX-License-Identifier: MIT
-- The environment of a test: virtual time and seeded random numbers, also in `os` and `math`, and a script that has the
-- process to itself. In the end everything is restored. There is one at a time in a process.

local core = require "trueconf.core"
local failure = require "trueconf.testing.failure"
local hooks = require "trueconf.base.hooks"
local trueconf = require "trueconf"

-- luacheck: globals os.time os.date os.exit
local real = { time = os.time, date = os.date, exit = os.exit, run = trueconf.run, stop = trueconf.stop }

---@class trueconf.testing.World
---@field private loaded table<string, boolean> modules that the bot has loaded
---@field private watch_loading fun(name: string)
---@field private over trueconf.core.Waiter trueconf.run() of the bot waits on it
---@field private on_error function? the error handler before the test
local World = {}
World.__index = World

-- The bot runs in coroutines, the test does not.
local function is_test()
  return select(2, coroutine.running())
end

-- Replacements of functions in `os` and trueconf ----------------------------------------------

local function virtual_time(when)
  if when ~= nil then return real.time(when) end
  return core.now() // 1000
end

local function virtual_date(format, time)
  return real.date(format, time or core.now() // 1000)
end

-- A bot that calls os.exit() must not end the tests.
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

-- Runs before the searchers of `require`, notes the module, and finds nothing.
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

-- This module and modules in C exist once in the whole process.
local function is_own(name)
  return not name:find "^trueconf%f[.\0]" and package.searchpath(name, package.path) ~= nil
end

---Separate one run of the bot from the next, as in a new process: its Lua modules are loaded anew, and trueconf.run()
---returns.
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
---@param hold trueconf.Hooks hooks for the bots of the test
---@param on_error fun(err: any, traceback: string) called for each coroutine that dies
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

---Restore everything. Coroutines, timers and connections that are left end with the loop.
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
