-- SPDX-License-Identifier: MIT
-- Error codes of the server by name (protocol: error codes). The table itself is the C core's,
-- which classifies answers by it; here is what else there is to know of a code.

local core = require "trueconf.core"
local versions = require "trueconf.protocol.versions"

local codes = {}

---@type table<string, integer> errorCode by name
codes.by_name = {}

---@type table<integer, trueconf.ErrorName>
codes.by_code = {}

for _, entry in ipairs(core.error_table()) do
  if entry.code then codes.by_name[entry.name], codes.by_code[entry.code] = entry.code, entry end
end

local FIRST_NEW, NEW_SINCE = 399, "5.5.6"

-- Codes of older servers in place of the codes that came with 5.5.6.
local BEFORE = { [404] = "FILE_NOT_FOUND", [405] = "FILE_NOT_READY" }

---The version of the server that brought a code.
---@param code integer
---@return string
function codes.since(code)
  return code >= FIRST_NEW and NEW_SINCE or versions.OLDEST
end

---The code that a server of `version` uses for what now is `code`. Only 399 has none before
---5.5.6: older servers do not answer at all (protocol: odd input).
---@param code integer
---@param version string
---@return integer? code
function codes.at(code, version)
  if versions.since(version, codes.since(code)) then return code end
  if code == FIRST_NEW then return nil end
  return codes.by_name[BEFORE[code] or "FILE_UPLOAD_FAILED"]
end

return codes
