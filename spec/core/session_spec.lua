-- SPDX-License-Identifier: MIT
-- The state machine of a session: its table cell by cell, and the ways through it for real.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"

local async, eventually = helper.async, helper.eventually

describe("the transition table", function()
  local STATES = { "idle", "token", "connecting", "authorizing", "ready", "backoff", "closing", "closed", "failed" }
  local EVENTS = {
    "start", "token_ok", "token_denied", "token_rejected", "token_error", "opened", "lost", "misconfigured", "auth_ok",
    "auth_denied", "auth_expired", "auth_error", "due", "stop",
  }
  local GUARDS = { "has_token", "denials_left", "renewable", "fixed_token" }

  local function begin(g)
    if g.has_token then return "connecting connect" end
    return "token request_token"
  end

  local function deny(g)
    return g.denials_left and "backoff deny" or "failed fail"
  end

  local function expired(g)
    if g.fixed_token then return "failed fail" end
    if g.renewable then return "token renew_token" end
    return deny(g)
  end

  -- The transitions by design: state, event -> "next action". All other pairs have no cell.
  local EXPECTED = {
    idle = { start = begin },
    token = {
      token_ok = "connecting connect", token_denied = deny, token_rejected = "failed fail",
      token_error = "backoff wait", due = "backoff wait", stop = "closed finish",
    },
    connecting = {
      opened = "authorizing authorize", lost = "backoff wait", misconfigured = "failed fail", stop = "closing close",
    },
    authorizing = {
      auth_ok = "ready begin", auth_denied = deny, auth_expired = expired, auth_error = "backoff wait",
      due = "backoff wait", lost = "backoff wait", stop = "closing close",
    },
    ready = { lost = "backoff wait", stop = "closing close" },
    backoff = { due = begin, stop = "closed finish" },
    closing = { lost = "closed finish" },
    closed = { start = begin },
    failed = { start = begin },
  }

  local function guards_of(bits)
    local guards = {}
    for place, name in ipairs(GUARDS) do guards[name] = bits >> (place - 1) & 1 == 1 end
    return guards
  end

  local function expected(state, event, guards)
    local cell = EXPECTED[state][event]
    if type(cell) == "function" then return cell(guards) end
    return cell
  end

  for _, state in ipairs(STATES) do
    it("has the right cell for every event in " .. state, function()
      for _, event in ipairs(EVENTS) do
        for bits = 0, 2 ^ #GUARDS - 1 do
          local guards = guards_of(math.tointeger(bits))
          local next, action = core.transition(state, event, guards)
          local found = next and next .. " " .. action
          assert.equal(expected(state, event, guards), found,
            ("%s, %s, %s"):format(state, event, json.encode(guards)))
        end
      end
    end)
  end

  it("has a row for every cell, and no other states, events and guards", function()
    local known, cells = {}, {}
    for _, list in ipairs { STATES, EVENTS, GUARDS } do
      for _, name in ipairs(list) do known[name] = true end
    end
    for _, row in ipairs(core.transitions()) do
      assert.is_true(known[row.from] and known[row.event] and known[row.to] and (not row.guard or known[row.guard]),
        json.encode(row))
      cells[row.from .. " " .. row.event] = true
    end
    for state, events in pairs(EXPECTED) do
      for event in pairs(events) do
        assert.is_true(cells[state .. " " .. event], state .. " " .. event)
        cells[state .. " " .. event] = nil
      end
    end
    assert.is_nil(next(cells))
  end)

  it("refuses names it does not know", function()
    assert.error_matches(function() core.transition("asleep", "start", {}) end, "unknown name")
    assert.error_matches(function() core.transition("idle", "wake", {}) end, "unknown name")
  end)
end)

describe("a session", function()
  local server

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  local OK = { "accept", "auth", "echo" }

  -- A session that is ready at a server that runs these scripts.
  local function ready(options, ...)
    local url, name = server:ws(...)
    options.url = url
    local session, record = faulty.session(options)
    session:start()
    assert(session:wait_ready(20))
    return session, record, name
  end

  local function outcome(options, ...)
    options.url = server:ws(...)
    local session, record = faulty.session(options)
    session:start()
    local ok, err = session:wait_ready(20)
    if ok then session:stop() end
    return faulty.path(record), err, record
  end

  describe("on its way to ready", function()
    it("goes there at once with a ready token, and to closed when stopped", async(function()
      local session, record = ready({}, OK)
      assert.equal("ready", session:state())
      session:stop()
      assert.equal("closed", session:state())
      assert.equal("connecting authorizing ready closing closed", faulty.path(record))
      assert.equal("idle", record[1].old)
      for _, entry in ipairs(record) do assert.is_nil(entry.err) end
    end))

    it("asks for a token first when it has a password", async(function()
      local token_url, tokens = server:http({ { "token", { token = "fresh" } } })
      local options = { token = false, username = "herald", password = "4711", token_url = token_url }
      local session, record, name = ready(options, OK)
      session:stop()
      assert.equal("token connecting authorizing ready closing closed", faulty.path(record))
      local visit = server:log(tokens, "visit")[1]
      assert.same({ client_id = "chat_bot", grant_type = "password", username = "herald", password = "4711" },
        json.decode(visit.body))
      assert.equal("application/json", visit.headers["content-type"])
      assert.equal("fresh", server:log(name, "frame")[1].frame.payload.token)
    end))

    it("sends auth as the first request, and reads who it is", async(function()
      local session, _, name = ready({ token = 'a "token"' },
        { "accept", { "auth", { userId = "herald@test/9f31c2", connectionId = "c-77" } }, "silent" })
      assert.equal("herald@test/9f31c2", session:user_id())
      session:stop()
      assert.same({ type = 1, id = 1, method = "auth", payload = {
        token = 'a "token"', tokenType = "JWT", receiveUnread = true, receiveSystemMessageEnvelopes = false,
      } }, server:log(name, "frame")[1].frame)
    end))

    it("asks for unread messages and system envelopes as it is told", async(function()
      local session, _, name = ready({ receive_unread = false, receive_system = true }, OK)
      session:stop()
      local payload = server:log(name, "frame")[1].frame.payload
      assert.is_false(payload.receiveUnread)
      assert.is_true(payload.receiveSystemMessageEnvelopes)
    end))

    it("takes errorCode 0 for success", async(function()
      local session = ready({}, { "accept", { "auth", { errorCode = 0, userId = "herald@test/1" } }, "silent" })
      assert.equal("herald@test/1", session:user_id())
      session:stop()
    end))

    -- A bot that does not know its own id would answer itself.
    it("is not let in without knowing who it is, at the first time", async(function()
      for _, answer in ipairs {
        { "answer", 1 }, { "answer", 1, { connectionId = "c" } }, { "answer", 1, { userId = "" } },
        { "answer", 1, { userId = 7 } }, { "answer", 1, { userId = {} } }, { "answer_bytes", 1, "6e756c6c" },
      } do
        local session, record = faulty.session { url = server:ws({ "accept", "take", answer, "silent" }, OK) }
        session:start()
        assert(session:wait_ready(20))
        assert.equal("connecting authorizing backoff connecting authorizing ready", faulty.path(record))
        assert.equal("herald@test/1", session:user_id())
        session:stop()
        local err = faulty.reason(record, "backoff")
        assert.equal("PROTOCOL", err.name)
        assert.matches("without a userId", err.message)
      end
    end))

    it("stays who it is when a later answer does not say", async(function()
      local session = ready({}, { "accept", "auth", { "sleep", 0.01 }, "close" },
        { "accept", "take", { "answer", 1 }, "silent" })
      eventually(function() return session:stats().connects == 2 and session:state() == "ready" end)
      assert.equal("herald@test/1", session:user_id())
      session:stop()
    end))

    it("does not mind what comes before the answer to auth", async(function()
      local session = ready({}, { "accept", { "text", '{"type":2,"id":5,"payload":{"errorCode":201}}' },
        { "text", "garbage" }, "auth", "silent" })
      local stats = session:stats()
      assert.equal(1, stats.garbage)
      assert.equal(1, stats.unexpected)
      session:stop()
    end))
  end)

  describe("when auth is refused", function()
    for _, code in ipairs { 201, 202, 204 } do
      it(("with %d three times in a row, fails with the reason"):format(code), async(function()
        local path, err = outcome({}, { "accept", { "auth", { errorCode = code } }, "silent" })
        assert.equal("connecting authorizing backoff connecting authorizing backoff connecting authorizing failed",
          path)
        assert.equal("AUTH_FAILED", err.name)
        assert.equal(code, err.code)
      end))
    end

    it("lets go of a connection while frames behind the refusal are still to be read", async(function()
      local refusal = '{"type":2,"id":1,"payload":{"errorCode":201}}'
      local frames = ("\x81%s\x81\x02{}\x81\x02{}"):format(string.pack("s1", refusal))
      local hex = frames:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
      local _, err = outcome({ max_denials = 1 }, { "accept", "read", { "raw", hex }, "silent" })
      assert.equal("AUTH_FAILED", err.name)
    end))

    it("counts refusals in a row only", async(function()
      local denied = { "accept", { "auth", { errorCode = 201 } }, "silent" }
      local once = { "accept", "auth", "close" }
      local session, record = ready({}, denied, denied, once, denied, denied, OK)
      eventually(function() return faulty.path(record):match "ready.*ready$" end)
      assert.is_nil(faulty.path(record):find "failed")
      session:stop()
    end))

    it("counts refusals anew after a failure, and after a stop", async(function()
      local denied = { "accept", { "auth", { errorCode = 201 } }, "silent" }
      local session, record = faulty.session {
        url = server:ws(denied, denied, denied, denied, denied, OK, denied, denied, OK),
      }
      session:start()
      assert.is_nil(session:wait_ready(20))
      for _ = 1, 2 do
        session:start()
        assert(session:wait_ready(20))
        session:stop()
      end
      local _, pauses = faulty.path(record):gsub("backoff", "")
      assert.equal(6, pauses)
    end))

    it("with 203 asks for one fresh token", async(function()
      local token_url, tokens = server:http({ { "token", { token = "old" } } }, { { "token", { token = "new" } } })
      local options = { token = false, username = "herald", password = "4711", token_url = token_url }
      local session, record, name = ready(options, { "accept", "auth", "read", "close" },
        { "accept", { "auth", { errorCode = 203 } }, "silent" }, OK)
      session:request("bye", "{}")
      eventually(function() return faulty.path(record):match "ready.*ready$" end)
      session:stop()
      assert.equal("token connecting authorizing ready backoff connecting authorizing token connecting "
        .. "authorizing ready closing closed", faulty.path(record))
      assert.equal("TOKEN_EXPIRED", faulty.reason(record, "token", 2).name)
      assert.equal(2, #server:log(tokens, "visit"))
      local used = {}
      for _, entry in ipairs(server:log(name, "frame")) do used[#used + 1] = entry.frame.payload.token end
      assert.same({ "old", "old", "new" }, used)
    end))

    it("with 203 to a token just taken, does not go round for ever", async(function()
      local token_url, tokens = server:http({ "token" })
      local options = { token = false, username = "herald", password = "4711", token_url = token_url }
      local path, err = outcome(options, { "accept", { "auth", { errorCode = 203 } }, "silent" })
      assert.equal("failed", path:match "%a+$")
      assert.equal("TOKEN_EXPIRED", err.name)
      assert.equal(3, #server:log(tokens, "visit"))
    end))

    it("with 203 to a ready token, fails: there is nothing to renew it with", async(function()
      local path, err = outcome({}, { "accept", { "auth", { errorCode = 203 } }, "silent" })
      assert.equal("connecting authorizing failed", path)
      assert.equal("TOKEN_EXPIRED", err.name)
      assert.equal(203, err.code)
    end))

    it("with another code, tries again", async(function()
      local path, _, record = outcome({}, { "accept", { "auth", { errorCode = 300 } }, "silent" }, OK)
      assert.equal("connecting authorizing backoff connecting authorizing ready closing closed", path)
      assert.equal(300, faulty.reason(record, "backoff").code)
    end))

    it("with nothing at all, tries again after auth_timeout", async(function()
      local path, _, record = outcome({ auth_timeout = 0.05 }, { "accept", "silent" }, OK)
      assert.equal("connecting authorizing backoff connecting authorizing ready closing closed", path)
      local err = faulty.reason(record, "backoff")
      assert.same({ "TIMEOUT", "no answer to auth in time" }, { err.name, err.message })
      assert.is_nil(err.code)
    end))
  end)

  describe("whose connection is not made, comes back after", function()
    local AGAIN = "connecting backoff connecting authorizing ready closing closed"
    local LATER = "connecting authorizing backoff connecting authorizing ready closing closed"

    for _, status in ipairs { 403, 404, 500, 503 } do
      it(("HTTP status %d"):format(status), async(function()
        local path, _, record = outcome({}, { { "respond", status, "<html>maintenance</html>", "text/html" } }, OK)
        assert.equal(AGAIN, path)
        local err = faulty.reason(record, "backoff")
        assert.equal("HTTP", err.name)
        assert.equal(status, err.code)
      end))
    end

    for what, script in pairs {
      ["a close before the 101 response"] = { "close" },
      ["a reset before the 101 response"] = { "reset" },
      ["a close within the 101 response"] = { "cut_accept", "close" },
    } do
      it(what, async(function()
        local path, _, record = outcome({}, script, OK)
        assert.equal(AGAIN, path)
        assert.equal("DISCONNECTED", faulty.reason(record, "backoff").name)
      end))
    end

    it("a 101 response with a wrong key", async(function()
      local path, _, record = outcome({}, { "accept_wrongly", "mute" }, OK)
      assert.equal(AGAIN, path)
      assert.equal("PROTOCOL", faulty.reason(record, "backoff").name)
    end))

    it("a server that says nothing until connect_timeout", async(function()
      local path, _, record = outcome({ connect_timeout = 0.1 }, { "mute" }, OK)
      assert.equal(AGAIN, path)
      assert.equal("TIMEOUT", faulty.reason(record, "backoff").name)
    end))

    for what, script in pairs {
      ["a close after the 101 response"] = { "accept", { "sleep", 0.02 }, "close" },
      ["a close after the auth request"] = { "accept", "read", "close" },
      ["a reset after the auth request"] = { "accept", "read", "reset" },
      ["a close frame after the auth request"] = { "accept", "read", { "bye", 1011, "maintenance" } },
    } do
      it(what, async(function()
        local path, _, record = outcome({}, script, OK)
        assert.equal(LATER, path)
        assert.equal("DISCONNECTED", faulty.reason(record, "backoff").name)
      end))
    end

    local function refused_by(port)
      local session, record = faulty.session { url = ("ws://127.0.0.1:%d/"):format(server[port] or port) }
      session:start()
      eventually(function() return #record > 3 end)
      session:stop()
      assert.equal("connecting backoff connecting", faulty.path(record):match "^%a+ %a+ %a+")
      return faulty.reason(record, "backoff")
    end

    it("a server that closes at once", async(function() assert.equal("DISCONNECTED", refused_by("slam").name) end))

    it("a server that closes within the request", async(function()
      assert.equal("DISCONNECTED", refused_by("half").name)
    end))

    it("a server that resets after the request", async(function()
      assert.equal("DISCONNECTED", refused_by("reset").name)
    end))

    it("a port where nothing listens", async(function()
      local err = refused_by(1)
      assert.equal("REFUSED", err.name)
      assert.matches("127.0.0.1:1", err.message, 1, true)
    end))

    it("a name that cannot be resolved", async(function()
      local session, record = faulty.session { url = "wss://no-such-host.invalid/" }
      session:start()
      eventually(function() return #record > 1 end, 25)
      session:stop()
      local err = faulty.reason(record, "backoff")
      assert.equal("DNS", err.name)
      assert.matches("no%-such%-host.invalid", err.message)
    end))
  end)

  it("fails at once when a setting is wrong", async(function()
    local session, record = faulty.session { url = "wss://127.0.0.1:1/", tls = { ca_file = "/nowhere/ca.pem" } }
    session:start()
    local _, err = session:wait_ready(20)
    assert.same({ "CONFIG", "connecting failed" }, { err.name, faulty.path(record) })
  end))

  describe("whose connection is lost", function()
    it("comes back, with a new epoch", async(function()
      local session, record = ready({}, OK)
      local before = session:stats()
      session:drop()
      eventually(function() return session:stats().epoch > before.epoch and session:state() == "ready" end)
      assert.equal("connecting authorizing ready backoff connecting authorizing ready", faulty.path(record))
      for _, entry in ipairs(record) do
        assert.equal(entry.new == "backoff" and "DISCONNECTED", entry.err and entry.err.name or false)
      end
      assert.equal(before.connects + 1, session:stats().connects)
      session:stop()
    end))

    it("tells the close code and the reason the server gave", async(function()
      local session, record = ready({}, { "accept", "auth", { "bye", 1011, "restarting" } }, OK)
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      local err = faulty.reason(record, "backoff")
      assert.equal(1011, err.code)
      assert.matches("restarting", err.message)
    end))

    it("counts traffic across its connections", async(function()
      local session = ready({}, OK)
      session:request("first", "{}")
      session:drop()
      assert(session:request("second", "{}"))
      local stats = session:stats()
      session:stop()
      assert.equal(4, stats.frames_in)
      assert.equal(4, stats.frames_out)
      assert.is_true(stats.bytes_in > 0 and stats.bytes_out > 0)
    end))
  end)

  describe("backs off", function()
    local there, session, record

    -- Time that does not go by by itself: nothing may be left to wait for, also after a failure.
    local function virtual(body)
      local run = async(function()
        helper.finally(function()
          session:stop()
          there:stop()
        end, body)
      end, 1e7)
      return function()
        core.virtual_time(true, nil, 7)
        local ok, err = pcall(run)
        core.virtual_time(false)
        if not ok then error(err, 0) end
      end
    end

    -- Seconds from each loss to the next attempt.
    local function waits()
      local seconds, lost = {}, nil
      for _, entry in ipairs(record) do
        if entry.new == "backoff" then lost = entry.at end
        if entry.old == "backoff" then seconds[#seconds + 1] = entry.at - lost end
      end
      return seconds
    end

    local function at_bridge(options)
      there = assert(bridge.start { accounts = { herald = "4711" }, ping_interval = 0 })
      options.url, options.token = there:url() .. "/websocket/chat_bot/", there:mint_token "herald"
      options.backoff_min, options.ping_interval = false, 0
      session, record = faulty.session(options)
    end

    local function assert_near(expected, seconds, slack)
      assert.is_true(#seconds >= #expected, ("%d waits"):format(#seconds))
      for place, wait in ipairs(expected) do
        local more = seconds[place] - wait
        assert.is_true(more > -1e-6 and more < slack + 1e-6, ("wait %d: %s s"):format(place, seconds[place]))
      end
    end

    it("for 1, 2, 4 ... 60 seconds", virtual(function()
      at_bridge {}
      there:fault { refuse_upgrades = 502 }
      session:start()
      core.advance(250)
      assert_near({ 1, 2, 4, 8, 16, 32, 60, 60 }, waits(), 0)
    end))

    it("with up to a second more at random", virtual(function()
      at_bridge { backoff_jitter = 1 }
      there:fault { refuse_upgrades = 502 }
      session:start()
      core.advance(150)
      local seconds, fractions = waits(), {}
      assert_near({ 1, 2, 4, 8, 16, 32 }, seconds, 1)
      for _, wait in ipairs(seconds) do fractions[("%.3f"):format(wait % 1)] = true end
      local different = 0
      for _ in pairs(fractions) do different = different + 1 end
      assert.is_true(different >= 4)
    end))

    -- Let a session in that has waited 1, 2 and 4 seconds, and throw it out after so long; what it waits then.
    local function thrown_out_after(seconds, options)
      at_bridge(options)
      there:fault { refuse_upgrades = 502 }
      session:start()
      core.advance(6)
      there:fault()
      core.advance(3)
      assert.equal("ready", session:state())
      core.advance(seconds - 2)
      there:fault { refuse_upgrades = 502 }
      there:drop()
      core.advance(30)
      return waits()
    end

    it("from the beginning after a connection that was stable", virtual(function()
      assert_near({ 1, 2, 4, 1, 2, 4 }, thrown_out_after(60.5, { backoff_max = 100 }), 0)
    end))

    it("on and on after one that was not", virtual(function()
      assert_near({ 1, 2, 4, 8, 16 }, thrown_out_after(59.5, {}), 0)
    end))

    it("longer and longer at a server that lets it in and throws it out at once", virtual(function()
      at_bridge {}
      session:start()
      for _ = 1, 80 do
        core.advance(1)
        if session:state() == "ready" then there:drop() end
      end
      assert_near({ 1, 2, 4, 8, 16 }, waits(), 1)
      assert.is_true(#waits() <= 6)
    end))

    it("as long as the server asks for, within bounds", async(function()
      local date = os.date("!%a, %d %b %Y %H:%M:%S GMT", core.now() // 1000 + 40)
      for asked, expected in pairs {
        ["7"] = 7, ["1000000"] = 300, ["0"] = 1, ["-5"] = 1, ["soon"] = 1, [("9"):rep(40)] = 300, [date] = 40,
      } do
        local answer = { { "respond", 503, "", "text/plain", { ["Retry-After"] = asked } } }
        local by_password = { token = false, username = "herald", password = "4711", token_url = server:http(answer) }
        for _, options in ipairs { by_password, {} } do
          options.url, options.backoff_min = server:ws(answer), false
          local waiting, seen = faulty.session(options)
          waiting:start()
          eventually(function() return seen[2] end)
          waiting:stop()
          assert.equal("backoff", seen[2].new)
          local slack = asked == date and 3 or 1e-6
          assert.is_true(math.abs(seen[2].pause - expected) <= slack, ("%s: %s"):format(asked, seen[2].pause))
        end
      end
    end))

    it("as the options say", virtual(function()
      at_bridge { backoff_max = 5 }
      there:fault { refuse_upgrades = 502 }
      session:start()
      core.advance(20)
      assert_near({ 1, 2, 4, 5, 5 }, waits(), 0)
    end))
  end)

  describe("that is stopped", function()
    local function stopped(options, state)
      local session, record = faulty.session(options)
      session:start()
      eventually(function() return session:state() == state end)
      session:stop()
      assert.equal("closed", session:state())
      assert.equal(0, core.stats().sockets or 0)
      session:stop()
      eventually(function() return faulty.path(record):match "closed$" end)
      return faulty.path(record)
    end

    it("before it was started, has nothing to do", async(function()
      local session, record = faulty.session { url = server:ws(OK) }
      session:stop()
      assert.equal("idle", session:state())
      assert.equal("", faulty.path(record))
    end))

    it("while it asks for a token, gives up asking", async(function()
      local options = { token = false, username = "herald", password = "4711", url = server:ws(OK) }
      options.token_url = ("http://127.0.0.1:%d/"):format(server.mute)
      assert.equal("token closed", stopped(options, "token"))
    end))

    it("while it connects, gives up connecting", async(function()
      local path = stopped({ url = ("ws://127.0.0.1:%d/"):format(server.mute) }, "connecting")
      assert.equal("connecting closing closed", path)
    end))

    it("while it waits for auth, says goodbye", async(function()
      local url, name = server:ws({ "accept", "silent" })
      assert.equal("connecting authorizing closing closed", stopped({ url = url }, "authorizing"))
      eventually(function() return server:log(name, "over")[1] end)
      assert.equal(1000, server:log(name, "close")[1].code)
    end))

    it("while it backs off, ends at once", async(function()
      local path = stopped({ url = "ws://127.0.0.1:1/", backoff_min = 30 }, "backoff")
      assert.equal("connecting backoff closed", path)
    end))

    it("while it backs off, ends what waits to be sent", async(function()
      local session = faulty.session { url = "ws://127.0.0.1:1/", backoff_min = 30 }
      session:start()
      local err
      core.spawn(function() err = select(2, session:request("m", "{}")) end)
      eventually(function() return session:state() == "backoff" and session:stats().queued == 1 end)
      session:stop()
      eventually(function() return err end)
      assert.same({ "CLOSED", "not_sent" }, { err.name, err.outcome })
      assert.is_nil(err.code)
    end))

    it("says goodbye with 1000 after what was queued has left", async(function()
      local session, _, name = ready({}, OK)
      local err
      core.spawn(function() err = select(2, session:request("last", "{}")) end)
      core.spawn(function() session:stop() end)
      eventually(function() return session:state() == "closed" end)
      assert.equal("CLOSED", err.name)
      eventually(function() return server:log(name, "over")[1] end)
      local log = server:log(name)
      assert.equal("last", log[#log - 2].frame.method)
      assert.equal(1000, log[#log - 1].code)
    end))

    it("drops a server that does not answer the goodbye within close_timeout", async(function()
      local session = ready({ close_timeout = 0.05 }, { "accept", "auth", "deaf" })
      session:stop()
      assert.equal("closed", session:state())
    end))

    it("by several at once, lets all of them wait for the end", async(function()
      local session = ready({}, OK)
      local over = 0
      for _ = 1, 3 do
        core.spawn(function()
          session:stop()
          assert(session:state() == "closed")
          over = over + 1
        end)
      end
      eventually(function() return over == 3 end)
    end))

    it("starts again", async(function()
      local session, record = ready({}, OK)
      session:start()
      session:stop()
      session:start()
      assert(session:wait_ready(20))
      session:stop()
      assert.equal("connecting authorizing ready closing closed connecting authorizing ready closing closed",
        faulty.path(record))
    end))
  end)

  it("starts again after it has failed", async(function()
    local session, record = faulty.session {
      url = server:ws({ "accept", { "auth", { errorCode = 202 } }, "silent" }, OK), max_denials = 1,
    }
    session:start()
    assert.is_nil(session:wait_ready(20))
    session:start()
    assert(session:wait_ready(20))
    session:stop()
    assert.equal("connecting authorizing failed connecting authorizing ready closing closed", faulty.path(record))
  end))

  describe("wait_ready", function()
    it("gives up after its time", async(function()
      local session = faulty.session { url = ("ws://127.0.0.1:%d/"):format(server.mute) }
      session:start()
      local ok, err = session:wait_ready(0.02)
      assert.is_nil(ok)
      assert.equal("TIMEOUT", err.name)
      session:stop()
    end))

    it("ends with CLOSED when the session is stopped, or was not started", async(function()
      local session = faulty.session { url = ("ws://127.0.0.1:%d/"):format(server.mute) }
      assert.equal("CLOSED", select(2, session:wait_ready()).name)
      session:start()
      core.timer(0.02, function() session:stop() end)
      assert.equal("CLOSED", select(2, session:wait_ready()).name)
      assert.equal("CLOSED", select(2, session:wait_ready()).name)
    end))

    it("says why the session has failed, also afterwards", async(function()
      local session = faulty.session {
        url = server:ws({ "accept", { "auth", { errorCode = 202 } }, "silent" }), max_denials = 1,
      }
      session:start()
      for _ = 1, 2 do
        local ok, err = session:wait_ready(20)
        assert.is_nil(ok)
        assert.equal(202, err.code)
      end
    end))

    it("drives the loop on the main thread", function()
      local session
      async(function() session = faulty.session { url = server:ws(OK) } end)()
      session:start()
      assert.is_true(session:wait_ready(20))
      assert.same({ method = "m", payload = {} }, session:request("m", "{}"))
      session:stop()
      core.close()
      assert.equal(0, core.stats().handles)
    end)
  end)

  describe("that gets a request of the server", function()
    local NOTICE = '{"method":"sendMessage","type":1,"id":7,"payload":{"text":"h\\u00e9"}}'

    it("acknowledges it by itself when nobody handles requests", async(function()
      local session, _, name = ready({}, { "accept", "auth", { "text", NOTICE }, "silent" })
      eventually(function() return server:log(name, "frame")[2] end)
      session:stop()
      assert.same({ type = 2, id = 7 }, server:log(name, "frame")[2].frame)
    end))

    it("hands on_request what its payload says, shows it the text, and why it cannot be read", async(function()
      local seen, session = {}, nil
      local texts = { '{"text":"h\\u00e9"}', "{ }", "[null]", "null", "7", '{"a":1.}', '{"a":tru}' }
      local script = { "accept", "auth" }
      for place, text in ipairs(texts) do
        local frame = ('{"type":1,"id":%d,"method":"m","payload":%s}'):format(place, text)
        script[#script + 1] = { place % 2 == 0 and "text" or "binary", frame }
      end
      -- Something else in the frame is no JSON.
      for _, frame in ipairs {
        '{"type":1,"id":8,"method":"m","x":nul,"payload":{"b":2}}', '{"payload":{"c":3},"method":"m","id":9,"type":1}',
        '{"\\u0074ype":1,"id":9,"method":"m","p\\u0061yload":{"d":4},"more":[1,{"payload":5}]}',
        '{"type":1,"id":9,"method":"m","payload":1,"payload":{"e":5}}',
      } do
        script[#script + 1] = { "text", frame }
      end
      script[#script + 1] = "silent"
      session = faulty.session { url = server:ws(script), on_request = function(_, payload, _, _, why)
        seen[#seen + 1] = { payload, why and why:match "^not JSON: (.*)" or false, session:payload_text() }
      end }
      session:start()
      eventually(function() return #seen == #texts + 4 or nil end)
      assert.is_nil(session:payload_text())
      session:stop()
      assert.same({ { text = "hé" }, false, texts[1] }, seen[1])
      assert.same({ {}, false, texts[2] }, seen[2])
      assert.same({ {}, false, texts[3] }, seen[3])
      assert.same({ nil, false, texts[4] }, seen[4])
      assert.same({ 7, false, texts[5] }, seen[5])
      assert.same({ nil, "digits are missing at byte 8", texts[6] }, seen[6])
      assert.same({ nil, "a value is missing at byte 6", texts[7] }, seen[7])
      assert.same({ { b = 2 }, false, '{"b":2}' }, seen[8])
      assert.same({ { c = 3 }, false, '{"c":3}' }, seen[9])
      assert.same({ { d = 4 }, false, '{"d":4}' }, seen[10])
      assert.same({ { e = 5 }, false, '{"e":5}' }, seen[11])
    end))

    it("hands it to on_request, and leaves the ack to it", async(function()
      local seen = {}
      local session, _, name = ready({ on_request = function(...) seen[#seen + 1] = { ... } end },
        { "accept", "auth", { "text", NOTICE }, { "text", '{"type":1,"id":8,"method":"m"}' }, "silent" })
      eventually(function() return seen[2] end)
      local epoch = session:stats().epoch
      assert.same({ { "sendMessage", { text = "hé" }, 7, epoch }, { "m", {}, 8, epoch } }, seen)
      assert.equal(1, #server:log(name, "frame"))
      assert.is_true(session:ack(7, epoch))
      eventually(function() return server:log(name, "frame")[2] end)
      session:stop()
      assert.is_false(session:ack(8, epoch))
    end))

    it("does not acknowledge it on a later connection", async(function()
      local session, _, name = ready({}, OK)
      local epoch = session:stats().epoch
      session:drop()
      eventually(function() return session:stats().epoch > epoch and session:state() == "ready" end)
      assert.is_false(session:ack(7, epoch))
      assert.is_true(session:ack(7, epoch + 1))
      session:stop()
      local acks = 0
      for _, entry in ipairs(server:log(name, "frame")) do
        if entry.frame.type == 2 then acks = acks + 1 end
      end
      assert.equal(1, acks)
    end))

    it("lets on_request stop the session or drop the connection", async(function()
      local url = server:ws({ "accept", "auth", { "text", NOTICE }, { "text", NOTICE }, "echo" })
      local session, record
      session, record = faulty.session { url = url, on_request = function()
        if session:stats().connects == 1 then session:drop() else session:stop() end
      end }
      session:start()
      eventually(function() return faulty.path(record):match "closed$" end)
      assert.equal("connecting authorizing ready backoff connecting authorizing ready closing closed",
        faulty.path(record))
      assert.matches("cannot wait", table.concat(helper.reported_errors(), "\n")) -- stop() waits for the end
    end))

    it("outlives an error in on_request", async(function()
      local session = ready({ on_request = function() error "oops" end },
        { "accept", "auth", { "text", NOTICE }, "echo" })
      assert(session:request("m", "{}"))
      session:stop()
      local errors = helper.reported_errors()
      assert.equal(1, #errors)
      assert.matches("oops", errors[1])
    end))
  end)

  describe("that gets an odd frame", function()
    local function count(field, ...)
      local script = { "accept", "auth" }
      for _, step in ipairs { ... } do script[#script + 1] = step end
      script[#script + 1] = "echo"
      local session, record = ready({ on_request = function() end }, script)
      assert(session:request("m", "{}")) -- the connection goes on
      local number = session:stats()[field]
      session:stop()
      assert.equal("connecting authorizing ready closing closed", faulty.path(record))
      return number
    end

    for what, frame in pairs {
      ["that is not JSON"] = "hello",
      ["that is empty"] = "",
      ["that is an array"] = "[1,2]",
      ["that ends too early"] = '{"type":2,"id":1',
      ["without an id"] = '{"type":2,"payload":{}}',
      ["without a type"] = '{"id":1,"payload":{}}',
      ["with a negative id"] = '{"type":1,"id":-1,"method":"m","payload":{}}',
      ["with an id that is too large"] = '{"type":1,"id":4294967296,"method":"m","payload":{}}',
      ["with an id that is a string"] = '{"type":1,"id":"1","method":"m","payload":{}}',
      ["with a type that is too large"] = '{"type":4294967297,"id":1,"method":"m","payload":{}}',
      ["with a second type that is none"] = '{"type":1,"id":1,"method":"m","payload":{},"type":"1"}',
      ["of type 0"] = '{"type":0,"id":1,"method":"m","payload":{}}',
      ["of type 3"] = '{"type":3,"id":1,"method":"m","payload":{}}',
      ["that asks without a method"] = '{"type":1,"id":1,"payload":{}}',
    } do
      it(what .. ", counts it as garbage", async(function()
        assert.equal(1, count("garbage", { "text", frame }))
      end))
    end

    it("counts what Lua found to be damaged", async(function()
      local session = ready({}, OK)
      session:damaged()
      assert.equal(1, session:stats().garbage)
      session:stop()
    end))

    it("reads JSON in a binary frame", async(function()
      assert.equal(0, count("garbage", { "binary", '{"type":1,"id":1,"method":"m","payload":{}}' }))
    end))

    it("closes with 1009 above max_frame and comes back", async(function()
      local session, record, name = ready({ max_frame = 1000 }, { "accept", "auth", { "big", 1001 }, "silent" }, OK)
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      assert.equal("LIMIT", faulty.reason(record, "backoff").name)
      eventually(function() return server:log(name, "close")[1] end)
      assert.equal(1009, server:log(name, "close")[1].code)
    end))
  end)

  describe("that is watched", function()
    it("tells each change of state in order, in a coroutine", async(function()
      local seen = {}
      local session = ready({ on_state = function(new, old)
        core.sleep(0)
        seen[#seen + 1] = old .. ">" .. new
      end }, OK)
      session:stop()
      eventually(function() return seen[5] end)
      assert.same({ "idle>connecting", "connecting>authorizing", "authorizing>ready", "ready>closing",
        "closing>closed" }, seen)
    end))

    it("outlives an error in on_state", async(function()
      local session = ready({ on_state = function(new) if new == "ready" then error "oops" end end }, OK)
      session:stop()
      assert.equal(1, #helper.reported_errors())
    end))

    it("shows every frame to on_trace, the token masked", async(function()
      local seen = {}
      local session = ready({ token = "sesame", on_trace = function(direction, frame)
        seen[#seen + 1] = direction .. " " .. frame
      end }, { "accept", "auth", { "text", '{"type":1,"id":3,"method":"n","payload":{}}' }, "echo" })
      helper.eventually(function() return seen[4] end) -- the server's request has come and has its ack
      session:request("m", '{"a":1}')
      session:stop()
      assert.same({
        'out {"type":1,"id":1,"method":"auth","payload":{"token":"***","tokenType":"JWT","receiveUnread":true,'
          .. '"receiveSystemMessageEnvelopes":false}}',
        'in {"type": 2, "id": 1, "payload": {"userId": "herald@test/1"}}',
        'in {"type":1,"id":3,"method":"n","payload":{}}',
        'out {"type":2,"id":3}',
        'out {"type":1,"id":2,"method":"m","payload":{"a":1}}',
        'in {"type": 2, "id": 2, "payload": {"method": "m", "payload": {"a": 1}}}',
      }, { seen[1], seen[2], select(3, table.unpack(seen)) })
    end))

    it("outlives an error in on_trace", async(function()
      local session = ready({ on_trace = function() error "oops" end }, OK)
      session:stop()
      assert.is_true(#helper.reported_errors() >= 2)
    end))

    it("never shows a secret", async(function()
      local texts = {}
      local function keep(text) texts[#texts + 1] = tostring(text) end
      local token_url = server:http({ { "respond", 400, '{"error":"invalid_grant"}' } },
        { { "token", { token = "sesame" } } })
      local session, record = faulty.session {
        url = server:ws({ "accept", { "auth", { errorCode = 201 } }, "silent" }), token_url = token_url,
        token = false, username = "herald", password = "4711pw", on_trace = function(_, frame) keep(frame) end,
      }
      session:start()
      keep(session)
      keep(select(2, session:wait_ready(20)))
      keep(session)
      keep(select(2, session:request("m", "{}")))
      for _, entry in ipairs(record) do
        keep(entry.err)
        for _, value in pairs(entry.err or {}) do keep(value) end
      end
      local all = table.concat(texts, "\n")
      assert.is_nil(all:find("sesame", 1, true))
      assert.is_nil(all:find("4711pw", 1, true))
      assert.matches("trueconf.Session %(127.0.0.1:%d+, failed%)", all)
    end))
  end)

  describe("refuses", function()
    local BASE = { url = "ws://localhost:1/", token = "t" }

    local function refusal(changes)
      local options = {}
      for name, value in pairs(BASE) do options[name] = value end
      for name, value in pairs(changes) do options[name] = value or nil end
      local ok, err = pcall(core.session, options)
      assert.is_false(ok)
      return err
    end

    for name, case in pairs {
      ["no url"] = { { url = false }, "url" },
      ["a url without a scheme"] = { { url = "localhost" }, "url: .*ws://" },
      ["a url with a password"] = { { url = "ws://a:b@localhost/" }, "user name or password" },
      ["a url with a wrong port"] = { { url = "ws://localhost:70000/" }, "port" },
      ["neither token nor password"] = { { token = false }, "'token'" },
      ["a password without a user"] = {
        { token = false, password = "x", token_url = "http://localhost/" }, "username",
      },
      ["a password that is a number"] = { { password = 4711 }, "'password': string expected, got number" },
      ["a token that is a number"] = { { token = 4711 }, "'token': string expected, got number" },
      ["a time that is a string"] = { { call_timeout = "1" }, "'call_timeout': number expected, got string" },
      ["a negative time"] = { { ping_interval = -1 }, "'ping_interval': 0 to 1000000000000 expected, got %-1" },
      ["a time that is no number"] = { { auth_timeout = 0 / 0 }, "'auth_timeout': 0.001 to 1000000000000 expected" },
      ["backoff_max below backoff_min"] = {
        { backoff_min = 5, backoff_max = 4 }, "'backoff_max': 5 to 1000000000000 expected, got 4",
      },
      ["no denials at all"] = { { max_denials = 0 }, "'max_denials': 1 to 1000000000000 expected, got 0" },
      ["a window of nothing"] = { { window = 0 }, "'window': 1 to 1000000000000 expected, got 0" },
      ["a handler that is a string"] = { { on_state = "x" }, "'on_state': function expected, got string" },
      ["tls that is a string"] = { { tls = "off" }, "'tls'" },
    } do
      it(name, function() assert.matches(case[2], refusal(case[1])) end)
    end

    it("to be called without a table", function()
      assert.is_false(pcall(core.session))
      assert.is_false(pcall(core.session, "ws://localhost/"))
    end)

    it("to send a token unencrypted to another machine", function()
      local err = refusal { url = "ws://chat.acme.test/" }
      assert.matches("chat.acme.test", err, 1, true)
      assert.matches("allow_plaintext", err)
      assert.matches("allow_plaintext", refusal { url = "ws://192.168.1.1/" })
      assert.matches("allow_plaintext", refusal { url = "ws://localhost.evil.test/" })
      assert.matches("allow_plaintext", refusal { url = "ws://[2001:db8::1]/" })
    end)

    it("to send a password unencrypted to another machine", function()
      local given = { token = false, url = "wss://chat.acme.test/", username = "u", password = "sesame" }
      given.token_url = "http://chat.acme.test/"
      local err = refusal(given)
      assert.matches("https", err)
      assert.is_nil(err:find("sesame", 1, true))
    end)

    it("neither on loopback, over TLS, nor when allowed", function()
      for _, url in ipairs { "ws://localhost/", "ws://127.0.0.1/", "ws://127.9.9.9/", "ws://[::1]/",
        "wss://chat.acme.test/" } do
        assert(core.session { url = url, token = "t" })
      end
      assert(core.session { url = "ws://chat.acme.test/", token = "t", allow_plaintext = true })
      core.close()
    end)
  end)

  describe("leaves nothing behind", function()
    -- Run a script in a Lua state of its own to the end of that state.
    local function child(script, prefix)
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write(("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath), script)
      file:close()
      local log = os.tmpname()
      local lua = os.getenv "LUA" or "lua5.4"
      local ok, how, code = os.execute(("timeout 60 %s '%s' '%s' >%s 2>&1"):format(prefix or "", lua,
        path, log))
      local output = assert(io.open(log)):read "a"
      os.remove(path)
      os.remove(log)
      assert.is_true(ok, ("%s %s: %s"):format(how, code, output))
      return output
    end

    it("when it is collected while idle", async(function()
      local box = setmetatable({}, { __mode = "v" })
      do
        local session = faulty.session { url = "ws://localhost:1/" }
        box[1] = session
        assert.equal(1, core.stats().sessions)
        assert.equal("idle", session:state())
      end
      collectgarbage()
      collectgarbage()
      assert.is_nil(box[1])
      assert.equal(0, core.stats().sessions)
    end))

    it("when it is collected after its end", async(function()
      local box = setmetatable({}, { __mode = "v" })
      do
        local session = ready({}, OK)
        session:stop()
        box[1] = session
      end
      eventually(function()
        collectgarbage()
        return not box[1]
      end)
      assert.equal(0, core.stats().sessions)
    end))

    it("when it is not referenced but runs: it goes on running", async(function()
      local ended
      local url = server:ws({ "accept", "auth", { "sleep", 0.02 }, "close" },
        { "accept", { "auth", { errorCode = 202 } }, "silent" })
      faulty.session({ url = url, max_denials = 1, on_state = function(new) ended = new == "failed" end }):start()
      eventually(function()
        collectgarbage()
        return ended
      end)
    end))

    local STATES = { "idle", "token", "connecting", "authorizing", "ready", "backoff", "closing", "closed", "failed" }

    local SCRIPT = [[
      local core = require "trueconf.core"
      local options, state, started = %s, %q, nil
      local session = core.session(options)
      if state ~= "idle" then session:start() end
      if state == "failed" then assert(not session:wait_ready(20)) end
      if state == "closing" or state == "ready" or state == "closed" then assert(session:wait_ready(20)) end
      if state == "closing" then core.spawn(function() session:stop() end) end
      if state == "closed" then session:stop() end
      core.spawn(function() session:wait_ready() end)
      core.spawn(function() session:request("m", "{}") end)
      repeat core.sleep(0.001) until session:state() == state
      io.write(session:state())
    ]]

    local function options_for(state)
      if state == "token" then
        return ([[{ url = "ws://localhost:1/", token_url = "http://127.0.0.1:%d/", username = "u", password = "p" }]])
          :format(server.mute)
      end
      local url
      async(function()
        if state == "connecting" then url = ("ws://127.0.0.1:%d/"):format(server.mute)
        elseif state == "authorizing" then url = server:ws({ "accept", "silent" })
        elseif state == "backoff" then url = "ws://127.0.0.1:1/"
        elseif state == "closing" then url = server:ws({ "accept", "auth", "deaf" })
        elseif state == "failed" then url = server:ws({ "accept", { "auth", { errorCode = 203 } }, "silent" })
        else url = server:ws(OK)
        end
      end)()
      return ("{ url = %q, token = 't' }"):format(url)
    end

    for _, state in ipairs(STATES) do
      it("when the Lua state ends while it is " .. state, function()
        assert.equal(state, child(SCRIPT:format(options_for(state), state)))
      end)
    end

    local function has(program)
      return os.execute(("command -v %s >/dev/null"):format(program))
    end

    for _, state in ipairs { "connecting", "ready", "closing" } do
      it("in memory when the Lua state ends while it is " .. state, function()
        -- Two checkers in one process do not go together.
        if not has "valgrind" or os.getenv "LD_PRELOAD" or os.getenv "VALGRIND_LIB" then
          pending "valgrind cannot be used here"
          return
        end
        local valgrind = "valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "
          .. "--show-leak-kinds=definite --suppressions=tools/valgrind.supp"
        assert.equal(state, child(SCRIPT:format(options_for(state), state), valgrind))
      end)
    end
  end)
end)
