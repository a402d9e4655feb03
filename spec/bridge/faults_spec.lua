-- SPDX-License-Identifier: MIT
-- Faults on purpose, over real sockets; those that are as old as the Bridge are in bridge/server_spec.lua.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local fault_injector = require "trueconf.bridge.fault_injector"
local faults = require "trueconf.bridge.faults"
local observers = require "trueconf.bridge.observers"
local helper = require "spec.support.helper"
local raw_client = require "spec.support.raw_client"
local system = require "spec.support.system"

-- A Bridge that nobody watches.
local NOBODY = { observers = observers.new(), on_sent = function() end }
local LIMIT = 10                        -- seconds any single step may take
-- With a collector that never rests 200 take too long.
local MESSAGES = os.getenv "TORTURE" == "1" and 20 or 200
local TOKEN_PATH = "/bridge/api/client/v1/oauth/token"
local FILES_PATH = "/bridge/api/client/v1/files"

local function served(body)
  return helper.async(function()
    local server = system.start_bridge { ping_interval = 0 }
    helper.finally(function() server:stop(true) end, body, server)
  end)
end

local function connect(server)
  return assert(core.socket {
    url = server:url() .. "/websocket/chat_bot/", connect_timeout = LIMIT, ping_interval = 0,
  })
end

local function send(socket, id, method, payload)
  assert(socket:send(json.encode { type = 1, id = id, method = method, payload = payload or {} }))
end

local function receive(socket)
  return assert(json.decode(assert(socket:receive(LIMIT))))
end

local function request(socket, id, method, payload)
  send(socket, id, method, payload)
  return receive(socket)
end

local function login(server)
  local socket = connect(server)
  assert.is_string(request(socket, 1, "auth", { token = server:mint_token "herald", tokenType = "JWT" }).payload.userId)
  assert.equal("getFileUploadLimits", receive(socket).method)
  return socket
end

local function ask_name(socket, id)
  return request(socket, id, "getUserDisplayName", { userId = "mira@localhost" }).payload
end

-- The frames that still come before the end, and the reason of the end.
local function rest(socket)
  local frames = {}
  while true do
    local data, err = socket:receive(LIMIT)
    if not data then return frames, err end
    frames[#frames + 1] = data
  end
end

local function http(server, path, more)
  local asked = { url = server:url():gsub("^ws", "http") .. path, timeout = LIMIT }
  for name, value in pairs(more or {}) do asked[name] = value end
  return core.http(asked)
end

describe("refused upgrades", function()
  it("get the status that was wished, or 503, until the fault is over", served(function(server)
    local key = { Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
      ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==" }
    for _, case in ipairs { { 502, 502 }, { true, 503 } } do
      server:fault { refuse_upgrades = case[1] }
      assert.equal(case[2], assert(http(server, "/websocket/chat_bot/", { headers = key })).status)
    end
    assert.error_matches(function() server:fault { refuse_upgrades = 200 } end, "to 599, or true, got number 200")
    assert.same({ refuse_upgrades = 502, silent = true }, faults.parse { "refuse_upgrades=502", "silent" })
    assert.same({ refuse_upgrades = true }, faults.parse { "refuse_upgrades" })
    server:fault()
    login(server):close()
  end))
end)

-- A function that sends a file whose upload was begun.
local function upload(server, socket, id, bytes)
  bytes = bytes or "hello"
  local begun = request(socket, id, "uploadFile", { fileSize = #bytes, fileName = "a.txt" }).payload
  return function()
    return http(server, FILES_PATH, {
      headers = { ["Upload-Task-Id"] = begun.uploadTaskId },
      form = { { name = "file", filename = "a.txt", type = "text/plain", data = bytes } },
    })
  end
end

describe("dropped frames", function()
  -- Two answers are asked for, the second one is struck; returns what came of them, raw.
  local function dropped_at(server, place)
    local socket = login(server)
    server:fault { seed = 1, drop = 2, drop_place = place }
    assert.equal("mira", ask_name(socket, 2).displayName)
    send(socket, 3, "getUserDisplayName", { userId = "mira@localhost" })
    local frames, err = rest(socket)
    assert.not_equal(1000, err.code)
    helper.eventually(function() return server:connections() == 0 end)
    assert.same({ drop = 1 }, server.fault_injector.struck)
    server:fault()
    server.fault_injector.struck = {}
    return frames
  end

  it("are lost before, and come whole before a drop after them", served(function(server)
    assert.same({}, dropped_at(server, "before"))
    assert.same({}, dropped_at(server, "middle"))
    local frames = dropped_at(server, "after")
    assert.equal(1, #frames)
    assert.equal(3, json.decode(frames[1]).id)
  end))

  -- A client without a library sees the bytes: half of the frame in the middle, none before.
  it("end in the middle", helper.async(function()
    local closed = core.waiter()
    local listener
    listener = assert(core.listen {
      websocket_paths = { "/" }, ping_interval = 0,
      on_open = function(connection) connection:drop(("x"):rep(100), tonumber(connection:protocol():match "%d+")) end,
      on_close = function(_, code) closed:wake(code) end,
      subprotocol = "a60",
    })
    local text = raw_client.run(listener:port(),
      "send GET / HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
      .. "Sec-WebSocket-Version: 13\\r\\n"
      .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Protocol: a60\\r\\n\\r\\n", "read")
    assert.equal("\x81\x64" .. ("x"):rep(60), text:match "\r\n\r\n(.*)$")
    assert.equal(1006, closed:wait(LIMIT))
    listener:close(true)
  end))

  it("are cut where the fault says", function()
    for place, expected in pairs { before = {}, middle = { "abcdef", 3 }, after = { "abcdef", 6 } } do
      local injector = fault_injector.new(NOBODY, { drop = 1, drop_place = place })
      local given
      injector:send({ drop = function(_, ...) given = { ... } end }, "abcdef")
      assert.same(expected, given)
    end
  end)

  it("take a message and a number of its bytes", helper.async(function()
    local tried = core.waiter()
    local listener = assert(core.listen {
      websocket_paths = { "/" },
      on_open = function(connection)
        local ok, err = pcall(connection.drop, connection, "abc", 4)
        connection:drop()
        tried:wake { ok, err }
      end,
    })
    local socket = core.socket { url = ("ws://127.0.0.1:%d/"):format(listener:port()) }
    if socket then socket:drop() end
    local result = assert(tried:wait(LIMIT))
    assert.is_false(result[1])
    assert.matches("at most the bytes of the message expected", result[2])
    listener:close(true)
  end))
end)

describe("chance", function()
  local function run(seed)
    local injector = fault_injector.new(NOBODY, { drop = 0.3, duplicate = 0.5 })
    injector:start(seed)
    local struck = {}
    for place = 1, 400 do struck[place] = injector:strikes "drop" and "x" or "." end
    return table.concat(struck), injector
  end

  it("is the same for the same seed, and another for another one", function()
    assert.equal((run(7)), (run(7)))
    assert.not_equal((run(7)), (run(8)))
    assert.not_equal((run(nil)), (run(nil)))
  end)

  it("is as frequent as its rate", function()
    for seed = 1, 5 do
      local _, injector = run(seed)
      assert.is_true(injector.struck.drop > 80 and injector.struck.drop < 160)
    end
  end)

  it("of one fault does not depend on others", function()
    local alone = run(7)
    local injector = fault_injector.new(NOBODY, { drop = 0.3, duplicate = 0.5 })
    injector:start(7)
    local struck = {}
    for place = 1, 400 do
      injector:strikes "duplicate"
      struck[place] = injector:strikes "drop" and "x" or "."
    end
    assert.equal(alone, table.concat(struck))
  end)

  it("strikes every n-th time where a rate is a whole number", function()
    local injector = fault_injector.new(NOBODY, { drop = 3 })
    local struck = ""
    for _ = 1, 7 do struck = struck .. (injector:strikes "drop" and "x" or ".") end
    assert.equal("..x..x.", struck)
  end)

  it("begins anew when the seed is given again", served(function(server)
    local function codes()
      server:fault { seed = 11, request_error = 0.5 }
      local socket, seen = login(server), {}
      for id = 2, 30 do seen[#seen + 1] = ask_name(socket, id).errorCode or 0 end
      socket:close()
      return table.concat(seen, " ")
    end
    local first = codes()
    assert.is_truthy(first:find "300" and first:find "%f[%d]0")
    assert.equal(first, codes())
  end))
end)

describe("requests", function()
  it("get no answer, of one method or of every n-th", served(function(server)
    local socket = login(server)
    server:fault { silence = { getUserDisplayName = 1 } }
    send(socket, 2, "getUserDisplayName", { userId = "mira@localhost" })
    assert.equal(3, request(socket, 3, "getChats", { count = 10, page = 1 }).id)
    server:fault { silence = 2 }
    assert.equal(4, request(socket, 4, "getChats", { count = 10, page = 1 }).id)
    send(socket, 5, "getChats", { count = 10, page = 1 })
    assert.equal(6, request(socket, 6, "getChats", { count = 10, page = 1 }).id)
    assert.equal(2, server.fault_injector.struck.silence)
    socket:close()
  end))

  it("are refused with 300 or another code, and not carried out", served(function(server)
    local socket = login(server)
    server:fault { request_error = { createP2PChat = 1 } }
    assert.same({ errorCode = 300 }, request(socket, 2, "createP2PChat", { userId = "mira@localhost" }).payload)
    assert.same({}, server:person("herald"):chats())
    assert.equal("mira", ask_name(socket, 3).displayName)
    server:fault { request_error_code = 203 }
    assert.same({ errorCode = 203 }, request(socket, 4, "createP2PChat", { userId = "mira@localhost" }).payload)
    server:fault()
    assert.is_string(request(socket, 5, "createP2PChat", { userId = "mira@localhost" }).payload.chatId)
    socket:close()
  end))

  it("wait for any time up to a limit, so that answers overtake each other", served(function(server)
    local socket = login(server)
    server:fault { seed = 3, delay_up_to = 0.2 }
    for id = 2, 21 do send(socket, id, "getUserDisplayName", { userId = "mira@localhost" }) end
    local order, sorted = {}, {}
    for place = 1, 20 do order[place] = receive(socket).id end
    for place, id in ipairs(order) do sorted[place] = id end
    table.sort(sorted)
    assert.equal(2, sorted[1])
    assert.equal(21, sorted[20])
    assert.not_same(sorted, order)
    socket:close()
  end))

  it("of authorization find their token expired now and then", served(function(server)
    server:fault { expire = 2 }
    local token = server:mint_token "herald"
    local socket = connect(server)
    assert.is_string(request(socket, 1, "auth", { token = token, tokenType = "JWT" }).payload.userId)
    socket:close()
    socket = connect(server)
    assert.equal(203, request(socket, 1, "auth", { token = token, tokenType = "JWT" }).payload.errorCode)
    token = server:mint_token "herald"
    assert.is_string(request(socket, 2, "auth", { token = token, tokenType = "JWT" }).payload.userId)
    socket:close()
  end))
end)

describe("notifications", function()
  local function texts(socket, count)
    local list = {}
    for place = 1, count do list[place] = receive(socket).payload.content.text end
    return list
  end

  -- A connection of herald that has seen the chat appear, and mira's side of the chat.
  local function scene(server)
    local socket = login(server)
    local chat = server:person("mira"):chat_with "herald"
    assert.equal("createP2PChat", receive(socket).method)
    return socket, chat
  end

  it("come twice", served(function(server)
    local socket, chat = scene(server)
    server:fault { duplicate = 2 }
    for _, text in ipairs { "a", "b", "c" } do chat:say(text) end
    assert.same({ "a", "b", "b", "c" }, texts(socket, 4))
    socket:close()
  end))

  it("change places with the next one, or come a little later", served(function(server)
    local socket, chat = scene(server)
    server:fault { reorder = 2 }
    for _, text in ipairs { "a", "b", "c", "d" } do chat:say(text) end
    assert.same({ "a", "c", "b", "d" }, texts(socket, 4))
    chat:say "e"
    assert.same({ "e" }, texts(socket, 1))
    assert.equal(2, server.fault_injector.struck.reorder)
    socket:close()
  end))

  it("come later than answers", served(function(server)
    local socket, chat = scene(server)
    server:fault { notification_delay = 0.2 }
    chat:say "a"
    chat:say "b"
    assert.equal("mira", ask_name(socket, 2).displayName)
    assert.same({ "a", "b" }, texts(socket, 2))
    socket:close()
  end))
end)

describe("idle connections", function()
  it("are dropped, those that are open already too", served(function(server)
    local old = login(server)
    server:fault { idle_drop = 0.1 }
    local frames, err = rest(old)
    assert.same({}, frames)
    assert.equal("CLOSED", err.name)
    assert.equal(1, server.fault_injector.struck.idle_drop)
  end))

  it("live as long as frames pass", served(function(server)
    server:fault { idle_drop = 0.5 }
    local socket, stop, id = login(server), core.monotonic() + 0.8, 1
    while core.monotonic() < stop do
      id = id + 1
      assert.equal("mira", ask_name(socket, id).displayName)
      core.sleep(0.02)
    end
    rest(socket)
    assert.equal(1, server.fault_injector.struck.idle_drop)
  end))
end)

describe("HTTP requests", function()
  it("for tokens are answered 503 now and then", served(function(server)
    server:fault { token_error = 2 }
    local statuses = {}
    for place = 1, 4 do statuses[place] = assert(http(server, TOKEN_PATH, { body = "{}" })).status end
    assert.same({ 400, 503, 400, 503 }, statuses)
  end))

  it("with files are answered 503, and go through when they are tried again", served(function(server)
    local socket = login(server)
    local try = upload(server, socket, 2)
    server:fault { files_error = 1 }
    assert.equal(503, assert(try()).status)
    assert.equal(503, assert(http(server, FILES_PATH .. "/ab")).status)
    server:fault { files_error = false }
    local answer = assert(try())
    assert.equal(200, answer.status, answer.body)
    socket:close()
  end))

  it("with files are cut off", served(function(server)
    local socket = login(server)
    local try = upload(server, socket, 2)
    server:fault { upload_cut = 1 }
    local answer, err = try()
    assert.is_nil(answer)
    assert.equal("DISCONNECTED", err.name)
    server:fault()
    assert.equal(200, assert(try()).status)
    socket:close()
  end))
end)

describe("uploads", function()
  it("can be slow, and cut off in the middle", served(function(server)
    local socket = login(server)
    local try = upload(server, socket, 2, ("x"):rep(200000))
    server:fault { upload_rate = 1000000, upload_cut_after = 100000 }
    local began = core.monotonic()
    local answer, err = try()
    assert.is_nil(answer)
    assert.equal("DISCONNECTED", err.name)
    assert.is_true(core.monotonic() - began > 0.05)
    server:fault { upload_cut_after = false }
    try = upload(server, socket, 3, ("x"):rep(200000))
    began = core.monotonic()
    assert.equal(200, assert(try()).status)
    assert.is_true(core.monotonic() - began > 0.15)
    socket:close()
  end))
end)

describe("faults of every name", function()
  local SAMPLES = {
    seed = "7", refuse_upgrades = "502", token_status = "500", token_error = "0.5", token_silent = "true",
    silent = "true", silence = "2", auth_error = "203", expire = "0.1", request_error = "3", request_error_code = "300",
    delay = "0.1", delay_up_to = "0.2", notification_delay = "0.3", drop = "0.01", drop_place = "middle",
    duplicate = "2", reorder = "3", idle_drop = "5", files_status = "503", files_error = "1", upload_cut = "1",
    upload_cut_after = "9", upload_rate = "8", file_delay = "0.5", download_rate = "7", download_cut = "6",
    drop_at = "auth",
  }

  it("can be given to a command, set and ended", served(function(server)
    for name in pairs(faults.RULES) do
      local given = assert(faults.parse { name .. "=" .. assert(SAMPLES[name], name) })
      server:fault(given)
      assert.equal(SAMPLES[name], tostring(server.faults[name]))
      server:fault { [name] = false }
      assert.same({}, server.faults)
    end
  end))
end)

describe("faults that are wrong", function()
  it("are refused with what was expected and what came", served(function(server)
    for name, case in pairs {
      drop = { 1.5, "a probability up to 1 or a whole number, got number 1%.5" },
      duplicate = { 0, "a probability" }, delay = { -1, "a number of seconds, got number %-1" },
      silence = { { getNothing = 1 }, "or a table of such by method, got table" },
      request_error = { { auth = 2.5 }, "or a table" }, seed = { "x", "a whole number, got 'x'" },
      token_status = { 200, "an HTTP status from 400 to 599, got number 200" },
      download_cut = { -1, "a number of bytes" }, drop_place = { "end", "one of before, middle, after, got 'end'" },
    } do
      local function set() server:fault { [name] = case[1] } end
      assert.error_matches(set, "fault '" .. name .. "' must be .*" .. case[2])
      assert.is_nil(server.faults[name])
    end
  end))

  it("are read from words", function()
    assert.same({ drop = 0.01, silent = true, seed = 7, drop_place = "after", silence = { getChats = 1, auth = 0.5 } },
      faults.parse { "drop=0.01", "silent", "seed=7", "drop_place=after", "silence.getChats=1", "silence.auth=0.5" })
    assert.same({ token_silent = false }, faults.parse { "token_silent=false" })
    local read, complaint = faults.parse { "flood=1" }
    assert.is_nil(read)
    assert.equal("unknown fault 'flood'", complaint)
    assert.equal("fault 'drop' must be a probability up to 1 or a whole number, got 'often'",
      select(2, faults.parse { "drop=often" }))
  end)
end)

describe("a bot on a Bridge with many faults", function()
  it("handles each of many messages and keeps its word", helper.async(function()
    local server = system.start_bridge()
    server:fault {
      seed = 7, drop = 0.01, delay_up_to = 0.01, duplicate = 0.05, reorder = 0.1,
      request_error = { sendMessage = 0.05 }, expire = 0.2, token_error = 0.2,
    }
    local bot, handled, different = system.bot(server), {}, 0
    bot:on_message(function(message)
      different = different + (handled[message.text] and 0 or 1)
      handled[message.text] = (handled[message.text] or 0) + 1
      local _, err = message:reply("re " .. message.text)
      assert(not err or err.outcome, err)
    end)
    bot:start()
    local chats = {}
    for n = 1, 4 do chats[n] = server:person("mira" .. n):chat_with "herald" end
    for n = 1, MESSAGES do
      assert(chats[n % 4 + 1]:say("m" .. n))
      if n % 10 == 0 then core.sleep(0.02) end
    end
    helper.eventually(function() return different == MESSAGES and #server:unread "herald" == 0 end, 20)
    for name in pairs { drop = 1, duplicate = 1, reorder = 1, request_error = 1 } do
      assert.is_truthy(server.fault_injector.struck[name] or MESSAGES < 200, name)
    end
    bot:stop(0)
    server:stop(true)
  end))
end)
