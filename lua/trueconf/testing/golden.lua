-- SPDX-License-Identifier: MIT
-- Golden files: expected texts, which somebody has once checked.

local diff = require("trueconf.testing.diff").diff

local VARIABLE = "TRUECONF_GOLDEN"
local ADVICE = ("run the test with %s=write to keep what it gives now"):format(VARIABLE)

local golden = {}

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return (text:gsub("\r\n", "\n"))
end

local function write(path, text)
  local file, err = io.open(path, "wb")
  if not file then return "cannot write the golden file " .. err end
  file:write(text)
  file:close()
end

---Compare a text with a golden file, or write the file with TRUECONF_GOLDEN=write.
---@param path string
---@param text string
---@return string? complaint
function golden.check(path, text)
  local known = read(path)
  if known == text then return nil end
  if os.getenv(VARIABLE) == "write" then return write(path, text) end
  if not known then return ("there is no golden file %s; %s"):format(path, ADVICE) end
  return ("the transcript is not that of %s (-), but this (+):\n%s\n%s"):format(path, diff(known, text), ADVICE)
end

return golden
