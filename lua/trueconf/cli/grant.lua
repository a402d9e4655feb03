-- SPDX-License-Identifier: MIT
-- Gets a token over HTTP, outside of a session: for commands that show the token, or how long the request took
-- (protocol: password grant, token errors).

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local json = require "trueconf.base.json"
local oauth = require "trueconf.client.oauth"

local MAX_ANSWER = 65536                -- bytes
local DENIED = { [401] = true, [403] = true }

local grant = {}

local function word(value)
  return type(value) == "string" and #value <= 80 and value:find "^[%g ]+$" and value or nil
end

-- An error with the same name that the state machine of a session would give it.
local function refusal(answer, said)
  local reason, words = word(said.error), word(said.error_description)
  local name = (DENIED[answer.status] or answer.status == 400 and reason) and "AUTH_FAILED" or "HTTP"
  local more = (reason and ", " .. reason or "") .. (words and ": " .. words or "")
  local message = ("the token endpoint answered HTTP %d%s"):format(answer.status, more)
  return Error.new(name, message, { code = answer.status, retry_after = answer.retry_after })
end

local function by_password(web, settings, timeout)
  local body = json.encode {
    client_id = "chat_bot", grant_type = "password", username = settings.username, password = settings.password,
  }
  if not body then return nil, Error.new("CONFIG", "user name and password must be UTF-8") end
  local answer, err = web:http {
    method = "POST", url = web.endpoints.token, body = body, max_body = MAX_ANSWER,
    headers = { ["Content-Type"] = "application/json", Accept = "application/json" },
    connect_timeout = timeout, timeout = timeout,
  }
  if not answer then return nil, err end
  local said = json.receive(answer.body or "")
  said = type(said) == "table" and said or {}
  if answer.status // 100 ~= 2 then return nil, refusal(answer, said) end
  local token = said.access_token
  if type(token) == "string" and token ~= "" then return token, core.token_expiry(answer.body, token) end
  local complaint = ("the token endpoint answered HTTP %d without an access_token"):format(answer.status)
  return nil, Error.new("PROTOCOL", complaint, { code = answer.status })
end

local function by_exchange(web, settings, timeout)
  local token, expires = oauth.new({
    web = web, client_id = settings.oauth_client_id, username = settings.username, password = settings.password,
    connect_timeout = timeout, timeout = timeout,
  }):run()
  if not token then return nil, expires end
  return token, expires or core.token_expiry("", token)
end

---Get a token by user and password, or by the OAuth2 exchange if there is an id of an application.
---@async
---@param web trueconf.Web
---@param settings trueconf.Settings with username and password
---@param timeout number seconds
---@return string? token
---@return integer|trueconf.Error expires UNIX milliseconds, or an error
function grant.ask(web, settings, timeout)
  local ask = settings.oauth_client_id and by_exchange or by_password
  return ask(web, settings, timeout)
end

return grant
