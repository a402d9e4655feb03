-- SPDX-License-Identifier: MIT
-- Methods about chats (protocol: creating chats, chat settings, listing chats).

---@type table<string, trueconf.bridge.Perform>
local methods = {}

function methods.createP2PChat(bridge, connection, payload)
  local chat, news, description = bridge.chats:personal(connection.account, payload.userId)
  return chat and { chatId = chat.id }, news, description
end

return methods
