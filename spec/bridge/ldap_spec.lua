-- SPDX-License-Identifier: MIT
-- A Bridge whose accounts live in OpenLDAP's slapd.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local bridge = require "trueconf.bridge"
local directory = require "trueconf.bridge.accounts.ldap"
local certificates = require "spec.support.certificates"
local helper = require "spec.support.helper"
local slapd = require "spec.support.slapd"
local support = require "spec.support.bridge"
local system = require "spec.support.system"

local async = helper.async

describe("a directory's name of a login", function()
  local function dn(login, template)
    return directory.new({ bind_dn = template or "uid=%s,ou=people" }):dn(login)
  end

  it("has the login in its place", function()
    assert.equal("uid=herald,ou=people", dn "herald")
    assert.equal("cn=Анна,ou=люди", dn("Анна", "cn=%s,ou=люди"))
    assert.equal("herald", dn("herald", "%s"))
  end)

  it("is where the directory's own name has the login", function()
    local function login(name, template)
      return directory.new({ bind_dn = template or "uid=%s,ou=people,dc=acme" }):login_in(name)
    end
    assert.equal("mira", login "dn:uid=mira,ou=people,dc=acme")
    assert.equal("mira", login "dn:UID=mira, OU=People, DC=acme")
    assert.equal("mira", login "dn:userid=mira,ou=people,dc=acme")
    assert.equal("o,ou=people", login "dn:uid=o\\,ou\\3Dpeople,ou=people,dc=acme")
    assert.equal([[a\2Cb]], login [[dn:uid=a\\2Cb,ou=people,dc=acme]])
    assert.equal("анна", login [[dn:uid=\D0\B0\D0\BD\D0\BD\D0\B0,ou=people,dc=acme]])
    assert.equal("mira", login("dn:cn=x+uid=mira,dc=acme", "uid=%s+cn=x,dc=acme"))
    assert.equal("mira", login("dn:uid=Bot-mira,dc=acme", "uid=bot-%s,dc=acme"))
    assert.equal("mira", login([[u:ACME\mira]], "%s@acme.test"))
    assert.equal("mira", login("u:mira@acme.test", "%s@acme.test"))
    for _, name in ipairs { "", "dn:", "dn:uid=mira", "x", "dn:uid=mira,ou=x,ou=people,dc=acme" } do
      assert.is_nil(login(name), name)
    end
    assert.is_nil(login("dn:uid=mira,dc=acme", "%s@acme.test"))
    assert.is_nil(login("dn:uid=mira,dc=acme", "uid=bot-%s,dc=acme"))
  end)

  it("cannot be changed by what is in the login", function()
    for login, escaped in pairs {
      ["a,ou=admins"] = "a\\2Cou\\3Dadmins", ["a+b"] = "a\\2Bb", ['"a"'] = "\\22a\\22", ["a\\"] = "a\\5C",
      ["<a>;"] = "\\3Ca\\3E\\3B", ["#a"] = "\\23a", [" a "] = "\\20a\\20", ["a\0b"] = "a\\00b", ["%s"] = "%s",
      ["%1"] = "%1", ["a\nb"] = "a\\0Ab",
    } do
      assert.equal("uid=" .. escaped .. ",ou=people", dn(login))
    end
  end)
end)

describe("the options of a directory", function()
  local function refused(ldap, message)
    local ok, err = pcall(function()
      bridge.start { accounts = { ldap = ldap } }
      return true                       -- no tail call: the line of this function is to be blamed
    end)
    assert.is_false(ok)
    assert.matches("ldap_spec%.lua:%d+: ", err)
    assert.is_truthy(err:find(message, 1, true), err)
  end

  it("are refused by name when they are wrong", function()
    refused({ url = "ldap://localhost" }, "option 'bind_dn' is required")
    refused({ url = "http://localhost", bind_dn = "uid=%s" }, "option 'url' must be ldap://host[:port]")
    refused({ url = 1, bind_dn = "uid=%s" }, "option 'url' must be a string")
    refused({ url = "ldap://localhost", bind_dn = "uid=herald" }, "option 'bind_dn' must have %s once")
    refused({ url = "ldap://localhost", bind_dn = "uid=%s,cn=%s" }, "option 'bind_dn' must have %s once")
    refused({ url = "ldap://localhost", bind_dn = "%s", timeout = 0 }, "option 'timeout' must be at least 0.1")
    refused({ url = "ldap://localhost", bind_dn = "%s", cafile = "x" }, "did you mean 'ca_file'?")
  end)

  it("name a ca_file that can be read at once and holds a certificate", function()
    local place <close> = system.directory()
    local fifo = place:file "fifo"
    system.output("mkfifo '%s'", fifo)
    for path, problem in pairs {
      [fifo] = "cannot read " .. fifo .. ": it is a FIFO, not a plain file",
      [place:file "missing"] = "No such file", [system.write(place:file "empty", "")] = "holds no certificate in PEM",
    } do
      refused({ url = "ldaps://localhost", bind_dn = "%s", ca_file = path },
        "option 'ca_file' must be a PEM file of certificates: ")
      refused({ url = "ldaps://localhost", bind_dn = "%s", ca_file = path }, problem)
    end
  end)

  it("do not let passwords go unencrypted to another machine, unless told so", function()
    refused({ url = "ldap://dc.acme.test", bind_dn = "%s" }, "passwords would go unencrypted to another machine")
    refused({ url = "ldap://127.evil.test:389", bind_dn = "%s" }, "passwords would go unencrypted")
    for _, more in ipairs {
      { url = "ldaps://dc.acme.test" }, { url = "ldap://dc.acme.test", start_tls = true },
      { url = "ldap://dc.acme.test", allow_plaintext = true }, { url = "ldap://LOCALHOST/" },
      { url = "ldap://127.0.0.1:389" }, { url = "ldap://[::1]:389" }, { url = "ldapi://%2Frun%2Fldapi" },
    } do
      more.bind_dn = "uid=%s"
      support.server { accounts = { ldap = more } }
    end
  end)

  it("go together with accounts that have no password", function()
    local ldap = { url = "ldap://localhost", bind_dn = "uid=%s" }
    assert.error_matches(function() support.server { accounts = { ldap = ldap, mira = "x" } } end,
      "account 'mira' cannot have a password beside a directory")
    local server = support.server { accounts = { ldap = ldap, mira = { display_name = "Mira M." } } }
    assert.equal("Mira M.", server.accounts:by_login("mira").display_name)
    assert.is_nil(server.accounts:by_login "ldap")
    assert.equal("uid=%s", ldap.bind_dn)
  end)

  it("leave a person called ldap in peace", function()
    local server = support.server { accounts = { ldap = { password = "x" } } }
    assert.equal("ldap", server.accounts:authenticate("ldap", "x").login)
  end)
end)

describe("a Bridge with a directory", function()
  local certs, there, server

  setup(function()
    certs = certificates.make()
    there = slapd.start({
      herald = { password = "4711", display_name = "The Herald" },
      mira = { password = "x" },
      gone = { password = "y" },
      nobody = {},
      ["o,ou=people"] = { password = "comma" },
      ["анна"] = { password = "пароль", display_name = "Анна" },
    }, certs)
  end)
  teardown(function()
    there:remove()
    certs:remove()
  end)

  local function start(more)
    local ldap = { url = there:url(), bind_dn = slapd.BIND_DN, display_name = "displayName" }
    for name, value in pairs(more or {}) do ldap[name] = value end
    local accounts = { ldap = ldap, gone = { disabled = true } }
    server = system.start_bridge {
      accounts = accounts, server_name = "chat.acme.test",
      oauth_applications = { app = { scopes = { "version:read" } } },
    }
  end

  local function with(more, body)
    return async(function()
      start(more)
      body()
      server:stop()
    end)
  end

  local function ask(username, password)
    local form = { client_id = "chat_bot", grant_type = "password", username = username, password = password }
    local url = server:url():gsub("^ws", "http") .. "/bridge/api/client/v1/oauth/token"
    local answer = assert(core.http { url = url, body = json.encode(form) })
    return answer.status, json.decode(answer.body)
  end

  it("gives tokens to who can bind, and takes the display name from there", with(nil, function()
    local status, body = ask("herald", "4711")
    assert.equal(201, status)
    assert.equal("herald@chat.acme.test", server.tokens:verify(body.access_token, server.accounts).id)
    assert.equal("The Herald", server.accounts:by_login("herald").display_name)
    assert.equal(201, (ask("mira@chat.acme.test", "x")))
    assert.equal("mira", server.accounts:by_login("mira").display_name)
    assert.equal(201, (ask("анна", "пароль")))
    assert.equal("Анна", server.accounts:by_login("анна").display_name)
    assert.equal(201, (ask("o,ou=people", "comma")))
  end))

  it("is given on the command line too", async(function()
    local child <close> = system.launch_lua(("bin/trueconf bridge --port 0 --ldap-url %s --ldap-bind-dn '%s' "
      .. "--ldap-start-tls --ldap-ca-file %s --ldap-display-name displayName"):format(there:url(), slapd.BIND_DN,
      certs.ca_file))
    local url = helper.eventually(function() return child:log():match "listening on (%S+)\n" end)
    server = { url = function() return url end }
    assert.equal(201, (ask("herald", "4711")))
    assert.equal(400, (ask("herald", "4712")))
    assert.is_nil(child:log():find("no accounts", 1, true))
    assert.equal(0, child:kill "TERM")
  end))

  it("keeps nothing of the password", with(nil, function()
    assert.equal(201, (ask("herald", "4711")))
    assert.is_nil(server.accounts:by_login("herald").password_hash)
  end))

  it("refuses everybody else alike", with(nil, function()
    for _, pair in ipairs {
      { "herald", "4712" }, { "herald", "" }, { "stranger", "x" }, { "nobody", "x" }, { "", "x" }, { "gone", "y" },
      { "herald@other.test", "4711" }, { "guest/4711", "x" }, { "o", "comma" }, { "*", "x" },
    } do
      local status, body = ask(pair[1], pair[2])
      assert.equal(400, status, pair[1])
      assert.same({ error = "invalid_grant", error_description = "Invalid username or password" }, body)
    end
    assert.is_nil(server.accounts:by_login "stranger")
  end))

  -- Other spellings that slapd takes for "mira".
  local MIRA = {
    "MIRA", "\u{FF4D}ira", "mir\u{AA}", "M\u{FF29}ra", "\u{A0}mira", "mira\u{3000}", "\u{1D5C6}ira", "m\u{2170}ra",
    "\u{FF2D}\u{FF29}RA@chat.acme.test", "mir\u{FF41}",
  }

  it("knows people by the names that it has for them, not by those that they type", with(nil, function()
    for _, spelling in ipairs(MIRA) do
      local status, body = ask(spelling, "x")
      assert.equal(201, status, spelling)
      assert.equal("mira@chat.acme.test", server.tokens:verify(body.access_token, server.accounts).id)
    end
    assert.equal(201, (ask("АННА", "пароль")))
    local known = {}
    for _, account in pairs(server.store.accounts) do known[#known + 1] = account.id end
    table.sort(known)
    assert.same({ "gone@chat.acme.test", "mira@chat.acme.test", "анна@chat.acme.test" }, known)
  end))

  it("keeps out who is disabled, in any spelling", with(nil, function()
    for _, spelling in ipairs { "GONE", "\u{FF47}one", "\u{A0}gone", "g\u{BA}ne" } do
      assert.equal(400, (ask(spelling, "y")), spelling)
    end
    server:add_account("\u{FF4D}ira", { disabled = true })
    assert.equal(400, (ask("mira", "x")))
    assert.equal(201, (ask("herald", "4711")))
  end))

  it("counts failed logins of one name together, in all its spellings", with(nil, function()
    for _, spelling in ipairs(MIRA) do assert.equal(400, (ask(spelling, "wrong"))) end
    assert.equal(429, (ask("mira", "x")))
    assert.equal(429, (ask("M\u{AD}\u{FF29}RA", "x")))
    assert.equal(201, (ask("herald", "4711")))
  end))

  it("limits failed logins", with(nil, function()
    for _ = 1, 10 do assert.equal(400, (ask("mira", "wrong"))) end
    assert.equal(429, (ask("mira", "x")))
  end))

  it("asks over TLS when told so", async(function()
    for _, more in ipairs { { url = there:tls_url() }, { start_tls = true } } do
      more.ca_file = certs.ca_file
      start(more)
      assert.equal(201, (ask("herald", "4711")))
      server:stop()
    end
  end))

  it("answers 503 when it cannot trust the directory", with({ start_tls = true }, function()
    local status, body = ask("herald", "4711")
    assert.equal(503, status)
    assert.equal("temporarily_unavailable", body.error)
  end))

  it("answers 503 while the directory is down, and counts no failure", with(nil, function()
    there:stop()
    for _ = 1, 12 do assert.equal(503, (ask("herald", "4711"))) end
    there:resume()
    assert.equal(201, (ask("herald", "4711")))
  end))

  it("is asked in the OAuth2 exchange too", with(nil, function()
    local function first_problem(password)
      local bot, problem = system.bot(server, { password = password, oauth_client_id = "app" }), nil
      bot:on_state(function(_, _, err) problem = problem or err end)
      bot:start()
      helper.eventually(function() return problem or bot:state() == "ready" end)
      bot:stop(0)
      return problem and { problem.name, problem.code }
    end
    assert.is_nil(first_problem "4711")
    assert.equal("The Herald", server.accounts:by_login("herald").display_name)
    assert.same({ "AUTH_FAILED", 401 }, first_problem "4712")
    there:stop()
    assert.same({ "HTTP", 503 }, first_problem "4711")
    there:resume()
  end))

  it("lets a bot wait for the directory to come back", with(nil, function()
    there:stop()
    local states, bot = {}, system.bot(server, { password = "4711" })
    bot:on_state(function(new, _, err) states[#states + 1] = { new, err and err.code } end)
    core.spawn(function() bot:run() end)
    helper.eventually(function()
      for _, state in ipairs(states) do if state[1] == "backoff" and state[2] == 503 then return true end end
    end)
    there:resume()
    helper.eventually(function() return server:connections() == 1 end)
    bot:stop()
    for _, state in ipairs(states) do assert.not_equal("failed", state[1]) end
  end))
end)
