-- SPDX-License-Identifier: MIT
-- Methods about files (protocol: files).

local protocol = require "trueconf.protocol"

local codes = protocol.codes
local EnvelopeType = protocol.enums.EnvelopeType

---@type table<string, trueconf.bridge.Perform>
local methods = {}

function methods.uploadFile(bridge, connection, payload)
  local task, code, description = bridge.files:begin(connection.account, payload.fileSize, payload.fileName)
  return task and { uploadTaskId = task }, code, description
end

-- Whether the account may write what it wants to; an upload that could not be sent stays good.
local function check_place(bridge, account, payload)
  local chat, code, description = bridge.messages:writable_chat(payload.chatId, account)
  if not chat then return nil, code, description end
  if not payload.replyMessageId then return true end
  local target, where = bridge.messages:message_of(payload.replyMessageId, account)
  if target and where == chat then return true end
  return nil, codes.MESSAGE_NOT_FOUND
end

-- A caption is a message of its own, before that with the file.
local function post_caption(bridge, account, payload)
  local caption = payload.content.caption
  if not caption or caption.text == "" then return nil, {} end
  return bridge.messages:say(account, payload.chatId, caption)
end

function methods.sendFile(bridge, connection, payload)
  local account = connection.account
  local ok, code, description = check_place(bridge, account, payload)
  if not ok then return nil, code, description end
  local file = bridge.files:take(account, payload.content.temporalFileId)
  if not file then
    return nil, bridge.files:code "UPLOADED_FILE_NOT_FOUND", "temporalFileId: there is no such upload"
  end
  local caption, news = post_caption(bridge, account, payload)
  local content = bridge.files:content(file)
  local message, more =
    bridge.messages:post(account, payload.chatId, EnvelopeType.ATTACHMENT, content, payload.replyMessageId)
  table.move(more, 1, #more, #news + 1, news)
  return {
    chatId = message.chat_id, messageId = message.id, timestamp = message.timestamp, fileId = file.id,
    captionMessageId = caption and bridge.profile:has "5.5.6" and caption.id or nil,
  }, news
end

function methods.editChatAvatar(bridge, connection, payload)
  local account = connection.account
  local function take() return bridge.files:take(account, payload.temporalFileId) end
  local ok, news, description = bridge.chats:set_avatar(account, payload.chatId, take)
  return ok and {}, news, description
end

local function no_file(known)
  if not known then return codes.FILE_NOT_FOUND, "fileId: there is no such file" end
end

function methods.getFileInfo(bridge, _, payload)
  local info = bridge.files:info(payload.fileId)
  return info, no_file(info)
end

function methods.subscribeFileProgress(bridge, connection, payload)
  local known, follow_up = bridge.files:subscribe(connection, payload.fileId)
  if known then return { result = true }, follow_up end
  return nil, no_file(known)
end

function methods.unsubscribeFileProgress(bridge, connection, payload)
  local known = bridge.files:unsubscribe(connection, payload.fileId)
  return known and { result = true } or nil, no_file(known)
end

return methods
