-- SPDX-License-Identifier: MIT
-- Requests of a session: ids, deadlines, the window, and what becomes of them when things go wrong.

local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local system = require "spec.support.system"

local async, eventually = helper.async, helper.eventually

describe("a request", function()
  local server
  local flags = 0

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  local OK = { "accept", "auth", "echo" }

  -- A name for the step "wait", and the function that ends the wait.
  local function flag()
    flags = flags + 1
    local name = "flag" .. flags
    return name, function() server:set { [name] = {} } end
  end

  local function start(options, ...)
    local url, name = server:ws(...)
    options.url = url
    local session = faulty.session(options)
    session:start()
    return session, name
  end

  local function ready(options, ...)
    local session, name = start(options, ...)
    assert(session:wait_ready(5))
    return session, name
  end

  -- A session at a server that authorizes it and then takes these steps.
  local function after_auth(options, ...)
    return ready(options, { "accept", "auth", ... })
  end

  -- Make a request in a coroutine; its results appear in the table returned.
  local function spawn(session, ...)
    local result = { times = 0 }
    core.spawn(function(...)
      result.payload, result.err = session:request(...)
      result.times = result.times + 1
    end, ...)
    return result
  end

  local function settled(...)
    local results = { ... }
    eventually(function()
      for _, result in ipairs(results) do
        if result.times == 0 then return false end
      end
      return true
    end, 50) -- megabytes, under valgrind too
    for _, result in ipairs(results) do assert.equal(1, result.times) end
  end

  -- The requests that arrived, as "id method".
  local function arrived(name)
    local list = {}
    for _, entry in ipairs(server:log(name, "frame")) do
      list[#list + 1] = ("%d %s"):format(entry.frame.id, entry.frame.method)
    end
    return list
  end

  describe("gets its response", function()
    it("as the value of the payload", async(function()
      local session = after_auth({}, { "read", 1 }, { "text", '{"type":2,"id":2,"payload":{ "a" : [1, "}"] }}' },
        "silent")
      assert.same({ a = { 1, "}" } }, session:request("m", "{}"))
      session:stop()
    end))

    it("also when it is an array, 0 as its errorCode, or missing", async(function()
      local session = after_auth({}, { "take", 3 }, { "answer", 1, { { chatId = "c" } } },
        { "answer", 2, { errorCode = 0, a = 1 } }, { "answer", 3 }, "silent")
      local array, zero, none = spawn(session, "a", "{}"), spawn(session, "b", "{}"), spawn(session, "c", "{}")
      settled(array, zero, none)
      assert.same({ { chatId = "c" } }, array.payload)
      assert.same({ errorCode = 0, a = 1 }, zero.payload)
      assert.same({}, none.payload)
      session:stop()
    end))

    it("wherever the payload is in its frame, and whatever else is there", async(function()
      for _, text in ipairs {
        '{"payload":{"a":[1,"}"]},"id":2,"type":2}', '{"type":2,"payload":{"a":[1,"}"]},"id":2}',
        '{"type":2,"id":77,"payload":{"a":[1,"}"]},"id":2}', '{"type":2,"id":2,"payload":7,"payload":{"a":[1,"}"]}}',
        ' {"type":2 , "id":2, "more":{"payload":{}} ,"payload" : {"a":[1,"}"]} } ',
        '{"type":2,"id":2,"p\\u0061yload":{"a":[1,"}"]}}', '{"type":2,"id":2,"x":nul,"payload":{"a":[1,"}"]}}',
      } do
        local session = after_auth({}, { "read", 1 }, { "text", text }, "silent")
        assert.same({ { a = { 1, "}" } } }, { session:request("m", "{}") }, text)
        session:stop()
      end
    end))

    it("or is told that the payload is none: the request may have been carried out", async(function()
      for payload, why in pairs {
        ["7"] = "its payload is no object", ['"errorCode"'] = "its payload is no object",
        ["false"] = "its payload is no object",
        ['{"errorCode":0,"a":1.}'] = "not JSON: digits are missing at byte 22",
        ['{"a":tru}'] = "not JSON: a value is missing at byte 6",
      } do
        local session = after_auth({}, { "read", 1 }, { "text", ('{"type":2,"id":2,"payload":%s}'):format(payload) },
          "silent")
        local results = table.pack(session:request("m", "{}"))
        assert.same({ 2, nil, "PROTOCOL", "unknown", "m", "the answer to m is damaged: " .. why }, { results.n,
          results[1], results[2].name, results[2].outcome, results[2].method, results[2].message }, payload)
        session:stop()
      end
    end))

    it("as an empty table when the payload is null", async(function()
      local session = after_auth({}, { "read", 1 }, { "text", '{"type":2,"id":2,"payload":null}' }, "silent")
      assert.same({}, session:request("m", "{}"))
      session:stop()
    end))

    it("on the main thread also when it is an error, or damaged", function()
      for payload, code in pairs { ['{"errorCode":305}'] = 305, ["7"] = false, ['{"a":tru}'] = false } do
        local session
        async(function()
          session = faulty.session { url = server:ws { "accept", "auth", { "read", 1 },
            { "text", ('{"type":2,"id":2,"payload":%s}'):format(payload) }, "silent" } }
        end)()
        session:start()
        assert(session:wait_ready(5))
        local answer, err = session:request("m", "{}")
        assert.is_nil(answer)
        assert.equal(code or nil, err.code)
        if not code then assert.equal("PROTOCOL", err.name) end
        session:stop()
        core.close()
      end
    end)

    it("whatever the order of the responses", async(function()
      local session = after_auth({}, { "take", 20 }, "answer_all", "silent")
      local results = {}
      for place = 1, 20 do results[place] = spawn(session, "m" .. place, "{}") end
      settled(table.unpack(results))
      for place, result in ipairs(results) do
        assert.same({ method = "m" .. place }, result.payload)
      end
      session:stop()
    end))

    it("on the main thread, however long it is", function()
      local session
      async(function() session = faulty.session { url = server:ws(OK) } end)()
      session:start()
      assert(session:wait_ready(5))
      local payload = json.encode { text = ("x"):rep(300000) }
      assert.same({ method = "m", payload = json.decode(payload) }, assert(session:request("m", payload)))
      session:stop()
      core.close()
    end)

    it("and leaves in the order of the calls, with ids that count up on each connection", async(function()
      local session, name = after_auth({ window = 2 }, "echo")
      local results = {}
      for place = 1, 5 do results[place] = spawn(session, "m" .. place, ('{"n":%d}'):format(place)) end
      settled(table.unpack(results))
      session:drop()
      assert(session:request("again", "{}"))
      session:stop()
      assert.same({ "1 auth", "2 m1", "3 m2", "4 m3", "5 m4", "6 m5", "1 auth", "2 again" }, arrived(name))
      assert.same({ n = 3 }, server:log(name, "frame")[4].frame.payload)
    end))

    it("that tells an error by name", async(function()
      local session = after_auth({}, { "take", 1 }, { "answer", 1, { errorCode = 304 } }, "silent")
      local results = table.pack(session:request("sendMessage", "{}"))
      local err = results[2]
      assert.same({ 2, nil, "CHAT_NOT_FOUND" }, { results.n, results[1], err.name })
      assert.equal(304, err.code)
      assert.equal("sendMessage", err.method)
      assert.equal("rejected", err.outcome)
      assert.is_false(err.retryable)
      session:stop()
    end))

    it("that tells whether asking again makes sense, and the server's own words", async(function()
      local session = after_auth({},
        { "take", 1 }, { "answer", 1, { errorCode = 300, errorDescription = ("x"):rep(60) } },
        { "take", 1 }, { "answer", 2, { errorCode = 300, errorDescription = "a disk that is \"full\"" } }, "silent")
      session:request("m", "{}")
      local _, err = session:request("m", "{}")
      assert.equal("INTERNAL_ERROR", err.name)
      assert.is_true(err.retryable)
      assert.equal('a disk that is "full"', err.message)
      session:stop()
    end))

    it("that tells a code nobody has heard of", async(function()
      local session = after_auth({}, { "take", 1 }, { "answer", 1, { errorCode = 999 } }, "silent")
      local _, err = session:request("m", "{}")
      assert.equal("SERVER", err.name)
      assert.equal(999, err.code)
      assert.equal("rejected", err.outcome)
      session:stop()
    end))
  end)

  describe("waits", function()
    it("for ready", async(function()
      local session = start({}, OK)
      assert.equal("connecting", session:state())
      assert(session:request("m", "{}"))
      assert.equal("ready", session:state())
      session:stop()
    end))

    it("for a place in the window", async(function()
      local name, go = flag()
      local session, log = after_auth({}, { "take", 64 }, { "wait", name }, { "answer", 10 }, { "take", 1 },
        "answer_all", "silent")
      local results = {}
      for place = 1, 65 do results[place] = spawn(session, "m" .. place, "{}") end
      eventually(function() return #arrived(log) == 65 end)
      local stats = session:stats()
      assert.equal(64, stats.in_flight)
      assert.equal(1, stats.queued)
      go()
      settled(table.unpack(results))
      assert.equal("66 m65", arrived(log)[66])
      stats = session:stats()
      assert.equal(0, stats.in_flight)
      assert.equal(0, stats.queued)
      assert.equal(1, stats.duplicate)
      session:stop()
    end))

    it("in a queue that is bounded", async(function()
      local name, go = flag()
      local session = after_auth({ window = 1, queue = 2 }, { "wait", name }, "echo")
      local first, second, third = spawn(session, "a", "{}"), spawn(session, "b", "{}"), spawn(session, "c", "{}")
      eventually(function() return session:stats().queued == 2 end)
      local payload, err = session:request("d", "{}")
      assert.is_nil(payload)
      assert.equal("LIMIT", err.name)
      assert.equal("not_sent", err.outcome)
      assert.equal("d", err.method)
      go()
      settled(first, second, third)
      assert(session:request("e", "{}"))
      session:stop()
    end))

    it("in the same queue for the connection", async(function()
      local session = start({ queue = 1 }, { "mute" })
      local first = spawn(session, "a", "{}")
      eventually(function() return session:stats().queued == 1 end)
      local results = table.pack(session:request("b", "{}"))
      assert.same({ 2, nil, "LIMIT", "not_sent" }, { results.n, results[1], results[2].name, results[2].outcome })
      assert.equal(1, session:stats().queued)
      session:stop()
      settled(first)
    end))

    it("not at all with a queue of nothing, while the window has room", async(function()
      local name, go = flag()
      local session = after_auth({ window = 1, queue = 0 }, { "wait", name }, "echo")
      local first = spawn(session, "a", "{}")
      eventually(function() return session:stats().in_flight == 1 end)
      assert.equal("LIMIT", select(2, session:request("b", "{}")).name)
      go()
      settled(first)
      assert(first.payload)
      assert(session:request("c", "{}", nil, true))
      session:stop()
    end))

    it("while the server does not read, and max_unsent bytes wait already", async(function()
      local name, go = flag()
      local session, log = after_auth({ max_unsent = 1 << 20 }, { "wait", name }, "echo")
      local payload, results = json.encode { text = ("x"):rep(200000) }, {}
      for place = 1, 60 do results[place] = spawn(session, "m" .. place, payload) end
      eventually(function() return session:stats().queued > 0 end)
      local stats = session:stats()
      assert.is_true(stats.unsent > 0 and stats.unsent <= 1 << 20, tostring(stats.unsent))
      assert.is_true(stats.in_flight < 60)
      go()
      settled(table.unpack(results))
      for _, result in ipairs(results) do assert(result.payload, tostring(result.err)) end
      local list = arrived(log)
      assert.equal(61, #list)
      for place = 1, 60 do assert.equal(("%d m%d"):format(place + 1, place), list[place + 1]) end
      session:stop()
    end))

    it("no longer than its deadline: sent", async(function()
      local session = after_auth({}, "silent")
      local _, err = session:request("m", "{}", 0.02)
      assert.equal("TIMEOUT", err.name)
      assert.equal("no response to m in time", err.message)
      assert.is_nil(err.code)
      assert.equal("unknown", err.outcome)
      assert.equal("m", err.method)
      assert.equal(0, session:stats().in_flight)
      session:stop()
    end))

    it("no longer than its deadline: not sent", async(function()
      local session = start({}, { "mute" })
      local _, err = session:request("m", "{}", 0.02)
      assert.equal("TIMEOUT", err.name)
      assert.equal("m could not be sent in time", err.message)
      assert.is_nil(err.code)
      assert.equal("not_sent", err.outcome)
      assert.equal(0, session:stats().queued)
      session:stop()
    end))

    it("no longer than its deadline: not sent, as the connection fails", async(function()
      local session = faulty.session { url = "ws://127.0.0.1:1/", backoff_min = 30 }
      session:start()
      eventually(function() return session:state() == "backoff" end)
      local _, err = session:request("m", "{}", 0.02)
      assert.same({ "TIMEOUT", "not_sent" }, { err.name, err.outcome })
      assert.matches("^m could not be sent in time; the last attempt to connect failed: .*127%.0%.0%.1:1", err.message)
      session:stop()
    end))

    it("no longer than call_timeout", async(function()
      local session = after_auth({ call_timeout = 0.02 }, "silent")
      assert.equal("TIMEOUT", select(2, session:request("m", "{}")).name)
      session:stop()
    end))

    it("behind one that gives up, and then goes out", async(function()
      local session, name = after_auth({ window = 1 }, { "read", 1 }, "echo")
      local lost, second = spawn(session, "lost", "{}", 0.03), spawn(session, "second", "{}")
      settled(lost, second)
      assert.equal("TIMEOUT", lost.err.name)
      assert(second.payload)
      assert.same({ "1 auth", "2 lost", "3 second" }, arrived(name))
      session:stop()
    end))
  end)

  describe("counts a response", function()
    local function counted(stats)
      return ("stale %d, duplicate %d, unexpected %d"):format(stats.stale, stats.duplicate, stats.unexpected)
    end

    it("that comes too late", async(function()
      local name, go = flag()
      local session = after_auth({}, { "take", 1 }, { "wait", name }, { "answer", 1 }, "echo")
      assert.equal("TIMEOUT", select(2, session:request("m", "{}", 0.02)).name)
      go()
      assert(session:request("next", "{}"))
      assert.equal("stale 1, duplicate 0, unexpected 0", counted(session:stats()))
      session:stop()
    end))

    it("that comes too late once, as one that comes twice after that", async(function()
      local name, go = flag()
      local session = after_auth({}, { "take", 1 }, { "wait", name }, { "answer", 1 }, { "answer", 1 },
        { "text", '{"type":2,"id":1,"payload":{}}' }, "echo")
      assert.equal("TIMEOUT", select(2, session:request("m", "{}", 0.02)).name)
      go()
      assert(session:request("next", "{}"))
      assert.equal("stale 1, duplicate 2, unexpected 0", counted(session:stats()))
      session:stop()
    end))

    it("that comes twice", async(function()
      local session = after_auth({}, { "take", 1 }, { "answer", 1, { n = 1 } }, { "answer", 1, { n = 2 } }, "echo")
      assert.same({ n = 1 }, session:request("m", "{}"))
      assert(session:request("next", "{}"))
      assert.equal("stale 0, duplicate 1, unexpected 0", counted(session:stats()))
      session:stop()
    end))

    it("that comes twice, also if nothing else was asked for since", async(function()
      local session = after_auth({}, { "take", 1 }, { "answer", 1 }, { "answer", 1 }, "silent")
      assert(session:request("m", "{}"))
      eventually(function() return session:stats().duplicate + session:stats().unexpected == 1 end)
      assert.equal("stale 0, duplicate 1, unexpected 0", counted(session:stats()))
      session:stop()
    end))

    it("that nobody asked for", async(function()
      local session = after_auth({}, { "text", '{"type":2,"id":77,"payload":{}}' }, "echo")
      assert(session:request("next", "{}"))
      assert.equal("stale 0, duplicate 0, unexpected 1", counted(session:stats()))
      session:stop()
    end))

    it("with id 0, which no request ever has", async(function()
      local session = after_auth({}, { "text", '{"type":2,"id":0,"payload":{}}' }, "echo")
      assert(session:request("next", "{}"))
      assert.equal("stale 0, duplicate 0, unexpected 1", counted(session:stats()))
      session:stop()
    end))
  end)

  describe("whose connection is lost", function()
    it("settles once, and says that its outcome is not known", async(function()
      local session, name = ready({}, { "accept", "auth", { "take", 3 }, "close" }, OK)
      local results = {}
      for place = 1, 3 do results[place] = spawn(session, "m" .. place, "{}") end
      settled(table.unpack(results))
      for place, result in ipairs(results) do
        assert.equal("DISCONNECTED", result.err.name)
        assert.is_nil(result.err.code)
        assert.equal("unknown", result.err.outcome)
        assert.equal("m" .. place, result.err.method)
        assert.is_true(result.err.retryable)
      end
      assert(session:request("next", "{}"))
      session:stop()
      assert.same({ "1 auth", "2 m1", "3 m2", "4 m3", "1 auth", "2 next" }, arrived(name))
    end))

    -- More calls than there are places to look for them in.
    it("settles, however many there are", async(function()
      local session = ready({ window = 100 }, { "accept", "auth", { "take", 70 }, "close" }, OK)
      local results = {}
      for place = 1, 70 do results[place] = spawn(session, "m" .. place, "{}") end
      settled(table.unpack(results))
      for _, result in ipairs(results) do assert.equal("DISCONNECTED", result.err.name) end
      assert.equal(0, session:stats().in_flight)
      session:stop()
    end))

    it("is repeated by itself if it only reads", async(function()
      local session, name = ready({}, { "accept", "auth", { "take", 3 }, "reset" },
        { "accept", "auth", { "take", 2 }, "close" }, OK)
      local write = spawn(session, "write", "{}")
      local one, two = spawn(session, "one", '{"n":1}', nil, true), spawn(session, "two", '{"n":2}', nil, true)
      settled(write, one, two)
      assert.equal("DISCONNECTED", write.err.name)
      assert.same({ method = "one", payload = { n = 1 } }, one.payload)
      assert.same({ method = "two", payload = { n = 2 } }, two.payload)
      session:stop()
      assert.equal(10, #arrived(name)) -- three times auth and both reads, once the write
    end))

    it("and only reads, still keeps its deadline", async(function()
      local session = ready({ backoff_min = 10 }, { "accept", "auth", "read", "close" })
      local _, err = session:request("m", "{}", 0.05, true)
      assert.equal("TIMEOUT", err.name)
      session:stop()
    end))

    it("before it was sent, is sent on the next one", async(function()
      local session, name = ready({ window = 1 }, { "accept", "auth", { "take", 1 }, "close" }, OK)
      local sent, queued = spawn(session, "sent", "{}"), spawn(session, "queued", "{}")
      settled(sent, queued)
      assert.equal("unknown", sent.err.outcome)
      assert(queued.payload)
      session:stop()
      assert.same({ "1 auth", "2 sent", "1 auth", "2 queued" }, arrived(name))
    end))
  end)

  describe("ends with the session:", function()
    it("stop settles them, however many there are", async(function()
      local session = after_auth({ window = 100 }, "silent")
      local results = {}
      for place = 1, 70 do results[place] = spawn(session, "m" .. place, "{}") end
      eventually(function() return session:stats().in_flight == 70 end)
      session:stop()
      settled(table.unpack(results))
      for _, result in ipairs(results) do assert.equal("CLOSED", result.err.name) end
    end))

    it("stop settles it with CLOSED", async(function()
      local session = after_auth({ window = 1 }, "silent")
      local sent, queued = spawn(session, "sent", "{}"), spawn(session, "queued", "{}")
      eventually(function() return session:stats().queued == 1 end)
      session:stop()
      settled(sent, queued)
      assert.equal("CLOSED", sent.err.name)
      assert.equal("unknown", sent.err.outcome)
      assert.equal("CLOSED", queued.err.name)
      assert.equal("not_sent", queued.err.outcome)
      assert.is_nil(sent.err.code or queued.err.code)
    end))

    it("it is refused while the session is not running", async(function()
      local url = server:ws(OK)
      local session = faulty.session { url = url }
      local function refused()
        local payload, err = session:request("m", "{}")
        assert.is_nil(payload)
        assert.equal("CLOSED", err.name)
        assert.equal("not_sent", err.outcome)
        assert.equal("m", err.method)
      end
      refused()
      session:start()
      assert(session:request("m", "{}"))
      session:stop()
      refused()
    end))

    it("one that waits settles with the reason of the failure, and so does a later one", async(function()
      local session = start({ max_denials = 1 }, { "accept", { "auth", { errorCode = 202 } }, "silent" })
      for _ = 1, 2 do
        local _, err = session:request("m", "{}")
        assert.equal("AUTH_FAILED", err.name)
        assert.equal(202, err.code)
        assert.equal("not_sent", err.outcome)
      end
    end))

    it("core.close settles it with CLOSED", function()
      local session, result
      async(function()
        session = faulty.session { url = server:ws { "accept", "auth", "silent" } }
      end)()
      session:start()
      assert(session:wait_ready(5))
      result = spawn(session, "m", "{}")
      core.sleep(0.01)
      core.close()
      assert.equal(1, result.times)
      assert.equal("CLOSED", result.err.name)
      assert.equal("closed", session:state())
      assert.equal("CLOSED", select(2, session:request("m", "{}")).name)
    end)
  end)

  describe("is refused", function()
    it("when it is larger than max_unsent allows", async(function()
      local session = after_auth({ max_unsent = 4096 }, "echo")
      local _, err = session:request("m", json.encode { text = ("x"):rep(4000) })
      assert.equal("LIMIT", err.name)
      assert.equal("not_sent", err.outcome)
      assert.matches("max_unsent", err.message)
      assert.is_nil(err.code)
      local empty = #json.encode { text = "" }
      assert(session:request("m", json.encode { text = ("x"):rep(4096 - 200 - empty) }))
      assert.equal("LIMIT", select(2, session:request("m", json.encode { text = ("x"):rep(4096 - 199 - empty) })).name)
      session:stop()
    end))

    it("when its arguments are wrong", async(function()
      local session = faulty.session { url = "ws://localhost:1/" }
      assert.error_matches(function() session:request() end, "string expected")
      assert.error_matches(function() session:request("", "{}") end, "1 to 63 characters")
      assert.error_matches(function() session:request(("m"):rep(64), "{}") end, "1 to 63 characters")
      assert.error_matches(function() session:request('a"b', "{}") end, "without spaces and quotes")
      assert.error_matches(function() session:request("a b", "{}") end, "without spaces and quotes")
      for _, odd in ipairs { "\nm", "m\0", "m\n", "m\\", "m\127", "m\128", "\xc3\xa9" } do
        assert.error_matches(function() session:request(odd, "{}") end, "without spaces and quotes")
      end
      for _, good in ipairs { "!", "~", "#m]", "m", ("m"):rep(63) } do
        assert.equal("CLOSED", select(2, session:request(good, "{}")).name)
      end
      assert.error_matches(function() session:request("m", {}) end, "string expected, got table")
      assert.error_matches(function() session:request("m", "{}", "soon") end, "number expected")
    end))
  end)

  describe("that is taken from the loop", function()
    it("raises an error there, and its response comes too late", async(function()
      local name, go = flag()
      local session = after_auth({}, { "take", 1 }, { "wait", name }, { "answer", 1 }, "echo")
      local ok, err
      local co = core.spawn(function() ok, err = pcall(session.request, session, "m", "{}") end)
      eventually(function() return session:stats().in_flight == 1 end)
      coroutine.resume(co)
      assert.is_false(ok)
      assert.matches("resumed while waiting", tostring(err))
      assert.equal(0, session:stats().in_flight)
      go()
      assert(session:request("next", "{}"))
      assert.equal(1, session:stats().stale)
      session:stop()
    end))
  end)

  describe("whose coroutine is cancelled", function()
    it("gives its place in the window to the next one, and its response comes too late", async(function()
      local name, go = flag()
      local session = after_auth({ window = 1 },
        { "take", 2 }, { "wait", name }, { "answer", 1 }, { "answer", 2 }, "echo")
      local first = core.spawn(function() session:request("m", "{}") end)
      local answer
      core.spawn(function() answer = session:request("n", "{}") end)
      eventually(function() return session:stats().in_flight == 1 and session:stats().queued == 1 end)
      assert.is_true(core.cancel(first))
      eventually(function() return session:stats().in_flight == 1 and session:stats().queued == 0 end)
      go()
      eventually(function() return answer end)
      assert.equal(1, session:stats().stale)
      session:stop()
    end))

    it("is taken out of the queue", async(function()
      local session = faulty.session { url = "ws://127.0.0.1:1/" }
      session:start()
      local waiting = core.spawn(function() session:request("m", "{}") end)
      eventually(function() return session:stats().queued == 1 end)
      assert.is_true(core.cancel(waiting))
      assert.equal(0, session:stats().queued)
      session:stop()
    end))
  end)
end)

describe("a process that was stopped", function()
  local server

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  it("reads an answer that came meanwhile before it looks at the time", helper.async(function()
    local url = server:ws { "accept", "auth", { "sleep", 1 }, "echo" }
    local child <close> = system.launch_lua("spec/support/stopped_client.lua " .. url .. " 3")
    helper.eventually(function() return child:log():find "asked" end, 20)
    assert(os.execute("kill -STOP " .. child.pid))
    core.sleep(3.5)                     -- until the answer is there and the time is over
    assert(os.execute("kill -CONT " .. child.pid))
    assert.equal(0, child:wait(20), child:log())
    assert.matches("then answered", child:log())
  end, 60))
end)
