-- SPDX-License-Identifier: MIT

local system = require "spec.support.system"
local text = require "trueconf.text"

local html, markdown = text.html, text.markdown
local NBSP = "\u{a0}"

-- Generated texts ------------------------------------------------------------------------------

-- A generator of numbers of its own, so that a case is the same on every machine.
local function seeded(seed)
  local state = seed * 2654435769 + 1
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

local WORDS = {
  "a", "word", "при", "вет", "😀", "x_y", "2*3", "&", "<b>", "**", "_", "`", "(z)", "[", "]", ">", "end.", "так,", "!",
  "\n", " ", "  ", "@all", "e\u{301}", "\\", "~~", "&amp;", "[l](u)",
}
-- Pieces of marked-up text, in no order.
local SHARDS = {
  "a", "б", " ", "\n", "*", "**", "_", "__", "~~", "[", "]", "(", ")", "](", "<", ">", "<b>", "</b>", "<i>", "</i>",
  '<a href="uuu">', "</a>", "<br>", '<quote class="reply">', "</quote>", "<foo>", "<b", "<a ", "&amp;", "&", "\\",
  "[l](u)", "x_y", "word ", "end. ", "😀", "<u>(", "(<i><i>",
}

local function some(random, list, count)
  local out = {}
  for place = 1, count do out[place] = list[random(#list)] end
  return out
end

local function words(random, count)
  local out = some(random, WORDS, count)
  for place, word in ipairs(out) do out[place] = word .. (random(3) == 1 and "" or " ") end
  return table.concat(out)
end

-- Marked-up text, nested so deep.
local function markup(random, builder, depth)
  local out = {}
  for place = 1, random(6) do
    local kind = depth > 0 and random(9) or 1
    if kind < 5 then
      out[place] = words(random, random(12))
    elseif kind < 8 then
      local mark = ({ "bold", "italic", "strike" })[kind - 4]
      out[place] = builder(" ", builder[mark](markup(random, builder, depth - 1)), " ")
    else
      out[place] = builder.link("http://h/" .. ("p"):rep(random(20)), words(random, random(3)) .. "l")
    end
  end
  return builder(table.unpack(out))
end

-- With a collector that never rests all of this takes too long, and it finds nothing in Lua.
local SHARE = os.getenv "TORTURE" == "1" and 50 or 1

local function each_seed(count, fn)
  for seed = 1, count // SHARE do fn(seeded(seed), "seed " .. seed) end
end

local function soft(content)
  return (content:gsub(NBSP, " "))
end

describe("text.escape", function()
  it("writes signs so that they are shown", function()
    assert.equal("a &lt;b&gt; &amp;amp; \"'", text.escape("a <b> &amp; \"'", "html"))
    assert.equal([[\_\*\[\]\(\)\~\>\#\+\-\=\|\{\}\.\!\\\`a]], text.escape("_*[]()~>#+-=|{}.!\\`a", "markdown"))
    assert.equal("<b> *", text.escape("<b> *", "text"))
  end)

  it("keeps line breaks and spaces in html", function()
    assert.equal("a<br>b<br>c", text.escape("a\nb\r\nc", "html"))
    assert.equal(("a %sb%s<br>%sc d"):format(NBSP, NBSP, NBSP), text.escape("a  b \n c d", "html"))
  end)

  it("is undone by plain, in every mode", function()
    each_seed(300, function(random, seed)
      local content = words(random, 30)
      for _, mode in ipairs { "html", "markdown", "text" } do
        assert.equal(content, soft(text.plain(text.escape(content, mode), mode)), seed .. " " .. mode)
      end
    end)
  end)
end)

describe("text.plain", function()
  it("takes off marks of html", function()
    for content, expected in pairs {
      ["<b>/order</b>"] = "/order", ["a &lt;b&gt; &amp;amp; &quot;&apos;&#39;&#x41;&#65;"] = "a <b> &amp; \"''AA",
      ["a<br>b <br/> c<BR class='x' />d"] = "a\nb\nc\nd", ["a\n b\t\tc"] = "a b c", ["1&nbsp;2"] = "1" .. NBSP .. "2",
      ["<foo x='1'>text</foo>"] = "text", ["1 < 2 <3"] = "1 < 2 <3",
      ["&unknown; &#0; &#xd800; &"] = "&unknown; &#0; &#xd800; &",
      ["<brief>x</brief>"] = "x", ['<quote class="reply">q</quote><br><br>a'] = "q\n\na",
    } do
      assert.equal(expected, text.plain(content, "html"))
    end
  end)

  it("takes off marks of markdown, and only what is one", function()
    for content, expected in pairs {
      ["**a** __b__ *c* _d_ ~~e~~"] = "a b c d e", ["**a _b_ ~~c~~**"] = "a b c", ["[l **x**](http://h/_a_)"] = "l x",
      ["2 * 3 * 4"] = "2 * 3 * 4", ["snake_case_name 2*3*4"] = "snake_case_name 2*3*4", ["**open"] = "**open",
      ["a ** b**"] = "a ** b**", ["\\*a\\* \\\\ \\n"] = "*a* \\ \\n", ["**a *b** c*"] = "a *b c*",
      [">q\n\na > b"] = "q\n\na > b", ["[a\\]b](u) [x] (y) []()"] = "a]b [x] (y) []()", ["<b>x</b>"] = "<b>x</b>",
      ["[a **b](u) c**"] = "a **b c**", ["****"] = "****",
    } do
      assert.equal(expected, text.plain(content, "markdown"))
    end
  end)

  it("leaves other modes alone", function()
    assert.equal("<b>*x*</b> &amp;", text.plain("<b>*x*</b> &amp;", "text"))
    assert.equal("<b>*x*</b>", text.plain "<b>*x*</b>")
    assert.equal("<b>", text.plain("<b>", "later"))
  end)
end)

describe("the builders", function()
  it("mark and escape", function()
    assert.equal("<b>1 &lt; <i>2</i></b> <s>x</s><u>y</u>&amp;",
      tostring(html(html.bold("1 < ", html.italic(2)), " ", html.strike "x", html.underline "y", "&")))
    assert.equal("**1 < _2_** ~~x~~ \\*", tostring(markdown(markdown.bold("1 < ", markdown.italic(2)), " ",
      markdown.strike "x", " *")))
  end)

  it("link and mention", function()
    assert.equal('<a href="http://h/?a=1&amp;b=&quot;&#39;">a <b>b</b></a>',
      tostring(html.link("http://h/?a=1&b=\"'", "a ", html.bold "b")))
    assert.equal("[\\[a\\]](http://h/%28a%29%20b)", tostring(markdown.link("http://h/(a) b", "[a]")))
    assert.equal('<a href="trueconf:mira@h">Mira &amp; Co</a>', tostring(html.mention("mira@h", "Mira & Co")))
    assert.equal("[mira](trueconf:mira@h/1)", text.mention("mira@h/1", nil, "markdown"))
    assert.equal("Mira", text.mention("mira@h", "Mira"))
    assert.equal("mira", text.mention "mira@h")
  end)

  it("write as text what a server would refuse as a link, and the message with it", function()
    for _, target in ipairs {
      "ftp://x.test/a", "javascript:alert(1)", "tel:+49", "x.test/a", "/a", "//x", "data:text/html,x", "http:",
      "file:///a",
      "jav\tascript:x", "1http://x", "ht tp://x", ":", "#a",
    } do
      local shown = "a <b> *c* (" .. target:gsub("%c", "%%09") .. ")"
      for _, builder in ipairs { html, markdown } do
        local made = tostring(builder("see ", builder.link(target, "a <b> ", builder.bold "*c*")))
        assert.not_matches("href", made, 1, true)
        assert.equal("see " .. shown, text.plain(made, builder == html and "html" or "markdown"))
        assert.same({}, text.mentions(made, builder == html and "html" or "markdown"))
      end
    end
    assert.equal("x.test/a_b", tostring(html.link("x.test/a_b", "x.test/a_b")))
    for _, target in ipairs { "http://h", "HTTPS://h/", "mailto:a@b", "trueconf:a@b&do=profile" } do
      assert.matches('^<a href="', tostring(html.link(" " .. target .. "\n", "x")))
    end
    assert.equal('<a href="http://h/%0Ax">x</a>', tostring(html.link("http://h/\nx", "x")))
    assert.equal('<a href="http://h">http://h</a>', tostring(html.link("http://h", " \n")))
  end)

  it("quote", function()
    assert.equal('<quote class="reply">a&lt;b</quote><br><br><b>ok</b>', tostring(html.quote("a<b", html.bold "ok")))
    assert.equal(">a\\.\n>b\n\nok", tostring(markdown.quote("a.\nb", "ok")))
  end)

  it("join", function()
    assert.equal("<b>a</b>, &lt;", tostring(html.join({ html.bold "a", "<" }, ", ")))
    assert.equal("ab", tostring(markdown.join { "a", "b" }))
    assert.equal("&lt;<b>a</b>&gt;1", tostring("<" .. html.bold "a" .. ">" .. 1))
    assert.equal("<i>", tostring(html.raw "<i>"))
    assert.equal("", tostring(html()))
  end)

  it("keep marks of markdown next to letters, and apart", function()
    assert.equal(" **a** b", tostring(markdown.bold " a " .. "b"))
    assert.equal("", tostring(markdown.bold ""))
    assert.equal("a **b**", tostring(markdown.bold("a ", markdown.bold "b")))
    assert.equal("_ab_ **cd**", tostring(markdown.italic "a" .. markdown.italic "b" .. " " .. markdown.bold "c"
      .. markdown.bold "d"))
  end)

  it("refuse what is no text, at the caller's line", function()
    local function message(fn, ...) return select(2, pcall(fn, ...)) end
    local here = "^spec/text/text_spec%.lua:%d+: "
    assert.matches(here .. "a text must be a string, a number or markup, got a table",
      message(function() local _ = html.bold {} end))
    assert.matches(here .. "a text must be a string, a number or markup, got nil",
      message(function() local _ = html("a", nil) end))
    assert.matches(here .. "markdown markup in html", message(function() local _ = html(markdown.bold "x") end))
    assert.matches(here .. "markdown markup in html",
      message(function() local _ = html.bold "x" .. markdown.bold "x" end))
    assert.matches(here .. "markdown has no underline", message(function() local _ = markdown.underline "x" end))
    assert.matches(here .. "a link needs a label", message(function() local _ = html.link "http://u" end))
    assert.matches(here .. "the target must be", message(function() local _ = html.link(" \n", "x") end))
    assert.matches(here .. "the target must be", message(function() local _ = html.link("", "x") end))
    assert.matches(here .. "user_id must be", message(function() local _ = html.mention(nil, "x") end))
    assert.matches(here .. "user_id must be", message(function() local _ = text.mention("", "x", "html") end))
    assert.matches(here .. "a quote needs a text", message(function() local _ = html.quote(" ", "x") end))
    assert.matches(here .. 'parse_mode must be "text", "markdown" or "html", got bb',
      message(function() local _ = text.escape("x", "bb") end))
    assert.matches(here .. "the text must be a string, got nil", message(function() local _ = text.mentions(nil) end))
  end)

  it("are undone by plain", function()
    each_seed(200, function(random, seed)
      local bold = words(random, 8)
      assert.equal(soft(text.plain(text.escape("a" .. bold .. "a", "html"), "html")),
        soft(text.plain(tostring(html("a", html.bold(bold), "a")), "html")), seed)
      local content = ("(%s) end"):format(bold)
      assert.equal(content, text.plain(tostring(markdown("(", markdown.bold(bold), ") end")), "markdown"), seed)
    end)
  end)
end)

describe("text.mentions", function()
  it("reads links to users", function()
    local content = [[<a href="trueconf:a@h">A</a> <A class=x HREF='trueconf:b@h/7f'>B</A>
      <a href="trueconf:c@h&amp;do=profile">C</a> <a href="trueconf:d@h&do=profile">D</a>
      <a href="trueconf:e@h?x">E</a> <a href="trueconf:a@h?again">A</a> <a href="http://trueconf:z@h">Z</a>
      <a data-href="trueconf:z@h">Z</a> <a>Z</a>]]
    assert.same({ "a@h", "b@h", "c@h", "d@h", "e@h" }, text.mentions(content, "html"))
    assert.same({ "a@h", "b@h" },
      text.mentions("[A](trueconf:a@h/1) [B](trueconf:b@h) \\[C](trueconf:c@h)", "markdown"))
    assert.same({}, text.mentions("[A](trueconf:a@h)", "text"))
    assert.same({ "mira@h" }, text.mentions(tostring(html.mention("mira@h/1", "@")), "html"))
    assert.same({ "mira@h" }, text.mentions(tostring(markdown.mention("mira@h", "x]")), "markdown"))
  end)

  it("knows @all as a word", function()
    for _, content in ipairs { "@all", "hi @all!", "(@all)", "x @alles @all.", "<b>@all</b>" } do
      assert.same({ "@all" }, text.mentions(content, "html"), content)
    end
    for _, content in ipairs { "me@all", "@alles", "@all.org", "@all-x", "@all@h", "@all_x", "é@all", "@allé" } do
      assert.same({}, text.mentions(content, "html"), content)
    end
    assert.same({ "a@h", "@all" }, text.mentions('@all <a href="trueconf:a@h">A</a>', "html"))
  end)
end)

describe("text.strip_quote", function()
  it("parts the quote from the answer", function()
    for content, expected in pairs {
      ['<quote class="reply">a &lt; b</quote><br><br>x'] = { "x", "a &lt; b" },
      ['<quote class="reply"></quote>x'] = { "x", "" }, [" <QUOTE>a</QUOTE> <br/>\n<br>x<br>y"] = { "x<br>y", "a" },
      ['<quote class="reply">a</quote><br><br><quote>b</quote>'] = { "<quote>b</quote>", "a" },
      ["x<quote>a</quote>"] = { "x<quote>a</quote>" }, ["<quote>a"] = { "<quote>a" },
      ["<quotes>a</quote>"] = { "<quotes>a</quote>" },
    } do
      assert.same(expected, { text.strip_quote(content, "html") })
    end
    assert.same({ "x\n>y", "a\nb" }, { text.strip_quote(">a\n>b\n\nx\n>y", "markdown") })
    assert.same({ "x" }, { text.strip_quote("x", "markdown") })
    assert.same({ ">a\n\nx" }, { text.strip_quote(">a\n\nx", "text") })
  end)

  it("undoes what the builders write", function()
    local answer, quoted = text.strip_quote(tostring(html.quote("a<b", html.bold "x")), "html")
    assert.same({ "<b>x</b>", "a&lt;b" }, { answer, quoted })
    answer, quoted = text.strip_quote(tostring(markdown.quote("a\nb", "x")), "markdown")
    assert.same({ "x", "a\nb" }, { answer, quoted })
  end)
end)

describe("text.command_text", function()
  it("leaves the words", function()
    local bot = '<a href="trueconf:bot@h">Bot</a>'
    for content, expected in pairs {
      ["<b>/order</b>&nbsp;tea "] = "/order tea", [bot .. "&nbsp;/order"] = "/order",
      [bot .. ", " .. bot .. ": /a"] = "/a",
      ["<quote>/no</quote><br>" .. bot .. " /a <i>b</i>"] = "/a b", ["  "] = "", ["/a " .. bot] = "/a Bot",
      ['<a href="http://h">/a</a>'] = "/a", ["<br>/a<br>b"] = "/a\nb",
    } do
      assert.equal(expected, text.command_text(content, "html"))
    end
    assert.equal("/a *", text.command_text(" /a * ", "text"))
  end)
end)

describe("text.contact", function()
  it("knows a message that is one link to a profile", function()
    local link = '<a href="trueconf:mira@h&amp;do=profile">Mira &amp; Co</a>'
    assert.same({ "mira@h", "Mira & Co" }, { text.contact(link, "html") })
    assert.same({ "mira@h", "M" }, { text.contact(' <A HREF="trueconf:mira@h&do=profile">M</A> ', "html") })
    for _, other in ipairs {
      link .. ".", "see " .. link, link .. link, '<a href="trueconf:mira@h">M</a>', "", "trueconf:mira@h&do=profile",
      '<a href="http://h?do=profile">M</a>', '<a href="trueconf:mira@h&do=profiles">M</a>',
    } do
      assert.is_nil(text.contact(other, "html"), other)
    end
    assert.is_nil(text.contact(link, "text"))
  end)
end)

describe("text.visible_length", function()
  it("counts what the clients of the vendor count", function()
    for content, expected in pairs {
      [""] = 0, ["при😀"] = 4, ["e\u{301}"] = 2, ["<b>x</b><I class='a b'>y</I>"] = 2, ["<foo>x</foo>"] = 12,
      ["a_b *c* __d__ ~~e~~"] = 9, ["a__b a**b"] = 7, ["é_é №_é ²_3"] = 10, ["[l](http://h)"] = 10,
      ["<a href='http://h'>l</a>"] = 10, ["<a href='u'></a>"] = 1, ["<a>l</a>"] = 1, ["[](u) [l]() [l]"] = 15,
      ["<a href='u'>[l](v)</a>"] = 5, ["[<a href='u'>l</a>](v)"] = 5, ["&amp; \\*"] = 7, ["< b <b"] = 6,
      ["<br>x<br/><BR >"] = 1, ["<quote class='reply'>q</quote>"] = 1, [">q\n>q > r"] = 7,
    } do
      assert.equal(expected, text.visible_length(content, "html"), content)
      assert.equal(expected, text.visible_length(content, "text"), content)
    end
  end)

  it("counts more tags in full for servers before 5.5.6", function()
    for content, expected in pairs {
      ["<br>x"] = 5, ["<quote>q</quote>"] = 16, [">q"] = 2, ["<b>x</b>"] = 1, ["[<br>](u)"] = 6,
    } do
      assert.equal(expected, text.visible_length(content, "html", "5.5.5"), content)
      assert.equal(expected, text.visible_length(content, "html", "5.4"), content)
    end
    for _, server in ipairs { "5.5.6", "5.5.6.100", "5.6.0", "6.0" } do
      assert.equal(1, text.visible_length("<br>x", "html", server), server)
    end
  end)

  it("is the number of characters where there are no marks", function()
    each_seed(100, function(random, seed)
      local content = table.concat(some(random, { "a", "б", "😀", " ", "\n", "&", "(", "!", "e\u{301}", NBSP }, 50))
      assert.equal(utf8.len(content), text.visible_length(content), seed)
    end)
  end)

  it("is never more than the number of characters", function()
    each_seed(200, function(random, seed)
      local content = table.concat(some(random, SHARDS, 60))
      assert.is_true(text.visible_length(content) <= utf8.len(content), seed)
    end)
  end)
end)

describe("text.split", function()
  local function split(content, mode, limit) return text.split(content, { parse_mode = mode, limit = limit }) end

  it("leaves a text that fits alone", function()
    assert.same({}, text.split "")
    assert.same({ ("x"):rep(4096) }, text.split(("x"):rep(4096)))
    assert.same({ ("x"):rep(4096), "x" }, text.split(("x"):rep(4097)))
    assert.same({ "<b>" .. ("x"):rep(32) .. "</b>" }, split("<b>" .. ("x"):rep(32) .. "</b>", "html", 32))
  end)

  it("cuts after a line break, else a sentence, else a space, else anywhere", function()
    local x = ("x"):rep(20)
    assert.same({ x .. "\n", "y. z " .. x }, split(x .. "\ny. z " .. x, "text", 32))
    assert.same({ x .. "<br>", "y. z " .. x }, split(x .. "<br>y. z " .. x, "html", 32))
    assert.same({ x .. "y. ", "z " .. x }, split(x .. "y. z " .. x, "text", 32))
    assert.same({ x .. " yz ", x }, split(x .. " yz " .. x, "text", 32))
    assert.same({ "a\n" .. ("y"):rep(30), "y" }, split("a\n" .. ("y"):rep(31), "text", 32))
    assert.same({ ("😀"):rep(32), "😀" }, split(("😀"):rep(33), "text", 32))
  end)

  it("closes what is open and opens it again", function()
    local x = ("x"):rep(30)
    assert.same({ "<b>a <i>" .. x .. "</i></b>", "<b><i>y</i></b>" },
      split("<B class='c'>a <i>" .. x .. "y</i></b>", "html", 32))
    assert.same({ "**a _" .. x .. "_**", "**_y_**" }, split("**a _" .. x .. "y_**", "markdown", 32))
    assert.same({ "**a " .. ("y"):rep(20) .. "** ", "**" .. x .. "**" },
      split("**a " .. ("y"):rep(20) .. " " .. x .. "**", "markdown", 32))
    assert.same({ ">a " .. x, ">y\nz" }, split(">a " .. x .. "y\nz", "markdown", 32))
    assert.same({ "<b>" .. ("x"):rep(32) .. "</b>", "<i>" .. x .. "</i>" },
      split("<b>" .. ("x"):rep(32) .. "</b><i>" .. x .. "</i>", "html", 32))
  end)

  it("keeps links, entities and escaped signs whole", function()
    local x = ("x"):rep(30)
    assert.same({ x, '<a href="http://h">a b</a>' }, split(x .. '<a href="http://h">a b</a>', "html", 32))
    assert.same({ x, "[a b](http://h)" }, split(x .. "[a b](http://h)", "markdown", 32))
    assert.same({ x, "&amp;" }, split(x .. "&amp;", "html", 32))
    assert.same({ x .. "xx", "\\_" }, split(x .. "xx\\_", "markdown", 32))
    assert.same({ x, "<foo>y" }, split(x .. "<foo>y", "html", 32))
  end)

  it("repeats the target of a link that does not fit, and spells one out that never will", function()
    local label, long = ("x"):rep(30), ("u"):rep(40)
    assert.same({ '<a href="u">' .. label .. "</a>", '<a href="u">xx</a>' },
      split('<a href="u">' .. label .. 'xx</a>', "html", 32))
    assert.same({ "[" .. label .. "](u)", "[xx](u)" }, split("[" .. label .. "xx](u)", "markdown", 32))
    assert.same("x " .. long, table.concat(split(('<a href="%s">x</a>'):format(long), "html", 32)))
    assert.same("x " .. long, table.concat(split(("[x](%s)"):format(long), "markdown", 32)))
  end)

  it("does not make a quote of what is none", function()
    local x = ("x"):rep(31)
    assert.same({ x .. " ", "\\> y" }, split(x .. " > y", "markdown", 32))
    assert.same({ "**" .. x .. "** ", "**> y**" }, split("**" .. x .. " > y**", "markdown", 32))
  end)

  it("refuses what it cannot do", function()
    assert.has_error(function() text.split("x", { limit = 31 }) end, "limit must be an integer of at least 32, got 31")
    assert.has_error(function() text.split("x", { limit = "9" }) end)
    assert.has_error(function() text.split("x", { size = 99 }) end,
      "unknown option 'size'; there are limit, parse_mode")
    assert.has_error(function() text.split("\xff", {}) end, "the text is not UTF-8")
    assert.has_error(function() text.split(nil) end, "the text must be a string, got nil")
  end)

  local function check_parts(parts, limit, seed)
    for _, part in ipairs(parts) do
      assert.is_true(text.visible_length(part) <= limit, seed)
      assert.is_truthy(utf8.len(part), seed)
      assert.not_equal("", part, seed)
    end
  end

  it("loses nothing that is seen", function()
    each_seed(150, function(random, seed)
      for mode, builder in pairs { html = html, markdown = markdown } do
        local content, limit = tostring(markup(random, builder, 3)), 60 + random(60)
        local parts, seen = split(content, mode, limit), {}
        check_parts(parts, limit, seed)
        for place, part in ipairs(parts) do seen[place] = text.plain(part, mode) end
        local before, after = text.plain(content, mode), table.concat(seen)
        -- Html shows white space of any length as one space.
        if mode == "html" then before, after = before:gsub("%s+", " "), after:gsub("%s+", " ") end
        assert.equal(before, after, seed .. " " .. mode)
      end
    end)
  end)

  it("opens and closes tags in pairs", function()
    each_seed(100, function(random, seed)
      for _, part in ipairs(split(tostring(markup(random, html, 3)), "html", 80)) do
        local open = {}
        for slash, name in part:gsub("<br>", ""):gmatch "<(/?)(%a)[^<>]*>" do
          open[name] = (open[name] or 0) + (slash == "" and 1 or -1)
          assert.is_true(open[name] >= 0, seed)
        end
        for name, count in pairs(open) do assert.equal(0, count, seed .. " " .. name) end
      end
    end)
  end)

  it("keeps to the limit whatever it is given", function()
    each_seed(300, function(random, seed)
      local content, limit = table.concat(some(random, SHARDS, random(200))), 31 + random(30)
      for _, mode in ipairs { "html", "markdown", "text" } do
        local parts = split(content, mode, limit)
        check_parts(parts, limit, seed .. " " .. mode)
        if mode == "text" then assert.equal(content, table.concat(parts), seed) end
      end
    end)
  end)
end)

describe("text.cut", function()
  it("leaves a text that fits alone", function()
    for _, content in ipairs { "", ("ä"):rep(4096), "<b>" .. ("x"):rep(4096) .. "</b>", "<foo", "**" } do
      for _, mode in ipairs { "html", "markdown", "text" } do
        assert.equal(content, text.cut(content, nil, mode), mode)
      end
    end
  end)

  it("cuts at the visible length, wherever that is", function()
    assert.equal(("😀"):rep(4096), text.cut(("😀"):rep(5000)))
    assert.equal("A cat sat on a mat. It was a good", text.cut("A cat sat on a mat. It was a goodish mat", 33))
    assert.equal(("x"):rep(31) .. "\n", text.cut(("x"):rep(31) .. "\nyz", 32))
    assert.equal((">\n"):rep(32), text.cut((">\n"):rep(40), 32))
  end)

  it("closes what is open, and opens nothing at the end", function()
    local x = ("x"):rep(30)
    assert.equal("<b>a <i>" .. x .. "</i></b>", text.cut("<B class='c'>a <i>" .. x .. "y</i></b>", 32, "html"))
    assert.equal("**a _" .. x .. "_**", text.cut("**a _" .. x .. "y_**", 32, "markdown"))
    assert.equal("xx" .. x, text.cut("xx" .. x .. "<b>y</b>", 32, "html"))
    assert.equal("xx" .. x, text.cut("xx" .. x .. "**y**", 32, "markdown"))
    assert.equal("<b>xx" .. x .. "</b>", text.cut("<b>xx" .. x .. "</b>y", 32, "html"))
    assert.equal(">xx" .. x, text.cut(">xx" .. x .. "y", 32, "markdown"))
  end)

  it("keeps entities and escaped signs whole, or leaves them out", function()
    local x = ("x"):rep(30)
    assert.equal(x, text.cut(x .. "&amp;y", 32, "html"))
    assert.equal(x .. "&amp;", text.cut(x .. "&amp;y", 35, "html"))
    assert.equal(x .. "y", text.cut(x .. "y\\.", 32, "markdown"))
    assert.equal(x .. "\\.", text.cut(x .. "\\.y", 32, "markdown"))
    assert.equal(x .. "&a", text.cut(x .. "&amp;y", 32, "text"))
  end)

  it("cuts the label of a link, never its target", function()
    local x = ("x"):rep(20)
    assert.equal(x .. '<a href="http://h">abc</a>', text.cut(x .. '<a href="http://h">abcdef</a> z', 32, "html"))
    assert.equal(x .. "[abc](http://h)", text.cut(x .. "[abcdef](http://h) z", 32, "markdown"))
    assert.equal(x, text.cut(x .. '<a href="http://host">abcdef</a> zzzzzzzz', 32, "html"))
    assert.equal(x, text.cut(x .. "[abcdef](http://host) zzzzzzzz", 32, "markdown"))
  end)

  it("leaves something of what begins with more than fits", function()
    local long = ("u"):rep(40)
    for content, mode in pairs {
      [('<a href="%s">x</a>'):format(long)] = "html", [("[x](%s)"):format(long)] = "markdown",
      [("<%s>xyz"):format(long)] = "html",
    } do
      local head = text.cut(content, 32, mode)
      assert.matches("^x", text.plain(head, mode))
      assert.is_true(text.visible_length(head) <= 32)
    end
  end)

  it("counts as the server does", function()
    local content = ("<br>x"):rep(40)
    assert.equal(("<br>x"):rep(40), text.cut(content, 40, "html"))
    assert.equal(("<br>x"):rep(8), text.cut(content, 40, "html", "5.5.4"))
    assert.equal(("<br>x"):rep(8), text.cut(content, 40, "markdown", "5.5.4"))
    assert.equal('<quote class="reply">abc</quote>',
      text.cut('<quote class="reply">abcd</quote>', 32, "html", "5.5.4"))
  end)

  it("refuses what it cannot do", function()
    assert.has_error(function() text.cut("x", 31) end, "limit must be an integer of at least 32, got 31")
    assert.has_error(function() text.cut("\xff") end, "the text is not UTF-8")
    assert.has_error(function() text.cut(nil) end, "the text must be a string, got nil")
    assert.has_error(function() text.cut("x", 40, "bb") end)
  end)

  -- The visible text; html shows white space of any length as one space.
  local function seen(content, mode)
    local shown = text.plain(content, mode)
    return mode == "html" and shown:gsub("%s+", " "):gsub("%s$", "") or shown
  end

  it("shows the beginning of what was there, up to the limit", function()
    local LONGEST = 36                  -- of what is not cut: a target, a space before it, an entity
    each_seed(300, function(random, seed)
      for mode, builder in pairs { html = html, markdown = markdown } do
        local content, limit = tostring(markup(random, builder, 3)), 60 + random(60)
        local head = text.cut(content, limit, mode)
        local whole, part, length = seen(content, mode), seen(head, mode), text.visible_length(head)
        assert.equal(whole:sub(1, #part), part, seed .. " " .. mode)
        assert.is_true(length <= limit, seed .. " " .. mode)
        assert.is_true(head == content or length > limit - LONGEST, seed .. " " .. mode .. " " .. length)
        assert.equal(head, text.cut(head, limit, mode))
      end
    end)
  end)

  it("opens and closes tags in pairs", function()
    each_seed(200, function(random, seed)
      local open = {}
      local head = text.cut(tostring(markup(random, html, 3)), 60 + random(60), "html")
      for slash, name in head:gsub("<br>", ""):gmatch "<(/?)(%a)[^<>]*>" do
        open[name] = (open[name] or 0) + (slash == "" and 1 or -1)
        assert.is_true(open[name] >= 0, seed)
      end
      for name, count in pairs(open) do assert.equal(0, count, seed .. " " .. name) end
    end)
  end)

  it("keeps to the limit whatever it is given, and leaves something", function()
    each_seed(400, function(random, seed)
      local content, limit = table.concat(some(random, SHARDS, random(200))), 31 + random(30)
      for _, mode in ipairs { "html", "markdown", "text" } do
        for _, server in ipairs { "5.5.4", "5.5.6" } do
          local head, what = text.cut(content, limit, mode, server), ("%s %s %s"):format(seed, mode, server)
          assert.is_true(text.visible_length(head, mode, server) <= limit, what)
          assert.is_truthy(utf8.len(head), what)
          assert.not_equal("", head, what)
          if mode == "text" then assert.equal(content:sub(1, #head), head, what) end
        end
      end
    end)
  end)
end)

-- A cost that grows with each byte lies thousands of times above the bound at this length.
describe("hostile texts of 250 kB", function()
  local SIZE = 250000 // SHARE
  local STEPS = 300                     -- of the virtual machine, for each byte

  -- Run fn, which must not take more steps than its share; what hangs in a pattern never ends.
  local function frugal(content, name, fn, ...)
    local steps = 0
    debug.sethook(function()
      steps = steps + 10000
      if steps > STEPS * SIZE then error(("%s of %q: too many steps"):format(name, content:sub(1, 20)), 0) end
    end, "", 10000)
    local ok, err = pcall(fn, content, ...)
    debug.sethook()
    assert.is_true(ok, err)
  end

  local function repeated(shard) return shard:rep(SIZE // #shard) end

  it("are read in a bounded number of steps", function()
    for _, shard in ipairs {
      "<", "&", "<a ", '<a href="', '<a href="trueconf:x">a</a> ', " ", "\n>", "<br>", "@all@", "<quote>",
    } do
      local content = repeated(shard)
      for _, name in ipairs { "plain", "mentions", "strip_quote", "command_text", "contact", "escape" } do
        frugal(content, name, text[name], "html")
      end
    end
  end)

  it("are measured in a bounded number of steps", function()
    for _, shard in ipairs { "<", "[", "*", '<a href="u">', "[a](", "<b", "a_" } do
      frugal(repeated(shard), "visible_length", text.visible_length)
    end
  end)

  it("are split in a bounded number of steps", function()
    for shard, mode in pairs {
      ["<"] = "html", ["<b>a "] = "html", ["&amp;"] = "html", ["[a\\]"] = "markdown", ["**a "] = "markdown",
      [" "] = "text",
    } do
      frugal(repeated(shard), "split", text.split, { parse_mode = mode })
      frugal(repeated(shard), "cut", text.cut, nil, mode)
    end
    frugal(repeated "*a **b ", "plain", text.plain, "markdown")
  end)

  it("do not nest deep", function()
    local depth = SIZE // 10            -- tags of either kind
    local content = ("<b><i>"):rep(depth) .. ("x"):rep(5000) .. ("</i></b>"):rep(depth)
    assert.same({ "<b><i>" .. ("x"):rep(4096) .. "</i></b>", "<b><i>" .. ("x"):rep(904) .. "</i></b>" },
      text.split(content, { parse_mode = "html" }))
  end)
end)

describe("the page about texts", function()
  local page = system.read "docs/text.md"

  it("shows what its scripts print", function()
    local count = 0
    for script in page:gmatch "\n```lua\n(.-)\n```" do
      local printed, expected = {}, {}
      local function show(...)
        local values = table.pack(...)
        for place = 1, values.n do values[place] = tostring(values[place]) end
        printed[#printed + 1] = table.concat(values, "\t", 1, values.n)
      end
      for line in script:gmatch "%-%-> ([^\n]*)" do expected[#expected + 1] = line end
      assert(load(script, "=docs/text.md", "t", setmetatable({ print = show }, { __index = _G })))()
      assert.equal(table.concat(expected, "\n"), table.concat(printed, "\n"))
      count = count + 1
    end
    assert.is_true(count > 5)
  end)
end)
