-- SPDX-License-Identifier: MIT
-- The OAuth2 application exchange (protocol 3.3): gets a token from a server without password login. It makes three
-- calls at the web port, each with the result of the one before; the administrator has made an application, whose
-- client id is sent with the user's name and password. Errors name the call and the server's error word, never the
-- server's text.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local json = require "trueconf.base.json"

local MAX_ANSWER = 65536                -- bytes
local EPOCH = 1e11                      -- a larger expires_in is UNIX milliseconds (protocol: password grant)
local SCOPE = "version:read"            -- the one that is enough

---@class trueconf.oauth.Step
---@field endpoint string name in url.PATHS
---@field gives string field of the answer
---@field form fun(exchange: trueconf.oauth.Exchange, shown: string?): table

---@type trueconf.oauth.Step[]
local STEPS = {
  {
    endpoint = "oauth_token", gives = "access_token",
    form = function(exchange)
      return {
        client_id = exchange.client_id, grant_type = "password",
        username = exchange.username, password = exchange.password,
      }
    end,
  },
  {
    endpoint = "oauth_code", gives = "authorization_code",
    form = function(exchange, token) return { client_id = exchange.username, token = token } end,
  },
  {
    endpoint = "oauth_exchange", gives = "access_token",
    form = function(_, code) return { client_id = "user", grant_type = "authorization_code", code = code } end,
  },
}

-- Answers -----------------------------------------------------------------------------------

local function decoded(answer)
  local object = json.receive(answer.body or "")
  return type(object) == "table" and object or {}
end

local function is_word(value)
  return type(value) == "string" and #value <= 40 and value:find "^[%w_.-]+$" ~= nil
end

-- The server's reason for a refusal: `error` is a word, or an object with `errors` (protocol 3.3).
local function reason_of(answer)
  local err = decoded(answer).error
  local list = type(err) == "table" and err.errors
  local first = type(list) == "table" and list[1]
  local reason = type(first) == "table" and first.reason or err
  return is_word(reason) and reason or nil
end

local SCOPE_REASONS = { invalidScope = true, invalid_scope = true }
local DENIED_STATUS = { [401] = true, [403] = true }
local DENIED_REASONS = { invalid_grant = true, invalid_client = true }

-- The error of an answer, by the names the state machine goes by: AUTH_FAILED is tried three times, CONFIG never
-- again, HTTP for ever.
local function refusal(number, answer)
  local status, reason = answer.status, reason_of(answer)
  local said = ("call %d of the OAuth2 exchange was answered with HTTP %d%s"):format(number, status,
    reason and ", " .. reason or "")
  local name, advice = "HTTP", ""
  if status == 400 and SCOPE_REASONS[reason] then
    name, advice = "CONFIG", ("; the OAuth application needs the scope %s"):format(SCOPE)
  elseif DENIED_STATUS[status] or status == 400 and DENIED_REASONS[reason] then
    name, advice = "AUTH_FAILED", "; user, password or client id is wrong"
  elseif status == 400 and reason then
    name = "CONFIG"
  elseif status == 404 then
    advice = "; it needs TrueConf Server 5.5.3 and its web port"
  end
  return Error.new(name, said .. advice, { code = status, retry_after = answer.retry_after })
end

local function expiry_of(answer)
  local expires = decoded(answer).expires_in
  return type(expires) == "number" and expires > EPOCH and expires or nil
end

-- The exchange ------------------------------------------------------------------------------

---@class trueconf.oauth.Exchange
---@field private web trueconf.Web
---@field private client_id string
---@field private username string
---@field private password string
---@field private connect_timeout number?
---@field private timeout number seconds for all three calls
---@field private running thread?
local Exchange = {}
Exchange.__index = Exchange

local DEFAULT_TIMEOUT = 15              -- that of the core for a token

---@param given table web, client_id, username, password, and if given connect_timeout and timeout, as in the class
---@return trueconf.oauth.Exchange
local function new(given)
  local self = { timeout = DEFAULT_TIMEOUT }
  for name, value in pairs(given) do self[name] = value end
  return setmetatable(self, Exchange)
end

function Exchange:ask(step, shown, left)
  local body = json.encode(step.form(self, shown))
  if not body then return nil, Error.new("CONFIG", "username, password and client id must be UTF-8") end
  if left <= 0 then return nil, Error.new("TIMEOUT", "the OAuth2 exchange did not end in time") end
  return self.web:http {
    method = "POST", url = self.web.endpoints[step.endpoint], body = body,
    headers = { ["Content-Type"] = "application/json", Accept = "application/json" },
    connect_timeout = self.connect_timeout, timeout = left, max_body = MAX_ANSWER,
  }
end

function Exchange:perform()
  local over = core.monotonic() + self.timeout
  local shown, answer, err
  for number, step in ipairs(STEPS) do
    answer, err = self:ask(step, shown, over - core.monotonic())
    if not answer then return nil, err end
    if answer.status // 100 ~= 2 then return nil, refusal(number, answer) end
    shown = decoded(answer)[step.gives]
    if type(shown) ~= "string" or shown == "" then
      return nil, Error.new("PROTOCOL",
        ("the answer to call %d of the OAuth2 exchange has no %s"):format(number, step.gives), { code = answer.status })
    end
  end
  return shown, expiry_of(answer)
end

---Get a token; a token source of a session.
---@async
---@return string? token
---@return integer|trueconf.Error|nil expires UNIX milliseconds, nil if the server does not say; or an error:
---AUTH_FAILED, CONFIG, HTTP, PROTOCOL, or an error of core.http
function Exchange:run()
  local thread = coroutine.running()
  self.running = thread
  local token, err = self:perform()
  if self.running == thread then self.running = nil end
  return token, err
end

---Cancel the running exchange.
function Exchange:cancel()
  local thread = self.running
  self.running = nil
  if thread then core.cancel(thread) end
end

return { new = new }
