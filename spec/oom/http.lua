-- SPDX-License-Identifier: MIT
-- Requests with headers, a body and a form; an answer that goes into a file.

local core = require "trueconf.core"

local BASE = os.getenv("OOM_URL"):gsub("^ws", "http")
local PATH = os.tmpname()

require("spec.support.oom_script").run(function()
  local answer, err = core.http {
    url = BASE .. "/bridge/api/client/v1/oauth/token", headers = { ["Content-Type"] = "application/json" },
    body = '{"client_id":"chat_bot","grant_type":"password","username":"herald","password":"4711"}', timeout = 15,
  }
  if not answer then return nil, err end
  assert(answer.status == 201 and answer.body:find "access_token", answer.status)
  answer, err = core.http {
    url = BASE .. "/bridge/api/client/v1/files", headers = { ["Upload-Task-Id"] = "none" }, timeout = 15,
    form = { { name = "file", filename = "plan.txt", type = "text/plain", data = "12345" } },
    on_progress = function() end,
  }
  if not answer then return nil, err end
  assert(answer.status == 400 and answer.body:find "No task", answer.status)
  answer, err = core.http { url = BASE .. "/api/v4/server", save_to = PATH, timeout = 15 }
  if not answer then return nil, err end
  local file <close> = assert(io.open(PATH))
  local text = file:read "a"
  assert(text:find "version", "WRONG: the file holds " .. text)
  os.remove(PATH)
  return true
end)
os.remove(PATH)
