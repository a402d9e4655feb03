-- SPDX-License-Identifier: MIT
-- Files of environment variables, NAME=value to a line, as systemd and shells read them. What the process has already
-- stands above them.

local core = require "trueconf.core"

-- luacheck: globals os.getenv

local function unquoted(text)
  return text:match "^\"(.*)\"$" or text:match "^'(.*)'$" or text
end

-- The variables of a text, or nil and what is wrong with it; no value is told.
local function parse(text, path)
  local found, number = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    if not line:find "^%s*$" and not line:find "^%s*[#;]" then
      local name, value = line:match "^%s*([%a_][%w_]*)=(.-)%s*$"
      if not name then return nil, ("%s:%d: expected NAME=value"):format(path, number) end
      found[name] = unquoted(value)
    end
  end
  return found
end

---Add the variables of a file to what os.getenv() tells.
---@param path string only its owner may read it
---@return true? ok
---@return string? complaint
local function add(path)
  local text, err = core.read_private(path)
  if not text then return nil, err and err.message or "there is no file " .. path end
  local found, complaint = parse(text, path)
  if not found then return nil, complaint end
  local getenv = os.getenv
  function os.getenv(name) return getenv(name) or found[name] end
  return true
end

---Set a variable for this program.
---@param name string
---@param value string
local function set(name, value)
  local getenv = os.getenv
  function os.getenv(asked)
    if asked == name then return value end
    return getenv(asked)
  end
end

return { add = add, set = set }
