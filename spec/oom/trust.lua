-- SPDX-License-Identifier: MIT
-- The trust of a client: it connects with the authority, but not with a wrong pin or without the authority.

local core = require "trueconf.core"
local trueconf = require "trueconf"

local PIN = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
local URL, CA = os.getenv "OOM_TLS_URL", os.getenv "OOM_CA"

local function reach(tls)
  local answer, err = core.http { url = URL:gsub("^ws", "http") .. "/api/v4/server", tls = tls, timeout = 15 }
  if not answer then return nil, err end
  local client = trueconf.client {
    url = URL, username = "herald", password = "4711", tls = tls, log = "off", receive_unread = false, max_denials = 1,
    backoff_min = 20,
  }
  client:start()
  local ok
  ok, err = client:wait_ready(15)
  client:stop()
  return ok, err
end

require("spec.support.oom_script").run(function()
  local ok, err = reach { ca_file = CA }
  if not ok then return nil, err end
  for _, tls in ipairs { { ca_file = CA, pin = PIN }, {} } do
    local answer
    answer, err = core.http { url = URL:gsub("^ws", "http") .. "/api/v4/server", tls = tls, timeout = 15 }
    assert(not answer, "WRONG: it was let through by http")
    if err.name ~= "TLS" then return nil, err end
    local socket
    socket, err = core.socket { url = URL .. "/websocket/chat_bot/", tls = tls }
    assert(not socket, "WRONG: it was let through")
    if err.name ~= "TLS" then return nil, err end
  end
  return true
end)
