-- SPDX-License-Identifier: MIT
-- Protects the control endpoint before the key is checked. It refuses other machines, also behind a proxy on loopback
-- (recognised by its headers), pages of other sites in a browser on this machine (recognised by Origin), and host names
-- other than loopback (DNS rebinding).

local core = require "trueconf.core"

local guard = {}

-- True if a host, with or without a port, is a loopback address or name.
local function is_here(host)
  return core.is_loopback(host:match "^%[[^%]]*%]" or host:match "^[^:]*")
end

-- Headers that proxies add to requests.
local PROXY_HEADERS = {
  "forwarded", "via", "x-real-ip", "x-forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-scheme",
  "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-uri",
  "x-original-forwarded-for", "x-original-url", "x-original-uri", "x-rewrite-url", "x-client-ip",
  "x-cluster-client-ip", "x-proxyuser-ip", "x-envoy-external-address", "true-client-ip", "cf-connecting-ip",
}

local function comes_by_proxy(headers)
  for _, name in ipairs(PROXY_HEADERS) do
    if headers[name] then return true end
  end
  return false
end

---The reason to refuse a request, or nil.
---@param head trueconf.core.RequestHead
---@return string? complaint
function guard.complaint(head)
  if not core.is_loopback(head.peer) then return "only programs on the same machine are answered" end
  if comes_by_proxy(head.headers) then return "a web server must not pass /control/ on" end
  local origin, host = head.headers.origin, head.headers.host
  if origin and not is_here(origin:match "^%a[%w+.-]*://(.*)$" or "") then
    return "pages of other sites are not answered"
  end
  if host and not is_here(host) then return "the header Host must name this machine as localhost" end
end

return guard
