-- SPDX-License-Identifier: MIT
-- The connections that a full listener closes: csrc/server/admission.c. Plain sockets fill the listener, and do nothing
-- by themselves.

local core = require "trueconf.core"
local tcp = require "socket"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind

local LIMIT = 10                        -- seconds any single step may take

local function listen(options)
  options.on_http = options.on_http or function(request) request:respond(200, {}, "hello") end
  options.websocket_paths = { "/ws" }
  return assert(core.listen(options))
end

local function get(port, path)
  local url = ("http://127.0.0.1:%d/%s"):format(port, path or "")
  return core.http { url = url, timeout = LIMIT, headers = { Connection = "close" } }
end

local function open(port, bytes)
  local client = assert(tcp.connect("127.0.0.1", port))
  client:settimeout(0)
  if bytes then assert(client:send(bytes)) end
  return client
end

-- The bytes that came so far; nil as second result while the connection lives.
local function received(client)
  local data, err, partial = client:receive "*a"
  return data or partial, err ~= "timeout"
end

local function case(options, body)
  return helper.async(function()
    local listener = listen(options)
    local ok, err = xpcall(body, debug.traceback, listener:port(), listener)
    listener:close(true)
    if not ok then error(err, 0) end
  end)
end

describe("a listener that is full", function()
  local ASK = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
  local BODY = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"

  it("gives up connections that are kept for another request, the longest idle one first",
    case({ max_http_connections = 3 }, function(port)
      local clients = {}
      for place = 1, 3 do
        clients[place] = open(port, ASK)
        helper.eventually(function() return received(clients[place]):find "hello" end, LIMIT)
      end
      assert.equal(200, assert(get(port)).status)
      helper.eventually(function() return select(2, received(clients[1])) end, LIMIT)
      assert.is_false(select(2, received(clients[2])))
      assert.is_false(select(2, received(clients[3])))
    end))

  it("gives up those that say nothing", case({ max_http_connections = 8 }, function(port)
    for _ = 1, 3 do
      for _ = 1, 8 do open(port) end
      assert.equal(200, assert(get(port)).status)
    end
  end))

  it("gives up the slowest body, when that had time to come", case({ max_http_connections = 3 }, function(port)
    local slow = open(port, BODY .. "x")
    local quick = { open(port, BODY .. ("x"):rep(500)), open(port, BODY .. ("x"):rep(500)) }
    assert.equal(200, assert(get(port)).status)
    helper.eventually(function() return select(2, received(slow)) end, LIMIT)
    for _, client in ipairs(quick) do
      assert(client:send(("x"):rep(500)))
      helper.eventually(function() return received(client):find "hello" end, LIMIT)
    end
  end))

  it("keeps what it works on", helper.async(function()
    local working, go_on = 0, false
    local listener = listen { max_http_connections = 2, on_http = function(request)
      working = working + 1
      helper.eventually(function() return go_on end, LIMIT)
      request:respond(200, {}, "done")
    end }
    local clients = { open(listener:port(), ASK), open(listener:port(), ASK) }
    local third = system.begin(function() return assert(get(listener:port())).status end)
    helper.eventually(function() return working == 2 end, LIMIT)
    core.sleep(0.1)
    assert.equal(2, working)
    go_on = true
    for _, client in ipairs(clients) do
      helper.eventually(function() return received(client):find "HTTP/1.1 200" end, LIMIT)
    end
    assert.equal(200, third:wait(LIMIT))
    listener:close(true)
  end))

  it("lets an address have so many connections, its idle ones given up first",
    case({ address_connections = 2 }, function(port)
      local first = open(port, ASK)
      helper.eventually(function() return received(first):find "hello" end, LIMIT)
      local second = open(port, BODY)
      assert.equal(200, assert(get(port)).status)
      helper.eventually(function() return select(2, received(first)) end, LIMIT)
      local third = open(port, BODY)
      core.sleep(0.1)
      local fourth = open(port, BODY)   -- all are at work, and fresh
      helper.eventually(function() return select(2, received(fourth)) end, LIMIT)
      assert.is_false(select(2, received(second)))
      assert.is_false(select(2, received(third)))
    end))

  it("drops who sends a body too slowly", case({ slow_after = 0.3, least_rate = 1000 }, function(port)
    local client = open(port, BODY)
    helper.eventually(function()
      client:send "x"
      return select(2, received(client))
    end, LIMIT)
    local quick = open(port, BODY .. ("x"):rep(999))
    core.sleep(0.5)
    assert(quick:send "x")
    helper.eventually(function() return received(quick):find "hello" end, LIMIT)
  end))

  it("drops who reads an answer too slowly", helper.async(function()
    local bytes, gone = ("x"):rep(16 << 20), false     -- more than the system keeps for a connection
    local listener = listen { slow_after = 0.3, least_rate = 1 << 29, on_http = function(request)
      request:respond(200, {}, request.path == "/" and bytes or "small")
    end }
    local client = open(listener:port(), ASK)
    helper.eventually(function()
      local data, err = client:receive(200000)
      gone = not data and err == "closed"
      return gone
    end, LIMIT)
    client:close()
    assert.equal("small", assert(get(listener:port(), "small")).body)
    listener:close(true)
  end))
end)

describe("WebSocket connections that have not authorized", function()
  local UPGRADE = "GET /websocket/chat_bot/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    .. "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

  local function upgraded(server)
    local client = open(server:port(), UPGRADE)
    helper.eventually(function() return received(client):find "HTTP/1.1 101" end, LIMIT)
    return client
  end

  local function served(options, body)
    return helper.async(function()
      local server = system.start_bridge(options)
      local ok, err = xpcall(body, debug.traceback, server)
      server:stop(true)
      if not ok then error(err, 0) end
    end)
  end

  it("give way to others, the oldest first", served({ max_connections = 3, ping_interval = 0 }, function(server)
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local held = { upgraded(server), upgraded(server) }
    assert.is_truthy(received(open(server:port(), UPGRADE)) == "")
    core.sleep(1.1)                     -- then they are not fresh any more
    local other = system.bot(server, { username = "mira", password = "x" })
    other:start()
    assert(other:wait_ready(LIMIT))
    helper.eventually(function() return select(2, received(held[1])) end, LIMIT)
    assert.is_false(select(2, received(held[2])))
    assert.equal("ready", bot:state())
    assert.equal(1, behind(bot).client.session:stats().connects)
    bot:stop(0)
    other:stop(0)
  end))

  it("do not last", served({ auth_timeout = 0.3, ping_interval = 0 }, function(server)
    local client = upgraded(server)
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local came = ""
    helper.eventually(function()
      local bytes, is_over = received(client)
      came = came .. bytes
      return is_over or came:find("\x88", 1, true)
    end, LIMIT)
    assert.is_truthy(came:find("\x03\xf0no authorization in time", 1, true), came)
    core.sleep(0.5)
    assert.equal("ready", bot:state())
    bot:stop(0)
  end))

  it("count for their address", served({ address_connections = 2, ping_interval = 0 }, function(server)
    local one = upgraded(server)
    local bots = {}
    for place = 1, 3 do
      bots[place] = system.bot(server)
      bots[place]:start()
      assert(bots[place]:wait_ready(LIMIT))
    end
    upgraded(server)
    local third = open(server:port(), UPGRADE)
    helper.eventually(function() return select(2, received(third)) end, LIMIT)
    assert.is_false(select(2, received(one)))
    for _, bot in ipairs(bots) do bot:stop(0) end
  end))
end)

describe("WebSocket connections of one account", function()
  it("leave room to others", helper.async(function()
    local server = system.start_bridge { account_connections = 2, max_connections = 4, ping_interval = 0 }
    local function login(name, password)
      local bot = system.bot(server, { username = name, password = password })
      bot:start()
      return bot
    end
    local bots = { login("herald", "4711"), login("herald", "4711") }
    for _, bot in ipairs(bots) do assert(bot:wait_ready(LIMIT)) end
    local third, reason = system.bot(server), nil
    third:on_state(function(state, _, err) reason = state == "backoff" and err or reason end)
    third:start()
    helper.eventually(function() return reason end, LIMIT)
    assert.matches("too many connections of this account", reason.message)
    assert.equal(1008, reason.code)
    assert.equal(2, server:connections "herald")
    local other = login("mira", "x")
    assert(other:wait_ready(LIMIT))
    bots[1]:stop(0)
    assert(third:wait_ready(LIMIT))
    for _, bot in ipairs { bots[2], third, other } do bot:stop(0) end
    server:stop(true)
  end))
end)
