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

-- True if a list of tags names this one. Weak tags are marked W/ and count only in a weak comparison.
local function names(list, tag, weakly)
  if list == "*" then return true end
  for mark, named in list:gmatch '(W?/?)("[^"]*")' do
    if named == tag and (weakly or mark == "") then return true end
  end
  return false
end

-- The status of an answer without the file, by the conditions of a request (RFC 9110, 13.2.2); nil: the file is wanted.
local function unwanted(headers, tag)
  local match, none_match = headers["if-match"], headers["if-none-match"]
  if match and not names(match, tag, false) then return 412 end
  if none_match and names(none_match, tag, true) then return 304 end
end

local function wanted_range(request, size, tag)
  local condition = request.headers["if-range"]
  if request.method ~= "GET" or condition and condition ~= tag then return nil end
  return range_of(request.headers.range, size)
end

---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
---@param file { name: string, size: integer, mime: string }
---@param path string
function served_file.give(bridge, request, file, path)
  local tag, headers = tag_of(path), reply.file_headers(file.name, file.mime)
  headers.ETag, headers["Accept-Ranges"], headers["Cache-Control"] = tag, "bytes", "private"
  local refused = unwanted(request.headers, tag)
  if refused then return request:respond(refused, headers, "") end
  local status, first, length = 200, wanted_range(request, file.size, tag)
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
