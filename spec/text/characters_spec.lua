-- SPDX-License-Identifier: MIT
-- Text in the alphabets that people write with: compared in any case of letters, and cut between what they see as
-- characters.

local core = require "trueconf.core"
local text = require "trueconf.text"

local SEED = tonumber(os.getenv "SEED") or os.time()

-- Characters, as people see them, of several code points.
local CHARACTERS = {
  family = "👨‍👩‍👧‍👦", kiss = "👩🏻‍❤️‍💋‍👨🏿", flag = "🇰🇿",
  england = "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
  skin = "👍🏽", keycap = "1\u{fe0f}\u{20e3}", star = "*\u{fe0f}\u{20e3}", hash = "#\u{fe0f}\u{20e3}",
  heart = "❤\u{fe0f}",
  accent = "e\u{301}", accents = "o\u{323}\u{302}", stress = "а\u{301}", hangul = "\u{1112}\u{1161}\u{11ab}",
  devanagari = "नि", thai = "กำ", zalgo = "z" .. ("\u{335}\u{320}"):rep(5), line = "\r\n",
}

describe("text.fold", function()
  it("makes one of what differs in the case of letters alone", function()
    for _, pair in ipairs {
      { "ҚАЗАҚША", "қазақша" }, { "ӨӘҒҮҰҢҺІ", "өәғүұңһі" }, { "ҐАВА ЇЖАК ЄВА", "ґава їжак єва" }, { "ЎСЁ", "ўсё" },
      { "ŻÓŁĆ", "żółć" }, { "ŽLUŤOUČKÝ KŮŇ", "žluťoučký kůň" }, { "ȘȚĂÂÎ", "șțăâî" }, { "ŞĞÇÖÜ", "şğçöü" },
      { "Άέ Ώ", "άΈ ώ" }, { "ΛΌΓΟΣ", "λόγος" }, { "ԲԱՐԵՒ", "բարեւ" }, { "ՀԱՅԵՐԵՆ", "հայերեն" }, { "ᲥᲐᲠᲗᲣᲚᲘ",
      "ქართული" },
      { "STRASSE", "straße" }, { "ẞ", "ss" }, { "ﬁ", "FI" }, { "ORDER", "order" }, { "Æ Ø Å ĳ", "æ ø å Ĳ" },
    } do
      assert.equal(text.fold(pair[1]), text.fold(pair[2]), pair[1])
    end
  end)

  it("makes one of what is spelled in one character or in several", function()
    for _, pair in ipairs {
      { "é", "E\u{301}" }, { "Й", "и\u{306}" }, { "\u{1f71}", "ά" }, { "Å", "a\u{30a}" }, { "ộ", "O\u{302}\u{323}" },
      { "ё", "Е\u{308}" }, { "한", "\u{1112}\u{1161}\u{11ab}" }, { "Ω", "\u{2126}" },
    } do
      assert.equal(text.fold(pair[1]), text.fold(pair[2]), pair[1])
    end
  end)

  it("takes the letters I of Turkish for one", function()
    for _, word in ipairs { "İPTAL", "iptal", "IPTAL", "ıptal", "I\u{307}PTAL" } do
      assert.equal("iptal", text.fold(word))
    end
    assert.equal(text.fold "ĮÌ", text.fold "įì")
  end)

  it("leaves out what nobody sees, and takes every space for a space", function()
    assert.equal(text.fold "❤", text.fold "❤\u{fe0f}")
    assert.equal(text.fold "שלום", text.fold "\u{200f}שלום\u{200e}")
    assert.equal("a b", text.fold "\u{feff}A\u{a0}B\u{200b}")
    assert.equal("co op", text.fold "co\u{ad}\u{3000}op")
  end)

  it("keeps apart what people see as different", function()
    local seen = {}
    for _, word in ipairs {
      "е", "ё", "и", "й", "i", "j", "o", "ö", "0", "k", "қ", "к", CHARACTERS.family, "👨👩👧👦", CHARACTERS.england,
      "🏴", "👍", CHARACTERS.skin, "می‌خواهم", "میخواهم", "s", "ss", "", " ", "ъ", "ь", "٣", "3", "①", "1", "１",
    } do
      local folded = text.fold(word)
      assert.is_nil(seen[folded], word)
      seen[folded] = word
    end
  end)

  it("folds what is folded to itself, and capitals as small letters, for each character there is", function()
    local wrong = {}
    for code = 0, 0x1ffff do
      if code < 0xd800 or code > 0xdfff then
        local character = utf8.char(code)
        local folded = core.fold(character)
        local same = core.fold(folded) == folded and core.fold(core.lower(character)) == folded
          and core.fold(core.upper(character)) == folded
        if not same then wrong[#wrong + 1] = ("U+%04X"):format(code) end
      end
    end
    assert.same({}, wrong)
  end)

  it("folds of what is not UTF-8 the ASCII alone", function()
    assert.equal("tea \xff ҚÉ", text.fold "TEA \xff ҚÉ")
    assert.equal("", text.fold "")
    assert.equal("a\0b", text.fold "A\0B")
    assert.equal("é\0b", text.fold "É\0B")
    assert.has_error(function() text.fold(nil) end, "the text must be a string, got nil")
  end)

  it("folds a long text", function()
    assert.equal(("қ"):rep(500000), text.fold(("Қ"):rep(500000)))
    assert.equal(("ss"):rep(100000), text.fold(("ß"):rep(100000)))
  end)
end)

describe("core.lower and core.upper", function()
  it("change letters of every alphabet, one by one", function()
    assert.equal("straße қай żółw բարեւ", core.lower "Straße ҚАЙ ŻÓŁW ԲԱՐԵւ")
    assert.equal("РАЗМЕР ŻÓŁW", core.upper "размер żółw")
    assert.equal("A\xff", core.lower "A\xff")
    assert.equal("", core.upper "")
  end)
end)

describe("what people see as one character", function()
  local function starts(content)
    return (core.grapheme_starts(content):gsub(".", function(mark) return mark == "\1" and "|" or "." end))
  end

  it("begins where Unicode says", function()
    for name, character in pairs(CHARACTERS) do
      assert.equal("|" .. ("."):rep(#character - 1), starts(character), name)
      assert.equal("|" .. starts(character) .. "|", starts("a" .. character .. "b"), name)
    end
    assert.equal("|.......|.......|...", starts "🇰🇿🇩🇪🇫")
    assert.equal("", starts "")
    assert.equal("|||", starts "a\xff\xfe")
  end)

  local WORDS = { "a", "слово", "end.", "б", "x y" }

  -- Texts of such characters, without white space or marks of markdown around them.
  local function generated(random, count)
    local names, out = {}, {}
    for name in pairs(CHARACTERS) do
      if name ~= "line" then names[#names + 1] = name end
    end
    table.sort(names)
    for place = 1, count do
      out[place] = random(3) == 1 and WORDS[random(#WORDS)] or CHARACTERS[names[random(#names)]]
    end
    return table.concat(out)
  end

  -- Check that the parts are the text, cut between characters alone.
  local function check_borders(content, parts, what)
    local marks, at = core.grapheme_starts(content), 1
    for _, part in ipairs(parts) do
      assert.equal(content:sub(at, at + #part - 1), part, what)
      assert.is_true(at > #content or marks:byte(at) == 1, what .. ": a character is cut before " .. part)
      at = at + #part
    end
  end

  local WRITERS = {
    text = function(content) return content end,
    html = function(content) return tostring(text.html.bold(content)) end,
    markdown = function(content) return tostring(text.markdown(content)) end,
  }

  it(("is not cut, whatever the mode and the limit (SEED=%d)"):format(SEED), function()
    local state = SEED
    local function random(n)
      state = state * 6364136223846793005 + 1442695040888963407
      return (state >> 33) % n + 1
    end
    for round = 1, 60 do
      local content, limit = generated(random, 30 + random(60)), 31 + random(40)
      for mode, write in pairs(WRITERS) do
        local what, written, parts = ("round %d, %s, limit %d"):format(round, mode, limit), write(content), {}
        for place, part in ipairs(text.split(written, { parse_mode = mode, limit = limit })) do
          assert.is_true(text.visible_length(part, mode) <= limit, what)
          parts[place] = text.plain(part, mode)
        end
        assert.equal(content, table.concat(parts), what)
        check_borders(content, parts, what)
        local head = text.cut(written, limit, mode)
        assert.is_true(text.visible_length(head, mode) <= limit, what)
        check_borders(content, { text.plain(head, mode), "" }, what)
      end
    end
  end)

  it("is not cut where tokens meet", function()
    local x = ("x"):rep(31)
    assert.same({ x, CHARACTERS.star }, text.split(x .. CHARACTERS.star, { limit = 32 }))
    assert.same({ x, "\\*\u{fe0f}\u{20e3}" }, text.split(x .. "\\*\u{fe0f}\u{20e3}", { parse_mode = "markdown",
    limit = 32 }))
    assert.same({ ("x"):rep(26), "e&#769;y" }, text.split(("x"):rep(26) .. "e&#769;y", { parse_mode = "html",
    limit = 32 }))
    assert.same({ x, "\r\ny" }, text.split(x .. "\r\ny", { limit = 32 }))
    assert.equal(x, text.cut(x .. CHARACTERS.flag, 32))
  end)

  it("is cut between code points where it does not fit", function()
    local zalgo = "z" .. ("\u{335}"):rep(100)
    local parts = text.split(zalgo, { limit = 32 })
    assert.equal(4, #parts)
    assert.equal(zalgo, table.concat(parts))
    assert.equal("a ", text.split("a " .. zalgo, { limit = 32 })[1])
    assert.equal("z" .. ("\u{335}"):rep(31), text.cut(zalgo, 32))
  end)
end)
