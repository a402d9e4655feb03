-- SPDX-License-Identifier: MIT
-- The rows of "OAuth2 application exchange" in the protocol notes, as a Bridge answers them, asked without a socket.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local http = require "trueconf.bridge.http"
local settings = require "trueconf.bridge.settings"
local support = require "spec.support.bridge"
local url = require "trueconf.base.url"

local PATHS = url.PATHS
local APPLICATIONS = { app = { scopes = { "version:read" } }, bare = {}, empty = { scopes = {} } }
local START = 1788000000000

describe("the OAuth2 exchange of a Bridge", function()
  local server

  before_each(function()
    core.virtual_time(true, START, 1)
    server = support.server { oauth_applications = APPLICATIONS }
  end)
  after_each(function() core.virtual_time(false) end)

  -- A request with the methods of trueconf.core.Request.
  local function ask(path, body, more)
    local request = { method = "POST", path = path, query = {}, headers = {}, peer = "192.0.2.1" }
    request.body = type(body) == "table" and json.encode(body) or body
    for name, value in pairs(more or {}) do request[name] = value end
    local answer = {}
    function request:respond(status, headers, text)
      assert(not answer.status, "answered twice")
      answer.status, answer.headers, answer.text, answer.body = status, headers, text, json.decode(text)
    end
    function request:drop() answer.dropped = true end
    http.handle(server, request)
    return answer
  end

  local function with(fields, more)
    for name, value in pairs(more or {}) do fields[name] = value end
    return fields
  end

  local function login(more)
    return with({ client_id = "app", grant_type = "password", username = "herald", password = "4711" }, more)
  end

  local function log_in(more)
    return ask(PATHS.oauth_token, login(more))
  end

  local function show_token(token, more)
    return ask(PATHS.oauth_code, with({ client_id = "herald", token = token }, more))
  end

  local function show_code(code, more)
    return ask(PATHS.oauth_exchange, with({ client_id = "user", grant_type = "authorization_code", code = code }, more))
  end

  local function access()
    return log_in().body.access_token
  end

  local function code()
    return show_token(access()).body.authorization_code
  end

  -- Common checks of all refusals; none holds a secret.
  local function assert_refused(answer, status, reason, location)
    assert.equal(status, answer.status)
    assert.equal("application/json", answer.headers["Content-Type"])
    local err = answer.body.error
    assert.equal(status, err.code)
    assert.is_string(err.message)
    assert.matches("^%x+%-", err.trace_id)
    assert.same({ { reason = reason, location = location } }, err.errors)
    assert.is_nil(answer.text:find("4711", 1, true))
  end

  it("gives a token for login, password and client id, by three calls", function()
    local first = log_in()
    assert.equal(200, first.status)
    assert.same({ 3600, "Bearer" }, { first.body.expires_in, first.body.token_type })
    local second = show_token(first.body.access_token)
    assert.equal(200, second.status)
    assert.is_true(second.body.expires_in > START and second.body.expires_in <= START + 600000)
    local third = show_code(second.body.authorization_code)
    assert.equal(200, third.status)
    local account = server.tokens:verify(third.body.access_token, server.accounts)
    assert.equal("herald", account.login)
    third.body.access_token = nil
    assert.same({ token_type = "JWT", expires_in = START + 30 * 86400000 }, third.body)
  end)

  it("hands out other texts each time, of no use in another place", function()
    local token, other, given = access(), access(), code()
    assert.not_equal(token, other)
    assert.not_equal(given, code())
    assert.is_nil(server.tokens:verify(token, server.accounts))
    assert_refused(show_token(given), 401, "invalidToken", "token")
    assert_refused(show_code(token), 401, "invalidCode", "code")
  end)

  it("is there with the password grant switched off, and without", function()
    server = support.server { oauth_applications = APPLICATIONS, password_login = false }
    local grant = login { client_id = "chat_bot" }
    assert.equal("auth_method_disabled", ask(PATHS.token, grant).body.error)
    assert.equal(200, show_code(code()).status)
  end)

  it("came with 5.5.3", function()
    for version, status in pairs { ["5.5.0"] = 404, ["5.5.2"] = 404, ["5.5.3"] = 200, ["5.5.6"] = 200 } do
      server = support.server { oauth_applications = APPLICATIONS, version = version }
      assert.equal(status, log_in().status, version)
      if status == 404 then
        assert.equal(404, show_token("x").status)
        assert.equal(404, show_code("x").status)
      end
    end
  end)

  it("begins at the web server, which is not there beside a Bridge alone", function()
    server = support.server { oauth_applications = APPLICATIONS, server_info = false }
    assert.equal(404, log_in().status)
  end)

  it("answers 401 to a wrong client id or pair, a guest, a federated or disabled account, all alike", function()
    server:disable "mira"
    for _, more in ipairs {
      { client_id = "nobody's" }, { client_id = "" }, { client_id = "chat_bot" }, { password = "4712" },
      { password = "" }, { username = "nobody" }, { username = "herald@other.test" }, { username = "guest/4711" },
      { username = "mira", password = "x" },
    } do
      local answer = log_in(more)
      assert_refused(answer, 401, "invalidCredentials")
      assert.equal("Invalid username, password or client id", answer.body.error.message)
    end
  end)

  it("answers 401 where no application is known", function()
    server = support.server()
    assert_refused(log_in(), 401, "invalidCredentials")
  end)

  it("answers 400 to an application without a scope, before it looks at the password", function()
    for _, client_id in ipairs { "bare", "empty" } do
      assert_refused(log_in { client_id = client_id, password = "4712" }, 400, "invalidScope", "scope")
    end
  end)

  it("answers 400 to what is missing, of a wrong type or no JSON object", function()
    local forms = {
      [PATHS.oauth_token] = login(),
      [PATHS.oauth_code] = { client_id = "herald", token = "x" },
      [PATHS.oauth_exchange] = { client_id = "user", grant_type = "authorization_code", code = "x" },
    }
    for path, form in pairs(forms) do
      for name, value in pairs(form) do
        for _, wrong in ipairs { json.null, 4711 } do
          form[name] = wrong
          assert_refused(ask(path, form), 400, "invalidRequest", name)
        end
        form[name] = value
      end
      for _, body in ipairs { "", "{", "[]", '"x"' } do assert_refused(ask(path, body), 400, "invalidRequest") end
      local answer = ask(path, "", { method = "GET" })
      assert.same({ 405, "POST" }, { answer.status, answer.headers.Allow })
    end
    assert_refused(log_in { grant_type = "client_credentials" }, 400, "unsupportedGrantType", "grant_type")
    assert_refused(show_code(code(), { grant_type = "password" }), 400, "unsupportedGrantType", "grant_type")
    assert_refused(show_code(code(), { client_id = "herald" }), 400, "invalidClient", "client_id")
  end)

  it("takes an access token for an hour, as often as it is shown", function()
    local token = access()
    assert.equal(200, show_token(token).status)
    core.advance(3599)
    assert.equal(200, show_token(token).status)
    core.advance(1)
    assert_refused(show_token(token), 401, "invalidToken", "token")
    assert_refused(show_token "nonsense", 401, "invalidToken", "token")
  end)

  it("takes an access token from its own user only", function()
    local token = access()
    assert.equal(200, show_token(token, { client_id = "Herald@chat.acme.test" }).status)
    for _, name in ipairs { "mira", "", "herald@other.test", "app" } do
      assert_refused(show_token(token, { client_id = name }), 401, "invalidToken", "token")
    end
  end)

  it("takes a code once, and for a short while", function()
    local given, late = code(), code()
    assert.equal(200, show_code(given).status)
    assert_refused(show_code(given), 401, "invalidCode", "code")
    core.advance(59)
    local fresh = code()
    core.advance(1)
    assert_refused(show_code(late), 401, "invalidCode", "code")
    assert.equal(200, show_code(fresh).status)
  end)

  it("keeps at most 10000 codes, of which the oldest leaves", function()
    local token = access()
    local function another() return show_token(token).body.authorization_code end
    local first, second = another(), another()
    for _ = 1, 9999 do another() end
    assert_refused(show_code(first), 401, "invalidCode", "code")
    assert.equal(200, show_code(second).status)
  end)

  it("ends for an account that is disabled on the way", function()
    local token, given = access(), code()
    server:disable "herald"
    assert_refused(show_token(token), 401, "invalidToken", "token")
    assert_refused(show_code(given), 401, "invalidCode", "code")
  end)

  it("shares its limit of failed logins with the token endpoint", function()
    local function grant(password)
      return ask(PATHS.token, login { client_id = "chat_bot", password = password })
    end
    for _ = 1, 5 do
      assert.equal(401, log_in({ password = "wrong" }).status)
      assert.equal(400, grant("wrong").status)
    end
    for _, answer in ipairs { log_in(), grant "4711" } do
      assert.same({ 429, "too_many_attempts", 60 }, { answer.status, answer.body.error, answer.headers["Retry-After"] })
    end
    core.advance(60)
    assert.equal(200, log_in().status)
  end)

  it("can be out of order as the token endpoint is", function()
    local calls = { log_in, function() return show_token "x" end, function() return show_code "x" end }
    for _, call in ipairs(calls) do
      server:fault { token_status = 502 }
      local answer = call()
      assert.same({ 502, "text/html" }, { answer.status, answer.headers["Content-Type"] })
      server:fault { token_status = false, drop_at = "token" }
      assert.same({ dropped = true }, call())
      server:fault { drop_at = false, token_error = 1 }
      assert.equal(503, call().status)
      server:fault()
      assert.not_equal(503, call().status)
    end
  end)
end)

describe("the option oauth_applications", function()
  local function refusal(applications)
    local _, message = pcall(settings.read, { oauth_applications = applications }, 1)
    return tostring(message)
  end

  it("is checked", function()
    assert.matches("client ids must be strings", refusal { "app" })
    assert.matches("client ids must be strings", refusal { [""] = {} })
    assert.matches("'app': options must be a table", refusal { app = true })
    assert.matches("'app': unknown option 'scope', did you mean 'scopes'", refusal { app = { scope = {} } })
    assert.matches("'app': option 'scopes' must be a table", refusal { app = { scopes = "version:read" } })
    assert.matches("'app': option 'scopes' must be a list of strings", refusal { app = { scopes = { 1 } } })
    assert.matches("'app': option 'scopes' must be a list of strings",
      refusal { app = { scopes = { version = "read" } } })
  end)
end)
