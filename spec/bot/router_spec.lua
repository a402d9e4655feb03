-- SPDX-License-Identifier: MIT
-- Routing: the order of handlers, next(), routers in routers, clicks, and the replacement of all handlers while some
-- run (hot reload).

local bots = require "spec.support.bots"
local core = require "trueconf.core"
local filter = require "trueconf.filter"
local helper = require "spec.support.helper"
local router = require "trueconf.bot.router"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

-- The way of a message through a router: the names of the handlers that ran, in order.
local function ways()
  local way = {}
  local function step(name, go_on)
    return function(_, next)
      way[#way + 1] = name
      local taken = go_on and tostring(next())
      if taken then way[#way + 1] = taken end
    end
  end
  local function take(root, event, method)
    for source in pairs(way) do way[source] = nil end
    local bot = setmetatable({ user_id = function() return bots.ME end }, { __index = root })
    local context = { bot = bot, engine = { router = behind(root) }, event = event, method = method or "sendMessage" }
    local taken = router.enter(behind(root), context)
    return table.concat(way, " ") .. (taken and "" or "!"), context
  end
  return step, take
end

local hello = bots.html("hello", { kind = 1 })

describe("a router", function()
  it("gives a message to the first handler that fits", function()
    local step, take = ways()
    local root = trueconf.router()
    root:on_message(filter.photo, step "photo")
    root:on_text("^hello$", step "hello")
    root:on_message(step "any")
    root:on_message(step "never")
    assert.equal("hello", take(root, hello))
    assert.equal("any", take(root, bots.html "other"))
    assert.equal("!", take(trueconf.router(), hello))
    assert.equal("!", take(root, { chat_id = "c1" }, "editMessage"))
  end)

  it("goes on with next(), which tells whether somebody took it", function()
    local root, called = trueconf.router(), {}
    root:on_text("hel(lo)", function(_, found, next)
      called[#called + 1] = found[1]
      local taken = next()
      called[#called + 1] = tostring(taken)
    end)
    root:on_message(filter.photo, function() called[#called + 1] = "photo" end)
    root:on_message(function(_, next)
      local taken = next()
      called[#called + 1] = "any " .. tostring(taken)
    end)
    router.enter(behind(root), { bot = root, event = hello, method = "sendMessage" })
    assert.same({ "lo", "any false", "true" }, called)
  end)

  it("has a default for what nobody took", function()
    local step, take = ways()
    local root = trueconf.router()
    root:on_text("^bye$", step "bye")
    root:default(step "default")
    assert.equal("default", take(root, hello))
    assert.equal("bye", take(root, bots.html "bye"))
    assert.equal("!", take(root, {}, "editMessage"))
  end)

  describe("inside another", function()
    it("has its turn where it was mounted, if its filter lets the message in", function()
      local step, take = ways()
      local root, inner, deep = trueconf.router(), trueconf.router(), trueconf.router()
      root:on_text("^first$", step "first")
      root:mount(inner, filter.private)
      root:on_message(step "last")
      inner:mount(deep)
      deep:on_text("^hello$", step "deep")
      inner:on_text("^inner$", step "inner")
      assert.equal("first", take(root, bots.html("first", { kind = 1 })))
      assert.equal("deep", take(root, hello))
      assert.equal("inner", take(root, bots.html("inner", { kind = 1 })))
      assert.equal("last", take(root, bots.html("other", { kind = 1 })))
      assert.equal("last", take(root, bots.html("hello", { kind = 2 })))
    end)

    it("leaves what it does not take to those behind it, outside of its middleware", function()
      local step, take = ways()
      local root, inner = trueconf.router(), trueconf.router()
      root:mount(inner)
      root:on_message(step "last")
      inner:use(step("inner", true))
      inner:on_text("^bye$", step "bye")
      assert.equal("inner false last", take(root, hello))
      assert.equal("inner bye true", take(root, bots.html "bye"))
    end)

    it("goes on behind itself when its last handler says next()", function()
      local step, take = ways()
      local root, inner = trueconf.router(), trueconf.router()
      root:mount(inner)
      root:on_message(step "last")
      inner:on_message(step("inner", true))
      assert.equal("inner last true", take(root, hello))
    end)

    it("does not see events that it has no handlers for", function()
      local step, take = ways()
      local root, inner = trueconf.router(), trueconf.router()
      root:mount(inner)
      inner:use(step("inner", true))
      root:on("edit_message", step "edit")
      assert.equal("edit", take(root, { chat_id = "c1" }, "editMessage"))
      inner:on("edit_message", step "inner edit")
      assert.equal("inner inner edit true", take(root, { chat_id = "c1" }, "editMessage"))
    end)

    it("takes all with a default of its own", function()
      local step, take = ways()
      local root, inner = trueconf.router(), trueconf.router()
      root:mount(inner, filter.private)
      root:on_message(step "last")
      inner:default(step "default")
      assert.equal("default", take(root, hello))
      assert.equal("last", take(root, bots.html("x", { kind = 2 })))
    end)

    it("cannot be inside itself", function()
      local root, inner = trueconf.router(), trueconf.router()
      root:mount(inner)
      assert.error_matches(function() inner:mount(root) end, "a router cannot be inside itself")
      assert.error_matches(function() root:mount(root) end, "a router cannot be inside itself")
      assert.error_matches(function() root:mount {} end, "a router expected, got a table")
      assert.error_matches(function() root:mount(inner, "private") end, "a filter or a function expected, got a string")
    end)
  end)

  it("knows where its handlers stand", function()
    local root = trueconf.router()
    root:on_message(function() end)
    root:use(function(_, next) next() end)
    local context = { bot = root, event = hello, method = "sendMessage" }
    root:on_click("x", print); local line = debug.getinfo(1, "l").currentline
    assert.equal(("spec/bot/router_spec.lua:%d"):format(line), behind(root).routes.list[2].source)
    router.enter(behind(root), context)
    assert.equal(("spec/bot/router_spec.lua:%d"):format(line - 2), context.source)
  end)

  it("checks what it is given, at the caller's line", function()
    local root = trueconf.router()
    for pattern, register in pairs {
      ["on_message: a function expected, got nil"] = function() root:on_message() end,
      ["on_message: a function expected, got a string"] = function() root:on_message(filter.photo, "x") end,
      ["on: unknown event 'mesage', did you mean 'message'"] = function() root:on("mesage", print) end,
      ["on_text: malformed pattern"] = function() root:on_text("[", print) end,
      ["on_click: a pattern or a function expected, got nil"] = function() root:on_click(nil, print) end,
      ["on_button: a function expected, got a number"] = function() root:on_button("x", 1) end,
      ["use: a function expected, got a table"] = function() root:use {} end,
      ["default: a function expected, got nil"] = function() root:default() end,
    } do
      local ok, mistake = pcall(register)
      assert.is_false(ok, pattern)
      assert.matches("^spec/bot/router_spec.lua:%d+: " .. pattern, mistake)
    end
  end)
end)

describe("a bot", function()
  local BUTTONS = { { { type = "command", label = "Yes", command = "deploy 17", id = "yes" },
    { type = "command", label = "No", command = "leave", id = "no" } } }

  it("routes clicks by command and by button", bots.case(function(bot)
    bot:on_message(function(msg) assert(msg:answer("Deploy?", { buttons = BUTTONS })) end)
    bot:on_click("^deploy (%d+)$", function(click, found) assert(click.message:edit("deployed " .. found[1])) end)
    bot:on_button("^no$", function(click) assert(click.message:edit "left alone") end)
  end, function(case)
    for button, expected in pairs { yes = "deployed 17", no = "left alone" } do
      assert(case.chat:say "/deploy")
      local question = assert(case.mira:wait_message(bots.LIMIT))
      assert(case.mira:click(question, button))
      helper.eventually(function()
        for _, message in ipairs(case.chat:history()) do
          if message.id == question.id then return message.text == expected end
        end
      end, bots.LIMIT)
    end
  end))

  it("routes events like messages, with the bot and notes of their own", bots.case(function(bot)
    local members = trueconf.router()
    bot:use(function(event, next)
      event.state.greeting = "Welcome, "
      next()
    end)
    bot:mount(members)
    members:on("add_chat_participant", function(event, next, with_bot)
      assert(event.bot == bot and with_bot == bot)
      if event.user_id:find "^herald" then next() else
        assert(bot:send_message(event.chat_id, event.state.greeting .. event.user_id))
      end
    end)
    bot:on("add_chat_participant", function(event) assert(bot:send_message(event.chat_id, "Hello all")) end)
  end, function(case)
    local group = case.mira:create_group "Ops"
    case.server:person "kim"
    assert(group:add "herald")
    assert.equal("Hello all", bots.hear(case.mira))
    assert(group:add "kim")
    assert.matches("^Welcome, kim", bots.hear(case.mira))
  end))

  it("exchanges all its handlers while some are at work", bots.case(function(bot, case)
    bot.data.begun, bot.data.go_on = core.waiter(), core.waiter()
    case.release = bot.data.go_on
    bot:on_message(function(msg)
      bot.data.begun:wake()
      bot.data.go_on:wait(bots.LIMIT)
      assert(msg:answer("old: " .. msg.text))
    end)
  end, function(case)
    assert(case.chat:say "one")
    case.bot.data.begun:wait(bots.LIMIT)
    local connects = behind(case.bot).client.session:stats().connects
    assert(case.chat:say "two")
    assert(case.bot:replace_handlers(function(bot)
      bot:on_message(function(msg) assert(msg:answer("new: " .. msg.text)) end)
    end))
    local ok, err = case.bot:replace_handlers(function(bot)
      bot:on_message(function() end)
      error "half of it"
    end)
    assert.is_nil(ok)
    assert.matches("half of it", err)
    case.release:wake()
    assert.equal("old: one", bots.hear(case.mira))
    assert.equal("new: two", bots.hear(case.mira))
    assert.equal(connects, behind(case.bot).client.session:stats().connects)
  end))
end)
