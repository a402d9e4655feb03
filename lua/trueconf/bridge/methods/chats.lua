-- SPDX-License-Identifier: MIT
-- Methods about chats (protocol: creating chats, chat settings, listing chats).

local json = require "trueconf.base.json"

---@type table<string, trueconf.bridge.Perform>
local methods = {}

function methods.createP2PChat(bridge, connection, payload)
  local chat, notifications, description = bridge.chats:personal(connection.account, payload.userId)
  return chat and { chatId = chat.id }, notifications, description
end

-- The documentation calls the field `name`, but all working clients send `title`.
local function title_of(payload)
  return payload.title or payload.name
end

function methods.createGroupChat(bridge, connection, payload)
  local chat, notifications = bridge.chats:create_group(connection.account, title_of(payload))
  return { chatId = chat.id }, notifications
end

function methods.createChannel(bridge, connection, payload)
  local chat, notifications = bridge.chats:create_channel(connection.account, title_of(payload))
  return { chatId = chat.id }, notifications
end

function methods.createFavoritesChat(bridge, connection)
  local chat, notifications = bridge.chats:favorites(connection.account)
  return { chatId = chat.id }, notifications
end

function methods.getChats(bridge, connection, payload)
  return json.array(bridge.chats:list(connection.account, payload.count, payload.page))
end

function methods.getChatByID(bridge, connection, payload)
  return bridge.chats:get(connection.account, payload.chatId)
end

function methods.removeChat(bridge, connection, payload)
  local ok, notifications = bridge.chats:remove(connection.account, payload.chatId)
  return ok and {}, notifications
end

function methods.editChatTitle(bridge, connection, payload)
  local timestamp, notifications, description =
    bridge.chats:set_title(connection.account, payload.chatId, payload.title)
  return timestamp and { chatId = payload.chatId, timestamp = timestamp }, notifications, description
end

return methods
