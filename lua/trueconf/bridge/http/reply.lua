-- SPDX-License-Identifier: MIT
-- HTTP answers of a Bridge in the form of real servers (protocol: password grant, token errors).

local json = require "trueconf.base.json"

local RETRY_AFTER = 5                   -- seconds, unless the caller gives others

local reply = {}

---@param request trueconf.core.Request
---@param status integer
---@param body string|table text as it is, or a table sent as JSON
---@param more? table<string, any> headers
function reply.send(request, status, body, more)
  local headers = { ["Content-Type"] = "application/json", ["Access-Control-Allow-Origin"] = "*" }
  if status == 401 then headers["WWW-Authenticate"] = "Bearer" end -- a MUST of RFC 9110, 15.5.2
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

---The answer of a reverse proxy whose backend has a failure.
---@param request trueconf.core.Request
---@param status integer
function reply.as_proxy(request, status)
  local body = ("<html><body><h1>%d</h1></body></html>"):format(status)
  reply.send(request, status, body, { ["Content-Type"] = "text/html" })
end

---Headers of a file for download. In its name ASCII stays as it is, the rest is encoded by RFC 5987.
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

---Answer the preflight request of a browser (CORS). Pages of all sites may read the answers (protocol: password grant),
---so pages of all sites may ask.
---@param request trueconf.core.Request
function reply.preflight(request)
  request:respond(204, {
    ["Access-Control-Allow-Origin"] = "*", ["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS",
    ["Access-Control-Allow-Headers"] = "Content-Type, Upload-Task-Id", ["Access-Control-Max-Age"] = "600",
  })
end

---True if the request has this method, or HEAD in place of GET; any other method is answered 405.
---@param request trueconf.core.Request
---@param wanted "GET"|"POST"
---@return boolean
function reply.has_method(request, wanted)
  local allowed = wanted == "GET" and "GET, HEAD" or wanted
  local has = request.method == wanted or wanted == "GET" and request.method == "HEAD"
  if not has then reply.refuse(request, 405, "method_not_allowed", nil, { Allow = allowed }) end
  return has
end

---Rate limit: the protocol has no answer for too many failed logins, so answer 429, as usual on the web.
---@param request trueconf.core.Request
---@param seconds number
function reply.limited(request, seconds)
  local wait = math.ceil(seconds - 1e-6)
  local description = ("Too many failed logins, try again in %d s"):format(wait)
  reply.refuse(request, 429, "too_many_attempts", description, { ["Retry-After"] = wait })
end

---Answer 503 to a login that cannot be checked at the moment, so that the client tries again later.
---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
---@param err "busy"|trueconf.Error
function reply.unavailable(bridge, request, err)
  if err ~= "busy" then bridge.log:error("bridge: a login could not be checked: %s", err) end
  reply.refuse(request, 503, "temporarily_unavailable", "Logins cannot be checked at the moment",
    { ["Retry-After"] = RETRY_AFTER })
end

return reply
