-- SPDX-License-Identifier: MIT
-- SIGINT and SIGTERM: the first one shuts down gracefully, a second one at once. Wrappers deliver one Ctrl-C twice, to
-- the group and to the process, so a second signal counts only after a moment.

local core = require "trueconf.core"

local APART = 0.5                       -- seconds

local StopSignals = {}
StopSignals.__index = StopSignals

---Stop watching.
function StopSignals:close()
  for _, signal in ipairs(self) do signal:close() end
end

StopSignals.__close = StopSignals.close

---@class trueconf.StopSignals
---@field close fun(self: trueconf.StopSignals)

---Watch for the signals that stop the program.
---@param on_first fun(name: string) may wait
---@param on_second fun(name: string)
---@return trueconf.StopSignals signals with __close
local function watch(on_first, on_second)
  local signals, since = setmetatable({}, StopSignals), nil
  local function on_signal(name)
    if not since then
      since = core.monotonic()
      on_first(name)
    elseif core.monotonic() - since >= APART then
      on_second(name)
    end
  end
  for index, name in ipairs { "SIGINT", "SIGTERM" } do signals[index] = core.signal(name, on_signal) end
  return signals
end

return { watch = watch }
