-- SPDX-License-Identifier: MIT
-- Each example as it stands, in a process of its own, against a Bridge.

local helper = require "spec.support.helper"
local system = require "spec.support.system"
local testing = require "trueconf.testing"
local text = require "trueconf.text"
local trueconf = require "trueconf"

local LIMIT = 20                        -- seconds any single step may take

local function environment(server, login, password)
  return {
    TRUECONF_URL = type(server) == "string" and server or server:url(), TRUECONF_LOG = "info",
    TRUECONF_CONFIG = "/dev/null", TRUECONF_USERNAME = login or "herald", TRUECONF_PASSWORD = password or "4711",
  }
end

local function launch(script, ...)
  return system.launch_lua(script, { environment = environment(...) })
end

-- Run fn(chat, person, child, server) while an example runs; afterwards SIGTERM must end it with status 0.
local function while_running(script, fn)
  local server = system.start_bridge { accounts = { herald = "4711", mira = { display_name = "Mira" } } }
  local child <close> = launch(script, server)
  local mira = server:person "mira"
  fn(mira:chat_with "herald", mira, child, server)
  helper.eventually(function() return #server:unread "herald" == 0 end, LIMIT)
  assert.equal(0, child:kill "TERM", child:log())
  server:stop()
end

-- Write lines and collect the first answer to each.
local function answers(chat, mira, lines)
  local heard = {}
  for place, line in ipairs(lines) do
    chat:say(line)
    heard[place] = assert(mira:wait_message(LIMIT)).text
  end
  return heard
end

-- Run one function after the other while an example runs, with a new process for each.
local function again(script, ...)
  local server = system.start_bridge()
  local mira = server:person "mira"
  for _, fn in ipairs { ... } do
    local child <close> = launch(script, server)
    fn(mira:chat_with "herald", mira)
    assert.equal(0, child:kill "TERM", child:log())
  end
  server:stop()
end

describe("the example hello", function()
  it("answers", helper.async(function()
    while_running("examples/hello.lua", function(chat, mira)
      assert.same({ "Hello! You said: 1 < 2" }, answers(chat, mira, { "1 < 2" }))
    end)
  end))

  it("has five lines of code", function()
    local code = 0
    for _, line in ipairs(system.lines "examples/hello.lua") do
      if not line:find "^%-%-" then code = code + 1 end
    end
    assert.is_true(code <= 5)
  end)
end)

describe("the example echo", function()
  it("sends back what it is told", helper.async(function()
    while_running("examples/echo.lua", function(chat, mira)
      assert.same({ "hello", "a\nb" }, answers(chat, mira, { "hello", "a\nb" }))
    end)
  end))
end)

describe("the example host", function()
  it("greets who joins, and tells who is there and who talks", helper.async(function()
    local server = system.start_bridge {
      accounts = { herald = "4711", kim = "4712", mira = { display_name = "Mira" } },
    }
    local child <close> = launch("examples/host.lua", server)
    local kim = trueconf.bot { url = server:url(), username = "kim", password = "4712", log = "off" }
    local heard = {}
    kim:on_message(function(msg) heard[#heard + 1] = msg.text end)
    kim:start()
    assert(kim:wait_ready(LIMIT))
    helper.eventually(function() return child:log():find("ready as", 1, true) end, LIMIT)
    local domain = kim:user_id():match "@.*"
    local group = assert(kim:create_group_chat "Release 17")
    local function next_text() return helper.eventually(function() return table.remove(heard, 1) end, LIMIT) end
    assert(kim:add_chat_participant(group, "herald" .. domain))
    assert.equal("Hello all. I know /who and /talkers.", next_text())
    assert(kim:add_chat_participant(group, "mira" .. domain))
    assert.equal("Welcome, Mira!", next_text())
    assert(kim:send_message(group, "/who"))
    local list = next_text()
    assert.matches("kim %(owner%)", list)
    assert.matches("Mira %(user%)", list)
    assert(kim:send_message(group, "/talkers"))
    assert.equal("kim: 2", next_text())
    kim:stop()
    assert.equal(0, child:kill "TERM", child:log())
    server:stop()
  end))
end)

describe("the example order", function()
  it("asks for what it has to know", helper.async(function()
    while_running("examples/order.lua", function(chat, mira)
      assert.same({
        "Hello Mira. Write /order to order a T-shirt.",
        "Which size: small, medium or large?",
        "There is small, medium and large. Which shall it be?",
        "And the colour?",
        "One moment, please.",
      }, answers(chat, mira, { "hello", "/order", "huge", "Large", "red" }))
      assert.equal("One large red T-shirt is on its way, Mira.", assert(mira:wait_message(LIMIT)).text)
    end)
  end))

  it("takes an order in one line", helper.async(function()
    while_running("examples/order.lua", function(chat, mira)
      assert.same({ "One moment, please." }, answers(chat, mira, { "/order small green" }))
      assert.equal("One small green T-shirt is on its way, Mira.", assert(mira:wait_message(LIMIT)).text)
    end)
  end))

  it("takes its leave of who is in a dialog when it is stopped", helper.async(function()
    local server = system.start_bridge { accounts = { herald = "4711" } }
    local child <close> = launch("examples/order.lua", server)
    local mira = server:person "mira"
    answers(mira:chat_with "herald", mira, { "/order" })
    assert.equal(0, child:kill "TERM", child:log())
    assert.equal("I have to stop for a while. Please write /order again later.", mira:wait_message(LIMIT).text)
    server:stop()
  end))

  it("tells who does not answer that it has given up", helper.async(function()
    local directory <close> = system.directory()
    local hasty = system.read("examples/order.lua"):gsub("timeout = 600", "timeout = 0.05")
    while_running(system.write(directory:file "hasty.lua", hasty), function(chat, mira)
      answers(chat, mira, { "/order" })
      assert.matches("^I have waited and heard nothing", mira:wait_message(LIMIT).text)
    end)
  end))
end)

describe("the example survey", function()
  local t, anna, group
  before_each(function()
    t = testing.start { bot = "examples/survey.lua" }
    anna, group = t:user "anna", t:group { "anna", "boris", "carla", "dora" }
  end)
  after_each(function() t:stop() end)

  -- Anna has a poll made; all are asked.
  local function begin()
    anna:says({ "/poll", "Tea or coffee?", "tea" }, { chat = group })
    t:expect(anna):hears "What is the question?"
    t:expect(anna):hears "Which answers are there? Write them with commas between."
    t:expect(anna):hears "Between 2 and 10 answers, please, with commas between."
    anna:says("tea, coffee, Tea", { chat = group })
    t:expect(anna):hears "I am asking 4 people now; they have 10 minutes."
  end

  it("asks all members at once, and shows the result", function()
    begin()
    for login, answer in pairs { anna = "tea", boris = "coffee", carla = "tea" } do
      local person = t:user(login)
      if login ~= "anna" then
        for _ = 1, 4 do t:expect(person):hears({ pattern = "." }, { chat = group }) end
      end
      t:expect(person):hears "Tea or coffee?"
      t:expect(person):sees_buttons { "tea", "coffee" }
      person:clicks(answer)
      t:expect(person):hears "Thank you."
    end
    t:user("dora"):says "/cancel"
    local sign = "\u{2588}"
    t:expect(anna):hears(("Tea or coffee?\n%s 2 tea\n%s 1 coffee\n3 of 4 have answered."):format(
      sign:rep(7), sign:rep(3)))
  end)

  it("waits for nobody for ever, and the group goes on", function()
    begin()
    t:expect(anna):hears "Tea or coffee?"
    anna:says("/help", { chat = group })
    anna:says("/help@bot", { chat = group })
    t:expect(anna):hears { contains = "/poll - ask all members of this group" }
    anna:says "2"
    t:expect(anna):hears "Thank you."
    t:advance "10m"
    t:expect(anna):hears { contains = "1 coffee\n1 of 4 have answered." }
    t:user("boris"):says "tea"
    t:expect(anna):hears_nothing()
  end)

  it("is a matter of groups", function()
    anna:says "/poll"
    t:expect(anna):hears "Add me to a group, and write /poll there."
  end)
end)

describe("the example commands", function()
  it("keeps a list by commands", helper.async(function()
    while_running("examples/commands.lua", function(chat, mira)
      assert.same({
        "Nothing to do.",
        "Noted: 1. water the plants",
        "Noted: 2. ! call \"Anna\" (within 30 min)",
        "1. water the plants\n2. ! call \"Anna\" (within 30 min)",
        "number: a whole number of at least 1 expected, got \"all\".\nUsage: /done NUMBER",
        "Well done: water the plants",
        "There is no such chore.",
        "The list is empty.",
        "Nothing to do.",
        "I do not know /dance. /help tells what I can do.",
        "/add [--urgent] [--within WITHIN] TEXT - put a chore on the list\n/list - show the list\n"
          .. "/done NUMBER - take a chore off the list\n/clear - begin anew",
      }, answers(chat, mira, {
        "/list", "/add water the plants", "/a --within 30m --urgent call \"Anna\"", "/list", "/done all", "/done 1",
        "/done 7", "/clear", "/list", "/dance", "/help",
      }))
    end)
  end))

  it("keeps it in a file", helper.async(function()
    local directory <close> = system.directory()
    again("examples/commands.lua " .. directory:file "chores.db", function(chat, mira)
      assert.same({ "Noted: 1. rest (within 90 min)" }, answers(chat, mira, { "/add --within 1h30m rest" }))
    end, function(chat, mira) assert.same({ "1. rest (within 90 min)" }, answers(chat, mira, { "/list" })) end)
  end))
end)

describe("the example moderator", function()
  -- The owner Mira, the bot as an admin, and Kim in a group; what Mira hears.
  local function in_group(fn)
    while_running("examples/moderator.lua", function(_, mira, child, server)
      local kim = server:person "kim"
      local group = mira:create_group "Garden"
      assert(group:add "herald")
      assert(group:set_role("herald", "admin"))
      assert(group:add "kim")
      local kims = kim:chat(group.id)
      local function bot_says()
        local message
        repeat message = assert(mira:wait_message(LIMIT), child:log()) until message.author:find "^herald"
        return text.plain(message.text, message.parse_mode)
      end
      local function is_removed(message)
        return helper.eventually(function()
          for _, one in ipairs(group:history()) do
            if one.id == message.id then return false end
          end
          return true
        end, LIMIT)
      end
      fn({ group = group, kims = kims, kim = kim, bot_says = bot_says, is_removed = is_removed })
    end)
  end

  it("removes banned words, warns, and mutes after the third warning", helper.async(function()
    in_group(function(scene)
      assert(scene.group:say "/ban Weeds")
      assert.equal('Messages with "Weeds" are removed from now on.', scene.bot_says())
      assert(scene.group:say "weeds, said by the owner, stay")
      for i = 1, 2 do
        local bad = assert(scene.kims:say("so many WEEDS"))
        assert.equal(("kim that word is not for this group. Warning %d of 3."):format(i), scene.bot_says())
        assert.is_true(scene.is_removed(bad))
      end
      assert(scene.group:say "/warn kim enough!")
      assert.equal("kim enough! Warning 3 of 3.", scene.bot_says())
      assert.equal("kim is muted for 600 s.", scene.bot_says())
      assert.is_true(scene.is_removed(assert(scene.kims:say "hello?")))
      assert(scene.group:say "/forgive kim")
      assert.equal("kim begins anew.", scene.bot_says())
      assert(scene.kims:say "thank you, WEEDS are gone")
      assert.equal("kim that word is not for this group. Warning 1 of 3.", scene.bot_says())
    end)
  end))

  it("mutes who writes too fast, and takes no orders from others", helper.async(function()
    in_group(function(scene)
      assert(scene.kims:say "/ban owner")
      local last
      for i = 1, 5 do last = assert(scene.kims:say("flood " .. i)) end
      assert.equal("kim is muted for 600 s.", scene.bot_says())
      assert.is_true(scene.is_removed(last))
    end)
  end))
end)

describe("the example say", function()
  it("prints the answer", helper.async(function()
    local server = system.start_bridge { accounts = { herald = "4711", mira = "x" } }
    local bot <close> = launch("examples/hello.lua", server)
    local child <close> = launch("examples/say.lua herald hello", server, "mira", "x")
    assert.equal(0, child:wait(LIMIT), child:log())
    assert.equal("Hello! You said: hello\n", child:log())
    assert.equal(0, bot:kill "TERM")
    server:stop()
  end))

  it("says what is wrong", helper.async(function()
    local server = system.start_bridge { accounts = { herald = "4711", mira = "x" } }
    for _, case in ipairs {
      { "herald", "x", 2, "say: expected: say.lua LOGIN TEXT" },
      { "nobody hello", "x", 1, "say: ACCESS_DENIED" },
      { "herald hello", "secret", 1, "say: AUTH_FAILED" },
    } do
      local child <close> = launch("examples/say.lua " .. case[1], server, "mira", case[2])
      assert.equal(case[3], child:wait(LIMIT))
      assert.is_truthy(child:log():find(case[4], 1, true), child:log())
      assert.is_nil(child:log():find("secret", 1, true))
    end
    server:stop()
  end))
end)

describe("the example several", function()
  local here, there, child
  local passwords = { office = "4711", reception = "4712" }

  -- Both servers, and the bots at them.
  local function open(more)
    here = system.start_bridge { accounts = passwords }
    there = system.start_bridge { accounts = { reception = passwords.reception } }
    local settings = environment(here, "", "")
    settings.PARTNER_URL, settings.OFFICE_PASSWORD, settings.RECEPTION_PASSWORD = there:url(), "4711", "4712"
    for name, value in pairs(more or {}) do settings[name] = value end
    child = system.launch_lua("examples/several.lua", { environment = settings })
  end

  local function close()
    child:__close()
    here:stop()
    there:stop()
  end

  local function says(person, login, line, answer)
    person:chat_with(login):say(line)
    assert.equal(answer, assert(person:wait_message(LIMIT), child:log()).text)
  end

  it("brings visitors of two servers together with one office, and stops at one signal", helper.async(function()
    open()
    local mira, kim, guest = here:person "mira", here:person "kim", there:person "guest"
    says(kim, "reception", "hello", "This is the main entrance. Write /ring to call the office.")
    says(guest, "reception", "/ring", "Nobody is in. Please come back later.")
    says(mira, "office", "/duty", "Who rings is told here.")
    says(guest, "reception", "/ring", "Somebody will answer soon.")
    assert.equal("1: guest@localhost has rung at the partner's.", assert(mira:wait_message(LIMIT)).text)
    says(kim, "reception", "/ring", "Somebody will answer soon.")
    assert.equal("2: kim@localhost has rung at the main entrance.", assert(mira:wait_message(LIMIT)).text)
    mira:chat_with("office"):say "/answer 1 The door is open."
    assert.equal("The door is open.", assert(guest:wait_message(LIMIT)).text)
    says(mira, "office", "/answer 3 Hello?", "There is no such visitor.")
    assert.equal(0, child:kill "TERM", child:log())
    close()
  end))

  it("stops all when one gives up", helper.async(function()
    open { OFFICE_PASSWORD = "sesame" }
    assert.equal(1, child:wait(LIMIT), child:log())
    assert.matches("several: ws://127.0.0.1:%d+: AUTH_FAILED", child:log())
    close()
  end))
end)

describe("the example alert", function()
  local ALERT = 'LD_PRELOAD="%s" %s examples/alert.lua --store %s %s'
  local server, mira, directory

  local function scene(fn)
    return helper.async(function()
      directory = system.directory()
      server = system.start_bridge { accounts = { herald = "4711", mira = "x" } }
      mira = server:person "mira"
      fn()
      server:stop()
      directory:__close()
    end)
  end

  -- Start it by a shell, as cron does; `input` is what its standard input has.
  local function begin(arguments, input, password)
    local store = directory:file "alerts.db"
    local command = ALERT:format(os.getenv "LD_PRELOAD" or "", os.getenv "LUA" or "lua5.4", store, arguments)
    system.write(directory:file "input", input or "")
    local script = system.write(directory:file "job", ("%s <%s"):format(command, directory:file "input"))
    local settings = environment(server, "herald", password)
    settings.TRUECONF_LOG = "error"
    return system.launch("sh " .. script, { environment = settings })
  end

  local function alert(...)
    local child <close> = begin(...)
    return { child:wait(2 * LIMIT), child:log() }
  end

  local function hears(line) assert.equal(line, assert(mira:wait_message(LIMIT)).text) end

  local function hears_no_more()
    server:person("herald"):chat_with("mira"):say "that was all"
    hears "that was all"
  end

  it("sends a text, or what comes from a pipe, and says nothing when all is well", scene(function()
    assert.same({ 0, "" }, alert "mira@localhost disk full")
    hears "disk full"
    assert.same({ 0, "" }, alert("mira@localhost", "  the backup failed\n1 \xff\n\n"))
    hears "the backup failed\n1 ?"
    assert.same({ 0, "" }, alert(mira:chat_with("herald").id, "x", "4711"))
    hears "x"
    assert.same({ 0, "" }, alert("mira@localhost", ("y"):rep(10000)))
    hears(trueconf.text.cut(("y"):rep(10000)))
    assert.same({ 0, "" }, alert("mira@localhost", " \n"))
    hears_no_more()
  end))

  it("sends an alert once under a key", scene(function()
    for _ = 1, 2 do assert.same({ 0, "" }, alert "--key disk mira@localhost disk full") end
    assert.same({ 0, "" }, alert "--key memory mira@localhost memory full")
    hears "disk full"
    hears "memory full"
    hears_no_more()
  end))

  it("keeps what cannot be sent for the next call", scene(function()
    local status, log = table.unpack(alert("mira@localhost one", "", "sesame"))
    assert.equal(75, status, log)
    assert.matches("alert: 1 kept, not sent yet: AUTH_FAILED", log)
    assert.same({ 0, "" }, alert "mira@localhost")
    hears "one"
    hears_no_more()
  end))

  it("tells what is refused, and what is used wrongly", scene(function()
    local status, log = table.unpack(alert "nowhere hello")
    assert.equal(1, status)
    assert.matches("alert: CHAT_NOT_FOUND", log)
    status, log = table.unpack(alert "--kee disk mira@localhost")
    assert.equal(2, status)
    assert.matches("^alert: unknown option '%-%-kee'", log)
    assert.equal(2, alert ""[1])
    system.write(directory:file "alerts.db", "this is no store")
    status, log = table.unpack(alert "mira@localhost hello")
    assert.equal(1, status)
    assert.matches("alert: IO", log)
    hears_no_more()
  end))

  it("waits for one that is at work", scene(function()
    local store = assert(trueconf.store.open(directory:file "alerts.db"))
    local child <close> = begin "mira@localhost hello"
    trueconf.sleep(0.3)
    store:close()
    assert.equal(0, child:wait(LIMIT), child:log())
    hears "hello"
  end))
end)

describe("the example archive", function()
  it("keeps what it is sent, tells what it has, and brings it back", helper.async(function()
    local directory <close> = system.directory()
    while_running("examples/archive.lua " .. directory.path, function(chat, mira, _, server)
      assert.same({ "Send me a file, or write list, or get and its name.", "There is nothing yet." },
        answers(chat, mira, { "hello", "list" }))
      local function keeps(name, bytes)
        local sent = assert(chat:send_file(name, bytes))
        assert.equal(("Kept %s, %d bytes."):format(name, #bytes), assert(mira:wait_message(LIMIT)).text)
        return directory:file(sent.id)
      end
      local first = keeps("../plan.pdf", "a plan")
      assert.equal("a plan", system.read(first))
      local second = keeps("../plan.pdf", "the plan")
      assert.same({ nil, "the plan" }, { system.read(first), system.read(second) })
      keeps("notes.txt", "1, 2")
      assert.same({ "../plan.pdf\nnotes.txt", "There is no plan.pdf." },
        answers(chat, mira, { "list", "get plan.pdf" }))
      chat:say "get ../plan.pdf"
      assert.equal("the plan", assert(mira:wait_message(LIMIT)):file())
      local kim = server:person "kim"
      assert.same({ "There is nothing yet." }, answers(kim:chat_with "herald", kim, { "list" }))
    end)
  end))

  it("knows its files again", helper.async(function()
    local directory <close> = system.directory()
    again("examples/archive.lua " .. directory.path, function(chat, mira)
      assert(chat:send_file("plan.pdf", "the plan"))
      assert.equal("Kept plan.pdf, 8 bytes.", assert(mira:wait_message(LIMIT)).text)
    end, function(chat, mira) assert.same({ "plan.pdf" }, answers(chat, mira, { "list" })) end)
  end))
end)

describe("the example reminder", function()
  local t, anna
  before_each(function()
    t = testing.start { bot = "examples/reminder.lua" }
    anna = t:user "anna"
  end)
  after_each(function() t:stop() end)

  local function tells(line, answer)
    anna:says(line)
    t:expect(anna):hears(answer)
  end

  it("reminds once", function()
    tells("/remind 2h call the dentist", "I shall remind you in 2h.")
    t:advance "1h59m59s"
    t:expect(anna):hears_nothing()
    t:advance(1)
    t:expect(anna):hears "Reminder: call the dentist"
    t:advance "1d"
    t:expect(anna):hears_nothing()
    tells("/list", "There is nothing to come.")
  end)

  it("reminds again and again at the same hour, until it is told to forget it", function()
    tells("/every 1d water the plants", "I shall remind you every 1d.")
    t:fault("delay", 7)
    for _ = 1, 3 do
      t:advance "1d"
      t:expect(anna):hears("Reminder: water the plants", { within = "20s" })
    end
    t:fault()
    tells("/list", "1. in 23h59m46s: water the plants")
    tells("/forget 1", "Forgotten: water the plants")
    t:advance "3d"
    t:expect(anna):hears_nothing()
  end)

  it("lists what each chat has to come", function()
    local ops = t:group { "anna", "boris" }
    anna:says("/remind 1h30m stand up", { chat = ops })
    t:expect "boris":hears "I shall remind you in 1h30m."
    t:expect(anna):hears "I shall remind you in 1h30m."
    anna:says("good morning", { chat = ops })
    t:expect(anna):hears_nothing()
    tells("/list", "There is nothing to come.")
    t:user("boris"):says("/list", { chat = ops })
    t:expect(anna):hears "1. in 1h30m: stand up"
  end)

  it("sends what was due while the server was away", function()
    tells("/remind 10m stretch", "I shall remind you in 10m.")
    t:fault("refuse_upgrades", 503)
    t:drop()
    t:advance "1h"
    t:expect(anna):hears_nothing()
    t:fault()
    t:expect(anna):hears("Reminder: stretch", { within = "2m" })
  end)

  it("says what it does not understand", function()
    for line, answer in pairs {
      ["/remind soon tea"] = { contains = 'got "soon"' }, ["/remind 5m"] = { contains = "text is missing" },
      ["/remind 400d tea"] = "That is too far away.", ["/every 5s tea"] = { contains = "Not more often" },
      ["/forget 3"] = { contains = "no such reminder" }, ["/forget"] = { contains = "number is missing" },
      ["/help"] = { contains = "/remind TIME TEXT - be reminded once" },
    } do tells(line, answer) end
    for _ = 1, 100 do tells("/remind 1h tea", "I shall remind you in 1h.") end
    tells("/remind 1h tea", { contains = "enough for one chat" })
  end)
end)

-- Run fn(script) for several examples at once, since they spend their time waiting.
local function each(names, fn)
  local calls = {}
  for place, name in ipairs(names) do
    calls[place] = system.begin(function()
      fn(("examples/%s.lua"):format(name))
      return true
    end)
  end
  for place, call in ipairs(calls) do assert(call:wait(), names[place] .. " failed") end
end

describe("an example", function()
  it("gives up with a wrong password, and says so once for each try, without the password", helper.async(function()
    local server = system.start_bridge()
    each({ "hello", "echo", "order" }, function(script)
      local child <close> = launch(script, server, "herald", "sesame")
      assert.equal(1, child:wait(LIMIT))
      local log = child:log()
      assert.matches("gave up: AUTH_FAILED", log)
      assert.equal(2, select(2, log:gsub("WARN  ws:", "")), log)
      assert.is_nil(log:find("sesame", 1, true))
    end)
    server:stop()
  end))

  it("says that the server is not there, waits for it, and stops when told to", helper.async(function()
    each({ "hello", "echo", "order", "survey", "archive", "reminder" }, function(script)
      local child <close> = launch(script, "ws://127.0.0.1:" .. system.free_port())
      helper.eventually(function() return child:log():find("REFUSED", 1, true) end, LIMIT)
      assert.is_nil(child:status())
      assert.equal(0, child:kill "TERM", child:log())
    end)
  end))

  it("is told its own line when a setting is missing", helper.async(function()
    each({ "hello", "echo", "order", "survey", "archive", "reminder", "say" }, function(script)
      local child <close> = launch(script .. " herald hello", "ws://127.0.0.1:1", "")
      assert.equal(1, child:wait(LIMIT))
      assert.is_truthy(child:log():find(script .. ":%d+: no username: set the option"), child:log())
    end)
  end))
end)
