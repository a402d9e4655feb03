-- SPDX-License-Identifier: MIT
-- The scripts on the pages run as they stand, and links lead somewhere.

local helper = require "spec.support.helper"
local system = require "spec.support.system"
local testing = require "trueconf.testing"

local LIMIT = 20                        -- seconds any single step may take

-- The ```lua blocks of a page, in order.
local function scripts(path)
  local list = {}
  for block in system.read(path):gmatch "\n```lua\n(.-)\n```" do list[#list + 1] = block end
  return list
end

-- Run a script as a bot while Mira writes lines; returns what it answered, one answer to each.
local function converse(script, lines)
  local directory <close> = system.directory()
  local server = system.start_bridge { accounts = { herald = "4711" } }
  local child <close> = system.launch_lua(system.write(directory:file "bot.lua", script), {
    environment = { TRUECONF_URL = server:url(), TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711" },
  })
  local mira = server:person "mira"
  local chat, heard = mira:chat_with "herald", {}
  for place, line in ipairs(lines) do
    chat:say(line)
    local answer = mira:wait_message(LIMIT)
    heard[place] = answer and answer.text
  end
  assert.equal(0, child:kill "TERM", child:log())
  server:stop()
  return heard
end

describe("the README", function()
  it("begins with a bot that runs", helper.async(function()
    local script = scripts "README.md"[1]
    assert.is_true(select(2, script:gsub("\n", "")) < 20)
    assert.same(
      { "You said: hello", "Which size?", "And the colour?", "One large red is on its way." },
      converse(script, { "hello", "/order", "large", "red" }))
  end))

  it("names the settings that are read from the environment", function()
    local page, config = system.read "README.md", system.read "lua/trueconf/client/settings.lua"
    for name in config:gmatch "TRUECONF_[%u_]+" do assert.is_truthy(page:find("`" .. name .. "`", 1, true), name) end
  end)
end)

describe("the examples", function()
  it("are in the README, and each is run by a spec", function()
    local page = system.read "README.md"
    local specs = system.output "cat spec/project/examples_spec.lua spec/project/demo_spec.lua"
    for name in system.output("ls examples"):gmatch "%S+%.lua" do
      assert.is_truthy(page:find("](examples/" .. name .. ")", 1, true), "the README does not name " .. name)
      assert.is_truthy(specs:find("examples/" .. name, 1, true), "no spec runs " .. name)
    end
  end)
end)

-- The blocks of a page, in order, each with what stands behind its ```.
local function blocks(path)
  local list = {}
  for kind, text in system.read(path):gmatch "\n```(%l*)\n(.-)\n?```%f[\n]" do
    list[#list + 1] = { kind = kind, text = text }
  end
  return list
end

-- Apply a piece of the guide: a file of its own, the line that makes the bot, or a piece above the last line.
local function add_piece(directory, piece)
  local name = piece:match "^%-%- (%S+%.lua)\n"
  if name then return system.write(directory:file(name), piece .. "\n") end
  local path = directory:file "bot.lua"
  local before, made, after = system.read(path):match "^(.-\n)(local bot = trueconf%.bot%s*%b())(.*)$"
  if not made then before, made, after = system.read(path):match "^(.-\n)(local bot = trueconf%.bot%s*%b{})(.*)$" end
  if piece:find "^local bot =" then
    made = piece
  else
    after = after:gsub("assert%(bot:run%(%)%)\n$", function(last) return piece .. "\n\n" .. last end)
  end
  system.write(path, before .. made .. after)
end

-- Programs of this tree, under what this process runs under, as they are called when they are installed.
local function install(directory)
  system.output("mkdir '%s'", directory:file "bin")
  local line = ('#!/bin/sh\nexec env PATH="%s" LD_PRELOAD="%s" LUA_PATH="%s" LUA_CPATH="%s" %s %%s "$@"\n'):format(
    os.getenv "PATH", os.getenv "LD_PRELOAD" or "", system.absolute(package.path), system.absolute(package.cpath),
    os.getenv "LUA" or "lua5.4")
  system.write(directory:file "bin/trueconf", line:format(system.absolute "bin/trueconf"))
  system.write(directory:file "bin/lua5.4", line:format "")
  system.output("chmod +x '%s'/*", directory:file "bin")
end

local ALONE = "cd '%s'; PATH='%s/bin':$PATH; unset CLERK_STORE TRUECONF_URL TRUECONF_USERNAME TRUECONF_PASSWORD"
  .. " TRUECONF_TOKEN; export PATH TRUECONF_CONFIG=/dev/null"

-- A command of the guide, as a program for `sh`.
local function shell(directory, commands)
  local path = directory:file "commands.sh"
  system.write(path, ALONE:format(directory.path, directory.path) .. "\n" .. commands .. "\n")
  return "bash -euo pipefail " .. path
end

describe("the guide", function()
  local directory, parts
  setup(function()
    directory, parts = system.directory(), blocks "docs/guide.md"
    install(directory)
  end)
  teardown(function() directory:__close() end)

  it("grows a bot that does at each step what is shown", function()
    local run = 0
    for place, part in ipairs(parts) do
      if part.kind == "lua" then
        add_piece(directory, part.text)
      elseif part.kind == "sh" and not part.text:find "chat.example.com" then
        local output, shown = system.output("%s </dev/null", shell(directory, part.text)), parts[place + 1]
        if shown.kind == "" then assert.equal(shown.text, output) end
        run = run + 1
      end
    end
    assert.is_true(run >= 8)
    assert.is_truthy(system.read(directory:file "clerk/clerk.service"))
    assert.equal(system.read(directory:file "bot.lua"), system.read(directory:file "clerk/bot.lua"))
  end)

  it("brings the bot to a server", helper.async(function()
    local server = system.start_bridge { accounts = { clerk = "4711", boss = "x" } }
    local commands
    for _, part in ipairs(parts) do
      if part.text:find "chat.example.com" then commands = part.text end
    end
    commands = commands:gsub("https://chat.example.com", (server:url():gsub("^ws", "http")))
      :gsub("\ntrueconf run", "\nexec trueconf run")
    local input = system.write(directory:file "input", "4711\n")
    local child <close> = system.launch("sh " .. system.write(directory:file "run.sh",
      ("exec %s <%s"):format(shell(directory, commands), input)))
    helper.eventually(function() return child:log():find("ready as clerk", 1, true) end, LIMIT)
    local mira = server:person "mira"
    mira:chat_with("clerk"):say "/spend 12.50 taxi"
    assert.equal("Noted: 12.50 for taxi.", mira:wait_message(LIMIT).text)
    assert.equal(0, child:kill "TERM", child:log())
    server:stop()
  end))
end)

describe("the page on the Bridge", function()
  it("has scripts that run", function()
    local directory <close> = system.directory()
    local test, ldap, oauth = table.unpack(scripts "docs/bridge.md")
    local start = 'local bridge = require "trueconf.bridge"\n%s\nserver:stop()\nprint "passed"\n'
    for _, script in ipairs { test, start:format(ldap), start:format(oauth) } do
      system.write(directory:file "script.lua", script)
      assert.equal("passed", system.run_lua(directory.path, "script.lua"))
    end
  end)
end)

-- Write the scripts of a page into a directory, each under the name it begins with.
local function write_scripts(page, directory)
  local names = {}
  for place, script in ipairs(scripts(page)) do
    names[place] = assert(script:match "^%-%- (%S+%.lua)\n", page .. " has a script without a name")
    system.write(directory:file(names[place]), script .. "\n")
  end
  return names
end

describe("the page on delivery", function()
  it("has a bot that runs and keeps what it says", helper.async(function()
    local directory <close> = system.directory()
    local script = scripts("docs/delivery.md")[1]:gsub("clerk.db", directory:file "clerk.db")
    assert.same({ "You have asked 1 times.", "Your order is on its way." }, converse(script, { "/count", "/order" }))
    assert.same({ "You have asked 2 times." }, converse(script, { "/count" }))
  end))

  it("shows what is there", helper.async(function()
    local server = system.start_bridge()
    local bot = system.bot(server)
    local chat = server:person("mira"):chat_with "herald"
    bot:on_message(function() error "no good" end)
    bot:start()
    chat:say "hello"
    helper.eventually(function() return #bot:dead_letters() == 1 end)
    for place = 2, 3 do
      local script = scripts("docs/delivery.md")[place]:gsub("mira@example.com", "mira@localhost")
      local room = setmetatable({ bot = bot, print = function() end }, { __index = _G })
      assert(load(script, "=page", "t", room))()
    end
    helper.eventually(function() return bot:outbox().waiting == 0 end)
    assert.equal("The build is green.", server:person("mira"):wait_message(LIMIT).text)
    bot:stop()
    server:stop()
  end))
end)

describe("the page on testing", function()
  it("has tests that pass", function()
    local directory <close> = system.directory()
    local function run(script, environment) return system.run_lua(directory.path, script, environment) end
    assert.same({ "shop.lua", "shop_test.lua", "shop_spec.lua", "trouble_test.lua", "golden_test.lua" },
      write_scripts("docs/testing.md", directory))
    assert.equal("passed", run "shop_test.lua")
    assert.matches("3 successes / 0 failures / 0 errors", run(("'%s' shop_spec.lua"):format(arg[0])))
    assert.equal("passed", run "trouble_test.lua")
    assert.equal("passed", run("golden_test.lua", "TRUECONF_GOLDEN=write"))
    assert.equal("passed", run "golden_test.lua")
    local golden = system.read(directory:file "order.txt")
    assert.is_truthy(system.read("docs/testing.md"):find("\n```\n" .. golden .. "```", 1, true), golden)
  end)

  it("shows a failure as it is", function()
    local directory <close> = system.directory()
    write_scripts("docs/testing.md", directory)
    local script = system.read(directory:file "shop_test.lua"):gsub("Which size", "What size")
    system.write(directory:file "shop_test.lua", script)
    local text = system.run_lua(directory.path, "shop_test.lua")
    local shown = system.read("docs/testing.md"):match "\n```\n(shop_test.lua:.-)\n```"
    assert.is_truthy(text:find(shown, 1, true), text)
  end)
end)

describe("the page on handlers", function()
  it("has scripts that run", helper.async(function()
    local greeter, shop, office, clerk = table.unpack(scripts "docs/handlers.md")
    assert.same({ "Hello, Mira!", "Tell me your name." }, converse(greeter, { "my name is Mira", "who are you?" }))
    assert.same({
      "1 large, coming.", "3 large, wrapped, coming.", "3 large, coming.", "3 large, coming.",
      'count: a whole number from 1 to 10 expected, got "many".\nUsage: /order SIZE [COUNT] [--gift]',
      "/order SIZE [COUNT] [--gift] - order shirts", "See /help.",
    }, converse(shop, {
      "/order large", "/Order large 3 --gift", "/o count=3 size=large", "/order --size large --count 3",
      "/order large many", "/help", "/close",
    }))
    assert.same({ "This is visit 1.", "This is visit 2." }, converse(office, { "/report", "/report" }))
    assert.same({ "Messages so far: 1", "Deploy?" }, converse(clerk, { "/count", "/deploy" }))
  end))
end)

describe("the page on dialogs", function()
  local directory <const> = system.directory()
  local names = write_scripts("docs/dialogs.md", directory)
  teardown(function() directory:__close() end)

  local function plays(name, play)
    return function()
      local t <close> = testing.start { bot = directory:file(name) }
      play(t, t:user "anna")
    end
  end

  local function talk(t, person, lines, options)
    for place = 1, #lines, 2 do
      person:says(lines[place], options)
      t:expect(person):hears(lines[place + 1])
    end
  end

  it("has these scripts", function()
    assert.same({ "order.lua", "table.lua", "form.lua", "quiz.lua", "print.lua" }, names)
  end)

  it("takes orders", plays("order.lua", function(t, anna)
    talk(t, anna, {
      "/order", "Which size?", "l", "How many?", "50", "Please answer with a whole number from 1 to 20.",
      "2", "Anything else?", "no", "2 large, no.", "/order", "Which size?", "/cancel", "All right, nothing is ordered.",
      "/order", "Which size?",
    })
    t:advance "10m"
    t:expect(anna):hears "Never mind then."
  end))

  it("reserves tables", plays("table.lua", function(t, anna)
    talk(t, anna, { "/table", "For which day?", "24.12.2026", "Where?" })
    t:advance "2m"
    t:expect(anna):hears "Your number?"
    talk(t, anna, { "none", "Digits only, please, such as +49 30 1234.", "+49 30-12", "24.12., window, +493012." })
  end))

  it("fills in a form", plays("form.lua", function(t, anna)
    anna:says "/shirt"
    t:expect(anna):hears "Size?"
    anna:clicks "M"
    t:expect(anna):sees "Colour?"
    anna:clicks "red"
    t:expect(anna):sees "A shirt: M, red"
  end))

  it("quizzes a group", plays("quiz.lua", function(t, anna)
    local group, boris = t:group { "anna", "boris" }, t:user "boris"
    local here = { chat = group }
    talk(t, anna, { "/quiz", "Which planet is the largest?", "Really?", "I only ask." }, here)
    boris:says("Jupiter", here)
    t:expect(anna):hears "Right! Another one?"
    anna:clicks "yes"
    t:expect(anna):hears "Tomorrow."
    talk(t, anna, { "/quiz", "Which planet is the largest?" }, here)
    t:advance "1m"
    t:expect(anna):hears "Jupiter!"
  end))

  it("prints", plays("print.lua", function(t, anna)
    local boris = t:user "boris"
    talk(t, anna, { "/print", "How many pages?" })
    anna:says "2"
    talk(t, anna, { "hello?", "The printer listens." })
    talk(t, boris, { "/print", "How many pages?" })
    talk(t, anna, { "/abort", "Nobody waits any more." })
    t:advance "2m"
    t:expect(anna):hears "It is printed."
    talk(t, boris, { "2", "The printer listens." })
  end))
end)

-- The names under which the headings of a page can be linked to.
local function anchors(page)
  local found = {}
  for heading in ("\n" .. page):gmatch "\n#+ ([^\n]+)" do
    found[heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-")] = true
  end
  return found
end

describe("the pages", function()
  it("link to files that are there", function()
    for path in system.output("ls README.md CHANGELOG.md docs/*.md"):gmatch "%S+" do
      for target in system.read(path):gmatch "%]%(([^)]+)%)" do
        local name, anchor = target:match "^([^#]*)#?(.*)$"
        local is_here = name == "" or target:find "^%a+:"
        local file = is_here and path or (path:match "^.*/" or "") .. name
        local page = system.read(file)
        assert.is_truthy(page and (anchor == "" or anchors(page)[anchor]), path .. " links to " .. target)
      end
    end
  end)
end)
