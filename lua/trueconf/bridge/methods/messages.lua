-- SPDX-License-Identifier: MIT
-- Methods about messages (protocol: messages, surveys, chat activity).

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

---@type table<string, trueconf.bridge.Perform>
local methods = {}

local function sent(message)
  return { chatId = message.chat_id, messageId = message.id, timestamp = message.timestamp }
end

function methods.sendMessage(bridge, connection, payload)
  local message, notifications, description =
    bridge.messages:say(connection.account, payload.chatId, payload.content, payload.replyMessageId)
  if not message then return nil, notifications, description end
  return sent(message), notifications
end

function methods.editMessage(bridge, connection, payload)
  local edit, notifications, description = bridge.messages:edit(connection.account, payload.messageId, payload.content)
  if not edit then return nil, notifications, description end
  return { messageId = payload.messageId, timestamp = edit.timestamp }, notifications
end

function methods.forwardMessage(bridge, connection, payload)
  local message, notifications, description =
    bridge.messages:forward(connection.account, payload.chatId, payload.messageId)
  if not message then return nil, notifications, description end
  return sent(message), notifications
end

function methods.removeMessage(bridge, connection, payload)
  local ok, notifications, description = bridge.messages:remove(connection.account, payload.messageId, payload.forAll)
  return ok and {}, notifications, description
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
  local ok, notifications, description = bridge.messages:clear(connection.account, payload.chatId, payload.forAll)
  return ok and {}, notifications, description
end

function methods.sendSurvey(bridge, connection, payload)
  local message, notifications, description =
    bridge.messages:post_survey(connection.account, payload.chatId, payload.content, payload.replyMessageId)
  if not message then return nil, notifications, description end
  return sent(message), notifications
end

function methods.editSurvey(bridge, connection, payload)
  local edit, notifications, description =
    bridge.messages:edit_survey(connection.account, payload.messageId, payload.content)
  if not edit then return nil, notifications, description end
  return { messageId = payload.messageId, timestamp = edit.timestamp }, notifications
end

function methods.sendChatActivity(bridge, connection, payload)
  local ok, code = bridge.messages:be_active(connection.account, payload.chatId, payload.activityType)
  if not ok then return nil, code end
  local wait = protocol.limits.TYPING_REFRESH
  return { chatId = payload.chatId, activityType = payload.activityType, retryAfter = wait }
end

function methods.answerCommand(bridge, connection, payload)
  local key, code, description = bridge.clicks:answer(connection.account, payload.commandId)
  if not key then return nil, code, description end
  return {}, function() bridge:tell_person(key, "answerCommand", payload) end
end

return methods
