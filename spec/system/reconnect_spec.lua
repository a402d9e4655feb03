-- SPDX-License-Identifier: MIT
-- The Bridge is stopped and started under a running bot, in good order and by force: the bot
-- comes back by itself, each waiting call settles once, each message is handled once.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind

local LIMIT = 20                        -- seconds any single step may take
local WAYS = { { name = "in good order", abrupt = false }, { name = "by force", abrupt = true } }

-- A Bridge and a bot of it, started and ready; whatever becomes of the case, both are stopped. The
-- Bridge of the moment is world.server.
local World = {}
World.__index = World

local function world(bot_options, bridge_options)
  local self = setmetatable({ states = {} }, World)
  self.server = system.start_bridge(bridge_options)
  self.bot = system.bot(self.server, bot_options)
  self.bot:on_state(function(new, _, err) self.states[#self.states + 1] = { new = new, err = err } end)
  return self
end

function World:__close()
  self.bot:stop(0)
  self.server:stop(true)
end

function World:start()
  self.bot:start()
  assert(self.bot:wait_ready(LIMIT))
end

-- Stop the Bridge and wait until the bot has noticed.
function World:stop_bridge(abrupt)
  self.server:stop(abrupt)
  helper.eventually(function() return self.bot:state() ~= "ready" end, LIMIT)
end

function World:start_bridge(options)
  self.server = system.start_again(self.server, options)
end

-- The states from the place `first` on, by name.
function World:states_since(first)
  local names = {}
  for i = first + 1, #self.states do names[#names + 1] = self.states[i].new end
  return table.concat(names, " ")
end

function World:say(person, text)
  return self.server:person(person):chat_with("herald"):say(text)
end

function World:wait_read(messages)
  for _, message in ipairs(messages) do
    local unread = function()
      for _, left in ipairs(self.server:unread "herald") do
        if left.id == message.id then return true end
      end
    end
    helper.eventually(function() return not unread() end, LIMIT)
  end
end

-- The texts the bot has written into a chat.
function World:written_by_bot(chat_id)
  local texts = {}
  for _, message in ipairs(self.server:history(chat_id)) do
    if message.author:match "^herald@" then texts[#texts + 1] = message.text end
  end
  return texts
end

-- Everything between the bot and the Bridge that was on its way has arrived.
function World:round_trip()
  assert(self.bot:wait_ready(LIMIT))
  assert(self.bot:get_user_display_name(self.bot:user_id()))
end

local function settled_once(call)
  assert.equal(1, #call.outcomes)
end

describe("a bot whose Bridge is stopped and started", function()
  it("comes back each time and handles each message once, in order per chat", helper.async(function()
    local w <close> = world()
    local people, handled, said, messages = { "mira", "jonas", "edda" }, {}, {}, {}
    for _, person in ipairs(people) do handled[person], said[person] = {}, {} end
    w.bot:on_message(function(msg)
      local list = handled[msg.author:match "^[^@]*"]
      core.sleep(0.001)                 -- so that connections fall while handlers are at work
      list[#list + 1] = msg.text
    end)
    local function say_to_all(when, count)
      for number = 1, count do
        for _, person in ipairs(people) do
          local text = when .. ", number " .. number
          said[person][#said[person] + 1] = text
          messages[#messages + 1] = w:say(person, text)
        end
      end
    end
    w:start()
    for round = 1, 8 do
      say_to_all("before end " .. round, 4)
      if round % 4 > 1 then core.sleep(0.005) end
      w:stop_bridge(round % 2 == 0)
      w:start_bridge()
      say_to_all("after end " .. round, 3)
      if round % 4 < 2 then assert(w.bot:wait_ready(LIMIT)) end
    end
    w:wait_read(messages)
    w:round_trip()
    assert.same(said, handled)
    assert.same({}, w.server:unread "herald")
    assert.is_true(behind(w.bot).client.session:stats().connects >= 5)
  end))

  for _, way in ipairs(WAYS) do
    it("does not handle a message again that was being handled, ended " .. way.name, helper.async(function()
      local w <close> = world()
      local handled, release = {}, core.waiter()
      w.bot:on_message(function(msg)
        handled[#handled + 1] = msg.text
        if msg.text == "slow" then release:wait() end
      end)
      w:start()
      local slow = w:say("mira", "slow")
      helper.eventually(function() return handled[1] end)
      w:stop_bridge(way.abrupt)
      w:start_bridge()
      local later = w:say("mira", "later")
      w:round_trip()                    -- the unread messages come right behind the answer to auth
      assert.same({ "slow" }, handled)
      assert.is_false(slow:is_read_by "herald")
      release:wake()
      w:wait_read { slow, later }
      w:round_trip()
      assert.same({ "slow", "later" }, handled)
    end))

    it("does not handle a message again that was finished meanwhile, ended " .. way.name, helper.async(function()
      local w <close> = world()
      local handled, release, finished = 0, core.waiter(), core.waiter()
      w.bot:on_message(function()
        handled = handled + 1
        release:wait()
        finished:wake(true)
      end)
      w:start()
      local message = w:say("mira", "slow")
      helper.eventually(function() return handled == 1 end)
      w:stop_bridge(way.abrupt)
      release:wake()
      assert(finished:wait(LIMIT))
      assert.is_false(message:is_read_by "herald")
      w:start_bridge()
      w:wait_read { message }
      w:round_trip()
      assert.equal(1, handled)
    end))

    it("goes on with a dialog that was waiting for its answer, ended " .. way.name, helper.async(function()
      local w <close> = world()
      local heard = {}
      w.bot:on_message(function(msg)
        heard[#heard + 1] = msg.text
        local size = assert(msg:ask("Which size?", LIMIT))
        heard[#heard + 1] = size.text .. " as the answer"
        assert(msg:reply("Done."))
      end)
      w:start()
      local order = w:say("mira", "order")
      assert(w.server:person("mira"):wait_message(LIMIT))
      w:wait_read { order }
      w:stop_bridge(way.abrupt)
      w:start_bridge()
      local answer = w:say("mira", "large")
      assert.equal("Done.", assert(w.server:person("mira"):wait_message(LIMIT)).text)
      w:wait_read { answer }
      assert.same({ "order", "large as the answer" }, heard)
    end))

    it("tells that the outcome of a write in flight is not known, ended " .. way.name, helper.async(function()
      local w <close> = world { window = 2 }
      w:start()
      local chat_id = w.server:person("mira"):chat_with("herald").id
      w.server:fault { delay = LIMIT }  -- taken, and neither carried out nor answered
      local calls = {}
      for number = 1, 5 do
        calls[number] = system.begin(function() return w.bot:send_message(chat_id, tostring(number)) end)
      end
      helper.eventually(function() return behind(w.bot).client.session:stats().in_flight == 2 end)
      w:stop_bridge(way.abrupt)
      for number = 1, 2 do
        local sent, err = calls[number]:wait()
        assert.is_nil(sent)
        assert.equal("DISCONNECTED", err.name)
        assert.equal("unknown", err.outcome)
        assert.equal("sendMessage", err.method)
      end
      w:start_bridge()
      for number = 3, 5 do assert.equal(chat_id, assert(calls[number]:wait()).chat_id) end
      w:round_trip()
      for number = 1, 5 do settled_once(calls[number]) end
      assert.same({ "3", "4", "5" }, w:written_by_bot(chat_id))
    end))

    it("does not repeat a write that was carried out before the end " .. way.name, helper.async(function()
      local w <close> = world()
      w:start()
      local chat_id = w.server:person("mira"):chat_with("herald").id
      for _, connection in pairs(w.server.open) do
        connection.respond = function() end -- carried out, and the answer is lost
      end
      local call = system.begin(function() return w.bot:send_message(chat_id, "once") end)
      helper.eventually(function() return w:written_by_bot(chat_id)[1] end)
      w:stop_bridge(way.abrupt)
      local sent, err = call:wait()
      assert.is_nil(sent)
      assert.equal("unknown", err.outcome)
      w:start_bridge()
      w:round_trip()
      assert.same({ "once" }, w:written_by_bot(chat_id))
      settled_once(call)
    end))

    it("repeats reads by itself, ended " .. way.name, helper.async(function()
      local w <close> = world()
      w:start()
      local herald = w.bot:user_id()
      w.server:fault { delay = LIMIT }
      local calls = {}
      for number = 1, 3 do
        calls[number] = system.begin(function() return w.bot:get_user_display_name(herald) end)
      end
      local marked = system.begin(function()
        return w.bot:call("createP2PChat", { userId = "mira@localhost" }, { read = true })
      end)
      helper.eventually(function() return behind(w.bot).client.session:stats().in_flight == 4 end)
      w:stop_bridge(way.abrupt)
      w:start_bridge()
      for _, call in ipairs(calls) do assert.equal("herald", assert(call:wait())) end
      assert.is_string(assert(marked:wait()).chatId)
      w:round_trip()
      for _, call in ipairs(calls) do settled_once(call) end
      settled_once(marked)
    end))
  end

  it("lets calls made while it is away wait, and sends them", helper.async(function()
    local w <close> = world()
    w:start()
    local chat_id = w.server:person("mira"):chat_with("herald").id
    w:stop_bridge(true)
    local write = system.begin(function() return w.bot:send_message(chat_id, "later") end)
    local read = system.begin(function() return w.bot:get_user_display_name(w.bot:user_id()) end)
    local impatient = system.begin(function() return w.bot:send_message(chat_id, "never", { timeout = 0.05 }) end)
    local sent, err = impatient:wait()
    assert.is_nil(sent)
    assert.equal("TIMEOUT", err.name)
    assert.equal("not_sent", err.outcome)
    assert.equal(0, #write.outcomes + #read.outcomes)
    w:start_bridge()
    assert(write:wait())
    assert.equal("herald", assert(read:wait()))
    assert.same({ "later" }, w:written_by_bot(chat_id))
    for _, call in ipairs { write, read, impatient } do settled_once(call) end
  end))

  it("settles waiting calls with CLOSED when it is stopped while away", helper.async(function()
    local w <close> = world()
    w:start()
    w:stop_bridge(true)
    local calls = {
      system.begin(function() return w.bot:send_message("chat", "never") end),
      system.begin(function() return w.bot:get_user_display_name "mira@localhost" end),
      system.begin(function() return w.bot:wait_ready() end),
    }
    core.sleep(0.01)
    w.bot:stop()
    for _, call in ipairs(calls) do
      local result, err = call:wait()
      assert.is_nil(result)
      assert.equal("CLOSED", err.name)
      settled_once(call)
    end
    assert.equal("not_sent", calls[1].outcomes[1][2].outcome)
    assert.equal("closed", w.bot:state())
  end))

  it("takes one fresh token when its own has expired meanwhile", helper.async(function()
    local w <close> = world()
    w:start()
    for round = 1, 3 do
      w:stop_bridge(round % 2 == 0)
      w:start_bridge()
      w.server:expire_tokens()
      local message = w:say("mira", "anybody there?")
      local before = #w.states
      w:wait_read { message }
      assert.matches("connecting authorizing token connecting authorizing ready$", w:states_since(before))
    end
  end))

  it("takes a fresh token when the Bridge has forgotten everything", helper.async(function()
    local w <close> = world()
    w:start()
    local before = #w.states
    w:stop_bridge(true)
    w:start_bridge { state = false }
    w:wait_read { w:say("mira", "hello again") }
    assert.matches("authorizing backoff token connecting authorizing ready$", w:states_since(before))
  end))

  it("gives up when a ready-made token has expired meanwhile", helper.async(function()
    local server = system.start_bridge()
    local bot = system.bot(server, { token = server:mint_token "herald", username = false, password = false })
    local again
    local guard <close> = setmetatable({}, { __close = function() (again or server):stop(true) end })
    assert.is_table(guard)
    bot:start()
    local run = system.begin(function() return bot:run() end)
    assert(bot:wait_ready(LIMIT))
    server:stop()
    again = system.start_again(server)
    again:expire_tokens()
    local ok, err = run:wait(LIMIT)
    assert.is_nil(ok)
    assert.equal("TOKEN_EXPIRED", err.name)
    assert.equal(203, err.code)
    assert.equal("failed", bot:state())
  end))
end)
