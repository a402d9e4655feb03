-- SPDX-License-Identifier: MIT
-- Sends a file: checks it against the limits of the server, and takes the three steps of the protocol (upload
-- sequence): the upload task over the WebSocket, the bytes over HTTP, the message over the WebSocket. Bytes are
-- streamed from their source; the pieces of a reader are written to a temporary file first, because the size must be
-- known before the first byte is sent.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local json = require "trueconf.base.json"
local methods = require "trueconf.api.invoke"
local mime = require "trueconf.base.mime"
local options = require "trueconf.base.options"
local preview = require "trueconf.files.preview"
local protocol = require "trueconf.protocol"
local cancel_token = require "trueconf.files.cancel_token"

local UPLOAD, SEND = protocol.methods.uploadFile, protocol.methods.sendFile
local MAX_ANSWER = 65536                -- bytes of the answer to an upload
local MOST_SPOOLED = 4 << 30            -- bytes that go into a temporary file where the server names no limit
local LIMITS_PATIENCE = 5               -- seconds; a server that is too old may not answer at all

local upload = {}

---@class (exact) trueconf.SendFileOptions
---@field path? string send this file; one of path, data and reader
---@field data? string send these bytes
---@field reader? fun(): string?, any returns the bytes piece by piece, nil at the end; nil and an error to give up. It
---may wait. The pieces are kept in a temporary file until they have been sent
---@field name? string file name as others see it; default the name in the path
---@field type? string MIME type; default by the extension of the name
---@field caption? string a text above the file, up to 4096 visible characters; it is sent as a message of its own
---@field parse_mode? "text"|"markdown"|"html" of the caption; default "text"
---@field preview? string|trueconf.PreviewSource|boolean a small picture, by its path or in a table; true: the file
---itself; false: none, so that apps show a picture as a document. Default: one is made of a JPEG, PNG, GIF or WebP
---picture, where gdk-pixbuf is installed
---@field sticker? boolean send a WebP picture as a sticker
---@field reply_to? string id of the message this one answers
---@field on_progress? fun(sent: integer, total: integer) must not wait; bytes of the whole upload
---@field timeout? number seconds for everything; default: only the timeouts of the requests
---@field cancel? trueconf.CancelToken cancels the upload
local SCHEMA = {
  path = { type = "string" },
  data = { type = "string" },
  reader = { type = "function" },
  name = { type = "string" },
  type = { type = "string", check = mime.is_type },
  caption = { type = "string" },
  parse_mode = { type = "string", enum = protocol.PARSE_MODES },
  preview = { type = "string|table|boolean" },
  sticker = { type = "boolean" },
  reply_to = { type = "string" },
  on_progress = { type = "function" },
  timeout = { type = "number", min = 0.001 },
  cancel = { type = "table", check = cancel_token.is },
}

-- Deadlines -------------------------------------------------------------------------------

---@param timeout? number
---@return fun(): number? left seconds; nil: no limit; 0 or less: it is over
function upload.clock(timeout)
  if not timeout then return function() end end
  local over = core.monotonic() + timeout
  return function() return over - core.monotonic() end
end

local function timeout_error(method)
  return Error.new("TIMEOUT", "the file was not sent in time", { method = method.name, outcome = "not_sent" })
end

-- The source of the bytes -----------------------------------------------------------------

local function failed(message, name)
  return Error.new(name or "IO", message, { method = SEND.name, outcome = "not_sent" })
end

-- Open the file at a path; its size, if that is known before it is read.
local function open_source(path)
  local source, err = core.source(path)
  if not source then return nil, failed(err.message) end
  return source, source:size()
end

-- A temporary file, removed when its `<close>` variable goes out of scope.
local Temporary = {}
Temporary.__index = Temporary
Temporary.__close = function(self)
  if self.path then os.remove(self.path) end
end

---@param path? string default: a new one
---@return { path: string } temporary with __close
function upload.temporary(path)
  return setmetatable({ path = path or os.tmpname() }, Temporary)
end

-- Read no more than the server accepts: a reader may never end.
local function copy_pieces(reader, file, most, level)
  local size = 0
  while true do
    local piece, err = reader()
    if piece == nil then return err == nil or nil, err end
    if type(piece) ~= "string" then
      error(("send_file: reader must return a string or nil, got %s"):format(options.type_of(piece)), level + 1)
    end
    size = size + #piece
    if size > most then return nil, failed(("the file is over %d bytes"):format(most), "LIMIT") end
    local ok, why = file:write(piece)
    if not ok then return nil, failed(("cannot write a temporary file: %s"):format(why)) end
  end
end

-- Write the pieces of a reader into a file.
local function spool(reader, path, most, level)
  local file <close>, why = io.open(path, "wb")
  if not file then return nil, failed(("cannot write a temporary file: %s"):format(why)) end
  local ok, err = copy_pieces(reader, file, most, level + 1)
  if ok then
    local closed, full = file:close()
    if closed then return path end
    return nil, failed(("cannot write a temporary file: %s"):format(full))
  end
  if Error.is(err) then return nil, err end
  return nil, failed(("the reader gave up: %s"):format(tostring(err)), "CANCELLED")
end

---@class trueconf.Upload a file on its way
---@field name string
---@field type string
---@field size integer
---@field part trueconf.core.Part
---@field preview trueconf.core.Part?

local function read_pieces(reader, temporary, limits_of, level)
  local limits = limits_of()
  temporary.path = os.tmpname()
  local path, err = spool(reader, temporary.path, limits and limits.max_size or MOST_SPOOLED, level + 1)
  if not path then return nil, err end
  local source <close>, size = open_source(path)
  if not source then return nil, size end
  return { size = size, part = { path = path } }
end

-- A pipe is read like a reader: its size has to be known before the first byte leaves.
local function read_path(path, temporary, limits_of, level)
  local source <close>, size = open_source(path)
  if not source then return nil, size end
  if size then return { size = size, part = { path = path } } end
  local file, err = read_pieces(function() return source:read() end, temporary, limits_of, level + 1)
  return file, err
end

local function read_source(given, temporary, limits_of, level)
  local file, err
  if given.data then return { size = #given.data, part = { data = given.data } } end
  if given.reader then
    file, err = read_pieces(given.reader, temporary, limits_of, level + 1)
  else
    file, err = read_path(given.path, temporary, limits_of, level + 1)
  end
  return file, err                      -- no tail call: a mistake is reported at the caller's line
end

-- Names -----------------------------------------------------------------------------------

local function base_name(path)
  return path:match "[^/]*$"
end

local function name_mistake(name)
  if name == "" then return "it is empty" end
  if name:find "[/\\]" then return "it must not hold '/' or '\\'" end
  if name:find "%c" then return "it must not hold control characters" end
  if not utf8.len(name) then return "it must be UTF-8" end
end

-- Name and type of a file; the name comes from a script, or from a path it found somewhere.
local function describe(file, given)
  local kind = given.type or given.sticker and mime.STICKER or nil
  local name = given.name or given.path and base_name(given.path) or "file"
  local mistake = name_mistake(name)
  if mistake then
    return nil, Error.new("BAD_FILE_NAME", ("bad file name: %s"):format(mistake),
      { method = SEND.name, outcome = "not_sent" })
  end
  file.type = kind or mime.of_name(name)
  file.name = mime.complete(name, file.type)
  file.part.name, file.part.filename, file.part.type = "file", file.name, file.type
  return file
end

-- Limits ----------------------------------------------------------------------------------

local function limit(message)
  return Error.new("LIMIT", message, { method = UPLOAD.name, outcome = "not_sent" })
end

local function extension_mistake(name, extensions)
  local extension, listed = mime.extension(name), false
  for _, item in ipairs(extensions.list) do
    listed = listed or item:gsub("^%.+", ""):lower() == extension
  end
  if listed == (extensions.mode == "allow") then return nil end
  return extension and ("files with the extension '%s' are not allowed"):format(extension)
    or "files without an extension are not allowed"
end

---Check a file against the limits of the server (protocol: UploadLimits).
---@param limits trueconf.UploadLimits?
---@param name string
---@param size integer
---@return true? ok
---@return trueconf.Error? err LIMIT
function upload.check_limits(limits, name, size)
  if size == 0 then return nil, limit(("'%s' is an empty file"):format(name)) end
  if not limits then return true end
  if limits.max_size and size > limits.max_size then
    return nil, limit(("%s is %d bytes, %d allowed"):format(name, size, limits.max_size))
  end
  local mistake = limits.extensions and extension_mistake(name, limits.extensions)
  if mistake then return nil, limit(("%s: %s"):format(name, mistake)) end
  return true
end

-- The limits from the server, which is asked for them once. Unknown limits are no error: the server checks, too.
local function known_limits(client)
  local limits = client:upload_limits()
  if limits or client.limits_asked then return limits end
  limits = client:get_file_upload_limits { timeout = LIMITS_PATIENCE }
  client.limits, client.limits_asked = client.limits or limits, true
  return client.limits
end

-- Previews --------------------------------------------------------------------------------

local function add_preview(client, file, given, clock)
  local part = preview.part(client, file, given.preview, clock())
  if part and part.path and part.path ~= file.part.path then
    local source <close>, err = open_source(part.path)
    if not source then return nil, err end
  end
  file.preview = part
  return file
end

-- The three steps -------------------------------------------------------------------------

-- The message is not in the chat yet, whatever happened to the bytes.
local function not_sent(err, name)
  return Error.new(err.name, ("the upload of %s failed: %s"):format(name, err.message),
    { code = err.code, method = SEND.name, outcome = "not_sent", retry_after = err.retry_after, cause = err })
end

-- The error of a refused upload (protocol: upload errors); `error` is a number.
local function refusal(answer, file)
  local body = json.receive(answer.body or "")
  local code = type(body) == "table" and body.error
  if math.type(code) == "integer" and code > 0 then
    local description = type(body.error_description) == "string" and body.error_description or nil
    return Error.from_code(code, SEND.name, description)
  end
  return Error.new("HTTP", ("the upload of %s was answered with HTTP status %d"):format(file.name, answer.status),
    { code = answer.status, method = SEND.name, outcome = "rejected", retry_after = answer.retry_after })
end

local function temporal_id(answer)
  local body = json.receive(answer.body or "")
  local id = type(body) == "table" and body.temporalFileId
  if type(id) == "string" then return id end
  return nil, Error.new("PROTOCOL", "the answer to the upload names no temporalFileId",
    { method = SEND.name, outcome = "not_sent" })
end

local function post(client, file, task, given, left)
  local report = given.on_progress
  local answer, err = client.web:http {
    url = client.web.endpoints.files, headers = { ["Upload-Task-Id"] = task },
    form = { file.part, file.preview }, timeout = left, max_body = MAX_ANSWER,
    on_progress = report and function(sent, total)
      if total > 0 then report(sent, total) end
    end,
  }
  if not answer then return nil, not_sent(err, file.name) end
  if answer.status // 100 ~= 2 then return nil, refusal(answer, file) end
  return temporal_id(answer)
end

local function one_upload(client, file, given, clock)
  local left = clock()
  if left and left <= 0 then return nil, timeout_error(SEND) end
  local task, err = methods.invoke(client, UPLOAD, 2, { file_size = file.size, file_name = file.name, timeout = left })
  if not task then return nil, not_sent(err, file.name) end
  left = clock()
  if left and left <= 0 then return nil, timeout_error(SEND) end
  return post(client, file, task, given, left)
end

-- A server that was restarted meanwhile has forgotten the upload task: ask for a new one, once.
local function put(client, file, given, clock)
  local id, err = one_upload(client, file, given, clock)
  if not id and err.name == "UPLOAD_TASK_NOT_FOUND" then id, err = one_upload(client, file, given, clock) end
  return id, err
end

-- All together ----------------------------------------------------------------------------

local function message_arguments(chat_id, given, temporal_file_id)
  local caption = given.caption and { text = given.caption, parse_mode = given.parse_mode } or nil
  return { chat_id = chat_id, temporal_file_id = temporal_file_id, caption = caption, reply_to = given.reply_to }
end

-- Check the caption before the bytes are uploaded.
local function check_message(chat_id, given, level)
  local payload = assert(protocol.to_wire(SEND.name, message_arguments(chat_id, given, "-")))
  local ok, err = methods.check(SEND, payload, level + 1)
  return ok, err                        -- no tail call: a mistake is reported at the caller's line
end

local function check_options(given, level)
  given = options.check(SCHEMA, given, level + 1, "send_file")
  local sources = (given.path and 1 or 0) + (given.data and 1 or 0) + (given.reader and 1 or 0)
  if sources ~= 1 then error("send_file: one of 'path', 'data' and 'reader' is needed", level + 1) end
  if not (given.path or given.name or given.type or given.sticker) then
    error("send_file: option 'name' is required, or 'type'", level + 1)
  end
  given.preview = preview.check(given.preview, level + 1)
  if given.preview == nil and given.sticker then given.preview = true end
  return given
end

local function send(client, file, chat_id, given, clock)
  local id, err = put(client, file, given, clock)
  if not id then return nil, err end
  local left = clock()
  if left and left <= 0 then return nil, timeout_error(SEND) end
  local args = message_arguments(chat_id, given, id)
  args.timeout = left
  given.is_posted = true
  return methods.invoke(client, SEND, 2, args)
end

-- Upload the bytes and send the message.
local function deliver(client, chat_id, given, clock, level)
  local temporary <close> = setmetatable({}, Temporary)
  local function limits_of() return known_limits(client) end
  local file, err = read_source(given, temporary, limits_of, level + 1)
  if not file then return nil, err end
  file, err = describe(file, given)
  if not file then return nil, err end
  local ok
  ok, err = upload.check_limits(limits_of(), file.name, file.size)
  if not ok then return nil, err end
  file, err = add_preview(client, file, given, clock)
  if not file then return nil, err end
  local sent
  sent, err = send(client, file, chat_id, given, clock)
  return sent, err
end

-- The error of a cancelled upload. A request that still waited for the connection was taken back, too.
local function cancelled(client, given)
  local outcome = given.is_posted and client:state() == "ready" and "unknown" or "not_sent"
  return Error.new("CANCELLED", "the file was cancelled by its sender", { method = SEND.name, outcome = outcome })
end

---@async
---@param client trueconf.Client
---@param chat_id string
---@param given trueconf.SendFileOptions
---@param level integer stack level to blame
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err
function upload.send(client, chat_id, given, level)
  given = check_options(given, level + 1)
  local clock = upload.clock(given.timeout)
  local ok, err = check_message(chat_id, given, level + 1)
  if not ok then return nil, err end
  local function give_up() return cancelled(client, given) end
  local sent
  sent, err = cancel_token.run(given.cancel, give_up, deliver, client, chat_id, given, clock, level + 1)
  return sent, err
end

return upload
