-- SPDX-License-Identifier: MIT
-- Cancel tokens cancel running uploads and downloads. A call with the option `cancel` works in a coroutine of its own;
-- cancelling ends that coroutine where it waits. So all of its resources are in `<close>` variables, and the core takes
-- its request back or closes its connection.

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"

---@class trueconf.CancelToken
---@field private cancelled boolean
---@field private calls table<trueconf.CancellableCall, true>
local CancelToken = {}
CancelToken.__index = CancelToken

---@class trueconf.CancellableCall a call with a token
---@field token trueconf.CancelToken
---@field over trueconf.core.Waiter
---@field thread thread
---@field give_up fun(): trueconf.Error

local cancel_token = {}

---@return trueconf.CancelToken
function cancel_token.new()
  return setmetatable({ cancelled = false, calls = {} }, CancelToken)
end

---Fit to be the `check` of an option.
---@param value any
---@return boolean
---@return string expected
function cancel_token.is(value)
  return getmetatable(value) == CancelToken, "must be made by trueconf.cancel_token()"
end

-- Runs at the drain point: the coroutine waits, or it has ended and the token came too late.
local function stop(call)
  if core.cancel(call.thread) then call.over:wake(true, nil, call.give_up()) end
end

---Cancel all calls with this token, also later ones: they return nil and CANCELLED at once, their connections are
---closed and their temporary files removed. May be called from anywhere, also from `on_progress`, a reader or a sink.
---A complete file stays.
---@return boolean first false: the token was cancelled before
function CancelToken:cancel()
  if self.cancelled then return false end
  self.cancelled = true
  for call in pairs(self.calls) do core.spawn(stop, call) end
  return true
end

-- The caller has ended, or has got its result.
local Call = { __close = function(call)
  call.token.calls[call] = nil
  core.cancel(call.thread)
end }

local function work(call, fn, ...)
  call.over:wake(pcall(fn, ...))
end

local function begin(token, give_up, fn, ...)
  local call = setmetatable({ token = token, over = core.waiter(), give_up = give_up }, Call)
  call.thread = core.spawn(work, call, fn, ...)
  token.calls[call] = true
  return call
end

---Run a function that waits, so that a token can cancel it.
---@async
---@param token trueconf.CancelToken? nil: run it without a token
---@param give_up fun(): trueconf.Error makes the error of a cancelled call
---@param fn fun(...): any, any
---@return any result
---@return any err
function cancel_token.run(token, give_up, fn, ...)
  if not token then return fn(...) end
  if token.cancelled then return nil, give_up() end
  local call <close> = begin(token, give_up, fn, ...)
  local ok, result, err = call.over:wait()
  if ok == nil then return nil, result end -- the core is closing
  if not ok then error(result, 0) end
  return result, err
end

misuse.guard(CancelToken, "cancel_token", { "cancel" })

return cancel_token
