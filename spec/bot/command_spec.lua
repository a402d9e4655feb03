-- SPDX-License-Identifier: MIT
-- Commands: when a message is one, what its arguments are, what is said of mistakes, the help.

local bots = require "spec.support.bots"
local command = require "trueconf.bot.command"
local filter = require "trueconf.filter"
local trueconf = require "trueconf"

local html = bots.html

local function mention(id, label)
  return ('<a href="trueconf:%s">%s</a>'):format(id, label or "X")
end

describe("a command", function()
  -- Text, name, what stands behind it, whether it names the bot; no name: it is none.
  for _, case in ipairs {
    { "/order", "order", "", false },
    { "  /Order  large  red ", "order", "large red", false },
    { "/order@herald large", "order", "large", true },
    { "/order@Herald@chat.acme.test large", "order", "large", true },
    { "/order@other large" },
    { mention "herald@chat.acme.test" .. " /order large", "order", "large", true },
    { mention "anna@chat.acme.test" .. ", " .. mention "herald@chat.acme.test" .. ": /order", "order", "", true },
    { mention "anna@chat.acme.test" .. " /order" },
    { "<b>/order</b> 1 &lt; 2", "order", "1 < 2", false },
    { "/order&nbsp;large", "order", "large", false },
    { "/order<br>two<br>lines", "order", "two\nlines", false },
    { '<quote class="reply">Anna: hi</quote><br>/order', "order", "", false },
    { "/tell " .. mention("anna@chat.acme.test", "Anna B") .. " hello", "tell", "Anna B hello", false },
    { "/ЗАКАЗ большой", "заказ", "большой", false },
    { "order" }, { "please /order" }, { "/" }, { "/ order" }, { "/home/mira/notes.txt" }, { "/@herald" },
  } do
    it(("is %s: %s"):format(case[2] and "in" or "not in", case[1]), function()
      local found = html(case[1]).command
      if not case[2] then
        assert.is_false(found)
      else
        assert.same({ case[2], case[3], case[4] }, { found.name, found.text, found.addressed })
      end
    end)
  end

  it("is plain text or markdown as well, but nothing forwarded and nothing of the system", function()
    assert.equal("order", bots.message({ text = "/order", parseMode = "text" }).command.name)
    assert.equal("order", bots.message({ text = "**/order**", parseMode = "markdown" }).command.name)
    assert.is_false(bots.message({ text = "/order", parseMode = "text" }, { type = 201 }).command)
    assert.is_false(bots.message({ text = "/order" }, { type = 1 }).command)
    assert.is_false(bots.message({}).command)
  end)

  it("may begin with other signs", function()
    local bot = { engine = { options = { command_prefix = "!" } }, user_id = function() return bots.ME end }
    assert.equal("order", html("!order", { bot = bot }).command.name)
    assert.is_false(html("/order", { bot = bot }).command)
  end)
end)

describe("the arguments of a command", function()
  local function read(spec, text)
    local declared = command.declare("do", spec, 1)
    return command.arguments(declared, html("/do " .. text))
  end

  it("are the words if none are declared", function()
    local function words(text) return (read(nil, text)) end
    assert.same({}, words "")
    assert.same({ "a", "b c", "d" }, words 'a "b c"  d')
    assert.same({ "it's", "b c" }, words "it's 'b c'")
    assert.same({ "b c", "d e", "f g", "h" }, words "“b c” «d e» „f g“ h")
    assert.same({ 'say "hi"', "" }, words [["say \"hi\"" ""]])
    assert.same({ "open to the end" }, words '"open to the end')
    assert.same({ "anna@chat.acme.test", "hello" }, words(mention("anna@chat.acme.test", "Anna B") .. " hello"))
    assert.same({ "a=b", "--c" }, words "a=b --c")
  end)

  local ORDER = {
    { "size", one_of = { "small", "Large" } },
    { "count", type = "integer", min = 1, max = 10, default = 1 },
    { "fast", type = "boolean" },
    { "note", type = "text", optional = true },
  }

  for text, expected in pairs {
    ["small"] = { size = "small", count = 1, fast = false },
    ["LARGE 3"] = { size = "Large", count = 3, fast = false },
    ["small --fast"] = { size = "small", count = 1, fast = true },
    ["--fast small --count 4"] = { size = "small", count = 4, fast = true },
    ["count=2 size=small fast=yes"] = { size = "small", count = 2, fast = true },
    ["small --COUNT=2 --no-fast"] = { size = "small", count = 2, fast = false },
    ["small —count 2"] = { size = "small", count = 2, fast = false },
    ["small 2 with  \"love\" --fast"] = { size = "small", count = 2, fast = false, note = "with \"love\" --fast" },
    ["small note=\"two words\" 5"] = { size = "small", count = 5, fast = false, note = "two words" },
    ["small 1 -- --fast"] = { size = "small", count = 1, fast = false, note = "--fast" },
    ["small 1 x=y"] = { size = "small", count = 1, fast = false, note = "x=y" },
  } do
    it("are read by place and by name: " .. text, function()
      assert.same(expected, (read(ORDER, text)))
    end)
  end

  for text, expected in pairs {
    [""] = { "size is missing", "size" },
    ["huge"] = { 'size: small or Large expected, got "huge"', "size" },
    ["small many"] = { 'count: a whole number from 1 to 10 expected, got "many"', "count" },
    ["small 11"] = { 'count: a whole number from 1 to 10 expected, got "11"', "count" },
    ["small --size large"] = { "size is given twice", "size" },
    ["small --coun 3"] = { "unknown option --coun, did you mean --count?" },
    ["small --count"] = { "count has no value", "count" },
    ["small fast=perhaps"] = { 'fast: yes or no expected, got "perhaps"', "fast" },
    ["small 1 note=\"open"] = { "a quote is not closed" },
  } do
    it("are answered with what is wrong: " .. text, function()
      local args, mistake = read(ORDER, text)
      assert.is_nil(args)
      assert.equal("/do SIZE [COUNT] [--fast] [NOTE]", mistake.usage)
      assert.same(expected, { mistake.message, mistake.argument })
    end)
  end

  it("are of several types", function()
    local function one(kind, text, more)
      local spec = { "x", type = kind }
      for name, value in pairs(more or {}) do spec[name] = value end
      local args, mistake = read({ spec }, text)
      return args and args.x, mistake and mistake.message
    end
    assert.equal(1.5, one("number", "1,5"))
    assert.equal(-2, one("integer", "-2"))
    assert.equal("integer", math.type(one("integer", "7")))
    for _, text in ipairs { "1e3", "0x10", "nan", "inf", "1.5", "9223372036854775808" } do
      assert.is_nil((one("integer", text)))
    end
    for _, text in ipairs {
      "nan", "inf", "1e999", "x", "0x10", "1e3", "1_000", "１２", "١٢", "1.2.3", "1,2,3", "--1", "+-1", "1 2", "", ".5",
      ("9"):rep(400), "-" .. ("9"):rep(400) .. ".5", "1,500", "-12,345",
    } do
      assert.is_nil((one("number", '"' .. text .. '"')), text)
      assert.is_nil((one("integer", '"' .. text .. '"')), text)
      assert.is_nil((one("duration", '"' .. text .. 'x"')), text)
    end
    assert.same({ 0.5, 1500.5, 12, -3.25 }, { one("number", "0,5"), one("number", "1500,5"), one("number", "+12"),
      one("number", "-3.250") })
    assert.matches("without a comma for thousands", select(2, one("number", "1,500")))
    assert.equal(math.maxinteger, one("integer", "9223372036854775807"))
    assert.is_nil((one("integer", "9223372036854775808")))
    for _, text in ipairs { ("9"):rep(400), ("9"):rep(400) .. "s", "-1", "1e3s", "0x10", "9999999999" } do
      assert.is_nil((one("duration", text)), text)
    end
    assert.equal(5400, one("duration", "1h30m"))
    assert.equal(90, one("duration", "90"))
    assert.equal(2 * 86400, one("duration", "2D"))
    assert.matches("a time such as 90s", select(2, one("duration", "soon")))
    assert.same({ year = 2028, month = 2, day = 29 }, (one("date", "2028-02-29")))
    assert.same({ year = 2000, month = 12, day = 3 }, (one("date", "3.12.2000")))
    for _, text in ipairs { "2027-02-29", "1900-02-29", "31.4.2027", "2027-13-01", "2027-0-10", "0.1.2027", "1.1.7" } do
      assert.matches("a date such as 2026%-12%-31", select(2, one("date", text)))
    end
    assert.equal("anna@chat.acme.test", one("user", mention("anna@chat.acme.test", "Anna B")))
    assert.equal("anna@chat.acme.test", one("user", "@anna"))
    assert.equal("anna@other.test", one("user", "anna@other.test"))
    assert.matches("a mention or an ID", select(2, one("user", "'anna b'")))
    assert.same({ "a", "b c" }, one("string", "a 'b c'", { many = true }))
    local function even(word)
      local value = math.tointeger(tonumber(word))
      if value and value % 2 == 0 then return value end
      return nil, "an even number"
    end
    assert.equal(4, one(even, "4"))
    assert.equal('x: an even number expected, got "3"', select(2, one(even, "3")))
    assert.equal('unexpected "c"', select(2, one("string", "b c")))
  end)

  it("may be for their names alone", function()
    local spec = { { "to", named = true }, { "text", type = "text" } }
    assert.same({ to = "anna", text = "hello you" }, (read(spec, "--to anna hello you")))
    local _, mistake = read(spec, "hello you")
    assert.same({ "to is missing", "/do --to TO TEXT" }, { mistake.message, mistake.usage })
  end)

  it("show at most some of what was written", function()
    local _, mistake = read({ { "n", type = "integer" } }, ("ж"):rep(500))
    assert.is_truthy(utf8.len(mistake.message))
    assert.is_true(#mistake.message < 200)
  end)

  it("take any text without a fault: values that fit, or one mistake", function()
    local PIECES = { "a", "small", "count", "=", "--", "—", "-", " ", "  ", "\n", '"', "'", "“", "”", "«", "»", "\\",
      "7", "1.5", "--count", "--no-fast", "note=", '="', "\xff", "\x80", "\xe2", "<b>", "</a>", "&quot;", "&",
      "\u{F0000}", "1\u{F0001}", "&#xF0000;9", "&#xF0001;", mention("anna@x", "Anna"), mention("x", ""), "/", "@" }
    local seed = 1
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed // 65536 % n + 1
    end
    for _ = 1, 5000 do
      local pieces = {}
      for place = 1, random(12) do pieces[place] = PIECES[random(#PIECES)] end
      local msg = html("/do " .. table.concat(pieces))
      if msg.command then
        for _, spec in ipairs { ORDER, false } do
          local declared = command.declare("do", spec or nil, 1)
          local args, mistake = command.arguments(declared, msg)
          assert.is_true(args ~= nil or type(mistake.message) == "string")
          if args and spec then
            assert.is_true((args.size == "small" or args.size == "Large") and args.count >= 1 and args.count <= 10)
          end
        end
      end
    end
  end)

  it("let an error of a type's function through", function()
    assert.error_matches(function() read({ { "x", type = function() error "broken" end } }, "1") end, "broken")
  end)

  it("are checked when they are declared", function()
    local bot = trueconf.bot { url = "ws://127.0.0.1:1", token = "t", log = "off" }
    local function fails(pattern, ...)
      local ok, mistake = pcall(bot.on_command, bot, ...)
      assert.is_false(ok)
      assert.matches(pattern, mistake)
    end
    local function handler() end
    fails("on_command: a command's name expected, got a number", 5, handler)
    fails("'a b' cannot be a command's name", "a b", handler)
    fails("on_command: a function expected, got nil", "a")
    fails("unknown option 'descripton', did you mean 'description'", "a", handler, { descripton = "x" })
    fails("argument 1 of the command must be a table that begins with", "a", handler, { "size" })
    fails("argument 'x': option 'type' must be a function or one of boolean, date, duration", "a", handler,
      { { "x", type = "int" } })
    fails("argument 'X' is given twice", "a", handler, { { "x" }, { "X" } })
    fails("'y' must be optional, as 'x' before it is", "a", handler, { { "x", optional = true }, { "y" } })
    fails("'x' takes the rest of the line, so 'y' cannot", "a", handler, { { "x", type = "text" }, { "y" } })
    local ok, mistake = pcall(function() bot:on_command("a b", handler) end)
    assert.is_false(ok)
    assert.matches("bot/command_spec.lua:%d+: on_command: 'a b'", mistake)
  end)
end)

describe("a bot with commands", function()
  local function prepare(bot)
    bot:on_command({ "order", "o" }, function(msg, args)
      assert(msg:reply(("%d %s"):format(args.count, args.size)))
    end, {
      { "size", one_of = { "small", "large" } },
      { "count", type = "integer", default = 1, description = "how many" },
      description = "order a shirt",
    })
    bot:on_command("close", filter.role "owner", function(msg) assert(msg:reply "closed") end, {
      description = "close",
    })
    bot:on_command("secret", function(msg) assert(msg:reply "found") end, { hidden = true })
    bot:default(function(msg) assert(msg:reply "default") end)
  end

  it("runs them with their arguments, by each of their names", bots.case(prepare, function(case)
    assert.equal("1 small", bots.ask(case, "/order small"))
    assert.equal("3 large", bots.ask(case, "/O Large 3"))
    assert.equal("found", bots.ask(case, "/secret"))
    assert.equal("default", bots.ask(case, "hello"))
    assert.equal("default", bots.ask(case, "/unknown"))
  end))

  it("knows them in any case of letters, by the spelling that it has declared", bots.case(function(bot)
    for _, name in ipairs { "қайта", "straße", "iptal", "ЩЕ", "żółw", "բարեւ", "ά", "é" } do
      bot:on_command(name, function(msg, args)
        assert(msg:reply(("%s %s %s"):format(msg.command.name, args.size, args["größe"])))
      end, { { "size", one_of = { "Ұсақ", "ірі" } }, { "größe", named = true, default = 0, type = "integer" } })
    end
    bot:on_command({ "ελπίς", "ß" }, function(msg) assert(msg:reply(msg.command.name)) end)
    bot:on_unknown_command(function(msg, unknown) assert(msg:reply("no " .. unknown.name)) end)
  end, function(case)
    for line, answer in pairs {
      ["/ҚАЙТА ҰСАҚ"] = "қайта Ұсақ 0", ["/STRASSE ІРІ --GRÖSSE 3"] = "straße ірі 3",
      ["/İPTAL ірі GRÖẞE=4"] = "iptal ірі 4",
      ["/ще ІРІ"] = "ще ірі 0", ["/ŻÓŁW ірі"] = "żółw ірі 0", ["/ԲԱՐԵՒ ірі"] = "բարեւ ірі 0", ["/Ά ірі"] = "ά ірі 0",
      ["/E\u{301} ірі"] = "é ірі 0", ["/ΕΛΠΊΣ"] = "ελπίς", ["/SS"] = "ß", ["/СЫР"] = "no сыр",
    } do
      assert.equal(answer, bots.ask(case, line))
    end
    assert.matches("/straße SIZE [--größe GRÖẞE]", bots.ask(case, "/help Strasse"), 1, true)
  end))

  it("takes no name for one that it does not have", bots.case(function(bot)
    bot:on_command("order", function(msg) assert(msg:answer "ordered") end)
    bot:default(function(msg) assert(msg:answer "what?") end)
  end, function(case)
    assert.equal("what?", bots.ask(case, "/first"))
    assert.equal("ordered", bots.ask(case, "/order"))
  end))

  it("answers a mistake with the usage", bots.case(prepare, function(case)
    assert.equal('size: small or large expected, got "huge".\nUsage: /order SIZE [COUNT]', bots.ask(case, "/o huge"))
  end))

  it("says it in words of its own", bots.case(function(bot)
    prepare(bot)
    bot:on_usage(function(msg, mistake) assert(msg:reply(mistake.argument .. "? " .. mistake.usage)) end)
  end, function(case)
    assert.equal("size? /order SIZE [COUNT]", bots.ask(case, "/order"))
  end))

  it("helps with what the person may do there", bots.case(prepare, function(case)
    assert.equal("/order SIZE [COUNT] - order a shirt", bots.ask(case, "/help"))
    assert.equal("/order SIZE [COUNT] - order a shirt\nsize: small or large\ncount: how many; default 1",
      bots.ask(case, "/help /O"))
    assert.equal("default", bots.ask(case, "/help close"))
    local group = case.mira:create_group "Ops"
    assert(group:add "herald")
    assert(group:say "/help@herald")
    assert.equal("/order SIZE [COUNT] - order a shirt\n/close - close", bots.hear(case.mira))
  end))

  it("has no help if told so", bots.case(prepare, function(case)
    assert.equal("default", bots.ask(case, "/help"))
  end, { help = false }))

  it("has a help of its own", bots.case(function(bot)
    prepare(bot)
    bot:on_command("help", function(msg) assert(msg:reply "mine") end)
  end, function(case)
    assert.equal("mine", bots.ask(case, "/help"))
  end))

  it("tells of unknown commands, in a group only of those meant for it", bots.case(function(bot)
    prepare(bot)
    bot:on_unknown_command(function(msg, unknown) assert(msg:reply("no " .. unknown.name)) end)
  end, function(case)
    assert.equal("no dance", bots.ask(case, "/dance now"))
    local group = case.mira:create_group "Ops"
    assert(group:add "herald")
    local function said_in_group(text, opts)
      assert(group:say(text, opts))
      return bots.hear(case.mira)
    end
    assert.equal("no dance", said_in_group "/dance@herald")
    local me = case.bot:user_id()
    assert.equal("no dance", said_in_group(mention(me, "Herald") .. " /dance", { parse_mode = "html" }))
    assert.equal("default", said_in_group "/dance")
    assert.equal("1 small", said_in_group "/order small")
    assert.equal("default", said_in_group "/order@somebody small")
  end))
end)
