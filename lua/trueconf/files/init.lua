-- SPDX-License-Identifier: MIT
-- Files as a client's methods; the work is in upload.lua and download.lua.

local download = require "trueconf.files.download"
local methods = require "trueconf.api.invoke"
local protocol = require "trueconf.protocol"
local upload = require "trueconf.files.upload"

local SEND = protocol.methods.sendFile

---@class trueconf.Client
local Client = {}

-- True for the form that sends an uploaded file by its temporal_file_id, with the arguments of the schema.
local function is_by_schema(chat_id, file)
  if type(chat_id) == "table" then return chat_id.temporal_file_id ~= nil or chat_id.content ~= nil end
  return type(file) ~= "table" or file.temporal_file_id ~= nil or file.content ~= nil
end

-- Everything in one table, as other methods take it.
local function part_arguments(args)
  local given = {}
  for name, value in pairs(args) do given[name] = value end
  given.chat_id = nil
  return args.chat_id, given
end

---Send a file to a chat (protocol: upload sequence): ask for an upload task, upload it, and send the message. The file
---is checked against the limits of the server first. A file that was uploaded by other means is sent by
---send_file(chat_id, temporal_file_id, caption). The arguments may also be given by name, all in one table.
---@async
---@param chat_id string
---@param file trueconf.SendFileOptions
---@return trueconf.SentMessage? sent with file_id, and caption_message_id from servers of 5.5.6
---@return trueconf.Error? err LIMIT, FILE_UPLOAD_FAILED, BAD_FILE_NAME, ...; `outcome` is about the message: only after
---"unknown" may it be in the chat
function Client:send_file(chat_id, file, ...)
  local sent, err
  if is_by_schema(chat_id, file) then
    if type(chat_id) == "table" then
      sent, err = methods.invoke(self, SEND, 3, chat_id)
    else
      sent, err = methods.invoke(self, SEND, 3, chat_id, file, ...)
    end
  elseif type(chat_id) == "table" then
    local id, given = part_arguments(chat_id)
    sent, err = upload.send(self, id, given, 2)
  else
    sent, err = upload.send(self, chat_id, file, 2)
  end
  return sent, err -- no tail call: a mistake is reported at the caller's line
end

---A downloaded file.
---@class trueconf.Downloaded
---@field file_id string
---@field name string? as its sender named it: never use it as a path unchecked
---@field size integer bytes
---@field mime_type string?

---Download a file (protocol: download). Waits until the server has all of it. With `path` or `sink` the file is
---streamed, never in memory as a whole. After a lost connection the download resumes on another one.
---@async
---@param file string|trueconf.File|trueconf.Message|trueconf.SentMessage a file, a message with one, or a file id
---@param opts? trueconf.DownloadOptions
---@return string|trueconf.Downloaded|nil result the bytes; with `path` or `sink` the name and size of the file
---@return trueconf.Error? err FILE_NOT_FOUND, LIMIT, TIMEOUT, HTTP, IO, ...
function Client:download(file, opts)
  local result, err = download.fetch(self, file, opts, 2)
  return result, err
end

local files = {}

---Give a class the methods about files.
---@param class table
function files.add_to(class)
  for name, method in pairs(Client) do class[name] = method end
end

return files
