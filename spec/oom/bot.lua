-- SPDX-License-Identifier: MIT
-- A bot sends "ping", hears "pong", and is stopped. Sessions that it has stored are kept.

local core = require "trueconf.core"
local trueconf = require "trueconf"

local NUMBER = os.getenv "OOM_AT" or ""

require("spec.support.oom_script").run(function()
  local bot = trueconf.bot { url = os.getenv "OOM_URL", username = os.getenv "OOM_USER", password = "4711", log = "off",
    stop_timeout = 1 }
  local heard, states = core.waiter(), {}
  local failure
  bot:on_message(function(msg)
    if msg.text == "pong " .. NUMBER then heard:wake(msg.text) end
  end)
  bot:on_state(function(new) states[#states + 1] = new end)
  bot:on_error(function(err) failure = failure or err end)
  bot:start()
  local ok, err = bot:wait_ready(15)
  if not ok then return nil, err end
  ok, err = bot:send_message(os.getenv "OOM_CHAT", "ping " .. NUMBER)
  if not ok then return nil, err end
  local text = heard:wait(10)
  bot:stop()
  if failure then return nil, failure end
  if not text then return nil, "nothing was heard" end
  -- A state that could not be reported for lack of memory is reported a little later.
  for _ = 1, 40 do
    if states[#states] == "closed" then break end
    core.sleep(0.05)
  end
  if states[#states] ~= "closed" then return nil, "the last state was not told: " .. table.concat(states, " ") end
  return true
end)
