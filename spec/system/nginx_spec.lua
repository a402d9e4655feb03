-- SPDX-License-Identifier: MIT
-- A bot over TLS, through nginx in front of the Bridge, with the configuration in docs/nginx.conf.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"

local hooks = require "trueconf.base.hooks"

local LIMIT = 20                        -- seconds any single step may take

-- A Bridge, nginx in front of it, and a bot that trusts it.
local World = {}
World.__index = World

local function world(bot_options, bridge_options, scheme)
  local self = setmetatable({}, World)
  self.server = system.start_bridge(bridge_options)
  self.directory = system.directory()
  self.proxy = nginx.start(self.directory, self.server:port())
  local options = { url = self.proxy:url(scheme or "https"), ca_file = self.directory:file "ca.pem" }
  for name, value in pairs(bot_options or {}) do options[name] = value end
  self:use_bot(options)
  return self
end

-- A bot that repeats what is said, in the place of the one before; not started.
function World:use_bot(options)
  if self.bot then self.bot:stop(0) end
  self.bot, self.problems = system.bot(self.server, options), {}
  self.bot:on_state(function(new, _, err)
    if err then table.insert(self.problems, new .. " " .. err.name .. " " .. tostring(err.code)) end
  end)
  self.bot:on_message(function(msg) assert(msg:reply("You said: " .. msg.text)) end)
end

function World:__close()
  self.bot:stop(0)
  self.server:stop(true)
  self.proxy:stop()
  self.directory:__close()
end

function World:start()
  self.bot:start()
  assert(self.bot:wait_ready(LIMIT))
end

-- A person says something, the bot answers.
function World:talk(text)
  local mira = self.server:person "mira"
  local message = mira:chat_with("herald"):say(text)
  local answer = assert(mira:wait_message(LIMIT))
  assert.equal("You said: " .. text, answer.text)
  assert.equal(message.id, answer.reply_to)
  assert(message:wait_read_by("herald", LIMIT))
end

function World:had_problem(pattern)
  return helper.eventually(function()
    for _, problem in ipairs(self.problems) do
      if problem:match(pattern) then return problem end
    end
  end, LIMIT)
end

describe("a bot behind nginx", function()
  for _, scheme in ipairs { "https", "wss" } do
    it("gets its token and talks, its url beginning with " .. scheme, helper.async(function()
      local w <close> = world(nil, nil, scheme)
      w:start()
      assert.matches("POST /bridge/api/client/v1/oauth/token HTTP/%S+ 201", w.proxy:access_log())
      w:talk "hello"
      w:talk(("🚀"):rep(4080))          -- a frame that needs two TLS records and several buffers of nginx
      assert.equal("mira", assert(w.bot:get_user_display_name "mira@localhost"))
      w.bot:stop()
      helper.eventually(function() return w.proxy:access_log():match "GET /websocket/chat_bot/ HTTP/1.1 101" end)
    end))
  end

  it("answers the PINGs of the Bridge, and has its own answered", helper.async(function()
    local w <close> = world({ ping_interval = 0.1, pong_timeout = 1 }, { ping_interval = 0.1, max_missed_pongs = 10 })
    w:start()
    core.sleep(2)                       -- nothing is said; about twenty PINGs go each way
    w:talk "still there"
    assert.equal(1, hooks.behind(w.bot).client.session:stats().connects)
    assert.same({}, w.problems)
  end))

  it("finds that a Bridge behind nginx does not answer PINGs", helper.async(function()
    local w <close> = world { ping_interval = 0.1, pong_timeout = 1 }
    w:start()
    w.proxy:freeze(true)
    w:had_problem "^backoff TIMEOUT"
    w.proxy:freeze(false)
    w:talk "back again"
  end))

  it("is let in with and without the slash, and nowhere else", helper.async(function()
    local w <close> = world()
    local tls = { ca_file = w.directory:file "ca.pem" }
    for _, path in ipairs { "/websocket/chat_bot", "/websocket/chat_bot/" } do
      local socket = assert(core.socket { url = w.proxy:url "wss" .. path, tls = tls })
      assert.equal("json.v1", socket:protocol())
      socket:close()
    end
    local socket, err = core.socket { url = w.proxy:url "wss" .. "/websocket/other/", tls = tls }
    assert.is_nil(socket)
    assert.equal(404, err.code)
    for path, status in pairs { ["/api/v4/server"] = 200, ["/api/v3/server"] = 404, ["/vsstatus"] = 404 } do
      assert.equal(status, assert(core.http { url = w.proxy:url "https" .. path, tls = tls }).status, path)
    end
  end))

  it("comes back when nginx is restarted, and misses nothing", helper.async(function()
    local w <close> = world()
    w:start()
    for round = 1, 3 do
      w.proxy:stop()
      helper.eventually(function() return w.bot:state() ~= "ready" end, LIMIT)
      local mira = w.server:person "mira"
      mira:chat_with("herald"):say "while nginx was away"
      w.proxy:begin()
      assert.equal("You said: while nginx was away", assert(mira:wait_message(LIMIT)).text)
      w:talk("round " .. round)
    end
    assert.same({}, w.server:unread "herald")
  end))

  it("waits out a Bridge that is down: 502, then it comes back", helper.async(function()
    local w <close> = world { max_denials = 1 }
    w.server:stop()
    w.bot:start()
    w:had_problem "^backoff HTTP 502"   -- the token request
    w.server = system.start_again(w.server)
    assert(w.bot:wait_ready(LIMIT))
    w:talk "hello"
    w.problems = {}
    w.server:stop()
    w:had_problem "^backoff HTTP 502"   -- the socket: the token is still good
    w.server = system.start_again(w.server)
    w:talk "hello again"
  end))

  it("does not trust another authority", helper.async(function()
    local w <close> = world()
    nginx.make_authority(w.directory, "other")
    w:use_bot { url = w.proxy:url "https", ca_file = w.directory:file "other.pem" }
    w.bot:start()
    w:had_problem "^backoff TLS"
    assert.is_nil(w.proxy:access_log():match "oauth" or w.proxy:access_log():match "websocket")
    -- With a token at hand the socket is what meets the certificate.
    w:use_bot {
      url = w.proxy:url "https", ca_file = w.directory:file "other.pem", username = false, password = false,
      token = w.server:mint_token "herald",
    }
    w.bot:start()
    w:had_problem "^backoff TLS"
    assert.is_nil(w.proxy:access_log():match "oauth" or w.proxy:access_log():match "websocket")
  end))

  it("does not trust a certificate that names another host, and picks up a new one", helper.async(function()
    local w <close> = world()
    w.proxy:stop()
    nginx.make_certificate(w.directory, "localhost", "elsewhere.test", 2)
    w.proxy:begin()
    w.bot:start()
    w:had_problem "^backoff TLS"
    nginx.make_certificate(w.directory, "localhost", "localhost", 2)
    w.proxy:stop()
    w.proxy:begin()
    w:talk "that is the one"
  end))

  it("keeps its password when the system's authorities are all it trusts", helper.async(function()
    local w <close> = world()
    w:use_bot { url = w.proxy:url "https" }
    w.bot:start()
    w:had_problem "^backoff TLS"
    assert.is_nil(w.proxy:access_log():match "oauth" or w.proxy:access_log():match "websocket")
  end))
end)

describe("the control endpoint behind nginx", function()
  local KEY = "a-key-for-the-specs-alone"

  -- Status of a request whose target is sent as it is.
  local function status_of(proxy, target, more)
    local child <close> = system.launch(('curl -sk -m %d -o /dev/null -w "status %%{http_code}" '
      .. '-H "Authorization: Bearer %s" -H "Host: localhost" %s --request-target "%s" %s/'):format(LIMIT, KEY,
      more or "", target, proxy:url "https"))
    return tonumber(helper.eventually(function() return child:log():match "status (%d+)" end, LIMIT))
  end

  -- Targets that nginx finds below what it passes on, and who resolves dots below /control/.
  local DISGUISED = {
    "/api/v4/#/../../../control/state", "/bridge/api/#/../../../control/state",
    "/websocket/chat_bot/#/../../../control/state", "/control/state", "//control/state", "/control/../control/state",
    "/api/v4/%23/../../../control/state", "/api/v4/..;/..;/control/state", "/%63ontrol/state",
    "/api/v4/x/../../../control/state", "/api/v4/?/../../../control/state",
  }
  local UPGRADE = '-H "Upgrade: websocket" -H "Connection: Upgrade" -H "Sec-WebSocket-Version: 13" '
    .. '-H "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="'

  -- `change` of the shipped configuration
  local function behind(change, body)
    return helper.async(function()
      local directory <close> = system.directory()
      local server = system.start_bridge { control = { key = KEY } }
      local proxy = nginx.start(directory, server:port(), change)
      body(proxy, server)
      server:stop(true)
      proxy:stop()
    end)
  end

  it("is not found, whatever spelling a path has", behind(nil, function(proxy, server)
    for _, target in ipairs(DISGUISED) do assert.equal(404, status_of(proxy, target), target) end
    assert.equal(404, status_of(proxy, "/websocket/chat_bot/#/../../control/socket", UPGRADE))
    assert.equal(200, status_of(proxy, "/api/v4/server?x=/../"))
    assert.equal(200, assert(core.http {
      url = server:url():gsub("^ws", "http") .. "/control/state", headers = { Authorization = "Bearer " .. KEY },
    }).status)
  end))

  it("is not found by a configuration that does not look at spellings", behind(function(text)
    return (text:gsub("  if %(%$request_uri[^}]*}\n", "", 1))
  end, function(proxy)
    -- A fragment is none of a target.
    for _, target in ipairs(DISGUISED) do
      assert.equal(target:find "#" and 400 or 404, status_of(proxy, target), target)
    end
    assert.equal(400, status_of(proxy, "/websocket/chat_bot/#/../../control/socket", UPGRADE))
  end))

  it("refuses what a proxy passes on to it", behind(function(text)
    return (text:gsub("%^/%(bridge/api|api/v4%)/", "^/(bridge/api|api/v4|control)/"))
  end, function(proxy)
    assert.equal(403, status_of(proxy, "/control/state"))
  end))
end)
