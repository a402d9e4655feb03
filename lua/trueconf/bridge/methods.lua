-- SPDX-License-Identifier: MIT
-- The methods a client may call. An entry declares the fields of its payload and what it does;
-- everything else (checks, errors, the response) is done by connection.lua. A field's type is
-- "string", "boolean", "integer", "number", "object" or "array", with "?" behind it if the field
-- may be missing or null, or a table of fields for an object whose inside is checked too.
--
-- `perform(bridge, connection, payload)` returns the payload of the response and, if something
-- must follow after it, a function; or nil, an error code and optionally a description.

local codes = require "trueconf.bridge.codes"

---@class trueconf.bridge.Method
---@field fields table<string, string|table>
---@field before_auth? boolean may be called before `auth`
---@field perform fun(bridge: table, connection: trueconf.bridge.Connection, payload: table): table?, any, string?

---@type table<string, trueconf.bridge.Method>
local methods = {}

-- Authorization --------------------------------------------------------------------------

-- The account a token stands for, or nil, code.
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

methods.auth = {
  before_auth = true,
  fields = {
    token = "string",
    tokenType = "string",
    receiveUnread = "boolean?",
    receiveSystemMessageEnvelopes = "boolean?",
  },
  perform = function(bridge, connection, payload)
    local account, code = account_of_token(bridge, payload)
    if not account then return nil, code end
    if connection.account and connection.account ~= account then
      return nil, codes.ACCESS_DENIED, "this connection belongs to another account"
    end
    connection:authorize(account)
    local response = { userId = account.id .. "/" .. connection.instance, connectionId = connection.id }
    return response, function() bridge:on_authorized(connection, payload.receiveUnread == true) end
  end,
}

-- Messages -------------------------------------------------------------------------------

local PARSE_MODES = { text = true, markdown = true, html = true }

local function complaint_about_content(content)
  if content.text == "" then return "content.text: expected 1 to 4096 characters, got none" end
  if not PARSE_MODES[content.parseMode] then
    return ("content.parseMode: expected text, markdown or html, got '%s'"):format(content.parseMode)
  end
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
    local account = connection.account
    local chat, refused = bridge.chats:of_member(payload.chatId, account)
    if not chat then return nil, refused end
    local message, code = bridge.chats:post(chat, account, payload.content, payload.replyMessageId)
    if not message then return nil, code end
    local response = { chatId = chat.id, messageId = message.id, timestamp = message.timestamp }
    return response, function() bridge.delivery:publish(bridge.delivery:of_message(chat, message), connection) end
  end,
}

-- Chats and users ------------------------------------------------------------------------

local function unknown_user(user_id)
  return nil, codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(user_id)
end

methods.createP2PChat = {
  fields = { userId = "string" },
  perform = function(bridge, connection, payload)
    local other = bridge.accounts:by_id(payload.userId)
    if not other then return unknown_user(payload.userId) end
    local account = connection.account
    if other == account then return nil, codes.ACCESS_DENIED, "userId: a personal chat needs somebody else" end
    local chat, created = bridge.chats:personal(account, other)
    if not created then return { chatId = chat.id } end
    local news = bridge.delivery:of_personal_chat(chat, account, other)
    return { chatId = chat.id }, function() bridge.delivery:publish(news, connection) end
  end,
}

methods.getUserDisplayName = {
  fields = { userId = "string" },
  perform = function(bridge, _, payload)
    local account = bridge.accounts:by_id(payload.userId)
    if not account then return unknown_user(payload.userId) end
    return { displayName = account.display_name }
  end,
}

return methods
