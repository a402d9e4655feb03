-- SPDX-License-Identifier: MIT
-- trueconf token, as a process, at a Bridge.

local command = require "spec.support.command"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local system = require "spec.support.system"

local function with_bridge(fn, options)
  return helper.async(function()
    local server = system.start_bridge(options)
    local directory <close> = system.directory()
    local function token(arguments, more)
      more = more or {}
      local environment = command.herald(server:url())
      for name, value in pairs(more.environment or {}) do environment[name] = value end
      return command.run({ "token", table.unpack(arguments) }, { environment = environment, wrap = more.wrap })
    end
    fn(server, token, directory)
    server:stop()
  end)
end

local AT_TERMINAL = { wrap = "script -qec %s /dev/null" }

describe("trueconf token", function()
  it("tells for whom and until when, but not the token", with_bridge(function(server, token)
    local code, output, errors = token {}
    assert.same({ 0, "" }, { code, errors })
    local date = os.date("!%Y-%m-%d", core.now() // 1000 + 30 * 86400)
    local server_name = "http://127.0.0.1:" .. server:port()
    assert.equal(1, (output:find(("token for herald at %s: valid until %s "):format(server_name, date), 1, true)))
    assert.matches(", for 29 days\n$", output)
    assert.is_nil(output:find "eyJ") -- how the JSON of a token begins in base64
  end))

  it("prints it when that is asked for, and works", with_bridge(function(server, token)
    local code, output = token { "--print" }
    assert.equal(0, code)
    local printed = assert(output:match "^([%w_-]+%.[%w_-]+%.[%w_-]+)\n$")
    local bot <close> = setmetatable({ system.bot(server, { token = printed, username = false, password = false }) },
      { __close = function(it) it[1]:stop() end })
    bot[1]:start()
    assert(bot[1]:wait_ready(5))
    local told
    code, told = token({}, { environment = { TRUECONF_TOKEN = printed, TRUECONF_PASSWORD = "" } })
    assert.equal(0, code)
    assert.matches("^token at http://127%.0%.0%.1:%d+: valid until", told)
  end))

  it("does not print it to a terminal by accident", with_bridge(function(_, token)
    local code, output = token({ "--print" }, AT_TERMINAL)
    assert.equal(2, code)
    assert.matches("^trueconf token: will not print a token to a terminal", output)
    code, output = token({ "--print", "--force" }, AT_TERMINAL)
    assert.equal(0, code)
    assert.matches("^[%w_-]+%.[%w_-]+%.[%w_-]+\r\n$", output)
  end))

  it("keeps it where a bot takes it from", with_bridge(function(server, token, directory)
    local path = directory:file "kept"
    assert.equal(0, (token { "--save", path }))
    assert.matches("^%-rw%-%-%-%-%-%-%- ", system.output("ls -l '%s'", path))
    server:fault { token_status = 503 }
    local bot = system.bot(server, { token_file = path })
    bot:start()
    assert(bot:wait_ready(5))
    bot:stop()
    local code, output = token { "--show", path, "--json" }
    assert.equal(0, code)
    local told = assert(json.decode(output))
    assert.same({ "herald", nil }, { told.username, told.token })
    assert.is_true(told.expires > core.now())
    local errors
    code, output, errors = token {}
    assert.same({ 3, "" }, { code, output })
    assert.matches("^trueconf token: HTTP %(503%)", errors)
  end))

  it("tells an old one by its status", with_bridge(function(server, token, directory)
    local path = directory:file "kept"
    assert(core.write_private(path, '{"token_url":"http://x/","username":"herald","expires":1000,"access_token":"t"}'))
    local code, output = token { "--show", path }
    assert.equal(1, code)
    assert.matches("^token for herald at http://x: expired on 1970%-01%-01 00:00:01 UTC\n$", output)
    local old = server:mint_token("herald", { expires_in = -60 })
    assert.equal(1, (token({}, { environment = { TRUECONF_TOKEN = old } })))
  end))

  it("says what is wrong", with_bridge(function(_, token, directory)
    local open, other = directory:file "open", directory:file "other"
    system.write(open, "{}")
    assert(core.write_private(other, "[]"))
    for _, case in ipairs {
      { 4, {}, { TRUECONF_PASSWORD = "wr0ng" }, "AUTH_FAILED %(400%): .*Invalid username or password" },
      { 2, {}, { TRUECONF_PASSWORD = "" }, "no password: set %-%-password%-file" },
      { 2, {}, { TRUECONF_URL = "http://chat.acme.test" }, "unencrypted" },
      { 1, { "--save", "/no/such/folder/token" }, {}, "%-%-save: .*/no/such/folder/token" },
      { 2, { "--show", "/none" }, {}, "%-%-show: /none: no such file" },
      { 2, { "--show", open }, {}, "%-%-show: .*others may read it" },
      { 2, { "--show", other }, {}, "%-%-show: .*other holds no token" },
      { 2, { "--show", open, "--save", other }, {}, "can not be used together" },
      { 2, { "--token-file", "x" }, {}, "unknown option '%-%-token%-file'" },
    } do
      local expected, arguments, environment, pattern = table.unpack(case)
      local code, output, errors = token(arguments, { environment = environment })
      assert.equal(expected, code, errors)
      assert.equal("", output)
      assert.matches("^trueconf token: [^\n]*" .. pattern .. "[^\n]*\n$", errors)
      assert.is_nil(errors:find("4711", 1, true) or errors:find("wr0ng", 1, true))
    end
  end))

  it("comes by the OAuth2 exchange too", with_bridge(function(_, token)
    local code, output = token { "--oauth-client-id", "tools" }
    assert.equal(0, code)
    assert.matches("^token for herald", output)
    local errors
    code, output, errors = token { "--oauth-client-id", "none" }
    assert.same({ 4, "" }, { code, output })
    assert.matches("AUTH_FAILED %(401%): call 1 of the OAuth2 exchange", errors)
  end, { oauth_applications = { tools = { scopes = { "version:read" } } }, password_login = false }))
end)
