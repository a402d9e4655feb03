-- SPDX-License-Identifier: MIT
-- A config file: settings that are text, or CONFIG.
local config = require "trueconf.client.settings"

local path = os.tmpname()

return function(text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
  local settings, err = config.resolve({}, { HOME = "/nonexistent" }, { path })
  if not settings then
    assert(err.name == "CONFIG", tostring(err))
    return
  end
  for key, value in pairs(settings) do assert(type(value) == "string" and value ~= "", key) end
end
