-- SPDX-License-Identifier: MIT
-- Filters: what each says of a message, how they combine, and what is asked of the server.

local bots = require "spec.support.bots"
local core = require "trueconf.core"
local chat_cache = require "trueconf.api.chat_cache"
local filter = require "trueconf.filter"
local helper = require "spec.support.helper"

local html, message = bots.html, bots.message

local function passes(test, event, bot)
  return test(event, bot or event.bot) and true or false
end

local function file(mime)
  return message({ name = "a", size = 3, fileId = "f1", mimeType = mime, readyState = 2 }, { type = 202 })
end

describe("a filter", function()
  it("tells kinds of chats apart", function()
    for name, kind in pairs { private = 1, group = 2, channel = 6 } do
      for _, other in ipairs { 1, 2, 5, 6 } do
        assert.equal(kind == other, passes(filter[name], html("x", { kind = other })), name)
      end
    end
    assert.is_true(passes(filter.chat_kind("favorites", "p2p"), html("x", { kind = 5 })))
    assert.is_true(passes(filter.chat "c1", html "x"))
    assert.is_false(passes(filter.chat { "c2" }, html "x"))
  end)

  it("knows authors by id and by login, in any case and with an instance", function()
    local msg = html("x", { author = { id = "Mira@chat.acme.test/77", type = 1 } })
    for _, id in ipairs { "mira", "MIRA@chat.acme.test", "mira@chat.acme.test/1" } do
      assert.is_true(passes(filter.author(id), msg), id)
    end
    assert.is_false(passes(filter.author("mira@other.test", "anna"), msg))
    assert.is_true(passes(filter.author "kim", { added_by = { id = "kim@x" }, chat_id = "c1" }))
    assert.is_false(passes(filter.author "kim", { command = "yes" }))
  end)

  it("tells contents apart", function()
    for mime, kind in pairs { ["image/png"] = "photo", ["video/mp4"] = "video", ["sticker/webp"] = "sticker",
      ["application/pdf"] = "document" } do
      for _, name in ipairs { "photo", "video", "sticker", "document" } do
        assert.equal(name == kind, passes(filter[name], file(mime)), mime .. " " .. name)
      end
      assert.is_true(passes(filter.file, file(mime)))
      assert.is_false(passes(filter.plain, file(mime)))
    end
    assert.is_true(passes(filter.plain, html "x"))
    local original = { messageId = "m0", type = 200, content = { text = "x", parseMode = "text" } }
    local forwarded = message(original, { type = 201 })
    assert.is_true(passes(filter.forwarded, forwarded))
    assert.is_false(passes(filter.plain, forwarded))
    assert.is_true(passes(filter.system, message({ userId = "u" }, { type = 1 })))
    assert.is_true(passes(filter.survey, message({ title = "t", url = "u" }, { type = 204 })))
  end)

  it("sees mentions, answers and commands", function()
    local mention = '<a href="trueconf:%s">X</a> hello'
    assert.is_true(passes(filter.mention, html(mention:format "Herald@chat.acme.test")))
    assert.is_false(passes(filter.mention, html(mention:format "anna@chat.acme.test")))
    assert.is_true(passes(filter.everybody, html "hello @all"))
    assert.is_false(passes(filter.everybody, html "hello"))
    assert.is_true(passes(filter.reply, html("x", { replyMessageId = "m0" })))
    assert.is_false(passes(filter.reply, html "x"))
    local function answer_to(author)
      return html("x", { replyMessageId = "m0", replyMessage = { messageId = "m0", chatId = "c1", type = 200,
        timestamp = 1, author = { id = author, type = 1 }, content = { text = "y", parseMode = "text" } } })
    end
    assert.is_true(passes(filter.reply_to_me, answer_to "herald@chat.acme.test"))
    assert.is_false(passes(filter.reply_to_me, answer_to "mira@chat.acme.test"))
    assert.is_true(passes(filter.command, html "/help"))
    assert.is_false(passes(filter.command, html "help"))
    assert.is_false(passes(filter.command, { command = "clicked" }))
  end)

  it("finds patterns in what a person sees, and asks functions", function()
    assert.is_true(passes(filter.text "^a < b$", html "a &lt; <b>b</b>"))
    assert.is_false(passes(filter.text "lt", html "a &lt; b"))
    assert.is_true(passes(filter.text(function(text) return #text == 3 end), html "abc"))
    local object = { match = function(_, text) return text:match "(b)(c)" end }
    assert.same({ "b", "c", n = 2 }, filter.finder(object, "it", 1) "abc")
    assert.is_false(passes(filter.text(object), html "xyz"))
    assert.is_false(passes(filter.text ".*", file "image/png"))
    assert.same({ "12", "x" }, filter.finder("(%d+)(x)", "it", 1) "a12x")
  end)

  describe("combines", function()
    local yes, no = filter.new(function() return true end), filter.new(function() return nil end)
    local function plain_yes() return true end

    it("by and, or and not, with plain functions on either side", function()
      for _, case in ipairs {
        { yes & no, false }, { yes & yes, true }, { yes | no, true }, { no | no, false }, { ~yes, false },
        { ~no, true },
        { yes & plain_yes, true }, { plain_yes & no, false }, { plain_yes | no, true }, { ~(no | plain_yes), false },
        { yes & ~no & plain_yes, true },
      } do
        assert.equal(case[2], passes(case[1], {}))
      end
    end)

    it("without asking more than it must", function()
      local function never() error "asked" end
      assert.is_false(passes(no & never, {}))
      assert.is_true(passes(yes | never, {}))
    end)

    it("nothing but filters and functions", function()
      for _, case in ipairs {
        { function() return yes & 5 end, "number" }, { function() return "x" | yes end, "string" },
      } do
        local ok, mistake = pcall(case[1])
        assert.is_false(ok)
        assert.matches("bot/filter_spec.lua:%d+: filter: a filter or a function expected, got a " .. case[2], mistake)
      end
    end)
  end)

  it("is made with arguments that are checked", function()
    local function fails(pattern, make, ...)
      local ok, mistake = pcall(make, ...)
      assert.is_false(ok)
      assert.matches(pattern, mistake)
    end
    fails("filter.chat_kind: there is no 'party'", filter.chat_kind, "party")
    fails("filter.role: there is no 'boss'", filter.role, "boss")
    fails("filter.author: at least one string expected", filter.author)
    fails("filter.author: a string expected, got a number", filter.author, 5)
    fails("filter.text: malformed pattern", filter.text, "[x")
    fails("filter.text: a pattern or a function expected, got nil", filter.text)
    fails("a filter or a function expected, got nil", filter.new)
  end)
end)

describe("what filters ask the server", function()
  -- A bot that answers by a table and counts the questions.
  local function asked(answers)
    local bot = { asked = 0, chat_cache = false, engine = false }
    bot.log = { warn = function(log) log.warned = true end }
    return setmetatable(bot, { __index = function(_, name)
      return function(self, ...)
        self.asked = self.asked + 1
        return answers[name](...)
      end
    end })
  end

  it("is the kind of a chat once, where the message does not say", function()
    local bot = asked { get_chat_by_id = function() return { chat_id = "c1", chat_type = 2 } end }
    local msg = html("x", { chat = { chatId = "c1" }, bot = bot })
    for _ = 1, 3 do assert.is_true(passes(filter.group, msg, bot)) end
    assert.equal(1, bot.asked)
  end)

  it("is a role once a minute, and again when it has changed", function()
    core.virtual_time(true, 0, 1)
    local role = "admin"
    local bot = asked { get_chat_participant = function() return { role = role } end }
    local admin, msg = filter.role("owner", "admin"), html("x", { bot = bot })
    for _ = 1, 3 do assert.is_true(passes(admin, msg, bot)) end
    assert.equal(1, bot.asked)
    role = "user"
    core.advance(61)
    assert.is_false(passes(admin, msg, bot))
    role = "owner"
    chat_cache.notice(bot, "changeParticipantRole", { chat_id = "c1" })
    assert.is_true(passes(admin, msg, bot))
    assert.equal(3, bot.asked)
    core.virtual_time(false)
  end)

  it("is a list of participants on servers that have nothing better", function()
    local bot = asked {
      get_chat_participant = function() return nil, { name = "UNSUPPORTED" } end,
      participants = function()
        local list = {
          { user_id = "anna@chat.acme.test", role = "user" }, { user_id = "Mira@chat.acme.test", role = "owner" },
        }
        return function() return table.remove(list, 1) end
      end,
    }
    assert.is_true(passes(filter.role "owner", html("x", { bot = bot }), bot))
  end)

  it("counts as no when it cannot tell", function()
    local bot = asked { get_chat_participant = function() return nil, { name = "TIMEOUT" } end }
    assert.is_false(passes(filter.role "owner", html("x", { bot = bot }), bot))
    assert.is_true(bot.log.warned)
    bot = asked { get_chat_participant = function() return nil, { name = "USER_IS_NOT_CHAT_PARTICIPANT" } end }
    assert.is_false(passes(filter.role "owner", html("x", { bot = bot }), bot))
    assert.is_nil(bot.log.warned)
  end)

  for _, version in ipairs { "5.5.6", "5.5.2" } do
    it("works against a server of " .. version, bots.case(function(bot)
      bot:on_message(filter.group & filter.role "owner", function(msg) assert(msg:answer "owner") end)
      bot:on_message(filter.group & filter.role "admin", function(msg) assert(msg:answer "admin") end)
      bot:on_message(filter.group, function(msg) assert(msg:answer "user") end)
    end, function(case)
      local group = case.mira:create_group "Ops"
      assert(group:add "herald")
      local kim = case.server:person "kim"
      assert(group:add "kim")
      assert(group:say "who am I?")
      assert.equal("owner", bots.hear(case.mira))
      local kims = kim:chat(group.id)
      local function kim_is(expected)
        assert(kims:say "and I?")
        return helper.eventually(function()
          local heard = kim:wait_message(bots.LIMIT)
          return heard and heard.text == expected
        end, bots.LIMIT)
      end
      kim_is "user"
      assert(group:set_role("kim", "admin"))
      kim_is "admin"
    end, { bridge = { version = version } }))
  end
end)
