-- SPDX-License-Identifier: MIT
-- The rows of "Token errors" in the protocol notes, asked without a socket.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local http = require "trueconf.bridge.http"
local support = require "spec.support.bridge"

describe("the token endpoint", function()
  local server

  before_each(function() server = support.server() end)
  after_each(function() core.virtual_time(false) end)

  -- A request with the methods of trueconf.core.Request.
  local function ask(body, more)
    local request = {
      method = "POST", path = http.TOKEN_PATH, query = {}, headers = {}, body = body, peer = "192.0.2.1",
    }
    for name, value in pairs(more or {}) do request[name] = value end
    local answer = {}
    function request:respond(status, headers, text)
      assert(not answer.status, "answered twice")
      answer.status, answer.headers, answer.text = status, headers, text
      answer.body = text and json.decode(text)
    end
    function request:drop() answer.dropped = true end
    http.handle(server, request)
    return answer
  end

  local function form(more)
    local fields = { client_id = "chat_bot", grant_type = "password", username = "herald", password = "4711" }
    for name, value in pairs(more or {}) do fields[name] = value end
    return fields
  end

  local function token(more)
    return ask(json.encode(form(more)))
  end

  local function assert_error(answer, status, name, description)
    assert.equal(status, answer.status)
    assert.equal(name, answer.body.error)
    if description then assert.matches(description, answer.body.error_description) end
    assert.equal("*", answer.headers["Access-Control-Allow-Origin"])
    assert.equal("application/json", answer.headers["Content-Type"])
  end

  it("gives a token for login and password", function()
    core.virtual_time(true, 1788000000000, 1)
    local answer = token()
    assert.equal(201, answer.status)
    assert.equal("*", answer.headers["Access-Control-Allow-Origin"])
    assert.equal("application/json", answer.headers["Content-Type"])
    local access_token = answer.body.access_token
    answer.body.access_token = nil
    assert.same({ token_type = "JWT", expires_in = 31536000, expires_at = 1788000000 + 2592000 }, answer.body)
    assert.equal("herald", server.tokens:verify(access_token, server.accounts).login)
  end)

  it("takes the login with the server's name, and in any case", function()
    assert.equal(201, token({ username = "herald@chat.acme.test" }).status)
    assert.equal(201, token({ username = "Herald" }).status)
  end)

  it("ignores client_secret and other fields", function()
    assert.equal(201, token({ client_secret = "", scope = 1 }).status)
  end)

  it("answers 200 and another expires_in when told so", function()
    server = support.server { token_status = 200, expires_in = 2592000 }
    local answer = token()
    assert.equal(200, answer.status)
    assert.equal(2592000, answer.body.expires_in)
  end)

  it("answers invalid_grant to a wrong pair, a guest, a federated or disabled account, all alike", function()
    server:disable "mira"
    for _, more in ipairs {
      { password = "4712" }, { password = "" }, { username = "nobody" }, { username = "" },
      { username = "herald@other.test" }, { username = "guest/4711" }, { username = "mira", password = "x" },
    } do
      local answer = token(more)
      assert_error(answer, 400, "invalid_grant")
      assert.equal("Invalid username or password", answer.body.error_description)
    end
  end)

  it("answers 401 instead when told so", function()
    server = support.server { bad_password_status = 401 }
    assert_error(token { password = "x" }, 401, "invalid_grant", "^Invalid username or password$")
    assert_error(token { client_id = "x" }, 400, "invalid_client")
  end)

  it("answers invalid_request to a missing or wrongly typed field", function()
    for _, name in ipairs { "client_id", "grant_type", "username", "password" } do
      local fields = form()
      fields[name] = nil
      assert_error(ask(json.encode(fields)), 400, "invalid_request", "^" .. name .. ": missing$")
      assert_error(token { [name] = json.null }, 400, "invalid_request", "^" .. name .. ": missing$")
      assert_error(token { [name] = 4711 }, 400, "invalid_request", "^" .. name .. ": expected string, got a number$")
    end
  end)

  local FORM = "application/x-www-form-urlencoded"
  local function of(kind) return { headers = { ["content-type"] = kind } } end

  it("lets pages of other sites ask, unless it is strict", function()
    for _, path in ipairs { http.TOKEN_PATH, "/bridge/api/client/v1/files", "/bridge/api/client/v1/auth/token" } do
      local answer = ask("", { method = "OPTIONS", path = path })
      assert.equal(204, answer.status)
      assert.equal("*", answer.headers["Access-Control-Allow-Origin"])
      assert.matches("POST", answer.headers["Access-Control-Allow-Methods"])
      assert.matches("Content%-Type.*Upload%-Task%-Id", answer.headers["Access-Control-Allow-Headers"])
    end
    assert_error(ask("", { method = "OPTIONS", path = "/nothing" }), 404, "not_found")
    server = support.server { strict = true }
    assert_error(ask("", { method = "OPTIONS" }), 405, "method_not_allowed")
  end)

  it("takes forms too, unless it is strict", function()
    local body = "client_id=chat_bot&grant_type=password&username=herald%40chat.acme.test&password=47%31+1&x"
    server:add_account("herald", "471 1")
    for _, kind in ipairs { FORM, FORM:upper() .. "; charset=utf-8" } do
      assert.equal(201, ask(body, of(kind)).status)
    end
    assert_error(ask("client_id=chat_bot", of(FORM)), 400, "invalid_request", "^grant_type: missing$")
    assert_error(ask(body, of(FORM .. "x")), 400, "invalid_request", "JSON object")
    server = support.server { strict = true }
    assert_error(ask(body, of(FORM)), 400, "invalid_request", "JSON object")
  end)

  it("answers invalid_request to what is no JSON object", function()
    for _, body in ipairs { "", "{", "[]", '"x"', "client_id=chat_bot&grant_type=password" } do
      assert_error(ask(body), 400, "invalid_request", "JSON object")
    end
  end)

  it("answers invalid_client and unsupported_grant_type", function()
    assert_error(token { client_id = "user" }, 400, "invalid_client", "chat_bot")
    assert_error(token { grant_type = "client_credentials" }, 400, "unsupported_grant_type", "password")
    assert_error(token { client_id = "user", grant_type = "x" }, 400, "invalid_client")
  end)

  it("answers 403 when login by password is disabled", function()
    server = support.server { password_login = false }
    local answer = token()
    assert_error(answer, 403, "auth_method_disabled")
  end)

  it("never repeats the password", function()
    for _, more in ipairs { {}, { password = "very secret" }, { password = "very secret", client_id = "x" } } do
      local answer = token(more)
      assert.is_nil(answer.text:find("very secret", 1, true))
      assert.is_nil(answer.text:find("4711", 1, true))
    end
  end)

  it("answers 405 to other HTTP methods, naming the right one", function()
    for _, method in ipairs { "GET", "PUT", "DELETE" } do
      local answer = ask("", { method = method })
      assert.equal(405, answer.status)
      assert.equal("POST", answer.headers.Allow)
    end
  end)

  it("is at one path; others answer 404", function()
    for _, path in ipairs { "/", http.TOKEN_PATH .. "/", "/bridge/api/client/v1/oauth", "/api/v4/servers" } do
      assert_error(ask(json.encode(form()), { path = path }), 404, "not_found")
    end
  end)

  it("can be out of order: 404, 5xx with a body of HTML, a dropped connection", function()
    for _, status in ipairs { 403, 404, 500, 503 } do
      server:fault { token_status = status }
      local answer = token()
      assert.equal(status, answer.status)
      assert.equal("text/html", answer.headers["Content-Type"])
      assert.is_nil(answer.body)
    end
    server:fault()
    server:fault { drop_at = "token" }
    assert.same({ dropped = true }, token())
    server:fault { drop_at = false }
    assert.equal(201, token().status)
  end)

  it("takes as long for an unknown login as for a wrong password", function()
    local verify, costs = core.crypt_verify, {}
    core.crypt_verify = function(password, hash)        -- luacheck: ignore 122
      costs[#costs + 1] = hash:match "^%$y%$[^$]+%$"
      return verify(password, hash)
    end
    local ok, err = pcall(function()
      server:add_account "nopass"
      for _, more in ipairs {
        { password = "x" }, { username = "nobody" }, { username = "nopass" }, { username = "herald@other.test" },
        { username = "guest/4711" },
      } do
        assert_error(token(more), 400, "invalid_grant")
      end
    end)
    core.crypt_verify = verify                          -- luacheck: ignore 122
    assert(ok, err)
    assert.same({ "$y$j75$", "$y$j75$", "$y$j75$", "$y$j75$", "$y$j75$" }, costs)
  end)

  it("refuses an account that is disabled while its password is checked", function()
    local answer
    core.spawn(function() answer = token() end)
    core.spawn(function() server:disable "herald" end)
    while not answer do core.step() end
    assert_error(answer, 400, "invalid_grant")
  end)

  describe("limits failed logins", function()
    before_each(function()
      core.virtual_time(true, 1788000000000, 1)
      server = support.server()
    end)

    local function fail(times, more)
      for _ = 1, times do
        local fields = form { password = "wrong" }
        for name, value in pairs(more or {}) do fields[name] = value end
        assert_error(ask(json.encode(fields)), 400, "invalid_grant")
      end
    end

    local function assert_limited(answer, seconds)
      assert_error(answer, 429, "too_many_attempts", ("^Too many failed logins, try again in %d s$"):format(seconds))
      assert.equal(seconds, answer.headers["Retry-After"])
      assert.is_nil(answer.body.access_token)
    end

    it("of one account, for a minute from the first one on", function()
      fail(1)
      core.advance(20)
      fail(9)
      assert_limited(token(), 40)
      assert_limited(token { username = "HERALD@chat.acme.test" }, 40)
      assert.equal(201, token({ username = "mira", password = "x" }).status)
      core.advance(39.5)
      assert_limited(token(), 1)
      core.advance(0.5)
      assert.equal(201, token().status)
      fail(1)
    end)

    it("of a login that does not exist as well", function()
      fail(10, { username = "nobody" })
      assert_limited(token { username = "nobody" }, 60)
    end)

    it("but forgets them when the right password comes", function()
      fail(9)
      assert.equal(201, token().status)
      fail(9)
      assert.equal(201, token().status)
    end)

    it("of one address, whatever the login", function()
      server = support.server { address_failures = 3 }
      fail(1, { username = "a" })
      fail(1, { username = "b@other.test" })
      assert.equal(201, token().status)
      fail(1, { username = "c" })
      assert_limited(token(), 60)
      assert.equal(201, ask(json.encode(form()), { peer = "192.0.2.2" }).status)
    end)

    it("as told, or not at all", function()
      server = support.server { login_failures = 2, login_window = 5 }
      fail(2)
      assert_limited(token(), 5)
      server = support.server { login_failures = 0, address_failures = 0 }
      fail(150)
      assert.equal(201, token().status)
    end)

    it("also of those that come at once", function()
      local checked, answered = 0, 0
      for _ = 1, 30 do
        core.spawn(function()
          local status = token({ password = "wrong" }).status
          answered = answered + 1
          if status == 400 then checked = checked + 1 end
        end)
      end
      while answered < 30 do core.step() end
      assert.is_true(checked >= 10 and checked <= 11, checked)
    end)
  end)
end)

describe("a Bridge asked for its version", function()
  local function get(server, path, method)
    local answer = {}
    local request = { method = method or "GET", path = path, query = {}, headers = {}, body = "", peer = "192.0.2.1" }
    function request:respond(status, headers, text)
      answer.status, answer.headers, answer.text = status, headers, text
      return true
    end
    http.handle(server, request)
    return answer
  end

  it("names product, domain and version", function()
    for _, version in ipairs { "5.5.0", "5.5.6" } do
      local server = support.server { version = version }
      local answer = get(server, "/api/v4/server")
      assert.equal(200, answer.status)
      assert.equal("application/json", answer.headers["Content-Type"])
      local product = { display_name = "chat.acme.test", version = version .. ".10000" }
      assert.same({ product = product }, json.decode(answer.text))
      answer = get(server, "/vsstatus")
      assert.equal(200, answer.status)
      assert.matches("TrueConf Server " .. version:gsub("%.", "%%.") .. "%.%d+", answer.text)
    end
  end)

  it("answers 404 as the Bridge of a real server when told so", function()
    local server = support.server { server_info = false }
    for _, path in ipairs { "/api/v4/server", "/vsstatus" } do assert.equal(404, get(server, path).status) end
  end)

  it("answers 405 to other HTTP methods", function()
    local answer = get(support.server(), "/api/v4/server", "POST")
    assert.equal(405, answer.status)
    assert.equal("GET, HEAD", answer.headers.Allow)
  end)
end)
