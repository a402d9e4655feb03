-- Fetching a file (protocol: download): wait until the server has all of it, then get it over
-- HTTP from the configured server. The address the server gives holds a secret, so it is never
-- logged, part of an error, or returned.
-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local Error = require "trueconf.error"
local options = require "trueconf.options"
local protocol = require "trueconf.protocol"
local upload = require "trueconf.upload"

local FileState = protocol.enums.FileState
local INFO = protocol.methods.getFileInfo.name
local FILES_PATH = "/bridge/api/client/v1/files"
local DEFAULT_CAP = 16 << 20            -- bytes of a file that is returned as a string
local PATIENCE = 300                    -- seconds to wait for a file that is still on its way to the server
local FIRST_POLL, LAST_POLL = 0.5, 5    -- seconds; READY comes some time after the last progress
local PIECE = 1 << 16                   -- bytes given to a sink at a time

local download = {}

---@class (exact) trueconf.DownloadOptions
---@field path? string save it here; what was there is replaced once the file is complete
---@field sink? fun(piece: string): any, any give it here, piece by piece, once it is complete; false or nil and an
---error to stop. It may wait
---@field max_bytes? integer refuse a larger file; default 16 MiB without `path` and `sink`, else none
---@field preview? boolean its small picture in place of the file
---@field on_progress? fun(received: integer, total: integer) must not wait; of the download, after waiting for the file
---@field timeout? number seconds for all of it; default 300 to wait for the file, then none
local SCHEMA = {
  path = { type = "string" },
  sink = { type = "function" },
  max_bytes = { type = "integer", min = 0 },
  preview = { type = "boolean" },
  on_progress = { type = "function" },
  timeout = { type = "number", min = 0.001 },
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
function download.on_progress(client, event)
  for waiter, file_id in pairs(client.file_waiters or {}) do
    if file_id == event.file_id then waiter:wake(true) end
  end
end

-- Until the next progress of a file, or for so many seconds.
local function await_progress(client, file_id, seconds)
  local waiters, waiter = client.file_waiters or {}, core.waiter()
  client.file_waiters, waiters[waiter] = waiters, file_id
  waiter:wait(seconds)
  waiters[waiter] = nil
end

local function has_settled(info)
  return info.ready_state ~= FileState.UPLOADING
end

-- Ask again and again; progress makes it sooner, and is no promise of READY.
local function poll(client, info, left)
  local pause = FIRST_POLL
  repeat
    local seconds = left()
    if seconds <= 0 then return nil, fault("TIMEOUT", "the server has not got all of the file in time") end
    await_progress(client, info.file_id, math.min(pause, seconds))
    pause = math.min(pause * 1.5, LAST_POLL)
    local fresh, err = client:get_file_info(info.file_id)
    if not fresh then return nil, err end
    info = fresh
  until has_settled(info)
  return info
end

-- To subscribe is a help, not a need: servers and files differ in whether it works.
local function wait_until_ready(client, info, clock)
  local left = clock() and clock or upload.clock(PATIENCE)
  local subscribed = client:subscribe_file_progress(info.file_id)
  local ready, err = poll(client, info, left)
  if subscribed then client:unsubscribe_file_progress(info.file_id) end
  return ready, err
end

local function ready_info(client, file_id, clock)
  local info, err = client:get_file_info(file_id)
  if info and not has_settled(info) then info, err = wait_until_ready(client, info, clock) end
  if not info then return nil, err end
  if info.ready_state == FileState.READY then return info end
  return nil, fault("FILE_NOT_FOUND", "the file is not available any more")
end

-- The address -----------------------------------------------------------------------------

---Where a file is fetched. The server's own name may mean nothing here (protocol: download): only
---path and query are its, the rest is the configured address.
---@param client trueconf.Client
---@param given any the server's address
---@return { url: string, tls: trueconf.core.TlsOptions?, proxy: string? }? request
---@return trueconf.Error? err PROTOCOL
function download.address(client, given)
  local path = type(given) == "string" and (given:match "^%a[%w+.-]*://[^/?#]*(/[^#%s]*)$" or given:match "^/[^#%s]*$")
  if not path then return nil, fault("PROTOCOL", "the server gives no address for the file") end
  local web = upload.web(client)
  local base = web.files:sub(1, -#FILES_PATH - 1)
  local prefix = base:match "^%a+://[^/]*(.*)$"
  if prefix ~= "" and path:sub(1, #prefix + 1) == prefix .. "/" then path = path:sub(#prefix + 1) end
  return { url = base .. path, tls = web.tls, proxy = web.proxy }
end

-- What is fetched: the file itself or its preview.
local function wanted(info, given)
  if not given.preview then return info end
  local preview = type(info.previews) == "table" and info.previews[1]
  if preview then return preview end
  return nil, fault("FILE_NOT_FOUND", "the file has no preview")
end

-- The bytes -------------------------------------------------------------------------------

local function too_large(size, cap)
  return fault("LIMIT", ("the file is %d bytes, %d allowed"):format(size, cap))
end

local function get(client, what, given, path, left)
  local request, err = download.address(client, what.download_url)
  if not request then return nil, err end
  local report = given.on_progress
  request.save_to, request.timeout = path, left
  request.max_body = not path and given.max_bytes or nil
  request.on_progress = report and function(_, _, received, total)
    if received > 0 then report(received, total > 0 and total or what.size or received) end
  end
  return core.http(request)
end

-- Addresses grow old; a fresh one is got for the second try.
local GROWN_OLD = { [401] = true, [403] = true, [404] = true, [410] = true }

local function fetch(client, info, given, path, clock)
  for attempt = 1, 2 do
    local left = clock()
    if left and left <= 0 then return nil, fault("TIMEOUT", "the file was not fetched in time") end
    local what, answer, err
    what, err = wanted(info, given)
    if not what then return nil, err end
    answer, err = get(client, what, given, path, left)
    if not answer then return nil, err end
    if answer.status // 100 == 2 then return answer, what end
    if attempt == 2 or not GROWN_OLD[answer.status] then
      local message = ("the file was answered with status %d"):format(answer.status)
      return nil, fault("HTTP", message, { code = answer.status })
    end
    info, err = ready_info(client, info.file_id, clock)
    if not info then return nil, err end
  end
end

-- A connection that ends early is no error where the server states no length.
local function check_size(what, size)
  if not what.size or what.size == size then return true end
  return nil, fault("DISCONNECTED", ("%d of %d bytes came"):format(size, what.size))
end

local function size_of(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:seek "end"
end

-- What is told of a file that was fetched; its addresses are spent.
local function summary(info, what, size)
  return { file_id = info.file_id, name = what.name or info.name, size = size, mime_type = what.mime_type }
end

local function to_string(client, info, given, clock)
  given.max_bytes = given.max_bytes or DEFAULT_CAP
  local answer, what = fetch(client, info, given, nil, clock)
  if not answer then return nil, what end
  local ok, err = check_size(what, #answer.body)
  if not ok then return nil, err end
  return answer.body
end

-- Fetch into a file of our own, and see whether it is whole.
local function to_file(client, info, given, path, clock)
  local answer, what = fetch(client, info, given, path, clock)
  if not answer then return nil, what end
  local size = size_of(path)
  local ok, err = check_size(what, size)
  if ok and given.max_bytes and size > given.max_bytes then ok, err = nil, too_large(size, given.max_bytes) end
  if not ok then return nil, err end
  return summary(info, what, size)
end

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function to_path(client, info, given, clock)
  local partial = ("%s.%s.part"):format(given.path, hex(core.random(6)))
  local result, err = to_file(client, info, given, partial, clock)
  if result then
    local ok, why = os.rename(partial, given.path)
    if ok then return result end
    err = fault("IO", ("cannot write %s"):format(why))
  end
  os.remove(partial)
  return nil, err
end

local function pour(path, sink)
  local file <close> = assert(io.open(path, "rb"))
  for piece in function() return file:read(PIECE) end do
    local more, why = sink(piece)
    if more == false or why ~= nil then
      if Error.is(why) then return nil, why end
      return nil, fault("CANCELLED", ("the sink took no more%s"):format(why and ": " .. tostring(why) or ""))
    end
  end
  return true
end

local function to_sink(client, info, given, clock)
  local temporary <close> = upload.temporary()
  local result, err = to_file(client, info, given, temporary.path, clock)
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
    type(file) == "table" and "a table without one" or "a " .. type(file)), level + 1)
end

local function check_options(given, level)
  given = options.check(SCHEMA, given, level + 1, "download")
  if given.path and given.sink then error("download: not both 'path' and 'sink'", level + 1) end
  return given
end

---@async
---@param client trueconf.Client
---@param file string|table
---@param given? trueconf.DownloadOptions
---@param level integer whom to blame
---@return string|trueconf.Downloaded|nil result
---@return trueconf.Error? err
function download.fetch(client, file, given, level)
  local file_id = id_of(file, level + 1)
  given = check_options(given, level + 1)
  local clock = upload.clock(given.timeout)
  local info, err = ready_info(client, file_id, clock)
  if not info then return nil, err end
  local cap = given.max_bytes or not (given.path or given.sink) and DEFAULT_CAP or nil
  if cap and not given.preview and info.size > cap then return nil, too_large(info.size, cap) end
  if given.path then return to_path(client, info, given, clock) end
  if given.sink then return to_sink(client, info, given, clock) end
  return to_string(client, info, given, clock)
end

return download
