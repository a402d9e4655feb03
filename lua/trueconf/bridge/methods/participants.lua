-- SPDX-License-Identifier: MIT
-- Methods about who takes part (protocol: participants).

local protocol = require "trueconf.protocol"

---@type table<string, trueconf.bridge.Perform>
local methods = {}

function methods.getUserDisplayName(bridge, _, payload)
  local account = bridge.accounts:by_id(payload.userId)
  if account then return { displayName = account.display_name } end
  return nil, protocol.codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(payload.userId)
end

return methods
