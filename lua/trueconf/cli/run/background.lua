-- SPDX-License-Identifier: MIT
-- What the file of a bot sets going besides its handlers: coroutines, timers and signals. When the file is run anew,
-- all of that ends, or it would be there twice. What handlers set going stays: it belongs to people.

local core = require "trueconf.core"
local trueconf = require "trueconf"

---@class trueconf.cli.Background what one run of the file has set going
---@field private threads table<thread, true>
---@field private closers table<table, fun()> of timers and signals
---@field private closed boolean
local Background = {}
Background.__index = Background

-- Whose a coroutine is.
---@type table<thread, trueconf.cli.Background>
local owners = setmetatable({}, { __mode = "k" })

local function owner_here()
  return owners[coroutine.running()]
end

---Count the coroutine that calls as one of these.
function Background:enter()
  local thread = coroutine.running()
  owners[thread], self.threads[thread] = self, true
end

local function spawn(fn, ...)
  local owner = owner_here()
  if not owner then return core.spawn(fn, ...) end
  return core.spawn(function(...)
    if owner.closed then return end -- it has not begun in time
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

---End all of it.
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

---Let the module notice what is set going from now on.
local function install()
  trueconf.spawn, trueconf.timer, trueconf.signal = spawn, timer, signal
end

return { new = new, install = install }
