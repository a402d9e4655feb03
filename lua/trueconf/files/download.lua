-- SPDX-License-Identifier: MIT
-- Downloads a file (protocol: download): waits until the server has all of it, then gets it over HTTP from the
-- configured server. The address from the server holds a secret, so it is never logged, part of an error, or returned.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local events = require "trueconf.api.events"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local random_hex = require "trueconf.base.random_hex"
local cancel_token = require "trueconf.files.cancel_token"
local upload = require "trueconf.files.upload"
local url = require "trueconf.base.url"

local FileState = protocol.enums.FileState
local INFO = protocol.methods.getFileInfo.name
local DEFAULT_CAP = 16 << 20            -- bytes of a file that is returned as a string
local PATIENCE = 300                    -- seconds to wait for a file that is still on its way to the server
local FIRST_POLL, LAST_POLL = 0.5, 5    -- seconds; READY comes some time after the last progress
local PIECE = 1 << 16                   -- bytes given to a sink at a time
local PAUSES = { 0, 0.25, 0.5, 1, 2 }   -- seconds before each try that resumes
local LONGEST_PAUSE = 60                -- seconds, where the server asks for more
local GOOD_PIECE = 1 << 20              -- bytes; a try that brings this many does not count as failed

local download = {}

---@class (exact) trueconf.DownloadOptions
---@field path? string save it here; replaces a plain file when the download is complete, and refuses anything else
---@field sink? fun(piece: string): any, any gets the complete file piece by piece; returns false, or nil and an error,
---to stop. It may wait
---@field max_bytes? integer refuse a larger file; default 16 MiB without `path` and `sink`, else none
---@field preview? boolean get its preview in place of the file
---@field on_progress? fun(received: integer, total: integer) called during the download; must not wait
---@field timeout? number seconds for everything; default 300 to wait for the file, then none
---@field cancel? trueconf.CancelToken cancels the download
local SCHEMA = {
  path = { type = "string" },
  sink = { type = "function" },
  max_bytes = { type = "integer", min = 0 },
  preview = { type = "boolean" },
  on_progress = { type = "function" },
  timeout = { type = "number", min = 0.001 },
  cancel = { type = "table", check = cancel_token.is },
}

local function fault(name, message, extra)
  extra = extra or {}
  extra.method = INFO
  return Error.new(name, message, extra)
end

-- Waiting for the file --------------------------------------------------------------------

---A notification uploadFileProgress has come.
---@param client trueconf.Client
---@param event { file_id: string, progress: integer }
local function on_progress(client, event)
  for waiter, file_id in pairs(client.file_waiters or {}) do
    if file_id == event.file_id then waiter:wake(true) end
  end
end

events.finish_with("uploadFileProgress", on_progress)

-- A call that waits for the progress of a file.
local Awaited = { __close = function(awaited) awaited.client.file_waiters[awaited.waiter] = nil end }

-- Wait until the next progress of a file, at most this many seconds.
local function await_progress(client, file_id, seconds)
  local waiter = core.waiter()
  client.file_waiters = client.file_waiters or {}
  client.file_waiters[waiter] = file_id
  local _ <close> = setmetatable({ client = client, waiter = waiter }, Awaited)
  waiter:wait(seconds)
end

local TOO_LATE = "the server has not received the whole file in time"

-- Ask the server about a file, within the time that is left.
local function ask(client, file_id, left)
  local seconds = left()
  if seconds and seconds <= 0 then return nil, fault("TIMEOUT", TOO_LATE) end
  return client:get_file_info { file_id = file_id, timeout = seconds }
end

local function has_settled(info)
  return info.ready_state ~= FileState.UPLOADING
end

-- Ask again and again; a progress notification makes the next question sooner, but does not promise READY.
local function poll(client, info, left)
  local pause = FIRST_POLL
  repeat
    await_progress(client, info.file_id, math.max(math.min(pause, left()), 0))
    pause = math.min(pause * 1.5, LAST_POLL)
    local fresh, err = ask(client, info.file_id, left)
    if not fresh then return nil, err end
    info = fresh
  until has_settled(info)
  return info
end

-- A subscription ends by itself with the connection, so the answer to its end is not awaited.
local Subscription = { __close = function(self)
  core.spawn(self.client.unsubscribe_file_progress, self.client, self.file_id)
end }

-- Subscribing only speeds the wait up: it does not work on all servers and for all files.
local function wait_until_ready(client, info, clock)
  local left = clock() and clock or upload.clock(PATIENCE)
  local _ <close> = setmetatable({ client = client, file_id = info.file_id }, Subscription)
  client:subscribe_file_progress { file_id = info.file_id, timeout = math.max(left(), 0.001) }
  local ready, err = poll(client, info, left)
  return ready, err
end

local function ready_info(client, file_id, clock)
  local info, err = ask(client, file_id, clock)
  if info and not has_settled(info) then info, err = wait_until_ready(client, info, clock) end
  if not info then return nil, err end
  if info.ready_state == FileState.READY then return info end
  return nil, fault("FILE_NOT_FOUND", "the file is no longer available")
end

-- The address -----------------------------------------------------------------------------

---The address for a download. The host in the server's address may be unknown here (protocol: download), so only path
---and query are taken from it, the rest from the configured address.
---@param client trueconf.Client
---@param given any the server's address
---@return { url: string }? request
---@return trueconf.Error? err PROTOCOL
function download.address(client, given)
  local path = type(given) == "string" and (given:match "^%a[%w+.-]*://[^/?#]*(/[^#%s]*)$" or given:match "^/[^#%s]*$")
  if not path then return nil, fault("PROTOCOL", "the server gives no address for the file") end
  local base = client.web.endpoints.files:sub(1, -#url.PATHS.files - 1)
  local prefix = base:match "^%a+://[^/]*(.*)$"
  if prefix ~= "" and path:sub(1, #prefix + 1) == prefix .. "/" then path = path:sub(#prefix + 1) end
  return { url = base .. path }
end

-- The file itself, or its preview.
local function wanted(info, given)
  if not given.preview then return info end
  local preview = info.previews and info.previews[1]
  if preview then return preview end
  return nil, fault("FILE_NOT_FOUND", "the file has no preview")
end

-- The bytes -------------------------------------------------------------------------------

local function too_large(size, cap)
  return fault("LIMIT", ("the file is %d bytes, %d allowed"):format(size, cap))
end

-- The header by which the server recognises an unchanged file (RFC 9110, If-Range).
local function validator_of(headers)
  local tag = headers.etag
  if tag and not tag:find "^W/" then return tag end
  return headers["last-modified"]
end

---A download: a series of tries, each of which resumes where the one before ended.
---@class trueconf.Fetch
---@field client trueconf.Client
---@field given trueconf.DownloadOptions
---@field clock fun(): number?
---@field info trueconf.FileInfo
---@field what table the file itself, or its preview
---@field file { path: string } the bytes so far
---@field validator string? of the bytes so far
---@field failures integer tries in a row that have brought little
---@field refreshed boolean the address is a new one, and nothing has come from it yet
local Fetch = {}
Fetch.__index = Fetch

function Fetch:size()
  local file <close> = io.open(self.file.path, "rb")
  return file and file:seek "end" or 0
end

function Fetch:request(left)
  local request, err = download.address(self.client, self.what.download_url)
  if not request then return nil, err end
  local report, most = self.given.on_progress, self.given.max_bytes
  request.save_to, request.resume, request.timeout = self.file.path, true, left
  request.max_body = most and math.max(most, 1)
  if self.validator and self:size() > 0 then request.headers = { ["If-Range"] = self.validator } end
  request.on_progress = report and function(_, _, received, total)
    if received > 0 then report(received, total > 0 and total or self.what.size or received) end
  end
  return request
end

-- A connection that ends early is no error where the server states no length.
function Fetch:check_size()
  local size, expected = self:size(), self.what.size
  if not expected or expected == size then return true end
  local name = size < expected and "DISCONNECTED" or "PROTOCOL"
  return nil, fault(name, ("%d of %d bytes came"):format(size, expected))
end

-- Get the missing bytes.
function Fetch:try(left)
  local request, err = self:request(left)
  if not request then return nil, err end
  local answer, failure, begun = self.client.web:http(request)
  local is_file = answer and answer.status // 100 == 2
  local headers = is_file and answer.headers or begun
  if headers then self.validator = validator_of(headers) end
  if is_file then return self:check_size() end
  if not answer then return nil, failure end
  local message = ("the download was answered with HTTP status %d"):format(answer.status)
  return nil, fault("HTTP", message, { code = answer.status, retry_after = answer.retry_after })
end

-- An address expires; then a fresh one is requested.
local GROWN_OLD = { [401] = true, [403] = true, [404] = true, [410] = true }
local NO_SUCH_RANGE = 416
local TOO_MANY = 429

-- The file has changed: drop the bytes so far.
function Fetch:begin_anew()
  local file = io.open(self.file.path, "wb")
  if file then file:close() end
end

-- Wait before the next try with the same address, at least as long as the server asks for.
function Fetch:pause(asked)
  self.failures = self.failures + 1
  local seconds, left = PAUSES[self.failures], self.clock()
  if not seconds then return false end
  seconds = math.max(seconds, math.min(asked or 0, LONGEST_PAUSE))
  core.sleep(math.min(seconds, left and math.max(left, 0) or seconds))
  return true
end

local function may_pass(err)
  if err.retryable or err.name ~= "HTTP" then return err.retryable end
  return err.code == NO_SUCH_RANGE or err.code == TOO_MANY or (err.code or 0) >= 500
end

-- After a failed try: returns true if another one makes sense.
function Fetch:recover(err, had)
  local size = self:size()
  if size > had then self.refreshed = false end
  if size - had >= GOOD_PIECE then self.failures = 0 end
  if GROWN_OLD[err.code] and not self.refreshed then
    self.refreshed = true
    self.info, err = ready_info(self.client, self.info.file_id, self.clock)
    return self.info, err
  end
  if err.code == NO_SUCH_RANGE then self:begin_anew() end
  if may_pass(err) and math.max(size, had) > 0 and self:pause(err.retry_after) then return true end
  return nil, err
end

-- Get the whole file, in as many tries as it takes.
function Fetch:run()
  local ok, err
  repeat
    local left, had = self.clock(), self:size()
    if left and left <= 0 then return nil, fault("TIMEOUT", "the file was not downloaded in time") end
    self.what, err = wanted(self.info, self.given)
    if not self.what then return nil, err end
    ok, err = self:try(left)
    if not ok then
      local again, why = self:recover(err, had)
      if not again then return nil, why end
    end
  until ok
  return true
end

-- The result for the script, without the addresses, which have been used up.
function Fetch:summary()
  local info, what = self.info, self.what
  return { file_id = info.file_id, name = what.name or info.name, size = self:size(), mime_type = what.mime_type }
end

-- Download into a temporary file.
local function to_file(client, info, given, file, clock)
  local fetch = setmetatable({
    client = client, given = given, clock = clock, info = info, file = file, failures = 0, refreshed = false,
  }, Fetch)
  local ok, err = fetch:run()
  if not ok then return nil, err end
  local result = fetch:summary()
  if given.max_bytes and result.size > given.max_bytes then return nil, too_large(result.size, given.max_bytes) end
  return result
end

local function to_string(client, info, given, clock)
  given.max_bytes = given.max_bytes or DEFAULT_CAP
  local temporary <close> = upload.temporary()
  local result, err = to_file(client, info, given, temporary, clock)
  if not result then return nil, err end
  local file <close> = assert(io.open(temporary.path, "rb"))
  return file:read "a"
end

-- Only a plain file may be replaced: checked before the download, and again at the end.
local function to_path(client, info, given, clock)
  local target, err = core.file_target(given.path)
  if not target then return nil, fault("IO", err.message) end
  local part <close> = upload.temporary(("%s.%s.part"):format(target, random_hex(6)))
  local result
  result, err = to_file(client, info, given, part, clock)
  if not result then return nil, err end
  local ok
  ok, err = core.replace_file(part.path, target)
  if ok then return result end
  return nil, fault("IO", err.message)
end

local function pour(path, sink)
  local file <close> = assert(io.open(path, "rb"))
  for piece in function() return file:read(PIECE) end do
    local more, why = sink(piece)
    if more == false or why ~= nil then
      if Error.is(why) then return nil, why end
      return nil, fault("CANCELLED", ("the sink stopped the download%s"):format(why and ": " .. tostring(why) or ""))
    end
  end
  return true
end

local function to_sink(client, info, given, clock)
  local temporary <close> = upload.temporary()
  local result, err = to_file(client, info, given, temporary, clock)
  if not result then return nil, err end
  local ok
  ok, err = pour(temporary.path, given.sink)
  if not ok then return nil, err end
  return result
end

-- All together ----------------------------------------------------------------------------

local function id_of(file, level)
  local id = file
  if type(file) == "table" then id = file.file_id or type(file.file) == "table" and file.file.file_id end
  if type(id) == "string" then return id end
  error(("download: a file, a message with one, or a file id expected, got %s"):format(
    type(file) == "table" and "a table without one" or options.type_of(file)), level + 1)
end

local function check_options(given, level)
  given = options.check(SCHEMA, given, level + 1, "download")
  if given.path and given.sink then error("download: not both 'path' and 'sink'", level + 1) end
  return given
end

-- From the id to the bytes.
local function get(client, file_id, given, clock)
  local info, err = ready_info(client, file_id, clock)
  if not info then return nil, err end
  local cap = given.max_bytes or not (given.path or given.sink) and DEFAULT_CAP or nil
  if cap and not given.preview and (info.size or 0) > cap then return nil, too_large(info.size, cap) end
  if given.path then return to_path(client, info, given, clock) end
  if given.sink then return to_sink(client, info, given, clock) end
  return to_string(client, info, given, clock)
end

local function cancelled()
  return fault("CANCELLED", "the download was cancelled")
end

---@async
---@param client trueconf.Client
---@param file string|table
---@param given? trueconf.DownloadOptions
---@param level integer stack level to blame
---@return string|trueconf.Downloaded|nil result
---@return trueconf.Error? err
function download.fetch(client, file, given, level)
  local file_id = id_of(file, level + 1)
  given = check_options(given, level + 1)
  return cancel_token.run(given.cancel, cancelled, get, client, file_id, given, upload.clock(given.timeout))
end

return download
