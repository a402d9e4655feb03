-- SPDX-License-Identifier: MIT
-- trueconf tail, as a process, at a Bridge.

local command = require "spec.support.command"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local system = require "spec.support.system"

local LIMIT = 10

local function with_bridge(fn, options)
  return helper.async(function()
    local server = system.start_bridge(options)
    fn(server)
    server:stop()
  end)
end

-- A tail that is connected.
local function watch(server, ...)
  local tail = command.start({ "tail", ... }, { environment = command.herald(server:url()) })
  helper.eventually(function() return tail:errors():find("watching as herald@localhost\n", 1, true) end)
  return tail
end

local function lines_of(tail, number)
  return helper.eventually(function()
    local lines = {}
    for line in tail:output():gmatch "[^\n]*\n" do lines[#lines + 1] = line:sub(1, -2) end
    return #lines >= number and lines
  end)
end

describe("trueconf tail", function()
  it("shows events as lines, and ends well on a signal", with_bridge(function(server)
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    for _, signal in ipairs { "INT", "TERM" } do
      local tail <close> = watch(server, "--event", "message")
      assert(chat:say("two\nlines \27[31m"))
      assert(chat:send_file("plan.txt", "some bytes"))
      local lines = lines_of(tail, 2)
      assert.matches("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d  message  " .. chat.id
        .. "  mira@localhost: two\\nlines \\x1b%[31m$", lines[1])
      assert.matches("mira@localhost: %[plan%.txt, 10 bytes%]$", lines[2])
      assert.equal(0, tail.child:kill(signal), tail:errors())
    end
  end))

  it("leaves messages unread for the bot, and does not show what waited", with_bridge(function(server)
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local before = assert(chat:say "before")
    local tail <close> = watch(server, "--event", "message")
    local seen = assert(chat:say "seen")
    assert.matches("seen$", lines_of(tail, 1)[1])
    assert.equal(0, tail.child:kill "INT", tail:errors()) -- in good order: acks that there were would have left before
    assert.equal(2, #server:unread "herald")
    local bot, heard = system.bot(server), {}
    bot:on_message(function(msg) heard[#heard + 1] = msg.id end)
    bot:start()
    helper.eventually(function() return #heard == 2 end)
    assert.same({ before.id, seen.id }, heard)
    assert(seen:wait_read_by("herald", LIMIT))
    bot:stop()
  end))

  it("acknowledges everything but messages", with_bridge(function(server)
    local asked, acked = {}, {}
    local stop = server:watch(function(report)
      local frame = report.kind == "frame" and json.decode(report.text)
      if frame and report.direction == "out" and frame.type == 1 then asked[frame.id] = frame.method end
      local method = frame and report.direction == "in" and frame.type == 2 and asked[frame.id]
      if method then acked[method] = true end
    end)
    local tail <close> = watch(server, "--json")
    local chat = server:person("mira"):chat_with "herald"
    assert(chat:remove(assert(chat:say "hello")))
    helper.eventually(function() return acked.removeMessage end) -- which came behind the message
    stop()
    local told = {}
    for _, line in ipairs(lines_of(tail, 4)) do told[assert(json.decode(line)).event] = true end
    assert.is_true(told.message and told.remove_message and told.file_upload_limits)
    assert.is_nil(acked.sendMessage)
    assert.is_true(acked.getFileUploadLimits)
  end))

  it("writes JSON with the payload as it came", with_bridge(function(server)
    local tail <close> = watch(server, "--json", "--event", "message", "--count", "2")
    local chat = server:person("mira"):chat_with "herald"
    local message = assert(chat:say "ü <b>")
    assert(chat:say "again")
    assert.equal(0, tail.child:wait(LIMIT), tail:errors())
    local lines = lines_of(tail, 2)
    assert.equal(2, #lines)
    local told = assert(json.decode(lines[1]))
    assert.same({ "message", "sendMessage", chat.id }, { told.event, told.method, told.chat_id })
    assert.equal(message.id, told.payload.messageId)
    assert.equal("ü &lt;b&gt;", told.payload.content.text)
  end))

  it("shows what is asked for", with_bridge(function(server)
    local mira = server:person "mira"
    local one, two = mira:chat_with "herald", server:person("otto"):chat_with "herald"
    local tail <close> = watch(server, "--chat", two.id, "--event", "message", "--event", "remove_message", "--json",
      "--count", "2")
    assert(one:say "not this")
    local message = assert(two:say "this")
    assert(two:edit(message, "changed, not this"))
    assert(two:remove(message))
    assert.equal(0, tail.child:wait(LIMIT), tail:errors())
    local names = {}
    for _, line in ipairs(lines_of(tail, 2)) do table.insert(names, assert(json.decode(line)).event) end
    assert.same({ "message", "remove_message" }, names)
  end))

  it("comes back after a lost connection", with_bridge(function(server)
    local chat = server:person("mira"):chat_with "herald"
    local tail <close> = watch(server, "--event", "message")
    server:drop "herald"
    helper.eventually(function() return tail:errors():find("connected again", 1, true) end)
    assert.matches("trueconf tail: DISCONNECTED[^\n]*; trying again\n", tail:errors())
    assert(chat:say "there again")
    assert.matches("there again$", lines_of(tail, 1)[1])
  end))

  it("ends when nobody reads", with_bridge(function(server)
    local chat = server:person("mira"):chat_with "herald"
    local options = { environment = command.herald(server:url()), wrap = "sh -c %s' | head -n 1'" }
    local tail <close> = command.start({ "tail" }, options)
    helper.eventually(function() return tail:errors():find("watching", 1, true) end)
    assert(chat:say "one")
    lines_of(tail, 1)
    helper.eventually(function()
      assert(chat:say "more")
      return tail.child:status()
    end)
    assert.equal(0, tail.child:status(), tail:errors())
  end))

  it("ends well on a signal while it connects", helper.async(function()
    local silent = require "socket".bind("127.0.0.1", 0)
    local _, port = silent:getsockname()
    local settings = { TRUECONF_URL = "ws://127.0.0.1:" .. port, TRUECONF_TOKEN = "t" }
    local tail <close> = command.start({ "tail" }, { environment = settings })
    helper.eventually(function()
      silent:settimeout(0)
      return silent:accept()
    end)
    assert.equal(0, tail.child:kill "INT", tail:errors())
    assert.equal("", tail:output() .. tail:errors())
    silent:close()
  end))

  it("gives no orders to a terminal, in lines or in JSON", helper.async(function()
    local TEXT = "\u{9b}31mred\u{202e}txt.exe\u{2028}\127"
    local payload = ('{"chatId":"c1","messageId":"m1","type":200,"author":{"id":"mira%s@h"},\n'
      .. '"content":{"text":"%s \xff"},"x%s":1}'):format(TEXT, TEXT, TEXT)
    local listener = assert(core.listen {
      websocket_paths = { "/websocket/chat_bot/" },
      on_frame = function(connection, text)
        local frame = assert(json.decode(text))
        if frame.method ~= "auth" then return end
        connection:send(('{"type":2,"id":%d,"payload":{"userId":"herald@localhost/1"}}'):format(frame.id))
        connection:send(('{"type":1,"id":1,"method":"sendMessage","payload":%s}'):format(payload))
      end,
    })
    local environment = { TRUECONF_URL = "ws://localhost:" .. listener:port(), TRUECONF_TOKEN = "t" }
    for _, arguments in ipairs { { "tail" }, { "tail", "--json" } } do
      local tail <close> = command.start(arguments, { environment = environment })
      local line = lines_of(tail, 1)[1]
      assert.is_truthy(utf8.len(line))
      for _, order in ipairs { "%c", "\u{9b}", "\u{202e}", "\u{2028}" } do assert.not_matches(order, line) end
      if arguments[2] then assert.same(json.receive(payload), json.decode(line).payload) end
      tail.child:kill "INT"
    end
    listener:close()
  end))

  it("takes what it does not understand as it is", helper.async(function()
    local odd = {
      { "sendMessage", '{"chatId":"c1","messageId":"m1","type":202,"timestamp":1e99,"content":{"size":"x"}}' },
      { "sendMessage", '{"chatId":"c1","messageId":["m2"],"author":"nobody","content":7}' },
      { "becomeTea", '{"chatId":"c1","kind":"\\u001b[2Jgreen"}' },
      { "editChatAvatar", '{"chatId":"c1","avatarUrl":"https://chat.acme.test/avatar?key=s3cret"}' },
      { "becomeTea", "[]" },
      { "removeChat", '{"chatId":"c2"}' },
    }
    local listener
    listener = assert(core.listen {
      websocket_paths = { "/websocket/chat_bot/" },
      on_frame = function(connection, text)
        local frame = assert(json.decode(text))
        if frame.method ~= "auth" then return end
        connection:send(('{"type":2,"id":%d,"payload":{"userId":"herald@localhost/1"}}'):format(frame.id))
        for id, entry in ipairs(odd) do
          connection:send(('{"type":1,"id":%d,"method":"%s","payload":%s}'):format(id, table.unpack(entry)))
        end
      end,
    })
    local url = "ws://localhost:" .. listener:port()
    local tail <close> = command.start({ "tail" }, { environment = { TRUECONF_URL = url, TRUECONF_TOKEN = "t" } })
    local lines = lines_of(tail, 6)
    assert.matches("message  c1  : %[type 202%]$", lines[1])
    assert.matches("c1", lines[2])
    assert.matches("becomeTea  c1  kind=\\x1b%[2Jgreen$", lines[3])
    assert.matches("edit_chat_avatar  c1  avatar_url=https://chat%.acme%.test/avatar%?%*%*%*$", lines[4])
    assert.matches("becomeTea  %-$", lines[5])
    assert.matches("remove_chat  c2$", lines[6])
    assert.equal(0, tail.child:kill "INT", tail:errors())
    listener:close()
  end))

  it("says what is wrong", with_bridge(function(server)
    for _, case in ipairs {
      { 4, {}, { TRUECONF_PASSWORD = "wr0ng" }, "AUTH_FAILED" },
      { 3, {}, { TRUECONF_URL = "ws://localhost:" .. system.free_port() }, "REFUSED" },
      { 2, { "--event", "mesage" }, {}, "'%-%-event': unknown event 'mesage', did you mean 'message'%?; see" },
      { 2, { "--count", "0" }, {}, "'%-%-count' must be a number above 0, got '0'" },
      { 2, { "now" }, {}, "too many arguments" },
    } do
      local expected, arguments, environment, pattern = table.unpack(case)
      for name, value in pairs(command.herald(server:url())) do environment[name] = environment[name] or value end
      local code, output, errors = command.run({ "tail", table.unpack(arguments) }, { environment = environment })
      assert.same({ expected, "" }, { code, output })
      assert.matches("^trueconf tail: [^\n]*" .. pattern .. "[^\n]*\n$", errors)
    end
  end))
end)
