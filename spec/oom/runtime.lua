-- SPDX-License-Identifier: MIT
-- Coroutines, timers, waiters and signals.

local core = require "trueconf.core"

require("spec.support.oom_script").run(function()
  local over, count = core.waiter(), 0
  for number = 1, 100 do
    core.timer(0.001 * number, function() count = count + 1 end)
  end
  local signal = core.signal("SIGUSR1", function() end)
  core.spawn(function()
    core.sleep(0.12)
    over:wake("done")
  end)
  core.before_flush(function() end)
  local sleeper = core.spawn(core.sleep, 60)
  core.sleep(0)
  core.cancel(sleeper)
  local word, err = over:wait(10)
  if count < 100 then core.sleep(0.3) end -- what could not begin at once begins a little later
  signal:close()
  if not word then return nil, err end
  assert(word == "done" and count == 100, "WRONG: " .. count .. " timers fired")
  return true
end)
