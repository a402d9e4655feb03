-- SPDX-License-Identifier: MIT
-- How a script of spec/oom ends: its last line is "ok", or "error: " and what failed. Memory that ran out must be told
-- as that; everything else is taken for a fault.

local core = require "trueconf.core"

local script = {}

local LIMIT = 40                        -- seconds; usually a fraction of one

---Run a function in a coroutine, and tell what became of it.
---@param body fun(): any, any nil and an error, or anything else
function script.run(body)
  local over, outcome = false, nil
  core.on_error(function(err, traceback)
    outcome = outcome or ("error: in a coroutine: " .. tostring(err) .. " " .. tostring(traceback))
  end)
  core.spawn(function()
    local ok, result, err = pcall(body)
    if not ok then
      outcome = "error: " .. tostring(result)
    elseif result == nil then
      outcome = "error: " .. tostring(err)
    else
      outcome = outcome or result
    end
    over = true
    core.stop()
  end)
  local ends = core.monotonic() + LIMIT
  local timer = core.timer(LIMIT, core.stop)
  repeat core.run() until over or core.monotonic() > ends or outcome and core.stats().refs == 0
  timer:cancel()
  if not over then outcome = outcome or "error: it hangs" end
  core.close()
  print(outcome == true and "ok" or outcome)
end

return script
