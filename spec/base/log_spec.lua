-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local log = require "trueconf.log"

describe("log", function()
  local lines, level_variable
  local getenv = os.getenv

  local function sink(level, text) lines[#lines + 1] = level .. " " .. text end

  before_each(function()
    lines, level_variable = {}, nil
    os.getenv = function(name) -- luacheck: ignore 122
      if name == "TRUECONF_LOG" then return level_variable end
      return getenv(name)
    end
  end)

  after_each(function() os.getenv = getenv end) -- luacheck: ignore 122

  local function say_all(logger)
    lines = {}
    for _, level in ipairs { "debug", "info", "warn", "error" } do logger[level](logger, level) end
    return table.concat(lines, ",")
  end

  -- Run fn with io.stderr replaced and return what it wrote.
  local function stderr_of(fn)
    local real, written = io.stderr, {}
    io.stderr = { write = function(_, text) written[#written + 1] = text end } -- luacheck: ignore 122
    local ok, message = pcall(fn)
    io.stderr = real -- luacheck: ignore 122
    assert(ok, message)
    return table.concat(written)
  end

  it("writes what is at its level or above", function()
    assert.equal("debug debug,info info,warn warn,error error", say_all(log.new { level = "debug", sink = sink }))
    assert.equal("info info,warn warn,error error", say_all(log.new { level = "info", sink = sink }))
    assert.equal("warn warn,error error", say_all(log.new { level = "warn", sink = sink }))
    assert.equal("error error", say_all(log.new { level = "error", sink = sink }))
    assert.equal("", say_all(log.new { level = "off", sink = sink }))
  end)

  it("says whether a level is written", function()
    local logger = log.new { level = "warn", sink = sink }
    assert.is_false(logger:enabled "info")
    assert.is_true(logger:enabled "warn")
    assert.is_true(logger:enabled "error")
  end)

  it("takes its level from the argument, then TRUECONF_LOG, else info", function()
    assert.equal("info info,warn warn,error error", say_all(log.new { sink = sink }))
    level_variable = ""
    assert.equal("info info,warn warn,error error", say_all(log.new { sink = sink }))
    level_variable = "ERROR"
    assert.equal("error error", say_all(log.new { sink = sink }))
    assert.equal("warn warn,error error", say_all(log.new { sink = sink, level = "warn" }))
  end)

  it("warns about a level in TRUECONF_LOG that there is not, and goes on", function()
    level_variable = "loud"
    local logger = log.new { sink = sink }
    assert.same({ "warn TRUECONF_LOG must be one of debug, info, warn, error, off" }, lines)
    assert.equal("info info,warn warn,error error", say_all(logger))
  end)

  it("formats only if values follow", function()
    local logger = log.new { sink = sink }
    logger:info("100%")
    logger:info("%s of %d", "one", 2)
    logger:info(setmetatable({}, { __tostring = function() return "LIMIT: too much" end }))
    assert.same({ "info 100%", "info one of 2", "info LIMIT: too much" }, lines)
  end)

  it("lets no text pass for another line or move the cursor", function()
    log.new({ sink = sink }):info("a\r\27[2Jb\nc\td")
    assert.same({ "info a\\r\\x1b[2Jb\n    c\td" }, lines)
  end)

  it("writes lines with time and level to stderr", function()
    local now = core.now
    finally(function() core.now = now end)
    core.now = function() return 1795500000999 end
    assert.equal("2026-11-24T06:00:00Z INFO  ready\n2026-11-24T06:00:00Z ERROR lost\n", stderr_of(function()
      local logger = log.new { level = "info" }
      logger:debug("not this")
      logger:info("ready")
      logger:error("lost")
    end))
  end)

  it("falls back to stderr when the sink fails", function()
    local written = stderr_of(function()
      log.new({ level = "info", sink = function() error "full" end }):warn("careful")
    end)
    assert.matches("WARN  careful\n$", written)
  end)

  it("blames the caller for wrong options", function()
    local _, message = pcall(function()
      local logger = log.new { level = "loud" }
      return logger
    end)
    assert.matches("base/log_spec.lua:%d+: log: option 'level' must be one of 'debug'", message)
    _, message = pcall(function()
      local logger = log.new { sinc = print }
      return logger
    end)
    assert.matches("unknown option 'sinc', did you mean 'sink'", message)
  end)
end)
