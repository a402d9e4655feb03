-- SPDX-License-Identifier: MIT
-- A Bridge and its client in one process: either may fail, none may hang or leave the other waiting.

local bridge = require "trueconf.bridge"
local trueconf = require "trueconf"

require("spec.support.oom_script").run(function()
  local server, err = bridge.start { accounts = { herald = "4711", mira = "x" }, password_cost = 1, log = "off" }
  if not server then return nil, err end
  local client = trueconf.client { url = server:url(), username = "herald", password = "4711", log = "off",
    backoff_min = 0.05, backoff_max = 0.1, backoff_jitter = 0, call_timeout = 5, token_timeout = 5, auth_timeout = 5 }
  client:start()
  local ok
  ok, err = client:wait_ready(15)
  if not ok then return nil, err end
  for _ = 1, 3 do                       -- a request or an answer may be the one that is lost
    ok, err = client:create_p2p_chat((client:user_id():gsub("^herald", "mira")))
    if ok then break end
  end
  if not ok then return nil, err end
  client:stop()
  server:stop()
  return true
end)
