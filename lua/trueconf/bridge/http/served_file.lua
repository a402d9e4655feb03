-- SPDX-License-Identifier: MIT
-- A file of a Bridge, or a part of it, as the answer to a request (protocol: download sequence).

local reply = require "trueconf.bridge.http.reply"

local served_file = {}

-- A number in a range; past all files if it is past all integers.
local function position(digits)
  return math.tointeger(tonumber(digits)) or math.maxinteger
end

-- First byte and length of the requested part; nil: the whole file; false: the file has no such part.
local function range_of(header, size)
  local first, last = (header or ""):match "^bytes=(%d*)%-(%d*)$"
  if not first or first == "" and last == "" then return nil end
  if first == "" then
    first, last = math.max(size - position(last), 0), size - 1
  else
    first, last = position(first), math.min(last == "" and size - 1 or position(last), size - 1)
  end
  if first > last then return false end
  return first, last - first + 1
end

-- A file never changes under its address, so its id is the ETag (RFC 9110, ETag and If-Range).
local function tag_of(path)
  return ('"%s"'):format(path:match "[^/]*$")
end

local function wanted_range(headers, size, tag)
  local condition = headers["if-range"]
  if condition and condition ~= tag then return nil end
  return range_of(headers.range, size)
end

---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
---@param file { name: string, size: integer, mime: string }
---@param path string
function served_file.give(bridge, request, file, path)
  local tag, headers = tag_of(path), reply.file_headers(file.name, file.mime)
  headers.ETag, headers["Accept-Ranges"], headers["Cache-Control"] = tag, "bytes", "private"
  local status, first, length = 200, wanted_range(request.headers, file.size, tag)
  if first == false then
    headers["Content-Range"] = ("bytes */%d"):format(file.size)
    return request:respond(416, headers, "")
  end
  if first then
    status, headers["Content-Range"] = 206, ("bytes %d-%d/%d"):format(first, first + length - 1, file.size)
  end
  local ok, err = request:respond(status, headers, {
    path = path, offset = first or 0, length = length or file.size, rate = bridge.faults.download_rate,
    cut_after = bridge.faults.download_cut,
  })
  if ok or err.name == "CLOSED" then return end
  bridge.log:error("bridge: file %s cannot be read: %s", path, err)
  reply.refuse(request, 500, "internal_error")
end

return served_file
