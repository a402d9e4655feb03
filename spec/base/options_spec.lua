-- SPDX-License-Identifier: MIT

local options = require "trueconf.base.options"

local schema = {
  url = { type = "string", required = true },
  password = { type = "string" },
  window = { type = "integer", default = 64, min = 1, max = 65536 },
  timeout = { type = "number", default = 30, min = 0 },
  verify = { type = "boolean", default = true },
  tls = { type = "table" },
  token = { type = "string|function" },
  mode = { enum = { "text", "html", 3 } },
  path = { type = "string", check = function(value) return value:sub(1, 1) == "/", "must begin with '/'" end },
  anything = {},
}

local function with(name, value)
  return { url = "ws://localhost", [name] = value }
end

local function bot(given)
  local checked = options.check(schema, given)
  return checked
end

local function mistake(given)
  local ok, message = pcall(function()
    local checked = bot(given)
    return checked
  end)
  assert.is_false(ok)
  return (message:gsub("^.-:%d+: ", ""))
end

describe("options.check", function()
  it("fills in the defaults in a new table", function()
    local given = { url = "ws://localhost", window = 8 }
    local checked = bot(given)
    assert.same({ url = "ws://localhost", window = 8, timeout = 30, verify = true }, checked)
    assert.same({ url = "ws://localhost", window = 8 }, given)
    assert.not_equal(given, checked)
  end)

  it("keeps copies of plain tables, and objects as they are", function()
    local tls, object = { ca_file = "a.pem" }, setmetatable({}, {})
    local checked = bot(with("tls", tls))
    tls.ca_file = "b.pem"
    assert.equal("a.pem", checked.tls.ca_file)
    assert.equal(object, bot(with("tls", object)).tls)
  end)

  it("takes nil for an empty table", function()
    assert.same({ a = 1 }, options.check({ a = { default = 1 } }, nil))
  end)

  it("takes false as a value", function()
    assert.is_false(bot(with("verify", false)).verify)
    assert.is_false(bot(with("anything", false)).anything)
    assert.is_false(options.check({ a = { default = false } }, {}).a)
  end)

  it("refuses unknown options by name and says what was meant", function()
    assert.equal("unknown option 'pasword', did you mean 'password'?", mistake(with("pasword", "x")))
    assert.equal("unknown option 'Window', did you mean 'window'?", mistake(with("Window", 1)))
    assert.equal("unknown option 'colour'; there are anything, mode, password, path, timeout, tls, token, url, verify, "
      .. "window", mistake(with("colour", 1)))
    assert.equal("unknown option [1]: option names are strings", mistake { "ws://localhost" })
    assert.equal("unknown option boolean: option names are strings", mistake(with(true, 1)))
    assert.matches("^unknown option '" .. ("w"):rep(100) .. "'; there are ", mistake(with(("w"):rep(100), 1)))
  end)

  it("names the option, the expected and the given type", function()
    assert.equal("option 'window' must be an integer, got a string", mistake(with("window", "8")))
    assert.equal("option 'window' must be an integer, got a number with a fraction", mistake(with("window", 1.5)))
    assert.equal("option 'timeout' must be a number, got a boolean", mistake(with("timeout", true)))
    assert.equal("option 'timeout' must be a number, got NaN", mistake(with("timeout", 0 / 0)))
    assert.equal("option 'verify' must be a boolean, got a string", mistake(with("verify", "no")))
    assert.equal("option 'tls' must be a table, got a function", mistake(with("tls", print)))
    assert.equal("option 'token' must be a string or a function, got a table", mistake(with("token", {})))
    assert.equal("option 'url' is required", mistake {})
  end)

  it("helps with a number given for a string, and does not print it", function()
    assert.equal("option 'password' must be a string, got a number; put it in quotes", mistake(with("password", 4711)))
    assert.equal("option 'token' must be a string or a function, got a number; put it in quotes",
      mistake(with("token", 4711)))
  end)

  it("takes each type of a union", function()
    assert.equal("t", bot(with("token", "t")).token)
    assert.equal(print, bot(with("token", print)).token)
  end)

  it("takes a whole float for an integer", function()
    assert.equal("integer", math.type(bot(with("window", 1e3)).window))
    assert.equal(1000, bot(with("window", 1e3)).window)
    assert.equal("float", math.type(bot(with("timeout", 2.0)).timeout))
  end)

  it("checks ranges", function()
    assert.equal("option 'window' must be at least 1, got 0", mistake(with("window", 0)))
    assert.equal("option 'window' must be at most 65536, got 65537", mistake(with("window", 65537)))
    assert.equal("option 'timeout' must be at least 0, got -0.5", mistake(with("timeout", -0.5)))
    assert.equal(1, bot(with("window", 1)).window)
    assert.equal(65536, bot(with("window", 65536)).window)
  end)

  it("checks enums", function()
    assert.equal("html", bot(with("mode", "html")).mode)
    assert.equal(3, bot(with("mode", 3)).mode)
    assert.equal("option 'mode' must be one of 'text', 'html', 3", mistake(with("mode", "markdown")))
  end)

  it("asks the schema's own check", function()
    assert.equal("/a", bot(with("path", "/a")).path)
    assert.equal("option 'path' must begin with '/'", mistake(with("path", "a")))
    assert.equal("option 'path' must be a string, got a table", mistake(with("path", {})))
    local bare = { a = { check = function() return false end } }
    assert.error_matches(function() options.check(bare, { a = 1 }) end, "option 'a' has an invalid value")
  end)

  it("refuses options that are no table", function()
    assert.equal("options must be a table, got a string", mistake("ws://localhost"))
    assert.equal("options must be a table, got a boolean", mistake(false))
  end)

  it("puts the name of the function before the message", function()
    assert.error_matches(function() options.check(schema, {}, 1, "trueconf.bot") end,
      "trueconf.bot: option 'url' is required")
  end)

  it("blames the line of the caller", function()
    local function open(given, level)
      local checked = options.check(schema, given, level)
      return checked
    end
    local function outer(given)
      local checked = open(given, 3)
      return checked
    end
    local here = debug.getinfo(1, "l").currentline
    local _, message = pcall(function() local x = open {} return x end)
    assert.matches("base/options_spec.lua:" .. here + 1 .. ": ", message)
    _, message = pcall(function() local x = outer {} return x end)
    assert.matches("base/options_spec.lua:" .. here + 3 .. ": ", message)
  end)

  it("reports the same one of several mistakes each time", function()
    local many, wrong = {}, {}
    for letter in ("qwertyuiopasdfghjklzxcvbnm"):gmatch "." do
      many[letter], wrong[letter] = { type = "string" }, true
    end
    local _, message = pcall(options.check, many, wrong)
    assert.matches("option 'a' must be a string, got a boolean", message)
  end)

  it("takes no number for a duration that no timer can wait", function()
    assert.equal("option 'timeout' must be at most 1000000000.0, got inf", mistake(with("timeout", math.huge)))
    assert.same({ a = math.huge }, options.check({ a = { type = "number", max = math.huge } }, { a = math.huge }))
  end)
end)

-- Options for each public function that has some, and values that it must not take for something else.
describe("options that look like something else", function()
  local bridge, middleware = require "trueconf.bridge", require "trueconf.middleware"
  local trueconf = require "trueconf"

  -- The options of a thing, and those of them that must be refused: at the line of the caller, by name.
  local function refused(make, base, wrong)
    for name, values in pairs(wrong) do
      for _, value in ipairs(values) do
        local given = { [name] = value }
        for other, usual in pairs(base) do
          if given[other] == nil then given[other] = usual end
        end
        local what = name .. " = " .. tostring(value)
        local line = debug.getinfo(1, "l").currentline + 1
        local ok, message = pcall(function() local made = make(given) return made end)
        assert.is_false(ok, what .. " is taken")
        assert.matches("options_spec%.lua:" .. line .. ": .*'?" .. name .. "'?", message)
      end
    end
  end

  local LOGS = {
    "", "loud", setmetatable({}, {}), { 1 }, { level = "loud" }, { level = "off", color = true }, { info = print }, 7,
    print,
  }
  local STRINGS = { "", "x\0y", 7, {} }
  local DURATIONS = { math.huge, 0 / 0, "1", 1e10 }

  it("are refused by a bot, at the caller's line", function()
    local base = { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    refused(trueconf.bot, base, {
      log = LOGS, username = STRINGS, password = STRINGS, token = { "", "x\0y", 7, {} }, token_file = STRINGS,
      ca_file = STRINGS, proxy = STRINGS, oauth_client_id = STRINGS, store = { "", "x\0y", {}, { path = "x" } },
      handler_timeout = DURATIONS, busy_timeout = DURATIONS, ask_timeout = DURATIONS, stop_timeout = DURATIONS,
      tls = { { verify = 1 }, { ca = "x" }, "x" }, connect_timeout = DURATIONS, ping_interval = DURATIONS,
    })
  end)

  it("are numbers out of bounds, which are told as they are", function()
    for name, bounds in pairs {
      max_unsent = { 4096, 999999999999 }, max_frame = { 125, 999999999999 }, window = { 1, 65536 },
      queue = { 0, 1000000000 }, max_denials = { 1, 1000000 },
    } do
      for place, beyond in ipairs { bounds[1] - 1, bounds[2] + 1.0 } do
        local told = ("option '%s' must be at %s %d, got %d"):format(name, place == 1 and "least" or "most",
          bounds[place], beyond):gsub("%-", "%%-")
        assert.error_matches(function() trueconf.client { token = "t", [name] = beyond } end, told)
      end
      for _, good in ipairs(bounds) do assert(trueconf.client { token = "t", [name] = good }) end
    end
  end)

  it("are refused by a Bridge, at the caller's line", function()
    refused(bridge.start, { log = "off", password_cost = 1 }, {
      log = LOGS, host = STRINGS, data = STRINGS, server_name = STRINGS, state = { {}, { accounts = {} } },
      max_connections = { 0, 1 << 40 }, max_frame = { 0, 1 << 40 }, max_body = { 1 << 40 }, max_unsent = { 1 << 40 },
      ping_interval = { 1e9, math.huge }, max_missed_pongs = { 1 << 20 },
    })
  end)

  it("are refused by middleware, at the caller's line", function()
    refused(middleware.allow, {}, { users = { { mira = true }, { 7 }, "mira" }, chats = { { c1 = true }, { {} } } })
    assert.error_matches(function() middleware.roles { "admin", refusal = "no" } end, "unknown option 'refusal'")
  end)

  it("are a logger, its options, or a level", function()
    local lines = {}
    local function sink(level, text) lines[#lines + 1] = level .. " " .. text end
    local own = {}
    for _, level in ipairs { "debug", "info", "warn", "error" } do
      own[level] = function(_, text, ...) sink("own " .. level, text:format(...)) end
    end
    for _, log in ipairs { "off", { level = "off" }, { sink = sink, level = "warn" }, own } do
      trueconf.bot({ url = "ws://127.0.0.1:1", token = "t", log = log }).log:warn("%d", 17)
    end
    assert.same({ "warn 17", "own warn 17" }, lines)
  end)
end)
