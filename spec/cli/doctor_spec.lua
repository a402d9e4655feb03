-- SPDX-License-Identifier: MIT
-- trueconf doctor, as a process: at a Bridge, behind nginx, and where something is wrong.

local certificates = require "spec.support.certificates"
local command = require "spec.support.command"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"

local NAMES = { "dns", "tcp", "tls", "token", "websocket", "auth", "echo", "version" }

-- The findings of the doctor, by the names of the steps, and its exit code.
local function examine(environment, ...)
  local code, output, errors = command.run({ "doctor", "--json", ... }, { environment = environment })
  assert.equal("", errors)
  local told = assert(json.decode(output))
  assert.equal(code == 0, told.ok)
  local found = {}
  for number, step in ipairs(told.steps) do
    assert.equal(NAMES[number], step.name)
    assert.equal(step.status ~= "skipped", step.seconds ~= nil)
    assert.equal(step.status == "failed", step.remedy ~= nil)
    found[step.name] = step
  end
  assert.equal(#NAMES, #told.steps)
  -- The password, not the digits of a port or a time.
  assert.is_nil(output:find "%f[%w.]4711%f[^%w.]" or output:find("eyJ", 1, true))
  return found, code
end

local function statuses(found)
  local list = {}
  for number, name in ipairs(NAMES) do list[number] = found[name].status end
  return table.concat(list, " ")
end

local function expect_failure(found, name, detail, remedy)
  assert.equal("failed", found[name].status)
  assert.matches(detail, found[name].detail)
  assert.matches(remedy, found[name].remedy)
end

describe("trueconf doctor", function()
  it("finds a healthy Bridge healthy, and leaves nothing behind", helper.async(function()
    local server = system.start_bridge()
    local chat = server:person("mira"):chat_with "herald"
    chat:say "are you there?"
    local found, code = examine(command.herald(server:url()))
    assert.equal("ok ok skipped ok ok ok ok ok", statuses(found))
    assert.equal(0, code)
    assert.matches("^as herald@localhost$", found.auth.detail)
    assert.matches("in Favorites: it came back and was removed", found.echo.detail)
    assert.matches("^TrueConf Server 5%.5%.6", found.version.detail)
    -- The bot's unread messages are still unread.
    assert.equal(1, #server:unread "herald")
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(5))
    assert.same({}, bot:get_chat_history { chat_id = assert(bot:create_favorites_chat()), count = 10 }.messages)
    bot:stop()
    server:stop()
  end))

  it("says that no descriptors are left, whichever step gets none", helper.async(function()
    local server, short = system.start_bridge(), {}
    for limit = 8, 20 do
      local code, output, errors = command.run({ "doctor", "--json", "--timeout", "5" }, {
        environment = command.herald(server:url()), wrap = ("prlimit --nofile=%d sh -c %%s"):format(limit),
      })
      local told = json.decode(output)
      if not told then
        assert.matches("cannot make an event loop: no file descriptor is left for it: raise the limit", errors)
        assert.equal(1, code)
        short.loop = true
      end
      for _, step in ipairs(told and told.steps or {}) do
        if step.status == "failed" then
          assert.matches("^IO: no file descriptor is left for a connection to", step.detail)
          assert.matches("^raise the limit of this shell or service", step.remedy)
          short[step.name] = true
        end
      end
    end
    assert.is_true(short.loop)
    assert.is_true(short.websocket or short.auth)
    server:stop()
  end, 280))

  it("knows older servers, and those that do not tell of its own messages", helper.async(function()
    local server = system.start_bridge { version = "5.5.0", server_info = false, echo = "others" }
    local found, code = examine(command.herald(server:url()), "--timeout", "1")
    assert.equal("ok ok skipped ok ok ok ok skipped", statuses(found))
    assert.matches("in a group made for it: it is there, but did not come by itself", found.echo.detail)
    assert.matches("the server does not tell it", found.version.detail)
    assert.equal(0, code)
    local bot = system.bot(server)
    bot:start()
    assert.same({}, assert(bot:get_chats { count = 10, page = 1 }))
    bot:stop()
    server:stop()
  end))

  it("is for people, in lines and colours", helper.async(function()
    local server = system.start_bridge()
    local options = { environment = command.herald(server:url()) }
    local code, output, errors = command.run({ "doctor" }, options)
    assert.same({ 0, "" }, { code, errors })
    assert.matches("^ws://127%.0%.0%.1:%d+ %(TRUECONF_URL%) as herald %(TRUECONF_USERNAME%)\n", output)
    assert.matches("\nok +token +%d+%.%d ms  for herald, valid until %d%d%d%d%-%d%d%-%d%d\n", output)
    assert.is_nil(output:find "\27")
    options.wrap, options.environment.TERM = "script -qec %s /dev/null", "xterm"
    assert.matches("\27%[32mok +\27%[0m", (select(2, command.run({ "doctor" }, options))))
    options.environment.NO_COLOR = "1"
    assert.is_nil((select(2, command.run({ "doctor" }, options))):find "\27")
    server:stop()
  end))

  it("finds a wrong password", helper.async(function()
    local server = system.start_bridge()
    local settings = command.herald(server:url())
    settings.TRUECONF_PASSWORD = "wr0ng"
    local found, code = examine(settings)
    assert.equal("ok ok skipped failed ok skipped skipped ok", statuses(found))
    expect_failure(found, "token", "AUTH_FAILED %(400%)", "check user name and password")
    assert.equal("token failed", found.echo.detail)
    assert.equal(4, code)
    settings.TRUECONF_PASSWORD = ""
    found, code = examine(settings)
    expect_failure(found, "token", "^no password$", "^set %-%-password%-file, the environment")
    assert.equal(2, code)
    settings.TRUECONF_TOKEN = server:mint_token("herald", { expires_in = -60 })
    found, code = examine(settings)
    assert.equal("ok ok skipped skipped ok failed skipped ok", statuses(found))
    expect_failure(found, "auth", "TOKEN_EXPIRED", "get a new one with trueconf token")
    assert.equal(4, code)
    server:stop()
  end))

  it("finds a server without login by password, and takes the other way", helper.async(function()
    local server = system.start_bridge {
      password_login = false, oauth_applications = { tools = { scopes = { "version:read" } } },
    }
    local found, code = examine(command.herald(server:url()))
    expect_failure(found, "token", "AUTH_FAILED %(403%)", "use %-%-oauth%-client%-id")
    assert.equal(4, code)
    found, code = examine(command.herald(server:url()), "--oauth-client-id", "tools")
    assert.equal("ok ok skipped ok ok ok ok ok", statuses(found))
    assert.equal(0, code)
    server:stop()
  end))

  it("sends no password unencrypted to another machine", helper.async(function()
    local server = system.start_bridge()
    local settings = command.herald("ws://0.0.0.0:" .. server:port()) -- leads here, and is not known to
    local found, code = examine(settings)
    assert.equal("ok ok skipped failed ok skipped skipped ok", statuses(found))
    expect_failure(found, "token", "the password would go to 0%.0%.0%.0 unencrypted", "correct the setting")
    assert.equal(2, code)
    found, code = examine(settings, "--allow-plaintext")
    assert.equal("ok ok skipped ok ok ok ok ok", statuses(found))
    assert.equal(0, code)
    server:stop()
  end))

  it("finds a directory of users that is down", helper.async(function()
    local server = system.start_bridge {
      accounts = { ldap = { url = "ldap://127.0.0.1:" .. system.free_port(), bind_dn = "uid=%s,dc=acme,dc=test" } },
    }
    local found, code = examine(command.herald(server:url()))
    expect_failure(found, "token", "HTTP %(503%)", "the directory of users behind it %(LDAP%)")
    assert.equal(3, code)
    server:stop()
  end))

  it("finds a closed port and a name that does not resolve", helper.async(function()
    local found, code = examine(command.herald("ws://localhost:" .. system.free_port()))
    assert.equal("ok failed" .. (" skipped"):rep(6), statuses(found))
    expect_failure(found, "tcp", "^REFUSED: cannot connect to localhost", "nothing listens on this port")
    assert.equal(3, code)
    found, code = examine(command.herald "wss://no-such-name.invalid")
    assert.equal("failed" .. (" skipped"):rep(7), statuses(found))
    expect_failure(found, "dns", "cannot resolve the name of no%-such%-name%.invalid", "check the spelling of the host")
    assert.equal("dns failed", found.version.detail)
    assert.equal(3, code)
  end))

  it("finds a server that is not TrueConf", helper.async(function()
    local answers = { [404] = "there is no TrueConf Bridge behind this port", [200] = "no TrueConf server" }
    for status, remedy in pairs(answers) do
      local listener = assert(core.listen {
        on_http = function(request) request:respond(status, { ["Content-Type"] = "text/html" }, "<p>hello</p>") end,
      })
      local found, code = examine(command.herald("ws://localhost:" .. listener:port()))
      assert.equal("ok ok skipped failed failed skipped skipped skipped", statuses(found))
      expect_failure(found, "token", status == 404 and "HTTP %(404%)" or "PROTOCOL", remedy)
      expect_failure(found, "websocket", "%w", "must pass upgrades on")
      assert.equal(3, code)
      listener:close(true)
    end
  end))

  it("finds a server that refuses upgrades, and one that does not answer", helper.async(function()
    local server = system.start_bridge()
    server:fault { refuse_upgrades = 503 }
    local found = examine(command.herald(server:url()))
    assert.equal("ok ok skipped ok failed skipped skipped ok", statuses(found))
    expect_failure(found, "websocket", "503", "no room for another connection")
    server:fault { refuse_upgrades = 502 }
    found = examine(command.herald(server:url()))
    expect_failure(found, "websocket", "502", "does not reach TrueConf Bridge")
    server:fault { refuse_upgrades = false, silence = { sendMessage = 1 } }
    found = examine(command.herald(server:url()), "--timeout", "1")
    expect_failure(found, "echo", "TIMEOUT", "does not answer")
    server:stop()
  end))
end)

describe("trueconf doctor behind nginx", function()
  local made
  setup(function() made = certificates.make() end)
  teardown(function() made:remove() end)

  -- The findings when nginx shows a certificate.
  local function behind(name, ca_file, check, ...)
    local flags = { ... }
    return helper.async(function()
      local server = system.start_bridge()
      local directory <close> = system.directory()
      local proxy = nginx.start(directory, server:port())
      proxy:stop()
      system.output("cp '%s' '%s'; cp '%s' '%s'", made:file(name .. ".pem"), directory:file "localhost.crt",
        made:file(name .. ".key"), directory:file "localhost.key")
      proxy:begin()
      local found, code = examine(command.herald(proxy:url "https"), "--ca-file", made:file(ca_file),
        table.unpack(flags))
      check(found, code, proxy)
      proxy:stop()
      server:stop()
    end)
  end

  local function doubts(detail, remedy)
    return function(found, code, proxy)
      assert.equal("ok ok failed skipped skipped skipped skipped skipped", statuses(found))
      expect_failure(found, "tls", detail, remedy)
      assert.equal(3, code)
      assert.is_nil(proxy:access_log():match "POST")        -- no password went there
    end
  end

  it("finds a good chain good", behind("whole", "ca.pem", function(found, code)
    assert.equal("ok ok ok ok ok ok ok ok", statuses(found))
    assert.matches("^TLSv1%.%d, certificate valid until .*, in %d days: renew it soon$", found.tls.detail)
    assert.equal(0, code)
  end))

  it("names the certificate that is missing", behind("short", "ca.pem",
    doubts("^the certificate of 'Authority in the middle', which has signed 'localhost', is missing$", "whole chain")))

  it("names the authority that is not trusted", behind("whole", "alone.pem",
    doubts("^the certificate of 'Authority of the specs', which has signed 'Authority in the middle', is missing$",
      "^if 'Authority of the specs' is an authority of your own, name its file with %-%-ca%-file$")))

  it("takes a file of authorities that cannot be read for a wrong setting", behind("whole", "nowhere.pem",
    function(found, code)
      expect_failure(found, "tls", "CONFIG: ca_file: cannot read .*nowhere%.pem: No such", "correct this setting")
      assert.equal(2, code)
    end))

  it("finds one that is too old", behind("expired", "ca.pem",
    doubts("^'localhost' expired on %d%d%d%d%-%d%d%-%d%d$", "renew the certificate")))

  it("finds one for another host", behind("other", "ca.pem",
    doubts("^the certificate is for elsewhere%.test, not for localhost$", "use one of these names in %-%-url")))

  it("finds a web server that wants an Origin, and takes it", helper.async(function()
    local server = system.start_bridge()
    local directory <close> = system.directory()
    local proxy = nginx.start(directory, server:port(), function(text)
      local changed, count = text:gsub("location ~ %^/websocket/chat_bot/%?%$ {",
        '%0 if ($http_origin !~ "^https://localhost:[0-9]+$") { return 403; }')
      assert.equal(1, count)
      return changed
    end)
    local environment = command.herald(proxy:url "https")
    local ca_file, origin = directory:file "ca.pem", "https://localhost:" .. proxy.port
    local found, code = examine(environment, "--ca-file", ca_file)
    assert.equal("ok ok ok ok failed skipped skipped ok", statuses(found))
    expect_failure(found, "websocket", "HTTP %(403%).*; with the header Origin: " .. origin .. " it lets bots in",
      'headers = { Origin = "' .. origin .. '" }')
    assert.equal(3, code)
    found, code = examine(environment, "--ca-file", ca_file, "--header", "Origin: " .. origin)
    assert.equal("ok ok ok ok ok ok ok ok", statuses(found))
    assert.equal(0, code)
    found = examine(environment, "--ca-file", ca_file, "--header", "origin: https://elsewhere.test")
    expect_failure(found, "websocket", "HTTP %(403%).*403$", "refuses upgrades")
    proxy:stop()
    server:stop()
  end))

  -- The findings when nginx has further lines in the places that lead to the Bridge.
  local function beside(lines, check, ...)
    local flags = { ... }
    return helper.async(function()
      local server = system.start_bridge()
      local directory <close> = system.directory()
      local proxy = nginx.start(directory, server:port(), function(text)
        local changed, count = text:gsub("location ~ [^\n]*{\n", function(head) return head .. lines(head) end)
        assert.equal(2, count)
        return (changed:gsub("  ssl_protocols", ("ssl_verify_client optional; ssl_client_certificate %s;\n%%0"):format(
          directory:file "ca.pem"), 1))
      end)
      check(examine(command.herald(proxy:url "https"), "--ca-file", directory:file "ca.pem", table.unpack(flags)))
      proxy:stop()
      server:stop()
    end)
  end

  it("finds one that wants a certificate of the client", beside(function()
    return "if ($ssl_client_verify != SUCCESS) { return 400; }\n"
  end, function(found, code)
    assert.equal("ok ok ok failed failed skipped skipped skipped", statuses(found))
    for _, name in ipairs { "token", "websocket" } do
      expect_failure(found, name, "TLS: .*wants a certificate of the client", "ssl_verify_client off")
    end
    assert.equal(3, code)
  end))

  it("finds a head that is too long", beside(function(head)
    local line = ("add_header Set-Cookie %s always;\n"):format(("x"):rep(3500))
    return head:find "websocket" and line:rep(6) or ""
  end, function(found)
    assert.equal("ok ok ok ok failed skipped skipped ok", statuses(found))
    expect_failure(found, "websocket", "LIMIT: .*a head of more than 16384 bytes", "fewer headers and cookies")
  end))

  it("finds a proxy that wants a name and a password", function()
    local between = faulty.start()
    helper.async(function() between:set { proxy = 407 } end)()
    behind("whole", "ca.pem", function(found, code)
      assert.equal("ok ok skipped failed failed skipped skipped skipped", statuses(found))
      for _, name in ipairs { "token", "websocket" } do
        expect_failure(found, name, "HTTP %(407%): the proxy .*wants a user name and password", "setting of the proxy")
      end
      assert.equal(3, code)
    end, "--proxy", ("http://127.0.0.1:%d"):format(between.proxy))()
    between:stop()
  end)

  it("looks at the proxy in between", function()
    local between = faulty.start()
    local url = ("http://me:hidden@127.0.0.1:%d"):format(between.proxy)
    behind("whole", "ca.pem", function(found, code)
      assert.equal("ok ok skipped ok ok ok ok ok", statuses(found))
      assert.equal(("127.0.0.1, port %d (the proxy)"):format(between.proxy), found.tcp.detail)
      assert.equal(0, code)
      for _, step in pairs(found) do assert.is_nil(step.detail:find "hidden") end
    end, "--proxy", url)()
    between:stop()
    behind("whole", "ca.pem", function(found)
      expect_failure(found, "tcp", "REFUSED", "nothing listens on this port of the proxy: look at the setting")
    end, "--proxy", "http://127.0.0.1:1")()
    behind("whole", "ca.pem", function(found)
      expect_failure(found, "dns", "DNS", "the proxy's name is not known here: look at the setting")
    end, "--proxy", "http://no-such-host.invalid:1")()
  end)
end)
