-- SPDX-License-Identifier: MIT
-- Lists that come by pages, and the activity that is kept alive.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local scripted = require "spec.support.scripted"
local trueconf = require "trueconf"

local CHAT = "c1"

local function chat(id)
  return { chatId = id, title = id, chatType = 2, unreadMessages = 0 }
end

local function message(number, position)
  return { messageId = "m" .. number .. (position or ""), chatId = CHAT, timestamp = 1000 - number, type = 200,
    author = { id = "mira@test", type = 1 }, box = { id = number, position = position or "0" },
    content = { text = "text " .. number, parseMode = "text" } }
end

local function page(...)
  return { chatId = CHAT, count = select("#", ...), messages = json.array { ... } }
end

describe("a client", function()
  local server
  setup(function() server = scripted.start() end)
  teardown(function() server:stop() end)

  local function answered(payloads, body)
    return helper.async(function()
      local client, name = server:client(scripted.answers(payloads))
      helper.finally(function() client:stop() end, body, client, name)
    end)
  end

  local function payloads(name)
    local list = {}
    for place, frame in ipairs(server:frames(name)) do list[place] = frame.payload end
    return list
  end

  local function collect(iterator, field)
    local list = {}
    for item in iterator do list[#list + 1] = item[field] end
    return list
  end

  it("lists its chats until a page is empty, each once", answered({
    { chat "a", chat "b" }, { chat "b", chat "c" }, json.array {},
  }, function(client, name)
    assert.same({ "a", "b", "c" }, collect(client:chats { count = 2 }, "chat_id"))
    assert.same({ { count = 2, page = 1 }, { count = 2, page = 2 }, { count = 2, page = 3 } }, payloads(name))
  end))

  it("asks for no page before it is needed", answered({ { chat "a", chat "b" } }, function(client, name)
    for found in client:chats() do
      if found.chat_id == "b" then break end
    end
    assert.same({ { count = 50, page = 1 } }, payloads(name))
  end))

  it("lists participants, and stops at a server that knows no pages", answered({
    { participants = { { userId = "mira@test", role = "owner" }, { id = "kim@test", role = "user" } } },
    { participants = { { userId = "mira@test", role = "owner" }, { id = "kim@test", role = "user" } } },
  }, function(client, name)
    assert.same({ "mira@test", "kim@test" }, collect(client:participants(CHAT), "user_id"))
    assert.same({ chatId = CHAT, pageSize = 100, pageNumber = 2 }, payloads(name)[2])
  end))

  describe("going back in the history", function()
    it("sorts the pages and leaves out what it had", answered({
      page(message(7), message(9), message(8)), page(message(6), message(7), message(5)), page(message(5)),
    }, function(client, name)
      assert.same({ "text 9", "text 8", "text 7", "text 6", "text 5" },
        collect(client:history(CHAT, { count = 3 }), "text"))
      assert.same({
        { chatId = CHAT, count = 3 }, { chatId = CHAT, count = 3, fromMessageId = "m7" },
        { chatId = CHAT, count = 3, fromMessageId = "m5" },
      }, payloads(name))
    end))

    it("sorts by box, then by position", answered({
      page(message(7, "9"), message(7, "10"), message(8)), page(),
    }, function(client)
      assert.same({ "m8", "m710", "m79" }, collect(client:history(CHAT), "id"))
    end))

    it("advances by one at a time too, though the anchor comes again", answered({
      page(message(2)), page(message(2), message(1)), page(message(1)),
    }, function(client, name)
      assert.same({ "m2", "m1" }, collect(client:history(CHAT, { count = 1 }), "id"))
      assert.equal(2, payloads(name)[2].count)
    end))

    it("begins where it is told", answered({ page(message(2)), page(message(2)) }, function(client, name)
      assert.same({ "m2" }, collect(client:history(CHAT, { from = "m2" }), "id"))
      assert.equal("m2", payloads(name)[1].fromMessageId)
    end))

    it("gets past what makes no sense", answered({
      page(7, { messageId = 7 }, message(4), "x", json.array { message(9) }, { messageId = "odd", chatId = 7, box = "x",
        content = "none", author = 7, type = "x", timestamp = "soon" }, {}, message(3)),
      page(message(2), { chatId = CHAT, box = { id = "x", position = {} } }), page(7, "x"), page(),
    }, function(client)
      assert.same({ "m4", "m3", "odd", "m2" }, collect(client:history(CHAT), "id"))
    end))

    it("takes messages without a place", answered({
      page({ messageId = "a", chatId = CHAT, timestamp = 1 }, { messageId = "b", chatId = CHAT, timestamp = 2 },
        { chatId = CHAT, timestamp = 3 }), page(),
    }, function(client)
      assert.same({ "b", "a" }, collect(client:history(CHAT), "id"))
    end))
  end)

  it("ends a loop by raising the error that came", answered({ page(message(1)), { errorCode = 304 } },
    function(client)
      local seen = {}
      local ok, err = pcall(function()
        for found in client:history(CHAT) do seen[#seen + 1] = found.id end
      end)
      assert.is_false(ok)
      assert.same({ "m1" }, seen)
      assert.is_true(trueconf.Error.is(err))
      assert.equal("CHAT_NOT_FOUND", err.name)
    end))

  it("is particular about options of a list", function()
    local client = trueconf.client { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    local ok, err = pcall(function() client:chats { size = 3 } end)
    assert.is_false(ok)
    assert.matches("pages_spec%.lua:%d+: chats: unknown option 'size'", err)
  end)

  describe("that keeps an activity alive", function()
    it("sends it again when it fades, until it is closed", answered({
      { chatId = CHAT, activityType = "typing", retryAfter = 1 },
      { chatId = CHAT, activityType = "typing", retryAfter = 60000 },
    }, function(client, name)
      do
        local _ <close> = client:keep_typing(CHAT)
        helper.eventually(function() return #payloads(name) == 2 end)
      end
      assert.same({ chatId = CHAT, activityType = "typing" }, payloads(name)[2])
    end))

    it("can be closed twice, and before it began", answered({
      { chatId = CHAT, activityType = "uploading_file", retryAfter = 60000 },
    }, function(client, name)
      local typing = client:keep_typing(CHAT, "uploading_file")
      typing:close()
      typing:close()
      helper.eventually(function() return #payloads(name) == 1 end)
      assert.equal("uploading_file", payloads(name)[1].activityType)
    end))

    it("leaves a server alone that does not know it", answered({ { errorCode = 104 } }, function(client, name)
      local _ <close> = client:keep_typing(CHAT)
      helper.eventually(function() return #payloads(name) == 1 and core.stats().coroutines <= 1 end)
    end))

    it("is particular about what is shown", function()
      local client = trueconf.client { url = "ws://127.0.0.1:1", token = "t", log = "off" }
      assert.has_error(function() client:keep_typing(7) end)
      local ok, err = pcall(function() client:keep_typing(CHAT, "singing") end)
      assert.is_false(ok)
      assert.matches("pages_spec%.lua:%d+: keep_typing: bad argument 'activity': one of typing", err)
    end)
  end)
end)
