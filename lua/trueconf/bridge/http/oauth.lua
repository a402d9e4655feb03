-- SPDX-License-Identifier: MIT
-- The OAuth2 application exchange of a Bridge (protocol 3.3), as servers have it from 5.5.3 on: an application's
-- id, a user's name and password give an access token, that gives a code, and the code gives a token for `auth`.
-- Access tokens and codes are random texts, valid only for this Bridge and for a limited time.

local core = require "trueconf.core"
local ttl_cache = require "trueconf.bridge.store.ttl_cache"
local form = require "trueconf.bridge.http.form"
local reply = require "trueconf.bridge.http.reply"
local url = require "trueconf.base.url"

local SINCE = "5.5.3"
local ACCESS_LIFE, CODE_LIFE = 3600, 60 -- seconds
local MOST = 10000                      -- valid ones of each kind; above that the oldest is dropped
local RANDOM_BYTES = 32

---@class trueconf.bridge.Grant account and application of an access token or a code
---@field key string of the account
---@field client_id string of the application

---@class trueconf.bridge.OAuth
---@field private bridge trueconf.bridge.Server
---@field private access trueconf.bridge.TtlCache
---@field private codes trueconf.bridge.TtlCache
local OAuth = {}
OAuth.__index = OAuth

---@param bridge trueconf.bridge.Server
---@return trueconf.bridge.OAuth
local function new(bridge)
  return setmetatable({
    bridge = bridge,
    access = ttl_cache.new(ACCESS_LIFE, MOST),
    codes = ttl_cache.new(CODE_LIFE, MOST),
  }, OAuth)
end

-- Errors have the shape that the server's REST API gives them.
local function refuse(request, status, reason, message, location)
  reply.send(request, status, {
    error = {
      code = status, message = message, trace_id = core.uuid(),
      errors = { { reason = reason, location = location } },
    },
  })
end

local function refuse_login(request)
  refuse(request, 401, "invalidCredentials", "Invalid username, password or client id")
end

-- Fields of a request; nil if it has been refused.
function OAuth:read(request, names)
  local fields, complaint, name = form.read(request, names, self.bridge.options.strict)
  if not fields then refuse(request, 400, "invalidRequest", complaint, name) end
  return fields
end

local function refuse_grant_type(request, expected)
  refuse(request, 400, "unsupportedGrantType", "grant_type must be " .. expected, "grant_type")
end

local function keep(store, grant)
  local text = core.base64url_encode(core.random(RANDOM_BYTES))
  store:put(text, grant)
  return text
end

-- The account of a grant, if it may still log in.
function OAuth:account(grant)
  local account = grant and self.bridge.accounts:by_login(grant.key)
  return account and not account.disabled and account or nil
end

-- The three calls ---------------------------------------------------------------------------

local LOGIN_FIELDS = { "client_id", "grant_type", "username", "password" }

function OAuth:log_in(request, fields)
  local bridge = self.bridge
  local account, reason, seconds = bridge.logins:try(fields.username, fields.password, request.peer)
  if reason == "limited" then return reply.limited(request, seconds) end
  if reason == "refused" then return refuse_login(request) end
  if not account then return reply.unavailable(bridge, request, reason) end
  local token = keep(self.access, { key = account.key, client_id = fields.client_id })
  reply.send(request, 200, { access_token = token, token_type = "Bearer", expires_in = ACCESS_LIFE })
end

function OAuth:give_access(request)
  local fields = self:read(request, LOGIN_FIELDS)
  if not fields then return end
  if fields.grant_type ~= "password" then return refuse_grant_type(request, "password") end
  local application = self.bridge.options.oauth_applications[fields.client_id]
  if not application then return refuse_login(request) end
  if not (application.scopes and application.scopes[1]) then
    return refuse(request, 400, "invalidScope", "The application has no scope", "scope")
  end
  self:log_in(request, fields)
end

-- In this call client_id is the name of the user.
function OAuth:give_code(request)
  local fields = self:read(request, { "client_id", "token" })
  if not fields then return end
  local grant = self.access:get(fields.token)
  if not self:account(grant) or self.bridge.accounts:key_of(fields.client_id) ~= grant.key then
    return refuse(request, 401, "invalidToken", "The access token is unknown, too old, or of another user", "token")
  end
  reply.send(request, 200, {
    authorization_code = keep(self.codes, grant), expires_in = core.now() + CODE_LIFE * 1000,
  })
end

function OAuth:give_token(request)
  local fields = self:read(request, { "client_id", "grant_type", "code" })
  if not fields then return end
  if fields.client_id ~= "user" then
    return refuse(request, 400, "invalidClient", "client_id must be user", "client_id")
  end
  if fields.grant_type ~= "authorization_code" then return refuse_grant_type(request, "authorization_code") end
  local account = self:account(self.codes:take(fields.code))
  if not account then
    return refuse(request, 401, "invalidCode", "The code is unknown, too old, or was used before", "code")
  end
  local token, expires_at = self.bridge.tokens:mint(account)
  reply.send(request, 200, { access_token = token, token_type = "JWT", expires_in = expires_at * 1000 })
end

local CALLS = {
  [url.PATHS.oauth_token] = OAuth.give_access,
  [url.PATHS.oauth_code] = OAuth.give_code,
  [url.PATHS.oauth_exchange] = OAuth.give_token,
}

---The function that answers a path of the exchange; nil: another path, or the played version has no exchange.
---@param path string
---@return fun(self: trueconf.bridge.OAuth, request: trueconf.core.Request)? answer
function OAuth:answer_to(path)
  local options = self.bridge.options
  -- The web server answers the first call, which a Bridge without server_info does not have.
  if path == url.PATHS.oauth_token and not options.server_info then return nil end
  return self.bridge.profile:has(SINCE) and CALLS[path] or nil
end

return { new = new }
