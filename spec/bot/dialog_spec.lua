-- SPDX-License-Identifier: MIT
-- Dialogs: handlers that ask and wait, over the Bridge and under virtual time.

local core = require "trueconf.core"
local dialog = require "trueconf.dialog"
local filter = require "trueconf.filter"
local testing = require "trueconf.testing"
local bots = require "spec.support.bots"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

-- A case: a test with a bot that `prepare` gives its handlers, and Anna.
local function case(prepare, body, options, more)
  return function()
    local given = { bot = function(own)
      for name, value in pairs(options or {}) do own[name] = value end
      local bot = trueconf.bot(own)
      prepare(bot)
      return bot
    end }
    for name, value in pairs(more or {}) do given[name] = value end
    local t <close> = testing.start(given)
    body(t, t:user "anna")
  end
end

-- A bot that handles "/ask" by fn and says what it returns, if anything, and "plain: TEXT" to all else.
local function asker(fn)
  return function(bot)
    bot:on_text("^/ask$", function(msg)
      local said = fn(msg, bot)
      if said ~= nil then assert(msg:answer(tostring(said))) end
    end)
    bot:on_message(function(msg) assert(msg:answer("plain: " .. msg.text)) end)
  end
end

-- The raised error: busted's assert puts errors into a table of its own.
local function bare(err)
  return trueconf.Error.is(err) and err or err.message
end

-- An answer or an error as text for the chat.
local function shown(value, more)
  if value ~= nil then return type(value) == "table" and (value.text or value.id) or value end
  return "nil " .. more.name .. ": " .. more.message
end

-- A case in which the bot asks "well?" with these options and tells the outcome; `lines` are heard and said by turns.
local function asks(opts, lines, options, more)
  return case(asker(function(msg) return shown(msg:ask("well?", opts)) end), function(t, anna)
    anna:says "/ask"
    for place = 1, #lines, 2 do
      t:expect(anna):hears(lines[place])
      if lines[place + 1] then anna:says(lines[place + 1]) end
    end
    t:expect(anna):hears_nothing()
  end, options, more)
end

local OLD = { bridge = { version = "5.5.4" } } -- a server without buttons
local WORDS = { choices = { "small", "large", "extra large" } }
local LIST = "well?\n1. small\n2. large\n3. extra large"
local ENDS = { contains = "nil " }

describe("msg:ask", function()
  it("returns the message of the answer", asks(nil, { "well?", "red", "red" }))

  it("takes seconds in place of options", case(asker(function(msg) return shown(msg:ask("well?", 90)) end),
    function(t, anna)
      anna:says "/ask"
      t:expect(anna):hears "well?"
      t:advance(89)
      t:expect(anna):hears_nothing()
      t:advance(1)
      t:expect(anna):hears "nil TIMEOUT: no answer within 90 s"
      anna:says "late"
      t:expect(anna):hears "plain: late"
    end))

  it("returns the message beside the value", case(asker(function(msg)
    local value, answer = msg:ask("well?", { type = "integer" })
    return ("%d in %s"):format(value, answer.text)
  end), function(t, anna)
    anna:says { "/ask", " 42 " }
    t:expect(anna):hears "well?"
    t:expect(anna):hears "42 in  42 "
  end))

  it("complains of misuse at the line of the script", case(asker(function(msg)
    local mistakes = {
      [{ "x", { color = 1 } }] = "ask: unknown option 'color'",
      [{ "x", { choices = {} } }] = "choices must be a list of at least one",
      [{ "x", { choices = { 1 } } }] = "choice 1 must be a string, or a table",
      [{ "x", { choices = { "a", "A" } } }] = "choice 2 means the same as choice 1: 'a'",
      [{ "x", { choices = { "a" }, type = "integer" } }] = "either choices or a type",
      [{ "x", { type = "colour" } }] = "option 'type' must be one of",
      [{ "x", { filter = 1 } }] = "must be a filter or a function",
      [{ "x", { cancel = true } }] = "must be words, or false",
      [{ "x", { on_timeout = 5 } }] = "must be a text or a function",
      [{ "x", { from = {} } }] = "must name at least one",
      [{ "x", { edit = {} } }] = "must be a message or its id",
      [{ true }] = "bad argument 'question': a string expected",
      [{ "x", "soon" }] = "options must be a table",
    }
    for call, complaint in pairs(mistakes) do
      local ok, err = pcall(function() msg:ask(table.unpack(call)) end)
      assert(not ok and err:find(complaint, 1, true) and err:find "bot/dialog_spec.lua:%d+", err)
    end
    for call, complaint in pairs {
      [function() msg.chat:wait(7) end] = "wait: a filter or a function expected",
      [function() msg.chat:wait(nil, "soon") end] = "options must be a table",
      [function() msg.chat:wait(nil, { from = {} }) end] = "must name at least one",
      [function() msg.bot:chat(7) end] = "chat: the id of a chat expected",
    } do
      local ok, err = pcall(call)
      assert(not ok and err:find(complaint, 1, true) and err:find "^spec/bot/dialog_spec.lua:%d+: ", err)
    end
    return "done"
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "done"
  end))

  it("complains of wrong defaults of a bot", function()
    local ok, err = pcall(function()
      trueconf.bot { username = "a", password = "b", ask_defaults = { choices = { "a" } } }
    end)
    assert.is_false(ok)
    assert.matches("bot/dialog_spec.lua:%d+: trueconf.bot: ask_defaults: unknown option 'choices'", err)
  end)
end)

describe("choices", function()
  it("are a list on servers without buttons, answered by label, number or beginning", function()
    for answer, choice in pairs {
      large = "large", [" LARGE "] = "large", ["3"] = "extra large", ["2."] = "large", ["e"] = "extra large",
    } do asks(WORDS, { LIST, answer, choice }, nil, OLD)() end
  end)

  it("are known in any case of letters, and however a telephone writes them", function()
    local offered = { "Қара", "Ақ", "Weiß", "Crème", "Ёлка", "❤\u{fe0f}", "Ω Άλφα" }
    for answer, choice in pairs {
      ["ҚАРА"] = "Қара", ["АҚ "] = "Ақ", ["WEISS"] = "Weiß", ["CRE\u{300}ME"] = "Crème", ["ёл"] = "Ёлка",
      ["❤"] = "❤\u{fe0f}",
      ["ω\u{a0}ΆΛ"] = "Ω Άλφα", ["ақ\u{200f}"] = "Ақ",
    } do
      asks({ choices = offered, show = "list" }, { { contains = "well?" }, answer, choice })()
    end
  end)

  it("ask again when an answer fits none or several", asks({ choices = { "black", "blue", "red" } }, {
    "well?\n1. black\n2. blue\n3. red", "green", "Please answer with black, blue or red.",
    "bl", "Do you mean black or blue?", "4", "Please answer with black, blue or red.", "r", "red",
  }, nil, OLD))

  it("are buttons on servers that have them; the choice is shown and the buttons go", case(asker(function(msg)
    local choice, click = msg:ask("well?", WORDS)
    return choice .. " by " .. click.command:match "^%a+"
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:expect(anna):sees_buttons { "small", "large", "extra large" }
    anna:clicks "large"
    t:expect(anna):hears "large by choice"
    t:expect(anna):sees "well?\n\u{2192} large"
    assert.is_nil(t:transcript():match "well%?.*well%?.*%[large%]")
  end))

  it("are told before the buttons have gone, and shown in the form of the question", case(asker(function(msg)
    return msg:ask("<b>well?</b>", { choices = { "<a>", "b" }, parse_mode = "html" })
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:fault("silence", { editMessage = 1 })
    anna:clicks "<a>"
    t:expect(anna):hears "<a>"
    t:fault()
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "<a>"
    t:expect(anna):hears "<a>"
    local question = t:expect(anna):sees "well?\n\u{2192} <a>"
    assert.same({ text = "<b>well?</b><br>\u{2192} &lt;a&gt;", parseMode = "html" }, question.content)
  end))

  it("are buttons for one person where only the server knows that the chat is personal", case(asker(function(msg, bot)
    return bot:chat(msg.chat_id):ask("well?", { choices = { "a", "b" }, from = "anna" })
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "b"
    t:expect(anna):hears "b"
  end))

  it("that were refused are not shown as chosen", case(asker(function(msg)
    return shown(msg:ask("well?", { choices = { "a", "b" }, validate = function() return nil, "No." end, retries = 0 }))
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "a"
    t:expect(anna):hears(ENDS)
    t:expect(anna):sees "well?"
  end))

  it("lose their buttons whatever has become of the question", case(asker(function(msg)
    msg:ask("well?", { choices = { "a", "b" }, validate = function() error "no tea left" end })
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:expect(anna):sees_buttons { "a", "b" }
    anna:clicks "a"
    t:expect_error "no tea left"
    t:expect(anna):sees "well?\n\u{2192} a"
  end))

  it("are asked for again when a file is sent", case(asker(function(msg) return msg:ask("well?", WORDS) end),
    function(t, anna)
      anna:says "/ask"
      t:expect(anna):hears "well?"
      anna:sends_file("a.txt", "a")
      t:expect(anna):hears "Please answer with small, large or extra large."
    end))

  it("are buttons if messages look like those of a server that has them", function()
    for version, buttons in pairs { ["5.5.4"] = false, ["5.5.6"] = true } do
      case(function(bot)
        behind(bot).client.version = false -- it does not say
        asker(function(msg) return msg:ask("well?", WORDS) end)(bot)
      end, function(t, anna)
        anna:says "/ask"
        t:expect(anna):hears(buttons and "well?" or LIST)
        if buttons then t:expect(anna):sees_buttons { "small", "large", "extra large" } end
      end, nil, { bridge = { version = version } })()
    end
  end)

  it("on buttons may be answered in words as well", asks(WORDS, { "well?", "2", "large" }))

  it("may be tables, known by label and id", function()
    local opts = { choices = { { label = "Small one", id = "S" }, { label = "Large one", id = "L" } } }
    asks(opts, { "well?", "l", "L" })()
    asks(opts, { "well?", "large", "L" })()
  end)

  it("that are numbers are not numbered", asks({ choices = { "5", "10", "2" } }, {
    "well?\n- 5\n- 10\n- 2", "3", "Please answer with 5, 10 or 2.", "2", "2",
  }, nil, OLD))

  it("are not chosen by clicks on other buttons, which go to their handlers", case(function(bot)
    bot:on_click("^(%a+)$", function(click) assert(bot:send_message(click.chat_id, "other: " .. click.command)) end)
    bot:on_command("menu", function(msg)
      assert(msg:answer("menu", { buttons = { { { type = "command", label = "go", command = "go" } } } }))
    end)
    asker(function(msg) return shown(msg:ask("well?", WORDS)) .. " " .. shown(msg:ask "and?") end)(bot)
  end, function(t, anna)
    anna:says "/menu"
    t:expect(anna):hears "menu"
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks("go", { message = t:expect(anna):sees "menu" })
    t:expect(anna):hears "other: go"
    t:expect(anna):hears_nothing()
    anna:clicks "large"
    t:expect(anna):hears "and?"         -- which has no buttons
    t:advance(5)                        -- else it would be a double click
    anna:clicks("go", { message = t:expect(anna):sees "menu" })
    t:expect(anna):hears "other: go"
    anna:says "this"
    t:expect(anna):hears "large this"
  end))

  it("are clicked also where a late click gets no word, and nothing else is handled", case(function(bot)
    bot:on_command("ask", function(msg) assert(msg:answer(shown(msg:ask("well?", WORDS)))) end)
  end, function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "large"
    t:expect(anna):hears "large"
  end, { late_click = false }))

  it("are a list if they do not fit on buttons", function()
    asks({ choices = { ("x"):rep(33), "y" } }, { { contains = "\n2. y" }, "y", "y" })()
    local many, lines = {}, { "well?" }
    for i = 1, 65 do many[i], lines[i + 1] = "c" .. i, i .. ". c" .. i end
    asks({ choices = many }, {
      table.concat(lines, "\n"), "z", "Please answer with one of these:\n" .. table.concat(lines, "\n", 2), "65", "c65",
    })()
  end)

  it("fill rows of buttons", case(asker(function(msg)
    local many = {}
    for i = 1, 60 do many[i] = "c" .. i end
    return msg:ask("well?", { choices = many })
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "c60"
    t:expect(anna):hears "c60"
  end))

  it("are shown as told, with their signs escaped", function()
    asks({ choices = { "a", "b" }, show = "list" }, { "well?\n1. a\n2. b", "b", "b" })()
    asks({ choices = { "a", "b" }, show = "both" }, { "well?\n1. a\n2. b", "b", "b" })()
    asks({ choices = { "<a>", "b" }, show = "list", parse_mode = "html" }, { "well?\n1. <a>\n2. b", "1", "<a>" })()
  end)

  it("in a group are clicked only when anybody may answer", case(asker(function(msg)
    local one = msg:ask("well?", { choices = { "a", "b" } })
    return one .. msg.chat:ask("and?", { choices = { "a", "b" } })
  end), function(t, anna)
    local group = t:group { "anna", "boris" }
    anna:says("/ask", { chat = group })
    t:expect(anna):hears "well?\n1. a\n2. b"
    anna:says("2", { chat = group })
    t:expect(anna):hears "and?"
    t:user("boris"):clicks "a"
    t:expect(anna):hears "ba"
  end))

  it("of a question that is over are clicked too late", case(asker(function(msg)
    local one = msg:ask("one?", { choices = { "a", "b" }, timeout = 60 })
    return one or "over"
  end), function(t, anna)
    t:fault("request_error", { editMessage = 1 })
    anna:says "/ask"
    t:expect(anna):hears "one?"
    t:advance(60)
    t:expect(anna):hears "over"
    t:expect(anna):sees_buttons { "a", "b" }
    t:fault()
    anna:clicks "a"
    t:expect(anna):hears "This question is over."
    t:expect(anna):sees "one?"
    t:expect(anna):sees_buttons {}
    t:expect(anna):hears_nothing()
    anna:says "/ask"
    t:expect(anna):hears "one?"
    anna:clicks("a", { message = t:expect(anna):sees "one?" })
    t:expect(anna):hears "a"
  end))
end)

-- A message as a question with choices that was asked before the bot was started again.
local function left_over(bot)
  bot:on_command("left", function(msg)
    local button = { type = "command", label = "a", command = "choice-0af5-1" }
    assert(msg:answer("<b>one</b> &lt;?", { parse_mode = "html", buttons = { { button } } }))
  end)
  bot:on_message(function(msg) assert(msg:answer("plain: " .. msg.text)) end)
end

describe("a late click", function()
  it("takes the buttons of an earlier process away, and gets a word", case(left_over, function(t, anna)
    anna:says "/left"
    t:expect(anna):hears "one <?"
    anna:clicks "a"
    t:expect(anna):hears "This question is over."
    local left = t:expect(anna):sees "one <?"
    assert.same({ text = "<b>one</b> &lt;?", parseMode = "html" }, left.content)
    t:expect(anna):sees_buttons {}
  end))

  it("gets the word that the bot is told, or none", function()
    case(left_over, function(t, anna)
      anna:says "/left"
      t:expect(anna):hears "one <?"
      anna:clicks "a"
      t:expect(anna):hears "Too late."
    end, { late_click = "Too late." })()
    case(left_over, function(t, anna)
      anna:says "/left"
      t:expect(anna):hears "one <?"
      anna:clicks "a"
      t:expect(anna):hears_nothing()
      t:expect(anna):sees_buttons { "a" }
    end, { late_click = false })()
    assert.has_error(function() trueconf.bot { username = "a", password = "b", late_click = true } end)
  end)

  it("in a group only takes the buttons away: nobody knows who has clicked", case(left_over, function(t, anna)
    local group = t:group { "anna", "boris" }
    anna:says("/left", { chat = group })
    t:expect(anna):hears "one <?"
    t:user("boris"):clicks "a"
    t:expect(anna):hears_nothing()
    t:expect(anna):sees_buttons({}, { chat = group })
  end))

  it("goes to the bot's own handlers first", case(function(bot)
    bot:on_click("^choice", function(click) assert(bot:send_message(click.chat_id, "mine")) end)
    left_over(bot)
  end, function(t, anna)
    anna:says "/left"
    t:expect(anna):hears "one <?"
    anna:clicks "a"
    t:expect(anna):hears "mine"
    t:expect(anna):hears_nothing()
    t:expect(anna):sees_buttons { "a" }
  end))

  it("whose edit fails gets its word, and the log a line", case(left_over, function(t, anna)
    t:fault("request_error", { editMessage = 1 })
    anna:says "/left"
    t:expect(anna):hears "one <?"
    anna:clicks "a"
    t:expect(anna):hears "This question is over."
    t:expect(anna):sees_buttons { "a" }
  end))

  it("is none while the question is open", case(asker(function(msg)
    return shown(msg:ask("well?", { choices = { "a", "b" }, validate = function() trueconf.sleep(60) return true end }))
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks "a"
    t:advance(2)
    anna:clicks "b"
    t:expect(anna):hears_nothing { within = 50 }
    t:advance(60)
    t:expect(anna):hears "a"
  end, { order = "none" }))
end)

describe("buttons of a question", function()
  it("go when the bot stops", case(asker(function(msg)
    return shown(msg:ask("well?", { choices = { "a", "b" }, on_stop = "I must go." }))
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:expect(anna):sees_buttons { "a", "b" }
    t:restart()
    t:expect(anna):hears "I must go."
    t:expect(anna):sees_buttons {}
  end))
end)

describe("a double click", function()
  local function counting(bot)
    local count = 0
    bot:on_command("menu", function(msg)
      local row = {}
      for place, name in ipairs { "go", "stay" } do
        row[place] = { type = "command", label = name, command = name }
      end
      assert(msg:answer("menu", { buttons = { row } }))
    end)
    bot:on_click("^%a+$", function(click)
      count = count + 1
      assert(bot:send_message(click.chat_id, ("%s %d"):format(click.command, count)))
    end)
  end

  it("is one click, and others count", case(counting, function(t, anna)
    anna:says "/menu"
    t:expect(anna):hears "menu"
    anna:clicks("go", { twice = true })
    t:expect(anna):hears "go 1"
    t:expect(anna):hears_nothing()
    anna:clicks "stay"
    t:expect(anna):hears "stay 2"
    anna:clicks "stay"
    t:expect(anna):hears "stay 3"
    anna:says "/menu"
    t:expect(anna):hears "menu"
    anna:clicks "stay"
    t:expect(anna):hears "stay 4"
  end))

  it("counts as two for a bot that says so", case(counting, function(t, anna)
    anna:says "/menu"
    t:expect(anna):hears "menu"
    anna:clicks("go", { twice = true })
    t:expect(anna):hears "go 1"
    t:expect(anna):hears "go 2"
  end, { double_click = 0 }))

  it("on a choice is one answer, without a word", case(asker(function(msg)
    return msg:ask("well?", WORDS) .. " " .. msg:ask("and?", WORDS)
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:clicks("small", { twice = true })
    t:expect(anna):hears "and?"
    anna:clicks("large", { twice = true })
    t:expect(anna):hears "small large"
    t:expect(anna):hears_nothing()
  end))
end)

describe("an answer", function()
  it("is read as its type says", function()
    asks({ type = "integer", min = 1, max = 5 }, {
      "well?", "9", "Please answer with a whole number from 1 to 5.", "3", "3",
    })()
    asks({ type = "number" }, { "well?", "x", "Please answer with a number.", "2,5", "2.5" })()
    asks({ type = "duration" }, { "well?", "1h30m", "5400" })()
    asks({ type = "string" }, { "well?", " red  ", "red" })()
    asks({ type = "boolean" }, { "well?", "no", "false" })()
  end)

  it("is a date that there is", case(asker(function(msg)
    local date = assert(msg:ask("when?", { type = "date" }))
    return ("%d/%d/%d"):format(date.year, date.month, date.day)
  end), function(t, anna)
    anna:says { "/ask", "31.02.2027", "2027-02-28" }
    t:expect(anna):hears "when?"
    t:expect(anna):hears "Please answer with a date such as 2026-12-31 or 31.12.2026."
    t:expect(anna):hears "2027/2/28"
  end))

  it("without a text is no answer to what is asked in words", case(asker(function(msg)
    return shown(msg:ask("name?", { type = "string" }))
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "name?"
    anna:sends_file("a.txt", "a")
    t:expect(anna):hears "Please answer with a text."
    anna:says "anna"
    t:expect(anna):hears "anna"
  end))

  it("is validated, and the value returned", asks({ validate = function(msg)
    local word = msg.text:match "^%a+$"
    return word and word:upper(), "Letters only."
  end }, { "well?", "12", "Letters only.", "abc", "ABC" }))

  it("is validated after its type or choice", function()
    asks({ type = "integer", validate = function(_, number) return number % 2 == 0, "An even one." end },
      { "well?", "3", "An even one.", "4", "4" })()
    asks({ choices = { "a", "b" }, validate = function(_, choice) return choice ~= "a" end },
      { "well?", "a", "That is not a valid answer.", "b", "b" })()
  end)

  it("may be put right so often, then the dialog is over", asks(
    { type = "integer", retries = 1, on_invalid = "Never mind." }, {
      "well?", "x", "Please answer with a whole number.", "y", "Never mind.", nil,
      "nil LIMIT: no valid answer in 2 tries, the last one: Please answer with a whole number.",
    }))

  it("may be put right to the last try, of which nobody is told that it can be put right", function()
    local lefts = {}
    asks({ type = "integer", retries = 2, retry = function(_, left)
      table.insert(lefts, left)
      return left .. " left"
    end }, { "well?", "x", "2 left", "y", "1 left", "3", "3" })()
    assert.same({ 2, 1 }, lefts)
    asks({ type = "integer", retries = 1, retry = function(_, left)
      table.insert(lefts, left)
      return left .. " left"
    end }, { "well?", "x", "1 left", "y",
      "nil LIMIT: no valid answer in 2 tries, the last one: Please answer with a whole number." })()
    assert.same({ 2, 1, 1 }, lefts)
  end)

  it("that is wrong is commented as told", function()
    asks({ type = "integer", retry = "A number, please." }, { "well?", "x", "A number, please.", "1", "1" })()
    asks({ type = "integer", retry = function(why, left) return why .. " " .. left end },
      { "well?", "x", "Please answer with a whole number. 3", "1", "1" })()
  end)

  it("is what passes the filter; the rest goes to the ordinary handlers", case(asker(function(msg)
    return msg:ask("a file?", { filter = filter.file }).file.name
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "a file?"
    anna:says "no"
    t:expect(anna):hears "plain: no"
    anna:sends_file("a.txt", "a")
    t:expect(anna):hears "a.txt"
  end))

  it("may pass a filter that asks the server", case(asker(function(msg)
    return msg.chat:ask("owner?", { filter = filter.role "owner" }).text
  end), function(t, anna)
    local group = t:group { "anna", "boris" }
    anna:says("/ask", { chat = group })
    t:expect(anna):hears "owner?"
    t:user("boris"):says("me", { chat = group })
    t:expect(anna):hears "plain: me"
    anna:says("no, me", { chat = group })
    t:expect(anna):hears "no, me"
  end))
end)

describe("a message", function()
  it("is not for who has stopped waiting while the filter was asked", case(asker(function(msg)
    return shown(msg:ask("well?", { timeout = 5, filter = function() return core.sleep(10) or true end }))
  end), function(t, anna)
    anna:says { "/ask", "x" }
    t:expect(anna):hears "well?"
    t:advance(5)
    t:expect(anna):hears(ENDS)
    t:advance(5)
    t:expect(anna):hears "plain: x"
  end))

  it("of the system is no answer", case(asker(function(msg) return shown(msg:ask("well?", { from = "anyone" })) end),
    function(t, anna)
      local group = t:group { "anna" }
      t:user "boris"
      t:expect(anna):hears "plain: " -- to what the system has written of the group
      anna:says("/ask", { chat = group })
      t:expect(anna):hears "well?"
      assert(anna.person:chat(group.id):add "boris")
      t:expect(anna):hears "plain: "
      anna:says("x", { chat = group })
      t:expect(anna):hears "x"
    end, { receive_system = true }))

  it("that has come when the question fails goes to the ordinary handlers", case(asker(function(msg, bot)
    local there = bot:chat(assert(bot:create_p2p_chat("boris@" .. msg.author:match "@(.*)$")))
    local _, err = there:ask "well?"
    return err.method .. " " .. err.name
  end), function(t, anna)
    local boris = t:user "boris"
    boris:says "hi"
    t:expect(boris):hears "plain: hi"
    t:fault("silence", { sendMessage = 1 })
    anna:says "/ask"
    boris:says "early"
    t:expect(boris):hears_nothing()
    t:fault()
    t:advance "1m"
    t:expect(anna):hears "sendMessage TIMEOUT"
    t:expect(boris):hears "plain: early"
    boris:says "next"
    t:expect(boris):hears "plain: next"
  end))

  it("is not let go of by a question about an earlier one outside of the handler", case(asker(function(msg)
    assert(msg:ask "one?")
    trueconf.spawn(function() assert(msg:answer("two: " .. assert(msg:ask "two?").text)) end)
    core.sleep(60)
    return "done"
  end), function(t, anna)
    anna:says { "/ask", "a" }
    t:expect(anna):hears "one?"
    t:expect(anna):hears "two?"
    anna:says "b"
    t:expect(anna):hears_nothing()
    t:advance(60)
    t:expect(anna):hears "done"
    t:expect(anna):hears "two: b"
  end))
end)

describe("a filter that raises", function()
  it("raises where it was given, and the message goes on", case(asker(function(msg)
    local ok, err = pcall(msg.ask, msg, "well?", { filter = function() error("oh", 0) end })
    return tostring(ok) .. " " .. err
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:says "x"
    t:expect(anna):hears "plain: x"
    t:expect(anna):hears "false oh"
  end))
end)

describe("a dialog is cancelled", function()
  it("by /cancel unless told otherwise", asks({ on_cancel = "All right." }, {
    "well?", " /Cancel ", "All right.", nil, "nil CANCELLED: the person has cancelled the dialog",
  }))

  it("by words of every alphabet, in any case of letters", asks({ cancel = { "жоқ", "iptal", "schluß",
  "quit\u{e9}" } }, {
    "well?", "ЖОҚ", ENDS, "/ask", "well?", "İPTAL", ENDS, "/ask", "well?", "SCHLUSS", ENDS, "/ask", "well?",
    "Quite\u{301}",
    ENDS,
  }))

  it("by words of its own", asks({ cancel = { "stop", "genug" }, type = "integer" }, { "well?", "STOP", ENDS }))

  it("not by any word if told so", asks({ cancel = false }, { "well?", "/cancel", "/cancel" }))

  it("by the words of the bot", asks(nil, { "well?", "ende", "plain" }, {
    ask_defaults = { cancel = "ende", on_cancel = function() return { text = "plain" } end },
  }))

  it("by the word even if a filter is not passed", asks({ filter = filter.file }, { "well?", "/cancel", ENDS }))

  it("with a mention of the bot in a group", case(asker(function(msg) return shown(msg:ask "well?") end),
    function(t, anna)
      local group = t:group { "anna" }
      anna:says("/ask", { chat = group })
      t:expect(anna):hears "well?"
      anna:says("/cancel@bot", { chat = group })
      t:expect(anna):hears(ENDS)
    end))
end)

describe("a dialog that gets no answer", function()
  local function waits(opts, check)
    return case(asker(function(msg) return shown(msg:ask("well?", opts)) end), function(t, anna)
      anna:says "/ask"
      t:expect(anna):hears "well?"
      t:advance(60)
      check(t, anna)
    end, { ask_timeout = 60 })
  end

  it("says so", waits({ on_timeout = "Never mind." }, function(t, anna)
    t:expect(anna):hears "Never mind."
    t:expect(anna):hears "nil TIMEOUT: no answer within 60 s"
  end))

  it("is over although that cannot be said, and the log tells of it", function()
    local log, lines = bots.log "warn"
    local outcome
    case(asker(function(msg, bot)
      behind(bot).client.log = log
      local _, err = msg:ask("well?", { timeout = 60, on_timeout = "Never mind." })
      outcome = err.name
    end), function(t, anna)
      anna:says "/ask"
      t:expect(anna):hears "well?"
      t:fault("request_error", { sendMessage = 1 })
      t:advance(120)                    -- sending is tried again
      assert.equal("TIMEOUT", outcome)
      assert.matches("\nthe text for the end of a dialog could not be sent: INTERNAL_ERROR", table.concat(lines, "\n"))
    end)()
  end)

  it("does what it is told, and may go on with a value", waits({ on_timeout = function(err, chat)
    assert(chat:send(err.name))
    return "medium"
  end }, function(t, anna)
    t:expect(anna):hears "TIMEOUT"
    t:expect(anna):hears "medium"
  end))

  it("keeps nothing of the chat", waits({}, function(t, anna)
    t:expect(anna):hears(ENDS)
    anna:says "hello"
    t:expect(anna):hears "plain: hello"
  end))

  it("ends by assert without an error", case(function(bot)
    bot:on_message(function(msg)
      assert(msg:ask "well?")
      assert(msg:answer "not reached")
    end)
    bot:on_error(function() core.spawn(error, "on_error was called") end)
  end, function(t, anna)
    for _ = 1, 2 do
      anna:says "hi"
      t:expect(anna):hears "well?"
      t:advance(3600)
      t:expect(anna):hears_nothing()
    end
  end))

  it("but an error of sending is one", case(function(bot)
    bot:on_message(function(msg) assert(msg:ask "well?") end)
  end, function(t, anna)
    t:fault("request_error", { sendMessage = 1 })
    anna:says "hi"
    t:expect_error "INTERNAL_ERROR"
  end))
end)

describe("during a dialog commands", function()
  local function with_commands(opts, lines)
    return case(function(bot)
      bot:on_command("start", function(msg) assert(msg:answer(shown(msg:ask("well?", opts)))) end)
      local router = trueconf.router()
      router:on_command("price", function(msg) assert(msg:answer "cheap") end)
      bot:mount(router)
    end, function(t, anna)
      anna:says "/start"
      t:expect(anna):hears "well?"
      for place = 1, #lines, 2 do
        anna:says(lines[place])
        t:expect(anna):hears(lines[place + 1])
      end
    end)
  end

  it("are answers", with_commands(nil, { "/price", "/price" }))
  it("are commands if told so, and others are answers", with_commands({ commands = true },
    { "/price", "cheap", "/help", { contains = "/price" }, "/what", "/what" }))
  it("are commands if they are named", with_commands({ commands = { "help" } },
    { "/help", { contains = "/price" }, "/price", "/price" }))
  it("come behind the words that cancel", with_commands({ commands = true }, { "/cancel", ENDS }))
end)

describe("several people", function()
  -- A group of three with a bot that asks by these options on "/ask".
  local function in_group(opts, body)
    return case(asker(function(msg)
      local answer, err = msg:ask("well?", opts)
      return answer and ("%s: %s"):format(answer.author:match "^[^@]*", answer.text) or err.name
    end), function(t, anna)
      local group = t:group { "anna", "boris", "carla" }
      local function say(login, line) t:user(login):says(line, { chat = group }) end
      body(t, anna, say, group)
    end)
  end

  it("have dialogs of their own in one chat", in_group(nil, function(t, anna, say)
    for _, login in ipairs { "anna", "boris" } do
      say(login, "/ask")
      t:expect(anna):hears "well?"
    end
    for _, line in ipairs { { "carla", "plain: hm" }, { "boris", "boris: hm" }, { "anna", "anna: hm" } } do
      say(line[1], "hm")
      t:expect(anna):hears(line[2])
    end
  end))

  it("may be whom is asked", in_group({ from = { "boris", "carla" } }, function(t, anna, say)
    say("anna", "/ask")
    t:expect(anna):hears "well?"
    say("anna", "x")
    t:expect(anna):hears "plain: x"
    say("carla", "y")
    t:expect(anna):hears "carla: y"
  end))

  it("may be anyone", in_group({ from = "anyone" }, function(t, anna, say)
    say("anna", "/ask")
    t:expect(anna):hears "well?"
    say("boris", "z")
    t:expect(anna):hears "boris: z"
  end))

  it("who all leave end the dialog", in_group({ from = { "boris", "carla" } }, function(t, anna, say, group)
    say("anna", "/ask")
    t:expect(anna):hears "well?"
    assert(anna.person:chat(group.id):expel "boris")
    t:expect(anna):hears_nothing()
    assert(anna.person:chat(group.id):expel "carla")
    t:expect(anna):hears "USER_IS_NOT_CHAT_PARTICIPANT"
  end))
end)

describe("chat:wait", function()
  it("gets the next message that its filter takes", case(asker(function(msg)
    local found = assert(msg.chat:wait(filter.text "^yes"))
    return "waited for " .. found.text
  end), function(t, anna)
    anna:says { "/ask", "no" }
    t:expect(anna):hears "plain: no"
    anna:says "yes, please"
    t:expect(anna):hears "waited for yes, please"
    anna:says "yes"
    t:expect(anna):hears "plain: yes"
  end))

  it("takes seconds or options", case(asker(function(msg)
    local _, err = msg.chat:wait(nil, 5)
    local found = msg.chat:wait(nil, { from = "boris", timeout = 60 })
    return err.name .. " " .. found.text
  end), function(t, anna)
    local group = t:group { "anna", "boris" }
    anna:says("/ask", { chat = group })
    t:advance(5)
    anna:says("x", { chat = group })
    t:expect(anna):hears "plain: x"
    t:user("boris"):says("y", { chat = group })
    t:expect(anna):hears "TIMEOUT y"
  end))

  it("waits in another chat, and gives back both", case(asker(function(msg, bot)
    local there = bot:chat(assert(bot:create_p2p_chat("boris@" .. msg.author:match "@(.*)$")))
    return "boris: " .. assert(there:ask "anna asks: well?").text
  end), function(t, anna)
    local boris = t:user "boris"
    anna:says "/ask"
    t:expect(boris):hears "anna asks: well?"
    anna:says "still there?"
    t:expect(anna):hears "plain: still there?"
    boris:says { "fine", "bye" }
    t:expect(anna):hears "boris: fine"
    t:expect(boris):hears "plain: bye"
    anna:says "thanks"
    t:expect(anna):hears "plain: thanks"
  end))

  it("works outside of handlers, where nothing holds the chat", case(function(bot)
    bot:on_text("^/ask$", function(msg)
      trueconf.spawn(function()
        for _ = 1, 2 do assert(msg:answer("got " .. assert(msg:ask "well?").text)) end
      end)
    end)
    bot:on_message(function(msg) assert(msg:answer("plain: " .. msg.text)) end)
  end, function(t, anna)
    anna:says "/ask"
    for i = 1, 2 do
      t:expect(anna):hears "well?"
      anna:says("x" .. i)
      t:expect(anna):hears("got x" .. i)
    end
    anna:says "y"
    t:expect(anna):hears "plain: y"
  end))

  it("works in handlers of events", case(function(bot)
    bot:on_click("^menu$", function(click)
      local name = assert(bot:chat(click.chat_id):ask "name?")
      assert(name:answer("hello " .. name.text))
    end)
    bot:on("edit_message", function(event)
      if bot.data.asked then return end -- the bot's own changes come as events, too
      bot.data.asked = true
      assert(bot:chat(event.chat_id):ask("changed?", { choices = { "yes", "no" } }))
      assert(bot:chat(event.chat_id):send "noted")
    end)
    bot:on_message(function(msg)
      assert(msg:answer("menu:", { buttons = { { { type = "command", label = "go", command = "menu" } } } }))
    end)
  end, function(t, anna)
    anna:says "hi"
    t:expect(anna):hears "menu:"
    anna:clicks "go"
    t:expect(anna):hears "name?"
    anna:says "anna"
    t:expect(anna):hears "hello anna"
    anna:edits "ho"
    t:expect(anna):hears "changed?"
    anna:clicks "yes"
    t:expect(anna):hears "noted"
    anna:says "hi"
    t:expect(anna):hears "menu:"
  end))
end)

describe("a dialog in one message", function()
  it("asks by changing it", case(asker(function(msg)
    local form = assert(msg:answer "One moment.")
    local size = msg:ask("Size?", { choices = { "S", "L" }, edit = form })
    local colour = msg:ask("Colour?", { choices = { "red", "blue" }, edit = form.id })
    assert(form:edit(size .. ", " .. colour))
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "Size?" -- which the message has become by then
    anna:clicks "L"
    t:expect(anna):sees "Colour?"
    anna:clicks "red"
    t:expect(anna):sees "L, red"
    t:expect(anna):hears_nothing()
  end))

  it("that is gone returns the error", case(asker(function(msg)
    local form = assert(msg:answer "form")
    assert(form:remove())
    local _, err = msg:ask("Size?", { edit = form })
    return err.method
  end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "form"
    t:expect(anna):hears "editMessage"
  end))
end)

describe("a dialog of a bot", function()
  local function order(msg)
    local size, colour = assert(msg:ask "size?"), assert(msg:ask "colour?")
    return size.text .. " " .. colour.text
  end

  for name, options in pairs {
    ["without order"] = { order = "none" }, ["that acknowledges before"] = { ack = "before" },
    ["that remembers nothing"] = { remember = 0 }, ["with few handlers"] = { max_handlers = 1 },
  } do
    it(name .. " takes its course", case(asker(order), function(t, anna)
      for _ = 1, 2 do
        anna:says "/ask"
        t:expect(anna):hears "size?"
        t:user("boris"):says "hi"
        t:expect "boris":hears "plain: hi"
        anna:says "L"
        t:expect(anna):hears "colour?"
        anna:says "red"
        t:expect(anna):hears "L red"
      end
    end, options))
  end

  it("gets its answer even if no more handlers may begin", case(function(bot)
    bot:on_text("^/busy$", function() core.sleep(60) end)
    asker(function(msg) return shown(msg:ask "well?") end)(bot)
  end, function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:user("boris"):says { "/busy", "hi" }
    anna:says { "x", "y" }
    t:expect(anna):hears "x"
    t:expect(anna):hears_nothing()
    t:advance(60)
    t:expect(anna):hears "plain: y"
    t:expect "boris":hears "plain: hi"
  end, { max_handlers = 1 }))

  it("that acknowledges by hand is acknowledged by hand", case(asker(function(msg)
    local first = assert(msg:ask "one?")
    local second = assert(first:ask "two?")
    second:ack()
    first:ack()
    return ("%s %s %s"):format(msg.acked, first.acked, second.acked)
  end), function(t, anna)
    local said = { anna:says "/ask", anna:says "a", anna:says "b" }
    for _, text in ipairs { "one?", "two?", "false true true" } do t:expect(anna):hears(text) end
    assert.is_false(said[1]:is_read_by "bot")
    assert.is_true(said[2]:is_read_by "bot")
    assert.is_true(said[3]:is_read_by "bot")
  end, { ack = "manual" }))

  it("goes on with the handlers it began with when they are exchanged", function()
    local bot
    case(function(one)
      bot = one
      asker(order)(one)
    end, function(t, anna)
      anna:says "/ask"
      t:expect(anna):hears "size?"
      assert(bot:replace_handlers(function(one)
        one:on_message(function(msg) assert(msg:answer("new: " .. msg.text)) end)
      end))
      for _, line in ipairs { { "L", "colour?" }, { "red", "L red" }, { "/ask", "new: /ask" } } do
        anna:says(line[1])
        t:expect(anna):hears(line[2])
      end
    end)()
  end)
end)

describe("a dialog is left", function()
  for name, leave in pairs { ["msg:leave"] = function(msg) return msg:leave() end, ["dialog.leave"] = dialog.leave } do
    it("by " .. name .. ", and its chat goes on while the handler works", case(asker(function(msg)
      local first = leave(msg)
      core.sleep(60)
      local answer = assert(msg:ask "well?")
      local second, third = leave(answer), leave(answer)
      core.sleep(60)
      return ("%s %s %s"):format(first, second, third)
    end), function(t, anna)
      anna:says { "/ask", "one" }
      t:expect(anna):hears "plain: one"
      t:advance(60)
      t:expect(anna):hears "well?"
      anna:says { "x", "two" }
      t:expect(anna):hears "plain: two"
      t:advance(60)
      t:expect(anna):hears "true true false"
      anna:says "three"
      t:expect(anna):hears "plain: three"
    end))
  end

  it("only in a handler", function()
    local ok, err = pcall(function() dialog.leave() end)
    assert.is_false(ok)
    assert.matches("bot/dialog_spec.lua:%d+: dialog.leave%(%) is for handlers", err)
  end)

  it("by a word that an ordinary handler takes", case(function(bot)
    bot:on_text("^enough$", function(msg)
      for _, one in ipairs(bot:dialogs()) do assert(one:cancel(one.question .. " by " .. msg.text)) end
    end)
    bot:on_text("^/ask$", function(msg)
      assert(msg:answer(shown(msg:ask("well?", { filter = ~filter.text "^enough$" }))))
    end)
  end, function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    anna:says "enough"
    t:expect(anna):hears "nil CANCELLED: well? by enough"
  end))
end)

describe("a dialog is ordinary Lua:", function()
  it("loops, functions, pcall and <close>", function()
    local closed = 0
    case(asker(function(msg)
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      local sum = 0
      local function number(place) return assert(msg:ask(place .. "?", { type = "integer" })) end
      for i = 1, 3 do sum = sum + number(i) end
      local ok, err = pcall(function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 10 end })
        number "last"
      end)
      return ("%d %s %s"):format(sum, ok, bare(err).name)
    end), function(t, anna)
      anna:says "/ask"
      for i = 1, 3 do
        t:expect(anna):hears(i .. "?")
        anna:says(tostring(i))
      end
      t:expect(anna):hears "last?"
      anna:says "/cancel"
      t:expect(anna):hears "6 false CANCELLED"
    end)()
    assert.equal(11, closed)
  end)

  it("an error in it costs only itself", case(asker(function(msg)
    assert(msg:ask "well?")
    error "no tea left"
  end), function(t, anna)
    anna:says { "/ask", "x", "y" }
    t:expect_error "no tea left"
    t:expect(anna):hears "well?"
    t:expect(anna):hears "plain: y"
  end))
end)

describe("dialogs that wait", function()
  it("are listed, the oldest first", function()
    local bot
    case(function(one)
      bot = one
      asker(function(msg) return shown(msg:ask(msg.author:match "^[^@]*", { timeout = 100 })) end)(one)
    end, function(t, anna)
      local start = t:now()
      anna:says "/ask"
      t:advance(10)
      t:user("boris"):says "/ask"
      local list = bot:dialogs()
      assert.equal(2, #list)
      local one, other = list[1], list[2]
      assert.same({ "anna", start, start + 100000 }, { one.question, one.since, one.expires })
      assert.matches("^anna@", one.author)
      assert.same({ one.author }, one.from)
      assert.same({ "boris", start + 10000 }, { other.question, other.since })
      assert.is_true(one:cancel())
      assert.is_false(one:cancel())
      t:expect(anna):hears "anna"
      t:expect(anna):hears "nil CANCELLED: the bot has ended the dialog"
      assert.equal(1, #bot:dialogs())
      t:advance(100)
      assert.same({}, bot:dialogs())
    end)()
  end)

  it("tell since when they wait: a question since it was first asked", function()
    local bot
    case(function(one)
      bot = one
      bot:on_command("wait", function(msg) msg.chat:wait() end)
      asker(function(msg) return shown(msg:ask("well?", { type = "integer", timeout = 100 })) end)(one)
    end, function(t, anna)
      local start = t:now()
      anna:says "/ask"
      t:advance(10)
      anna:says "x"
      t:expect(anna):hears "well?"
      t:expect(anna):hears "Please answer with a whole number."
      t:user("boris"):says "/wait"
      t:settle()
      local list = bot:dialogs()
      assert.same({ start, start + 110000, "well?" }, { list[1].since, list[1].expires, list[1].question })
      assert.same({ start + 10000, nil, "anyone" }, { list[2].since, list[2].question, list[2].from })
      for _, one in ipairs(list) do assert.is_true(one:cancel()) end
    end)()
  end)

  it("are no more than max_dialogs: the oldest is ended", case(asker(function(msg)
    return shown(msg:ask "well?")
  end), function(t)
    for i = 1, 4 do t:user("p" .. i):says "/ask" end
    for i = 1, 2 do
      t:expect("p" .. i):hears "well?"
      t:expect("p" .. i):hears "nil LIMIT: ended: more than 2 dialogs wait and it was the oldest one"
    end
    for i = 3, 4 do
      t:expect("p" .. i):hears "well?"
      t:user("p" .. i):says "here"
      t:expect("p" .. i):hears "here"
    end
  end, { max_dialogs = 2 }))

  it("leave nothing behind, whatever their end", function()
    local bot
    case(function(one)
      bot = one
      asker(function(msg) return shown(msg:ask("well?", { choices = { "a", "b" }, timeout = 5, retries = 0 })) end)(one)
    end, function(t, anna)
      for _, line in ipairs { "a", "/cancel", "x", false } do
        anna:says "/ask"
        t:expect(anna):hears "well?"
        if line then anna:says(line) else t:advance(5) end
        t:expect(anna):hears { pattern = "." }
        assert.same({}, bot:dialogs())
        assert.is_false(behind(bot).dialogs.waits:any_clicks())
        assert.is_nil(next(behind(bot).dialogs.waits.chats))
        assert.same({ 0, 0 }, { behind(bot).dispatch.working, behind(bot).dispatch.at_work })
      end
    end)()
  end)

  it("end when the bot stops, and can clean up", function()
    local bot
    local ends, closed = {}, 0
    case(function(one)
      bot = one
      local function note(value, more) ends[#ends + 1] = value == nil and more.name or value end
      one:on_text("^(%a+)$", function(msg, found)
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        if found[1] == "ask" then note(msg:ask("well?", { on_stop = "Good night.", timeout = 90 })) end
        if found[1] == "wait" then note(msg.chat:wait(filter.file)) end
        if found[1] == "choose" then note(msg:ask("which?", { choices = { "a", "b" } })) end
        if found[1] == "free" then trueconf.spawn(function() note(one:chat(msg.chat_id):ask "free?") end) end
        if found[1] == "valid" then
          note(msg:ask("which?", { validate = function() core.sleep(60) end }))
        end
      end)
    end, function(t)
      for i, word in ipairs { "ask", "wait", "choose", "free", "valid" } do t:user("p" .. i):says(word) end
      t:user("p5"):says "x"
      t:advance(1)
      core.spawn(function() bot:stop(120) end)
      t:advance(61)
      t:expect("p1"):hears "well?"
      t:expect("p1"):hears "Good night."
      assert.equal(5, #ends)
      assert.matches("changes a message: which?", t:transcript(), 1, true)
    end)()
    assert.same({ "CLOSED", "CLOSED", "CLOSED", "CLOSED", "CLOSED" }, ends)
    assert.equal(5, closed)
  end)
end)

describe("a chat that ends", function()
  -- Boris has been asked in a group of Anna's, in which she does something.
  local function ended(outcome, act, opts)
    local heard
    return case(function(bot)
      heard = nil
      bot:on_message(function(msg)
        local answer, err = msg:ask("well?", opts)
        heard = answer and answer.text or ("%s: %s"):format(err.name, err.message)
      end)
    end, function(t, anna)
      local group = t:group { "anna", "boris", "carla" }
      local boris = t:user "boris"
      boris:says("hi", { chat = group })
      t:expect(boris):hears "well?"
      assert(act(anna.person:chat(group.id)))
      t:settle()
      if not heard then boris:says("still here", { chat = group }) end
      assert.equal(outcome, heard)
    end)
  end

  local AUTHOR_LEFT = "USER_IS_NOT_CHAT_PARTICIPANT: the person has left the chat"
  local BOT_LEFT = "USER_IS_NOT_CHAT_PARTICIPANT: the bot was removed from the chat"
  local function expels(login) return function(chat) return chat:expel(login) end end

  it("ends its dialogs", ended("CHAT_NOT_FOUND: the chat was removed", function(chat) return chat:leave() end))
  it("for the author ends the dialog", ended(AUTHOR_LEFT, expels "boris"))
  it("for the bot ends the dialog", ended(BOT_LEFT, expels "bot"))
  it("for others does not", ended("still here", expels "carla"))
  it("for one does not where anyone may answer", ended("still here", expels "carla", { from = "anyone" }))
  it("for the bot does also there", ended(BOT_LEFT, expels "bot", { from = "anyone" }))
end)

describe("many dialogs at once", function()
  -- Each line that a person says, and the text that the person then hears.
  local COURSE = {
    { "/ask", "a?" }, { "7", "b?" }, { "x", "Please answer with a whole number." }, { "5", "yes or no?" },
    { "y", "12 yes" }, { "/ask", "a?" }, { "1", "b?" }, { "/cancel", "left" }, { "hm", "plain: hm" }, { "/ask", "a?" },
  }

  local function sum(msg)
    local function number(question) return assert(msg:ask(question, { type = "integer", timeout = 1e6 })) end
    local total = number "a?" + number "b?"
    return total .. " " .. assert(msg:ask("yes or no?", { choices = { "yes", "no" } }))
  end

  it("keep apart, with frames that come twice, late and in another order", function()
    local bot
    case(function(one)
      bot = one
      asker(sum)(one)
    end, function(t)
      local seed, people = 7, {}
      local function random(n)
        seed = (seed * 1103515245 + 12345) % 2147483648
        return seed // 65536 % n + 1
      end
      for i = 1, 12 do people[i] = { user = t:user("p" .. i), at = 1 } end
      t:fault("duplicate", 0.3)
      t:fault("delay_up_to", 2)
      t:fault("reorder", 0.3)
      while people[1] do
        local place = random(#people)
        local person = people[place]
        local said, heard = table.unpack(COURSE[person.at])
        person.user:says(said)
        t:expect(person.user):hears(heard, { within = "1m" })
        person.at = person.at + 1
        if not COURSE[person.at] then table.remove(people, place) end
      end
      for _, name in ipairs { "duplicate", "reorder" } do
        assert.is_true((t.bridge.fault_injector.struck[name] or 0) > 10, name)
      end
      assert.equal(12, #bot:dialogs())
      for _, one in ipairs(bot:dialogs()) do assert.is_true(one:cancel()) end
      t:advance "1m"
      assert.same({}, bot:dialogs())
      for i = 1, 12 do t:expect("p" .. i):hears "left" end
    end, { ask_defaults = { on_cancel = "left" } })()
  end)
end)

describe("a lost connection", function()
  it("does not end a dialog", asks(nil, { "well?", "x", "x" }, nil, nil))

  it("meanwhile loses no answer", case(asker(function(msg) return shown(msg:ask "well?") end), function(t, anna)
    anna:says "/ask"
    t:expect(anna):hears "well?"
    t:drop()
    anna:says "x"
    t:expect(anna):hears("x", { within = "1m" })
  end))
end)
