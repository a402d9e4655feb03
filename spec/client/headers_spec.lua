-- SPDX-License-Identifier: MIT
-- The option `headers`: what it takes, and that it reaches the server with every request and connection, and nobody
-- else.

local command = require "spec.support.command"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"
local trueconf = require "trueconf"

local LIMIT = 20                        -- seconds any single step may take
local SECRET = "gate-4711"
local async = helper.async

describe("the option headers", function()
  local server

  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  local function refusal(headers)
    local ok, message = pcall(function()
      local made = trueconf.bot { token = "t", headers = headers }
      return made
    end)
    assert.is_false(ok)
    assert.is_nil(message:find(SECRET, 1, true), message)
    return message:match "^spec/client/headers_spec.lua:%d+: trueconf.%a+: option 'headers' (.*)$" or message
  end

  it("takes names and texts, and blames the caller's line for anything else", function()
    for complaint, headers in pairs {
      ["must be a table, got a string"] = "Origin: " .. SECRET,
      ["must have names of headers as its keys, got a number"] = { "Origin: " .. SECRET },
      ['must have names of letters, digits and hyphens as its keys, got "A B"'] = { ["A B"] = SECRET },
      ['must have names of letters, digits and hyphens as its keys, got ""'] = { [""] = SECRET },
      ["must have a string as the value of 'X-Gate', got a number"] = { ["X-Gate"] = 4711 },
      ["must not have an empty value for 'X-Gate'"] = { ["X-Gate"] = " \t" },
      ["has 'x-gate' twice, as 'X-Gate' too"] = { ["X-Gate"] = SECRET, ["x-gate"] = SECRET },
      ["must have at most 8192 bytes in names and values, got 8193"] = { X = ("x"):rep(8192) },
    } do
      assert.equal(complaint, refusal(headers))
    end
    for _, value in ipairs { SECRET .. "\r\nHost: x", SECRET .. "\n", SECRET .. "\0", "\127" .. SECRET, "\27" } do
      assert.equal("must not have control characters, such as ends of lines, in the value of 'X-Gate'",
        refusal { ["X-Gate"] = value })
    end
    local many = {}
    for number = 1, 33 do many["X-" .. number] = "x" end
    assert.equal("must have at most 32 headers, got 33", refusal(many))
    many["X-33"] = nil
    assert(trueconf.client { token = "t", headers = many })
  end)

  it("leaves those that belong to a request itself alone", function()
    for _, name in ipairs {
      "Host", "connection", "UPGRADE", "Sec-WebSocket-Key", "sec-websocket-protocol", "Content-Length", "Content-Type",
      "Transfer-Encoding", "Proxy-Authorization", "Expect", "Range", "If-Range", "Upload-Task-Id", "Accept",
      "Accept-Encoding", "TE", "Trailer",
    } do
      assert.equal(("must not set '%s', which belongs to each request itself"):format(name),
        refusal { [name] = SECRET })
    end
    for _, name in ipairs { "Origin", "Authorization", "Cookie", "User-Agent", "X-Gate", "Accept-Language" } do
      assert(trueconf.client { token = "t", headers = { [name] = SECRET } })
    end
  end)

  -- One line for each request that nginx saw, its path without what differs.
  local function seen(directory)
    local lines = {}
    for line in system.read(directory:file "headers.log"):gmatch "[^\n]+" do
      if not line:find "^GET / " then lines[#lines + 1] = line end
    end
    table.sort(lines)
    return lines
  end

  local function log_headers(text)
    return "log_format headers '$request_method $uri $http_origin $http_x_gate $http_user_agent';\n"
      .. "access_log headers.log headers;\n" .. text
  end

  it("goes with token, WebSocket, files and all other requests", async(function()
    local directory <close> = system.directory()
    local there = system.start_bridge()
    local proxy = nginx.start(directory, there:port(), log_headers)
    local lines, errors = {}, {}
    local headers = { Origin = "https://gate.test", ["X-Gate"] = SECRET, ["user-agent"] = "herald/1" }
    local bot = system.bot(there, {
      url = proxy:url "https", ca_file = directory:file "ca.pem", headers = headers,
      log = { level = "debug", sink = function(line) lines[#lines + 1] = line end },
      on_trace = function(_, frame) lines[#lines + 1] = frame end,
    })
    headers.Origin = "https://changed.test"
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local chat_id = assert(bot:create_p2p_chat "mira@localhost")
    local sent = assert(bot:send_file(chat_id, { data = "plan", name = "plan.txt" }))
    assert.equal("plan", bot:download(sent))
    bot:server_version()
    there:fault { files_status = 503 }
    errors[1] = select(2, bot:download(sent, { timeout = 2 }))
    bot:stop(0)
    proxy:stop()
    local paths = {}
    for _, line in ipairs(seen(directory)) do
      local path, rest = line:match "^(%u+ %S+) (.*)$"
      assert.equal(("https://gate.test %s herald/1"):format(SECRET), rest)
      paths[#paths + 1] = path:gsub("/[^/]*%x%x%x%x%x%x[^/]*$", "/ID")
    end
    local told = table.concat(paths, "\n")
    for _, path in ipairs {
      "POST [%w/]+/oauth/token", "GET /websocket/chat_bot/", "POST [%w/]+/files", "GET [%w/]+/ID", "GET [%w/]+/server",
    } do
      assert.matches(path, told)
    end
    for _, text in ipairs(lines) do assert.is_nil(text:find(SECRET, 1, true), text) end
    for _, err in ipairs(errors) do assert.is_nil(tostring(err):find(SECRET, 1, true)) end
    assert.is_true(#lines > 5)
    there:stop()
  end))

  it("is for the server, not for a proxy that tunnels to it", async(function()
    local path = "gate/websocket/chat_bot/"
    server:set { [path] = { { { "accept" }, { "auth", { userId = "herald@test/1" } }, { "silent" } } } }
    local client = trueconf.client {
      url = ("ws://127.0.0.1:%d/gate"):format(server.main), token = "t",
      proxy = ("http://127.0.0.1:%d"):format(server.proxy), headers = { ["X-Gate"] = SECRET },
    }
    client:start()
    assert(client:wait_ready(LIMIT))
    client:stop(0)
    local connects = server:log("proxy", "CONNECT")
    assert.equal(1, #connects)
    assert.is_nil(connects[1].headers["x-gate"])
    local visit = server:log(path, "visit")[1]
    assert.equal(SECRET, visit.headers["x-gate"])
    assert.equal("trueconf-lua/" .. core._VERSION, visit.headers["user-agent"])
  end))

  it("has room in the head of a handshake, within bounds", async(function()
    local name = server:script { "accept", { "text", "hello" }, "silent" }
    local url = ("ws://127.0.0.1:%d/%s"):format(server.main, name)
    local long = ("x"):rep(8000)
    local socket = assert(core.socket { url = url, headers = { ["X-Long"] = long, ["X-Empty"] = "" } })
    assert.equal("hello", socket:receive(LIMIT))
    socket:drop()
    local headers = server:log(name, "visit")[1].headers
    assert.equal(long, headers["x-long"])
    assert.equal("", headers["x-empty"])
    local _, err = core.socket { url = url, headers = { ["X-Long"] = ("x"):rep(70000) } }
    assert.equal("LIMIT", err.name)
    assert.equal(1, #server:log(name, "visit"))
  end))

  it("is a flag of the commands, checked likewise", async(function()
    local there = system.start_bridge()
    local directory <close> = system.directory()
    local proxy = nginx.start(directory, there:port(), log_headers)
    local function token(...)
      return command.run({ "token", "--print", ... }, { environment = command.herald(proxy:url "https") })
    end
    local ca_file = directory:file "ca.pem"
    local code = token("--ca-file", ca_file, "--header", "Origin: https://gate.test", "--header", "X-Gate:" .. SECRET)
    assert.equal(0, code)
    assert.matches("^POST %S+ https://gate.test " .. SECRET:gsub("%-", "%%-") .. " trueconf%-lua/", seen(directory)[1])
    for given, complaint in pairs {
      Origin = "option '--header' must be 'Name: value'", ["Host: x"] = "--header must not set 'Host'",
      [": x"] = "option '--header' must be 'Name: value'", ["A: "] = "--header must not have an empty value for 'A'",
    } do
      local status, _, errors = token("--header", given)
      assert.equal(2, status)
      assert.is_truthy(errors:find(complaint, 1, true), errors)
    end
    local status, _, errors = token("--header", "A: " .. SECRET, "--header", "A: b")
    assert.equal(2, status)
    assert.matches("%-%-header has 'A' twice", errors)
    proxy:stop()
    there:stop()
  end))
end)
