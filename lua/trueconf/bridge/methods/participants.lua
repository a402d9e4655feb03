-- SPDX-License-Identifier: MIT
-- Methods about who takes part (protocol: participants).

local codes = require "trueconf.bridge.codes"

---@type table<string, trueconf.bridge.Method>
local methods = {}

methods.getUserDisplayName = {
  fields = { userId = "string" },
  perform = function(bridge, _, payload)
    local account = bridge.accounts:by_id(payload.userId)
    if account then return { displayName = account.display_name } end
    return nil, codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(payload.userId)
  end,
}

return methods
