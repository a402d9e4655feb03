-- SPDX-License-Identifier: MIT
-- Handlers that fail, hang, yield or are too many: each costs only itself, and its chat goes on.

local bots = require "spec.support.bots"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

local LIMIT = bots.LIMIT

-- The chats with the bot of some people.
local function chats_of(case, count)
  local people = {}
  for i = 1, count do
    local person = case.server:person("p" .. i)
    people[i] = { person = person, chat = person:chat_with "herald" }
  end
  return people
end

describe("handlers at work", function()
  it("are no more than max_handlers, and the rest has its turn", bots.case(function(bot, case)
    case.at_work, case.most, case.handled = 0, 0, 0
    bot:on_message(function(msg)
      case.at_work = case.at_work + 1
      case.most = math.max(case.most, case.at_work)
      core.sleep(0.005)
      case.at_work, case.handled = case.at_work - 1, case.handled + 1
      assert(msg:answer(msg.text))
    end)
  end, function(case)
    local people = chats_of(case, 12)
    for _, one in ipairs(people) do
      for i = 1, 3 do assert(one.chat:say(tostring(i))) end
    end
    for _, one in ipairs(people) do
      for i = 1, 3 do assert.equal(tostring(i), bots.hear(one.person)) end
    end
    assert.equal(3, case.most)
    assert.equal(36, case.handled)
  end, { max_handlers = 3 }))

  it("do not count while they wait for a person", bots.case(function(bot)
    bot:on_message(function(msg)
      local answer = assert(msg:ask "name?")
      assert(msg:answer("hello " .. answer.text))
    end)
  end, function(case)
    local people = chats_of(case, 5)
    for _, one in ipairs(people) do
      assert(one.chat:say "hi")
      assert.equal("name?", bots.hear(one.person))
    end
    for i, one in ipairs(people) do
      assert(one.chat:say("n" .. i))
      assert.equal("hello n" .. i, bots.hear(one.person))
    end
  end, { max_handlers = 1 }))

  it("get the answers they wait for although there is no room", bots.case(function(bot, case)
    case.busy, case.release = core.waiter(), core.waiter()
    bot:on_text("^long$", function(msg)
      case.busy:wake()
      case.release:wait(LIMIT)
      assert(msg:answer "released")
    end)
    bot:on_message(function(msg)
      local answer = assert(msg:ask "name?")
      assert(msg:answer("hello " .. answer.text))
    end)
  end, function(case)
    local people = chats_of(case, 2)
    assert(people[1].chat:say "hi")
    assert.equal("name?", bots.hear(people[1].person))
    assert(people[2].chat:say "long")
    case.busy:wait(LIMIT)
    assert(people[1].chat:say "anna")
    assert.equal("hello anna", bots.hear(people[1].person))
    case.release:wake()
    assert.equal("released", bots.hear(people[2].person))
  end, { max_handlers = 1 }))

  it("get an answer, and the chats beside it go on, when room comes for both at once", bots.case(function(bot, case)
    case.busy, case.release = core.waiter(), core.waiter()
    bot:on_command("long", function()
      case.busy:wake()
      case.release:wait(LIMIT)
    end)
    bot:on_text("^name$", function(msg)
      local answer = assert(msg:ask("name?", { commands = true }))
      assert(msg:answer("hello " .. answer.text))
    end)
    bot:on_message(function(msg) assert(msg:answer(msg.text)) end)
  end, function(case)
    local people = chats_of(case, 3)
    assert(people[1].chat:say "name")
    assert.equal("name?", bots.hear(people[1].person))
    assert(people[1].chat:say "/long")
    case.busy:wait(LIMIT)
    assert(people[1].chat:say "anna")
    for place = 2, 3 do assert(people[place].chat:say "beside it") end
    helper.eventually(function() return behind(case.bot).queue.waiting == 3 end)
    case.release:wake()
    assert.equal("hello anna", bots.hear(people[1].person))
    for place = 2, 3 do assert.equal("beside it", bots.hear(people[place].person)) end
  end, { max_handlers = 1 }))

  it("wait for room over a stop and a start", bots.case(function(bot, case)
    case.begun, case.release = core.waiter(), core.waiter()
    bot:on_message(function(msg)
      case.begun:wake()
      case.release:wait(LIMIT)
      assert(msg:answer(msg.text))
    end)
  end, function(case)
    local people = chats_of(case, 2)
    assert(people[1].chat:say "one")
    case.begun:wait(LIMIT)
    assert(people[2].chat:say "two")
    assert(people[2].chat:say "three")
    helper.eventually(function() return select(1, behind(case.bot).queue:counts()) == 2 end)
    assert.equal(1, behind(case.bot).queue.ready:count()) -- a chat, not each of its messages
    core.timer(0.02, function() case.release:wake() end)
    case.bot:stop()
    assert.equal("one", bots.hear(people[1].person))
    case.bot:start()
    assert.equal("two", bots.hear(people[2].person))
    assert.equal("three", bots.hear(people[2].person))
  end, { max_handlers = 1 }))
end)

describe("the queue of a bot", function()
  -- Tables and numbers, texts and booleans in them, without metatables: another machine can have them.
  local function is_plain(value)
    if type(value) ~= "table" then return type(value) ~= "function" and type(value) ~= "userdata" end
    for name, inner in pairs(value) do
      if not is_plain(name) or not is_plain(inner) then return false end
    end
    return getmetatable(value) == nil
  end

  it("gets plain data", bots.case(function(bot, case)
    case.items = {}
    local queue = behind(bot).queue
    local take = queue.take
    function queue.take(self, batch)
      for _, item in ipairs(batch) do
        assert(is_plain(item))
        case.items[#case.items + 1] = item.method or item.payload.content.text
      end
      return take(self, batch)
    end
    bot:on_message(function(msg)
      assert(msg:answer("well?", { buttons = { { { type = "command", label = "go", command = "go" } } } }))
    end)
    bot:on_click("^go$", function(click) assert(click.bot:send_message(click.chat_id, "clicked")) end)
  end, function(case)
    assert(case.chat:say "hello")
    local answer = assert(case.mira:wait_message(LIMIT))
    assert(case.mira:click(answer, "go"))
    assert.equal("clicked", bots.hear(case.mira))
    assert.same({ "hello", "command" }, case.items)
  end))

  it("keeps a chat for the handler that has acknowledged by hand, until that ends", bots.case(function(bot, case)
    case.log, case.release = {}, core.waiter()
    bot:on_message(function(msg)
      table.insert(case.log, "begin " .. msg.text)
      assert(msg:ack())
      if msg.text == "one" then case.release:wait(LIMIT) end
      table.insert(case.log, "end " .. msg.text)
    end)
  end, function(case)
    local one = assert(case.chat:say "one")
    assert(one:wait_read_by("herald", LIMIT))
    assert(case.chat:say "two")
    local queue = behind(case.bot).queue
    helper.eventually(function() return queue.waiting == 1 end)
    case.release:wake(true)
    helper.eventually(function() return #case.log == 4 end)
    assert.same({ "begin one", "end one", "begin two", "end two" }, case.log)
  end, { ack = "manual" }))
end)

describe("a handler", function()
  -- A bot whose first message meets `bad`, and all others are answered; what is logged, and what on_error gets.
  local function survives(bad, check, options)
    local log, lines = bots.log()
    local given = { log = log }
    for name, value in pairs(options or {}) do given[name] = value end
    local before = given.prepare
    given.prepare = nil
    return bots.case(function(bot, case)
      if before then before(case) end
      case.lines = lines
      bot:on_text("^bad$", bad)
      case.line = debug.getinfo(1, "l").currentline - 1
      bot:on_message(function(msg) assert(msg:answer(msg.text)) end)
    end, function(case)
      local trouble = assert(case.chat:say "bad")
      assert.equal("next", bots.ask(case, "next"))
      assert(trouble:wait_read_by("herald", LIMIT))
      helper.eventually(function() return behind(case.bot).dispatch.working == 0 end)
      check(case)
    end, given)
  end

  local function count(lines, pattern)
    local n = 0
    for _, line in ipairs(lines) do
      if line:find(pattern) then n = n + 1 end
    end
    return n
  end

  it("that raises is told of with the place where it was registered", survives(function()
    error "oh"
  end, function(case)
    assert.equal(1, count(case.lines, "^error while handling message %S+ of %S+ in the handler of "
      .. "spec/bot/dispatch_spec.lua:" .. case.line .. ": .*oh"))
  end))

  it("that raises is told of without the place where its traceback has that", function()
    local log, lines = bots.log()
    bots.case(function(bot)
      bot:on_text("^bad$", function() error "oh" end)
    end, function(case)
      assert(case.chat:say "bad")
      helper.eventually(function() return lines[1] end)
      assert.matches("^error while handling message %S+ of %S+: .*oh", lines[1])
    end, { log = log })()
  end)

  it("that raises is told of to on_error, place included", function()
    local told
    local function on_error(err, traceback, msg, place) told = { err, traceback, msg.text, place } end
    local log = bots.log()
    bots.case(function(bot)
      bot:on_message(function() error { code = 7 } end)
      bot:on_error(on_error)
    end, function(case)
      assert(case.chat:say "bad")
      helper.eventually(function() return told end)
      assert.same({ code = 7 }, told[1])
      assert.matches("traceback", told[2])
      assert.equal("bad", told[3])
      assert.matches("^spec/bot/dispatch_spec.lua:%d+$", told[4])
    end, { log = log })()
  end)

  it("of an event that raises is told of by the event's name, and on_error gets the event", function()
    local log, lines = bots.log()
    local told = {}
    bots.case(function(bot)
      bot:on("edit_message", function() error "oh" end)
      bot:on_error(function(_, _, event, place)
        told[#told + 1] = { event, place }
        error "not told"                -- so that the log is
      end)
    end, function(case)
      local message = assert(case.chat:say "one")
      helper.eventually(function() return #case.server:unread "herald" == 0 end)
      assert(case.chat:edit(message, "two"))
      helper.eventually(function() return #lines == 2 end)
      assert.equal("two", told[1][1].content.text)
      assert.matches("^spec/bot/dispatch_spec.lua:%d+$", told[1][2])
      assert.matches("^error in the error handler: .*not told", lines[1])
      assert.matches("^error while handling the event edit_message: spec/bot/dispatch_spec.lua:%d+: oh", lines[2])
    end, { log = log })()
  end)

  it("that never returns is warned of, then closed, and its <close> variables run", function()
    local closed = 0
    survives(function()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      core.waiter():wait()
    end, function(case)
      assert.equal(1, closed)
      assert.matches("working on message %S+ of %S+ for 0.1 s; it is closed at 0.2 s. It waits here: stack trace",
        case.lines[1])
      assert.matches("TIMEOUT: the handler was closed after 0.2 s.*bot/dispatch_spec.lua", case.lines[2])
      assert.equal(2, #case.lines)
    end, { handler_timeout = 0.2 })()
  end)

  it("that waits for an answer of the server is closed as well", function()
    survives(function(msg)
      msg.bot:call("getChats", { count = 1, page = 1 }, { timeout = 60 })
    end, function(case)
      assert.equal(1, count(case.lines, "TIMEOUT: the handler was closed after"))
      assert.equal(1, core.stats().pending) -- what waits for this case to end
    end, { handler_timeout = 0.2, prepare = function(case) case.server:fault { silence = { getChats = 1 } } end })()
  end)

  it("that fails while it is closed is told of twice", function()
    survives(function()
      local _ <close> = setmetatable({}, { __close = function() error "cannot close" end })
      core.sleep(60)
    end, function(case)
      assert.equal(1, count(case.lines, "TIMEOUT: the handler was closed"))
      local reported = helper.reported_errors()
      assert.equal(1, #reported)
    end, { handler_timeout = 0.1 })()
  end)

  it("may take its time while it waits for a person", bots.case(function(bot)
    bot:on_message(function(msg)
      core.sleep(0.15)
      local answer = assert(msg:ask "name?")
      core.sleep(0.15)
      assert(msg:answer("hello " .. answer.text))
    end)
  end, function(case)
    assert.equal("name?", bots.ask(case, "hi"))
    core.sleep(0.3)
    assert.equal("hello mira", bots.ask(case, "mira"))
  end, { handler_timeout = 0.25 }))

  it("that hangs after an answer lets go of that, too", bots.case(function(bot)
    bot:on_text("^ask$", function(msg)
      assert(msg:ask "name?")
      core.sleep(1000)
    end)
    bot:on_message(function(msg) assert(msg:answer("you said " .. msg.text)) end)
  end, function(case)
    assert.equal("name?", bots.ask(case, "ask"))
    local answer = assert(case.chat:say "anna")
    assert.equal("you said next", bots.ask(case, "next"))
    assert(answer:wait_read_by("herald", LIMIT))
  end, { handler_timeout = 0.1 }))

  it("has no deadline if that is 0", function()
    bots.case(function(bot)
      bot:on_message(function(msg)
        core.sleep(0.05)
        assert(msg:answer "done")
      end)
    end, function(case)
      assert.equal("done", bots.ask(case, "hi"))
      assert.is_falsy(behind(case.bot).dispatch.watched)
    end, { handler_timeout = 0 })()
  end)

  it("that yields by itself is given up", function()
    survives(function() coroutine.yield "mine" end, function(case)
      helper.eventually(function() return #case.lines == 1 end)
      assert.matches("CANCELLED: the handler did not end by itself", case.lines[1])
      local reported = helper.reported_errors()
      assert.equal(1, #reported)
      assert.matches("coroutine.yield called outside of a waiting function", reported[1])
    end)()
  end)

  for name, bad in pairs {
    ["in a loop"] = function() while true do end end,
    ["in a loop that catches all errors"] = function()
      while true do pcall(function() while true do end end) end
    end,
    ["in a callback of Lua's"] = function() ("x"):gsub(".", function() while true do end end) end,
  } do
    it("that never lets go, " .. name .. ", is ended", function()
      local closed = 0
      survives(function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        bad()
      end, function(case)
        helper.eventually(function() return #case.lines == 1 end)
        assert.equal(1, closed)
        local told = table.concat(helper.reported_errors(), "\n") .. case.lines[1]
        assert.matches("has blocked the loop for 0.2 s", told)
        assert.matches("bot/dispatch_spec.lua", told)
      end, { busy_timeout = 0.2 })()
    end)
  end

  it("that floods the log with the same error is rate limited", function()
    local log, lines = bots.log()
    bots.case(function(bot)
      bot:on_text("^a", function() error "the same" end)
      bot:on_text("^b", function(msg) error(msg.text) end)
      bot:on_text("^end", function(msg) assert(msg:answer "end") end)
    end, function(case)
      for i = 1, 50 do assert(case.chat:say("a" .. i)) end
      for i = 1, 3 do assert(case.chat:say("b" .. i)) end
      assert.equal("end", bots.ask(case, "end"))
      assert.equal(1, count(lines, "the same"))
      assert.equal(3, count(lines, "spec/bot/dispatch_spec.lua:%d+: b%d"))
    end, { log = log })()
  end)
end)

describe("a log throttle", function()
  it("is said once a minute, with how often it was not said", function()
    local log_throttle = require("trueconf.base.log_throttle").new()
    core.virtual_time(true, 0, 1)
    assert.equal(0, log_throttle:may_say "x")
    for _ = 1, 5 do assert.is_nil(log_throttle:may_say "x") end
    assert.equal(0, log_throttle:may_say "y")
    core.advance(61)
    assert.equal(5, log_throttle:may_say "x")
    core.virtual_time(false)
  end)

  it("is told with the next error of its kind", function()
    local log, lines = bots.log()
    local bot = trueconf.bot { url = "ws://127.0.0.1:1", token = "t", log = log }
    core.virtual_time(true, 0, 1)
    for _ = 1, 2 do behind(bot).dispatch:report({ err = "oh", traceback = "here" }, nil, "x.lua:1") end
    core.advance(61)
    behind(bot).dispatch:report({ err = "oh", traceback = "here" }, nil, "x.lua:1")
    core.virtual_time(false)
    assert.same({
      "error while handling a change of state in the handler of x.lua:1: here",
      "error while handling a change of state in the handler of x.lua:1, 1 more like this since the last one: here",
    }, lines)
  end)

  it("is rate limited by the source of the handler, too, and told of by what has failed", function()
    local log, lines = bots.log()
    local bot = trueconf.bot { url = "ws://127.0.0.1:1", token = "t", log = log }
    local dispatch = behind(bot).dispatch
    for n = 1, 2 do dispatch:report({ err = "oh", traceback = "here" }, nil, "x.lua:" .. n, "a posted message") end
    dispatch:report({ err = "oh", traceback = "here" }, { event = {}, method = "novelty" }, "x.lua:3")
    assert.same({
      "error while handling a posted message in the handler of x.lua:1: here",
      "error while handling a posted message in the handler of x.lua:2: here",
      "error while handling the event novelty in the handler of x.lua:3: here",
    }, lines)
  end)
end)
