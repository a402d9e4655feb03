-- SPDX-License-Identifier: MIT
-- trueconf chat: people at a terminal and in scripts, in a process of its own.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LUA = os.getenv "LUA" or "lua5.4"
local KEY = "0123456789abcdef"

local BOT = [[
local trueconf = require "trueconf"
local bot = trueconf.bot { username = "clerk", password = "not this one" }
local CHOICE = { { { type = "command", label = "Yes", command = "yes" },
  { type = "command", label = "No", command = "no" } } }

bot:on_command("order", function(msg)
  local size = assert(msg:ask "Which size?")
  assert(msg:answer(("One %s shirt?"):format(size.text), { buttons = CHOICE }))
end)
bot:on_click(".+", function(click)
  assert(click.command_source.message:edit("You said " .. click.command .. "."))
end)
bot:on_command("plan", function(msg)
  assert(bot:send_file(msg.chat_id, { data = "the plan", name = "plan.txt" }))
end)
bot:on_command("later", function(msg)
  trueconf.timer(0.3, function() assert(msg:answer "here it is") end)
end)
bot:on_message(function(msg)
  assert(msg:answer(msg.document and "a file: " .. msg.document.name or "you said <" .. msg.text .. ">"))
end)
assert(bot:run())
]]

local directory

before_each(function() directory = system.directory() end)
after_each(function() directory:__close() end)

-- The output for these lines, and the exit code.
local function chat(arguments, lines, environment)
  local input = system.write(directory:file "input", lines or "")
  local command = "cd '%s' && %s LUA_PATH='%s' LUA_CPATH='%s' timeout 30 %s %s chat %s 2>&1 <'%s'"
  local pipe = assert(io.popen(command:format(directory.path, environment or "", system.absolute(package.path),
    system.absolute(package.cpath), LUA, system.absolute "bin/trueconf", arguments, input)))
  local output = pipe:read "a"
  return output, select(3, pipe:close())
end

local function with_bot(lines, arguments)
  system.write(directory:file "bot.lua", BOT)
  return chat("--bridge bot.lua --as anna " .. (arguments or ""), lines)
end

-- The same in a process that is not waited for.
local function launch(arguments, argument, input)
  local script = system.write(directory:file "run.sh", ("LD_PRELOAD='%s' exec %s bin/trueconf chat %s <%s\n"):format(
    os.getenv "LD_PRELOAD" or "", LUA, arguments:format(argument), input))
  return system.launch("sh " .. script)
end

describe("trueconf chat --bridge", function()
  it("tries a bot with one command", function()
    local output, code = with_bot "hello\n/order\nlarge\n/1\n/order\nsmall\n/2\n"
    assert.equal([[
anna: hello
clerk: you said <hello>
anna: /order
clerk: Which size?
anna: large
clerk: One large shirt?
  [/1] Yes  [/2] No
clerk (changed): You said yes.
anna: /order
clerk: Which size?
anna: small
clerk: One small shirt?
  [/1] Yes  [/2] No
clerk (changed): You said no.
]], output)
    assert.equal(0, code)
  end)

  it("sends files and keeps those of others", function()
    system.write(directory:file "report.txt", "all is well")
    local output, code = with_bot "/file report.txt\n/plan\n/save\n/save copy.txt\n/save\n"
    assert.equal([[
anna: (report.txt, 11 bytes; /save keeps it)
clerk: a file: report.txt
anna: /plan
clerk: (plan.txt, 8 bytes; /save keeps it)
kept as plan.txt
kept as copy.txt
trueconf chat: plan.txt exists already; /save PATH names another file
]], output)
    assert.equal(1, code)
    assert.equal("the plan", system.read(directory:file "plan.txt"))
    assert.equal("the plan", system.read(directory:file "copy.txt"))
  end)

  it("keeps a file in the place of nothing, be it a FIFO or a link", function()
    system.output("cd '%s' && mkfifo fifo && ln -s nowhere link", directory.path)
    local output, code = with_bot "/file report.txt\n/plan\n/save fifo\n/save link\n/save link/x\n/save copy.txt\n"
    assert.matches("trueconf chat: fifo exists already", output)
    assert.matches("trueconf chat: [^\n]*cannot write through the link link", output)
    assert.matches("\nkept as copy%.txt\n", output)
    assert.equal(1, code)
    assert.equal("fifo", system.output("stat -c %%F '%s'", directory:file "fifo"))
  end)

  it("plays several people, in groups too", function()
    local output, code = with_bot [[
/group Kitchen: mira clerk
hello
/as mira
hi anna
/with clerk
//order
/chats
/as anna
/with mira
just us
]]
    assert.equal(0, code, output)
    for _, expected in ipairs {
      "anna: hello\n", "clerk: you said <hello>\n", "mira: hi anna\nclerk: you said <hi anna>\n",
      "mira: /order\nclerk: Which size?\n", "  1  Kitchen\n", "anna: just us\n",
    } do
      assert.is_truthy(output:find(expected, 1, true), expected .. "\nin\n" .. output)
    end
    assert.equal(1, select(2, output:gsub("anna: hello\n", "")))
  end)

  it("waits in scripts for what is to be said", function()
    local output, code = with_bot("/later\n/wait here it\nhello\n", "--wait 5")
    assert.matches("clerk: here it is\nanna: hello\nclerk: you said <hello>\n$", output)
    assert.equal(0, code)
    output, code = with_bot("hello\n/wait goodbye\n", "--wait 0.3")
    assert.matches("nobody has said 'goodbye' within 0.3 s\n$", output)
    assert.equal(1, code)
  end)

  it("takes the last line without its end, explains itself and ends", function()
    assert.matches("clerk: you said <hello>\n$", (with_bot "hello"))
    local output, code = with_bot "/?\n/quit\nhello\n"
    assert.matches("/group TITLE: LOGIN", output)
    assert.is_nil(output:find("hello", 1, true))
    assert.equal(0, code)
  end)

  it("says what is wrong with a line, and goes on", function()
    local output, code = with_bot "/open 7\n/click 3\n/file no.txt\n/group x\n/save\n/as\n/with\n/file\n/click\nhello\n"
    for _, usage in ipairs { "/as LOGIN", "/with LOGIN", "/file PATH %[CAPTION%]", "/click NUMBER" } do
      assert.matches("usage: " .. usage .. "\n", output)
    end
    assert.matches("usage: /open NUMBER, the number of a chat", output)
    assert.matches("there is no button 3", output)
    assert.matches("no%.txt", output)
    assert.matches("usage: /group TITLE: LOGIN", output)
    assert.matches("there is no file to save: nobody has sent one", output)
    assert.matches("clerk: you said <hello>\n$", output)
    assert.equal(1, code)
  end)

  it("takes in changes of the bot", helper.async(function()
    system.write(directory:file "bot.lua", BOT)
    local fifo = directory:file "fifo"
    system.output("mkfifo '%s'", fifo)
    local child <close> = launch("--bridge %s --as anna", directory:file "bot.lua", fifo)
    local input <close> = assert(io.open(fifo, "w"))
    input:setvbuf "no"
    local number = 0
    local function says(words)
      number = number + 1
      input:write(("line %d\n"):format(number))
      local expected = ("clerk: %s <line %d>\n"):format(words, number)
      helper.eventually(function() return child:log():find(expected, 1, true) end)
    end
    says "you said"
    system.write(directory:file "bot.lua", (BOT:gsub("you said", "they said")))
    helper.eventually(function()
      number = number + 1
      input:write(("line %d\n"):format(number))
      local expected = ("<line %d>\n"):format(number)
      helper.eventually(function() return child:log():find(expected, 1, true) end)
      return child:log():find("clerk: they said", 1, true)
    end)
    input:close()
    assert.equal(0, child:wait())
    assert.is_nil(child:log():find "keeps its options")
  end))

  it("says what is wrong with the bot", function()
    system.write(directory:file "bot.lua", "local x = = 1")
    local output, code = chat("--bridge bot.lua", "hello\n")
    assert.equal("trueconf chat: bot.lua:1: unexpected symbol near '='\n", output)
    assert.equal(1, code)
  end)
end)

describe("trueconf chat", function()
  it("talks at a Bridge that runs, and says when it is gone", helper.async(function()
    local server = system.start_bridge { control = { key = KEY } }
    local herald = server:person "herald"
    herald:on_message(function(message)
      if not message.from_me then herald:chat_with("mira"):say("<b>oh</b> " .. message.text) end
    end)
    local key = system.write(directory:file "key", KEY .. "\n")
    system.output("chmod 600 '%s'", key)
    system.write(directory:file "lines", "hello\n")
    local url = server:url()
    local function run(who)
      local child <close> = launch("--url " .. url .. " --wait 0.3 --with herald --key-file %s --as " .. who,
        key, directory:file "lines")
      return child:wait(), child:log()
    end
    local code, output = run "mira"
    assert.equal("mira: hello\nherald: <b>oh</b> hello\n", output)
    assert.equal(0, code)
    code, output = run "nobody"
    assert.matches("trueconf chat: .*expected the login of an account, got 'nobody'\n$", output)
    assert.equal(1, code)
    system.write(key, "another-key-altogether\n")
    code, output = run "mira"
    assert.matches("trueconf chat: cannot talk to the Bridge at ws://.*: wrong key", output)
    assert.equal(3, code)
    server:stop(true)
    local without = system.start_again(server, { control = false })
    code, output = run "mira"
    assert.matches("it has no control endpoint; was it started with %-%-control%?\n$", output)
    assert.equal(3, code)
    without:stop(true)
    code, output = run "mira"
    assert.matches("cannot talk to the Bridge at ws://.*Connection refused", output)
    assert.equal(3, code)
  end))

  it("does not wait for a bot's file that is a FIFO, nor runs one that is no file", function()
    system.output("mkfifo '%s'", directory:file "fifo")
    local output, code = chat("--bridge fifo", "")
    assert.matches("trueconf chat: cannot read fifo: it is a FIFO, not a plain file", output)
    assert.equal(1, code)
    output, code = chat("--bridge .", "")
    assert.matches("trueconf chat: %-%-bridge: cannot read .: it is a folder, not a plain file", output)
    assert.equal(2, code)
  end)

  it("ends with 2 when it is used wrongly", function()
    for arguments, expected in pairs {
      [""] = "--as LOGIN is missing", ["--as mira"] = "the key of the Bridge's control endpoint is missing",
      ["--as mira --key-file no"] = "--key-file: there is no file no",
      ["--bridge bot.lua --url ws://x"] = "--bridge runs a Bridge of its own",
      ["--bridge no.lua"] = "--bridge: cannot read no.lua", ["--as mira --wait soon"] = "'--wait' must be a number",
      ["--as mira more"] = "unexpected 'more': arguments are for the bot",
      ["bot.lua"] = "unexpected 'bot.lua': did you mean --bridge bot.lua?",
    } do
      local output, code = chat(arguments, "", "TRUECONF_CONTROL_KEY=")
      assert.is_truthy(output:find("trueconf chat: .*" .. expected:gsub("%p", "%%%0")), output)
      assert.equal(2, code, arguments)
    end
    assert.matches("trueconf chat %-%-bridge bot.lua", (chat "--help"))
  end)
end)

describe("trueconf chat at a terminal", function()
  -- Types into a terminal of its own, each line after the words before it have come; prints all that was on it.
  local TYPIST = [[
import os, pty, sys, termios, time, signal
command, steps = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "stty cols 40; " + command])
out = b""
def wait(words):
    global out
    start = wait.seen
    while words not in out[start:]:
        out += os.read(terminal, 4096)
    wait.seen = start + out[start:].index(words) + len(words)
wait.seen = 0
signal.alarm(25)
for step in steps:
    kind, text = step[0], step[1:].encode().decode("unicode_escape").encode("latin-1")
    if kind == "<":
        wait(text)
    else:
        os.write(terminal, text)
try:
    while True:
        out += os.read(terminal, 4096)
except OSError:
    pass
sys.stdout.write(out.decode(errors="replace"))
print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
]]

  local function typed_with(environment, ...)
    system.write(directory:file "bot.lua", BOT)
    local typist, steps = system.write(directory:file "typist.py", TYPIST), {}
    for place, step in ipairs { ... } do steps[place] = "'" .. step .. "'" end
    local command = ("cd %s; exec env LD_PRELOAD=%s TERM=xterm LC_ALL=C.UTF-8 %s LUA_PATH=\"%s\" LUA_CPATH=\"%s\" "
      .. "%s %s chat --bridge bot.lua --as anna"):format(directory.path, os.getenv "LD_PRELOAD" or "", environment,
      system.absolute(package.path), system.absolute(package.cpath), LUA, system.absolute "bin/trueconf")
    return system.output("/usr/bin/python3 '%s' '%s' %s", typist, command, table.concat(steps, " "))
  end

  local function typed(...) return typed_with("", ...) end

  it("shows what comes above the line that is being typed", function()
    local screen = typed("<anna to clerk> ", ">/later\\n", "<anna to clerk> ", ">hel", "<hel", "<here it is", ">lo\\n",
      "<you said <hello>", ">\\x04")
    assert.is_truthy(screen:find("\27[L\r\27[32mclerk: \27[0mhere it is\0278\27[B", 1, true), screen)
    assert.matches("status 0$", screen)
  end)

  it("breaks long lines by itself, and lets no sign of others reach the terminal", function()
    local screen = typed("<anna to clerk> ", ">" .. ("x"):rep(50) .. "\\n", "<xxx>", ">a\\x16\\x1b]0;b\\n",
      "<\\\\x1b]0;b>", ">\\x04")
    assert.is_truthy(screen:find("\27[32mclerk: \27[0myou said <" .. ("x"):rep(23) .. "\0278", 1, true), screen)
    assert.matches("status 0$", screen)
  end)

  it("lets a line be changed, and those before it come again", function()
    local screen = typed("<anna to clerk> ", ">hello\\n", "<you said <hello>", ">\\x1b[A\\x01well \\n",
      "<you said <well hello>", ">\\xc3\\xa4h\\x02\\x02\\x04\\n", "<you said <h>", ">\\x04")
    assert.matches("status 0$", screen)
  end)

  it("does without readline", function()
    local without = "LUA_INIT=\"require([[trueconf.core]]).edit_begin = function() end\""
    local screen = typed_with(without, "<anna to clerk> ", ">/later\\n", "<anna to clerk> ", ">hellp", "<hellp",
      "<here it is", ">\\x7fo\\n", "<you said <hello>", ">\\x04")
    assert.matches("status 0$", screen)
  end)

  it("ends at Ctrl-C", function()
    assert.matches("status 0$", (typed("<anna to clerk> ", ">\\x03")))
  end)
end)
