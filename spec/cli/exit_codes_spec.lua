-- SPDX-License-Identifier: MIT
local Error = require "trueconf.base.error"
local exit_codes = require "trueconf.cli.exit_codes"

describe("exit codes", function()
  it("tell scripts what became of it", function()
    for _, case in ipairs {
      { 1, Error.from_code(304) },
      { 1, Error.new("LIMIT", "too long", { outcome = "not_sent" }) },
      { 1, Error.new("HTTP", "the upload was refused", { code = 413, outcome = "rejected" }) },
      { 1, Error.new("IO", "cannot read") },
      { 2, Error.new("CONFIG", "wrong") },
      { 3, Error.new("REFUSED", "nobody there") },
      { 3, Error.new("HTTP", "the token endpoint answered 502", { code = 502 }) },
      { 3, Error.new("TIMEOUT", "never left", { outcome = "not_sent" }) },
      { 4, Error.new("AUTH_FAILED", "wrong password", { code = 400 }) },
      { 4, Error.from_code(203) },
      { 5, Error.new("DISCONNECTED", "meanwhile", { outcome = "unknown" }) },
      { 5, Error.from_code(301) },
    } do
      assert.equal(case[1], exit_codes.of(case[2]), tostring(case[2]))
    end
  end)

  it("are explained", function()
    for name, code in pairs { DONE = 0, REFUSED = 1, MISUSE = 2, UNREACHABLE = 3, CREDENTIALS = 4, UNKNOWN = 5 } do
      assert.equal(code, exit_codes[name])
      assert.matches("\n  " .. code .. "  %l", exit_codes.HELP)
    end
  end)
end)
