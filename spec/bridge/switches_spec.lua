-- SPDX-License-Identifier: MIT
-- Switches of a Bridge for differences between real servers, and for unknown behaviour: over real sockets, with a
-- client of ours that must work with either. protocol/methods_matrix_spec.lua is about versions.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local raw_client = require "spec.support.raw_client"
local trueconf = require "trueconf"

local PATIENCE = 10                     -- seconds for what must come
local SHORT = 0.1                       -- seconds in which nothing may come, or which are over soon

-- A Bridge with these options, and what else must be closed in the end.
local function served(options, body)
  return helper.async(function()
    options.accounts = { herald = "4711", mira = "x" }
    options.server_name, options.password_cost, options.log = "chat.acme.test", 1, { level = "off" }
    local server = assert(bridge.start(options))
    local open = {}
    helper.finally(function()
      for _, thing in ipairs(open) do (thing.stop or thing.close)(thing) end
      server:stop()
    end, body, server, open)
  end)
end

local function client_of(server, open, given)
  local options = { url = server:url(), username = "herald", password = "4711", log = "off", max_denials = 1 }
  for name, value in pairs(given or {}) do options[name] = value end
  local client = trueconf.client(options)
  open[#open + 1] = client
  client:start()
  return client, client:wait_ready(PATIENCE)
end

-- A client that acknowledges nothing by itself: frames as they are.
local Raw = {}
Raw.__index = Raw

local function connect(server, open, receive_unread)
  local socket = assert(core.socket { url = server:url() .. "/websocket/chat_bot/", ping_interval = 0 })
  open[#open + 1] = socket
  local raw = setmetatable({ socket = socket, last_id = 0 }, Raw)
  raw:request("auth", { token = server:mint_token "herald", tokenType = "JWT", receiveUnread = receive_unread })
  return raw
end

function Raw:frame(timeout)
  local text, err = self.socket:receive(timeout or PATIENCE)
  return text and json.decode(text), err
end

function Raw:ack(id)
  assert(self.socket:send(('{"type":2,"id":%d}'):format(id)))
end

-- Send a request; the payload of the response, which is the next of its kind.
function Raw:request(method, payload)
  self.last_id = self.last_id + 1
  assert(self.socket:send(json.encode { type = 1, id = self.last_id, method = method, payload = payload }))
  repeat
    local frame = assert(self:frame())
    if frame.type == 2 then return frame.payload end
    self:ack(frame.id)
  until false
end

describe("the answer to a token request", function()
  for _, status in ipairs { 200, 201 } do
    it("has the status " .. status, served({ token_status = status }, function(server, open)
      local answer = assert(core.http {
        url = server:url():gsub("^ws", "http") .. "/bridge/api/client/v1/oauth/token",
        headers = { ["Content-Type"] = "application/json" },
        body = json.encode { client_id = "chat_bot", grant_type = "password", username = "herald", password = "4711" },
      })
      assert.equal(status, answer.status)
      local client, ready = client_of(server, open)
      assert.is_true(ready)
      assert.equal("mira", client:get_user_display_name "mira@chat.acme.test")
    end))
  end

  for _, status in ipairs { 400, 401 } do
    it("is " .. status .. " to a wrong password, and a client takes it for that",
      served({ bad_password_status = status }, function(server, open)
        local _, ready, err = client_of(server, open, { password = "4712" })
        assert.is_nil(ready)
        assert.same({ "AUTH_FAILED", status }, { err.name, err.code })
      end))
  end
end)

describe("a wrong payload", function()
  for _, version in ipairs { "5.5.0", "5.5.6" } do
    it("is answered 399 by " .. version .. " if it is told so", served(
      { version = version, legacy_silence = false }, function(server, open)
        local client = client_of(server, open)
        local _, err = client:call("getUserDisplayName", { userId = 7 })
        assert.same({ "WRONG_PAYLOAD_FORMAT", 399, "rejected" }, { err.name, err.code, err.outcome })
      end))

    it("is not answered by " .. version .. " if it is told so, and a client does not wait for ever", served(
      { version = version, legacy_silence = true }, function(server, open)
        local client = client_of(server, open)
        local _, err = client:call("getUserDisplayName", { userId = 7 }, { timeout = SHORT })
        assert.equal("TIMEOUT", err.name)
        assert.equal("mira", client:get_user_display_name "mira@chat.acme.test")
      end))
  end
end)

describe("the version of a server", function()
  for told, name in pairs { [true] = "UNSUPPORTED", [false] = "ROUTE_NOT_FOUND" } do
    it(told and "keeps a client from what came later" or "may be kept from a client, which then tries", served(
      { version = "5.5.0", server_info = told }, function(server, open)
        local client = client_of(server, open)
        local answer, err = client:clear_history "c"
        assert.is_nil(answer)
        assert.equal(name, err.name)
      end))
  end
end)

describe("what an account does", function()
  -- Two connections of it, of which the first one opens a chat; what each is told of.
  local function echoes(server, open)
    local told, bots = { {}, {} }, {}
    for place = 1, 2 do
      local bot = trueconf.bot { url = server:url(), token = server:mint_token "herald", log = "off" }
      open[#open + 1], bots[place] = bot, bot
      bot:on("create_p2p_chat", function(event) table.insert(told[place], event.title) end)
      bot:start()
      assert(bot:wait_ready(PATIENCE))
    end
    assert(bots[1]:create_p2p_chat "mira@chat.acme.test")
    helper.eventually(function() return told[2][1] end)
    return told[1], bots[1]
  end

  it("comes back to it", served({}, function(server, open)
    local told = echoes(server, open)
    assert.equal("mira@chat.acme.test", helper.eventually(function() return told[1] end))
  end))

  it("comes to its other connections only, if the Bridge is told so", served({ echo = "others" },
    function(server, open)
      local told, bot = echoes(server, open)
      server:person("mira"):chat_with("herald"):say "behind that"
      assert(bot:get_chats())
      core.sleep(SHORT)
      assert.same({}, told)
    end))
end)

describe("PINGs", function()
  local UPGRADE = "send GET /websocket/chat_bot/ HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\n"
    .. "Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n"
  local PING = "\x89\1p"

  it("come as often as the Bridge is told", served({ ping_interval = 0.02, max_missed_pongs = 1000 }, function(server)
    local bytes = raw_client.run(server:port(), UPGRADE, "until \\x89\\x01p\\x89\\x01p\\x89\\x01p")
    assert.equal(PING:rep(3), bytes:match("\r\n\r\n(.*)"):sub(1, 3 * #PING))
  end))

  it("do not come at all at 0", served({ ping_interval = 0 }, function(server)
    core.spawn(function()
      helper.eventually(function() return server:connections() == 1 end)
      core.sleep(5 * SHORT)
      server:drop()
    end)
    local bytes = raw_client.run(server:port(), UPGRADE, "read")
    assert.matches("^HTTP/1.1 101 ", bytes)
    assert.equal("", (bytes:match("\r\n\r\n(.*)"):gsub("<reset>", "")))
  end))
end)

describe("a notification without an ack", function()
  local function say(server, text)
    return server:person("mira"):chat_with("herald"):say(text)
  end

  -- The next message that comes; other notifications are acknowledged.
  local function next_message(raw)
    repeat
      local frame, err = raw:frame()
      if not frame then return nil, err end
      if frame.method == "sendMessage" then return frame end
      if frame.type == 1 then raw:ack(frame.id) end
    until false
  end

  it("is waited for as long as it takes", served({}, function(server, open)
    local raw = connect(server, open)
    local message = say(server, "one")
    local frame = next_message(raw)
    assert.is_nil(raw:frame(SHORT))
    raw:ack(frame.id)
    assert.is_true(message:wait_read_by("herald", PATIENCE))
  end))

  it("closes the connection with 1008 if the Bridge is told so, and comes again with the next", served(
    { ack_timeout = SHORT }, function(server, open)
      local raw = connect(server, open)
      local message = say(server, "one")
      assert.equal("one", next_message(raw).payload.content.text)
      local _, err = next_message(raw)
      assert.same({ "CLOSED", 1008 }, { err.name, err.code })
      local again = connect(server, open, true)
      local frame = next_message(again)
      assert.equal(message.id, frame.payload.messageId)
      again:ack(frame.id)
      assert.is_true(message:wait_read_by("herald", PATIENCE))
    end))

  it("is forgotten when its connection closes", served({ ack_timeout = 3600 }, function(server, open)
    local raw = connect(server, open)
    say(server, "one")
    next_message(raw)
    raw.socket:close()
    helper.eventually(function() return server:connections "herald" == 0 end)
  end))
end)
