-- SPDX-License-Identifier: MIT
-- Runs raw_client.py beside the loop: a TCP client that sends what no HTTP library would.

local helper = require "spec.support.helper"

local raw_client = {}

-- Other programs are not for the sanitizer that may be preloaded here.
local COMMAND = "env -u LD_PRELOAD /usr/bin/python3 spec/support/python/raw_client.py %d %s.steps %s.out >%s.log 2>&1 &"
local DEADLINE = 25 -- seconds

---Run the steps and return what was received.
---@async
---@param port integer
---@param ... string steps of raw_client.py
---@return string
function raw_client.run(port, ...)
  local base = os.tmpname()
  local file = assert(io.open(base .. ".steps", "wb"))
  file:write(table.concat({ ... }, "\n"), "\n")
  file:close()
  os.execute(COMMAND:format(port, base, base, base))
  file = helper.eventually(function() return io.open(base .. ".out", "rb") end, DEADLINE)
  local text = file:read "a"
  file:close()
  for _, suffix in ipairs { "", ".steps", ".out", ".log" } do os.remove(base .. suffix) end
  return text
end

---The statuses of the answers in what was received, separated by spaces.
---@param text string
---@return string
function raw_client.statuses(text)
  local list = {}
  for status in text:gmatch "HTTP/1%.1 (%d+)" do list[#list + 1] = status end
  return table.concat(list, " ")
end

return raw_client
