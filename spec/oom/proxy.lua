-- SPDX-License-Identifier: MIT
-- A client and a request by way of a proxy. The name of the server means something to the proxy alone: without it
-- nothing is found, and a connection that is made has gone through it.

local core = require "trueconf.core"
local trueconf = require "trueconf"

require("spec.support.oom_script").run(function()
  local file <close> = assert(io.open(os.getenv "OOM_PROXY_FILE"))
  local proxy = "http://user:secret@127.0.0.1:" .. file:read "a"
  local url = os.getenv("OOM_URL"):gsub("127%.0%.0%.1", "server.test")
  local answer, err = core.http { url = url:gsub("^ws", "http") .. "/api/v4/server", proxy = proxy, timeout = 15 }
  if not answer then return nil, err end
  assert(answer.status == 405)          -- of the proxy, which only takes CONNECT
  local client = trueconf.client {
    url = url, token = os.getenv "OOM_TOKEN", proxy = proxy, allow_plaintext = true, log = "off",
    receive_unread = false,
  }
  client:start()
  local ok
  ok, err = client:wait_ready(15)
  if not ok then return nil, err end
  client:stop()
  return true
end)
