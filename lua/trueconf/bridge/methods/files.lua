-- SPDX-License-Identifier: MIT
-- Methods about files (protocol: files).

local protocol = require "trueconf.protocol"

local codes = protocol.codes

---@type table<string, trueconf.bridge.Perform>
local methods = {}

function methods.uploadFile(bridge, connection, payload)
  local task, code, description = bridge.files:begin(connection.account, payload.fileSize, payload.fileName)
  return task and { uploadTaskId = task }, code, description
end

function methods.sendFile(bridge, connection, payload)
  local account, content = connection.account, payload.content
  local function take() return bridge.files:take(account, content.temporalFileId) end
  local opts = { caption = content.caption, reply_to = payload.replyMessageId }
  local sent, notifications, description = bridge.files:post(account, payload.chatId, take, opts)
  if not sent then return nil, notifications, description end
  local message, caption = sent.message, sent.caption
  return {
    chatId = message.chat_id, messageId = message.id, timestamp = message.timestamp, fileId = sent.file.id,
    captionMessageId = caption and bridge.profile:has "5.5.6" and caption.id or nil,
  }, notifications
end

function methods.editChatAvatar(bridge, connection, payload)
  local account = connection.account
  local function take() return bridge.files:take(account, payload.temporalFileId) end
  local ok, notifications, description = bridge.chats:set_avatar(account, payload.chatId, take)
  return ok and {}, notifications, description
end

local function no_file(known)
  if not known then return codes.FILE_NOT_FOUND, "fileId: there is no such file" end
end

function methods.getFileInfo(bridge, _, payload)
  local info = bridge.files:info(payload.fileId)
  return info, no_file(info)
end

function methods.subscribeFileProgress(bridge, connection, payload)
  local known, follow_up = bridge.files.progress:subscribe(connection, payload.fileId)
  if known then return { result = true }, follow_up end
  return nil, no_file(known)
end

function methods.unsubscribeFileProgress(bridge, connection, payload)
  local known = bridge.files.progress:unsubscribe(connection, payload.fileId)
  return known and { result = true } or nil, no_file(known)
end

return methods
