-- SPDX-License-Identifier: MIT
-- The world a test lives in: virtual time and seeded chance, also for what the bot asks `os` and
-- `math`, and how all of it is put back. One at a time in a process.

local core = require "trueconf.core"
local failure = require "trueconf.testing.failure"
local seam = require "trueconf.seam"

-- luacheck: globals os.time os.date os.exit
local real = { time = os.time, date = os.date, exit = os.exit }

---@class trueconf.testing.World
---@field private loaded table<string, boolean> modules that were there before
---@field private on_error function? the handler of errors that was there before
local World = {}
World.__index = World

local function virtual_time(when)
  if when ~= nil then return real.time(when) end
  return core.now() // 1000
end

local function virtual_date(format, time)
  return real.date(format, time or core.now() // 1000)
end

-- A bot that gives up must not take the tests along; they run outside of coroutines.
local function guarded_exit(code, close)
  if coroutine.isyieldable() then error(("the bot called os.exit(%s)"):format(tostring(code)), 2) end
  real.exit(code, close)
end

local function check_outside()
  if coroutine.isyieldable() then failure.raise("trueconf.testing must be used outside of coroutines") end
  if core.stats().timers > 0 then
    failure.raise("trueconf.testing needs a loop without timers: something else of this process uses trueconf")
  end
end

local function names_of_loaded()
  local names = {}
  for name in pairs(package.loaded) do names[name] = true end
  return names
end

---Begin one.
---@param options { now: integer?, seed: integer }
---@param hold trueconf.Seam what takes hold of the bots
---@param on_error fun(err: any, traceback: string) is told of coroutines that die
---@return trueconf.testing.World
local function enter(options, hold, on_error)
  check_outside()
  core.virtual_time(true, options.now, options.seed)
  math.randomseed(options.seed)
  os.time, os.date, os.exit = virtual_time, virtual_date, guarded_exit
  for name, fn in pairs(hold) do seam[name] = fn end
  return setmetatable({ loaded = names_of_loaded(), on_error = core.on_error(on_error) }, World)
end

-- Modules of Lua that the bot has loaded are loaded anew by the next one, as in a new process.
function World:unload()
  for name in pairs(package.loaded) do
    if not self.loaded[name] and not name:find "^trueconf%f[.\0]" and package.searchpath(name, package.path) then
      package.loaded[name] = nil
    end
  end
end

---Put everything back. Coroutines, timers and connections that are left end with the loop.
function World:leave()
  core.close()
  core.on_error(self.on_error)
  for name in pairs(seam) do seam[name] = nil end
  os.time, os.date, os.exit = real.time, real.date, real.exit
  math.randomseed()
  self:unload()
end

---Seconds of real time, whole ones.
---@return integer
local function real_time()
  return real.time()
end

return { enter = enter, real_time = real_time }
