-- SPDX-License-Identifier: MIT
-- WebSocket connections of a client: how they come about, TLS, proxies, and the bare socket for tools.

local bridge = require "trueconf.bridge"
local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"

local async, eventually = helper.async, helper.eventually

describe("a socket", function()
  local server, certs

  setup(function()
    server = faulty.start()
    certs = certificates.make()
  end)

  teardown(function()
    server:stop()
    certs:remove()
  end)

  -- Wait until nothing is left of a connection.
  local function finish(socket)
    socket:close()
    repeat until not socket:receive(5)
  end

  describe("connects", function()
    it("and offers json.v1", async(function()
      local url, name = server:ws({ "accept", "silent" })
      local socket = assert(core.socket { url = url })
      assert.equal("json.v1", socket:protocol())
      finish(socket)
      local headers = server:log(name, "visit")[1].headers
      assert.equal("json.v1", headers["sec-websocket-protocol"])
      assert.equal("13", headers["sec-websocket-version"])
      assert.equal("127.0.0.1:" .. server.main, headers.host)
      assert.is_nil(headers.origin)
    end))

    it("also when the server names no subprotocol", async(function()
      local socket = assert(core.socket { url = server:ws({ { "accept", false }, "silent" }) })
      assert.is_nil(socket:protocol())
      finish(socket)
    end))

    it("and offers what it is told: others, several, none", async(function()
      local url, name = server:ws({ { "accept", "other.v2" }, "silent" }, { { "accept", "b" }, "silent" },
        { { "accept", false }, "silent" })
      local socket = assert(core.socket { url = url, subprotocol = "other.v2" })
      assert.equal("other.v2", socket:protocol())
      finish(socket)
      socket = assert(core.socket { url = url, subprotocol = "a, b" })
      assert.equal("b", socket:protocol())
      finish(socket)
      socket = assert(core.socket { url = url, subprotocol = false })
      assert.is_nil(socket:protocol())
      finish(socket)
      local log = server:log(name, "visit")
      assert.equal("a, b", log[2].headers["sec-websocket-protocol"])
      assert.is_nil(log[3].headers["sec-websocket-protocol"])
    end))

    it("not when the server chooses a subprotocol that was not offered", async(function()
      local socket, err = core.socket { url = server:ws({ { "accept", "xml.v3" }, "mute" }) }
      assert.is_nil(socket)
      assert.equal("PROTOCOL", err.name)
    end))

    it("and loses nothing of what comes along with the 101 response", async(function()
      local socket = assert(core.socket { url = server:ws({ { "accept_with", "one", "two" }, "silent" }) })
      assert.equal("one", socket:receive(5))
      assert.equal("two", socket:receive(5))
      finish(socket)
    end))

    it("after interim answers, however they are cut", async(function()
      local upgrade = { "lines", "HTTP/1.1 101 Switching Protocols", "upgrade: WebSocket",
        "CONNECTION: keep-alive ,Upgrade", "Sec-WebSocket-Accept:PROOF", "Sec-WebSocket-Protocol:  json.v1\t" }
      local hello, pause = { "text", "hello" }, { "sleep", 0.02 }
      for _, script in ipairs {
        { { "lines", "HTTP/1.1 100 Continue" }, upgrade, hello, "silent" },
        { { "lines", "HTTP/1.1 103 Early Hints", "Link: </a>" }, pause, upgrade, pause, hello, "silent" },
        { { "lines", "HTTP/1.1 100 Continue" }, { "lines", "HTTP/1.1 102 Processing", "A: b" },
          pause, { "lines", "HTTP/1.1 103 Early Hints" }, upgrade, hello, "silent" },
        { { "raw", "485454502f312e312031303020436f6e" }, pause, { "raw", "74696e75650d0a0d0a" }, upgrade, hello,
          "silent" },
        { upgrade, hello, "silent" },
      } do
        local socket = assert(core.socket { url = server:ws(script) })
        assert.equal("json.v1", socket:protocol())
        assert.equal("hello", socket:receive(5))
        finish(socket)
      end
    end))

    it("and asks for one thing only, with a key of its own each time", async(function()
      local url, name = server:ws({ "accept", "silent" })
      finish(assert(core.socket { url = url }))
      finish(assert(core.socket { url = url }))
      local first, second = server:log(name, "visit")[1].headers, server:log(name, "visit")[2].headers
      assert.same({ "websocket", "Upgrade", "13" }, { first.upgrade, first.connection, first["sec-websocket-version"] })
      assert.equal(24, #first["sec-websocket-key"])
      assert.not_equal(first["sec-websocket-key"], second["sec-websocket-key"])
      assert.is_nil(first["sec-websocket-extensions"])
    end))

    it("by name", async(function()
      local url = server:ws({ "accept", "silent" })
      finish(assert(core.socket { url = (url:gsub("127.0.0.1", "localhost")) }))
    end))

    it("on the main thread too", function()
      local url
      async(function() url = server:ws({ "accept", { "text", "hello" }, "silent" }) end)()
      local socket = assert(core.socket { url = url })
      assert.equal("hello", socket:receive(5))
      socket:close()
      assert.equal("CLOSED", select(2, socket:receive(5)).name)
      core.close()
      assert.equal(0, core.stats().handles)
    end)
  end)

  describe("does not connect", function()
    local function failure(options)
      local socket, err = core.socket(options)
      assert.is_nil(socket)
      assert.equal(0, core.stats().sockets)
      return err
    end

    for status, name in pairs { [403] = "HTTP", [404] = "HTTP", [500] = "HTTP", [503] = "HTTP", [200] = "HTTP" } do
      it(("when the answer is HTTP %d"):format(status), async(function()
        local err = failure { url = server:ws({ { "respond", status, "<html></html>", "text/html" } }) }
        assert.equal(name, err.name)
        assert.equal(status, err.code)
      end))
    end

    for what, case in pairs {
      ["is no HTTP"] = { "DISCONNECTED", { "raw", "68656c6c6f0d0a0d0a" }, "close" },
      ["is that of TLS"] = { "DISCONNECTED", { "raw", "1503030002020a" }, "close" },
      ["does not prove that it understood"] = { "PROTOCOL", "accept_wrongly", "mute" },
      ["ends in the middle"] = { "DISCONNECTED", "cut_accept", "close" },
      ["never comes"] = { "DISCONNECTED", "close" },
      ["is a reset"] = { "DISCONNECTED", "reset" },
    } do
      it("when the answer " .. what, async(function()
        local err = failure { url = server:ws({ table.unpack(case, 2) }), connect_timeout = 5 }
        assert.equal(case[1], err.name)
        assert.matches("127.0.0.1:" .. server.main, err.message, 1, true)
      end))
    end

    for _, status in ipairs { 300, 301, 302, 303, 304, 307, 308 } do
      it(("when the answer is HTTP %d: a redirect is told, not followed"):format(status), async(function()
        local place, other = server:ws({ "accept", "mute" })
        local location = place:gsub("^ws://", "http://mira:secret@") .. "?token=secret"
        local err = failure { url = server:ws({ { "respond", status, "", "text/html", { Location = location } } }) }
        assert.equal("HTTP", err.name)
        assert.equal(status, err.code)
        assert.matches(("leads to 127.0.0.1:%d/%s"):format(server.main, other), err.message, 1, true)
        assert.is_nil(err.message:find("secret", 1, true))
        assert.same({}, server:log(other, "visit"))
      end))
    end

    it("when a redirect leads nowhere", async(function()
      local err = failure { url = server:ws({ { "respond", 302, "" } }) }
      assert.same({ "HTTP", 302 }, { err.name, err.code })
    end))

    local SWITCHING = "HTTP/1.1 101 Switching Protocols"
    local UPGRADE, CONNECTION = "Upgrade: websocket", "Connection: Upgrade"
    local ACCEPT, PROTOCOL = "Sec-WebSocket-Accept: PROOF", "Sec-WebSocket-Protocol: json.v1"

    -- RFC 6455, 4.1: what the client checks.
    for what, lines in pairs {
      ["no Upgrade"] = { SWITCHING, CONNECTION, ACCEPT },
      ["another Upgrade"] = { SWITCHING, "Upgrade: h2c", CONNECTION, ACCEPT },
      ["two Upgrades"] = { SWITCHING, UPGRADE, "Upgrade: websocket2", CONNECTION, ACCEPT },
      ["no Connection"] = { SWITCHING, UPGRADE, ACCEPT },
      ["a Connection of other words"] = { SWITCHING, UPGRADE, "Connection: keep-alive, upgrades", ACCEPT },
      ["no proof"] = { SWITCHING, UPGRADE, CONNECTION },
      ["two proofs"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, ACCEPT },
      ["half a proof"] = { SWITCHING, UPGRADE, CONNECTION, "Sec-WebSocket-Accept: PROO" },
      ["an extension"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate" },
      ["two subprotocols"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, PROTOCOL, PROTOCOL },
      ["a list of subprotocols"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: json.v1, b" },
      ["another subprotocol"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, "Sec-WebSocket-Protocol: JSON.v1" },
      ["a length"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, PROTOCOL, "Content-Length: 10" },
      ["a length of 0"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, PROTOCOL, "Content-Length: 0" },
      ["chunks"] = { SWITCHING, UPGRADE, CONNECTION, ACCEPT, PROTOCOL, "Transfer-Encoding: chunked" },
      ["HTTP/1.0"] = { "HTTP/1.0 101 Switching Protocols", UPGRADE, CONNECTION, ACCEPT },
    } do
      for when, before in pairs { ["at first"] = {}, ["after a 100"] = { { "lines", "HTTP/1.1 100 Continue" } } } do
        it(("when the 101 response has %s, %s"):format(what, when), async(function()
          local script = { table.unpack(before) }
          script[#script + 1] = { "lines", table.unpack(lines) }
          script[#script + 1] = { "text", "{}" }
          script[#script + 1] = "mute"
          local err = failure { url = server:ws(script), connect_timeout = 20 }
          assert.equal("PROTOCOL", err.name, tostring(err))
        end))
      end
    end

    it("when the answer after a 103 is a refusal, with what it says", async(function()
      local err = failure { url = server:ws({ { "lines", "HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload" },
        { "lines", "HTTP/1.1 503 Busy", "Content-Length: 0", "Retry-After: 7" }, "mute" }) }
      assert.same({ "HTTP", 503, 7 }, { err.name, err.code, err.retry_after })
    end))

    it("when there are interim answers without an end, or with a body", async(function()
      local long = { "lines", "HTTP/1.1 100 Continue", "X: " .. ("x"):rep(8000) }
      local err = failure { url = server:ws({ { "lines", "HTTP/1.1 100 Continue" },
        { "lines", "HTTP/1.1 101 Yes", "X: " .. ("x"):rep(17000), UPGRADE }, "mute" }), connect_timeout = 20 }
      assert.equal("LIMIT", err.name, tostring(err))
      err = failure { url = server:ws({ long, long, long, { "lines", "HTTP/1.1 100 Continue", "Bad line" }, "mute" }),
        connect_timeout = 20 }
      assert.equal("PROTOCOL", err.name, tostring(err))
      err = failure { url = server:ws({ { "lines", "HTTP/1.1 100 Continue", "Content-Length: 5" }, "mute" }) }
      assert.equal("PROTOCOL", err.name, tostring(err))
    end))

    it("within connect_timeout to a server that says nothing", async(function()
      local err = failure { url = ("ws://127.0.0.1:%d/"):format(server.mute), connect_timeout = 0.05 }
      assert.equal("TIMEOUT", err.name)
      assert.matches("0.05 s", err.message, 1, true)
    end))

    it("within connect_timeout over TLS to a server that says nothing", async(function()
      local err = failure { url = ("wss://127.0.0.1:%d/"):format(server.mute), connect_timeout = 0.05 }
      assert.equal("TIMEOUT", err.name)
    end))

    it("where nothing listens", async(function()
      assert.equal("REFUSED", failure({ url = "ws://127.0.0.1:1/" }).name)
      assert.equal("REFUSED", failure({ url = "wss://127.0.0.1:1/" }).name)
      assert.equal("REFUSED", failure({ url = "ws://localhost:1/" }).name)
    end))
  end)

  describe("refuses", function()
    for name, case in pairs {
      ["a table without a url"] = { {}, "url" },
      ["a url that is a boolean"] = { { url = false }, "url" },
      ["a wrong url"] = { { url = "ftp://localhost/" }, "ws://" },
      ["a time that is a string"] = { { url = "ws://localhost/", connect_timeout = "soon" }, "'connect_timeout'" },
      ["a limit that is a table"] = { { url = "ws://localhost/", max_frame = {} }, "'max_frame'" },
      ["a proxy that is a number"] = { { url = "ws://localhost/", proxy = 1 }, "'proxy'" },
      ["tls with an unknown field"] = { { url = "ws://localhost/", tls = { verfy = false } }, "tls.verfy" },
      ["a pin that is none"] = { { url = "ws://localhost/", tls = { pin = "abc" } }, "tls.pin" },
    } do
      it(name, async(function() assert.error_matches(function() core.socket(case[1]) end, case[2]) end))
    end

    it("anything but a table", async(function()
      assert.error_matches(function() core.socket "ws://localhost/" end, "table expected")
    end))
  end)

  describe("of a tool", function()
    local function open(...)
      local url, name = server:ws({ "accept", ... })
      return assert(core.socket { url = url }), name
    end

    it("gives messages in order, also those from before the end", async(function()
      local socket = open({ "text", "one" }, { "text", "two" }, { "bye", 1001, "enough" })
      core.sleep(0.02)
      assert.equal("one", socket:receive())
      assert.equal("two", socket:receive(5))
      for _ = 1, 2 do
        local data, err = socket:receive(5)
        assert.is_nil(data)
        assert.equal("CLOSED", err.name)
        assert.equal(1001, err.code)
        assert.matches("enough", err.message)
      end
    end))

    it("waits for a message only so long", async(function()
      local socket = open "silent"
      local data, err = socket:receive(0.01)
      assert.is_nil(data)
      assert.equal("TIMEOUT", err.name)
      assert.equal("TIMEOUT", select(2, socket:receive(0)).name)
      finish(socket)
    end))

    it("lets one coroutine receive at a time", async(function()
      local socket = open "silent"
      local first
      core.spawn(function() first = select(2, socket:receive()) end)
      core.sleep(0.005)
      assert.error_matches(function() socket:receive() end, "another coroutine")
      socket:drop()
      eventually(function() return first end)
      assert.equal("CLOSED", first.name)
      assert.equal(1006, first.code)
    end))

    it("refuses to send after its end", async(function()
      local socket = open "silent"
      socket:close(1000, "done")
      local ok, err = socket:send "x"
      assert.is_nil(ok)
      assert.equal("CLOSED", err.name)
      assert.equal("CLOSED", select(2, socket:receive(5)).name)
      assert.equal("CLOSED", select(2, socket:send "x").name)
      socket:close()
      socket:drop()
    end))

    it("refuses what it cannot send", async(function()
      local socket = open "silent"
      assert.error_matches(function() socket:send {} end, "string expected")
      assert.error_matches(function() socket:send("x", "telegram") end, "invalid option 'telegram'")
      finish(socket)
    end))

    it("stays while it is waited for, whoever holds it", async(function()
      local data
      local url = server:ws({ "accept", { "sleep", 0.05 }, { "text", "late" }, "close" })
      core.spawn(function() data = assert(core.socket { url = url }):receive(5) end)
      eventually(function()
        collectgarbage()
        return data
      end)
      assert.equal("late", data)
    end))

    it("is closed with the runtime", function()
      async(function() open "silent":drop() end)()
      local url
      async(function() url = server:ws({ "accept", "silent" }) end)()
      local socket = assert(core.socket { url = url })
      core.close()
      assert.equal(0, core.stats().handles)
      assert.is_nil(socket:send "x")
      assert.is_nil(socket:receive())
      socket:close()
    end)
  end)

  describe("over TLS", function()
    local listener

    -- Connect to a server that shows this certificate.
    local function try(certificate, tls, host)
      listener = assert(core.listen { tls = certs:server(certificate), websocket_paths = { "/" },
        on_frame = function(connection, data) connection:send(data) end })
      local socket, err = core.socket { url = ("wss://%s:%d/"):format(host or "localhost", listener:port()), tls = tls }
      if socket then
        socket:send "hello"
        assert.equal("hello", socket:receive(5))
        finish(socket)
      end
      listener:close(true)
      return socket and true, err
    end

    local function trusted(...)
      local ok, err = try(...)
      assert.is_true(ok, tostring(err))
    end

    local function refused(...)
      local ok, err = try(...)
      assert.is_nil(ok)
      assert.equal("TLS", err.name, tostring(err))
      return err.message
    end

    local WRONG = "sha256//" .. ("A"):rep(43) .. "="

    it("trusts its own authority only when told", async(function()
      trusted("good", { ca_file = certs.ca_file })
      assert.matches("unable to get local issuer certificate", (refused "good"))
      refused("good", {})
      refused("good", { ca_file = certs:file "alone.pem" })
    end))

    it("does not trust a certificate of another host", async(function()
      assert.matches("[Hh]ostname mismatch", (refused("other", { ca_file = certs.ca_file })))
    end))

    it("does not trust an expired certificate", async(function()
      assert.matches("has expired", (refused("expired", { ca_file = certs.ca_file })))
    end))

    it("does not trust a certificate that signed itself, unless told", async(function()
      assert.matches("self%-signed certificate", (refused "alone"))
      refused("alone", { ca_file = certs.ca_file })
      trusted("alone", { ca_file = certs:file "alone.pem" })
    end))

    it("trusts everybody with verify = false", async(function()
      for _, name in ipairs { "good", "other", "expired", "alone", "address" } do
        trusted(name, { verify = false })
      end
    end))

    it("checks an IP address against the certificate", async(function()
      trusted("address", { ca_file = certs.ca_file }, "127.0.0.1")
      assert.matches("127.0.0.1", refused("good", { ca_file = certs.ca_file }, "127.0.0.1"), 1, true)
      refused("address", { ca_file = certs.ca_file })
      refused("address", {}, "127.0.0.1")
      trusted("good", { verify = false }, "127.0.0.1")
    end))

    it("trusts the pinned key, and only it", async(function()
      local ca_file, pin = certs.ca_file, certs:pin "good"
      trusted("good", { ca_file = ca_file, pin = pin })
      assert.matches("pinned", refused("good", { ca_file = ca_file, pin = WRONG }))
      refused("good", { ca_file = ca_file, pin = certs:pin "ca" })
      refused("good", { pin = pin })
      refused("expired", { ca_file = ca_file, pin = certs:pin "expired" })
    end))

    it("checks the pin also with verify = false", async(function()
      trusted("alone", { verify = false, pin = certs:pin "alone" })
      refused("alone", { verify = false, pin = WRONG })
    end))

    it("trusts each of several pinned keys", async(function()
      local pin = certs:pin "good"
      trusted("good", { ca_file = certs.ca_file, pin = WRONG .. ";" .. pin })
      trusted("good", { ca_file = certs.ca_file, pin = pin .. ";" .. WRONG })
      refused("good", { ca_file = certs.ca_file, pin = WRONG .. ";" .. WRONG })
    end))

    it("says which file of authorities it cannot read, until it can, and takes a new one", async(function()
      local path = certs:file "late.pem"
      local function fails(complaint)
        local ok, err = try("good", { ca_file = path })
        assert.is_nil(ok)
        assert.equal("CONFIG", err.name)
        assert.is_truthy(err.message:find("late.pem" .. complaint, 1, true), err.message)
      end
      fails ": No such file"
      assert(os.execute(("mkdir '%s'"):format(path)))
      fails ": it is a folder"
      assert(os.execute(("rmdir '%s'; echo hello >'%s'"):format(path, path)))
      fails " holds no certificate"
      assert(os.execute(("cp '%s' '%s'"):format(certs.ca_file, path)))
      trusted("good", { ca_file = path })
      assert(os.execute(("cp '%s' '%s'"):format(certs:file "alone.pem", path)))
      refused("good", { ca_file = path })
    end))

    it("does not take a server without TLS for one with it", async(function()
      local plain = assert(core.listen { websocket_paths = { "/" } })
      local _, err = core.socket { url = ("wss://localhost:%d/"):format(plain:port()) }
      assert.equal("TLS", err.name, tostring(err))
      plain:close(true)
    end))
  end)

  describe("of a session over TLS", function()
    -- The path a session takes at a Bridge that shows this certificate, and the first reason to back off.
    local function path(certificate, tls, options)
      local there = assert(bridge.start { tls = certs:server(certificate), accounts = { herald = "4711" } })
      local base = ("://localhost:%d"):format(there:port())
      local given = { url = "wss" .. base .. "/websocket/chat_bot/", tls = tls, token = there:mint_token "herald" }
      for name, value in pairs(options or {}) do given[name] = value end
      if not given.token then given.token_url = "https" .. base .. "/bridge/api/client/v1/oauth/token" end
      local session, record = faulty.session(given)
      session:start()
      eventually(function() return session:state() == "ready" or faulty.path(record):find "backoff %a" end)
      session:stop()
      there:stop(true)
      return faulty.path(record), faulty.reason(record, "backoff")
    end

    local PASSWORD = { token = false, username = "herald", password = "4711" }

    it("has the same trust for the token and the connection", async(function()
      local tls = { ca_file = certs.ca_file, pin = certs:pin "good" }
      assert.equal("token connecting authorizing ready closing closed", (path("good", tls, PASSWORD)))
      assert.equal("token connecting authorizing ready closing closed", (path("alone", { verify = false }, PASSWORD)))
    end))

    for _, name in ipairs { "other", "expired", "alone" } do
      it(("backs off from a certificate like '%s', and says why"):format(name), async(function()
        local states, err = path(name, { ca_file = certs.ca_file }, PASSWORD)
        assert.matches("^token backoff token", states)
        assert.equal("TLS", err.name)
        states, err = path(name, { ca_file = certs.ca_file })
        assert.matches("^connecting backoff connecting", states)
        assert.equal("TLS", err.name)
      end))
    end
  end)

  describe("through a proxy", function()
    local function proxy(credentials)
      return ("http://%s127.0.0.1:%d"):format(credentials or "", server.proxy)
    end

    local function last_connect()
      local log = server:log("proxy", "CONNECT")
      return log[#log]
    end

    it("asks the proxy for the host by name", async(function()
      local _, name = server:ws({ "accept", { "text", "hello" }, "silent" })
      local url = ("ws://bot.test:%d/%s"):format(server.main, name)
      local socket = assert(core.socket { url = url, proxy = proxy() })
      assert.equal("hello", socket:receive(5))
      finish(socket)
      assert.equal("bot.test:" .. server.main, last_connect().target)
      assert.is_nil(last_connect().headers["proxy-authorization"])
    end))

    it("shows its credentials to the proxy", async(function()
      local socket = assert(core.socket { url = server:ws({ "accept", "silent" }), proxy = proxy "bob:secret@" })
      finish(socket)
      assert.matches("^[Bb]asic Ym9iOnNlY3JldA==$", last_connect().headers["proxy-authorization"])
    end))

    it("speaks TLS with the server, not with the proxy", async(function()
      local listener = assert(core.listen { tls = certs:server "good", websocket_paths = { "/" } })
      local url = ("wss://localhost:%d/"):format(listener:port())
      finish(assert(core.socket { url = url, proxy = proxy(), tls = { ca_file = certs.ca_file } }))
      local _, err = core.socket { url = url, proxy = proxy() }
      assert.equal("TLS", err.name)
      listener:close(true)
    end))

    it("does not get past a proxy that refuses", async(function()
      for _, status in ipairs { 403, 407, 502 } do
        server:set { proxy = status }
        local socket, err = core.socket { url = server:ws({ "accept", "silent" }), proxy = proxy "bob:secret@" }
        assert.is_nil(socket)
        assert.is_nil(tostring(err):find("secret", 1, true))
        assert.is_truthy(err.name == "HTTP" or err.name == "REFUSED" or err.name == "DISCONNECTED", tostring(err))
      end
      server:set { proxy = 200 }
    end))

    it("does not get past a proxy that is not there, or says nothing", async(function()
      local url = server:ws({ "accept", "silent" })
      assert.equal("REFUSED", select(2, core.socket { url = url, proxy = "http://127.0.0.1:1" }).name)
      local silent = ("http://127.0.0.1:%d"):format(server.mute)
      assert.equal("TIMEOUT", select(2, core.socket { url = url, proxy = silent, connect_timeout = 0.05 }).name)
    end))

    it("takes a session to its server", async(function()
      local session, record = faulty.session { url = server:ws({ "accept", "auth", "echo" }), proxy = proxy() }
      local before = #server:log("proxy", "CONNECT")
      session:start()
      assert(session:wait_ready(5))
      assert(session:request("m", "{}"))
      session:stop()
      assert.equal("connecting authorizing ready closing closed", faulty.path(record))
      assert.equal(before + 1, #server:log("proxy", "CONNECT"))
    end))

    it("of the environment not to this machine", function()
      local url, before
      async(function()
        url = server:ws({ "accept", { "text", "hello" }, "silent" })
        before = #server:log("proxy", "CONNECT")
      end)()
      local script = os.tmpname()
      local file = assert(io.open(script, "w"))
      file:write(("package.cpath = %q\n"):format(package.cpath), ([[
        local socket = assert(require "trueconf.core".socket { url = %q })
        assert(socket:receive(5) == "hello")
        socket:drop()
      ]]):format(url))
      file:close()
      local environment = ("http_proxy=%s https_proxy=%s all_proxy=%s no_proxy="):gsub("%%s", (proxy()))
      assert.is_true(os.execute(("%s timeout 20 '%s' '%s'"):format(environment, os.getenv "LUA" or "lua5.4", script)))
      os.remove(script)
      async(function() assert.equal(before, #server:log("proxy", "CONNECT")) end)()
    end)
  end)
end)
