-- SPDX-License-Identifier: MIT

local url = require "trueconf.base.url"

local function parsed(text)
  local result, expected = url.parse(text)
  assert.is_nil(expected, text)
  return result
end

local function refused(text)
  local result, expected = url.parse(text)
  assert.is_nil(result, text)
  return expected
end

describe("url.parse", function()
  it("takes the four schemes with their ports", function()
    for scheme, expected in pairs {
      ws = { false, 4309 }, http = { false, 4309 }, wss = { true, 443 }, https = { true, 443 }, WSS = { true, 443 },
    } do
      local result = parsed(scheme .. "://Chat.Example.org")
      assert.same({ "chat.example.org", expected[1], expected[2], "", false },
        { result.host, result.tls, result.port, result.prefix, result.loopback })
    end
  end)

  it("takes a port", function()
    assert.equal(1, parsed("ws://h:1").port)
    assert.equal(65535, parsed("wss://h:65535/").port)
    assert.equal(8444, parsed("https://h:08444/x").port)
  end)

  it("takes IPv6 addresses in brackets", function()
    local result = parsed "ws://[FE80::1]:5000/x"
    assert.same({ "fe80::1", 5000, "/x" }, { result.host, result.port, result.prefix })
    assert.equal(443, parsed("wss://[::1]").port)
    assert.equal("::ffff:10.0.0.1", parsed("ws://[::ffff:10.0.0.1]").host)
  end)

  it("takes a prefix, and the address of an endpoint for its server's", function()
    assert.equal("", parsed("ws://h/").prefix)
    assert.equal("/a/b", parsed("ws://h/a/b//").prefix)
    assert.equal("", parsed("ws://h/websocket/chat_bot/").prefix)
    assert.equal("/a", parsed("ws://h/a/websocket/chat_bot").prefix)
    assert.equal("", parsed("http://h/bridge/api/client/v1/oauth/token").prefix)
  end)

  it("knows this machine", function()
    for _, host in ipairs { "localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]" } do
      assert.is_true(parsed("ws://" .. host .. ":4309").loopback, host)
    end
    for _, host in ipairs { "127.0.0.1.example.org", "localhost.example.org", "xlocalhost", "10.0.0.1", "[::2]",
      "127.example.org", "0.0.0.0" } do
      assert.is_false(parsed("ws://" .. host).loopback, host)
    end
  end)

  it("refuses other schemes", function()
    for _, text in ipairs { "", "localhost", "localhost:4309", "ftp://h", "ws:/h", "ws//h", "://h", " ws://h" } do
      assert.equal("must begin with ws://, wss://, http:// or https://", refused(text))
    end
  end)

  it("refuses a user and a password without repeating them", function()
    for _, text in ipairs { "ws://user:hunter2@h", "wss://hunter2@h:99999/", "ws://@h" } do
      local expected = refused(text)
      assert.matches("must not hold a user or password", expected)
      assert.not_matches("hunter2", expected)
    end
  end)

  it("refuses bad hosts, ports and paths", function()
    for text, expected in pairs {
      ["ws://"] = "must name a host", ["ws://:4309"] = "must name a host", ["ws:///path"] = "must name a host",
      ["ws://a b"] = "must have a host of", ["ws://пример.рф"] = "must have a host of",
      ["ws://" .. ("a"):rep(254)] = "must have a host of",
      ["ws://::1"] = "in brackets", ["ws://fe80::1:4309"] = "in brackets",
      ["ws://[::1"] = "IPv6 address between", ["ws://[]"] = "IPv6 address between",
      ["ws://[1:::2]"] = "IPv6 address between",
      ["ws://[localhost]"] = "IPv6 address between", ["ws://[1:2:3:4:5:6:7:8:9]"] = "IPv6 address between",
      ["ws://h:"] = "port between 1 and 65535", ["ws://h:0"] = "port between", ["ws://h:65536"] = "port between",
      ["ws://h:-1"] = "port between", ["ws://h:1x"] = "port between", ["ws://h:1:2"] = "port between",
      ["ws://[::1]4309"] = "port between", ["ws://h:999999999999999999999"] = "port between",
      ["ws://h/?a=1"] = "without '%?'", ["ws://h#x"] = "without '%?'", ["ws://h/a b"] = "must have a path of",
      ["ws://h/\r\nX: y"] = "must have a path of",
    } do
      assert.matches(expected, refused(text), 1, false)
    end
  end)
end)

describe("url.endpoints", function()
  -- The addresses of all endpoints, at a server and its web port.
  local function addresses(socket, at, web)
    return {
      socket = socket .. "/websocket/chat_bot/",
      token = at .. "/bridge/api/client/v1/oauth/token",
      files = at .. "/bridge/api/client/v1/files",
      server = web .. "/api/v4/server",
      oauth_token = web .. "/api/v4/oauth2/token",
      oauth_code = web .. "/bridge/api/client/v1/auth/web_rest_api_token",
      oauth_exchange = web .. "/bridge/api/client/v1/auth/token",
    }
  end

  it("derives the addresses from any scheme", function()
    for _, scheme in ipairs { "ws", "http" } do
      assert.same(addresses("ws://localhost:4309", "http://localhost:4309", "http://localhost:4309"),
        url.endpoints(parsed(scheme .. "://localhost")))
    end
    for _, scheme in ipairs { "wss", "https" } do
      assert.same(addresses("wss://h:8444/p", "https://h:8444/p", "https://h:8444/p"),
        url.endpoints(parsed(scheme .. "://h:8444/p/")))
    end
  end)

  it("takes a web port of its own for what is not Bridge's", function()
    assert.same(addresses("ws://localhost:4309", "http://localhost:4309", "https://h/p"),
      url.endpoints(parsed "ws://localhost", parsed "https://h/p"))
  end)

  it("writes IPv6 addresses in brackets and leaves out only the port 443 of TLS", function()
    assert.equal("ws://[::1]:443/websocket/chat_bot/", url.endpoints(parsed "ws://[::1]:443").socket)
    assert.equal("wss://[::1]/websocket/chat_bot/", url.endpoints(parsed "wss://[::1]").socket)
    assert.equal("http://h:80/bridge/api/client/v1/files", url.endpoints(parsed "http://h:80").files)
  end)

  it("gives addresses that parse to the same server", function()
    for _, text in ipairs { "ws://localhost", "https://[::1]:8443/a/b", "wss://chat.example.org" } do
      local first = parsed(text)
      for _, address in pairs(url.endpoints(first)) do assert.same(first, parsed(address)) end
    end
  end)
end)
