-- SPDX-License-Identifier: MIT
-- A listening Bridge, asked over real HTTP and WebSocket connections.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local bridge = require "trueconf.bridge"
local helper = require "spec.support.helper"

local TOKEN_PATH = "/bridge/api/client/v1/oauth/token"
local SOCKET_PATH = "/websocket/chat_bot/"
local LIMIT = 5                         -- seconds any single step may take

local function start(options)
  options = options or {}
  options.accounts = options.accounts or { herald = "4711", mira = "x" }
  if not options.state then options.server_name = "chat.acme.test" end
  return assert(bridge.start(options))
end

local function http_url(server)
  return (server:url():gsub("^ws", "http"))
end

local function ask_token(server, more)
  local form = { client_id = "chat_bot", grant_type = "password", username = "herald", password = "4711" }
  for name, value in pairs(more or {}) do form[name] = value end
  return core.http {
    url = http_url(server) .. TOKEN_PATH,
    method = "POST",
    headers = { ["Content-Type"] = "application/json" },
    body = json.encode(form),
    timeout = LIMIT,
  }
end

local function connect(server, more)
  local options = { url = server:url() .. SOCKET_PATH, connect_timeout = LIMIT, ping_interval = 0 }
  for name, value in pairs(more or {}) do options[name] = value end
  return core.socket(options)
end

local function receive(socket)
  return assert(json.decode(assert(socket:receive(LIMIT))))
end

local function request(socket, id, method, payload)
  assert(socket:send(json.encode { type = 1, id = id, method = method, payload = payload or {} }))
  return receive(socket)
end

local function login(server, name, more)
  local socket = assert(connect(server))
  local payload = { token = server:mint_token(name or "herald"), tokenType = "JWT" }
  for field, value in pairs(more or {}) do payload[field] = value end
  local response = request(socket, 1, "auth", payload)
  assert.is_string(response.payload.userId)
  -- With unread messages the limits come after those.
  if not payload.receiveUnread then assert.equal("getFileUploadLimits", receive(socket).method) end
  return socket
end

-- The error a socket ends with.
local function close_of(socket)
  local data, err
  repeat data, err = socket:receive(LIMIT) until not data
  return err
end

local function served(options, body)
  return helper.async(function()
    local server <close> = setmetatable({ start(options) }, { __close = function(box) box[1]:stop(true) end })
    body(server[1])
  end)
end

describe("a Bridge on the network", function()
  it("gives a token, with the header for browsers", served(nil, function(server)
    local answer = assert(ask_token(server))
    assert.equal(201, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    assert.equal("*", answer.headers["access-control-allow-origin"])
    local socket = assert(connect(server))
    local token = assert(json.decode(answer.body)).access_token
    local response = request(socket, 1, "auth", { token = token, tokenType = "JWT" })
    assert.matches("^herald@chat%.acme%.test/", response.payload.userId)
    socket:close()
  end))

  it("refuses a wrong password, with the header for browsers", served(nil, function(server)
    local answer = assert(ask_token(server, { password = "4712" }))
    assert.equal(400, answer.status)
    assert.equal("*", answer.headers["access-control-allow-origin"])
    assert.equal("application/json", answer.headers["content-type"])
    local body = { error = "invalid_grant", error_description = "Invalid username or password" }
    assert.same(body, json.decode(answer.body))
  end))

  it("answers 404 and 405", served(nil, function(server)
    assert.equal(404, assert(core.http { url = http_url(server) .. "/nothing" }).status)
    local answer = assert(core.http { url = http_url(server) .. TOKEN_PATH })
    assert.equal(405, answer.status)
    assert.equal("POST", answer.headers.allow)
  end))

  it("lets a socket in with and without the slash, in both spellings, nowhere else", served(nil, function(server)
    for _, path in ipairs { SOCKET_PATH, "/websocket/chat_bot", "/weboscket/chat_bot/", "/weboscket/chat_bot" } do
      local socket = assert(connect(server, { url = server:url() .. path }))
      assert.same({ type = 2, id = 1, payload = { errorCode = 200 } }, request(socket, 1, "getChats"))
      socket:close()
    end
    local socket, err = connect(server, { url = server:url() .. "/webosocket/chat_bot/" })
    assert.is_nil(socket)
    assert.equal(404, err.code)
  end))

  it("chooses json.v1 if it is offered, and does without", served(nil, function(server)
    for offered, chosen in pairs { ["json.v1"] = "json.v1", ["soap, json.v1"] = "json.v1", [false] = false } do
      local socket = assert(connect(server, { subprotocol = offered }))
      assert.equal(chosen or nil, (socket:protocol()))
      assert.equal(200, request(socket, 1, "getChats").payload.errorCode)
      socket:close()
    end
  end))

  it("does without when only unknown subprotocols are offered", served(nil, function(server)
    for _, offered in ipairs { "soap", "mqtt, soap-1.2", ("x"):rep(60) } do
      local socket = assert(connect(server, { subprotocol = offered }))
      assert.is_nil((socket:protocol()))
      assert.equal(200, request(socket, 1, "getChats").payload.errorCode)
      socket:close()
      socket = assert(connect(server, { subprotocol = "json.v1" }))
      assert.equal("json.v1", (socket:protocol()))
      socket:close()
    end
  end))

  it("refuses them with 400 when it is strict", served({ strict = true }, function(server)
    local socket, err = connect(server, { subprotocol = "soap" })
    assert.is_nil(socket)
    assert.equal(400, err.code)
  end))

  it("tells the date with all answers", served({ max_connections = 1 }, function(server)
    local DATE = "^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"
    local function minute() return os.date "!%a, %d %b %Y %H:%M" end
    local before = minute()
    local date = assert(core.http { url = http_url(server) .. "/api/v4/server" }).headers.date
    assert.matches(DATE, date)
    assert.is_true(date:sub(1, #before) == before or date:sub(1, #before) == minute(), date)
    for _, path in ipairs { TOKEN_PATH, "/nothing" } do
      assert.matches(DATE, assert(core.http { url = http_url(server) .. path }).headers.date)
    end
    local socket = assert(connect(server))
    local refused = assert(core.http { url = http_url(server) .. SOCKET_PATH, headers = {
      Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
      ["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA==",
    } })
    assert.equal(503, refused.status)
    assert.matches(DATE, refused.headers.date)
    assert.matches("^%d+$", refused.headers["retry-after"])
    socket:close()
  end))

  it("lets two connections of an account and a person talk", served(nil, function(server)
    local first, second = login(server), login(server)
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local message = chat:say "hello"
    for _, socket in ipairs { first, second } do
      assert.equal("createP2PChat", receive(socket).method)
      assert.equal(message.id, receive(socket).payload.messageId)
    end
    assert.is_false(message:is_read_by "herald")
    second:send '{"type":2,"id":3}'
    assert.is_true(message:wait_read_by("herald", LIMIT))
    local response = request(first, 2, "sendMessage", {
      chatId = chat.id, replyMessageId = message.id, content = { text = "hi", parseMode = "text" },
    })
    assert.equal(2, response.id)
    local echo = receive(first)
    assert.equal(response.payload.messageId, echo.payload.messageId)
    assert.equal("hello", echo.payload.replyMessage.content.text)
    assert.equal(response.payload.messageId, receive(second).payload.messageId)
    local heard = mira:wait_message(LIMIT)
    assert.equal("hi", heard.text)
    assert.equal(message.id, heard.reply_to)
    first:close()
    second:close()
  end))

  it("counts its connections and forgets closed ones", served(nil, function(server)
    local first, second = login(server, "herald"), login(server, "mira")
    assert.equal(2, server:connections())
    assert.equal(1, server:connections "herald")
    first:close()
    helper.eventually(function() return server:connections() == 1 end)
    assert.equal(0, server:connections "herald")
    assert.equal(1, server:connections "mira")
    second:close()
  end))

  it("answers 503 to one connection too many", served({ max_connections = 2 }, function(server)
    local first, second = assert(connect(server)), assert(connect(server))
    local third, err = connect(server)
    assert.is_nil(third)
    assert.equal(503, err.code)
    first:close()
    helper.eventually(function() return server:connections() == 1 end)
    third = assert(connect(server))
    third:close()
    second:close()
  end))

  it("sends PINGs and drops who leaves three unanswered", served({ ping_interval = 0.05 }, function(server)
    local path = os.tmpname()
    os.execute(("{ unset LD_PRELOAD; /usr/bin/python3 spec/support/python/mute_client.py %d %s; } >%s 2>&1 &"):format(
      server:port(), SOCKET_PATH, path))
    local line
    helper.eventually(function()
      local file <close> = assert(io.open(path))
      line = file:read "l"
      return line
    end)
    os.remove(path)
    assert.equal("ping ping ping", line)
    helper.eventually(function() return server:connections() == 0 end)
  end))

  it("keeps who answers its PINGs", served({ ping_interval = 0.1 }, function(server)
    local socket = login(server)
    core.sleep(0.5)
    assert.equal(1, server:connections "herald")
    assert.equal(399, request(socket, 2, "getUserDisplayName").payload.errorCode)
    socket:close()
  end))

  it("closes on odd input in strict mode, with the right code", served({ strict = true }, function(server)
    local socket = login(server)
    socket:send "hello"
    assert.equal(1007, close_of(socket).code)
    socket = login(server)
    socket:send('{"type":1,"id":2,"method":"getUserDisplayName"}', "binary")
    assert.equal(1003, close_of(socket).code)
  end))

  it("answers the tenth failed auth, then closes with 1008", served(nil, function(server)
    local socket = assert(connect(server))
    for id = 1, 10 do
      local response = request(socket, id, "auth", { token = "x", tokenType = "JWT" })
      assert.equal(201, response.payload.errorCode)
    end
    assert.equal(1008, close_of(socket).code)
  end))

  it("answers 2 to an id that is in flight", served(nil, function(server)
    local socket = login(server)
    server:fault { delay = 0.05 }
    local frame = json.encode { type = 1, id = 7, method = "getUserDisplayName", payload = {} }
    socket:send(frame)
    socket:send(frame)
    assert.same({ type = 2, id = 7, payload = { errorCode = 2 } }, receive(socket))
    local response = receive(socket)
    assert.equal(7, response.id)
    assert.equal(399, response.payload.errorCode)
    socket:send(frame)
    assert.equal(399, receive(socket).payload.errorCode)
    socket:close()
  end))

  it("lets go of a request in flight when its connection closes", served(nil, function(server)
    local socket = login(server)
    server:fault { delay = 3600 }
    socket:send(json.encode { type = 1, id = 7, method = "getUserDisplayName", payload = {} })
    socket:close()
    helper.eventually(function() return server:connections() == 0 end)
  end))

  it("keeps what it knows over a restart on the same port", helper.async(function()
    local server = start()
    local port, token = server:port(), server:mint_token "herald"
    local socket = login(server)
    local chat = server:person("mira"):chat_with "herald"
    local first, second = chat:say "one", chat:say "two"
    for _ = 1, 2 do receive(socket) end
    socket:send '{"type":2,"id":3}'
    assert.is_true(first:wait_read_by("herald", LIMIT))
    server:stop()
    local err = close_of(socket)
    assert.equal(1001, err.code)

    local again = start { port = port, state = server:state() }
    socket = assert(connect(again))
    assert.is_string(request(socket, 1, "auth", {
      token = token, tokenType = "JWT", receiveUnread = true,
    }).payload.userId)
    assert.equal(second.id, receive(socket).payload.messageId)
    assert.equal(201, assert(ask_token(again)).status)
    assert.equal(chat.id, again:person("mira"):chat_with("herald").id)
    socket:close()
    again:stop()
  end))

  it("reports a port that is taken", served(nil, function(server)
    local second, err = bridge.start { port = server:port() }
    assert.is_nil(second)
    assert.equal("IO", err.name)
  end))
end)

describe("a Bridge out of order", function()
  it("answers every upgrade with 503", served(nil, function(server)
    server:fault { refuse_upgrades = 503 }
    local socket, err = connect(server)
    assert.is_nil(socket)
    assert.equal(503, err.code)
    server:fault()
    login(server):close()
  end))

  it("answers 5xx for tokens", served(nil, function(server)
    server:fault { token_status = 500 }
    assert.equal(500, assert(ask_token(server)).status)
    server:fault { token_status = false }
    assert.equal(201, assert(ask_token(server)).status)
  end))

  it("never answers for tokens", served(nil, function(server)
    server:fault { token_silent = true }
    local answer, err = core.http { url = http_url(server) .. TOKEN_PATH, body = "{}", timeout = 0.2 }
    assert.is_nil(answer)
    assert.equal("TIMEOUT", err.name)
    server:fault { token_silent = false }
    assert.equal(201, assert(ask_token(server)).status)
    server:fault { token_silent = true }
    core.spawn(ask_token, server)       -- stopping must not wait for it
    core.sleep(0)
  end))

  it("takes frames and says nothing", served(nil, function(server)
    local socket = login(server)
    server:fault { silent = true }
    socket:send(json.encode { type = 1, id = 2, method = "getUserDisplayName", payload = {} })
    server:person("mira"):chat_with("herald"):say "hello"
    local data, err = socket:receive(0.1)
    assert.is_nil(data)
    assert.equal("TIMEOUT", err.name)
    server:fault()
    assert.equal(399, request(socket, 3, "getUserDisplayName").payload.errorCode)
    socket:close()
  end))

  it("drops the connection at each step", served(nil, function(server)
    server:fault { drop_at = "token" }
    local answer, err = ask_token(server)
    assert.is_nil(answer)
    assert.equal("DISCONNECTED", err.name)
    local auth = json.encode {
      type = 1, id = 1, method = "auth", payload = { token = server:mint_token "herald", tokenType = "JWT" },
    }
    for _, step in ipairs { "open", "auth", "ready" } do
      server:fault { drop_at = step }
      local socket = connect(server)
      if socket then
        socket:send(auth)
        assert.not_equal(1000, close_of(socket).code)
      else
        assert.equal("open", step)
      end
      helper.eventually(function() return server:connections() == 0 end)
    end
  end))

  it("drops connections when it is told, all or one account's", served(nil, function(server)
    local herald, mira = login(server, "herald"), login(server, "mira")
    server:drop "herald"
    assert.equal("CLOSED", close_of(herald).name)
    assert.equal(1, server:connections())
    server:drop()
    assert.equal("CLOSED", close_of(mira).name)
  end))

  it("closes connections that do not ack in time, if it is told to", served({ ack_timeout = 0.3 }, function(server)
    local herald = login(server, "herald")            -- the upload limits want an ack
    local mira = login(server, "mira")
    assert(mira:send '{"type":2,"id":1}')
    local err = close_of(herald)
    assert.same({ "CLOSED", 1008 }, { err.name, err.code })
    local said = server:person("john"):chat_with("mira"):say "hello"
    local frame
    repeat
      frame = receive(mira)
      assert(mira:send(json.encode { type = 2, id = frame.id }))
    until frame.method == "sendMessage"
    assert.is_true(said:wait_read_by("mira", LIMIT))
    assert.same({ "TIMEOUT" }, { select(2, mira:receive(0.6)).name })
    mira:close()
  end))

  it("expires tokens", served(nil, function(server)
    local token = server:mint_token "herald"
    server:expire_tokens()
    local socket = assert(connect(server))
    assert.equal(203, request(socket, 1, "auth", { token = token, tokenType = "JWT" }).payload.errorCode)
    token = server:mint_token "herald"
    assert.is_string(request(socket, 2, "auth", { token = token, tokenType = "JWT" }).payload.userId)
    socket:close()
  end))
end)
