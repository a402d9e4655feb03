-- SPDX-License-Identifier: MIT
-- The server of the core: csrc/server/listener.c, request.c, request_head.c, request_body.c, answer.c, connection.c,
-- upgrade.c, tls.c. How it reads a head is in head_spec.lua.
-- Odd input comes from spec/support/python/raw_client.py.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local raw_client = require "spec.support.raw_client"
local system = require "spec.support.system"
local tcp = require "socket"

-- Other programs are not for the sanitizer that may be preloaded here.
local ALONE = "unset LD_PRELOAD;"

local directory

local function output(command, ...)
  local pipe = assert(io.popen(("%s { %s; } 2>&1"):format(ALONE, command:format(...))))
  local text = pipe:read "a"
  assert(pipe:close(), text)
  return (text:gsub("%s+$", ""))
end

local function certify(name)
  output([[cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key \
    -out %s.pem -days 2 -subj '/CN=localhost' -addext 'subjectAltName=DNS:localhost']], directory, name, name)
end

setup(function()
  directory = output "mktemp -d"
  certify "one"
  certify "two"
end)
teardown(function() output("rm -rf '%s'", directory) end)

local function echo(connection, data) connection:send(data) end

local function hello(request) request:respond(200, {}, "hello") end

local function listen(options)
  options.websocket_paths = options.websocket_paths or { "/ws" }
  options.on_http = options.on_http or hello
  return assert(core.listen(options))
end

local function url(listener, path, scheme)
  return ("%s://localhost:%d%s"):format(scheme or "http", listener:port(), path or "/")
end

local function get(listener, path, options)
  local request = { url = url(listener, path) }
  for key, value in pairs(options or {}) do request[key] = value end
  return assert(core.http(request))
end

local function connect(listener, options)
  local given = { url = url(listener, "/ws", "ws"), ping_interval = 0 }
  for key, value in pairs(options or {}) do given[key] = value end
  return core.socket(given)
end

local function status_of(listener, options)
  local socket, err = connect(listener, options)
  if socket then socket:drop() return 101 end
  assert.equal("HTTP", err.name, tostring(err))
  return err.code
end

local function raw(listener, ...) return raw_client.run(listener:port(), ...) end

local function handshake(more)
  return [[send GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n]] ..
    [[Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n]] .. (more or "") .. [[\r\n]]
end

local statuses = raw_client.statuses

describe("an HTTP request", function()
  it("reaches the handler as it was sent", helper.async(function()
    local seen
    local listener = listen { on_http = function(request)
      seen = request
      request:respond(201, { ["X-Answer"] = "yes", ["Content-Length"] = "99" }, "made")
    end }
    local response = get(listener, "/a%20b&c/%C3%A9?x=1&y=a%26b+c&z", {
      method = "PUT", body = ("data\0"):rep(1000),
      headers = { ["Upload-Task-Id"] = "77", Authorization = "Bearer abc", ["Content-Type"] = "text/odd" },
    })
    assert.equal(201, response.status)
    assert.equal("made", response.body)
    assert.equal("yes", response.headers["x-answer"])
    assert.equal("4", response.headers["content-length"])
    assert.equal("PUT", seen.method)
    assert.equal("/a b&c/\u{e9}", seen.path)
    assert.same({ x = "1", y = "a&b c", z = "" }, seen.query)
    assert.equal("77", seen.headers["upload-task-id"])
    assert.equal("Bearer abc", seen.headers.authorization)
    assert.equal("text/odd", seen.headers["content-type"])
    assert.equal(("data\0"):rep(1000), seen.body)
    assert.equal("127.0.0.1", seen.peer)
    assert.is_nil(seen.unknown)
    assert.equal("Request (PUT /a b&c/\u{e9})", tostring(seen))
    listener:close()
  end))

  for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
    it("may have the method " .. method, helper.async(function()
      local listener = listen { on_http = function(request) request:respond(200, {}, request.method) end }
      assert.equal(method, get(listener, "/", { method = method }).body)
      listener:close()
    end))
  end

  it("gets no body with HEAD, 204 and 304", helper.async(function()
    local listener = listen { on_http = function(request)
      request:respond(math.tointeger(request.query.status) or 200, {}, "four")
    end }
    local text = raw(listener, [[send HEAD / HTTP/1.1\r\nHost: x\r\n\r\n]], [[until \r\n\r\n]], "pause 0.05",
      [[send GET /?status=204 HTTP/1.1\r\nHost: x\r\n\r\n]], "until 204", "pause 0.05",
      [[send GET /?status=304 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]], "read")
    assert.equal("200 204 304", statuses(text))
    assert.equal(1, select(2, text:gsub("Content%-Length: 4", "")))
    assert.is_nil(text:find("four", 1, true))
    listener:close()
  end))

  it("follows another one on the same connection", helper.async(function()
    local listener = listen { on_http = function(request)
      request:respond(200, {}, request.path .. " " .. request.body)
    end }
    local text = raw(listener, [[send GET /1 HTTP/1.1\r\nHost: x\r\n\r\n]], "until /1 ",
      [[send POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc]], "until /2 abc",
      [[send POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n]], "until /3 ",
      [[send PUT /4 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n]], "until /4 ",
      [[send GET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]], "read")
    assert.equal("200 200 200 200 200", statuses(text))
    assert.matches("/5 $", text)
    listener:close()
  end))

  -- RFC 9112, 9.3.2. Each is handled when the one before has been answered.
  local early = {
    { "/1  /2 ", [[GET /1 HTTP/1.1\r\nHost: x\r\n\r\n]] },
    { "/1 abc /2 ", [[POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc]] },
    { "/1  /2 ", [[POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n]] },
    { "/1  /2 ", [[POST /1 HTTP/1.1\r\nHost: x\r\n\r\n\r\n]] },
    { "/1 abcd /2 ", [[PUT /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n]] ..
      [[3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n]] },
    { "/1 abc /a def /b  /2 ", [[GET /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc]] ..
      [[DELETE /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n]] ..
      [[OPTIONS /b HTTP/1.1\r\nHost: x\r\n\r\n]] },
  }
  for index, case in ipairs(early) do
    it(("sent before the last one was answered is answered after it, case %d"):format(index), helper.async(function()
      local working = 0
      local listener = listen { on_http = function(request)
        working = working + 1
        core.sleep(0.02)
        assert.equal(1, working)
        working = 0
        request:respond(200, {}, request.path .. " " .. request.body)
      end }
      local last = [[GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]]
      local bodies = {}
      local text = raw(listener, "send " .. case[2] .. last, "read")
      for body in (text .. "HTTP/1.1"):gmatch "\r\n\r\n(.-)HTTP/1%.1" do bodies[#bodies + 1] = body end
      assert.equal(case[1], table.concat(bodies, " "))
      listener:close()
    end))
  end

  it("is answered also if its client sends no more", helper.async(function()
    local listener = listen { on_http = function(request)
      core.sleep(0.1)
      request:respond(200, {}, request.path)
    end }
    local text = raw(listener, [[send GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n]],
      "shutdown", "read")
    assert.equal("200 200", statuses(text))
    assert.matches("/1HTTP.*/2$", text)
    listener:close()
  end))

  it("has all its fields, those that come twice joined, and the host of an absolute target", helper.async(function()
    local seen
    local listener = listen { on_http = function(request)
      seen = request
      request:respond(200, {}, "")
    end }
    raw(listener, [[send GET http://other:81?a=1&a=2&&=b+c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\nCookie: a\r\n]] ..
      [[Cookie: b\r\nUser: u\r\nA: \r\nConnection: close\r\n\r\n]], "read")
    assert.equal("/", seen.path)
    assert.same({ a = "2", [""] = "b c" }, seen.query)
    assert.same({ host = "other:81", ["x-a"] = "1, 2", cookie = "a; b", user = "u", a = "", connection = "close" },
      seen.headers)
    listener:close()
  end))

  it("ends the connection if it is HTTP/1.0", helper.async(function()
    local listener = listen {}
    local text = raw(listener, [[send GET / HTTP/1.0\r\n\r\n]], "read")
    assert.matches("Connection: close\r\n.*hello$", text)
    listener:close()
  end))

  it("may come in pieces", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, request.body) end }
    local text = raw(listener, [[send PO]], "pause 0.05",
      [[send ST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Le]],
      "pause 0.05", [[send ngth: 6\r\n\r\nab]], "pause 0.05", "send cdef", "read")
    assert.matches("abcdef$", text)
    listener:close()
  end))

  it("may have long headers, but not endless ones", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, request.headers.cookie) end }
    assert.equal(12000, #get(listener, "/", { headers = { Cookie = ("x"):rep(12000) } }).body)
    local text = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n]], [[repeat 3000 X: y\r\n]], "read")
    assert.equal("431", statuses(text))
    assert.equal("414", statuses(raw(listener, "send GET /", "repeat 9000 x", "read")))
    listener:close()
  end))

  it("is asked for its body if it expects that", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, request.body) end }
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n]] ..
      [[Connection: close\r\n\r\n]], [[until 100 Continue\r\n\r\n]], "send ok", "read")
    assert.equal("100 200", statuses(text))
    assert.matches("ok$", text)
    listener:close()
  end))

  it("may have a chunked body, in any pieces", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, request.body) end }
    local head = [[send POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n]]
    local body = [[5\r\nhello\r\nA;x=y\r\n, chunked \r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n]]
    assert.matches("hello, chunked !$", raw(listener, head .. body, "read"))
    local steps = { head }
    for piece in body:gmatch "\\?[^\\]" do steps[#steps + 1] = "send " .. piece end
    steps[#steps + 1] = "read"
    assert.matches("hello, chunked !$", raw(listener, table.unpack(steps)))
    listener:close()
  end))

  local refused = {
    ["a chunk without a size"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n]] },
    ["a chunk longer than it says"] = { "400",
      [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n]] },
    ["a huge chunk"] = { "413", [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n]] },
    ["too long a chunk"] = { "413",
      [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n]] .. ("a"):rep(200) },
    ["both kinds of length"] = { "400",
      [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n]] },
    ["another encoding"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n]] },
    ["an encoding below chunks"] = { "501",
      [[POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n]] },
    ["a negative length"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n]] },
    ["a length that is no number"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3x\r\n\r\n]] },
    ["two lengths"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n]] },
    ["no host"] = { "400", [[GET / HTTP/1.1\r\n\r\n]] },
    ["two hosts"] = { "400", [[GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n]] },
    ["a blank before a colon"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc]] },
    ["a folded line"] = { "400", [[POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 3\r\n\r\nabc]] },
    ["another version"] = { "505", [[GET / HTTP/2.0\r\nHost: x\r\n\r\n]] },
    ["another protocol"] = { "400", [[\x16\x03\x01\x02\x00\x01]] },
    ["another expectation"] = { "417", [[GET / HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n]] },
    ["the method CONNECT"] = { "501", [[CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n]] },
    ["an unknown method"] = { "501", [[BREW / HTTP/1.1\r\n\r\n]] },
    ["a broken escape in the path"] = { "400", [[GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n]] },
  }
  for name, case in pairs(refused) do
    it("is refused for " .. name, helper.async(function()
      local called = false
      local listener = listen { max_body = 100, on_http = function() called = true end }
      local text = raw(listener, "send " .. case[2], "read")
      assert.equal(case[1], statuses(text))
      assert.matches("\r\nDate: .*\r\nConnection: close\r\n", text)
      assert.is_false(called)
      listener:close()
    end))
  end

  it("gets 413 for too long a body, and can read it", helper.async(function()
    local listener = listen { max_body = 1000 }
    assert.equal(413, get(listener, "/", { body = ("x"):rep(1001) }).status)
    assert.equal(200, get(listener, "/", { body = ("x"):rep(1000) }).status)
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n]],
      "repeat 3000000 x", "read")
    assert.equal("413", statuses(text))
    listener:close()
  end))

  it("without a length has no body", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, #request.body .. " bytes") end }
    assert.matches("0 bytes$", raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]], "read"))
    listener:close()
  end))

  it("that asks for HTTP/2 is served as it is", helper.async(function()
    local listener = listen {}
    local text = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n]] ..
      [[Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n]], "until hello",
      [[send GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]], "read")
    assert.equal("200 200", statuses(text))
    listener:close()
  end))

  it("gets 404 if nobody handles it", helper.async(function()
    local listener = assert(core.listen {})
    assert.equal(404, get(listener, "/").status)
    listener:close()
  end))

  -- Ten seconds of real time, in one case: a slow handler is waited for, half a request is not.
  it("has time to be handled, but not to be sent", helper.async(function()
    local listener = listen { on_http = function(request)
      core.sleep(12)
      request:respond(200, {}, "late")
    end }
    local head, body, left = nil, nil, core.waiter()
    core.spawn(function() head = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\nHo]], "read") end)
    core.spawn(function()
      body = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab]], "read")
      left:wake()
    end)
    assert.equal("late", get(listener, "/").body)
    left:wait()
    helper.eventually(function() return head end)
    assert.same({ "", "" }, { head, body })
    listener:close()
  end))
end)

describe("an answer", function()
  it("of many bytes arrives whole at a slow reader", helper.async(function()
    local data = ("0123456789abcdef"):rep(1 << 19)
    local listener = listen { on_http = function(request) request:respond(200, {}, data) end }
    -- what comes while the answer is on its way must neither stop it nor spin
    local text = raw(listener, [[send GET /1 HTTP/1.1\r\nHost: x\r\n\r\n]], "pause 0.1",
      [[send GET /2 HTTP/1.1\r\nHost: x\r\n]],
      "pause 0.2", "until f0123456789abcdef0", [[send Connection: close\r\n\r\n]], "read")
    local first, second = text:match "\r\n\r\n([^\r]*)HTTP.*\r\n\r\n([^\r]*)$"
    assert.equal("200 200", statuses(text))
    assert.is_true(first == data and second == data)
    listener:close()
  end))

  it("that nobody reads to its end does no harm", helper.async(function()
    local listener = listen { on_http = function(request) request:respond(200, {}, ("x"):rep(1 << 24)) end }
    raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "pause 0.1")
    assert.equal(1 << 24, #get(listener, "/", { max_body = 1 << 25 }).body)
    listener:close()
  end))

  it("is 500 if the handler dies or gives none", helper.async(function()
    local listener = listen { on_http = function(request)
      if request.path == "/die" then core.sleep(0) error "on purpose" end
    end }
    assert.equal(500, get(listener, "/die").status)
    assert.equal(500, get(listener, "/none").status)
    local errors = helper.reported_errors()
    assert.equal(1, #errors)
    assert.matches("on purpose", errors[1])
    listener:close()
  end))

  it("is given once", helper.async(function()
    local again, late
    local listener = listen { on_http = function(request)
      assert(request:respond(200, {}, "first"))
      again = { pcall(request.respond, request, 200, {}, "second") }
      late = request
    end }
    assert.equal("first", get(listener, "/").body)
    assert.is_false(again[1])
    assert.matches("answered already", again[2])
    assert.has_error(function() late:respond(200, {}) end)
    listener:close()
  end))

  it("cannot smuggle headers", helper.async(function()
    local problems = {}
    local listener = listen { on_http = function(request)
      for _, headers in ipairs { { ["X-A"] = "a\r\nB: c" }, { ["X A"] = "b" }, { [""] = "b" }, { ["X-A"] = {} },
                                 { "a" }, { ["X\n"] = "a" } } do
        local ok, problem = pcall(request.respond, request, 200, headers)
        problems[#problems + 1] = tostring(ok) .. " " .. tostring(problem)
      end
      assert.has_error(function() request:respond(99, {}) end)
      assert.has_error(function() request:respond(200, "x") end)
      request:respond(200, { ["X-Number"] = 5 }, "fine")
    end }
    local response = get(listener, "/")
    assert.equal("fine", response.body)
    assert.equal("5", response.headers["x-number"])
    assert.equal(6, #problems)
    for _, problem in ipairs(problems) do assert.matches("^false .*header", problem) end
    listener:close()
  end))

  it("fails with CLOSED when the client has reset the connection", helper.async(function()
    local begun, result
    local client
    local listener = listen { on_http = function(request)
      begun = true
      helper.eventually(function() return not client end)
      result = { request:respond(200, {}, "too late") }
    end }
    client = assert(tcp.connect("127.0.0.1", listener:port()))
    assert(client:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    helper.eventually(function() return begun end)
    assert(client:setoption("linger", { on = true, timeout = 0 }))
    client:close()
    client = nil
    helper.eventually(function() return result end)
    assert.is_nil(result[1])
    assert.equal("CLOSED", result[2].name)
    listener:close()
  end))

  it("may be no answer at all", helper.async(function()
    local listener = listen { on_http = function(request) request:drop() end }
    assert.equal("", raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "read"))
    listener:close()
  end))
end)

describe("an upgrade", function()
  it("is for certain paths", helper.async(function()
    local listener = listen { websocket_paths = { "/ws", "/ws/" } }
    assert.equal(101, status_of(listener))
    assert.equal(101, status_of(listener, { url = url(listener, "/ws/", "ws") }))
    assert.equal(404, status_of(listener, { url = url(listener, "/w", "ws") }))
    assert.equal(404, status_of(listener, { url = url(listener, "/", "ws") }))
    listener:close()
  end))

  it("settles the subprotocol", helper.async(function()
    local chosen = {}
    local listener = listen { on_open = function(connection) chosen[#chosen + 1] = connection:protocol() or "none" end }
    local function protocol(offer)
      local socket = assert(connect(listener, { subprotocol = offer }))
      local name = socket:protocol()
      socket:drop()
      return name
    end
    assert.equal("json.v1", protocol "json.v1")
    assert.equal("json.v1", protocol "foo, json.v1")
    assert.is_nil(protocol(false))
    assert.equal(400, status_of(listener, { subprotocol = "json.v2" }))
    assert.equal(400, status_of(listener, { subprotocol = "JSON.V1" }))
    helper.eventually(function() return #chosen == 3 end)
    assert.same({ "json.v1", "json.v1", "none" }, chosen)
    listener:close()
  end))

  it("settles it for each listener by itself", helper.async(function()
    local one, two = listen {}, listen { subprotocol = "chat" }
    assert.equal(400, status_of(one, { subprotocol = "chat" }))
    assert.equal(101, status_of(two, { subprotocol = "chat" }))
    assert.equal(400, status_of(two, { subprotocol = "json.v1" }))
    assert.equal(101, status_of(one, { subprotocol = "json.v1" }))
    one:close()
    two:close()
  end))

  it("is refused on demand", helper.async(function()
    local listener = listen {}
    for _, status in ipairs { 503, 401, 429 } do
      listener:refuse_upgrades(status)
      assert.equal(status, status_of(listener))
    end
    listener:refuse_upgrades()
    assert.equal(101, status_of(listener))
    assert.has_error(function() listener:refuse_upgrades(200) end)
    listener:close()
  end))

  it("is refused above max_connections", helper.async(function()
    local listener = listen { max_connections = 2 }
    local one, two = assert(connect(listener)), assert(connect(listener))
    assert.equal(503, status_of(listener))
    assert.equal(2, listener:count())
    one:close()
    helper.eventually(function() return listener:count() == 1 end)
    assert.equal(101, status_of(listener))
    two:drop()
    listener:close()
  end))

  it("of a path apart has a subprotocol, places and a head of its own", helper.async(function()
    local heads = {}
    local listener = listen {
      websocket_paths = { "/ws", { path = "/aside", subprotocol = "aside" } }, max_connections = 1,
      on_open = function(connection) heads[#heads + 1] = connection:head() or false end,
      on_frame = echo,
    }
    local aside = { url = url(listener, "/aside", "ws") .. "?a=b", subprotocol = "aside" }
    listener:refuse_upgrades(502)
    assert.equal(400, status_of(listener, { url = aside.url }))
    assert.equal(502, status_of(listener))
    local one, two = assert(connect(listener, aside)), assert(connect(listener, aside))
    assert.equal(0, listener:count())
    assert.equal("aside", one:protocol())
    assert(two:send "hello")
    assert.equal("hello", two:receive(5))
    assert.same({ "GET", "/aside", "b", "aside" },
      { heads[1].method, heads[1].path, heads[1].query.a, heads[1].headers["sec-websocket-protocol"] })
    assert.matches("^127%.", heads[2].peer)
    listener:refuse_upgrades()
    assert.equal(400, status_of(listener, { subprotocol = "aside" }))
    local plain = assert(connect(listener))
    assert(plain:send "hello")
    assert.equal("hello", plain:receive(5))
    assert.is_false(heads[3])
    assert.equal(503, status_of(listener))
    for _ = 3, 64 do assert(connect(listener, aside)) end
    assert.equal(503, status_of(listener, aside))
    assert.equal(1, listener:count())
    one:drop()
    helper.eventually(function() return status_of(listener, aside) == 101 end)
    listener:close(true)
  end))

  local malformed = {
    ["another version"] = { "426", (handshake():gsub("13", "8", 1)) },
    ["no key"] = { "400", (handshake():gsub("Sec%-WebSocket%-Key: [^\\]*\\r\\n", "")) },
    ["a short key"] = { "400", (handshake():gsub("dGhl", "")) },
    ["no Connection header"] = { "400", (handshake():gsub("Connection: Upgrade\\r\\n", "")) },
    ["another method"] = { "400", (handshake():gsub("GET", "POST")) },
    ["two keys"] = { "400", (handshake [[Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n]]) },
    ["a key of other bytes"] = { "400", (handshake():gsub("dGhl", "dG.l")) },
    ["a body"] = { "400", handshake [[Content-Length: 1\r\n]] },
    ["a subprotocol that is no word"] = { "400", handshake [[Sec-WebSocket-Protocol: json.v1, a b\r\n]] },
  }
  for name, case in pairs(malformed) do
    it("is refused for " .. name, helper.async(function()
      local listener = listen {}
      local text = raw(listener, case[2], "read")
      assert.equal(case[1], statuses(text))
      if case[1] == "426" then
        assert.matches("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec%-WebSocket%-Version: 13\r\n", text)
      end
      assert.equal(0, listener:count())
      listener:close()
    end))
  end

  it("may offer many subprotocols, extensions and other protocols", helper.async(function()
    local listener = listen {}
    local more = [[Sec-WebSocket-Protocol: %sjson.v1\r\nSec-WebSocket-Extensions: %s\r\n]]
    local text = raw(listener, (handshake(more:format(("a,"):rep(1000), ("x"):rep(1000)))
      :gsub("websocket", "tea, WebSocket")), [[until \r\n\r\n]])
    assert.equal("101", statuses(text))
    assert.matches("\r\nSec%-WebSocket%-Protocol: json%.v1\r\n", text)
    assert.matches("\r\nSec%-WebSocket%-Accept: s3pPLMBiTxaQ9kYGzzhZRbK%+xOo=\r\n", text)
    listener:close()
  end))

  it("to something else, or from HTTP/1.0, is passed over", helper.async(function()
    local listener = listen {}
    local text = raw(listener, "send " .. handshake():sub(6):gsub("websocket", "tea"), "until hello",
      (handshake():gsub("HTTP/1.1", "HTTP/1.0")), "read")
    assert.equal("200 200", statuses(text))
    text = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n]], "read")
    assert.equal("200", statuses(text))
    listener:close()
  end))

  it("does not compress", helper.async(function()
    local listener = listen {}
    local text = raw(listener, handshake [[Sec-WebSocket-Extensions: permessage-deflate\r\n]], [[until \r\n\r\n]])
    assert.equal("101", statuses(text))
    assert.is_nil(text:lower():find "extensions")
    assert.is_nil(text:lower():find "sec%-websocket%-protocol")
    listener:close()
  end))

  it("may follow a request, and be followed by frames at once", helper.async(function()
    local listener = listen { on_frame = echo }
    local text = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "until hello",
      handshake() .. [[\x81\x82\x00\x00\x00\x00hi]], [[until \x81\x02hi]])
    assert.equal("200 101", statuses(text))
    listener:close()
  end))
end)

describe("a connection", function()
  it("is one value from open to close", helper.async(function()
    local events, of = {}, {}
    local function note(connection, ...)
      of[connection] = of[connection] or {}
      table.insert(of[connection], { ... })
      events[#events + 1] = (...)
    end
    local listener = listen {
      on_open = function(connection) note(connection, "open", connection:peer(), connection:protocol()) end,
      on_frame = function(connection, data, binary)
        note(connection, "frame", data, binary)
        connection:send(data:upper())
      end,
      on_close = function(connection, code, reason) note(connection, "close", code, reason) end,
    }
    local socket = assert(connect(listener))
    socket:send "text"
    socket:send("\0\1", "binary")
    assert.equal("TEXT", socket:receive(5))
    assert.equal("\0\1", socket:receive(5))
    socket:close(3001, "enough")
    helper.eventually(function() return #events == 4 end)
    local connection, notes = next(of)
    assert.is_nil(next(of, connection))
    assert.same({ { "open", "127.0.0.1", "json.v1" }, { "frame", "text", false }, { "frame", "\0\1", true },
                  { "close", 3001, "enough" } }, notes)
    assert.matches("^Connection %(127.0.0.1, closed%)", tostring(connection))
    assert.equal("127.0.0.1", connection:peer())
    assert.equal("json.v1", connection:protocol())
    assert.equal(0, connection:unsent())
    local ok, err = connection:send "late"
    assert.is_nil(ok)
    assert.equal("CLOSED", err.name)
    connection:close()
    connection:drop()
    listener:close()
  end))

  it("is closed with a code and a reason, after what was sent", helper.async(function()
    local code
    local listener = listen {
      on_open = function(connection)
        connection:send "last words"
        connection:close(4001, "go away")
        assert.is_nil((connection:send "more"))
        assert.has_error(function() connection:close(99) end)
        assert.has_error(function() connection:close(1000, ("x"):rep(124)) end)
      end,
      on_close = function(_, close_code) code = close_code end,
    }
    local socket = assert(connect(listener))
    assert.equal("last words", socket:receive(5))
    local data, err = socket:receive(5)
    assert.is_nil(data)
    assert.equal(4001, err.code)
    helper.eventually(function() return code end)
    assert.equal(4001, code)
    listener:close()
  end))

  it("ends with 1006 when either side drops it", helper.async(function()
    local codes = {}
    local listener = listen {
      on_frame = function(connection, data)
        if data == "drop" then connection:drop() end
        codes[#codes + 1] = data
      end,
      on_close = function(_, code) codes[#codes + 1] = code end,
    }
    assert(connect(listener)):drop()
    helper.eventually(function() return codes[1] end)
    local socket = assert(connect(listener))
    socket:send "drop"
    socket:send "unheard"
    local data, err = socket:receive(5)
    assert.is_nil(data)
    assert.equal(1006, err.code)
    helper.eventually(function() return codes[3] end)
    assert.same({ 1006, "drop", 1006 }, codes)
    listener:close()
  end))

  it("ends with 1009 above max_frame", helper.async(function()
    local frames = 0
    local listener = listen { max_frame = 1000, on_frame = function() frames = frames + 1 end }
    local socket = assert(connect(listener))
    socket:send(("x"):rep(1000))
    socket:send(("x"):rep(700), "fragment")
    socket:send(("x"):rep(301), "end")
    local _, err = socket:receive(5)
    assert.equal(1009, err.code)
    assert.equal(1, frames)
    listener:close()
  end))

  it("is dropped when no PONG comes", helper.async(function()
    local code
    local listener = listen { ping_interval = 0.1, max_missed_pongs = 3,
                              on_close = function(_, close_code) code = close_code end }
    local answering = assert(connect(listener))
    local text = raw(listener, handshake(), "read")
    local _, pings = text:gsub("\x89", "")
    assert.equal(3, pings)
    helper.eventually(function() return code end)
    assert.equal(1006, code)
    assert.equal(1, listener:count())
    answering:close()
    listener:close()
  end))

  it("is dropped when too much waits to be read", helper.async(function()
    local result, code
    local listener = listen { max_unsent = 1 << 20, on_close = function(_, close_code) code = close_code end,
      on_open = function(connection)
        core.spawn(function()
          repeat
            core.sleep(0)
            result = { connection:send(("x"):rep(1 << 18)) }
          until not result[1]
        end)
      end }
    raw(listener, handshake(), "pause 4")
    assert.equal("LIMIT", result[2].name)
    assert.equal(1006, code)
    helper.eventually(function() return listener:count() == 0 end)
    listener:close()
  end))

  it("costs nothing while its client sends, but does not read", helper.async(function()
    local frame, messages = "\x81\x82\0\0\0\0hi", 0
    local listener = listen { ping_interval = 0, max_unsent = 1 << 26, on_frame = function(connection)
      messages = messages + 1
      connection:send(("x"):rep(1 << 24))      -- more than the system keeps for a connection
    end }
    local client = assert(tcp.connect("127.0.0.1", listener:port()))
    assert(client:send(handshake():sub(6):gsub("\\r\\n", "\r\n") .. frame))
    helper.eventually(function() return messages == 1 end)
    assert(client:send(frame))
    core.sleep(0.1)
    local before = os.clock()
    core.sleep(1)
    assert.is_true(os.clock() - before < 0.1)
    client:close()
    listener:close(true)
  end))

  it("survives handlers that raise", helper.async(function()
    local listener = listen {
      on_open = function() error "in on_open" end,
      on_frame = function(connection, data) connection:send(data) error "in on_frame" end,
      on_close = function() error "in on_close" end,
    }
    local socket = assert(connect(listener))
    socket:send "a"
    assert.equal("a", socket:receive(5))
    socket:close()
    local errors = {}
    helper.eventually(function()
      for _, text in ipairs(helper.reported_errors()) do errors[#errors + 1] = text:match "in (on_%w+)" end
      return #errors == 3
    end)
    assert.same({ "on_open", "on_frame", "on_close" }, errors)
    listener:close()
  end))

  it("must not wait in its handlers", helper.async(function()
    local problem
    local listener = listen { on_open = function() problem = select(2, pcall(core.sleep, 1)) end }
    local socket = assert(connect(listener))
    helper.eventually(function() return problem end)
    assert.matches("cannot wait", problem)
    socket:drop()
    listener:close()
  end))
end)

describe("closing a listener", function()
  it("says 1001 to everyone and frees the port", helper.async(function()
    local codes = {}
    local listener = listen { on_close = function(_, code) codes[#codes + 1] = code end }
    local port = listener:port()
    local one, two = assert(connect(listener)), assert(connect(listener))
    get(listener, "/") -- leaves an idle connection
    listener:close()
    assert.same({ 1001, 1001 }, codes)
    for _, socket in ipairs { one, two } do
      local _, err = socket:receive(5)
      assert.equal(1001, err.code)
    end
    local response, err = core.http { url = ("http://127.0.0.1:%d/"):format(port) }
    assert.is_nil(response)
    assert.equal("REFUSED", err.name)
    local again = listen { port = port }
    assert.equal(port, again:port())
    again:close()
    assert.equal(0, core.stats().listeners)
    assert.equal(0, listener:count())
    assert.equal("Listener (closed)", tostring(listener))
    assert.has_error(function() listener:port() end)
    listener:close()
  end))

  it("drops everyone if it is abrupt", helper.async(function()
    local listener = listen { on_http = function() core.sleep(0.3) end }
    local socket = assert(connect(listener))
    local response = core.waiter()
    core.spawn(function() response:wake(core.http { url = url(listener) }) end)
    core.sleep(0.1)
    listener:close(true)
    local _, err = socket:receive(5)
    assert.equal(1006, err.code)
    local answer, problem = response:wait()
    assert.is_nil(answer)
    assert.equal("DISCONNECTED", problem.name)
    core.sleep(0.3)
  end))

  it("lets a request that is being handled be answered", helper.async(function()
    local begun = core.waiter()
    local listener = listen { on_http = function(request)
      begun:wake()
      core.sleep(0.1)
      request:respond(200, {}, ("x"):rep(1 << 22))
    end }
    local response = core.waiter()
    core.spawn(function() response:wake(core.http { url = url(listener) }) end)
    begun:wait()
    listener:close()
    local answer = assert(response:wait())
    assert.equal(1 << 22, #answer.body)
    assert.equal("close", answer.headers.connection)
  end))

  it("does not wait long for a client that does not answer", helper.async(function()
    local code
    local listener = listen { on_close = function(_, close_code) code = close_code end }
    local client = core.waiter()
    core.spawn(function() client:wake(raw(listener, handshake(), [[until \r\n\r\n]], "pause 4")) end)
    helper.eventually(function() return listener:count() == 1 end)
    listener:close()
    assert.equal(1001, code)
    client:wait()
  end))

  it("may be asked for by several", helper.async(function()
    local listener, closed = listen {}, 0
    assert(connect(listener))
    for _ = 1, 3 do
      core.spawn(function()
        listener:close()
        closed = closed + 1
      end)
    end
    helper.eventually(function() return closed == 3 end)
  end))

  it("leaves nothing, however often", helper.async(function()
    local handles
    for round = 1, 100 do
      local listener = listen { on_frame = echo }
      local socket = assert(connect(listener))
      socket:send "x"
      assert.equal("x", socket:receive(5))
      if round % 2 == 0 then socket:drop() end
      listener:close(round % 3 == 0)
      socket:drop()
      if round == 10 then
        collectgarbage()
        handles = core.stats().handles
      end
    end
    collectgarbage()
    helper.eventually(function() return core.stats().handles <= handles end)
  end))

  it("is done by core.close, and what Lua holds is closed", function()
    local kept = {}
    local listener = listen { on_open = function(connection) kept[1] = connection end,
                              on_http = function(request) kept[2] = request core.waiter():wait(30) end }
    core.spawn(function() connect(listener) end)
    core.spawn(function() core.http { url = url(listener) } end)
    while not (kept[1] and kept[2]) do core.sleep(0.01) end
    core.close()
    assert.equal("Listener (closed)", tostring(listener))
    assert.equal("CLOSED", select(2, kept[1]:send "x").name)
    kept[1]:close()
    kept[1]:drop()
    listener:close()
    kept[1], kept[2] = nil, nil
    collectgarbage()
    assert.equal(0, core.stats().handles)
    local again = listen {}
    assert.equal(1, core.stats().listeners)
    again:close()
    core.close()
  end)

  it("is not needed at the end of the process", function()
    local script = [[
      local core = require "trueconf.core"
      local kept
      local listener = core.listen { websocket_paths = { "/ws" }, on_open = function(c) kept = c core.stop() end,
        on_http = function(r) kept = r core.stop() end }
      core.spawn(core.socket, { url = ("ws://127.0.0.1:%d/ws"):format(listener:port()) })
      core.run()
      core.spawn(core.http, { url = ("http://127.0.0.1:%d/"):format(listener:port()) })
      core.run()
      print(listener:count())]]
    local file = assert(io.open(directory .. "/end.lua", "w"))
    file:write(script)
    file:close()
    local pipe = assert(io.popen((os.getenv "LUA" or "lua5.4") .. " " .. directory .. "/end.lua 2>&1"))
    assert.equal("1\n", pipe:read "a")
    assert.is_true(pipe:close())
  end)

  it("ends core.run", function()
    local listener = listen {}
    core.timer(0, function() listener:close() end)
    core.run()
    core.close()
  end)
end)

describe("listening", function()
  local function assert_fails(name, text, options)
    local listener, err = core.listen(options)
    assert.is_nil(listener)
    assert.equal(name, err.name)
    assert.matches(text, err.message)
    assert.equal(core.Error, getmetatable(err))
  end

  it("is possible on IPv6 and by name", helper.async(function()
    local named = listen { host = "localhost" }
    assert.equal(200, get(named, "/").status)
    named:close()
    local six = core.listen { host = "::1", on_http = function(request) request:respond(200, {}, request.peer) end }
    if not six then return end -- a machine without IPv6
    assert.equal("::1", assert(core.http { url = ("http://[::1]:%d/"):format(six:port()) }).body)
    six:close()
  end))

  it("fails where it cannot", helper.async(function()
    local listener = listen {}
    assert_fails("IO", "in use", { port = listener:port() })
    assert_fails("IO", "cannot listen on 192%.0%.2%.1:0", { host = "192.0.2.1" })
    assert_fails("IO", "not an IP address", { host = "nowhere.test" })
    listener:close()
  end))

  it("fails with a bad certificate", helper.async(function()
    local cert, key, two = directory .. "/one.pem", directory .. "/one.key", directory .. "/two.key"
    assert_fails("TLS", "cannot read /none%.pem: No such file", { tls = { cert_file = "/none.pem", key_file = key } })
    assert_fails("TLS", "certificate", { tls = { cert_file = key, key_file = key } })
    assert_fails("TLS", "private key", { tls = { cert_file = cert, key_file = cert } })
    assert_fails("TLS", "mismatch", { tls = { cert_file = cert, key_file = two } })
    output("openssl ec -in '%s' -aes128 -passout pass:x -out '%s/locked.key'", key, directory)
    assert_fails("TLS", "private key", { tls = { cert_file = cert, key_file = directory .. "/locked.key" } })
    for file, broken in pairs { cert_file = "certificate", key_file = "private key" } do
      local files = { cert_file = cert, key_file = key }
      files[file] = directory
      assert_fails("TLS", ("cannot use the %s: cannot read .*: it is a folder, not a plain file"):format(broken),
        { tls = files })
    end
    assert.equal(0, core.stats().listeners)
  end))

  it("takes a certificate, with those of its issuers, and a key from pipes", helper.async(function()
    local function fed(name, ...)
      local fifo = ("%s/%s.fifo"):format(directory, name)
      output("mkfifo '%s'", fifo)
      assert(os.execute(("cat %s >'%s' &"):format(("'%s' "):rep(select("#", ...)):format(...), fifo)))
      return fifo
    end
    local listener = listen { tls = {
      cert_file = fed("cert", directory .. "/one.pem", directory .. "/two.pem"),
      key_file = fed("key", directory .. "/one.key"),
    } }
    local trusted = { ca_file = directory .. "/one.pem" }
    assert.equal("hello", assert(core.http { url = url(listener, "/", "https"), tls = trusted }).body)
    local client <close> = system.launch(("openssl s_client -showcerts -connect 127.0.0.1:%d"):format(listener:port()))
    helper.eventually(function() return select(2, client:log():gsub("BEGIN CERTIFICATE", "")) == 2 end)
    listener:close()
  end))

  it("names a wrong option", helper.async(function()
    local wrong = {
      port = { 70000, "x", 1.5 }, host = { 5, "" }, max_connections = { -1, {} }, max_frame = { 0 }, max_body = { -1 },
      ping_interval = { -1, "1" }, max_missed_pongs = { 0 }, on_http = { 1 }, on_frame = { {} }, tls = { 1, {} },
      websocket_paths = { "/", { "x" }, { 1 }, { {} }, { { path = "/" } }, { { path = "/", subprotocol = "a b" } },
        { { subprotocol = "a" } } }, subprotocol = { "", "a b", ("x"):rep(64) },
    }
    for name, values in pairs(wrong) do
      for _, value in ipairs(values) do
        local ok, problem = pcall(core.listen, { [name] = value })
        assert.is_false(ok, name)
        assert.matches("option '" .. name, problem, 1, true)
      end
    end
    assert.has_error(function() core.listen() end)
  end))

  it("serves TLS, each listener with its own certificate", helper.async(function()
    local function with(name)
      return { cert_file = directory .. "/" .. name .. ".pem", key_file = directory .. "/" .. name .. ".key" }
    end
    local one, two = listen { tls = with "one" }, listen { on_frame = echo, tls = with "two" }
    local plain = listen {}
    local function fetch(listener, name)
      return core.http { url = url(listener, "/", "https"), tls = { ca_file = directory .. "/" .. name .. ".pem" } }
    end
    -- Before there is a TLS connection: libcurl 8 takes one that is open for http:// too.
    assert.is_nil((core.http { url = url(one, "/") }))
    assert.equal("hello", assert(fetch(one, "one")).body)
    assert.equal("hello", assert(fetch(two, "two")).body)
    assert.equal("TLS", select(2, fetch(one, "two")).name)
    assert.equal("hello", get(plain, "/").body)
    assert.is_nil((fetch(plain, "one")))
    local socket = assert(core.socket { url = url(two, "/ws", "wss"), tls = { ca_file = directory .. "/two.pem" } })
    local data = ("z"):rep(300000)
    socket:send(data)
    assert.equal(data, socket:receive(5))
    for _, listener in ipairs { one, two, plain } do listener:close() end
    assert.equal(1001, select(2, socket:receive(5)).code)
  end))
end)
