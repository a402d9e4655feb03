-- SPDX-License-Identifier: MIT
-- The limits of uploads: the options of an administrator, and their wire format (protocol: UploadLimits).

local json = require "trueconf.base.json"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

---@class trueconf.bridge.UploadLimits
---@field max_size? integer bytes; nil: any size
---@field extensions? { mode: "allow"|"block", list: string[] } nil: any

local SCHEMA = {
  max_size = { type = "integer", min = 1 },
  extensions = { type = "table" },
}

local EXTENSIONS = {
  mode = { type = "string", required = true, enum = protocol.enums.ExtensionMode.values },
  list = { type = "table", required = true, check = options.is_list_of_strings },
}

local upload_limits = {}

---Check what was given.
---@param given trueconf.bridge.UploadLimits
---@param level integer of the caller to blame
---@param where string name of the function, for messages
function upload_limits.check(given, level, where)
  options.check(SCHEMA, given, level + 1, where)
  if not given.extensions then return end
  options.check(EXTENSIONS, given.extensions, level + 1, where .. ": extensions")
end

---@param limits trueconf.bridge.UploadLimits
---@return table payload
function upload_limits.on_wire(limits)
  local extensions = limits.extensions
  return {
    maxSize = limits.max_size or json.null,
    extensions = extensions and {
      mode = extensions.mode,
      list = json.array(table.move(extensions.list, 1, #extensions.list, 1, {})),
    } or json.null,
  }
end

return upload_limits
