-- SPDX-License-Identifier: MIT
-- Files of a Bridge (protocol: files). Bytes are streamed to and from disk, under names made of ids: a name from a
-- client never becomes a path. They are in the folder `files` of the data folder, or without one in a temporary folder
-- that the Bridge removes when it stops. A file is removed when no message and no chat refers to it any more.
--
-- An upload is a task first, then an unsent file under a temporal id, then the file of a message. Everybody who knows
-- the id of a file may download it: ids cannot be guessed.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local mime = require "trueconf.base.mime"
local protocol = require "trueconf.protocol"
local random_hex = require "trueconf.base.random_hex"
local ttl_cache = require "trueconf.bridge.store.ttl_cache"
local file_progress = require "trueconf.bridge.files.progress"
local reply = require "trueconf.bridge.http.reply"
local served_file = require "trueconf.bridge.http.served_file"

local codes = protocol.codes
local EnvelopeType, FileState = protocol.enums.EnvelopeType, protocol.enums.FileState

local VOICE_SINCE = "5.5.6"
local FILES_PATH = "/bridge/api/client/v1/files"
local TASK_LIFE, TEMPORAL_LIFE = 3600, 24 * 3600 -- seconds; both are not published
local MOST_TASKS, MOST_TEMPORAL, MOST_TASKS_OF_ONE = 10000, 10000, 1000
local DOWNLOAD_LIFE = 3600              -- seconds that an address is valid
local FORM_ROOM = 4 << 20               -- bytes of an upload besides file and preview, at least
local MAX_NAME = 255                    -- bytes

---@class trueconf.bridge.FileRecord
---@field id string
---@field name string
---@field size integer
---@field mime string
---@field preview { name: string, size: integer, mime: string }?
---@field ready boolean the file is complete
---@field gone boolean? the file was removed

---@class trueconf.bridge.Files
---@field private bridge trueconf.bridge.Server
---@field private tasks trueconf.bridge.TtlCache
---@field private temporal trueconf.bridge.TtlCache
---@field private folder string? nil: a temporary one that does not exist yet
---@field private is_open boolean? the folder exists
---@field private marker string? file that keeps the name of a temporary folder ours
---@field private written table<string, trueconf.bridge.FileRecord|true> content of a temporary folder
---@field progress trueconf.bridge.FileProgress
local Files = {}
Files.__index = Files

---@param bridge trueconf.bridge.Server
---@return trueconf.bridge.Files
local function new(bridge)
  local self = setmetatable({ bridge = bridge, written = {}, progress = file_progress.new(bridge) }, Files)
  self.folder = bridge.options.data and bridge.options.data .. "/files"
  local store = bridge.store
  self.tasks = ttl_cache.new(TASK_LIFE, MOST_TASKS, function(task) self:discard(task.file_id) end, store:shelf "tasks")
  self.temporal = ttl_cache.new(TEMPORAL_LIFE, MOST_TEMPORAL, function(upload) self:discard(upload.file.id) end,
    store:shelf "temporal")
  -- Remove unfinished uploads of an earlier Bridge.
  self.tasks:each(function(task) self:discard(task.file_id) end)
  store.on_orphan = function(file) self:discard(file.id) end
  return self
end

-- The code in the played version.
function Files:code(name)
  return protocol.code_at(codes[name], self.bridge.options.version)
end

-- On disk --------------------------------------------------------------------------------

-- Make the folder of the files, if there is none.
function Files:open()
  if self.is_open then return true end
  local marker = not self.folder and os.tmpname() or nil
  local folder = self.folder or marker .. ".files"
  local ok, err = core.private_folder(folder)
  if ok then
    self.folder, self.marker, self.is_open = folder, marker, true
  elseif marker then
    os.remove(marker)
  end
  return ok, err
end

local function preview_path(path)
  return path .. ".preview"
end

function Files:path(id)
  return self.folder .. "/" .. id
end

-- Returns the path for a new file.
function Files:reserve(id)
  local path = self:path(id)
  if self.marker then self.written[path] = true end
  return path
end

function Files:discard(id)
  if not self.folder then return end
  local path = self:path(id)
  os.remove(path)
  os.remove(preview_path(path))
  self.written[path] = nil
end

---Release everything; files in a temporary folder are removed.
function Files:close()
  self.progress:close()
  if not self.marker then return end
  self.tasks:clear()
  self.temporal:clear()
  for path, record in pairs(self.written) do
    os.remove(path)
    os.remove(preview_path(path))
    if record ~= true then record.gone = true end
  end
  os.remove(self.folder)
  os.remove(self.marker)
  self.written, self.folder, self.marker, self.is_open = {}, nil, nil, false
end

-- Limits and names -----------------------------------------------------------------------

local function is_listed(extension, list)
  for _, item in ipairs(list) do
    if item:gsub("^%.+", ""):lower() == extension then return true end
  end
  return false
end

function Files:limits()
  return self.bridge.options.upload_limits or {}
end

-- nil, or the name of a code and a complaint (protocol: UploadLimits).
function Files:complaint_about_name(name)
  if name == "" or #name > MAX_NAME or name:find "[%c/\\]" or name == "." or name == ".." then
    return "BAD_FILE_NAME", "fileName: it is not the name of a file"
  end
  local extensions = self:limits().extensions
  if not extensions then return nil end
  if is_listed(mime.extension(name), extensions.list) == (extensions.mode == "allow") then return nil end
  return "FILE_UPLOAD_FORBIDDEN", "fileName: its extension is not allowed"
end

function Files:complaint_about_size(size)
  local most = self:limits().max_size
  if not most or size <= most then return nil end
  return "MAX_FILE_SIZE_EXCEEDED", ("fileSize: %d bytes, %d allowed"):format(size, most)
end

-- Uploads --------------------------------------------------------------------------------

function Files:can_write()
  local ok, err = self:open()
  if not ok then self.bridge.log:error("bridge: files cannot be kept: %s", err) end
  return ok
end

---Make the task for the upload of one file.
---@param account trueconf.bridge.Account
---@param size integer
---@param name? string nil from clients of servers before 5.5.3
---@return string? task_id
---@return integer? code
---@return string? description
function Files:begin(account, size, name)
  local wrong, description = self:complaint_about_size(size)
  if not wrong and name then wrong, description = self:complaint_about_name(name) end
  if wrong then return nil, self:code(wrong), description end
  -- A temporary folder is made with its first file.
  if self.folder and not self:can_write() then return nil, codes.INTERNAL_ERROR end
  if self.tasks:count_of(account.key) >= MOST_TASKS_OF_ONE then
    return nil, self:code "FILE_UPLOAD_FORBIDDEN", ("%d uploads were begun and not ended"):format(MOST_TASKS_OF_ONE)
  end
  local task = { id = core.uuid(), key = account.key, size = size, name = name, file_id = random_hex(20) }
  self.tasks:put(task.id, task)
  return task.id
end

local function is_upload(head)
  return head.path == FILES_PATH and head.method == "POST"
end

function Files:task_of(head)
  return self.tasks:get(head.headers["upload-task-id"] or "")
end

-- Most bytes of an upload. Some clients send the file itself as its preview.
local function room_of(task)
  return 2 * task.size + FORM_ROOM
end

-- True if the length of a body fits its task.
local function fits(task, head)
  local length, kind = head.content_length, head.headers["content-type"] or ""
  if length and (length < task.size or length > room_of(task)) then return false end
  return kind:lower():find "^multipart/form%-data" ~= nil
end

---Decide where the body of a request goes.
---@param head trueconf.core.RequestHead
---@return trueconf.core.BodyDecision?
function Files:on_head(head)
  if not is_upload(head) then return nil end
  local task = self:task_of(head)
  if self.bridge.faults.files_status or not task or task.receiving or not fits(task, head) then
    return { ignore_body = true }
  end
  task.homeless = not self:can_write()
  if task.homeless then return { ignore_body = true } end
  task.receiving = true
  local path = self:reserve(task.file_id)
  return { form = { file = path, preview = preview_path(path) }, max_body = room_of(task) }
end

function Files:refuse(request, name, description)
  reply.refuse(request, 400, self:code(name), description)
end

local function utf8_or(text, default)
  return text and utf8.len(text) and text or default
end

-- The file name of an upload: the name in its task, else the name in the part without its folders.
local function name_of(task, part)
  return task.name or utf8_or((part.filename or ""):match "[^/\\]*$", "")
end

local function type_of(part, name)
  local kind = part.type
  return kind and #kind <= MAX_NAME and mime.is_type(kind) and kind or mime.of_name(name)
end

-- Returns the uploaded file, or nil, the name of a code and a complaint.
function Files:read_upload(task, parts)
  local part, preview = parts.file, parts.preview
  if not part then return nil, "INVALID_FILE", "The part 'file' is missing" end
  if part.size ~= task.size then
    return nil, "INVALID_FILE", ("%d bytes came, %d were announced"):format(part.size, task.size)
  end
  local name = name_of(task, part)
  local wrong, description = self:complaint_about_name(name)
  if wrong then return nil, wrong, description end
  local shown = preview and utf8_or((preview.filename or ""):match "[^/\\]*$", "")
  return {
    id = task.file_id, name = name, size = part.size, mime = type_of(part, name), ready = true,
    preview = preview and { name = shown, size = preview.size, mime = type_of(preview, shown) },
  }
end

function Files:finish(request, task)
  self.tasks:take(task.id)
  local file, wrong, description = self:read_upload(task, request.parts)
  if not file then
    self:discard(task.file_id)
    return self:refuse(request, wrong, description)
  end
  if self.marker then self.written[self:path(file.id)] = file end
  local id = "tmp-" .. random_hex(16)
  self.temporal:put(id, { file = file, key = task.key })
  reply.send(request, 200, { temporalFileId = id })
end

-- Answer an upload whose body has been saved or discarded.
function Files:receive(request)
  local task = self:task_of(request)
  if task and task.receiving and request.parts then return self:finish(request, task) end
  for _, part in pairs(request.parts or {}) do os.remove(part.path) end -- the task has expired meanwhile
  if task and not task.receiving then
    self.tasks:take(task.id)
    if task.homeless then return self:refuse(request, "NOT_ENOUGH_SPACE", "Files cannot be kept") end
    return self:refuse(request, "INVALID_FILE", "The body is not a form with the file that was announced")
  end
  local shown = utf8_or(request.headers["upload-task-id"], ""):sub(1, 64):gsub("[^%w-]", "?")
  self:refuse(request, "UPLOAD_TASK_NOT_FOUND", "No task found for request_id: " .. shown)
end

-- Files of messages ----------------------------------------------------------------------

---Take an uploaded file of an account; from now on it is known by its id.
---@param account trueconf.bridge.Account
---@param temporal_id string
---@return trueconf.bridge.FileRecord?
function Files:take(account, temporal_id)
  local upload = self.temporal:get(temporal_id)
  if not upload or upload.key ~= account.key then return nil end
  self.temporal:take(temporal_id)
  self.bridge.store:put_file(upload.file)
  self.progress:slow_down(upload.file)
  return upload.file
end

---A path in the same folder, for a file that may be added later.
---@return string? path
---@return trueconf.Error? err
function Files:spare_path()
  local ok, err = self:open()
  if not ok then return nil, err end
  return self:reserve("spare-" .. random_hex(16))
end

---Release such a path.
---@param path string
function Files:release(path)
  os.remove(path)
  self.written[path] = nil
end

-- Move a source to the path of a file; returns the size.
local function move_in(source, path)
  if type(source) == "string" then
    local ok, err = core.write_private(path, source)
    if not ok then return nil, err end
    return #source
  end
  local handle <close>, err = io.open(source.path, "rb")
  local ok
  if handle then ok, err = os.rename(source.path, path) end
  if not ok then return nil, core.error("IO", err) end
  return handle:seek "end"
end

---Keep a file that came from within.
---@param name string
---@param source string|{ path: string } its bytes, or their file, which is moved and must be on the same disk
---@param kind? string MIME type; default by the extension of the name
---@return trueconf.bridge.FileRecord? file
---@return any err
function Files:add(name, source, kind)
  local ok, err = self:open()
  if not ok then return nil, err end
  local file = { id = random_hex(20), name = name, size = 0, mime = kind or mime.of_name(name), ready = true }
  local path = self:reserve(file.id)
  file.size, err = move_in(source, path)
  if not file.size then return nil, err end
  if self.marker then self.written[path] = file end
  self.bridge.store:put_file(file)
  self.progress:slow_down(file)
  return file
end

local function state_of(file)
  if file.gone then return FileState.NOT_AVAILABLE end
  return file.ready and FileState.READY or FileState.UPLOADING
end

---The content of a message with a file.
---@param file trueconf.bridge.FileRecord
---@return table content
function Files:content(file)
  return { name = file.name, size = file.size, fileId = file.id, mimeType = file.mime, readyState = state_of(file) }
end

-- A voice message is an ordinary file for servers that do not know it.
function Files:message_with(file, voice)
  if not voice or not self.bridge.profile:has(VOICE_SINCE) then return EnvelopeType.ATTACHMENT, self:content(file) end
  return EnvelopeType.VOICE_MESSAGE,
    { fileId = file.id, size = file.size, mimeType = file.mime, duration = voice.duration }
end

-- Check that an account may write to a chat and answer the message.
function Files:check_chat(account, chat_id, reply_to)
  local messages = self.bridge.messages
  local chat, code, description = messages:writable_chat(chat_id, account)
  if not chat then return nil, code, description end
  if not reply_to then return true end
  local target, where = messages:message_of(reply_to, account)
  if target and where == chat then return true end
  return nil, codes.MESSAGE_NOT_FOUND
end

---Post a file in a chat. A caption is a message of its own, before that with the file.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param take fun(): trueconf.bridge.FileRecord? returns the file; called when sending it is allowed
---@param opts { caption: { text: string, parseMode: string }?, reply_to: string?, voice: { duration: integer? }? }
---@return { file: trueconf.bridge.FileRecord, message: trueconf.bridge.Message, caption: trueconf.bridge.Message? }?
---@return any notifications or code
---@return string? description
function Files:post(account, chat_id, take, opts)
  local ok, code, description = self:check_chat(account, chat_id, opts.reply_to)
  if not ok then return nil, code, description end
  local file = take()
  if not file then return nil, self:code "UPLOADED_FILE_NOT_FOUND", "temporalFileId: there is no such upload" end
  local messages, caption, notifications = self.bridge.messages, nil, {}
  if opts.caption and (opts.caption.text or "") ~= "" then
    caption, notifications, description = messages:say(account, chat_id, opts.caption)
    if not caption then return nil, notifications, description end
  end
  local kind, content = self:message_with(file, opts.voice)
  local message, more = messages:post(account, chat_id, kind, content, opts.reply_to)
  table.move(more, 1, #more, #notifications + 1, notifications)
  return { file = file, message = message, caption = caption }, notifications
end

---The bytes of a file.
---@param id string
---@return string? bytes nil: there is no such file, or not yet
function Files:read(id)
  local file = self.bridge.store:file(id)
  local handle = file and file.ready and self.folder and io.open(self:path(id), "rb")
  if not handle then return nil end
  local bytes = handle:read "a"
  handle:close()
  return bytes
end

---@param id string
---@return table? info the payload of getFileInfo
function Files:info(id)
  local file = self.bridge.store:file(id)
  if not file then return nil end
  local ready, preview = state_of(file) == FileState.READY, file.preview
  return {
    [self.bridge.profile:has "5.5.4" and "fileId" or "infoHash"] = file.id,
    name = file.name, size = file.size, mimeType = file.mime, readyState = state_of(file),
    downloadUrl = ready and self:address(file, "") or json.null,
    previews = preview and ready and json.array {
      { name = preview.name, size = preview.size, mimeType = preview.mime,
        downloadUrl = self:address(file, "/preview") },
    } or json.null,
  }
end

-- Downloads ------------------------------------------------------------------------------

-- The token of an address holds its expiry and is signed, so that no token has to be stored.
function Files:token(id, what, over)
  local signed = ("file/%s%s/%d"):format(id, what, over)
  return ("%d.%s"):format(over, core.base64url_encode(core.hmac_sha256(self.bridge.store.signing_key, signed)))
end

---The address of a file, valid for an hour.
---@param file trueconf.bridge.FileRecord
---@param what ""|"/preview"
---@return string
function Files:address(file, what)
  local over = core.now() // 1000 + DOWNLOAD_LIFE
  local base = self.bridge:url():gsub("^ws", "http")
  return ("%s%s/%s%s?token=%s"):format(base, FILES_PATH, file.id, what, self:token(file.id, what, over))
end

-- The file or preview at an address, and its path.
function Files:addressed(request)
  local id, what = request.path:sub(#FILES_PATH + 1):match "^/(%x+)(.*)$"
  local file = id and self.folder and self.bridge.store:file(id)
  local over = math.tointeger((request.query.token or ""):match "^(%d+)%.")
  if not file or not over or over <= core.now() // 1000 or state_of(file) ~= FileState.READY then return nil end
  if not core.equal(request.query.token, self:token(id, what, over)) then return nil end
  if what == "/preview" and file.preview then return file.preview, preview_path(self:path(id)) end
  if what == "" then return file, self:path(id) end
end

---True for the path of a file request.
---@param path string
---@return boolean
function Files.is_path(path)
  return path == FILES_PATH or path:sub(1, #FILES_PATH + 1) == FILES_PATH .. "/"
end

---Answer an HTTP request about files.
---@async
---@param request trueconf.core.Request
function Files:handle(request)
  local status = self.bridge.faults.files_status
  local wanted = request.path == FILES_PATH and "POST" or "GET"
  if status then return reply.as_proxy(request, status) end
  if not reply.has_method(request, wanted) then return end
  if wanted == "POST" then return self:receive(request) end
  local file, path = self:addressed(request)
  if not file then return reply.refuse(request, 404, "not_found") end
  served_file.give(self.bridge, request, file, path)
end

return { new = new, Files = Files }
