-- SPDX-License-Identifier: MIT
-- Checks the address of a server, and makes the addresses of its endpoints. The scheme may be ws, wss, http or https;
-- it only decides about TLS.
-- Messages read "must ...", so that the caller can put the name of the option, the
-- variable or the file's line before them; they never repeat a user or a password.

local core = require "trueconf.core"

local url = {}

local TLS_OF = { ws = false, http = false, wss = true, https = true }

-- protocol: Endpoints; TLS and proxy
local PLAIN_PORT, TLS_PORT = 4309, 443
local SOCKET_PATH = "/websocket/chat_bot/"

---Paths of the HTTP endpoints. The first two are Bridge's own, the others are at the web port (protocol: Endpoints;
---OAuth2 application exchange).
url.PATHS = {
  token = "/bridge/api/client/v1/oauth/token",
  files = "/bridge/api/client/v1/files",
  server = "/api/v4/server",
  oauth_token = "/api/v4/oauth2/token",
  oauth_code = "/bridge/api/client/v1/auth/web_rest_api_token",
  oauth_exchange = "/bridge/api/client/v1/auth/token",
}
local OF_BRIDGE = { token = true, files = true }

---@class trueconf.Url
---@field tls boolean
---@field host string lower case, an IPv6 address without its brackets
---@field port integer
---@field prefix string path before the server's own paths, "" or "/..." without a slash at its end
---@field loopback boolean the host is a loopback address or name

local function is_ipv6(text)
  local _, colons = text:gsub(":", "")
  return text:find "^[%x:.]+$" ~= nil and colons >= 2 and colons <= 7 and not text:find ":::"
end

local function parse_port(text, tls)
  if text == "" then return tls and TLS_PORT or PLAIN_PORT end
  local digits = text:match "^:(%d+)$"
  local port = digits and tonumber(digits)
  if port and port >= 1 and port <= 65535 then return port end
  return nil, "must have a port between 1 and 65535 after the host"
end

local function parse_host(authority)
  if authority:sub(1, 1) == "[" then
    local host, rest = authority:match "^%[([^%]]*)%](.*)$"
    if host and is_ipv6(host) then return host:lower(), rest end
    return nil, "must have an IPv6 address between '[' and ']'"
  end
  if is_ipv6(authority) then return nil, "must have the IPv6 address in brackets, as in ws://[::1]:4309" end
  local host, rest = authority:match "^([^:]*)(.*)$"
  if host == "" then return nil, "must name a host" end
  if #host > 253 or not host:find "^[%w._-]+$" then
    return nil, "must have a host of letters, digits, '.', '-' and '_'"
  end
  return host:lower(), rest
end

-- Users often paste the whole address of an endpoint.
local function parse_prefix(path)
  if path:find "[?#]" then return nil, "must end with the path, without '?' or '#'" end
  if path:find "[^%w/._~%%!$&'()*+,;=:@-]" then
    return nil, "must have a path of the characters that are allowed in addresses"
  end
  local prefix = path:gsub("/+$", "")
  local known = { SOCKET_PATH:sub(1, -2) }
  for _, endpoint in pairs(url.PATHS) do known[#known + 1] = endpoint end
  for _, endpoint in ipairs(known) do
    if prefix:sub(-#endpoint) == endpoint then return prefix:sub(1, -#endpoint - 1) end
  end
  return prefix
end

---Check the address of a server. Fit to be the `check` of an option.
---@param text string `ws|wss|http|https://host[:port][/prefix]`, an IPv6 address in brackets
---@return trueconf.Url?
---@return string? expected what it must be or have
function url.parse(text)
  local scheme, authority, path = text:match "^(%a[%w+.-]*)://([^/?#]*)(.*)$"
  local tls = TLS_OF[scheme and scheme:lower()]
  if tls == nil then return nil, "must begin with ws://, wss://, http:// or https://" end
  if authority:find("@", 1, true) then
    return nil, "must not hold a user or password; use the options for them"
  end
  local host, rest = parse_host(authority)
  if not host then return nil, rest end
  local port, bad_port = parse_port(rest, tls)
  if not port then return nil, bad_port end
  local prefix, bad_path = parse_prefix(path)
  if not prefix then return nil, bad_path end
  return { tls = tls, host = host, port = port, prefix = prefix, loopback = core.is_loopback(host) }
end

local function base(scheme, parsed)
  local host = parsed.host:find(":", 1, true) and "[" .. parsed.host .. "]" or parsed.host
  local port = parsed.tls and parsed.port == TLS_PORT and "" or ":" .. parsed.port
  return scheme .. (parsed.tls and "s" or "") .. "://" .. host .. port .. parsed.prefix
end

---The addresses of a server's endpoints (protocol: Endpoints).
---@param parsed trueconf.Url
---@param web? trueconf.Url where the web port is another one
---@return table<string, string> endpoints socket, and those of url.PATHS
function url.endpoints(parsed, web)
  local endpoints = { socket = base("ws", parsed) .. SOCKET_PATH }
  for name, path in pairs(url.PATHS) do
    endpoints[name] = base("http", not OF_BRIDGE[name] and web or parsed) .. path
  end
  return endpoints
end

return url
