-- SPDX-License-Identifier: MIT
-- Middleware around handlers and around calls, and the middleware that comes with the module.

local bots = require "spec.support.bots"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local middleware = require "trueconf.middleware"
local router = require "trueconf.bot.router"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

local hello = bots.html("hello", { kind = 1 })

local function enter(root, event, method)
  return router.enter(behind(root), { bot = root, event = event or hello, method = method or "sendMessage" })
end

describe("middleware", function()
  it("goes around the handlers, the first one outermost", function()
    local root, way = trueconf.router(), {}
    local function note(text) way[#way + 1] = text end
    for _, name in ipairs { "a", "b" } do
      root:use(function(_, next)
        note(name .. " before")
        note(("%s after %s"):format(name, next()))
      end)
    end
    root:on_message(function() note "handler" end)
    assert.is_true(enter(root))
    assert.same({ "a before", "b before", "handler", "b after true", "a after true" }, way)
  end)

  it("takes what it does not let through", function()
    local root = trueconf.router()
    root:use(function() end)
    root:on_message(function() error "never" end)
    assert.is_true(enter(root))
  end)

  it("sees what the handlers raise", function()
    local root, seen = trueconf.router(), nil
    root:use(function(_, next)
      local ok, err = pcall(next)
      seen = not ok and err
    end)
    root:on_message(function() error({ code = 7 }) end)
    enter(root)
    assert.same({ code = 7 }, seen)
  end)

  it("says next() once", function()
    local root = trueconf.router()
    root:use(function(_, next)
      next()
      next()
    end)
    root:on_message(function() end)
    assert.error_matches(function() enter(root) end, "next%(%) was called before by the middleware of spec/bot/middle")
  end)

  it("shares notes with the handlers of one message, and data with all", bots.case(function(bot)
    bot.data.count = 0
    bot:use(function(msg, next)
      msg.state.tag = "tagged"
      bot.data.count = bot.data.count + 1
      next()
    end)
    bot:on_message(function(msg) assert(msg:answer(("%s %d"):format(msg.state.tag, bot.data.count))) end)
  end, function(case)
    assert.equal("tagged 1", bots.ask(case, "a"))
    assert.equal("tagged 2", bots.ask(case, "b"))
  end))
end)

describe("the middleware", function()
  local function passes(layer, event)
    local passed = false
    layer(event, function() passed = true end, {})
    return passed
  end

  it("allow lets only those on its list pass", function()
    local allow = middleware.allow { users = { "mira" }, chats = { "c2" } }
    assert.is_true(passes(allow, hello))
    assert.is_false(passes(allow, bots.html("x", { author = { id = "anna@x" } })))
    assert.is_true(passes(allow, { chat_id = "c2" }))
    assert.is_false(passes(allow, { chat_id = "c1", command = "click" }))
    assert.is_true(passes(middleware.allow { users = { "mira" }, anonymous = true }, { chat_id = "c1" }))
    assert.is_false(passes(middleware.allow {}, hello))
    assert.error_matches(function() middleware.allow { user = {} } end, "unknown option 'user', did you mean 'users'")
  end)

  it("guard says why not", bots.case(function(bot)
    bot:use(middleware.guard(function(msg) return msg.text ~= "secret" end, "Not for you."))
    bot:on_message(function(msg) assert(msg:reply "yes") end)
  end, function(case)
    assert.equal("yes", bots.ask(case, "open"))
    assert.equal("Not for you.", bots.ask(case, "secret"))
  end))

  it("roles asks who somebody is", bots.case(function(bot)
    local moderation = trueconf.router()
    bot:mount(moderation)
    moderation:use(middleware.roles { "owner", "admin", refuse = "Not for you." })
    moderation:on_command("close", function(msg) assert(msg:reply "closed") end)
  end, function(case)
    local kim = case.server:person "kim"
    local group = kim:create_group "Ops"
    assert(group:add "herald")
    assert(group:add "mira")
    local miras = case.mira:chat(group.id)
    assert(miras:say "/close")
    helper.eventually(function() return bots.hear(case.mira) == "Not for you." end)
    assert(group:set_role("mira", "admin"))
    assert(miras:say "/close")
    helper.eventually(function() return bots.hear(case.mira) == "closed" end)
  end))

  describe("rate_limit", function()
    before_each(function() core.virtual_time(true, 0, 1) end)
    after_each(function() core.virtual_time(false) end)

    local function from(login, chat_id)
      return bots.html("x", { author = { id = login .. "@x", type = 1 }, chatId = chat_id })
    end

    it("lets so many pass at once, and then one after another", function()
      local limit = middleware.rate_limit { count = 3, seconds = 6 }
      local function passed(count)
        local n = 0
        for _ = 1, count do n = n + (passes(limit, from "mira") and 1 or 0) end
        return n
      end
      assert.equal(3, passed(5))
      core.advance(1)
      assert.equal(0, passed(1))
      core.advance(1)
      assert.equal(1, passed(2))
      core.advance(100)
      assert.equal(3, passed(5))
      assert.is_true(passes(limit, from "anna"))
    end)

    it("tells of those too many, and which is the first", function()
      local told = {}
      local limit = middleware.rate_limit { count = 1, seconds = 4,
        on_limit = function(msg, wait, first) told[#told + 1] = { msg.author, wait, first } end }
      passes(limit, from "mira")
      passes(limit, from "mira")
      core.advance(1)
      passes(limit, from "mira")
      core.advance(4)
      passes(limit, from "mira")
      passes(limit, from "mira")
      assert.same({ { "mira@x", 4.0, true }, { "mira@x", 3.0, false }, { "mira@x", 4.0, true } }, told)
    end)

    it("counts by chat or by what a function says", function()
      local by_text = middleware.rate_limit { count = 1, seconds = 9, by = function(msg) return msg.text end }
      assert.is_true(passes(by_text, from "mira"))
      assert.is_false(passes(by_text, from "anna"))
      local by_chat = middleware.rate_limit { count = 1, seconds = 9, by = "chat" }
      assert.is_true(passes(by_chat, from "mira"))
      assert.is_false(passes(by_chat, from "anna"))
    end)

    it("keeps so many buckets and no more, and lets other events pass", function()
      local limit = middleware.rate_limit { count = 1, seconds = 9, max_buckets = 10 }
      for i = 1, 1000 do assert.is_true(passes(limit, from("u" .. i))) end
      assert.is_false(passes(limit, from "u1000"))
      assert.is_true(passes(limit, from "u1"))
      for _ = 1, 3 do assert.is_true(passes(limit, { chat_id = "c1", author = "u1" })) end
    end)

    it("needs to know how many", function()
      assert.error_matches(function() middleware.rate_limit { seconds = 1 } end, "option 'count' is required")
      assert.error_matches(function() middleware.rate_limit { count = 1, seconds = 1, by = "moon" } end,
        "option 'by' must be 'user', 'chat' or a function")
    end)
  end)
end)

describe("around calls", function()
  it("functions see, change, repeat and refuse them", bots.case(function(bot, case)
    case.seen = {}
    bot:use_call(function(call, next)
      local answer, err = next()
      case.seen[#case.seen + 1] = call.method .. (err and " " .. err.name or "")
      return answer, err
    end)
    bot:use_call(function(call, next)
      if call.method ~= "sendMessage" then return next() end
      local content = call.payload.content
      if content.text == "refuse" then return nil, trueconf.Error.new("CANCELLED", "refused") end
      if content.text == "forget" then return end
      if content.text == "twice" then next() end
      content.text = content.text .. "!"
      return next()
    end)
    bot:on_message(function(msg)
      local _, err = msg:answer(msg.text)
      if err then assert(msg:answer(err.message)) end
    end)
  end, function(case)
    assert.equal("hello!", bots.ask(case, "hello"))
    assert.equal("refused!", bots.ask(case, "refuse"))
    assert.matches("returned neither an answer nor an error, but nil!", bots.ask(case, "forget"))
    assert.equal("twice", bots.ask(case, "twice"))
    assert.equal("twice!", bots.hear(case.mira))
    assert.equal("herald", case.bot:get_user_display_name(case.bot:user_id()))
    assert.same({ "sendMessage", "sendMessage CANCELLED", "sendMessage", "sendMessage CANCELLED", "sendMessage",
      "sendMessage", "getUserDisplayName" }, case.seen)
  end))

  it("are functions, and of a client too", function()
    local client = trueconf.client { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    client:use_call(function() return { userId = "x", displayName = "stand-in" } end)
    assert.equal("stand-in", client:get_user_display_name "anna@x")
    assert.error_matches(function() client:use_call(5) end, "use_call: a function expected, got a number")
  end)
end)
