-- SPDX-License-Identifier: MIT
-- A foreign event loop drives a bot and a Bridge and knows nothing of them but core.fd(),
-- core.timeout() and core.step(). The loop is the shortest one there is: select() of LuaSocket.

local core = require "trueconf.core"
local trueconf = require "trueconf"
local bridge = require "trueconf.bridge"
local system = require "spec.support.system"

local has_luasocket, luasocket = pcall(require, "socket")

local LIMIT = 20                        -- seconds the loop may take for what a case waits for

-- The host: its loop and what it has besides of us.
local Host = {}
Host.__index = Host

local function host()
  return setmetatable({ steps = 0, others = {} }, Host)
end

-- An object for select() to watch.
local watched = {
  getfd = function() return core.fd() end,
  dirty = function() return false end,
}

-- One turn. It waits for as long as it is told and no shorter, so that whatever the core does not
-- announce through its file descriptor or its timeout is never done, and the case fails.
function Host:turn(stop)
  local wait, rest = core.timeout(), stop - luasocket.gettime()
  if not wait or wait > rest then wait = math.max(rest, 0) end
  local readable = luasocket.select({ watched, table.unpack(self.others) }, nil, wait)
  self.steps = self.steps + 1
  core.step()
  for _, other in ipairs(self.others) do
    if readable[other] then self.on_readable(other) end
  end
end

function Host:run_until(condition)
  local stop = luasocket.gettime() + LIMIT
  while not condition() do
    if luasocket.gettime() >= stop then error("the loop has waited in vain", 2) end
    self:turn(stop)
  end
end

-- Run fn in a coroutine of the core until it has ended, and return what it returned.
function Host:run(fn)
  local results
  core.spawn(function() results = table.pack(xpcall(fn, debug.traceback)) end)
  self:run_until(function() return results end)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

-- A case; at its end nothing may be left, as in spec/support/helper.lua.
local function case(body)
  return function()
    if not has_luasocket then return pending "LuaSocket is missing (Debian: lua-socket)" end
    local died = {}
    core.on_error(function(err, traceback) died[#died + 1] = tostring(err) .. "\n" .. traceback end)
    local ok, err = xpcall(body, debug.traceback, host())
    local stats = core.stats()
    core.close()
    if not ok then error(err, 0) end
    assert.same({}, died)
    assert.equal(0, core.stats().handles)
    for _, name in ipairs { "pending", "coroutines", "sockets", "connections", "transfers", "listeners" } do
      assert.equal(0, stats[name] or 0, name)
    end
  end
end

local function answering_bot(server, more)
  local bot = system.bot(server, more)
  bot:on_message(function(msg)
    if msg.text == "order" then
      local size = assert(msg:ask("Which size?", LIMIT))
      assert(msg:answer("A " .. size.text .. " one."))
    else
      assert(msg:reply("You said: " .. msg.text))
    end
  end)
  return bot
end

local function start_bridge(more)
  local given = { accounts = { herald = "4711", mira = "x" }, log = { level = "off" } }
  for name, value in pairs(more or {}) do given[name] = value end
  return assert(bridge.start(given))
end

local function stop_all(h, bot, server)
  h:run(function()
    bot:stop()
    server:stop()
  end)
  h:run_until(function()
    local stats = core.stats()
    return (stats.connections or 0) + (stats.sockets or 0) == 0
  end)
end

describe("a foreign loop", function()
  it("drives a bot and a Bridge through a conversation", case(function(h)
    local server = start_bridge()
    local bot = answering_bot(server)
    bot:start()
    h:run_until(function() return bot:state() == "ready" end)
    local mira, heard = server:person "mira", {}
    mira:on_message(function(message)
      if not message.from_me then heard[#heard + 1] = message.text end
    end)
    local chat = mira:chat_with "herald"
    for place, line in ipairs { "hello", "order", "large" } do
      chat:say(line)                    -- from outside of the loop
      h:run_until(function() return heard[place] end)
    end
    assert.same({ "You said: hello", "Which size?", "A large one." }, heard)
    h:run_until(function() return #server:unread "herald" == 0 end)
    stop_all(h, bot, server)
  end))

  it("lets a bot come back to a Bridge that was away", case(function(h)
    local server = h:run(system.start_bridge)
    local bot = answering_bot(server)
    bot:start()
    h:run_until(function() return bot:state() == "ready" end)
    h:run(function() server:stop(true) end)
    h:run_until(function() return bot:state() == "backoff" end)
    server = h:run(function() return system.start_again(server) end)
    server:person("mira"):chat_with("herald"):say "still there?"
    local answer = h:run(function() return assert(server:person("mira"):wait_message(LIMIT)) end)
    assert.equal("You said: still there?", answer.text)
    stop_all(h, bot, server)
  end))

  it("is told at once of what is begun outside of the loop", case(function(h)
    local ran = {}
    core.step()
    assert.is_nil(core.timeout())       -- there is nothing to wait for
    core.spawn(function() ran[#ran + 1] = "spawn" end)
    assert.equal(0, core.timeout())
    h:run_until(function() return ran[1] end)
    local waiter = core.waiter()
    core.spawn(function() ran[#ran + 1] = waiter:wait() end)
    h:run_until(function() return core.stats().pending == 1 end)
    waiter:wake "wake"
    h:run_until(function() return ran[2] end)
    core.timer(0.01, function() ran[#ran + 1] = "timer" end)
    local timeout = core.timeout()
    assert(timeout and timeout <= 0.02, timeout)
    h:run_until(function() return ran[3] end)
    assert.same({ "spawn", "wake", "timer" }, ran)
    assert.is_false(core.step())        -- nothing is left that could happen
  end))

  it("sleeps while nothing happens", case(function(h)
    local server = start_bridge { ping_interval = 0 }
    local bot = answering_bot(server, { ping_interval = 0 })
    bot:start()
    h:run_until(function() return bot:state() == "ready" end)
    h:run(function() core.sleep(0.1) end)
    local before = h.steps
    h:run(function() core.sleep(1) end)
    assert(h.steps - before < 50, h.steps - before .. " turns in a second of idleness")
    stop_all(h, bot, server)
  end))

  it("goes on with what the host has besides", case(function(h)
    local server = start_bridge()
    local bot = answering_bot(server)
    bot:start()
    local receiver = assert(luasocket.udp())
    assert(receiver:setsockname("127.0.0.1", 0))
    local sender = assert(luasocket.udp())
    assert(sender:setpeername(receiver:getsockname()))
    local got = {}
    h.others = { receiver }
    function h.on_readable(other) got[#got + 1] = other:receive() end
    h:run_until(function() return bot:state() == "ready" end)
    -- Bytes that the host receives go into the chat; the bot's answers go back over the host's socket.
    local mira = server:person "mira"
    local chat, answers = mira:chat_with "herald", 0
    mira:on_message(function(message)
      if message.from_me then return end
      answers = answers + 1
      if answers < 20 then sender:send("datagram " .. answers) end
    end)
    function h.on_readable(other)
      got[#got + 1] = other:receive()
      chat:say(got[#got])
    end
    sender:send "datagram 0"
    h:run_until(function() return answers == 20 end)
    assert.equal(20, #got)
    assert.equal("datagram 19", got[20])
    stop_all(h, bot, server)
    receiver:close()
    sender:close()
  end))

  it("may take turns with core.run()", case(function(h)
    local server = start_bridge()
    local bot = answering_bot(server)
    bot:start()
    h:run_until(function() return bot:state() == "ready" end)
    local mira = server:person "mira"
    mira:chat_with("herald"):say "one"
    assert.equal("You said: one", assert(mira:wait_message(LIMIT)).text) -- the main thread drives the loop itself
    mira:chat_with("herald"):say "two"
    assert.equal("You said: two", h:run(function() return assert(mira:wait_message(LIMIT)).text end))
    trueconf.spawn(function()
      bot:stop()
      server:stop()
    end)
    core.run()                          -- returns as nothing is left
    assert.equal("closed", bot:state())
  end))
end)
