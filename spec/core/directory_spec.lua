-- SPDX-License-Identifier: MIT
-- Logging in to OpenLDAP's slapd: csrc/system/directory.c.

local core = require "trueconf.core"
local certificates = require "spec.support.certificates"
local socket = require "socket"
local helper = require "spec.support.helper"
local slapd = require "spec.support.slapd"
local system = require "spec.support.system"

local async = helper.async

describe("ldap_bind", function()
  local directory, certs, own

  setup(function()
    certs, own = certificates.make(), certificates.make()
    directory = slapd.start({
      herald = { password = "4711", display_name = "The Herald" },
      locked = {},
      mira = { password = "x\0y" },
    }, certs)
  end)
  teardown(function()
    directory:remove()
    certs:remove()
    own:remove()
  end)

  local function bind(login, password, more)
    local request = { url = directory:url(), dn = slapd.BIND_DN:format(login), password = password }
    for name, value in pairs(more or {}) do request[name] = value end
    return core.ldap_bind(request)
  end

  local function assert_error(name, ok, err)
    assert.is_nil(ok)
    assert.equal(name, err.name)
    assert.is_nil(tostring(err):find("4711", 1, true))
  end

  it("says yes to the right password, and nothing more unless asked", async(function()
    assert.same({ "dn:uid=herald,ou=people,dc=acme,dc=test" }, { bind("herald", "4711") })
    assert.same({ "dn:uid=mira,ou=people,dc=acme,dc=test" }, { bind("mira", "x\0y") })
  end))

  it("reads an attribute of the one who logs in", async(function()
    local name = "dn:uid=herald,ou=people,dc=acme,dc=test"
    assert.same({ name, "The Herald" }, { bind("herald", "4711", { attribute = "displayName" }) })
    assert.same({ name }, { bind("herald", "4711", { attribute = "telephoneNumber" }) })
    assert.same({ name }, { bind("herald", "4711", { attribute = "userPassword" }) })
  end))

  it("tells whose entry it is, however that was spelled", async(function()
    for _, login in ipairs { "HERALD", "\u{FF48}erald", "\\20herald\\C2\\A0" } do
      assert.equal("dn:uid=herald,ou=people,dc=acme,dc=test", (bind(login, "4711")))
    end
    assert.equal("dn:uid=herald,ou=people,dc=acme,dc=test", (bind("", "4711", {
      dn = "UserID = herald , OU=PEOPLE, dc=acme, dc=test",
    })))
  end))

  it("asks who somebody is that may not read the own entry", async(function()
    local closed = slapd.start({ herald = { password = "4711" } }, nil, "access to * by * none")
    local name, value = core.ldap_bind {
      url = closed:url(), dn = slapd.BIND_DN:format "HERALD", password = "4711", attribute = "cn",
    }
    assert.equal("dn:uid=herald,ou=people,dc=acme,dc=test", name)
    assert.is_nil(value)
    closed:remove()
  end))

  it("says AUTH_FAILED to everything else", async(function()
    assert_error("AUTH_FAILED", bind("herald", "4712"))
    assert_error("AUTH_FAILED", bind("nobody", "4711"))
    assert_error("AUTH_FAILED", bind("mira", "x"))
    assert_error("AUTH_FAILED", bind("locked", "4711"))
    assert_error("AUTH_FAILED", bind("herald", "4711", { dn = "no dn" }))
    assert_error("AUTH_FAILED", bind("herald", "4711", { dn = "uid=herald,dc=elsewhere" }))
  end))

  it("refuses an empty password, which a directory would let in as anonymous", async(function()
    assert_error("AUTH_FAILED", bind("herald", ""))
    assert_error("AUTH_FAILED", bind("herald", "", { dn = "" }))
  end))

  it("works over TLS, from the first byte or started later", async(function()
    assert(bind("herald", "4711", { url = directory:tls_url(), ca_file = certs.ca_file }))
    assert(bind("herald", "4711", { start_tls = true, ca_file = certs.ca_file }))
    assert_error("AUTH_FAILED", bind("herald", "4712", { url = directory:tls_url(), ca_file = certs.ca_file }))
  end))

  it("does not trust a certificate of another authority", async(function()
    assert_error("TLS", bind("herald", "4711", { start_tls = true, ca_file = own.ca_file }))
    assert_error("TLS", bind("herald", "4711", { start_tls = true }))
    assert_error("UNREACHABLE", bind("herald", "4711", { url = directory:tls_url(), ca_file = own.ca_file }))
    assert_error("UNREACHABLE", bind("herald", "4711", { url = directory:tls_url() }))
  end))

  it("does not wait for the writer of a ca_file that is a FIFO", async(function()
    local place <close> = system.directory()
    system.output("mkfifo '%s'", place:file "fifo")
    assert_error("CONFIG", bind("herald", "4711", { start_tls = true, ca_file = place:file "fifo" }))
  end))

  it("does not trust a certificate of another host", async(function()
    local url = directory:tls_url():gsub("127%.0%.0%.1", "localhost")
    assert_error("UNREACHABLE", bind("herald", "4711", { url = url, ca_file = certs.ca_file }))
  end))

  it("does not go on without TLS when it cannot be started", async(function()
    local plain = slapd.start({ herald = { password = "4711" } })
    local ok, err = bind("herald", "4711", { url = plain:url(), start_tls = true, ca_file = certs.ca_file })
    plain:remove()
    assert_error("TLS", ok, err)
  end))

  it("says what is wrong with the way there", async(function()
    assert_error("UNREACHABLE", bind("herald", "4711", { url = "ldap://127.0.0.1:1" }))
    assert_error("IO", bind("herald", "4711", { url = "http://127.0.0.1:1" }))
    assert_error("CONFIG", bind("herald", "4711", { url = directory:tls_url(), ca_file = "/no/such/file" }))
  end))

  it("gives up a directory that says nothing, and leaves the loop to others meanwhile", async(function()
    local turns, over = 0, false
    core.spawn(function()
      while not over do
        turns = turns + 1
        core.sleep(0.01)
      end
    end)
    local mute = assert(socket.bind("127.0.0.1", 0))    -- the kernel connects, nobody reads
    for _, scheme in ipairs { "ldap", "ldaps" } do
      local url = ("%s://127.0.0.1:%d"):format(scheme, select(2, mute:getsockname()))
      local ok, err = bind("herald", "4711", { url = url, timeout = 0.3, ca_file = certs.ca_file })
      assert_error("TIMEOUT", ok, err)
    end
    over = true
    mute:close()
    assert.is_true(turns > 3)
  end, 10))

  it("lets the runtime close while a directory says nothing", function()
    local mute, ok, err = assert(socket.bind("127.0.0.1", 0)), nil, nil
    local url = "ldaps://127.0.0.1:" .. select(2, mute:getsockname())
    core.spawn(function() ok, err = bind("herald", "4711", { url = url, timeout = 60 }) end)
    core.sleep(0.1)
    core.close()
    mute:close()
    assert_error("CLOSED", ok, err)
  end)

  it("refuses misuse", function()
    assert.error_matches(function() core.ldap_bind { dn = "x", password = "x" } end, "'url': string expected, got nil")
    assert.error_matches(function() core.ldap_bind { url = "x", dn = 1, password = "x" } end,
      "'dn': string expected, got number")
    assert.has_error(function() core.ldap_bind() end)
  end)
end)
