-- SPDX-License-Identifier: MIT
-- A handle by which uploads and downloads under way are cancelled. What has the handle as its option `transfer`
-- works in a coroutine of its own; to cancel is to end that coroutine where it waits. So everything it holds
-- hangs on `<close>` variables, and the core takes its request back or closes its connection.

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"

---@class trueconf.Transfer
---@field private cancelled boolean
---@field private calls table<trueconf.TransferCall, true>
local Transfer = {}
Transfer.__index = Transfer

---@class trueconf.TransferCall one that works under a handle
---@field handle trueconf.Transfer
---@field over trueconf.core.Waiter
---@field thread thread
---@field give_up fun(): trueconf.Error

local transfer = {}

---@return trueconf.Transfer
function transfer.new()
  return setmetatable({ cancelled = false, calls = {} }, Transfer)
end

---Fit to be the `check` of an option.
---@param value any
---@return boolean
---@return string expected
function transfer.is(value)
  return getmetatable(value) == Transfer, "must be made by trueconf.transfer()"
end

-- At the drain point, where the coroutine waits or is over; then it has come too late.
local function stop(call)
  if core.cancel(call.thread) then call.over:wake(true, nil, call.give_up()) end
end

---End what is under way with this handle, and all that is given it from now on: those calls return nil and CANCELLED at
---once, connections are closed, temporary files removed. May be called from anywhere, also from `on_progress`, a reader
---or a sink. What is complete stays.
---@return boolean first false: it was cancelled before
function Transfer:cancel()
  if self.cancelled then return false end
  self.cancelled = true
  for call in pairs(self.calls) do core.spawn(stop, call) end
  return true
end

-- The caller is there no longer, or has got its result.
local Call = { __close = function(call)
  call.handle.calls[call] = nil
  core.cancel(call.thread)
end }

local function work(call, fn, ...)
  call.over:wake(pcall(fn, ...))
end

local function begin(handle, give_up, fn, ...)
  local call = setmetatable({ handle = handle, over = core.waiter(), give_up = give_up }, Call)
  call.thread = core.spawn(work, call, fn, ...)
  handle.calls[call] = true
  return call
end

---Do work that waits, so that it can be cancelled by a handle.
---@async
---@param handle trueconf.Transfer? nil: it cannot
---@param give_up fun(): trueconf.Error makes the error for work that has been cancelled
---@param fn fun(...): any, any
---@return any result
---@return any err
function transfer.run(handle, give_up, fn, ...)
  if not handle then return fn(...) end
  if handle.cancelled then return nil, give_up() end
  local call <close> = begin(handle, give_up, fn, ...)
  local ok, result, err = call.over:wait()
  if ok == nil then return nil, result end -- the core is closing
  if not ok then error(result, 0) end
  return result, err
end

misuse.guard(Transfer, "transfer", { "cancel" })

return transfer
