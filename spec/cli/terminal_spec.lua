-- SPDX-License-Identifier: MIT
local terminal = require "trueconf.cli.terminal"

describe("a line for a terminal", function()
  it("holds no orders to it", function()
    for given, expected in pairs {
      ["plain ü 🚀"] = "plain ü 🚀",
      ["a\nb\tc\r"] = "a\\nb\\tc\\r",
      ["\27[31mred\27[0m\7"] = "\\x1b[31mred\\x1b[0m\\x07",
      ["c1 \u{9b}31m"] = "c1 \\u{9b}31m",
      ["turned \u{202e}txt.exe\u{2066}"] = "turned \\u{202e}txt.exe\\u{2066}",
      ["no UTF-8 \xFF\x9b"] = "no UTF-8 \u{fffd}\u{fffd}",
    } do
      assert.equal(expected, terminal.line(given))
    end
  end)
end)

describe("a size", function()
  it("is told in the unit that fits", function()
    assert.equal("0 bytes", terminal.size(0))
    assert.equal("1023 bytes", terminal.size(1023))
    assert.equal("1.0 KiB", terminal.size(1024))
    assert.equal("3.5 MiB", terminal.size(3670016))
    assert.equal("2048.0 TiB", terminal.size(1 << 51))
  end)
end)
