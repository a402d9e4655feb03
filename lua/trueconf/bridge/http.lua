-- SPDX-License-Identifier: MIT
-- The HTTP side of a Bridge: the token endpoint (protocol: password grant, token errors), the way to the files in
-- files.lua, and what clients ask
-- the web server beside a real one (protocol: neighbouring HTTP calls).

local json = require "trueconf.json"
local control = require "trueconf.bridge.control"
local files = require "trueconf.bridge.files"

local TOKEN_PATH = "/bridge/api/client/v1/oauth/token"

local TOKEN_FIELDS = { "client_id", "grant_type", "password", "username" }

local function respond(request, status, body, more)
  local headers = { ["Content-Type"] = "application/json", ["Access-Control-Allow-Origin"] = "*" }
  for name, value in pairs(more or {}) do headers[name] = value end
  request:respond(status, headers, type(body) == "string" and body or json.encode(body))
end

local function refuse(request, status, name, description)
  respond(request, status, { error = name, error_description = description })
end

-- What a web server in front answers when the Bridge behind it is in trouble.
local function respond_as_proxy(request, status)
  local body = ("<html><body><h1>%d</h1></body></html>"):format(status)
  respond(request, status, body, { ["Content-Type"] = "text/html" })
end

local function type_name(value)
  if type(value) == "table" then return json.is_array(value) and "an array" or "an object" end
  return "a " .. type(value)
end

-- What is wrong with the fields of a token request. One that is null is missing: json.lua leaves it out.
local function form_complaint(form)
  for _, name in ipairs(TOKEN_FIELDS) do
    local value = form[name]
    if value == nil then return name .. ": missing" end
    if type(value) ~= "string" then return ("%s: expected string, got %s"):format(name, type_name(value)) end
  end
end

-- Body of a token request, or nil, `error` and `error_description` of the answer.
local function read_token_request(body)
  local form = json.decode(body)
  if type(form) ~= "table" or json.is_array(form) then
    return nil, "invalid_request", "the body must be a JSON object"
  end
  local complaint = form_complaint(form)
  if complaint then return nil, "invalid_request", complaint end
  if form.client_id ~= "chat_bot" then return nil, "invalid_client", "client_id must be chat_bot" end
  if form.grant_type ~= "password" then return nil, "unsupported_grant_type", "grant_type must be password" end
  return form
end

-- Too many failures have no answer in the protocol: 429, as everywhere on the web.
local function respond_limited(request, seconds)
  local wait = math.ceil(seconds - 1e-6)
  local description = ("Too many failed logins, try again in %d s"):format(wait)
  respond(request, 429, { error = "too_many_attempts", error_description = description }, { ["Retry-After"] = wait })
end

-- Not the client's fault: it comes back later.
local function respond_unavailable(bridge, request, err)
  if err ~= "busy" then bridge.log:error("bridge: a login could not be checked: %s", err) end
  refuse(request, 503, "temporarily_unavailable", "Logins cannot be checked at the moment")
end

local function respond_token(bridge, request, account)
  local options = bridge.options
  local text, expires_at = bridge.tokens:mint(account)
  respond(request, options.token_status, {
    access_token = text,
    token_type = "JWT",
    expires_in = options.expires_in,    -- servers print a year, whatever the token's lifetime is
    expires_at = expires_at,
  })
end

local function grant(bridge, request, form)
  local options = bridge.options
  if not options.password_login then return respond(request, 403, { error = "auth_method_disabled" }) end
  local account, reason, seconds = bridge.logins:try(form.username, form.password, request.peer)
  if account then return respond_token(bridge, request, account) end
  if reason == "limited" then return respond_limited(request, seconds) end
  if reason ~= "refused" then return respond_unavailable(bridge, request, reason) end
  refuse(request, options.bad_password_status, "invalid_grant", "Invalid username or password")
end

local function token(bridge, request)
  local faults = bridge.faults
  if faults.drop_at == "token" then return request:drop() end
  if faults.token_silent then return bridge:hold(request) end
  if faults.token_status then return respond_as_proxy(request, faults.token_status) end
  if request.method ~= "POST" then
    return respond(request, 405, { error = "method_not_allowed" }, { Allow = "POST" })
  end
  local form, name, description = read_token_request(request.body)
  if not form then return refuse(request, 400, name, description) end
  grant(bridge, request, form)
end

-- Versions of servers end in the number of their build.
local function server_version(bridge)
  return bridge.options.version .. ".10000"
end

local function server_info(bridge, request)
  respond(request, 200, {
    product = { display_name = bridge.store.server_name, version = server_version(bridge) },
  })
end

local function server_status(bridge, request)
  respond(request, 200, "TrueConf Server " .. server_version(bridge) .. "\n", { ["Content-Type"] = "text/plain" })
end

local INFO = { ["/api/v4/server"] = server_info, ["/vsstatus"] = server_status }

---Answer an HTTP request.
---@async
---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
local function handle(bridge, request)
  if bridge.control and control.is_path(request.path) then return bridge.control:handle(request) end
  if bridge.mischief:on_http(request) then return end
  if request.path == TOKEN_PATH then return token(bridge, request) end
  if files.Files.is_path(request.path) then return bridge.files:handle(request) end
  local info = bridge.options.server_info and INFO[request.path]
  if not info then return respond(request, 404, { error = "not_found" }) end
  if request.method ~= "GET" then
    return respond(request, 405, { error = "method_not_allowed" }, { Allow = "GET" })
  end
  info(bridge, request)
end

return { handle = handle, TOKEN_PATH = TOKEN_PATH }
