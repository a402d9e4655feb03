-- SPDX-License-Identifier: MIT
-- Methods about messages (protocol: messages).

local json = require "trueconf.json"
local codes = require "trueconf.bridge.codes"

---@type table<string, trueconf.bridge.Method>
local methods = {}

local PARSE_MODES = { text = true, markdown = true, html = true }

local function complaint_about_content(content)
  if content.text == "" then return "content.text: expected 1 to 4096 characters, got none" end
  if not PARSE_MODES[content.parseMode] then
    return ("content.parseMode: expected text, markdown or html, got '%s'"):format(content.parseMode)
  end
end

local function sent(message)
  return { chatId = message.chat_id, messageId = message.id, timestamp = message.timestamp }
end

methods.sendMessage = {
  fields = {
    chatId = "string",
    replyMessageId = "string?",
    content = { text = "string", parseMode = "string" },
  },
  perform = function(bridge, connection, payload)
    local complaint = complaint_about_content(payload.content)
    if complaint then return nil, codes.WRONG_PAYLOAD, complaint end
    local message, news, description =
      bridge.messages:say(connection.account, payload.chatId, payload.content, payload.replyMessageId)
    if not message then return nil, news, description end
    return sent(message), news
  end,
}

methods.editMessage = {
  fields = { messageId = "string", content = { text = "string", parseMode = "string" } },
  perform = function(bridge, connection, payload)
    local complaint = complaint_about_content(payload.content)
    if complaint then return nil, codes.WRONG_PAYLOAD, complaint end
    local edit, news, description = bridge.messages:edit(connection.account, payload.messageId, payload.content)
    if not edit then return nil, news, description end
    return { messageId = payload.messageId, timestamp = edit.timestamp }, news
  end,
}

methods.forwardMessage = {
  fields = { chatId = "string", messageId = "string" },
  perform = function(bridge, connection, payload)
    local message, news, description =
      bridge.messages:forward(connection.account, payload.chatId, payload.messageId)
    if not message then return nil, news, description end
    return sent(message), news
  end,
}

methods.removeMessage = {
  fields = { messageId = "string", forAll = "boolean" },
  perform = function(bridge, connection, payload)
    local ok, news, description = bridge.messages:remove(connection.account, payload.messageId, payload.forAll)
    return ok and {}, news, description
  end,
}

methods.getMessageById = {
  fields = { messageId = "string" },
  perform = function(bridge, connection, payload)
    return bridge.messages:get(connection.account, payload.messageId)
  end,
}

methods.getChatHistory = {
  fields = { chatId = "string", count = "integer", fromMessageId = "string?" },
  perform = function(bridge, connection, payload)
    if payload.count < 1 then return nil, codes.WRONG_PAYLOAD, "count: expected 1 or more" end
    local list, code =
      bridge.messages:history(connection.account, payload.chatId, payload.count, payload.fromMessageId)
    if not list then return nil, code end
    return { chatId = payload.chatId, count = #list, messages = json.array(list) }
  end,
}

methods.clearHistory = {
  fields = { chatId = "string", forAll = "boolean" },
  perform = function(bridge, connection, payload)
    local ok, news, description = bridge.messages:clear(connection.account, payload.chatId, payload.forAll)
    return ok and {}, news, description
  end,
}

return methods
