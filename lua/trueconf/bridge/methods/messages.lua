-- SPDX-License-Identifier: MIT
-- Methods about messages (protocol: messages).

local json = require "trueconf.json"

---@type table<string, trueconf.bridge.Perform>
local methods = {}

local function sent(message)
  return { chatId = message.chat_id, messageId = message.id, timestamp = message.timestamp }
end

function methods.sendMessage(bridge, connection, payload)
  local message, news, description =
    bridge.messages:say(connection.account, payload.chatId, payload.content, payload.replyMessageId)
  if not message then return nil, news, description end
  return sent(message), news
end

function methods.editMessage(bridge, connection, payload)
  local edit, news, description = bridge.messages:edit(connection.account, payload.messageId, payload.content)
  if not edit then return nil, news, description end
  return { messageId = payload.messageId, timestamp = edit.timestamp }, news
end

function methods.forwardMessage(bridge, connection, payload)
  local message, news, description =
    bridge.messages:forward(connection.account, payload.chatId, payload.messageId)
  if not message then return nil, news, description end
  return sent(message), news
end

function methods.removeMessage(bridge, connection, payload)
  local ok, news, description = bridge.messages:remove(connection.account, payload.messageId, payload.forAll)
  return ok and {}, news, description
end

function methods.getMessageById(bridge, connection, payload)
  return bridge.messages:get(connection.account, payload.messageId)
end

function methods.getChatHistory(bridge, connection, payload)
  local list, code =
    bridge.messages:history(connection.account, payload.chatId, payload.count, payload.fromMessageId)
  if not list then return nil, code end
  return { chatId = payload.chatId, count = #list, messages = json.array(list) }
end

function methods.clearHistory(bridge, connection, payload)
  local ok, news, description = bridge.messages:clear(connection.account, payload.chatId, payload.forAll)
  return ok and {}, news, description
end

return methods
