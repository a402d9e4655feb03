-- SPDX-License-Identifier: MIT
-- Signals that stop a program: lua/trueconf/base/stop_signals.lua.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local stop_signals = require "trueconf.base.stop_signals"

describe("signals that stop", function()
  local now, real

  before_each(function()
    now, real = 1000, core.monotonic
    core.monotonic = function() return now end
  end)
  after_each(function() core.monotonic = real end)

  -- Send a signal to this process, and return when it has been handled.
  local function send()
    local arrived = false
    local signal = core.signal("SIGTERM", function() arrived = true end)
    os.execute "kill -TERM $PPID"       -- os.execute() keeps SIGINT away while it waits
    for _ = 1, 3000 do
      if arrived then break end
      core.sleep(0.01)
    end
    signal:close()
    assert.is_true(arrived, "the signal has not arrived")
  end

  it("count as a second one when they come half a second after the first, not before", helper.async(function()
    local first, second, over = {}, {}, core.waiter()
    local _ <close> = stop_signals.watch(function(name)
      table.insert(first, name)
      over:wait()                       -- what stops in good order takes its time
    end, function(name) table.insert(second, name) end)
    send()
    send()
    now = now + 0.49
    send()
    assert.same({ { "SIGTERM" }, {} }, { first, second })
    now = now + 0.01
    send()
    send()
    assert.same({ { "SIGTERM" }, { "SIGTERM", "SIGTERM" } }, { first, second })
    over:wake()
  end))
end)
