-- SPDX-License-Identifier: MIT
-- The error objects of the C core: csrc/base/errors.c.

local core = require "trueconf.core"

local classes = { retry = true, auth = true, fatal = true, request = true, done = true }

-- The constants of the protocol's section "Error codes" that have a published name.
local published = {
  [2] = "DUPLICATE_ID", [100] = "CONNECTION_ERROR", [101] = "CONNECTION_TIMEOUT", [102] = "TLS_ERROR",
  [103] = "UNSUPPORTED_PROTOCOL", [104] = "ROUTE_NOT_FOUND", [200] = "NOT_AUTHORIZED",
  [201] = "INVALID_CREDENTIALS", [202] = "USER_DISABLED", [203] = "CREDENTIALS_EXPIRED",
  [204] = "UNSUPPORTED_CREDENTIALS", [300] = "INTERNAL_ERROR", [302] = "ACCESS_DENIED",
  [303] = "NOT_ENOUGH_RIGHTS", [304] = "CHAT_NOT_FOUND", [305] = "USER_IS_NOT_CHAT_PARTICIPANT",
  [306] = "MESSAGE_NOT_FOUND", [307] = "UNKNOWN_MESSAGE", [308] = "FILE_NOT_FOUND",
  [309] = "USER_IS_ALREADY_CHAT_PARTICIPANT", [310] = "FILE_UPLOAD_FAILED", [311] = "FILE_NOT_READY",
  [312] = "ROLE_NOT_FOUND",
}

local function by_code()
  local found = {}
  for _, row in ipairs(core.error_table()) do
    if row.code then found[row.code] = row end
  end
  return found
end

describe("the table of errors", function()
  it("gives every name once, with a class and a meaning", function()
    local seen = {}
    for _, row in ipairs(core.error_table()) do
      assert.is_nil(seen[row.name], row.name .. " is there twice")
      seen[row.name] = true
      assert.matches("^[A-Z][A-Z0-9_]+$", row.name)
      assert.is_true(classes[row.class], row.name .. " has the class " .. tostring(row.class))
      assert.is_true(#row.meaning > 0)
    end
    for _, name in ipairs { "TIMEOUT", "CLOSED", "DISCONNECTED", "AUTH_FAILED", "TOKEN_EXPIRED", "TLS", "DNS",
      "REFUSED", "UNREACHABLE", "HTTP", "PROTOCOL", "LIMIT", "PLAINTEXT", "IO", "CONFIG", "NOMEM", "CANCELLED",
      "UNSUPPORTED", "SERVER" } do
      assert.is_true(seen[name], name .. " is missing")
    end
  end)

  it("names the codes of the server as published", function()
    local rows = by_code()
    for code, name in pairs(published) do assert.equal(name, rows[code].name) end
  end)

  it("names the codes without a published constant, and 301 apart from the own TIMEOUT", function()
    local rows = by_code()
    for code = 399, 408 do assert.is_table(rows[code], "no row for " .. code) end
    assert.equal("OPERATION_TIMEOUT", rows[301].name)
    assert.is_nil(rows[0])
    assert.is_nil(rows[409])
  end)

  it("classifies the codes", function()
    local rows = by_code()
    local expected = {
      retry = { 100, 101, 300, 301, 311, 400, 405 },
      auth = { 200, 201, 203 },
      fatal = { 102, 103, 202, 204, 401 },
      request = { 2, 104, 302, 303, 304, 305, 306, 307, 308, 310, 312, 399, 402, 403, 404, 406, 407, 408 },
      done = { 309 },
    }
    local count = 0
    for class, codes in pairs(expected) do
      for _, code in ipairs(codes) do
        assert.equal(class, rows[code].class, "class of " .. code)
        count = count + 1
      end
    end
    for code in pairs(rows) do count = count - (code and 1) end
    assert.equal(0, count)
  end)
end)

describe("core.error", function()
  it("makes an object with name, message and the metatable", function()
    local err = core.error("TIMEOUT", "no reply in 30 s")
    assert.equal(core.Error, getmetatable(err))
    assert.equal("trueconf.Error", core.Error.__name)
    assert.equal("TIMEOUT", err.name)
    assert.equal("no reply in 30 s", err.message)
    assert.is_nil(err.code)
    assert.is_nil(err.outcome)
  end)

  it("prints as NAME (code): message", function()
    assert.equal("TIMEOUT: no reply in 30 s", tostring(core.error("TIMEOUT", "no reply in 30 s")))
    assert.equal("CHAT_NOT_FOUND (304): no such chat", tostring(core.error("CHAT_NOT_FOUND", "no such chat")))
  end)

  it("prints whatever a caller has made of its fields", function()
    local err = core.error("IO", "x")
    err.message = nil
    assert.equal("IO: nil", tostring(err))
    err.code = "EPERM"
    assert.equal("IO (EPERM): nil", tostring(err))
  end)

  it("joins with strings from both sides", function()
    local err = core.error("IO", "disk full")
    assert.equal("failed: IO: disk full", "failed: " .. err)
    assert.equal("IO: disk full!", err .. "!")
    assert.equal("IO: disk fullIO: disk full", err .. err)
  end)

  it("finds methods that are added to the metatable", function()
    core.Error.probe = function(self) return self.name end
    local name = core.error("TLS", "x"):probe()
    core.Error.probe = nil
    assert.equal("TLS", name)
  end)

  it("takes the known fields from extra and leaves the caller's table alone", function()
    local cause = {}
    local extra = { code = 503, method = "sendMessage", outcome = "unknown", cause = cause, op = "upload" }
    local err = core.error("HTTP", "status 503", extra)
    assert.equal(503, err.code)
    assert.equal("sendMessage", err.method)
    assert.equal("unknown", err.outcome)
    assert.equal(cause, err.cause)
    assert.equal("upload", err.op)
    assert.is_nil(getmetatable(extra))
  end)

  it("tells whether trying again makes sense", function()
    assert.is_true(core.error("REFUSED", "x").retryable)
    assert.is_false(core.error("TLS", "x").retryable)
    assert.is_true(core.error("FILE_NOT_READY", "x").retryable)
    assert.is_false(core.error("CHAT_NOT_FOUND", "x").retryable)
    assert.is_true(core.error("HTTP", "x", { code = 502 }).retryable)
    assert.is_true(core.error("HTTP", "x", { code = 404 }).retryable)
    assert.is_false(core.error("HTTP", "x", { code = 400 }).retryable)
  end)

  it("gives the code of a server's name by itself", function()
    assert.equal(304, core.error("CHAT_NOT_FOUND", "x").code)
  end)

  local misuse = {
    { "an unknown name", { "NO_SUCH_NAME", "x" }, "unknown error name 'NO_SUCH_NAME'" },
    { "NONE, which is not an error", { "NONE", "x" }, "unknown error name 'NONE'" },
    { "a missing message", { "IO" }, "string expected, got nil" },
    { "extra of a wrong type", { "IO", "x", 7 }, "table expected, got number" },
    { "an unknown field", { "IO", "x", { colour = 1 } }, "unknown error field 'colour'" },
    { "a field that is not a name", { "IO", "x", { 1 } }, "error field names must be strings, got number" },
    { "a code of a wrong type", { "IO", "x", { code = "7" } }, "error field 'code': integer expected, got string" },
    { "a method of a wrong type", { "IO", "x", { method = 7 } }, "error field 'method': string expected, got number" },
    { "an outcome of a wrong type", { "IO", "x", { outcome = 7 } }, "error field 'outcome': string expected" },
    { "an unknown outcome", { "IO", "x", { outcome = "lost" } }, "'rejected' expected, got 'lost'" },
  }
  for _, case in ipairs(misuse) do
    it("refuses " .. case[1], function()
      local ok, message = pcall(function() return (core.error(table.unpack(case[2], 1, 3))) end)
      assert.is_false(ok)
      assert.matches(case[3], message, 1, true)
      assert.matches("core/errors_spec.lua:", message, 1, true)
    end)
  end
end)
