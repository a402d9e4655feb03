-- SPDX-License-Identifier: MIT
-- The error object: `name` is stable and the only field to branch on, `message` is for people. The names and the
-- metatable live in the C core, which makes most of these errors.

local core = require "trueconf.core"

-- The error of a wait in a wrong place names a line of the script, not one of this module.
local folder = debug.getinfo(1, "S").source:match "^(.*)base/error%.lua$"
if folder then core.library(folder) end

---@class trueconf.Error
---@field name string stable, a key of Error.names
---@field message string for people; its wording may change
---@field code? integer the source's own number: errorCode, HTTP status, close code
---@field method? string the request that failed
---@field op? string what was being done, when it was no request
---@field outcome? "not_sent"|"unknown"|"rejected" whether the request was carried out
---@field retry_after? number seconds that the server asks to wait
---@field retryable boolean whether the same call may succeed later
---@field cause? any the error this one comes from

---@class trueconf.ErrorName
---@field name string
---@field code? integer errorCode of the server (protocol: Error codes)
---@field class "retry"|"auth"|"fatal"|"request"|"done"
---@field meaning string

---@class trueconf.ErrorExtra
---@field code? integer
---@field method? string
---@field op? string
---@field outcome? "not_sent"|"unknown"|"rejected"
---@field retry_after? number seconds that the other side asks to wait
---@field cause? any

local Error = {}

---All stable names.
---@type table<string, trueconf.ErrorName>
Error.names = {}

local by_code = {}

for _, entry in ipairs(core.error_table()) do
  Error.names[entry.name] = entry
  if entry.code then by_code[entry.code] = entry end
end

---Make an error. An unknown name or field is misuse.
---@type fun(name: string, message: string, extra?: trueconf.ErrorExtra): trueconf.Error
Error.new = core.error

---@param value any
---@return boolean
function Error.is(value)
  return type(value) == "table" and getmetatable(value) == core.Error
end

-- The one code after which the request may have been carried out (protocol: Error codes).
local OPERATION_TIMEOUT = 301

---The error that an errorCode stands for; one without a name of its own is SERVER.
---@param code integer (protocol: Error codes)
---@param method? string the request it answers
---@param description? string the server's own words
---@return trueconf.Error
function Error.from_code(code, method, description)
  local entry = by_code[code] or Error.names.SERVER
  local message = description ~= "" and description or entry.meaning
  local outcome = code == OPERATION_TIMEOUT and "unknown" or "rejected"
  return core.error(entry.name, message, { code = code, method = method, outcome = outcome })
end

return Error
