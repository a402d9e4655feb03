-- SPDX-License-Identifier: MIT
-- The methods of the API as a client offers them: arguments, checks before sending, answers.

local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local scripted = require "spec.support.scripted"
local trueconf = require "trueconf"

local CHAT, MESSAGE, USER = "c1", "m1", "mira@chat.acme.test"

-- One call for each method, with everything that has no default.
local CALLS = {
  send_message = { chat_id = CHAT, text = "hello" },
  edit_message = { message_id = MESSAGE, text = "hello" },
  forward_message = { chat_id = CHAT, message_id = MESSAGE },
  remove_message = { message_id = MESSAGE },
  get_message_by_id = { message_id = MESSAGE },
  get_chat_history = { chat_id = CHAT },
  clear_history = { chat_id = CHAT },
  create_p2p_chat = { user_id = USER },
  create_group_chat = { title = "Ops" },
  create_channel = { title = "News" },
  create_favorites_chat = {},
  get_chats = {},
  get_chat_by_id = { chat_id = CHAT },
  remove_chat = { chat_id = CHAT },
  edit_chat_title = { chat_id = CHAT, title = "Ops" },
  edit_chat_avatar = { chat_id = CHAT, temporal_file_id = "t1" },
  add_chat_participant = { chat_id = CHAT, user_id = USER },
  remove_chat_participant = { chat_id = CHAT, user_id = USER },
  change_participant_role = { chat_id = CHAT, user_id = USER, role = "admin" },
  get_chat_participants = { chat_id = CHAT },
  get_chat_participant = { chat_id = CHAT, user_id = USER },
  has_chat_participant = { chat_id = CHAT, user_id = USER },
  get_user_display_name = { user_id = USER },
  upload_file = { file_size = 1, file_name = "a.txt" },
  send_file = { chat_id = CHAT, temporal_file_id = "t1" },
  get_file_info = { file_id = "f1" },
  get_file_upload_limits = {},
  subscribe_file_progress = { file_id = "f1" },
  unsubscribe_file_progress = { file_id = "f1" },
  send_survey = { chat_id = CHAT, url = "https://chat.acme.test/webtools/survey", path = "p1", title = "Lunch" },
  edit_survey = { message_id = MESSAGE, path = "p1", title = "Lunch" },
  send_chat_activity = { chat_id = CHAT },
  answer_command = { command_id = "k1", answer_type = "message", message = "done" },
}

-- The line of this file that calls this.
local function here()
  return debug.getinfo(2, "l").currentline
end

-- A client that never connects: for what goes wrong before anything is sent.
local function idle_client()
  return trueconf.client { url = "ws://127.0.0.1:1", token = "t", log = "off" }
end

describe("the methods of a client", function()
  local server
  setup(function() server = scripted.start() end)
  teardown(function() server:stop() end)

  -- Run the body with a client that was answered like this, one answer to each request.
  local function answered(payloads, body, given)
    return helper.async(function()
      local client, name = server:client(scripted.answers(payloads), given)
      helper.finally(function() client:stop() end, body, client, name)
    end)
  end

  it("are all those of the schema but auth", function()
    local client = idle_client()
    for _, name in ipairs(protocol.method_order) do
      local lua_name = protocol.methods[name].lua_name
      assert.equal(name == "auth" and "nil" or "function", type(client[lua_name]), lua_name)
      if name ~= "auth" then assert.is_table(CALLS[lua_name], "no call of " .. lua_name) end
    end
  end)

  it("send what the schema wants", helper.async(function()
    local client, name = server:client({ "echo" })
    local count = 0
    for _, wire_name in ipairs(protocol.method_order) do
      local method = protocol.methods[wire_name]
      local args = CALLS[method.lua_name]
      if args then
        client[method.lua_name](client, args)
        count = count + 1
        local frame = server:frames(name)[count]
        assert.equal(wire_name, frame.method)
        local ok, mistake = protocol.check(wire_name, frame.payload, "request")
        assert.is_true(ok, mistake and mistake.message)
      end
    end
    client:stop()
  end))

  it("take their arguments by name or by place", answered({ {}, {}, {} }, function(client, name)
    client:get_chat_history { chat_id = CHAT, count = 20, from_message_id = MESSAGE }
    client:get_chat_history(CHAT, 20, MESSAGE)
    client:get_chat_history(CHAT, 20, { from_message_id = MESSAGE, timeout = 5 })
    local expected = { chatId = CHAT, count = 20, fromMessageId = MESSAGE }
    for _, frame in ipairs(server:frames(name)) do assert.same(expected, frame.payload) end
    assert.equal(3, #server:frames(name))
  end))

  -- protocol 12: what other clients always send
  it("give a survey a secret, and a link for other apps", answered({ {}, {}, {}, {} }, function(client, name)
    local url = "https://chat.acme.test/webtools/survey"
    local given = { chat_id = CHAT, url = url, path = "p/1", title = "Fish & chips" }
    client:send_survey(given)
    client:send_survey(given)
    client:edit_survey { message_id = MESSAGE, path = "p1", title = "Lunch" }
    given.secret, given.alt = "mine", "<b>Lunch</b>"
    client:send_survey(given)
    local contents = {}
    for place, frame in ipairs(server:frames(name)) do contents[place] = frame.payload.content end
    assert.matches("^" .. ("[0-9a-f]"):rep(40) .. "$", contents[1].secret)
    assert.is_false(contents[1].secret == contents[2].secret)
    assert.equal("📊 <a href='https://chat.acme.test/webtools/survey?id=p%2F1&amp;error=autologin_not_supported'>"
      .. "Fish &amp; chips</a>", contents[1].alt)
    assert.equal("📊 <a href='https://test/webtools/survey?id=p1&amp;error=autologin_not_supported'>Lunch</a>",
      contents[3].alt)
    assert.is_nil(contents[3].secret)
    assert.same({ "mine", "<b>Lunch</b>" }, { contents[4].secret, contents[4].alt })
  end))

  it("wait as long as they are told", answered({}, function(client)
    local answer, err = client:get_chats { timeout = 0.05 }
    assert.is_nil(answer)
    assert.equal("TIMEOUT", err.name)
  end))

  describe("called wrongly", function()
    local function raises(pattern, client, name, ...)
      local line
      local args = table.pack(...)
      local ok, message = pcall(function()
        line = here() + 1
        client[name](client, table.unpack(args, 1, args.n))
      end)
      assert.is_false(ok)
      assert.matches("methods_spec%.lua:" .. line .. ": " .. pattern, message)
    end

    it("say so at the caller's line", function()
      local client = idle_client()
      raises("get_chat_history: bad argument 'count': an integer expected, got a string$",
        client, "get_chat_history", CHAT, "20")
      raises("get_chat_history: missing argument 'chat_id': a string expected$", client, "get_chat_history", {})
      raises("get_chat_history: unknown argument 'chatid', did you mean 'chat_id'%?$",
        client, "get_chat_history", { chatid = CHAT })
      raises("get_chats: at most 2 arguments and a table expected, got 3$", client, "get_chats", 1, 2, 3)
      raises("edit_message: bad argument 'text': a string expected, got a boolean$",
        client, "edit_message", MESSAGE, true)
      raises("edit_message: bad argument 'parse_mode': one of text, markdown, html expected, got 'HTML'$",
        client, "edit_message", MESSAGE, "x", { parse_mode = "HTML" })
      raises("change_participant_role: bad argument 'role': one of owner, .* expected, got 'boss'$",
        client, "change_participant_role", CHAT, USER, "boss")
      raises("get_chats: bad argument 'timeout': a positive number expected, got a string$",
        client, "get_chats", { timeout = "5" })
      raises("create_p2p_chat: bad argument 'user_id': a string expected, got a number$",
        client, "create_p2p_chat", 4711)
      raises("send_message: bad argument 'buttons%[1%]%[1%]%.label': .* expected",
        client, "send_message", CHAT, "x", { buttons = { { { type = "command", command = "go", label = true } } } })
      raises("send_message: missing argument 'chat_id': a string expected$", client, "send_message", { text = "x" })
      raises("send_message: missing argument 'text': a string expected$", client, "send_message", CHAT)
      for value, got in pairs { [1e300] = "1e%+300", [1 / 0] = "inf", [1.5] = "a number with a fraction" } do
        raises("get_chats: bad argument 'count': an integer expected, got " .. got .. "$", client, "get_chats", value)
      end
      raises("get_chats: bad argument 'count': an integer expected, got NaN$", client, "get_chats", 0 / 0)
      raises("send_message: bad argument 'reply_.*': a string expected, got a number$",
        client, "send_message", CHAT, "x", nil, 7)
    end)

    it("say so too where they are made by hand", function()
      local client = idle_client()
      raises("call: bad argument 'method': a string expected, got a number$", client, "call", 7)
      raises("call: bad argument 'payload': a table expected, got a string$", client, "call", "getChats", "x")
      raises("call: options must be a table, got a number$", client, "call", "getChats", {}, 5)
      raises("call: option 'timeout' must be a number, got a string$",
        client, "call", "getChats", {}, { timeout = "5" })
      raises("call: unknown option 'time'", client, "call", "getChats", {}, { time = 5 })
      raises("wait_ready: bad argument 'timeout': a number expected, got a string$", client, "wait_ready", "5")
      raises("history: bad argument 'chat_id': a string expected, got a number$", client, "history", 7)
      raises("participants: bad argument 'chat_id': a string expected, got nil$", client, "participants")
      raises("send_file: missing argument 'chat_id': a string expected$", client, "send_file", nil, { path = "a" })
      raises("keep_typing: bad argument 'activity': one of .* expected, got 'dance'$",
        client, "keep_typing", CHAT, "dance")
    end)
  end)

  it("take whole numbers in either form", answered({ {} }, function(client, name)
    client:get_chats(10 / 2, 2.0)
    local payload = server:frames(name)[1].payload
    assert.same({ count = 5, page = 2 }, payload)
  end))

  describe("with too much", function()
    local function is_limit(pattern, answer, err)
      assert.is_nil(answer)
      assert.equal("LIMIT", err.name)
      assert.equal("not_sent", err.outcome)
      assert.matches(pattern, tostring(err))
    end

    it("fail before anything is sent", answered({}, function(client, name)
      local long = ("x"):rep(5000)
      is_limit("^LIMIT: text is 5000 visible characters, 4096 allowed$", client:send_message(CHAT, long))
      is_limit("^LIMIT: text is 5000 visible characters, 4096 allowed$",
        client:send_message(CHAT, long, { parse_mode = "html" }))
      is_limit("text is 5000 visible characters", client:edit_message(MESSAGE, long))
      is_limit("text is empty", client:send_message(CHAT, ""))
      is_limit("title is 256 characters, 255 allowed", client:create_group_chat(("x"):rep(256)))
      is_limit("count", client:get_chat_history(CHAT, 0))
      is_limit("label", client:send_message(CHAT, "x", {
        buttons = { { { type = "command", command = "go", label = ("x"):rep(33) } } },
      }))
      assert.same({}, server:frames(name))
    end, { server_version = "5.5.6" }))

    it("count characters, not bytes", answered({ { messageId = "m" } }, function(client)
      assert(client:send_message(CHAT, ("ж"):rep(4096)))
    end))
  end)

  describe("answered", function()
    it("with nothing return true", answered({ {}, json.null }, function(client)
      assert.is_true(client:remove_message(MESSAGE))
      assert.is_true(client:remove_chat(CHAT))
    end))

    it("with one thing return it", answered({
      { chatId = "c9" }, { result = false }, { result = "true" }, { displayName = "Mira" }, { uploadTaskId = "u1" },
    }, function(client)
      assert.equal("c9", client:create_group_chat "Ops")
      assert.is_false(client:has_chat_participant(CHAT, USER))
      assert.is_true(client:subscribe_file_progress "f1")
      assert.equal("Mira", client:get_user_display_name(USER))
      assert.equal("u1", client:upload_file(1, "a.txt"))
    end))

    it("with an object return it under Lua's names", answered({
      { infoHash = "f1", name = "plan.pdf", size = 2048, mimeType = "application/pdf", readyState = 2,
        downloadUrl = "x", previews = { { name = "p", mimeType = "image/webp" } }, novelty = { a = 1 } },
      { userId = USER, role = 1, type = 1 },
    }, function(client)
      assert.same({
        file_id = "f1", name = "plan.pdf", size = 2048, mime_type = "application/pdf", ready_state = 2,
        download_url = "x", previews = { { name = "p", mime_type = "image/webp" } }, novelty = { a = 1 },
      }, client:get_file_info "f1")
      assert.same({ user_id = USER, role = "admin", type = 1 }, client:get_chat_participant(CHAT, USER))
    end))

    local chat = { chatId = CHAT, title = "Ops", chatType = 2, unreadMessages = 3, lastMessage = {
      messageId = MESSAGE, chatId = CHAT, timestamp = 1, author = { id = USER, type = 1 }, type = 200,
      content = { text = "<b>hi</b>", parseMode = "html" },
    } }
    local bare = { chatId = "c2", title = "mira", chatType = 1, lastMessage = json.null }

    it("with chats return them, in either shape", answered({ { chat, bare }, { chats = { bare } }, json.array {} },
      function(client)
        local chats = assert(client:get_chats())
        assert.equal(2, #chats)
        assert.same({ "Ops", "group", 3 }, { chats[1].title, chats[1].kind, chats[1].unread_messages })
        assert.same({ MESSAGE, CHAT, "hi", USER },
          { chats[1].last_message.id, chats[1].last_message.chat_id, chats[1].last_message.text,
            chats[1].last_message.author })
        assert.same({ chat_id = "c2", title = "mira", chat_type = 1, kind = "p2p", unread_messages = 0 }, chats[2])
        assert.equal("c2", client:get_chats()[1].chat_id)
        assert.same({}, client:get_chats())
      end))

    it("with messages return what a handler gets", answered({
      { messageId = MESSAGE, chat = { chatId = CHAT, chatTitle = "Ops", chatType = 2 }, timestamp = 5, type = 200,
        author = { id = USER, type = 1 }, box = { id = 1, position = "0" },
        content = { text = "hi", parseMode = "text" } },
      { chatId = CHAT, messageId = "m2", timestamp = 6 },
    }, function(client, name)
      local message = assert(client:get_message_by_id(MESSAGE))
      assert.same({ MESSAGE, CHAT, "hi", true, false },
        { message.id, message.chat_id, message.text, message.in_group, message.is_edited })
      assert.is_false(message:ack())
      assert.has_error(function() message:ask "what?" end)
      assert(message:reply "yes")
      assert.equal(MESSAGE, server:frames(name)[2].payload.replyMessageId)
    end))

    it("with what is none say so", answered({
      {}, { result = 7 }, json.array { 1 }, { maxSize = -1 }, { displayName = json.null },
    }, function(client)
      local function is_damaged(answer, err)
        assert.is_nil(answer)
        assert.equal("PROTOCOL", err.name)
        assert.equal("unknown", err.outcome)
      end
      is_damaged(client:create_p2p_chat(USER))
      is_damaged(client:has_chat_participant(CHAT, USER))
      is_damaged(client:get_chat_by_id(CHAT))
      is_damaged(client:get_file_upload_limits())
      is_damaged(client:get_user_display_name(USER))
    end))

    it("with an error return it", answered({ { errorCode = 305 } }, function(client)
      local answer, err = client:get_chat_participant(CHAT, USER)
      assert.is_nil(answer)
      assert.same({ "USER_IS_NOT_CHAT_PARTICIPANT", "rejected", "getChatParticipant" },
        { err.name, err.outcome, err.method })
    end))

    it("with limits keep them", answered({ { maxSize = 100, extensions = { mode = "block", list = { ".EXE" } } } },
      function(client)
        assert.is_nil(client:upload_limits())
        local limits = assert(client:get_file_upload_limits())
        assert.same({ max_size = 100, extensions = { mode = "block", list = { "exe" } } }, limits)
        assert.equal(limits, client:upload_limits())
      end))
  end)

  it("send a number as its text, with the options that stand beside it", answered({
    { chatId = CHAT, messageId = "m5", timestamp = 6 },
  }, function(client, name)
    assert(client:send_message(CHAT, 42, { parse_mode = "html", reply_to = "m1" }))
    local payload = server:frames(name)[1].payload
    assert.same({ chatId = CHAT, replyMessageId = "m1", content = { text = "42", parseMode = "html" } }, payload)
  end))

  it("give what was sent, to edit and to remove", answered({
    { chatId = CHAT, messageId = "m5", timestamp = 6 }, { messageId = "m5", timestamp = 7 }, {}, {},
    { chatId = "c2", messageId = "m6", timestamp = 8, fileId = "f1", captionMessageId = "m7" },
  }, function(client, name)
    local sent = assert(client:send_message(CHAT, "one"))
    assert.same({ "m5", CHAT, 6 }, { sent.id, sent.chat_id, sent.timestamp })
    assert.same({ message_id = "m5", timestamp = 7 }, sent:edit("*two*", { parse_mode = "markdown" }))
    assert.is_true(sent:remove())
    assert.is_true(sent:remove(false))
    local file = assert(client:send_file("c2", "t1", "look"))
    assert.same({ "m6", "f1", "m7" }, { file.id, file.file_id, file.caption_message_id })
    local frames = server:frames(name)
    assert.same({ messageId = "m5", content = { text = "*two*", parseMode = "markdown" } }, frames[2].payload)
    assert.same({ messageId = "m5", forAll = true }, frames[3].payload)
    assert.same({ messageId = "m5", forAll = false }, frames[4].payload)
    assert.same({ text = "look", parseMode = "text" }, frames[5].payload.content.caption)
  end))

  describe("newer than the server", function()
    local OLD = { { "respond", 200, '{"product":{"display_name":"chat.acme.test","version":"5.5.3.10213"}}' } }

    local function is_refused(pattern, answer, err)
      assert.is_nil(answer)
      assert.same({ "UNSUPPORTED", "not_sent" }, { err.name, err.outcome })
      assert.matches(pattern, tostring(err))
    end

    it("are not sent to a server whose version was stated", answered({ {} }, function(client, name)
      is_refused("getChatParticipant needs server 5%.5%.4, this one is 5%.5%.3$",
        client:get_chat_participant(CHAT, USER))
      is_refused("a message with buttons needs server 5%.5%.6", client:send_message(CHAT, "x", {
        buttons = { { { type = "command", command = "go", label = "Go" } } },
      }))
      assert.is_true(client:clear_history(CHAT))
      assert.equal(1, #server:frames(name))
      assert.equal(0, server:version_requests(name))
    end, { server_version = "5.5.3" }))

    it("are not sent to a server that was asked, once", answered({ {} }, function(client, name)
      client:get_chats()
      assert.equal(0, server:version_requests(name))
      is_refused("this one is 5%.5%.3%.10213$", client:get_chat_participant(CHAT, USER))
      is_refused("sendChatActivity", client:send_chat_activity(CHAT))
      assert.equal("5.5.3.10213", client:server_version())
      assert.equal(1, server:version_requests(name))
    end, { info = OLD }))

    for what, info in pairs {
      ["does not answer"] = { { "respond", 404 } }, ["answers nonsense"] = { { "respond", 200, "<html>" } },
      ["hides it"] = { { "respond", 200, '{"product":{"version":"latest"}}' } }, ["hangs up"] = { { "close" } },
    } do
      it("are sent to a server that " .. what, answered({ {}, {} }, function(client, name)
        assert.is_true(client:clear_history(CHAT))
        assert.is_true(client:clear_history(CHAT))
        assert.is_nil(client:server_version())
        assert.equal(1, server:version_requests(name))
      end, { info = info }))
    end

    it("wait for the one request, whoever calls", answered({ {}, {} }, function(client, name)
      local first, second = trueconf.waiter(), trueconf.waiter()
      trueconf.spawn(function() first:wake(client:server_version()) end)
      trueconf.spawn(function() second:wake(client:server_version()) end)
      assert.same({ "5.5.3.10213", "5.5.3.10213" }, { first:wait(5), second:wait(5) })
      assert.equal(1, server:version_requests(name))
    end, { info = OLD }))

    it("need a version that is one", function()
      local ok, message = pcall(trueconf.client, { url = "ws://127.0.0.1:1", token = "t", server_version = "new" })
      assert.is_false(ok)
      assert.matches("option 'server_version' must be a version such as '5%.5%.6'$", message)
    end)
  end)
end)
