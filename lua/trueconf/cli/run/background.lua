-- SPDX-License-Identifier: MIT
-- The coroutines, timers and signal handlers that the file of a bot starts besides its handlers. When the file is run
-- again, they all end, or they would run twice. Coroutines, timers and signal handlers of handlers stay.

local core = require "trueconf.core"
local trueconf = require "trueconf"

---@class trueconf.cli.Background everything that one run of the file has started
---@field private threads table<thread, true>
---@field private closers table<table, fun()> of timers and signals
---@field private closed boolean
local Background = {}
Background.__index = Background

-- The owner of each coroutine.
---@type table<thread, trueconf.cli.Background>
local owners = setmetatable({}, { __mode = "k" })

local function owner_here()
  return owners[coroutine.running()]
end

---Make this run of the file the owner of the calling coroutine.
function Background:enter()
  local thread = coroutine.running()
  owners[thread], self.threads[thread] = self, true
end

local function spawn(fn, ...)
  local owner = owner_here()
  if not owner then return core.spawn(fn, ...) end
  return core.spawn(function(...)
    if owner.closed then return end -- the file was run again before the coroutine began
    owner:enter()
    fn(...)
  end, ...)
end

local function timer(seconds, fn)
  local owner, made = owner_here(), nil
  if not owner then return core.timer(seconds, fn) end
  made = core.timer(seconds, function()
    owner.closers[made] = nil
    owner:enter()
    fn()
  end)
  owner.closers[made] = function() made:cancel() end
  return made
end

local function signal(name, fn)
  local owner = owner_here()
  if not owner then return core.signal(name, fn) end
  local made = core.signal(name, function(...)
    owner:enter()
    fn(...)
  end)
  owner.closers[made] = function() made:close() end
  return made
end

---End all of them.
function Background:close()
  self.closed = true
  for _, close in pairs(self.closers) do close() end
  self.closers = {}
  for thread in pairs(self.threads) do
    if thread ~= coroutine.running() then core.cancel(thread) end
  end
end

---@return trueconf.cli.Background
local function new()
  return setmetatable({ threads = setmetatable({}, { __mode = "k" }), closers = {}, closed = false },
    Background)
end

---From now on, note each coroutine, timer and signal handler that is started.
local function install()
  trueconf.spawn, trueconf.timer, trueconf.signal = spawn, timer, signal
end

return { new = new, install = install }
