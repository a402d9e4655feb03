-- SPDX-License-Identifier: MIT
-- The HTTP side of a Bridge: the token endpoint (protocol: password grant, token errors), the routes to the exchange in
-- oauth.lua and to the files, and the requests for the web server beside a real one (protocol: neighbouring HTTP
-- calls).

local control = require "trueconf.bridge.control"
local files = require "trueconf.bridge.files"
local form = require "trueconf.bridge.http.form"
local reply = require "trueconf.bridge.http.reply"
local url = require "trueconf.base.url"

local TOKEN_PATH = url.PATHS.token

local TOKEN_FIELDS = { "client_id", "grant_type", "password", "username" }

-- Body of a token request, or nil, `error` and `error_description` of the answer.
local function read_token_request(bridge, request)
  local fields, complaint = form.read(request, TOKEN_FIELDS, bridge.options.strict)
  if not fields then return nil, "invalid_request", complaint end
  if fields.client_id ~= "chat_bot" then return nil, "invalid_client", "client_id must be chat_bot" end
  if fields.grant_type ~= "password" then return nil, "unsupported_grant_type", "grant_type must be password" end
  return fields
end

local function respond_token(bridge, request, account)
  local options = bridge.options
  local text, expires_at = bridge.tokens:mint(account)
  reply.send(request, options.token_status, {
    access_token = text,
    token_type = "JWT",
    expires_in = options.expires_in,    -- servers say a year, whatever the token's lifetime is
    expires_at = expires_at,
  })
end

local function grant(bridge, request, fields)
  local options = bridge.options
  if not options.password_login then return reply.refuse(request, 403, "auth_method_disabled") end
  local account, reason, seconds = bridge.logins:try(fields.username, fields.password, request.peer)
  if account then return respond_token(bridge, request, account) end
  if reason == "limited" then return reply.limited(request, seconds) end
  if reason ~= "refused" then return reply.unavailable(bridge, request, reason) end
  reply.refuse(request, options.bad_password_status, "invalid_grant", "Invalid username or password")
end

local function token(bridge, request)
  local fields, name, description = read_token_request(bridge, request)
  if not fields then return reply.refuse(request, 400, name, description) end
  grant(bridge, request, fields)
end

-- The function that answers a request of the token endpoint or of the OAuth2 exchange.
local function token_answer(bridge, path)
  if path == TOKEN_PATH then return token end
  local answer = bridge.oauth:answer_to(path)
  return answer and function(_, request) answer(bridge.oauth, request) end
end

local function answer_token(bridge, request, answer)
  local faults = bridge.faults
  if faults.drop_at == "token" then return request:drop() end
  if faults.token_silent then return bridge:hold(request) end
  if faults.token_status then return reply.as_proxy(request, faults.token_status) end
  if not reply.has_method(request, "POST") then return end
  answer(bridge, request)
end

-- Versions of servers end in the number of their build.
local function server_version(bridge)
  return bridge.options.version .. ".10000"
end

local function server_info(bridge, request)
  reply.send(request, 200, {
    product = { display_name = bridge.store.server_name, version = server_version(bridge) },
  })
end

local function server_status(bridge, request)
  reply.send(request, 200, "TrueConf Server " .. server_version(bridge) .. "\n", { ["Content-Type"] = "text/plain" })
end

local INFO = { [url.PATHS.server] = server_info, ["/vsstatus"] = server_status }

---Answer an HTTP request.
---@async
---@param bridge trueconf.bridge.Server
---@param request trueconf.core.Request
local function handle(bridge, request)
  if bridge.control and control.is_for(request) then return bridge.control:handle(request) end
  if bridge.fault_injector:on_http(request) then return end
  local answer = token_answer(bridge, request.path)
  if request.method == "OPTIONS" and not bridge.options.strict and (answer or files.Files.is_path(request.path)) then
    return reply.preflight(request)
  end
  if answer then return answer_token(bridge, request, answer) end
  if files.Files.is_path(request.path) then return bridge.files:handle(request) end
  local info = bridge.options.server_info and INFO[request.path]
  if not info then return reply.refuse(request, 404, "not_found") end
  if reply.has_method(request, "GET") then info(bridge, request) end
end

return { handle = handle, TOKEN_PATH = TOKEN_PATH }
