-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local Error = require "trueconf.base.error"

describe("error", function()
  it("knows every name of the core", function()
    for _, entry in ipairs(core.error_table()) do
      assert.same(entry, Error.names[entry.name])
    end
    assert.equal(304, Error.names.CHAT_NOT_FOUND.code)
    assert.is_nil(Error.names.TIMEOUT.code)
  end)

  it("makes errors that carry what they are given", function()
    local cause = Error.new("DNS", "no such host")
    local err = Error.new("TIMEOUT", "no reply in 30 s",
      { method = "sendMessage", op = "request", outcome = "unknown", code = 408, cause = cause })
    assert.equal("TIMEOUT", err.name)
    assert.equal("no reply in 30 s", err.message)
    assert.equal("sendMessage", err.method)
    assert.equal("request", err.op)
    assert.equal("unknown", err.outcome)
    assert.equal(408, err.code)
    assert.equal(cause, err.cause)
    assert.is_true(err.retryable)
    assert.is_false(Error.new("TLS", "certificate has expired").retryable)
  end)

  it("prints name, code and message, and joins with strings", function()
    assert.equal("LIMIT: too much", tostring(Error.new("LIMIT", "too much")))
    assert.equal("HTTP (502): bad gateway", tostring(Error.new("HTTP", "bad gateway", { code = 502 })))
    assert.equal("failed: LIMIT: too much", "failed: " .. Error.new("LIMIT", "too much"))
  end)

  it("blames the caller for an unknown name or field", function()
    local _, message = pcall(function()
      local err = Error.new("NO_SUCH_NAME", "x")
      return err
    end)
    assert.matches("base/error_spec.lua:%d+: .*'NO_SUCH_NAME'", message)
    _, message = pcall(function()
      local err = Error.new("LIMIT", "x", { colour = "red" })
      return err
    end)
    assert.matches("base/error_spec.lua:%d+: .*'colour'", message)
  end)

  it("tells errors from other values", function()
    assert.is_true(Error.is(Error.new("IO", "x")))
    for _, value in ipairs { "IO: x", 1, true, {}, setmetatable({}, { __name = "trueconf.Error" }), print } do
      assert.is_false(Error.is(value))
    end
    assert.is_false(Error.is(nil))
  end)

  it("translates the server's codes", function()
    local err = Error.from_code(304, "sendMessage")
    assert.same({ "CHAT_NOT_FOUND", 304, "sendMessage", "rejected", false, Error.names.CHAT_NOT_FOUND.meaning },
      { err.name, err.code, err.method, err.outcome, err.retryable, err.message })
    assert.equal("no chat 7", Error.from_code(304, nil, "no chat 7").message)
    assert.equal(Error.names.CHAT_NOT_FOUND.meaning, Error.from_code(304, nil, "").message)
    assert.is_true(Error.from_code(300).retryable)
    assert.equal("unknown", Error.from_code(301).outcome)
  end)

  it("gives a code without a name the name SERVER", function()
    local err = Error.from_code(12345, "getChats")
    assert.equal("SERVER", err.name)
    assert.equal(12345, err.code)
    assert.equal("rejected", err.outcome)
  end)
end)
