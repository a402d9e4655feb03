-- SPDX-License-Identifier: MIT
-- Notifications other than messages, as events of a bot.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local log = require "trueconf.log"
local protocol = require "trueconf.protocol"
local scripted = require "spec.support.scripted"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

local push = scripted.push

local CHAT, MESSAGE, USER = "c1", "m1", "mira@chat.acme.test"
local BY = { id = USER, type = 1 }

local CREATED = { chatId = CHAT, title = "Ops", chatType = 2, lastMessage = json.null, unreadMessages = 0 }
local CREATED_EVENT = { chat_id = CHAT, title = "Ops", chat_type = 2, kind = "group", unread_messages = 0 }

-- Of each notification: the name of its event, a payload, and the event it makes.
local NOTIFICATIONS = {
  editMessage = { "edit_message",
    { chatId = CHAT, timestamp = 1, content = { text = "<b>x</b>", parseMode = "html" } },
    { chat_id = CHAT, timestamp = 1, content = { text = "<b>x</b>", parse_mode = "html" } } },
  removeMessage = { "remove_message", { chatId = CHAT, messageId = MESSAGE, removedBy = BY },
    { chat_id = CHAT, message_id = MESSAGE, removed_by = BY } },
  createP2PChat = { "create_p2p_chat", { chatId = CHAT, title = USER, chatType = 1, lastMessage = json.null },
    { chat_id = CHAT, title = USER, chat_type = 1, kind = "p2p", unread_messages = 0 } },
  createGroupChat = { "create_group_chat", CREATED, CREATED_EVENT },
  createChannel = { "create_channel", CREATED, CREATED_EVENT },
  createFavoritesChat = { "create_favorites_chat",
    { chatId = CHAT, title = json.null, chatType = 5, lastMessage = json.null, unreadMessages = 0 },
    { chat_id = CHAT, chat_type = 5, kind = "favorites", unread_messages = 0 } },
  addChatParticipant = { "add_chat_participant", { chatId = CHAT, userId = USER, timestamp = 1, addedBy = BY },
    { chat_id = CHAT, user_id = USER, timestamp = 1, added_by = BY } },
  removeChatParticipant = { "remove_chat_participant", { chatId = CHAT, userId = USER, timestamp = 1, removedBy = BY },
    { chat_id = CHAT, user_id = USER, timestamp = 1, removed_by = BY } },
  changeParticipantRole = { "change_participant_role", { chatId = CHAT, userId = USER, timestamp = 1, role = 1 },
    { chat_id = CHAT, user_id = USER, timestamp = 1, role = "admin" } },
  removeChat = { "remove_chat", { chatId = CHAT }, { chat_id = CHAT } },
  clearHistory = { "clear_history", { chatId = CHAT, forAll = "true" }, { chat_id = CHAT, for_all = true } },
  editChatTitle = { "edit_chat_title", { chatId = CHAT, title = "Ops" }, { chat_id = CHAT, title = "Ops" } },
  editChatAvatar = { "edit_chat_avatar", { chatId = CHAT, avatarUrl = json.null }, { chat_id = CHAT } },
  getFileUploadLimits = { "file_upload_limits", { maxSize = 5, extensions = { mode = "allow", list = { ".PDF" } } },
    { max_size = 5, extensions = { mode = "allow", list = { "pdf" } } } },
  uploadFileProgress = { "upload_file_progress", { infoHash = "f1", progress = 10, more = true },
    { file_id = "f1", progress = 10, more = true } },
}

local CLICK = {
  commandSource = { type = "inlineKeyboard", buttonId = "y", message = {
    messageId = MESSAGE, chat = { chatId = CHAT, chatTitle = json.null, chatType = 1 }, timestamp = 1,
    author = { id = "herald@test", type = 1 }, type = 200, content = { text = "Deploy?", parseMode = "text" },
  } },
  commandPayload = { type = "userCommand", command = "deploy", customData = "r17" },
}

local function message(id, text)
  return { messageId = id, chatId = CHAT, timestamp = 1, type = 200, author = BY, isEdited = false,
    box = { id = 1, position = "0" }, content = { text = text, parseMode = "text" } }
end

describe("events", function()
  local server
  setup(function() server = scripted.start() end)
  teardown(function() server:stop() end)

  -- Run the body with a bot that was told this; `prepare` sets its handlers before it starts.
  local function told(steps, prepare, body, given)
    return helper.async(function()
      local script = { table.unpack(steps) }
      script[#script + 1] = "silent"
      local options = { before = prepare }
      for key, value in pairs(given or {}) do options[key] = value end
      local bot, name = server:bot(script, options)
      helper.finally(function() bot:stop(1) end, body, bot, name)
    end)
  end

  -- The numbers of the server's requests that were acknowledged so far.
  local function acked(name)
    local ids = {}
    for _, frame in ipairs(server:frames(name)) do
      if frame.type == 2 then ids[#ids + 1] = frame.id end
    end
    return ids
  end

  local function eventually_acked(name, count)
    return helper.eventually(function()
      local ids = acked(name)
      return #ids == count and ids
    end)
  end

  it("are there for each notification of the schema", function()
    local bot = trueconf.bot { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    for name in pairs(protocol.notifications) do
      local event = name == "sendMessage" and "message" or name == "command" and "command" or NOTIFICATIONS[name][1]
      assert.has_no.errors(function() bot:on(event, print) end)
    end
  end)

  it("need a name and a function", function()
    local bot = trueconf.bot { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    local function fails(pattern, ...)
      local ok, complaint = pcall(bot.on, bot, ...)
      assert.is_false(ok)
      assert.matches(pattern, complaint)
    end
    fails("on: unknown event 'edit_mesage', did you mean 'edit_message'%?", "edit_mesage", print)
    fails("on: the name of an event expected, got nil", nil, print)
    fails("on: a function expected, got nil", "edit_message")
    assert.has_error(function() bot:on_unknown(7) end)
  end)

  for method, case in pairs(NOTIFICATIONS) do
    local name, payload, expected = table.unpack(case)
    local seen
    it("tell of " .. method, told({ push(1, method, payload) }, function(bot)
      seen = core.waiter()
      bot:on(name, function(event) seen:wake(event) end)
    end, function(_, script)
      assert.same(expected, seen:wait(5))
      assert.same({ 1 }, eventually_acked(script, 1))
    end))
  end

  it("tell of a click what a script wants to know", (function()
    local seen
    return told({ push(1, "command", CLICK) }, function(bot)
      seen = core.waiter()
      bot:on("command", function(event) seen:wake(event) end)
    end, function()
      local click = seen:wait(5)
      assert.same({ "deploy", "r17", "y", CHAT },
        { click.command, click.custom_data, click.button_id, click.chat_id })
      assert.same({ MESSAGE, CHAT, "Deploy?" }, { click.message.id, click.message.chat_id, click.message.text })
      assert.equal("y", click.command_source.button_id)
    end)
  end)())

  it("come as messages do for the name \"message\"", (function()
    local seen
    return told({ push(1, "sendMessage", message("m1", "hello")) }, function(bot)
      seen = core.waiter()
      bot:on("message", function(msg) seen:wake(msg.text) end)
    end, function() assert.equal("hello", seen:wait(5)) end)
  end)())

  it("without a handler are acknowledged at once", told({
    push(1, "editMessage", {}), push(2, "removeChat", { chatId = CHAT }), push(3, "fireworks", { a = 1 }),
  }, nil, function(_, name) assert.same({ 1, 2, 3 }, eventually_acked(name, 3)) end))

  it("that are unknown can be had as they are", (function()
    local seen
    return told({ push(1, "fireworks", { howMany = 3 }) }, function(bot)
      seen = core.waiter()
      bot:on_unknown(function(method, payload) seen:wake(method, payload) end)
    end, function(_, name)
      local method, payload = seen:wait(5)
      assert.equal("fireworks", method)
      assert.same({ howMany = 3 }, payload)
      assert.same({ 1 }, eventually_acked(name, 1))
    end)
  end)())

  it("are acknowledged when the handler has finished, in order with the messages of the chat", (function()
    local heard, gate
    return told({
      push(1, "editChatTitle", { chatId = CHAT, title = "Ops" }), push(2, "sendMessage", message("m1", "after it")),
      push(3, "editChatTitle", { chatId = "c2", title = "other chat" }),
    }, function(bot)
      heard, gate = {}, core.waiter()
      bot:on("edit_chat_title", function(event)
        if event.chat_id == CHAT then gate:wait() end
        heard[#heard + 1] = event.title
      end)
      bot:on_message(function(msg) heard[#heard + 1] = msg.text end)
    end, function(_, name)
      assert.same({ 3 }, eventually_acked(name, 1))
      assert.same({ "other chat" }, heard)
      gate:wake()
      assert.same({ 3, 1, 2 }, eventually_acked(name, 3))
      assert.same({ "other chat", "Ops", "after it" }, heard)
    end)
  end)())

  it("are acknowledged by the bot also where messages are by hand", (function()
    return told({ push(1, "removeChat", { chatId = CHAT }) }, function(bot)
      bot:on("remove_chat", function() end)
    end, function(_, name) assert.same({ 1 }, eventually_acked(name, 1)) end, { ack = "manual" })
  end)())

  it("cost only their handler when it fails", (function()
    local failure
    return told({ push(1, "removeChat", { chatId = CHAT }), push(2, "removeChat", { chatId = CHAT }) }, function(bot)
      failure = core.waiter()
      bot:on("remove_chat", function() error "oops" end)
      bot:on_error(function(err, _, event) failure:wake(err, event) end)
    end, function(_, name)
      local err, event = failure:wait(5)
      assert.matches("oops$", err)
      assert.same({ chat_id = CHAT }, event)
      assert.same({ 1, 2 }, eventually_acked(name, 2))
    end)
  end)())

  it("are named in the log when their handler fails", (function()
    local lines = {}
    local kept = log.new { level = "error", sink = function(_, text) lines[#lines + 1] = text end }
    return told({ push(1, "removeChat", { chatId = CHAT }), push(2, "fireworks", {}) }, function(bot)
      bot:on("remove_chat", function() error "oops" end)
      bot:on_unknown(function() error "no" end)
    end, function()
      helper.eventually(function() return #lines == 2 end)
      table.sort(lines)
      assert.matches("^error while handling the event fireworks: .*no", lines[1])
      assert.matches("^error while handling the event remove_chat: .*oops", lines[2])
    end, { log = kept })
  end)())

  it("that are damaged become dead letters, acknowledged, counted and not handed over", (function()
    local lines = {}
    local seen
    return told({
      push(1, "editChatTitle", { chatId = CHAT }), push(2, "editChatTitle", { chatId = 7, title = "x" }),
      push(3, "editChatTitle", json.array { 1 }), push(4, "command", { commandSource = {}, commandPayload = 1 }),
      push(5, "editChatTitle", { chatId = CHAT, title = "fine" }),
    }, function(bot)
      seen = core.waiter()
      bot:on("edit_chat_title", function(event) seen:wake(event.title) end)
      bot:on("command", function() error "it must not come here" end)
    end, function(bot, name)
      assert.equal("fine", seen:wait(5))
      assert.same({ 1, 2, 3, 4, 5 }, eventually_acked(name, 5))
      assert.equal(4, behind(bot).client.session:stats().garbage)
      local letters = bot:dead_letters()
      assert.equal(4, #letters)
      assert.same({ "editChatTitle", { chatId = CHAT }, 0 },
        { letters[1].method, json.decode(letters[1].text), letters[1].tries })
      assert.matches("missing field 'title'", letters[1].error)
      assert.matches("bad field 'commandPayload'", letters[4].error)
      assert.matches("editChatTitle of the server cannot be read, .*dead letter now, .*missing field 'title'", lines[1])
      assert.equal(2, #lines)           -- one of each kind
      local again, err = bot:requeue(letters[1].id)
      assert.is_nil(again)
      assert.matches("it cannot be read: .*missing field 'title'", err.message)
      assert.equal(4, #bot:dead_letters())
      behind(bot).persistence.store:put("dead_letters", "later",
        { method = "editChatTitle", text = '{"chatId":"c","title":"later"}', at = 1 })
      seen = core.waiter()
      assert.is_true(bot:requeue "later")
      assert.equal("later", seen:wait(5))
      assert.equal(4, #bot:dead_letters())
    end, { log = log.new { level = "warn", sink = function(_, text) lines[#lines + 1] = text end } })
  end)())

  it("may have values nobody knows yet", (function()
    local seen
    return told({ push(1, "changeParticipantRole", { chatId = CHAT, userId = USER, role = "captain", timestamp = 1 }) },
      function(bot)
        seen = core.waiter()
        bot:on("change_participant_role", function(event) seen:wake(event.role) end)
      end, function() assert.equal("captain", seen:wait(5)) end)
  end)())

  it("of limits are kept, unless they make no sense", told({
    push(1, "getFileUploadLimits", { maxSize = 7, extensions = { mode = "block", list = { ".EXE", "bat" } } }),
    push(2, "getFileUploadLimits", { maxSize = 0 }), push(3, "getFileUploadLimits", { maxSize = -1 }),
    push(4, "getFileUploadLimits", { maxSize = 8, extensions = { mode = "deny", list = {} } }),
    push(5, "getFileUploadLimits", { maxSize = 8, extensions = { mode = "allow", list = "pdf" } }),
  }, nil, function(bot, name)
    assert.same({ 1, 2, 3, 4, 5 }, eventually_acked(name, 5))
    assert.same({ max_size = 7, extensions = { mode = "block", list = { "exe", "bat" } } }, bot:upload_limits())
  end))

  it("wait for an awaited message to be one", (function()
    local answered
    return told({
      push(1, "sendMessage", message("m1", "/order")), { "take" },
      { "answer", 1, { chatId = CHAT, messageId = "q", timestamp = 1 } },
      push(2, "editChatTitle", { chatId = CHAT, title = "no answer" }), push(3, "sendMessage", message("m2", "large")),
    }, function(bot)
      answered = core.waiter()
      bot:on_message(function(msg) answered:wake(assert(msg:ask "Which size?").text) end)
      bot:on("edit_chat_title", function() end)
    end, function() assert.equal("large", answered:wait(5)) end)
  end)())
end)
