-- SPDX-License-Identifier: MIT
-- Answers of a Bridge over HTTP, as servers give them (protocol: password grant, token errors).

local json = require "trueconf.base.json"

local RETRY_AFTER = 5                   -- seconds, when nobody knows better

local reply = {}

---@param request trueconf.core.Request
---@param status integer
---@param body string|table text as it is, or what is sent as JSON
---@param more? table<string, any> headers
function reply.send(request, status, body, more)
  local headers = { ["Content-Type"] = "application/json", ["Access-Control-Allow-Origin"] = "*" }
  for name, value in pairs(more or {}) do headers[name] = value end
  request:respond(status, headers, type(body) == "string" and body or json.encode(body))
end

---@param request trueconf.core.Request
---@param status integer
---@param name string|integer `error`
---@param description? string `error_description`
---@param more? table<string, any> headers
function reply.refuse(request, status, name, description, more)
  reply.send(request, status, { error = name, error_description = description }, more)
end

---What a web server in front answers when the Bridge behind it is in trouble.
---@param request trueconf.core.Request
---@param status integer
function reply.as_proxy(request, status)
  local body = ("<html><body><h1>%d</h1></body></html>"):format(status)
  reply.send(request, status, body, { ["Content-Type"] = "text/html" })
end

---Headers of a file that a page is to save. In a name ASCII stays as it is, the rest goes the way of RFC 5987.
---@param name string
---@param mime string
---@return table<string, string>
function reply.file_headers(name, mime)
  local encoded = name:gsub("[^%w._-]", function(byte) return ("%%%02X"):format(byte:byte()) end)
  return {
    ["Content-Type"] = mime, ["Content-Disposition"] = "attachment; filename*=UTF-8''" .. encoded,
    ["X-Content-Type-Options"] = "nosniff",
  }
end

---Answer the preflight that a browser sends before a request from a page of another site. All may read the answers
---(protocol: password grant), so all may ask for them.
---@param request trueconf.core.Request
function reply.preflight(request)
  request:respond(204, {
    ["Access-Control-Allow-Origin"] = "*", ["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS",
    ["Access-Control-Allow-Headers"] = "Content-Type, Upload-Task-Id", ["Access-Control-Max-Age"] = "600",
  })
end

---Whether the request has this method, or is HEAD where that is GET; else it is answered.
---@param request trueconf.core.Request
---@param wanted "GET"|"POST"
---@return boolean
function reply.has_method(request, wanted)
  local allowed = wanted == "GET" and "GET, HEAD" or wanted
  local has = request.method == wanted or wanted == "GET" and request.method == "HEAD"
  if not has then reply.refuse(request, 405, "method_not_allowed", nil, { Allow = allowed }) end
  return has
end

---Too many failed logins have no answer in the protocol: 429, as everywhere on the web.
---@param request trueconf.core.Request
---@param seconds number
function reply.limited(request, seconds)
  local wait = math.ceil(seconds - 1e-6)
  local description = ("Too many failed logins, try again in %d s"):format(wait)
  reply.refuse(request, 429, "too_many_attempts", description, { ["Retry-After"] = wait })
end

---A login cannot be checked, which is not the client's fault: it comes back later.
---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
---@param err "busy"|trueconf.Error
function reply.unavailable(bridge, request, err)
  if err ~= "busy" then bridge.log:error("bridge: a login could not be checked: %s", err) end
  reply.refuse(request, 503, "temporarily_unavailable", "Logins cannot be checked at the moment",
    { ["Retry-After"] = RETRY_AFTER })
end

return reply
