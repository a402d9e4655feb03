-- SPDX-License-Identifier: MIT
-- Names and texts of any kind: a text that a builder has escaped comes back unchanged.

local text = require "trueconf.text"

local SEED = tonumber(os.getenv "SEED") or os.time()
local ROUNDS = os.getenv "TORTURE" == "1" and 4 or tonumber(os.getenv "ROUNDS") or 400

-- Names that have been trouble somewhere, in whole or in pieces.
local NAMES = {
  "O'Brien", 'Jane "JJ" Doe', "Tom & Jerry", "<b>Bobby</b>", "</a>", "<script>alert(1)</script>", "&amp;", "&#39;",
  "&nbsp;", "&",
  "&#x41;", "&lt;", "a<b>c", "<", ">", "<br>", "<a href='x'>", "[Ann](http://x)", "](", ")", "[", "]", "(", "**Ann**",
  "*", "_Ann_", "__init__",
  "~~", "`rm -rf /`", "\\", "\\\\", "\\*", "#1", "- Ann", "1. Ann", "> Ann", "+", "=", "|", "{}", "!", ".", "@all",
  "@", "/start", "trueconf:x@y",
  "%s %d %n", "%", "%41", "$1", "\\1", "\0", "a\0b", "null", "nil", "None", "undefined", "NaN", "-1", "0x10", "true",
  "", " ", "  ", " Ann",
  "Ann ", "A  B", "A\tB", "A\nB", "A\r\nB", "\n", "\u{a0}", "\u{2028}", "\u{85}", "\u{3000}", "\u{200b}", "\u{200d}",
  "\u{feff}Ann",
  "\u{202e}nnA", "\u{2066}Ann\u{2069}", "\u{200f}דוד", "محمد", "李小龙", "ｍｉｒａ", "Ñandú", "e\u{301}",
  "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢", "👨‍👩‍👧‍👦", "🏴‍☠️", "*️⃣",
  "\u{fffd}", "\u{10ffff}", "\u{1b}[31m", "\7", "\127", "\u{9b}31m", "Robert'); DROP TABLE", "../../etc/passwd",
  "C:\\Ann", "ﷺ", "ß", "İ",
}
local IDS = { "mira@h", "o'brien@h", 'a"b@h', "a&b@h", "a?b@h", "(a)@h", "a%41@h", "a_b*c@h", "a]b@h", "мира@h",
"a;b@h", "<a>@h" }

local function generator(seed)
  local state = seed
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

-- The people mentioned; those who are called "@all" cannot be kept from addressing everybody.
local function mentioned(made, mode)
  local list = text.mentions(made, mode)
  if list[#list] == "@all" then list[#list] = nil end
  return list
end

-- Texts that are the same in html, which has one kind of space and one of line break.
local function soft(content)
  return (content:gsub("\r\n?", "\n"):gsub("[\t\v\f]", " "):gsub("\u{a0}", " "))
end

local function same(expected, found, what)
  if soft(expected) ~= soft(found) then error(("%s: %q came back as %q"):format(what, expected, found), 2) end
end

-- Call check(name) for each of the names, and for pieces of them in any order.
local function each_name(check)
  for _, name in ipairs(NAMES) do check(name, ("%q"):format(name)) end
  local random = generator(SEED)
  for round = 1, ROUNDS do
    local pieces = {}
    for place = 1, random(4) do pieces[place] = NAMES[random(#NAMES)] end
    check(table.concat(pieces), "round " .. round)
  end
end

local MODES = { html = text.html, markdown = text.markdown }

describe(("what people are called (SEED=%d)"):format(SEED), function()
  it("comes back from what escape has made of it", function()
    each_name(function(name, what)
      for mode in pairs(MODES) do
        same(name, text.plain(text.escape(name, mode), mode), what .. " in " .. mode)
      end
    end)
  end)

  it("comes back from between other texts and from within marks", function()
    each_name(function(name, what)
      for mode, builder in pairs(MODES) do
        local made = builder("Hello, ", builder.bold("x", name, "x"), "! <", builder("(", name, ")"), "> ", 3)
        same(("Hello, x%sx! <(%s)> 3"):format(name, name), text.plain(tostring(made), mode), what .. " in " .. mode)
      end
    end)
  end)

  it("comes back from a link and from a mention, and so does the ID", function()
    each_name(function(name, what)
      for mode, builder in pairs(MODES) do
        for _, id in ipairs(IDS) do
          local made = tostring(builder("(", builder.mention(id, "x" .. name .. "x"), ")"))
          assert.same({ id }, mentioned(made, mode), what .. " in " .. mode)
          local shown = ("x" .. name .. "x"):gsub("%s*[\r\n]+%s*", " ")
          same("(" .. shown .. ")", text.plain(made, mode), what .. " in " .. mode)
        end
        local link = builder.link("https://h/" .. name, "x" .. name .. "x")
        same("x" .. name .. "x", text.plain(tostring(link), mode), what .. " in " .. mode)
        assert.same({}, mentioned(tostring(link), mode), what)
      end
    end)
  end)

  it("can be all that is in a mention", function()
    each_name(function(name, what)
      for mode, builder in pairs(MODES) do
        local made = tostring(builder.mention("mira@h", name))
        assert.same({ "mira@h" }, mentioned(made, mode), what)
        assert.is_truthy(text.plain(made, mode):find "%S", what)
        assert.is_string(text.mention("mira@h", name, "text"))
        assert.is_string(tostring(builder(builder.bold(name), builder.italic(name), builder.link("http://h", name))))
      end
    end)
    for _, name in ipairs { "", " ", "\n", "\u{a0}", "\u{200b}\u{feff}", "\u{3000}" } do
      assert.equal('<a href="trueconf:mira@h">mira</a>', tostring(text.html.mention("mira@h", name)))
      assert.equal("mira", text.mention("mira@h", name))
    end
  end)

  it("is no command, and does not hide one, in a mention before it", function()
    each_name(function(name, what)
      local made = tostring(text.html(text.html.mention("mira@h", name), ", /order tea"))
      assert.equal("/order tea", text.command_text(made, "html"), what)
    end)
  end)

  it("comes back from a quote, apart from the answer", function()
    each_name(function(name, what)
      for mode, builder in pairs(MODES) do
        local quoted = "x" .. name .. "x"
        local answer, quote = text.strip_quote(tostring(builder.quote(quoted, "yes")), mode)
        assert.equal("yes", answer, what .. " in " .. mode)
        same(quoted, text.plain(quote, mode), what .. " in " .. mode)
      end
    end)
  end)

  it("comes back from a contact", function()
    each_name(function(name, what)
      local made = ('<a href="trueconf:mira@h&amp;do=profile">%s</a>'):format(text.escape("x" .. name .. "x", "html"))
      if made:find "<br>" then return end
      local id, found = text.contact(made, "html")
      assert.equal("mira@h", id, what)
      same("x" .. name .. "x", found, what)
    end)
  end)
end)
