-- SPDX-License-Identifier: MIT
-- A client that gets its token by the OAuth2 exchange: from a Bridge, and from servers that get it wrong.

local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local log = require "trueconf.log"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"
local trueconf = require "trueconf"
local url = require "trueconf.base.url"

local async = helper.async
local LIMIT = 20                        -- seconds any single step may take
local PASSWORD = "correct horse"

-- A client that comes back fast, its states, and what it has logged.
local function make_client(address, options)
  local record = { states = {}, errors = {}, lines = {} }
  local given = {
    url = address, username = "herald", password = PASSWORD, oauth_client_id = "app", backoff_min = 0.01,
    backoff_jitter = 0, close_timeout = 1,
    log = log.new { level = "debug", sink = function(_, line) record.lines[#record.lines + 1] = line end },
  }
  for name, value in pairs(options or {}) do given[name] = value or nil end
  local client = trueconf.bot(given)
  client:on_state(function(new, _, err)
    record.states[#record.states + 1] = new
    record.errors[new] = record.errors[new] or err
  end)
  return client, record
end

-- The states so far. Each is told by a coroutine of its own: let them catch up.
local function path(client, record)
  helper.eventually(function() return record.states[#record.states] == client:state() end)
  return table.concat(record.states, " ")
end

local function assert_no_secret(record)
  local told = table.concat(record.lines, "\n")
  for _, err in pairs(record.errors) do
    for _, value in pairs(err) do told = told .. "\n" .. tostring(value) end
  end
  for _, secret in ipairs { PASSWORD, "battery", "access%-", "code%-" } do assert.not_matches(secret, told) end
end

describe("a client with an OAuth application, at a Bridge", function()
  local APPLICATIONS = { app = { scopes = { "version:read" } }, bare = { scopes = {} } }

  -- A case with a Bridge that lets nobody in by the password alone.
  local function scene(body, bridge_options, client_options)
    return async(function()
      local options = {
        accounts = { herald = PASSWORD, mira = "x" }, oauth_applications = APPLICATIONS, password_login = false,
      }
      for name, value in pairs(bridge_options or {}) do options[name] = value end
      local server = system.start_bridge(options)
      local client, record = make_client(server:url(), client_options)
      helper.finally(function()
        client:stop(0)
        server:stop(true)
      end, body, server, client, record)
      assert_no_secret(record)
    end)
  end

  it("gets a token and is let in", scene(function(_, client, record)
    client:start()
    assert(client:wait_ready(LIMIT))
    assert.equal("token connecting authorizing ready", path(client, record))
    assert.equal("mira", assert(client:get_user_display_name "mira@localhost"))
  end))

  it("gets none by the password alone", scene(function(_, client, record)
    client:start()
    local _, err = client:wait_ready(LIMIT)
    assert.same({ "AUTH_FAILED", 403 }, { err.name, err.code })
    assert.equal("token backoff token backoff token failed", path(client, record))
  end, nil, { oauth_client_id = false }))

  for what, options in pairs {
    ["password"] = { password = "battery staple" }, ["user"] = { username = "nobody" },
    ["client id"] = { oauth_client_id = "nobody's" },
    ["user, one of another server"] = { username = "herald@other.test" },
  } do
    it("is refused three times with a wrong " .. what, scene(function(_, client, record)
      client:start()
      local _, err = client:wait_ready(LIMIT)
      assert.equal("token backoff token backoff token failed", path(client, record))
      assert.same({ "AUTH_FAILED", 401, false }, { err.name, err.code, err.retryable })
      assert.matches("user, password or client id is wrong", err.message)
    end, nil, options))
  end

  it("fails at once when the application has no scope, and names the one to add", scene(function(_, client, record)
    client:start()
    local _, err = client:wait_ready(LIMIT)
    assert.equal("token failed", path(client, record))
    assert.same({ "CONFIG", 400, false }, { err.name, err.code, err.retryable })
    assert.matches("needs the scope version:read", err.message)
  end, nil, { oauth_client_id = "bare" }))

  it("comes back when the server is in trouble", scene(function(server, client, record)
    server:fault { token_error = 2 }    -- every second of the calls
    client:start()
    helper.eventually(function() return record.errors.backoff end)
    assert.same({ "HTTP", 503, true }, {
      record.errors.backoff.name, record.errors.backoff.code, record.errors.backoff.retryable,
    })
    server:fault()
    assert(client:wait_ready(LIMIT))
  end))

  it("comes back when the connection is dropped on the way", scene(function(server, client, record)
    server:fault { drop_at = "token" }
    client:start()
    helper.eventually(function() return record.errors.backoff end)
    assert.equal("DISCONNECTED", record.errors.backoff.name)
    server:fault { drop_at = false }
    assert(client:wait_ready(LIMIT))
  end))

  it("says what a server that is too old lacks, and asks again", scene(function(_, client, record)
    client:start()
    helper.eventually(function() return path(client, record):match "token backoff token backoff" end)
    assert.same({ "HTTP", 404 }, { record.errors.backoff.name, record.errors.backoff.code })
    assert.matches("5%.5%.3", record.errors.backoff.message)
  end, { version = "5.5.2" }))

  it("keeps the token in a file, if it is to", async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge { accounts = { herald = PASSWORD }, oauth_applications = APPLICATIONS }
    for _, fault in ipairs { false, 500 } do        -- the second time it must not be asked for again
      server:fault { token_status = fault }
      local client, record = make_client(server:url(), { token_file = directory:file "token" })
      client:start()
      assert(client:wait_ready(LIMIT))
      assert.equal("token connecting authorizing ready", path(client, record))
      client:stop(0)
    end
    local kept = json.decode(system.read(directory:file "token"))
    assert.equal("herald", kept.username)
    local month = core.now() + 30 * 86400000
    assert.is_true(kept.expires > month - 60000 and kept.expires <= month)
    server:stop(true)
  end))

  it("gets a token through nginx, at a web port of its own", scene(function(server)
    local directory <close> = system.directory()
    local proxy = nginx.start(directory, server:port())
    local client, record = make_client(server:url(), { web_url = proxy:url "https", ca_file = directory:file "ca.pem" })
    client:start()
    assert(client:wait_ready(LIMIT))
    assert.equal("5.5.6.10000", client:server_version())
    assert.equal("token connecting authorizing ready", path(client, record))
    client:stop(0)
    local seen = proxy:access_log()
    for _, name in ipairs { "oauth_token", "oauth_code", "oauth_exchange" } do
      assert.is_truthy(seen:find(("POST %s HTTP/1.1 200"):format(url.PATHS[name]), 1, true), name)
    end
    assert.is_nil(seen:find("/websocket/", 1, true))
    proxy:stop()
    assert_no_secret(record)
  end))

  describe("as time goes by", function()
    before_each(function() core.virtual_time(true, 1788000000000, 1) end)
    after_each(function() core.virtual_time(false) end)

    local HOURS = 10 * 3600             -- of the clock that is moved by hand

    local function start_bridge(options)
      options.accounts, options.oauth_applications, options.ping_interval = { herald = PASSWORD }, APPLICATIONS, 0
      return system.start_bridge(options)
    end

    it("asks for another token when this one is too old, not before", async(function()
      local server = start_bridge { token_lifetime = 100 }
      local client, record = make_client(server:url(), { ping_interval = 0, backoff_min = 1 })
      local function states_after(seconds)
        record.states = {}
        core.advance(seconds)
        return table.concat(record.states, " ")
      end
      client:start()
      assert.equal("token connecting authorizing ready", states_after(1))
      core.advance(50)
      server:drop()
      assert.equal("backoff connecting authorizing ready", states_after(2))
      core.advance(50)
      server:drop()
      assert.equal("backoff token connecting authorizing ready", states_after(2))
      client:stop(0)
      server:stop(true)
    end, HOURS))

    it("can show nothing that is too old, and no code twice", async(function()
      local server = start_bridge {}
      local endpoints = url.endpoints(url.parse(server:url()))
      local function call(name, form)
        local answer = assert(core.http { url = endpoints[name], body = json.encode(form) })
        return json.decode(answer.body), answer.status
      end
      local token = call("oauth_token",
        { client_id = "app", grant_type = "password", username = "herald", password = PASSWORD }).access_token
      local code = call("oauth_code", { client_id = "herald", token = token }).authorization_code
      local statuses = {}
      for number = 1, 2 do
        local _, status = call("oauth_exchange", { client_id = "user", grant_type = "authorization_code", code = code })
        statuses[number] = status
      end
      assert.same({ 200, 401 }, statuses)
      core.advance(3600)
      local late, status = call("oauth_code", { client_id = "herald", token = token })
      assert.same({ 401, "invalidToken" }, { status, late.error.errors[1].reason })
      server:stop(true)
    end, HOURS))
  end)
end)

describe("a client with an OAuth application, at a server with answers of its own", function()
  local server
  local count = 0

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  local ORDER = { "oauth_token", "oauth_code", "oauth_exchange" }
  local GOOD = {
    { { "respond", 200, json.encode { access_token = "access-1", expires_in = 3600 } } },
    { { "respond", 200, json.encode { authorization_code = "code-1", expires_in = 1788000060000 } } },
    { { "respond", 200, json.encode { access_token = "final", token_type = "JWT", expires_in = 4102444800000 } } },
  }

  -- A server of which the call `number` answers by `steps` first, then as it should; its address and name.
  local function address(number, steps)
    count = count + 1
    local name = "oauth" .. count
    local scripts = { [name .. "/websocket/chat_bot/"] = { { { "accept" }, { "auth" }, { "echo" } } } }
    for place, endpoint in ipairs(ORDER) do
      scripts[name .. url.PATHS[endpoint]] = place == number and { steps, GOOD[place] } or { GOOD[place] }
    end
    server:set(scripts)
    return ("ws://127.0.0.1:%d/%s"):format(server.main, name), name
  end

  local function visits(name, endpoint)
    return server:log(name .. url.PATHS[endpoint], "visit")
  end

  -- The error after which the client, let in by a second try, was told to wait; `steps` are those of call `number`.
  local function comes_after(number, steps, options)
    local client, record = make_client(address(number, steps), options)
    client:start()
    assert(client:wait_ready(LIMIT))
    assert.equal("token backoff token connecting authorizing ready", path(client, record))
    client:stop(0)
    assert_no_secret(record)
    return record.errors.backoff
  end

  it("shows in each call what the one before gave", async(function()
    local at, name = address()
    local client = make_client(at, {
      username = "o\"neil", password = "12\\3\té", headers = { Origin = "https://a.test" },
    })
    client:start()
    assert(client:wait_ready(LIMIT))
    client:stop(0)
    local forms = {}
    for place, endpoint in ipairs(ORDER) do
      local seen = visits(name, endpoint)
      assert.equal(1, #seen)
      assert.equal("https://a.test", seen[1].headers.origin)
      assert.equal("application/json", seen[1].headers["content-type"])
      forms[place] = json.decode(seen[1].body)
    end
    assert.same({
      { client_id = "app", grant_type = "password", username = "o\"neil", password = "12\\3\té" },
      { client_id = "o\"neil", token = "access-1" },
      { client_id = "user", grant_type = "authorization_code", code = "code-1" },
    }, forms)
    assert.equal("final", server:log(name .. "/websocket/chat_bot/", "frame")[1].frame.payload.token)
  end))

  it("fails at once after 400 with what is no matter of waiting", async(function()
    local invalid = '{"error":{"code":400,"message":"battery","errors":[{"reason":"invalidRequest"}]}}'
    for _, body in ipairs { invalid, '{"error":"unsupported_grant_type"}', '{"error":"invalid_scope"}' } do
      for number = 1, 3 do
        local client, record = make_client((address(number, { { "respond", 400, body } })))
        client:start()
        local _, err = client:wait_ready(LIMIT)
        assert.equal("token failed", path(client, record))
        assert.same({ "CONFIG", 400 }, { err.name, err.code })
        assert.matches(("call %d .*%s"):format(number, body:match "invalidRequest" or body:match '"(%a+_[%a_]+)"'),
          err.message)
        client:stop(0)
        assert_no_secret(record)
      end
    end
  end))

  for what, case in pairs {
    ["401 without JSON"] = { 401, "battery" }, ["403 of a web server"] = { 403, "<html>battery</html>" },
    ["400 invalid_grant"] = { 400, '{"error":"invalid_grant","error_description":"battery"}' },
    ["400 invalid_client"] = { 400, '{"error":"invalid_client"}' },
  } do
    it("is refused by " .. what .. ", by each of the calls", async(function()
      for number = 1, 3 do
        local err = comes_after(number, { { "respond", table.unpack(case) } })
        assert.same({ "AUTH_FAILED", case[1] }, { err.name, err.code })
      end
    end))
  end

  for what, case in pairs {
    ["500 with HTML"] = { "HTTP", 500, "<html>battery</html>" }, ["404"] = { "HTTP", 404, "" },
    ["400 that is not JSON"] = { "HTTP", 400, "<html>battery</html>" }, ["302"] = { "HTTP", 302, "" },
    ["429"] = { "HTTP", 429, '{"error":"too_many_attempts"}' },
    ["an empty answer"] = { "PROTOCOL", 200, "" }, ["an answer that is an array"] = { "PROTOCOL", 200, '["battery"]' },
    ["an answer without what is needed"] = { "PROTOCOL", 200, '{"expires_in":1,"password":"battery"}' },
    ["an answer of a wrong type"] = { "PROTOCOL", 200, '{"access_token":4711,"authorization_code":{}}' },
    ["an answer with nothing in it"] = { "PROTOCOL", 200, '{"access_token":"","authorization_code":""}' },
    ["a strange error"] = { "HTTP", 400, '{"error":{"errors":[["battery"]]}}' },
    ["an error that is a sentence"] = { "HTTP", 400, '{"error":"battery staple!"}' },
  } do
    it("comes back after " .. what .. ", of each of the calls", async(function()
      for number = 1, 3 do
        local err = comes_after(number, { { "respond", table.unpack(case, 2) } })
        assert.same({ case[1], case[2] }, { err.name, err.code })
      end
    end))
  end

  it("waits as long as the server asks for, at each of the calls", async(function()
    for number = 1, 3 do
      local begun = core.monotonic()
      local err = comes_after(number, { { "respond", 503, "", "text/plain", { ["Retry-After"] = "1" } } })
      assert.equal(1, err.retry_after)
      assert.is_true(core.monotonic() - begun >= 1)
    end
  end))

  it("comes back after an answer that has no end, or a connection that has", async(function()
    for number = 1, 3 do
      assert.equal("LIMIT", comes_after(number, { { "respond", 200, ("x"):rep(70000) } }).name)
      assert.equal("DISCONNECTED", comes_after(number, { { "close" } }).name)
    end
  end))

  it("comes back when the calls together take longer than a token may", async(function()
    for number = 1, 3 do
      assert.equal("TIMEOUT", comes_after(number, { { "mute" } }, { token_timeout = 0.2 }).name)
    end
  end))

  it("comes back when nothing is at the web port", async(function()
    local client, record = make_client((address()), { web_url = "http://127.0.0.1:1" })
    client:start()
    assert.equal("REFUSED", helper.eventually(function() return record.errors.backoff end).name)
    client:stop(0)
  end))

  it("leaves no call behind when it is stopped", async(function()
    for number = 1, 3 do
      local at, name = address(number, { { "mute" } })
      local client, record = make_client(at, { token_timeout = 60 })
      client:start()
      helper.eventually(function() return #visits(name, ORDER[number]) == 1 end)
      client:stop(0)
      assert.equal("token closed", path(client, record))
      assert.equal(0, core.stats().transfers)
      client:start()
      assert(client:wait_ready(LIMIT))
      client:stop(0)
    end
  end))

  it("takes expires_in for a point in time only where it can be one", async(function()
    local day, now = 86400000, core.now()
    for expires, expected in pairs { [now + day] = now + day, [3600] = now + 30 * day } do
      local directory <close> = system.directory()
      local answer = json.encode { access_token = "final", expires_in = expires }
      local client = make_client(address(3, { { "respond", 201, answer } }), { token_file = directory:file "token" })
      client:start()
      assert(client:wait_ready(LIMIT))
      client:stop(0)
      local kept = json.decode(system.read(directory:file "token")).expires
      assert.is_true(kept >= expected and kept < expected + 60000, expires)
    end
  end))
end)

describe("the options of OAuth", function()
  local function refusal(given)
    local ok, message = pcall(function()
      local made = trueconf.client(given)
      return made
    end)
    assert.is_false(ok)
    assert.not_matches(PASSWORD, tostring(message))
    return tostring(message)
  end

  local function options(more)
    local given = { username = "herald", password = PASSWORD, oauth_client_id = "app" }
    for name, value in pairs(more) do given[name] = value or nil end
    return given
  end

  it("are checked", function()
    assert.matches("client/oauth_spec.lua:%d+: .*option 'oauth_client_id' must not be empty",
      refusal(options { oauth_client_id = "" }))
    assert.matches("option 'oauth_client_id' must be a string", refusal(options { oauth_client_id = 1 }))
    assert.matches("option 'web_url' must begin with", refusal(options { web_url = "chat.example.org" }))
    assert.matches("no password", refusal(options { password = false }))
  end)

  it("let no password go unencrypted to another machine, unless that is allowed", function()
    for _, more in ipairs { { url = "ws://chat.example.org" }, { web_url = "http://chat.example.org" } } do
      local message = refusal(options(more))
      assert.matches("client/oauth_spec.lua:%d+: the password would go to chat.example.org unencrypted", message)
      assert.matches("allow_plaintext", message)
      more.allow_plaintext = true
      trueconf.client(options(more))
    end
    trueconf.client(options { url = "wss://chat.example.org" })
    trueconf.client(options { web_url = "https://chat.example.org" })
  end)

  it("make do with a ready token", function()
    trueconf.client { token = "t", oauth_client_id = "app" }
  end)
end)
