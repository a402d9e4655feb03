-- SPDX-License-Identifier: MIT
-- The frames of a connection: assembling, limits, order, back-pressure, pings, and how it ends.

local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"

local async, eventually = helper.async, helper.eventually

describe("a wire", function()
  local server
  local flags = 0

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  -- A connection to a server that accepts it and then takes these steps.
  local function open(options, ...)
    local url, name = server:ws({ "accept", ... })
    options.url = url
    return assert(core.socket(options)), name
  end

  -- A connection to a listener in this process that sends everything back.
  local function echo(options, listen)
    listen = listen or {}
    listen.websocket_paths = { "/" }
    listen.on_frame = function(connection, data) connection:send(data) end
    local listener = assert(core.listen(listen))
    options.url = ("%s://127.0.0.1:%d/"):format(listen.tls and "wss" or "ws", listener:port())
    return assert(core.socket(options)), listener
  end

  local function ended(socket)
    local data, err
    repeat data, err = socket:receive(5) until not data
    assert.equal("CLOSED", err.name, tostring(err))
    return err
  end

  local function finish(socket, listener)
    socket:close()
    ended(socket)
    if listener then listener:close() end
  end

  local function flag()
    flags = flags + 1
    local name = "wire" .. flags
    return name, function() server:set { [name] = {} } end
  end

  describe("carries a message", function()
    for _, length in ipairs { 0, 1, 7, 8, 125, 126, 127, 65535, 65536, 65537, 300000 } do
      it(("of %d bytes there and back"):format(length), async(function()
        local socket, listener = echo {}
        local message = ("0123456789"):rep(length // 10 + 1):sub(1, length)
        assert(socket:send(message))
        assert.is_true(message == socket:receive(5))
        finish(socket, listener)
      end))
    end

    it("masked with a key of its own, as servers demand", async(function()
      local socket, name = open({}, { "read", 2 }, "close")
      for _ = 1, 2 do socket:send '{"a":"same text twice"}' end
      ended(socket)
      local frames = server:log(name, "frame")
      assert.same({ a = "same text twice" }, frames[1].frame)
      assert.same({ a = "same text twice" }, frames[2].frame)
    end))

    it("in fragments, with a ping in between", async(function()
      local socket, name = open({}, { "fragments", "one ", "two ", "", "three" }, "silent")
      assert.equal("one two three", socket:receive(5))
      eventually(function() return server:log(name, "pong")[1] end)
      assert.equal("between", server:log(name, "pong")[1].data)
      finish(socket)
    end))

    it("that was sent in fragments", async(function()
      local socket, listener = echo {}
      socket:send("one ", "fragment")
      socket:send("", "ping")
      socket:send("two ", "continue")
      socket:send("three", "end")
      assert.equal("one two three", socket:receive(5))
      finish(socket, listener)
    end))

    it("of binary data", async(function()
      local binary
      local listener = assert(core.listen { websocket_paths = { "/" }, on_frame = function(connection, data, is_binary)
        binary = is_binary
        connection:send(data)
      end })
      local socket = assert(core.socket { url = ("ws://127.0.0.1:%d/"):format(listener:port()) })
      socket:send("text", "text")
      assert.equal("text", socket:receive(5))
      assert.is_false(binary)
      socket:send("data", "binary")
      assert.equal("data", socket:receive(5))
      assert.is_true(binary)
      finish(socket, listener)
      socket = open({}, { "binary", "data" }, "silent")
      assert.equal("data", socket:receive(5))
      finish(socket)
    end))

    it("after message, in order, many in one turn", async(function()
      local socket, listener = echo {}
      for number = 1, 2000 do assert(socket:send(("%d"):format(number))) end
      for number = 1, 2000 do assert.equal(("%d"):format(number), socket:receive(5)) end
      finish(socket, listener)
    end))

    for _, over in ipairs { "plain TCP", "TLS" } do
      it("while large ones go both ways over " .. over, async(function()
        local certs = over == "TLS" and certificates.make() or nil
        -- No pings: on a slow machine the answers to them are long behind the blocks.
        local socket, listener = echo(
          { max_unsent = 64 << 20, ping_interval = 0, tls = certs and { ca_file = certs.ca_file, verify = false } },
          { max_unsent = 64 << 20, ping_interval = 0, tls = certs and certs:server "good" })
        local block = ("x"):rep(500000)
        for number = 1, 40 do assert(socket:send(("%02d%s"):format(number, block))) end
        for number = 1, 40 do
          local data = assert(socket:receive(10))
          assert.equal(number, tonumber(data:sub(1, 2)))
          assert.equal(500002, #data)
        end
        for number = 1, 2000 do assert(socket:send(("%d"):format(number))) end
        for number = 1, 2000 do assert.equal(("%d"):format(number), socket:receive(10)) end
        finish(socket, listener)
        if certs then certs:remove() end
      end))
    end
  end)

  describe("is bounded", function()
    it("by max_frame: one byte more closes it with 1009", async(function()
      local socket, name = open({ max_frame = 1000 }, { "big", 1000 }, { "big", 1001 }, "silent")
      assert.equal(1000, #socket:receive(5))
      local err = ended(socket)
      assert.equal(1009, err.code)
      assert.matches("1000 bytes", err.message)
      eventually(function() return server:log(name, "over")[1] end)
      assert.equal(1009, server:log(name, "close")[1].code)
    end))

    it("by max_frame also over all fragments of a message", async(function()
      local part = ("x"):rep(400)
      local socket = open({ max_frame = 1000 }, { "fragments", part, part }, { "fragments", part, part, part },
        "silent")
      assert.equal(800, #socket:receive(5))
      assert.equal(1009, ended(socket).code)
    end))

    it("by max_frame before the message is there", async(function()
      -- 2^40 bytes are announced, few of them come
      local socket = open({ max_frame = 5 }, { "raw", "817f0000010000000000" .. ("78"):rep(3000) }, "silent")
      assert.equal(1009, ended(socket).code)
    end))

    it("by max_unsent while the server does not read", async(function()
      local name, go = flag()
      local socket, log = open({ max_unsent = 1 << 20 }, { "wait", name }, "silent")
      local block, sent = ('{"a":"%s"}'):format(("x"):rep(100000)), 0
      local function fill()
        while true do
          local ok, err = socket:send(block)
          if not ok then return err end
          sent = sent + 1
          if sent % 5 == 0 then core.sleep(0.001) end
        end
      end
      assert.equal("LIMIT", fill().name)
      core.sleep(0.05) -- the kernel takes some more
      assert.equal("LIMIT", fill().name)
      assert.is_true(sent > 10)
      go()
      eventually(function() return socket:send "{}" end)
      eventually(function() return #server:log(log, "frame") == sent + 1 end)
      finish(socket)
    end))
  end)

  describe("pings", function()
    it("when asked to, and goes on while the server answers", async(function()
      local socket, name = open({ ping_interval = 0.02, pong_timeout = 0.2 }, "silent")
      eventually(function() return #server:log(name, "ping") >= 5 end)
      assert.equal("TIMEOUT", select(2, socket:receive(0)).name)
      finish(socket)
    end))

    it("and drops a server that does not answer in time", async(function()
      local socket, name = open({ ping_interval = 0.02, pong_timeout = 0.05 }, "no_pongs", "silent")
      local err = ended(socket)
      assert.equal(1006, err.code)
      assert.matches("PONG", err.message)
      assert.is_true(#server:log(name, "ping") >= 1)
      assert.is_nil(server:log(name, "close")[1])
    end))

    it("and drops a server that does not even read", async(function()
      local socket = open({ ping_interval = 0.02, pong_timeout = 0.05 }, "deaf")
      assert.matches("PONG", ended(socket).message)
    end))

    it("and waits for the PONG even if other frames come", async(function()
      local steps = { "no_pongs" }
      for _ = 1, 40 do
        steps[#steps + 1] = { "text", "busy" }
        steps[#steps + 1] = { "sleep", 0.005 }
      end
      steps[#steps + 1] = "silent"
      local socket = open({ ping_interval = 0.02, pong_timeout = 0.05 }, table.unpack(steps))
      assert.matches("PONG", ended(socket).message)
    end))

    it("not, without an interval", async(function()
      local socket, name = open({ ping_interval = 0 }, { "sleep", 0.05 }, { "text", "x" }, "silent")
      assert.equal("x", socket:receive(5))
      finish(socket)
      assert.same({}, server:log(name, "ping"))
    end))

    it("in a session: one that drops the server and comes back", async(function()
      local url = server:ws({ "accept", "auth", "no_pongs", "silent" }, { "accept", "auth", "echo" })
      local session, record = faulty.session { url = url, ping_interval = 0.02, pong_timeout = 0.05 }
      session:start()
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      local err = faulty.reason(record, "backoff")
      assert.equal("TIMEOUT", err.name)
      assert.matches("PONG", err.message)
    end))
  end)

  describe("ends", function()
    it("with the code and reason given, after everything queued has left", async(function()
      local socket, name = open({}, "silent")
      for number = 1, 50 do socket:send(('{"n":%d}'):format(number)) end
      socket:close(4001, "that is all")
      local err = ended(socket)
      assert.equal(4001, err.code)
      eventually(function() return server:log(name, "over")[1] end)
      local log = server:log(name)
      assert.equal(50, #server:log(name, "frame"))
      assert.equal("close", log[#log - 1].what)
      assert.equal(4001, log[#log - 1].code)
      assert.equal("that is all", log[#log - 1].reason)
    end))

    it("with 1000 by default, and a reason that is cut to fit", async(function()
      local socket, name = open({}, "silent")
      socket:close(nil, ("r"):rep(200))
      assert.equal(1000, ended(socket).code)
      eventually(function() return server:log(name, "over")[1] end)
      assert.equal(("r"):rep(123), server:log(name, "close")[1].reason)
    end))

    it("only after what the server still had to say", async(function()
      local name, go = flag()
      local socket = open({}, { "wait", name }, { "text", "late" }, "silent")
      socket:close()
      core.sleep(0.02)
      go()
      assert.equal("late", socket:receive(5))
      assert.equal(1000, ended(socket).code)
    end))

    for what, case in pairs {
      ["a code and a reason"] = { { 1001, "going away" }, 1001, "going away" },
      ["a code of its own"] = { { 4321 }, 4321, "4321" },
      ["neither"] = { {}, 1005, "1005" },
    } do
      it("when the server says goodbye with " .. what .. ", and answers", async(function()
        local socket, name = open({}, { "bye", table.unpack(case[1]) })
        local err = ended(socket)
        assert.equal(case[2], err.code)
        assert.matches(case[3], err.message)
        eventually(function() return server:log(name, "over")[1] end)
        local answer = server:log(name, "answer")
        assert.equal(1, #answer)
        assert.equal(case[1][1] or 0, answer[1].code)
      end))
    end

    it("with 1006 when the server just goes", async(function()
      for _, step in ipairs { "close", "reset" } do
        local socket = open({}, { "sleep", 0.01 }, step)
        assert.equal(1006, ended(socket).code)
      end
    end))

    it("with 1006 when the server goes in the middle of a message, which is not delivered", async(function()
      local socket = open({}, { "raw", "810a68656c6c" }, { "sleep", 0.01 }, "close")
      local data, err = socket:receive(5)
      assert.is_nil(data)
      assert.equal(1006, err.code)
    end))

    it("at once when it is dropped", async(function()
      local socket, name = open({}, "silent")
      socket:drop()
      assert.equal(1006, ended(socket).code)
      eventually(function() return server:log(name, "over")[1] end)
      assert.is_nil(server:log(name, "close")[1])
    end))

    -- Frames that no server may send (RFC 6455, 5.2, 5.4, 5.5, 7.4).
    for what, case in pairs {
      ["a reserved opcode"] = { 1002, "830131" },
      ["a reserved control opcode"] = { 1002, "8b00" },
      ["a reserved bit"] = { 1002, "c10131" },
      ["a masked frame"] = { 1002, "81810000000031" },
      ["a continuation of nothing"] = { 1002, "800131" },
      ["a text frame within a message"] = { 1002, "010131810132" },
      ["a control frame in fragments"] = { 1002, "090131" },
      ["a control frame of 126 bytes"] = { 1002, "897e007e" .. ("31"):rep(126) },
      ["a length that is not in its shortest form"] = { 1002, "817e000131" },
      ["a length with its highest bit set"] = { 1002, "817f8000000000000000" },
      ["a length of 2^62"] = { 1009, "817f4000000000000000" },
      ["a close frame of one byte"] = { 1002, "880103" },
      ["a close code that must not be sent"] = { 1002, "880203ed" },
      ["a close code of nobody"] = { 1002, "8802ffff" },
      ["a close reason that is not UTF-8"] = { 1007, "880403e8c328" },
      ["fragments without a byte, and without end"] = { 1008, "0100" .. ("0000"):rep(40000) },
    } do
      it("when the server sends " .. what .. ", and tells it so", async(function()
        local socket, name = open({}, { "text", "before" }, { "raw", case[2] }, "silent")
        assert.equal("before", socket:receive(5))
        local err = ended(socket)
        assert.equal(case[1], err.code)
        assert.matches(case[1] == 1009 and "bytes came" or "broke the WebSocket protocol: .*%(" .. case[1] .. "%)$",
          err.message)
        eventually(function() return server:log(name, "over")[1] end)
        local close = server:log(name, "close")
        assert.equal(1, #close)
        assert.equal(case[1], close[1].code)
      end))
    end

    it("soon when a server that has broken the protocol stays", async(function()
      local socket, name = open({}, { "raw", "c100" }, "mute")
      assert.equal(1002, ended(socket).code)
      eventually(function() return server:log(name, "over")[1] end)
    end))

    it("soon when a server goes on after it has broken the protocol, of which nothing is handed over", async(function()
      local socket = open({}, { "raw", "c100" }, { "text", "after" }, { "big", 3000000 }, "mute")
      local data, err = socket:receive(10)
      assert.is_nil(data)
      assert.equal(1002, err.code)
    end))

    for _, code in ipairs { 1000, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999 } do
      it(("with %d when the server says so, and answers that"):format(code), async(function()
        local socket, name = open({}, { "bye", code, "r" })
        assert.equal(code, ended(socket).code)
        eventually(function() return server:log(name, "over")[1] end)
        assert.equal(code, server:log(name, "answer")[1].code)
      end))
    end

    it("with what the server said although it did not wait for an answer", async(function()
      for _ = 1, 10 do
        local socket = open({}, { "raw", "81026869" .. "880603e9676f6e65" }, "close")
        assert.equal("hi", socket:receive(5))
        assert.equal(1001, ended(socket).code)
      end
    end))
  end)

  describe("answers pings", function()
    it("of one segment all, in order", async(function()
      local socket, name = open({}, { "raw", "890131890132890133890134890135890136890137890138890139890130" }, "silent")
      eventually(function() return #server:log(name, "pong") == 10 end)
      local data = {}
      for _, entry in ipairs(server:log(name, "pong")) do data[#data + 1] = entry.data end
      assert.equal("1234567890", table.concat(data))
      finish(socket)
    end))

    it("also while it waits for the answer to its close", async(function()
      local name, go = flag()
      local socket, log = open({}, { "wait", name }, { "raw", "890170" }, "read", "close")
      socket:close(4000)
      go()
      assert.equal(4000, ended(socket).code)
      eventually(function() return server:log(log, "over")[1] end)
    end))

    it("of a server that does not read: not all, but the newest", async(function()
      local name, go = flag()
      local socket, log = open({ max_unsent = 100000 }, { "pings", 60000 }, { "text", "all" }, { "wait", name },
        { "pongs", 60000 }, "silent")
      assert.equal("all", socket:receive(20))
      go()
      local pongs = eventually(function() return server:log(log, "pongs")[1] end, 20)
      assert.is_true(pongs.count < 60000, "all were answered: the server was read from")
      finish(socket)
    end))
  end)

  describe("takes text that is UTF-8", function()
    it("and closes with 1007 when the server's is not", async(function()
      for _, hex in ipairs { "8101ff", "8102c328", "0101c3800128", "8103eda080" } do
        local socket, name = open({}, { "text", "good" }, { "raw", hex }, "silent")
        assert.equal("good", socket:receive(5))
        local err = ended(socket)
        assert.equal(1007, err.code)
        assert.matches("UTF-8", err.message, 1, true)
        eventually(function() return server:log(name, "close")[1] end)
        assert.equal(1007, server:log(name, "close")[1].code)
      end
    end))

    it("and closes with 1007 when the client's is not", async(function()
      local code, reason, got
      local listener = assert(core.listen {
        websocket_paths = { "/" },
        on_frame = function(_, data) got = data end,
        on_close = function(_, at_end, why) code, reason = at_end, why end,
      })
      local socket = assert(core.socket { url = ("ws://127.0.0.1:%d/"):format(listener:port()) })
      socket:send("caf\xc3", "fragment")
      socket:send("\xa9", "end")
      eventually(function() return got == "café" end)
      socket:send("caf\xe9", "binary")
      eventually(function() return got == "caf\xe9" end)
      socket:send("caf\xe9", "text")
      assert.equal(1007, ended(socket).code)
      eventually(function() return code end)
      assert.same({ 1007, "text that is not UTF-8" }, { code, reason })
      listener:close()
    end))
  end)

  it("writes once in a turn of the loop, however many frames there are", async(function()
    local socket, name = open({}, "chunk", "silent")
    for _ = 1, 100 do socket:send "{}" end
    eventually(function() return server:log(name, "chunk")[1] end)
    assert.equal(100 * 8, server:log(name, "chunk")[1].length)
    finish(socket)
  end))
end)
