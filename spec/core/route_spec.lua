-- SPDX-License-Identifier: MIT
-- The way to a server, settled once for HTTP and WebSocket: whether a host is this machine, and which proxy leads to
-- a host with which credentials. The WebSocket must never go past a proxy, whatever the proxy is called.
local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local http_fixture = require "spec.support.http_fixture"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"
local async = helper.async

describe("the way to a server", function()
  local server, names

  setup(function() server, names = faulty.start(), http_fixture.start() end)
  teardown(function()
    server:stop()
    names:stop()
  end)

  describe("is this machine", function()
    it("by address or by name", function()
      for _, host in ipairs {
        "localhost", "LocalHost", "localhost.", "foo.localhost", "a.b.LOCALHOST", "127.0.0.1", "127.255.0.9", "::1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]", "0::1", "::ffff:127.0.0.1", "::FFFF:127.1.2.3",
      } do
        assert.is_true(core.is_loopback(host), host)
      end
      for _, host in ipairs {
        "", ".", "127.0.0.999", "127.1", "128.0.0.1", "126.255.255.255", "0.0.0.0", "::", "::2", "[::1",
        "::ffff:8.8.8.8",
        "127.0.0.1.test", "localhost.test", "notlocalhost", ".localhost.test", "::1%lo", "[]", "2130706433",
        ("a"):rep(250) .. ".localhost",
      } do
        assert.is_false(core.is_loopback(host), host)
      end
    end)

    it("also for those who look a name up", function()
      assert.equal("localhost", names:among_names([[
        core.socket { url = "ws://foo.localhost:1/" }
        print(lookups())
      ]]))
    end)
  end)

  -- The answer of core.proxy_for in a process with this environment.
  local function proxy_for(environment, url, option)
    return names:run(environment, ([[
      local proxy, err = require "trueconf.core".proxy_for(%q, %s)
      print(proxy and ("%%s %%d %%s"):format(proxy.host, proxy.port, proxy.source) or err or "direct")
    ]]):format(url, option and ("%q"):format(option) or "nil"))
  end

  describe("may lead through a proxy", function()
    local NONE = "no_proxy= http_proxy= https_proxy= all_proxy= NO_PROXY= HTTP_PROXY= HTTPS_PROXY= ALL_PROXY= "

    it("of the option", function()
      for option, expected in pairs {
        ["http://one.test:3128"] = "one.test 3128", ["one.test"] = "one.test 1080",
        ["HTTP://one.test/"] = "one.test 1080",
        ["http://u:p@[2001:db8::7]:80"] = "2001:db8::7 80", ["u%40x:p%2f@[::1]"] = "::1 1080",
        ["http://a@b:c@one.test:1"] = "one.test 1",
      } do
        assert.equal(expected .. " option 'proxy'", proxy_for(NONE, "ws://localhost/", option), option)
      end
      assert.equal("direct", proxy_for(NONE .. "http_proxy=one.test", "http://chat.test/", ""))
    end)

    it("of the environment, but not to this machine", function()
      local all = NONE .. "http_proxy=http://a.test:1 https_proxy=http://b.test:2 all_proxy=http://c.test:3 "
      assert.equal("a.test 1 http_proxy", proxy_for(all, "ws://chat.test/"))
      assert.equal("a.test 1 http_proxy", proxy_for(all, "http://chat.test/"))
      assert.equal("b.test 2 https_proxy", proxy_for(all, "wss://chat.test/"))
      assert.equal("c.test 3 ALL_PROXY", proxy_for(NONE .. "ALL_PROXY=http://c.test:3", "wss://chat.test/"))
      assert.equal("b.test 2 HTTPS_PROXY", proxy_for(NONE .. "HTTPS_PROXY=b.test:2", "wss://chat.test/"))
      assert.equal("direct", proxy_for(NONE .. "HTTP_PROXY=http://a.test:1", "ws://chat.test/"))
      for _, host in ipairs { "localhost", "foo.localhost", "127.0.0.1", "[0:0:0:0:0:0:0:1]" } do
        assert.equal("direct", proxy_for(all, "wss://" .. host .. "/"), host)
      end
    end)

    it("unless no_proxy excludes the host", function()
      local function excludes(list, host)
        local way = proxy_for(("%s https_proxy=http://b.test:2 no_proxy='%s'"):format(NONE, list),
          "wss://" .. host .. "/")
        return way == "direct"
      end
      for list, hosts in pairs {
        ["*"] = "chat.test 8.8.8.8", ["x.test, chat.test"] = "chat.test a.chat.test CHAT.test. ",
        [".chat.test"] = "chat.test a.chat.test",
        ["10.0.0.0/8 2001:db8::/33"] = "10.9.9.9 [2001:db8:1::1] [::ffff:10.1.1.1]",
        ["10.1.2.3,[2001:db8::7]"] = "10.1.2.3 [2001:db8:0::7]", ["10.0.0.128/25"] = "10.0.0.200",
      } do
        for host in hosts:gmatch "%S+" do assert.is_true(excludes(list, host), list .. " for " .. host) end
      end
      for list, hosts in pairs {
        ["chat.test"] = "notchat.test chat.test.evil.test", ["10.0.0.0/8"] = "11.0.0.1 10.test",
        ["10.0.0.128/25"] = "10.0.0.1",
        ["10.0.0.0/99 10.0.0.0/x 10.0.0.0/-1 / . ,"] = "10.0.0.1 chat.test", ["2001:db8::/33"] = "[2001:db8:8000::1]",
      } do
        for host in hosts:gmatch "%S+" do assert.is_false(excludes(list, host), list .. " for " .. host) end
      end
    end)

    it("or fails with CONFIG, without the setting's secrets", function()
      for setting, complaint in pairs {
        ["socks5://u:secret@one.test"] = "with http://", ["https://u:secret@one.test"] = "with http://",
        ["http://u:secret@"] = "no valid host", ["http://u:secret@one.test:99999"] = "the port",
        ["http://u:secret%00@one.test"] = "control characters",
        ["http://u%0d%0aX:secret@one.test"] = "control characters",
        ["http://u%3a:secret@one.test"] = "colon", ["http://u:sec/ret@one.test"] = "the port",
        ["http://u:secret@" .. ("a"):rep(400)] = "too long",
      } do
        for source, told in pairs {
          ["option 'proxy'"] = proxy_for(NONE, "ws://chat.test/", setting),
          http_proxy = proxy_for(("%s http_proxy='%s'"):format(NONE, setting), "ws://chat.test/"),
        } do
          assert.equal("CONFIG: " .. source, told:sub(1, #source + 8), setting)
          assert.is_truthy(told:find(complaint, 1, true), told)
          assert.is_nil(told:find("sec", 9 + #source, true), told)
        end
      end
    end)
  end)

  describe("through a proxy, the same for HTTP and WebSocket:", function()
    -- The Proxy-Authorization headers that the proxy got of a WebSocket and of a request.
    local function ask(proxy)
      local name = server:script { "accept", { "text", "hello" }, "silent" }
      local before = #server:log "proxy"
      local socket = assert(core.socket { url = ("ws://chat.test:%d/%s"):format(server.main, name), proxy = proxy })
      assert.equal("hello", socket:receive(5))
      socket:drop()
      assert(core.http { url = "http://chat.test/", proxy = proxy })
      local log, seen = server:log "proxy", {}
      for place = before + 1, #log do
        seen[#seen + 1] = log[place].what .. " " .. (log[place].headers["proxy-authorization"] or "none")
      end
      return table.concat(seen, ", ")
    end

    it("an IPv6 address", async(function()
      assert.equal("CONNECT none, GET none", ask("http://[::1]:" .. server.proxy6))
    end))

    it("credentials of any length", async(function()
      for _, length in ipairs { 1, 88, 96, 128, 300, 4000 } do
        local pair = "bob:" .. ("x"):rep(length)
        local told = "Basic " .. helper.base64(pair)
        assert.equal(("CONNECT %s, GET %s"):format(told, told), ask(("http://%s@127.0.0.1:%d"):format(pair,
          server.proxy)))
      end
    end))

    it("credentials with encoded characters, and without a password", async(function()
      for written, pair in pairs {
        ["b%40b:p%3A%2f%25%zz"] = "b@b:p:/%%zz", ["bob"] = "bob:", ["bob:"] = "bob:", [":p"] = ":p",
        ["%D0%B1:%D0%BF"] = "\u{431}:\u{43f}", ["a@b:c"] = "a@b:c",
      } do
        local told = "Basic " .. helper.base64(pair)
        assert.equal(("CONNECT %s, GET %s"):format(told, told), ask(("%s@127.0.0.1:%d"):format(written, server.proxy)))
      end
    end))

    it("a proxy that says no tells what it wants", async(function()
      local function fails(status, credentials)
        server:set { proxy = status }
        local proxy = ("http://%s127.0.0.1:%d"):format(credentials, server.proxy)
        local _, of_socket = core.socket { url = "ws://chat.test/", proxy = proxy }
        local _, of_http = core.http { url = "https://chat.test/", proxy = proxy }
        server:set { proxy = 200 }
        assert.equal("HTTP", of_socket.name)
        assert.equal(status, of_socket.code)
        assert.equal(status, of_http.code)
        assert.equal(of_http.message:gsub(":443", ""), (of_socket.message:gsub(":80$", "")))
        return of_http.message
      end
      assert.matches("wants a user name and password %(407%): http://USER:PASSWORD@127.0.0.1", fails(407, ""))
      assert.matches("refuses the user name or password %(407%)", fails(407, "bob:secret@"))
      assert.matches("answered 502 when asked for chat.test", fails(502, ""))
    end))

    -- Runs in a process of its own: a WebSocket and a request to this URL, and how each ended.
    local SCRIPT = [[
      local core = require "trueconf.core"
      local socket, err = core.socket { url = %q, proxy = %s }
      print(socket and (socket:receive(5) or "lost") or err)
      if socket then socket:drop() end
      local response, why = core.http { url = %q, proxy = %s }
      print(response and response.status or why)
    ]]

    local function both(environment, host, proxy)
      local name
      async(function() name = server:script { "accept", { "text", "hello" }, "silent" } end)()
      local address, option = ("%s:%d/"):format(host, server.main), proxy and ("%q"):format(proxy) or "nil"
      local script = SCRIPT:format("ws://" .. address .. name, option, "http://" .. address .. "log?none", option)
      return names:among_names(script, environment)
    end

    local function connects()
      local count
      async(function() count = #server:log("proxy", "CONNECT") end)()
      return count
    end

    it("a name that has an IPv6 address alone", function()
      assert.equal("hello\n405", both("", "chat.test", "http://six.test:" .. server.proxy6))
    end)

    it("the environment's, with no_proxy, and the direct way if the option says so", function()
      local way = ("http_proxy=http://many.test:%d "):format(server.proxy)
      local before = connects()
      assert.equal("hello\n405", both(way .. "no_proxy=", "chat.test"))
      assert.equal(before + 1, connects())
      assert.equal("hello\n200", both(way .. "no_proxy=.test", "many.test"))
      assert.equal("hello\n200", both(way .. "no_proxy=", "127.0.0.1"))
      assert.equal("hello\n200", both(way .. "no_proxy=", "many.test", ""))
      assert.equal(before + 1, connects())
    end)

    it("a setting that cannot be served is CONFIG, never a direct way", function()
      local before = connects()
      local told = both("http_proxy=socks5://many.test:1 no_proxy=", "many.test")
      assert.matches("^CONFIG: http_proxy: .*\nCONFIG: http_proxy: ", told)
      assert.equal(before, connects())
    end)
  end)

  it("begins with who we are, over HTTP and WebSocket alike", async(function()
    local agents = {}
    for _, connect in ipairs {
      function(name) core.socket { url = ("ws://127.0.0.1:%d/%s"):format(server.main, name) } end,
      function(name) core.http { url = ("http://127.0.0.1:%d/%s"):format(server.main, name) } end,
    } do
      local name = server:script { { "respond", 404 } }
      connect(name)
      agents[#agents + 1] = server:log(name, "visit")[1].headers["user-agent"]
    end
    assert.same({ "trueconf-lua/" .. core._VERSION, "trueconf-lua/" .. core._VERSION }, agents)
  end))

  it("tells of a head that is too long for a handshake, and of what is no head", async(function()
    local long = { { "respond", 200, "", "text/plain", { ["Set-Cookie"] = ("x"):rep(20000) } } }
    local _, err = core.socket { url = server:ws(long) }
    assert.equal("LIMIT", err.name, tostring(err))
    assert.matches("a head of more than 16384 bytes", err.message)
  end))

  describe("in a tunnel", function()
    it("loses nothing, however much goes both ways", async(function()
      local url, proxy = server:ws { "accept", "echo" }, ("http://127.0.0.1:%d"):format(server.proxy)
      local socket = assert(core.socket { url = url, proxy = proxy, max_unsent = 64 << 20 })
      local text = ("0123456789abcdef"):rep(65536)
      for id = 1, 4 do assert(socket:send(('{"type":1,"id":%d,"method":"m","payload":"%s"}'):format(id, text))) end
      for _ = 1, 4 do assert.is_truthy(assert(socket:receive(20)):find(text, 1, true)) end
      socket:close()
    end))

    it("ends with its connection, at either end, and with the runtime", async(function()
      local proxy = ("http://127.0.0.1:%d"):format(server.proxy)
      local socket = assert(core.socket { url = server:ws { "accept", "close" }, proxy = proxy })
      local _, err = socket:receive(5)
      assert.equal("CLOSED", err.name)
      for _ = 1, 20 do assert(core.socket { url = server:ws { "accept", "silent" }, proxy = proxy }):drop() end
      assert.is_nil(core.socket({ url = "ws://chat.test/", proxy = "http://127.0.0.1:" .. server.mute,
        connect_timeout = 0.05 }))
    end))
  end)

  -- The output of a process that goes through the proxy and may have no more than 64 descriptors.
  local function with_few_descriptors(script)
    return names:run("ulimit -n 64;", ([[
      local core, PROXY = require "trueconf.core", "http://127.0.0.1:%d"
      local function held()
        local list <close> = assert(io.popen "ls /proc/$PPID/fd")
        return select(2, list:read("a"):gsub("\n", ""))
      end
      %s
    ]]):format(server.proxy, script))
  end

  describe("in a tunnel that nobody can enter", function()
    it("nothing is left of it", function()
      assert.equal("ok", with_few_descriptors(([[
        local function try()
          local tls = { ca_file = "/nowhere/ca.pem" }
          local _, err = core.socket { url = "wss://127.0.0.1:%d/", proxy = PROXY, tls = tls }
          assert(err.name == "CONFIG", tostring(err))
        end
        try()
        local before = held()
        for _ = 1, 5 do try() end
        local after = held()
        print(after == before and "ok" or before .. " descriptors, then " .. after)
      ]]):format(server.main)))
    end)

    it("for lack of a descriptor, nobody waits", function()
      assert.equal("ok", with_few_descriptors(([[
        pcall(core.socket, { url = "ws://127.0.0.1:1/" })
        collectgarbage "stop"
        local full = {}
        for _ = 1, 5 do                       -- what is left of that one goes meanwhile
          core.sleep(0)
          local file = io.open "/dev/null"
          while file do full[#full + 1], file = file, io.open "/dev/null" end
        end
        for _ = 1, 3 do table.remove(full):close() end    -- the proxy, the door, and lws; none for who enters
        local _, err = core.socket { url = "ws://127.0.0.1:%d/", proxy = PROXY, connect_timeout = 8 }
        print(err.name == "DISCONNECTED" and "ok" or tostring(err))
      ]]):format(server.main)))
    end)
  end)

  describe("over TLS, the same for HTTP and WebSocket:", function()
    local certs

    setup(function() certs = certificates.make() end)
    teardown(function() certs:remove() end)

    -- How a WebSocket and a request end, at a server with this certificate or on this port.
    local function both(there, tls, host)
      local port, listener = there, nil
      if type(there) == "string" then
        listener = assert(core.listen {
          tls = certs:server(there), websocket_paths = { "/asked" },
          on_http = function(request) request:respond(200, {}, "") end,
        })
        port = listener:port()
      end
      local address = ("://%s:%d/asked"):format(host or "localhost", port)
      local socket, of_socket = core.socket { url = "wss" .. address, tls = tls }
      if socket then socket:drop() end
      local response, of_http = core.http { url = "https" .. address, tls = tls }
      if listener then listener:close(true) end
      assert.equal(socket ~= nil, response ~= nil, ("%s, %s"):format(of_socket, of_http))
      if socket then return true end
      assert.equal(of_http.name, of_socket.name, ("%s, %s"):format(of_socket, of_http))
      return false, of_http.name, of_http.message, of_socket.message
    end

    it("what is in the file of authorities is trusted: a root, one in the middle, the server's own", async(function()
      for _, name in ipairs { "ca", "middle", "short" } do
        assert.is_true((both("whole", { ca_file = certs:file(name .. ".pem") })), name)
      end
      assert.is_true((both("good", { ca_file = certs:file "good.pem" })))
      assert.is_true((both("short", { ca_file = certs:file "middle.pem" })))
      assert.same({ false, "TLS" }, { table.unpack({ both("short", { ca_file = certs.ca_file }) }, 1, 2) })
      assert.same({ false, "TLS" }, { table.unpack({ both("good", { ca_file = certs:file "middle.pem" }) }, 1, 2) })
      assert.same({ false, "TLS" }, { table.unpack({ both("other", { ca_file = certs:file "other.pem" }) }, 1, 2) })
      assert.same({ false, "TLS" }, { table.unpack({ both "good" }, 1, 2) })
    end))

    it("a host with a dot at its end is known by its name without", async(function()
      local tls = { ca_file = certs.ca_file }
      assert.is_true((both("good", tls, "localhost.")))
      assert.is_false((both("other", tls, "localhost.")))
    end))

    it("a file without certificates is CONFIG, with the same words", async(function()
      local empty, fifo = certs:file "empty.pem", certs:file "fifo.pem"
      assert(os.execute(("echo hello >'%s'; mkfifo '%s'"):format(empty, fifo)))
      for path, complaint in pairs {
        ["/nowhere/ca.pem"] = ": No such file or directory", ["/"] = ": it is a folder, not a plain file",
        [fifo] = ": it is a FIFO, not a plain file", ["/dev/null"] = ": it is a device, not a plain file",
        [empty] = " holds no certificate in PEM",
      } do
        local _, name, of_http, of_socket = both("good", { ca_file = path })
        assert.equal("CONFIG", name)
        assert.equal(of_http, of_socket)
        assert.is_truthy(of_http:find(path .. complaint, 1, true), of_http)
      end
    end))

    it("a file of authorities that holds none any more is no reason to trust those it had", async(function()
      local path = certs:file "changing.pem"
      local function become(command) assert(os.execute(("%s >'%s'"):format(command, path))) end
      local listener = assert(core.listen { tls = certs:server "good", websocket_paths = { "/asked" } })
      local function connect()
        local url = ("wss://localhost:%d/asked"):format(listener:port())
        local socket, err = core.socket { url = url, tls = { ca_file = path } }
        if socket then socket:drop() end
        return socket and "connected" or err.name
      end
      become(("cat '%s'"):format(certs.ca_file))
      assert.equal("connected", connect())
      become "echo nothing of use"
      for _ = 1, 3 do assert.equal("CONFIG", connect()) end
      become(("cat '%s'"):format(certs.ca_file))
      assert.equal("connected", connect())
      listener:close(true)
    end))

    it("a port that speaks no TLS is told as that, and what to try", async(function()
      local listener = core.listen { websocket_paths = { "/asked" } }
      local _, name, of_http, of_socket = both(listener:port())
      listener:close(true)
      assert.equal("TLS", name)
      for _, told in ipairs { of_http, of_socket } do
        assert.matches("TLS with localhost:%d+ failed: this port speaks no TLS; try ws:// or http:// for it", told)
      end
    end))

    it("a server that wants a certificate of the client is told as that", async(function()
      for _, port in ipairs { names.asking12, names.asking13 } do
        local _, name, of_http, of_socket = both(port, { verify = false })
        assert.equal("TLS", name)
        assert.matches("wants a certificate of the client", of_http)
        assert.matches("wants a certificate of the client", of_socket)
      end
    end))

    it("and so is one that says so by 400", async(function()
      local directory <close> = system.directory()
      local proxy = nginx.start(directory, 1, function(text)
        return (text:gsub("  ssl_protocols", ([[
          keepalive_timeout 0;
          ssl_verify_client optional;
          ssl_client_certificate %s;
          location = /asked { if ($ssl_client_verify != SUCCESS) { return 400; } }
          ssl_protocols]]):format(directory:file "ca.pem"), 1))
      end)
      local _, name, of_http, of_socket = both(proxy.port, { verify = false })
      proxy:stop()
      assert.equal("TLS", name)
      assert.matches("wants a certificate of the client", of_http)
      assert.matches("wants a certificate of the client", of_socket)
    end))

    it("a session with such settings gives up at once", async(function()
      local url = ("://localhost:%d/"):format(server.main)
      local by_password = { token = false, username = "herald", password = "4711", token_url = "https" .. url }
      for _, more in ipairs { { tls = { ca_file = "/nowhere/ca.pem" } }, { proxy = "socks5://one.test" } } do
        for _, options in ipairs { by_password, {} } do
          local given = { url = "wss" .. url }
          for _, source in ipairs { options, more } do
            for name, value in pairs(source) do given[name] = value end
          end
          local session, record = faulty.session(given)
          session:start()
          local _, err = session:wait_ready(5)
          assert.equal("CONFIG", err.name)
          assert.matches("^%a+ failed$", faulty.path(record))
        end
      end
    end))
  end)

  it("is not there without file descriptors, and says so", function()
    local script = [[
      local core, held = require "trueconf.core", {}
      core.sleep(0)
      pcall(core.http, { url = "http://127.0.0.1:1/", timeout = 5 })
      pcall(core.socket, { url = "ws://127.0.0.1:1/" })
      collectgarbage()
      local file = io.open "/dev/null"
      while file do held[#held + 1], file = file, io.open "/dev/null" end
      for _, host in ipairs { "127.0.0.1", "chat.test" } do
        print(select(2, core.socket { url = "ws://" .. host .. ":1/" }))
        print(select(2, core.http { url = "http://" .. host .. ":1/" }))
        print(select(2, core.socket { url = "ws://" .. host .. ":1/", proxy = "http://127.0.0.1:1" }))
      end
    ]]
    local told = names:run("ulimit -n 64;", script)
    local count = select(2, told:gsub("IO: no file descriptor is left for a connection to [%w. :]+ %(?", ""))
    assert.equal(6, count, told)
  end)
end)
