-- SPDX-License-Identifier: MIT
-- A file is sent and fetched.

local trueconf = require "trueconf"

local PATH = os.tmpname()

require("spec.support.oom_script").run(function()
  local client = trueconf.client {
    url = os.getenv "OOM_URL", username = os.getenv "OOM_USER", password = "4711", log = "off", receive_unread = false,
  }
  client:start()
  local ok, err = client:wait_ready(15)
  if not ok then return nil, err end
  local bytes = ("12345"):rep(1000)
  local sent
  sent, err = client:send_file(os.getenv "OOM_CHAT", { data = bytes, name = "plan.txt", timeout = 15 })
  if not sent then return nil, err end
  ok, err = client:download(sent.file_id, { path = PATH, timeout = 15 })
  if not ok then return nil, err end
  local file <close> = assert(io.open(PATH))
  assert(file:read "a" == bytes, "WRONG: other bytes")
  client:stop()
  return true
end)
os.remove(PATH)
