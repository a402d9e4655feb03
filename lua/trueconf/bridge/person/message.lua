-- SPDX-License-Identifier: MIT
-- A message as people see it, with its read marks.

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"

---@class trueconf.bridge.PersonMessage
---@field id string
---@field chat_id string
---@field author string TrueConf ID
---@field type integer envelope type: 200 a text, 201 a forward, 202 a file, 204 a survey, below 200 of the system
---@field text string as it was sent, marked up by `parse_mode`; of a forward the text of the original; else ""
---@field parse_mode ("text"|"markdown"|"html")? nil: it has no text
---@field content table as it is on the wire
---@field buttons table[][]? rows of buttons below the text
---@field edited boolean
---@field timestamp integer UNIX milliseconds
---@field box integer index in the chat
---@field reply_to string? id of the message it answers
---@field from_me boolean? the viewer is the author; nil: there is no viewer
---@field private bridge trueconf.bridge.Server
---@field private record trueconf.bridge.Message
local PersonMessage = {}
PersonMessage.__index = PersonMessage

-- The text of a message: a forward carries the original inside.
local function words_of(content)
  if content.text or not content.content then return content end
  return content.content
end

---@param bridge trueconf.bridge.Server
---@param record trueconf.bridge.Message
---@param key? string of the viewer
---@return trueconf.bridge.PersonMessage
local function see(bridge, record, key)
  local words = words_of(record.content)
  return setmetatable({
    id = record.id,
    chat_id = record.chat_id,
    author = record.author,
    type = record.type,
    text = words.text or "",
    parse_mode = words.parseMode,
    content = record.content,
    buttons = record.content.buttons,
    edited = record.edited,
    timestamp = record.timestamp,
    box = record.box,
    reply_to = record.reply_to,
    from_me = key and record.author_key == key,
    bridge = bridge,
    record = record,
  }, PersonMessage)
end

---True if a participant other than the author has read the message: a bot by acking it, a simulated person by seeing
---it.
---@param login string
---@return boolean
function PersonMessage:is_read_by(login)
  local key, record = core.spelling(login), self.record
  local chat = self.bridge.store:chat(record.chat_id)
  if not (chat and chat.roles[key]) then return false end
  return key ~= record.author_key and not self.bridge.store:is_unread(key, record.id)
end

---Wait until a participant has read the message.
---@async
---@param login string
---@param timeout? number
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED
function PersonMessage:wait_read_by(login, timeout)
  return self.bridge.publisher:wait_read(core.spelling(login), self.record, timeout)
end

-- The id of its file; a forward carries the original inside.
local function file_id_of(content)
  return content.fileId or type(content.content) == "table" and content.content.fileId or nil
end

---The file of the message.
---@return string? bytes nil: it has no file, or the file is not complete yet
function PersonMessage:file()
  local id = file_id_of(self.record.content)
  return id and self.bridge.files:read(id)
end

---@class trueconf.bridge.SeenFile
---@field file_id string
---@field name string
---@field size integer
---@field mime_type string
---@field ready boolean the file is complete
---@field url string? its address, valid for an hour

---Name, size and type of the file of the message.
---@return trueconf.bridge.SeenFile? file nil: it has none
function PersonMessage:file_info()
  local id = file_id_of(self.record.content)
  local info = id and self.bridge.files:info(id)
  if not info then return nil end
  local url = type(info.downloadUrl) == "string" and info.downloadUrl or nil
  return {
    file_id = id, name = info.name, size = info.size, mime_type = info.mimeType, ready = url ~= nil, url = url,
  }
end

misuse.guard(PersonMessage, "message")

return { see = see }
