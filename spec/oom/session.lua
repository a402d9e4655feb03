-- SPDX-License-Identifier: MIT
-- A client logs in by its password, asks, sends, and stops.

local trueconf = require "trueconf"

require("spec.support.oom_script").run(function()
  local client = trueconf.client {
    url = os.getenv "OOM_URL", username = os.getenv "OOM_USER", password = "4711", log = "off", receive_unread = false,
    on_trace = function() end,
  }
  client:start()
  local ok, err = client:wait_ready(15)
  if not ok then return nil, err end
  local name
  name, err = client:get_user_display_name(client:user_id())
  if not name then return nil, err end
  assert(name == os.getenv "OOM_USER", name)
  local sent
  sent, err = client:send_message(os.getenv "OOM_CHAT", "ping")
  if not sent then return nil, err end
  assert(sent.id and sent.chat_id == os.getenv "OOM_CHAT")
  client:stop()
  assert(client:state() == "closed")
  return true
end)
