-- SPDX-License-Identifier: MIT
-- The control endpoint of a Bridge as a WebSocket.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local helper = require "spec.support.helper"
local raw_client = require "spec.support.raw_client"
local support = require "spec.support.control"
local system = require "spec.support.system"

local KEY, LIMIT, served = support.KEY, support.LIMIT, support.served

local function handshake(more)
  return [[send GET /control/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n]]
    .. [[Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n]]
    .. more .. [[\r\n]]
end

-- The answer to a handshake with these headers until the connection ends, or until a text comes.
local function opened(server, more, text)
  return raw_client.run(server:port(), handshake(more), text and "until " .. text or "read")
end

local function assert_closed(client, reason)
  local err = client:close_of()
  assert.equal(1008, err.code)
  assert.matches(reason, err.message)
end

describe("the door of the control socket", function()
  it("opens to the key in the first frame, or in Authorization", served(function(server)
    local client = support.connect(server)
    assert.equal(server:url(), client:act("state").url)
    client.socket:close()
    assert.matches('"event":"ready"', opened(server, ([[Authorization: Bearer %s\r\n]]):format(KEY), '"ready"'))
    client = support.connect(server, { subprotocol = "trueconf-control" })
    assert.equal("trueconf-control", client.socket:protocol())
    client.socket:close()
  end))

  it("stays shut without it", served(function(server)
    for _, frame in ipairs { { key = "another" }, { key = 5 }, {}, { act = "state" }, "x", "[]", { key = "" } } do
      local client = support.connect(server, { key = false })
      client:send(frame)
      assert_closed(client, "wrong key")
    end
    assert.matches("wrong key", opened(server, [[Authorization: Bearer wrong\r\n]], "wrong key"))
  end))

  it("does not wait for long", served(function(server)
    assert.equal(5, server.control.patience)
    server.control.patience = 0.05
    assert_closed(support.connect(server, { key = false }), "did not come in time")
    helper.eventually(function() return not next(server.control.sockets) end)
  end))

  it("is shut to pages of other sites, and to names that lead here", served(function(server)
    local function entered(origin)
      return assert(core.socket { url = server:url() .. "/control/socket", subprotocol = false, connect_timeout = LIMIT,
        headers = { Authorization = "Bearer " .. KEY, Origin = origin } })
    end
    for _, origin in ipairs { "http://evil.test", "https://localhost.evil.test", "null", "http://192.0.2.1:4309",
      "http://127.0.0.1.evil.test" } do
      local data, err = entered(origin):receive(LIMIT)
      assert.is_nil(data)
      assert.equal(1008, err.code)
      assert.matches("pages of other sites", err.message)
    end
    for _, origin in ipairs { "http://localhost:80", "http://127.0.0.1", "https://[::1]:99", "http://a.localhost" } do
      local socket = entered(origin)
      assert.equal("ready", json.decode(assert(socket:receive(LIMIT))).event)
      socket:close()
    end
    local url = support.url(server, "state")
    for headers, status in pairs { [{ Origin = "http://evil.test" }] = 403, [{ Host = "evil.test:4309" }] = 403,
      [{ Origin = "http://localhost" }] = 200, [{ Host = "localhost" }] = 200 } do
      headers.Authorization = "Bearer " .. KEY
      assert.equal(status, assert(core.http { url = url, headers = headers }).status)
    end
  end))

  it("is none where there is no control, and open where upgrades are refused", served(function(server)
    server:fault { refuse_upgrades = 502 }
    support.connect(server).socket:close()
    server:fault()
    local bare = system.start_bridge {}
    local socket, err = core.socket { url = bare:url() .. "/control/socket", subprotocol = false }
    assert.is_nil(socket)
    assert.equal(404, err.code)
    bare:stop(true)
  end, { max_connections = 1 }))
end)

describe("acts over the control socket", function()
  it("are those of HTTP, with the same answers", served(function(server)
    local client = support.connect(server)
    local said = client:act("say", { person = "mira", with = "herald", text = "1 < 2" })
    assert.equal("1 &lt; 2", said.text)
    assert.same(said, support.ask(server, "GET", "message?person=mira&message_id=" .. said.message_id))
    assert.equal(said.message_id, client:act("read", { person = "herald" }).messages[1].message_id)
    for path, input in pairs { say = { person = "mira", with = "nobody", text = "x" }, click = { person = "mira" },
      faults = { drop = "often" }, edit = { person = "mira", with = "herald", message_id = "x", text = "x" } } do
      local over_http, over_socket = support.ask(server, "POST", path, input), client:ask(path, input)
      over_socket.id = nil
      assert.same(over_http, over_socket)
    end
    client.socket:close()
  end))

  it("may be asked for together, and end in any order", served(function(server)
    local client = support.connect(server)
    client:send { id = "slow", act = "read", person = "mira", timeout = 30 }
    client:send { id = "fast", act = "say", person = "herald", with = "mira", text = "hello" }
    local answers = {}
    for _ = 1, 2 do
      local answer = client:receive()
      answers[answer.id] = answer.result
    end
    assert.equal(answers.fast.message_id, answers.slow.messages[1].message_id)
    client.socket:close()
  end))

  it("are bounded, and frames may be wrong", served(function(server)
    local client = support.connect(server)
    for frame, expected in pairs {
      ["x"] = "expected a JSON object", ["[1]"] = "expected a JSON object", ["{}"] = "id: expected",
      ['{"id":1.5,"act":"state"}'] = "id: expected", ['{"id":1}'] = "act: expected", ['{"id":1,"act":[]}'] = "act: exp",
      ['{"id":1,"act":"nothing"}'] = "act: expected", ['{"id":1,"act":"state","x":1}'] = "x: expected no fields",
      ['{"id":1,"act":"watch","frames":1}'] = "frames: expected true or false, got 1",
      ['{"id":1,"act":"watch","people":["nobody"]}'] = "people: expected the login of an account, got 'nobody'",
    } do
      client:send(frame)
      local answer = client:receive()
      assert.equal("INVALID", answer.error)
      assert.equal(1, (answer.message:find(expected, 1, true)), answer.message)
    end
    for id = 1, 64 do client:send { id = id, act = "read", person = "mira", timeout = 60 } end
    local refused = client:ask("state")
    assert.equal("LIMIT", refused.error)
    client.socket:drop()
    server:person("herald"):chat_with("mira")
  end))

  it("do not hold up a Bridge that stops", helper.async(function()
    local server = system.start_bridge { control = { key = KEY } }
    local client = support.connect(server)
    client:send { id = 1, act = "read", person = "mira", timeout = 60 }
    helper.eventually(function() return server.people.mira and server.people.mira.waiters[1] end)
    server:stop()
    assert.equal(1001, client:close_of().code)
  end))

  it("cost the Bridge nothing when the mistake is its own", served(function(server)
    local client = support.connect(server)
    server.person = function() error "broken" end
    assert.equal("INTERNAL_ERROR", client:ask("read", { person = "mira" }).error)
    server.person = nil
    client:act("read", { person = "mira" })
    client.socket:close()
  end))
end)

describe("watching over the control socket", function()
  it("brings the events of several people, as they happen", served(function(server)
    local client = support.connect(server)
    assert.same({ people = { "mira", "herald" }, frames = false, connections = false, faults = false },
      client:act("watch", { people = { "Mira", "herald" } }))
    support.act(server, "say", { person = "herald", with = "mira", text = "one" })
    local seen = {}
    while not (seen.mira and seen.herald) do
      local event = client:event(function(event) return event.method == "sendMessage" end)
      assert.equal("one", event.payload.content.text)
      seen[event.person] = true
    end
    client:act("watch", { people = { "mira" } })
    support.act(server, "say", { person = "mira", with = "herald", text = "two" })
    local event = client:event(function(event) return event.method == "sendMessage" end)
    assert.same({ "mira", "two" }, { event.person, event.payload.content.text })
    client:act("watch", {})
    support.act(server, "say", { person = "mira", with = "herald", text = "three" })
    client:act("state")
    assert.same({}, client.events)
    client.socket:close()
  end))

  it("brings frames, with their secrets masked, and connections", served(function(server)
    local client = support.connect(server)
    client:act("watch", { frames = true, connections = true })
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local opened_one = client:event(function(event) return event.event == "connection" end)
    assert.equal("open", opened_one.state)
    assert.matches("^127%.", opened_one.peer)
    local asked = client:event(function(event) return event.event == "frame" end)
    assert.same({ "in", opened_one.connection }, { asked.direction, asked.connection })
    assert.is_nil(asked.account)
    local auth = assert(json.decode(asked.text))
    assert.same({ "auth", "***" }, { auth.method, auth.payload.token })
    local answered = client:event(function(event) return event.event == "frame" and event.direction == "out" end)
    assert.equal("herald", answered.account)
    assert.matches("userId", answered.text)
    assert.equal("authorized", client:event(function(event) return event.event == "connection" end).state)
    client:act("drop", { login = "herald" })
    local closed = client:event(function(event) return event.event == "connection" and event.state == "closed" end)
    assert.same({ opened_one.connection, "herald" }, { closed.connection, closed.account })
    bot:stop(0)
    client.socket:close()
  end))

  it("masks addresses and tokens wherever they are", served(function(server)
    local client = support.connect(server)
    local reports = {}
    local stop = server:watch(function(report) reports[#reports + 1] = report.text end)
    local socket = assert(core.socket { url = server:url() .. "/websocket/chat_bot/" })
    local token = server:mint_token "herald"
    local escaped = token:gsub("%.", "\\u002e")
    for _, text in ipairs { '{"type":1,"id":1,"payload":{"token":"' .. escaped .. '"}}', "broken " .. token,
      '{"type":1,"id":2,"payload":{"t\\u006fken":"' .. escaped .. '"}}',
      '{"type":1,"id":3,"method":"x","payload":{"a":"http://a.test/f?token=12.secret"}}' } do
      assert(socket:send(text))
    end
    helper.eventually(function() return #reports >= 6 end)
    stop()
    local all = table.concat(reports, "\n")
    for _, secret in ipairs { token, escaped, "12.secret" } do assert.is_nil(all:find(secret, 1, true), all) end
    assert.matches("broken %*%*%*", all)
    socket:close()
    client.socket:close()
  end))

  it("brings faults that are set and that strike", served(function(server)
    local client = support.connect(server)
    client:act("watch", { faults = true })
    support.act(server, "faults", { token_error = 1 })
    assert.same({ event = "faults", faults = { token_error = 1 } }, client:receive())
    assert.equal(503, assert(core.http {
      url = server:url():gsub("^ws", "http") .. "/bridge/api/client/v1/oauth/token", method = "POST", body = "{}",
    }).status)
    assert.same({ event = "fault", name = "token_error", struck = 1 }, client:receive())
    client.socket:close()
  end))

  it("tells how many events were dropped for a client that does not read", served(function(server)
    local client = support.connect(server)
    client:act("watch", { people = { "mira" } })
    local transport, taken = next(server.control.sockets), {}
    local slow = setmetatable({ full = true }, { __index = {
      unsent = function(self) return self.full and 2 << 20 or 0 end,
      send = function(_, text) taken[#taken + 1] = text return transport:send(text) end,
    } })
    server.control.sockets[transport].transport = slow
    local chat = server:person("herald"):chat_with "mira"
    for number = 1, 5 do chat:say(tostring(number)) end
    helper.eventually(function() return server.control.sockets[transport].dropped >= 5 end)
    assert.same({}, taken)
    local dropped = server.control.sockets[transport].dropped
    slow.full = false
    assert.same({ event = "dropped", count = dropped }, client:receive())
    chat:say "six"
    assert.equal("six", client:receive().payload.content.text)
    client.socket:close()
  end))

  it("is for a WebSocket alone", served(function(server)
    assert.equal(404, select(2, support.ask(server, "POST", "watch", { frames = true })))
  end))
end)
