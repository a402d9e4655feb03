-- SPDX-License-Identifier: MIT
-- A recording proxy between a client and a Bridge, for HTTP only: it passes each request on, and writes down request
-- and answer. It masks secrets and values that differ from run to run.

local core = require "trueconf.core"
local url = require "trueconf.base.url"
local layout = require "conversations.layout"

local recorder = {}

-- Heads that mean something; the others are those of the HTTP library.
local SHOWN = {
  "Host", "Content-Type", "Content-Length", "Upload-Task-Id", "Range", "If-Range", "Content-Range",
  "Content-Disposition", "Accept-Ranges", "ETag", "Access-Control-Allow-Origin",
}
local OF_A_HOP = { Host = true, ["Content-Length"] = true } -- each sender writes these itself
local SECRETS = { "password", "access_token", "token", "authorization_code", "code" }

-- Where the client of this process sends its HTTP requests, in place of the Bridge.
local detour

local endpoints = url.endpoints
function url.endpoints(...)
  local found = endpoints(...)
  if detour then
    for name in pairs(url.PATHS) do found[name] = found[name]:gsub("^http://[^/]*", detour) end
  end
  return found
end

-- Texts -------------------------------------------------------------------------------------

local function heads(lines, headers)
  for _, name in ipairs(SHOWN) do
    local value = headers[name:lower()]
    if value then lines[#lines + 1] = ("%s: %s"):format(name, value) end
  end
  lines[#lines + 1] = ""
end

local function is_text(bytes)
  return utf8.len(bytes) and not bytes:find "[^%C\n]"
end

local function shown(bytes)
  return is_text(bytes) and bytes or ("<%d bytes>"):format(#bytes)
end

-- Each part with its head; what begins with a boundary ends before the next.
local function form(body)
  return (body:gsub("(\r\n\r\n)(.-)(\r\n%-%-BOUNDARY)", function(before, bytes, after)
    return before .. shown(bytes) .. after
  end):gsub("\r\n", "\n"):gsub("\n$", ""))
end

local function json_body(body)
  for _, name in ipairs(SECRETS) do body = body:gsub(('("%s"%%s*:%%s*)"[^"]*"'):format(name), '%1"***"') end
  return layout.json(body)
end

local function body_lines(lines, headers, body)
  if body == "" then return end
  local kind = headers["content-type"] or ""
  if kind:find "^multipart/" then
    lines[#lines + 1] = form(body)
  elseif kind:find "^application/json" then
    lines[#lines + 1] = json_body(body)
  else
    lines[#lines + 1] = shown(body):gsub("\n$", "")
  end
  lines[#lines + 1] = ""
end

-- The HTTP library makes up another boundary each time, and another version of it a longer one.
local function without_boundary(headers, body)
  local kind = headers["content-type"] or ""
  local boundary = kind:match "boundary=(.+)$"
  if not boundary then return headers, body end
  body = body:gsub("%-%-" .. boundary:gsub("%-", "%%-"), "--BOUNDARY")
  local changed = setmetatable({
    ["content-type"] = kind:sub(1, -#boundary - 1) .. "BOUNDARY", ["content-length"] = #body,
  }, { __index = headers })
  return changed, body
end

local REASONS = {
  [200] = "OK", [201] = "Created", [206] = "Partial Content", [400] = "Bad Request", [401] = "Unauthorized",
}

local function describe(request, answer)
  local headers, body = without_boundary(request.headers, request.body)
  local query = request.query.token and "?token=***" or ""
  local lines = { ("%s %s%s HTTP/1.1"):format(request.method, request.path, query) }
  heads(lines, headers)
  body_lines(lines, headers, body)
  lines[#lines + 1] = ("HTTP/1.1 %d %s"):format(answer.status, REASONS[answer.status] or "")
  heads(lines, answer.headers)
  body_lines(lines, answer.headers, answer.body)
  return (table.concat(lines, "\n"):gsub("\n*$", ""))
end

-- Requests ----------------------------------------------------------------------------------

local function headers_of(message)
  local headers = {}
  for _, name in ipairs(SHOWN) do
    if not OF_A_HOP[name] then headers[name] = message.headers[name:lower()] end
  end
  return headers
end

local function hand_on(request, target)
  local query = request.query.token and "?token=" .. request.query.token or ""
  return assert(core.http {
    method = request.method, url = target .. request.path .. query, headers = headers_of(request),
    body = request.method == "POST" and request.body or nil,
  })
end

---Begin to record.
---@param target string address of the Bridge, http://
---@param note fun(text: string) gets each request with its answer
---@return { port: integer, close: fun() }
function recorder.open(target, note)
  local listener = assert(core.listen { on_http = function(request)
    local answer = hand_on(request, target)
    request:respond(answer.status, headers_of(answer), answer.body)
    note(describe(request, answer))
  end })
  detour = ("http://127.0.0.1:%d"):format(listener:port())
  return {
    port = listener:port(),
    close = function()
      detour = nil
      listener:close()
    end,
  }
end

return recorder
