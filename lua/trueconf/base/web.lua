-- SPDX-License-Identifier: MIT
-- The connection settings of a server, resolved once: addresses, trust, proxy and further headers, for every request
-- and connection to it.

local core = require "trueconf.core"
local sorted_keys = require "trueconf.base.sorted_keys"
local url = require "trueconf.base.url"

local MOST_HEADERS = 32
local LONGEST_HEADERS = 8192            -- bytes of all names and values; servers take heads of 8 KiB or so

-- Headers of the request itself, of its connection or of its body.
local OURS = {
  accept = true, ["accept-encoding"] = true, connection = true, expect = true, host = true, ["if-range"] = true,
  ["keep-alive"] = true, range = true, te = true, trailer = true, ["transfer-encoding"] = true, upgrade = true,
  ["upload-task-id"] = true,
}
local OUR_FAMILIES = { "^sec%-websocket%-", "^proxy%-", "^content%-" }

local web = {}

local function is_ours(name)
  for _, family in ipairs(OUR_FAMILIES) do
    if name:find(family) then return true end
  end
  return OURS[name]
end

local function name_mistake(name, seen)
  if not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
    return ("must have names of letters, digits and hyphens as its keys, got %q"):format(name:sub(1, 64))
  end
  local lower = name:lower()
  if is_ours(lower) then return ("must not set '%s', which belongs to each request itself"):format(name) end
  if seen[lower] then return ("has '%s' twice, as '%s' too"):format(name, seen[lower]) end
  seen[lower] = name
end

-- No message holds the value of a header: it may be a secret.
local function value_mistake(name, value)
  if type(value) ~= "string" then
    return ("must have a string as the value of '%s', got a %s"):format(name, type(value))
  end
  if not value:find "[^ \t]" then return ("must not have an empty value for '%s'"):format(name) end
  if value:find "[\0-\8\10-\31\127]" then
    return ("must not have control characters, such as ends of lines, in the value of '%s'"):format(name)
  end
end

---Fit to be the `check` of an option: headers to send, by name. Other values pass.
---@param headers any
---@return boolean
---@return string? expected
function web.are_headers(headers)
  if type(headers) ~= "table" then return true end
  for name in pairs(headers) do
    if type(name) ~= "string" then return false, "must have names of headers as its keys, got a " .. type(name) end
  end
  local seen, count, length = {}, 0, 0
  for _, name in ipairs(sorted_keys(headers)) do
    local value = headers[name]
    local mistake = name_mistake(name, seen) or value_mistake(name, value)
    if mistake then return false, mistake end
    count, length = count + 1, length + #name + #value
  end
  if count > MOST_HEADERS then return false, ("must have at most %d headers, got %d"):format(MOST_HEADERS, count) end
  return length <= LONGEST_HEADERS,
    ("must have at most %d bytes in names and values, got %d"):format(LONGEST_HEADERS, length)
end

local function copy(given)
  local own = {}
  for name, value in pairs(given or {}) do own[name] = value end
  return own
end

---@class trueconf.Web
---@field endpoints table<string, string> addresses, as url.endpoints() gives them
---@field tls trueconf.core.TlsOptions
---@field proxy string?
---@field headers table<string, string> further ones, of the user
local Web = {}
Web.__index = Web

---@param settings trueconf.Settings as config.resolve gives them
---@param given trueconf.ClientOptions of which tls, proxy and headers are taken
---@return trueconf.Web
function web.new(settings, given)
  local web_url = settings.web_url and assert(url.parse(settings.web_url))
  local tls = copy(given.tls)
  tls.ca_file = tls.ca_file or settings.ca_file
  return setmetatable({
    endpoints = url.endpoints(assert(url.parse(settings.url)), web_url), tls = tls, proxy = given.proxy,
    headers = copy(given.headers),
  }, Web)
end

-- A copy of a request with trust, proxy and headers.
local function on_the_way(self, request)
  local all = copy(request)
  all.tls, all.proxy, all.headers = self.tls, self.proxy, copy(self.headers)
  for name, value in pairs(request.headers or {}) do all.headers[name] = value end
  return all
end

---A request to the server.
---@async
---@param request trueconf.core.HttpRequest
---@return table? response
---@return trueconf.Error? err
---@return table<string, string>? begun see core.http
function Web:http(request)
  return core.http(on_the_way(self, request))
end

---A WebSocket to the server.
---@async
---@param options trueconf.core.SocketOptions but for `url`
---@return trueconf.core.Socket? socket
---@return trueconf.Error? err
function Web:socket(options)
  options = on_the_way(self, options)
  options.url = self.endpoints.socket
  return core.socket(options)
end

return web
