-- SPDX-License-Identifier: MIT
-- The control endpoint of a Bridge, over real sockets.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local bridge = require "trueconf.bridge"
local control = require "trueconf.bridge.control"
local helper = require "spec.support.helper"
local raw_client = require "spec.support.raw_client"
local support = require "spec.support.control"
local system = require "spec.support.system"

local KEY, LIMIT = support.KEY, support.LIMIT
local ask, act, served = support.ask, support.act, support.served

describe("the control endpoint", function()
  it("is not there unless it is asked for", served(function(server)
    assert.equal("not_found", ask(server, "GET", "state").error)
    assert.is_nil(server:control_key())
  end, { control = false }))

  it("answers nobody without the key", served(function(server)
    for _, key in ipairs { false, "", KEY .. "x", KEY:sub(1, -2), KEY:upper() } do
      for _, path in ipairs { "state", "nothing" } do
        local answer, status, headers = ask(server, "GET", path, nil, key)
        assert.equal(401, status)
        assert.equal("UNAUTHORIZED", answer.error)
        assert.equal("Bearer", headers["www-authenticate"])
      end
    end
    assert.equal(200, select(2, ask(server, "GET", "state")))
  end))

  it("answers this machine alone", function()
    for _, peer in ipairs { "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::FFFF:127.0.0.1" } do
      assert.is_true(core.is_loopback(peer), peer)
    end
    for _, peer in ipairs { "10.0.0.1", "128.0.0.1", "127.0.0.1.evil.test", "::2", "::ffff:10.0.0.1", "" } do
      assert.is_false(core.is_loopback(peer), peer)
    end
    local status
    local request = { peer = "192.0.2.7", method = "GET", path = "/control/state", query = {},
      headers = { authorization = "Bearer " .. KEY } }
    function request:respond(code) status = code end
    control.new({}, KEY):handle(request)
    assert.equal(403, status)
  end)

  -- Statuses of requests whose targets are sent as they are, by one program and on as few connections as possible.
  local function statuses(server, ...)
    local directory <close> = system.directory()
    local text = {}
    for place, target in ipairs { ... } do
      text[place] = ('request-target = "%s"\nurl = "%s"\nheader = "Authorization: Bearer %s"\nmax-time = %d\n'
        .. 'output = "/dev/null"\nwrite-out = "%%{http_code} "\n'):format(target:gsub("\\", "\\\\"),
        support.url(server, ""), KEY, LIMIT)
    end
    local path = system.write(directory:file "curl", table.concat(text, "next\n"))
    local child <close> = system.launch("curl -s -K " .. path)
    helper.eventually(function() return child:status() end, LIMIT)
    return child:log()
  end

  it("is found by its path as it is, in no other spelling", served(function(server)
    local spellings = {
      "/api/v4/#/../../../control/state", "/control/./state", "/control/../control/state", "//control/state",
      "/control//state", "/%63ontrol/state", "/control/st%61te", "/control/%2e/state", "/control/x/../state",
      "/control/state#x", [[/x/..\/control/state]], "/./control/state", "/control/state;x", "/control/state&x",
      "/x?y/../control/state",
    }
    local found = statuses(server, table.unpack(spellings))
    -- A fragment or a backslash makes a target malformed.
    assert.equal("400 " .. ("404 "):rep(8) .. "400 400 " .. ("404 "):rep(#spellings - 11), found)
    -- Of a query only the act complains.
    assert.equal("200 400 ", statuses(server, "/control/state", "/control/state?x=/../%2e"))
  end))

  it("is found on a connection that has carried something else, too", served(function(server)
    local headers = [[Host: localhost\r\nAuthorization: Bearer ]] .. KEY .. [[\r\n]]
    local other = [[send GET /api/v4/server HTTP/1.1\r\n]] .. headers
    local state = [[send GET /control/state HTTP/1.1\r\n]] .. headers
    local function answers(first, second)
      return raw_client.statuses(raw_client.run(server:port(), first .. [[\r\n]], [[until \r\n\r\n]], "pause 0.1",
        second .. [[Connection: close\r\n\r\n]], "read"))
    end
    assert.equal("200 200", answers(other, state))
    assert.equal("200 200", answers(state, other))
    assert.equal("200 200", answers(state, state))
  end))

  it("waits for the rest of a path", served(function(server)
    local text = raw_client.run(server:port(), "send G", "pause 0.05", "send ET /con", "pause 0.05", "send trol/sta",
      "pause 0.05", [[send te HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n]] ..
      [[Authorization: Bearer ]] .. KEY .. [[\r\n\r\n]], "read")
    assert.equal("200", raw_client.statuses(text))
  end))

  it("refuses what a proxy passes on", served(function(server)
    for _, header in ipairs {
      "X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7", "Forwarded: for=192.0.2.7", "Via: 1.1 proxy",
      "X-Forwarded-Host: chat.acme.test", "X-Forwarded-Proto: https", "x-original-uri: /x", "X-Client-IP: 192.0.2.7",
    } do
      local name, value = header:match "^(.-): (.*)$"
      local answer = assert(core.http {
        url = support.url(server, "state"), headers = { Authorization = "Bearer " .. KEY, [name] = value },
      })
      assert.equal(403, answer.status, header)
    end
  end))

  it("lets go of who begins and does not go on", served(function(server)
    local went = raw_client.run(server:port(), "send GET /contr", "shutdown", "read")
    assert.is_nil(went:find "200")
    assert.equal(200, select(2, ask(server, "GET", "state")))
  end))

  it("makes a key, another one each time", helper.async(function()
    local one, two = system.start_bridge { control = { key = true } }, system.start_bridge { control = { key = true } }
    assert.matches("^[%w_-]+$", one:control_key())
    assert.equal(32, #one:control_key())
    assert.not_equal(one:control_key(), two:control_key())
    assert.equal(200, select(2, ask(one, "GET", "state", nil, one:control_key())))
    one:stop(true)
    two:stop(true)
  end))

  it("takes no key that can be guessed, and does not repeat it", function()
    for _, key in ipairs { "short", ("x"):rep(129), "with spaces in the key", false, 5 } do
      local ok, err = pcall(bridge.start, { control = { key = key } })
      assert.is_false(ok)
      assert.matches("bridge.start: control: option 'key' must be", err)
      assert.is_nil(err:find("spaces in the", 1, true))
    end
    assert.error_matches(function() bridge.start { control = {} } end, "option 'key' is required")
  end)
end)

describe("people under control", function()
  it("have accounts", served(function(server)
    assert.same({ login = "noah", id = "noah@localhost", display_name = "noah", disabled = false },
      act(server, "accounts", { login = "noah", password = "secret" }))
    assert.is_true(server.accounts:authenticate("noah", "secret") ~= nil)
    local changed = act(server, "accounts", { login = "noah", display_name = "Noah", disabled = true })
    assert.equal("Noah", changed.display_name)
    assert.is_true(changed.disabled)
  end))

  it("write, answer, edit and read", served(function(server)
    local said = act(server, "say", { person = "mira", with = "herald", text = "1 < 2" })
    assert.equal("1 &lt; 2", said.text)
    assert.is_true(said.from_me)
    local read = act(server, "read", { person = "herald" }).messages
    assert.equal(1, #read)
    assert.equal(said.message_id, read[1].message_id)
    assert.same({}, server:unread "herald")
    assert.same({}, act(server, "read", { person = "herald" }).messages)
    local answer = act(server, "say", {
      person = "herald", chat_id = said.chat_id, text = "*so*", parse_mode = "markdown", reply_to = said.message_id,
    })
    assert.equal(said.message_id, answer.reply_to)
    assert.equal("*so*", answer.text)
    local edited = act(server, "edit", {
      person = "mira", chat_id = said.chat_id, message_id = said.message_id, text = "one",
    })
    assert.is_true(edited.edited)
    assert.equal("one", server:history(said.chat_id)[1].text)
  end))

  it("own groups and channels", served(function(server)
    local group = act(server, "chats", { person = "mira", group = "Plans" }).chat_id
    local channel = act(server, "chats", { person = "mira", channel = "News" }).chat_id
    local personal = act(server, "chats", { person = "mira", with = "herald" }).chat_id
    assert.equal(3, #server:person("mira"):chats())
    assert.equal(group, act(server, "say", { person = "mira", chat_id = group, text = "x" }).chat_id)
    assert.equal(channel, act(server, "say", { person = "mira", chat_id = channel, text = "x" }).chat_id)
    assert.equal(personal, act(server, "say", { person = "mira", with = "herald", text = "x" }).chat_id)
  end))

  it("click and see what comes of it", served(function(server)
    local bot = system.bot(server)
    bot:on("command", function() end)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local chat_id = act(server, "chats", { person = "mira", with = "herald" }).chat_id
    assert(bot:send_message(chat_id, "Deploy?", {
      buttons = { { { type = "command", label = "Yes", id = "yes", command = "/yes" } } },
    }))
    local message = act(server, "read", { person = "mira", timeout = 5 }).messages[1]
    assert.equal("Yes", message.buttons[1][1].label)
    assert.is_true(act(server, "click", { person = "mira", message_id = message.message_id, button = "yes" }).clicked)
    local answer, status = ask(server, "POST", "click", {
      person = "mira", message_id = message.message_id, button = "no",
    })
    assert.equal(409, status)
    assert.equal("ACCESS_DENIED", answer.error)
    bot:stop(0)
  end))

  it("are told of events, once, as soon as there are some", served(function(server)
    local function methods(path)
      local list = {}
      for place, event in ipairs(ask(server, "GET", path).events) do list[place] = event.method end
      return table.concat(list, " ")
    end
    assert.equal("", methods "events?person=mira&timeout=0")
    local waiting = system.begin(function() return methods "events?person=mira&timeout=30" end)
    helper.eventually(function() return next(server.control.polls[server:person "mira"] or {}) end)
    local began = core.monotonic()
    act(server, "say", { person = "herald", with = "mira", text = "hello" })
    assert.equal("createP2PChat sendMessage", waiting:wait(LIMIT))
    assert.is_true(core.monotonic() - began < LIMIT)
    assert.equal("", methods "events?person=mira&timeout=0.05")
  end))

  it("do not hold up a Bridge that stops", helper.async(function()
    local server = system.start_bridge { control = { key = KEY } }
    local url = server:url():gsub("^ws", "http")
    local polls = {}
    for place, path in ipairs { "events?person=mira&timeout=60", "read" } do
      polls[place] = system.begin(function()
        return core.http {
          url = url .. "/control/" .. path, headers = { Authorization = "Bearer " .. KEY },
          body = path == "read" and '{"person":"herald","timeout":60}' or nil,
        }
      end)
    end
    helper.eventually(function()
      local mira, herald = server.people.mira, server.people.herald
      return mira and herald and herald.waiters[1] and next(server.control.polls[mira] or {})
    end)
    server:stop()
    assert.equal(200, assert(polls[1]:wait(LIMIT)).status)
    assert.equal(503, assert(polls[2]:wait(LIMIT)).status)
  end))
end)

describe("faults under control", function()
  it("begin, strike and end while the Bridge runs", served(function(server)
    local answer = act(server, "faults", { seed = 7, duplicate = 2, silence = { getChats = 1 } })
    assert.same({ seed = 7, duplicate = 2, silence = { getChats = 1 } }, answer.faults)
    assert.same(answer.faults, server.faults)
    server.fault_injector:strikes("silence", "getChats")
    assert.same({ silence = 1 }, act(server, "faults", { duplicate = false }).struck)
    assert.same({ seed = 7, silence = { getChats = 1 } }, server.faults)
    assert.same({}, ask(server, "DELETE", "faults").faults)
    assert.same({}, server.faults)
  end))

  it("are refused when they are wrong", served(function(server)
    local answer, status = ask(server, "POST", "faults", { drop = "often" })
    assert.equal(400, status)
    assert.same({
      error = "INVALID", field = "drop", expected = "a probability up to 1 or a whole number", got = "'often'",
      message = "drop: expected a probability up to 1 or a whole number, got 'often'",
    }, answer)
    assert.same({ "flood", "the name of a fault" }, (function()
      local wrong = ask(server, "POST", "faults", { flood = 1 })
      return { wrong.field, wrong.expected }
    end)())
    assert.same({}, server.faults)
  end))
end)

describe("the state under control", function()
  it("tells of accounts and connections, and no secrets", served(function(server)
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    act(server, "say", { person = "herald", with = "mira", text = "hello" })
    local state = ask(server, "GET", "state")
    assert.equal(server:url(), state.url)
    assert.equal("5.5.6", state.version)
    assert.equal(1, state.connections)
    local function account(login, connections, unread)
      return {
        login = login, id = login .. "@localhost", display_name = login, disabled = false,
        connections = connections, unread = unread,
      }
    end
    assert.same({ account("herald", 1, 0), account("mira", 0, 1) }, state.accounts)
    local text = json.encode(state)
    for _, secret in ipairs { "4711", KEY, "$y$" } do assert.is_nil(text:find(secret, 1, true)) end
    bot:stop(0)
  end))
end)

describe("a request to control that is wrong", function()
  local CASES = {
    { "say", { person = "mira", with = "herald" }, "text", "text that is not empty", "nothing" },
    { "say", { person = "mira", with = "herald", text = "" }, "text", "text that is not empty", "an empty string" },
    { "say", { person = 5, with = "herald", text = "x" }, "person", "text that is not empty", "5" },
    { "say", { person = "nobody", with = "herald", text = "x" }, "person", "the login of an account", "'nobody'" },
    { "say", { person = "mira", with = "nobody", text = "x" }, "with", "the login of an account", "'nobody'" },
    { "say", { person = "mira", with = "MIRA", text = "x" }, "with", "somebody else", "the person" },
    { "say", { person = "mira", text = "x" }, "chat_id", "either chat_id or with", "neither" },
    { "say", { person = "mira", chat_id = "x", with = "herald", text = "x" }, "chat_id", "either chat_id or with",
      "both" },
    { "say", { person = "mira", with = "herald", text = "x", parse_mode = "bold" }, "parse_mode",
      "one of text, markdown, html", "a string" },
    { "chats", { person = "mira" }, "with", "one of with, group, channel, favorites", "none or several of them" },
    { "chats", { person = "mira", group = "a", channel = "b" }, "with", "one of with, group, channel, favorites",
      "none or several of them" },
    { "accounts", { login = "a@b" }, "login", "text without '@', '/' and spaces", "'a@b'" },
    { "accounts", { login = "a", password = {} }, "password", "text that is not empty", "an object or array" },
    { "accounts", { login = "a", disabled = "secret" }, "disabled", "true or false", "a string" },
    { "accounts", { login = "a", password = ("p"):rep(600) }, "password", "shorter than 512 bytes and without NUL",
      "one that will not do" },
    { "read", { person = "mira", timeout = 61 }, "timeout", "seconds from 0 to 60", "61" },
    { "click", { person = "mira", message_id = "x", button = "y", more = 1 }, "more",
      "one of button, message_id, person", "an unknown field" },
    { "say", "[1]", "body", "a JSON object", "something else" },
    { "say", "{", "body", "a JSON object", "something else" },
    { "say", "", "body", "a JSON object", "nothing" },
  }

  it("is answered with the field, what was expected and what came", served(function(server)
    for _, case in ipairs(CASES) do
      local answer, status = ask(server, "POST", case[1], case[2])
      assert.equal(400, status, case[3])
      assert.same({
        error = "INVALID", field = case[3], expected = case[4], got = case[5],
        message = ("%s: expected %s, got %s"):format(case[3], case[4], case[5]),
      }, answer)
    end
    assert.equal("timeout", ask(server, "GET", "events?person=mira&timeout=soon").field)
    assert.equal(2, #server.store:account_list())
  end))

  it("gets the errors that clients get", served(function(server)
    local answer, status = ask(server, "POST", "say", { person = "mira", chat_id = "none", text = "x" })
    assert.same({ 409, "CHAT_NOT_FOUND", 304 }, { status, answer.error, answer.code })
    answer, status = ask(server, "POST", "edit", { person = "mira", with = "herald", message_id = "none", text = "x" })
    assert.same({ 409, "MESSAGE_NOT_FOUND" }, { status, answer.error })
  end))

  it("may lead nowhere", served(function(server)
    assert.equal(404, select(2, ask(server, "GET", "nothing")))
    assert.equal(404, select(2, ask(server, "GET", "")))
    local _, status, headers = ask(server, "PUT", "faults", {})
    assert.equal(405, status)
    assert.equal("DELETE, POST", headers.allow)
  end))

  it("costs the Bridge nothing when the mistake is its own", served(function(server)
    server.person = function() error "broken" end
    local answer, status = ask(server, "POST", "read", { person = "mira" })
    assert.equal(500, status)
    assert.is_nil(answer.message:find("broken", 1, true))
    server.person = nil
    act(server, "read", { person = "mira" })
  end))
end)

describe("the page about control", function()
  local function blocks(language)
    local list = {}
    local pattern = "\n```" .. language .. "\n(.-)\n```"
    for block in system.read "docs/control.md":gmatch(pattern) do list[#list + 1] = block end
    return list
  end

  it("has scripts that run", served(function(server)
    local directory <close> = system.directory()
    local script <close> = system.launch_lua(system.write(directory:file "control.lua", blocks "lua"[1]))
    assert.equal(0, script:wait(LIMIT), script:log())
    assert.matches("^ws://127.0.0.1:%d+\t%S+\n$", script:log())
    local child <close> = system.launch("sh " .. system.write(directory:file "control.sh", blocks "sh"[1]), {
      environment = { URL = server:url():gsub("^ws", "http"), KEY = KEY },
    })
    assert.equal(0, child:wait(2 * LIMIT), child:log())
    local answers = {}
    for place, line in ipairs(system.lines(child.directory:file "log")) do
      answers[place] = assert(json.decode(line))
    end
    assert.equal(8, #answers)
    assert.equal("Mira", answers[1].display_name)
    assert.equal("hello", answers[3].messages[1].text)
    assert.equal("hello, Mira", answers[5].events[#answers[5].events].payload.content.text)
    assert.equal(0.01, answers[6].faults.drop)
    assert.equal("drop", answers[7].field)
    assert.equal(2, #answers[8].accounts)
  end, { accounts = { herald = "4711" } }))

  it("has a program for the WebSocket that runs", served(function(server)
    local directory <close> = system.directory()
    local child <close> = system.launch("/usr/bin/python3 -B " .. system.write(directory:file "watch.py",
      blocks "python"[1]), { environment = { URL = server:url():gsub("^ws", "http"), KEY = KEY } })
    assert.equal(0, child:wait(2 * LIMIT), child:log())
    local lines = {}
    for line in child:log():gmatch "(.-) *\n" do lines[line] = true end
    assert.same({ ready = true, ["1"] = true, ["2"] = true, ["person createP2PChat"] = true,
      ["person sendMessage"] = true }, lines)
  end))

  it("names every act and each of its fields", function()
    local page = system.read "docs/control.md"
    for name, described in pairs(control.acts) do
      local row = page:match("\n| `" .. name .. "` |([^\n]*)")
      assert.is_truthy(row, name)
      if described.http and described.http ~= "POST " .. name then
        assert.is_truthy(row:find("`" .. described.http .. "`", 1, true), name)
      end
      for field, kind in pairs(described.fields or {}) do
        -- The page describes the fields that most acts have in words.
        local in_words = field == "person" or field == "chat_id" or field == "with"
        local shown = "`" .. field .. (kind:find "%?$" and "?" or "") .. "`"
        assert.is_truthy(in_words or row:find(shown, 1, true), name .. " " .. shown)
      end
    end
  end)
end)
