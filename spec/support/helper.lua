-- SPDX-License-Identifier: MIT
-- Shared by the specs: a case that waits, and the check that nothing is left behind.

local core = require "trueconf.core"

local helper = {}

local DEADLINE = 30 -- seconds of real time for one case

-- Objects that are left after a case, before and after the loop is closed.
local function leftovers(stats, names)
  local found = {}
  for _, name in ipairs(names) do
    if (stats[name] or 0) ~= 0 then found[#found + 1] = ("%s = %d"):format(name, stats[name]) end
  end
  return table.concat(found, ", ")
end

local LIVE = { "pending", "coroutines", "refs", "sockets", "transfers" }
local PATIENCE = 1 -- seconds of this process's time

-- Closing takes the loop some turns. Not sleeping: the case may have left the clock standing.
local function settle()
  local stop = os.clock() + PATIENCE
  local left
  repeat
    collectgarbage()
    left = leftovers(core.stats(), LIVE)
    if left == "" then return nil end
    core.step()
  until os.clock() > stop
  return left
end

local function with_traceback(err)
  if type(err) == "string" then return debug.traceback(err, 2) end
  return err
end

local reported

-- Errors of coroutines the case has started count against it, unless it asks for them.
local function collect_errors()
  reported = {}
  core.on_error(function(err, traceback)
    reported[#reported + 1] = traceback ~= "" and traceback or tostring(err)
  end)
end

---Errors of coroutines since the case began; they no longer count against it.
---@return string[]
function helper.reported_errors()
  local errors = reported
  reported = {}
  return errors
end

---Wrap the body of a case: it runs as a coroutine on the loop, and when it is over nothing
---may be left of it: no waiting call, no coroutine, no connection, no handle.
---@param body fun()
---@param deadline? number seconds
---@return fun()
function helper.async(body, deadline)
  return function()
    collect_errors()
    local over = core.waiter()
    core.spawn(function() over:wake(xpcall(body, with_traceback)) end)
    local ok, err = over:wait(deadline or DEADLINE)
    local left = settle()
    core.close()
    local handles = core.stats().handles
    if ok == nil then error("the case did not end in time: " .. tostring(err), 0) end
    if not ok then error(err, 0) end
    if reported[1] then error("a coroutine died: " .. reported[1], 0) end
    if left then error("left over: " .. left, 0) end
    if handles ~= 0 then error(("left over: %d handles"):format(handles), 0) end
  end
end

---Call a function and clean up after it, whether it raises an error or not; the error goes on.
---@param clean_up fun()
---@param body fun(...)
---@param ... any arguments of body
function helper.finally(clean_up, body, ...)
  local ok, err = xpcall(body, with_traceback, ...)
  clean_up()
  if not ok then error(err, 0) end
end

---Run fn until it returns something true, for a condition another process brings about.
---@async
---@param fn fun(): any
---@param deadline? number seconds
function helper.eventually(fn, deadline)
  local stop = core.monotonic() + (deadline or 10)
  while true do
    local value = fn()
    if value then return value end
    if core.monotonic() > stop then error("it did not happen in time", 2) end
    core.sleep(0.01)
  end
end

---@param text string
---@return string in base64
function helper.base64(text)
  return (core.base64url_encode(text):gsub("[-_]", { ["-"] = "+", ["_"] = "/" })) .. ("="):rep(-#text % 3)
end

return helper
