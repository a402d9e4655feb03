-- SPDX-License-Identifier: MIT
-- The methods a client may call, by their subject in the files beside this one. trueconf.protocol describes their
-- payloads; connection.lua checks the payload and sends the response or error. A method returns the payload of the
-- response and, to run after it, a list of notifications or a function; or nil, an error code and optionally a
-- description.

local protocol = require "trueconf.protocol"

local codes = protocol.codes

---@alias trueconf.bridge.Perform
---| fun(bridge: trueconf.bridge.Server, connection: trueconf.bridge.Connection, payload: table): table?, any, string?

---@type table<string, trueconf.bridge.Perform>
local methods = {}

-- Authorization --------------------------------------------------------------------------

-- The account of a token, or nil and a code.
local function account_of_token(bridge, payload)
  if bridge.faults.auth_error then return nil, bridge.faults.auth_error end
  if payload.tokenType ~= "JWT" then return nil, codes.UNSUPPORTED_CREDENTIALS end
  local account, reason = bridge.tokens:verify(payload.token, bridge.accounts)
  if not account then
    return nil, reason == "expired" and codes.CREDENTIALS_EXPIRED or codes.INVALID_CREDENTIALS
  end
  if account.disabled then return nil, codes.USER_DISABLED end
  return account
end

function methods.auth(bridge, connection, payload)
  local account, code = account_of_token(bridge, payload)
  if not account then return nil, code end
  if connection.account and connection.account ~= account then
    return nil, codes.ACCESS_DENIED, "this connection belongs to another account"
  end
  if connection:close_surplus(account) then return nil, codes.ACCESS_DENIED end -- the connection is closed already
  connection:authorize(account, payload.receiveSystemMessageEnvelopes == true)
  local response = { userId = account.id .. "/" .. connection.instance, connectionId = connection.id }
  return response, function() bridge:on_authorized(connection, payload.receiveUnread == true) end
end

-- Limits ---------------------------------------------------------------------------------

function methods.getFileUploadLimits(bridge)
  return bridge:upload_limits()
end

-- All others -----------------------------------------------------------------------------

for _, subject in ipairs { "messages", "chats", "participants", "files" } do
  for name, method in pairs(require("trueconf.bridge.methods." .. subject)) do methods[name] = method end
end

return methods
