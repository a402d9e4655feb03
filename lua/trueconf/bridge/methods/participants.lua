-- SPDX-License-Identifier: MIT
-- Methods about participants (protocol: participants).

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

---@type table<string, trueconf.bridge.Perform>
local methods = {}

local USER = protocol.enums.AuthorType.USER

function methods.addChatParticipant(bridge, connection, payload)
  local ok, notifications, description =
    bridge.chats:add(connection.account, payload.chatId, payload.userId, payload.displayHistory)
  return ok and {}, notifications, description
end

function methods.removeChatParticipant(bridge, connection, payload)
  local ok, notifications, description =
    bridge.chats:expel(connection.account, payload.chatId, payload.userId, payload.clearHistory)
  return ok and {}, notifications, description
end

function methods.changeParticipantRole(bridge, connection, payload)
  local ok, notifications, description =
    bridge.chats:set_role(connection.account, payload.chatId, payload.userId, payload.role)
  return ok and {}, notifications, description
end

function methods.getChatParticipants(bridge, connection, payload)
  local people, code =
    bridge.chats:people(connection.account, payload.chatId, payload.pageSize, payload.pageNumber)
  if not people then return nil, code end
  return { participants = json.array(people) }
end

function methods.getChatParticipant(bridge, connection, payload)
  local member, role = bridge.chats:role_of(connection.account, payload.chatId, payload.userId)
  if not member then return nil, role end
  return { userId = member.id, role = role, type = USER }
end

function methods.hasChatParticipant(bridge, connection, payload)
  local result, code = bridge.chats:has(connection.account, payload.chatId, payload.userId)
  if result == nil then return nil, code end
  return { result = result }
end

function methods.getUserDisplayName(bridge, _, payload)
  local account = bridge.accounts:by_id(payload.userId)
  if account then return { displayName = account.display_name } end
  return nil, protocol.codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(payload.userId)
end

return methods
