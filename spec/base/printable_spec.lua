-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local printable = require "trueconf.base.printable"

-- All that a terminal could take for an order, or that would end a line, as a terminal reads it.
local function is_harmless(text, but)
  if not utf8.len(text) then return false end
  for _, code in utf8.codes(text) do
    local control = code < 0x20 or code >= 0x7f and code < 0xa0
    local turns = code >= 0x2028 and code <= 0x202e or code >= 0x2066 and code <= 0x2069
    if (control or turns) and not (but or ""):find(utf8.char(code), 1, true) then return false end
  end
  return true
end

local SHARDS = {
  "\27[31m", "\u{9b}2J", "\u{9d}0;title\u{9c}", "\u{85}", "\u{2028}", "\u{2029}", "\u{202a}", "\u{202e}", "\u{2066}",
  "\u{2069}",
  "\xff", "\xc2", "\x9b", "\xe2\x80", "\xe2", "\0", "\7", "\127", "\r", "\n", "\t", "a", "é", "\u{200f}", "😀", "\\",
  "\"", "%s",
}

describe("text for terminals and logs", function()
  it("shows orders instead of giving them", function()
    assert.equal("a\\nb\\tc\\r", printable.line "a\nb\tc\r")
    assert.equal("a\nb\tc\\r", printable.lines "a\nb\tc\r")
    assert.equal("\\u{9b}31m \\x1b[0m \\u{202e}cod.exe \\u{2028}",
    printable.line "\u{9b}31m \27[0m \u{202e}cod.exe \u{2028}")
    assert.equal("\u{fffd}\u{fffd} \u{fffd}", printable.line "\xff\x9b \xc2")
  end)

  it("leaves text alone that gives none", function()
    for _, text in ipairs { "", "plain", "Żółw 😀 שלום\u{200f} \u{a0}", "100% \\x1b" } do
      assert.equal(text, printable.line(text))
      assert.equal(text, printable.lines(text))
      assert.equal(text, printable.json(text))
    end
  end)

  it("is harmless whatever it was", function()
    local state = 1
    for _ = 1, 2000 do
      local pieces = {}
      for place = 1, 8 do
        state = state * 6364136223846793005 + 1442695040888963407
        pieces[place] = SHARDS[(state >> 33) % #SHARDS + 1]
      end
      local text = table.concat(pieces)
      assert.is_true(is_harmless(printable.line(text)), printable.line(text))
      assert.is_true(is_harmless(printable.lines(text), "\n\t"), printable.lines(text))
      local written = assert(json.encode { text = core.mend_utf8(text), list = json.array {} })
      local shown = printable.json("\n" .. written .. "\r\n\t")
      assert.is_true(is_harmless(shown), shown)
      assert.same(json.decode(written), json.decode(shown))
    end
  end)
end)

describe("core.mend_utf8", function()
  it("puts U+FFFD where text is not UTF-8", function()
    assert.equal("", core.mend_utf8 "")
    assert.equal("é😀\0", core.mend_utf8 "é😀\0")
    assert.equal("a\u{fffd}b\u{fffd}\u{fffd}", core.mend_utf8 "a\xe2\x82b\xff\xc3")
    assert.equal(("\u{fffd}"):rep(100000), core.mend_utf8(("\x80"):rep(100000)))
  end)
end)
