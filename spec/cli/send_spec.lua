-- SPDX-License-Identifier: MIT
-- trueconf send, as a process, at a Bridge.

local command = require "spec.support.command"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local system = require "spec.support.system"

local function with_bridge(fn, options, deadline)
  return helper.async(function()
    local server = system.start_bridge(options)
    local settings = command.herald(server:url())
    local function send(arguments, more)
      local environment = {}
      for _, part in ipairs { settings, more and more.environment or {} } do
        for name, value in pairs(part) do environment[name] = value end
      end
      table.insert(arguments, 1, "send")
      more = more or {}
      return command.run(arguments, { environment = environment, input = more.input, wrap = more.wrap })
    end
    fn(server, send)
    server:stop()
  end, deadline)
end

describe("trueconf send", function()
  it("writes to a user and prints the id of the message", with_bridge(function(server, send)
    local mira = server:person "mira"
    local code, output, errors = send { "mira", "hello" }
    assert.same({ 0, "" }, { code, errors })
    local message = assert(mira:wait_message(5))
    assert.same({ "hello", message.id .. "\n" }, { message.text, output })
    code, output = send { "mira@localhost", "again", "--quiet", "--reply-to", message.id }
    assert.same({ 0, "" }, { code, output })
    local answer = assert(mira:wait_message(5))
    assert.same({ "again", message.id }, { answer.text, answer.reply_to })
  end))

  it("takes the text from the standard input, and a chat", with_bridge(function(server, send)
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    local code = send({ "--chat", chat.id, "--html" }, { input = "<b>disk</b> full\n" })
    assert.equal(0, code)
    local message = assert(mira:wait_message(5))
    assert.same({ "<b>disk</b> full", "html" }, { message.text, message.parse_mode })
    assert.equal(0, (send({ "--chat", chat.id, "-" }, { input = "two\nlines\n" })))
    assert.equal("two\nlines", assert(mira:wait_message(5)).text)
    assert.equal(0, (send { "--chat", chat.id, "--", "-12 degrees" }))
    assert.equal("-12 degrees", assert(mira:wait_message(5)).text)
  end))

  it("splits a long text, unless told not to", with_bridge(function(server, send)
    local mira = server:person "mira"
    local text = ("A sentence of some length. "):rep(400)
    local code, output = send({ "mira", "--json" }, { input = text })
    assert.equal(0, code)
    local told = assert(json.decode(output))
    assert.equal(3, #told.messages)
    local parts = {}
    for number, told_of in ipairs(told.messages) do
      local message = assert(mira:wait_message(5))
      assert.equal(told_of.message_id, message.id)
      parts[number] = message.text
    end
    assert.equal((text:gsub("%s", "")), (table.concat(parts):gsub("%s", "")))
    local errors
    code, output, errors = send({ "mira", "--no-split" }, { input = text })
    assert.same({ 2, "" }, { code, output })
    assert.equal("trueconf send: the text has 10800 visible characters, 4096 are allowed\n", errors)
  end))

  it("sends a file, and one from the standard input", with_bridge(function(server, send)
    local mira = server:person "mira"
    local directory <close> = system.directory()
    local path = system.write(directory:file "notes.txt", "some notes")
    assert.equal(0, (send { "mira", "--file", path, "--caption", "**mine**", "--markdown" }))
    local caption, notes = assert(mira:wait_message(5)), assert(mira:wait_message(5))
    assert.same({ "**mine**", "markdown", "notes.txt" }, { caption.text, caption.parse_mode, notes:file_info().name })
    local code, _, errors = send({ "mira", "--file", "-", "--name", "dump.bin" }, { input = ("\0x"):rep(100000) })
    assert.same({ 0, "" }, { code, errors })
    local dump = assert(mira:wait_message(5)):file_info()
    assert.same({ "dump.bin", 200000 }, { dump.name, dump.size })
  end))

  it("sends what comes through a pipe, and what has no size before it is read", with_bridge(function(server, send)
    local mira = server:person "mira"
    local directory <close> = system.directory()
    local fifo = directory:file "report.txt"
    system.output("mkfifo '%s'", fifo)
    assert(os.execute(("{ printf one; sleep 0.2; printf two; } >'%s' &"):format(fifo)))
    assert.equal(0, (send { "mira", "--file", fifo }))
    local file = assert(mira:wait_message(5)):file_info()
    assert.same({ "report.txt", 6 }, { file.name, file.size })
    local code, _, errors = send({ "mira", "--file", "/dev/stdin" }, { wrap = "sh -c 'printf x | '%s" })
    assert.equal(2, code)
    assert.matches("the file needs a name that others see", errors)
    assert.equal(0, (send({ "mira", "--file", "/dev/stdin", "--name", "x.txt" }, { wrap = "sh -c 'printf x | '%s" })))
    file = assert(mira:wait_message(5)):file_info()
    assert.same({ "x.txt", 1 }, { file.name, file.size })
    assert.equal(0, (send { "mira", "--file", "/proc/self/status" }))
    assert.is_true(assert(mira:wait_message(5)):file_info().size > 100)
  end))

  it("shows a progress bar at a terminal", with_bridge(function(_, send)
    local directory <close> = system.directory()
    local path = system.write(directory:file "notes.txt", ("x"):rep(300000))
    local code, output = send({ "mira", "--file", path }, { wrap = "script -qec %s /dev/null",
      environment = { TERM = "xterm" } })
    assert.equal(0, code)
    assert.matches("\rnotes%.txt %[#+%-*%] +%d+%% of 29%d%.%d KiB", output)
    assert.matches("100%%.*\r\27%[K", output)
  end))

  it("tells scripts what went wrong", with_bridge(function(server, send)
    local wrong = { environment = { TRUECONF_PASSWORD = "wr0ng" } }
    local nameless = { environment = { TRUECONF_PASSWORD = "" } }
    local nowhere = { environment = { TRUECONF_URL = "ws://localhost:" .. system.free_port() } }
    for _, case in ipairs {
      { 1, { "nobody", "x" }, {}, "ACCESS_DENIED" },
      { 1, { "--chat", "none", "x" }, {}, "CHAT_NOT_FOUND" },
      { 4, { "mira", "x" }, wrong, "AUTH_FAILED %(400%)" },
      { 3, { "mira", "x" }, nowhere, "REFUSED: cannot connect to localhost" },
      { 3, { "mira", "x", "--url", "wss://localhost:" .. server:port() }, {}, "TLS" },
      { 2, { "mira", "x", "--url", "localhost" }, {}, "%-%-url must begin with ws://" },
      { 2, { "mira", "x", "--url", "ws://chat.acme.test" }, {}, "use https, or set %-%-allow%-plaintext" },
      { 2, { "mira", "x" }, nameless, "no password: set %-%-password%-file, the environment variable" },
      { 2, { "mira", "x", "--password-file", "/none" }, {}, "%-%-password%-file: there is no file /none" },
      { 2, { "mira", "" }, {}, "the text is empty" },
      { 2, { "mira", "a\xFFb" }, {}, "the text is not UTF%-8" },
      { 2, {}, { input = "x" }, "the recipient is missing" },
      { 2, { "mira", "x", "--chat", "y" }, {}, "a user and %-%-chat cannot be used together" },
      { 2, { "mira", "--file", "/none" }, {}, "%-%-file: cannot read /none" },
      { 2, { "mira", "--file", "/tmp" }, {}, "%-%-file: cannot read /tmp: it is a folder, not a plain file" },
      { 2, { "mira", "x" }, { environment = { TRUECONF_CONFIG = "/none" } }, "TRUECONF_CONFIG names the file /none" },
      { 2, { "mira", "--file", "/dev/null" }, {}, "%-%-file: '/dev/null' is an empty file" },
      { 2, { "mira", "--file", "/dev/zero" }, {}, "%-%-file: cannot read /dev/zero: it is a device" },
      { 2, { "mira" }, {}, "TO or TEXT is missing, and the standard input is empty" },
      { 2, { "--chat", "c1" }, {}, "TEXT is missing, and the standard input is empty" },
      { 2, { "mira", "-12 degrees" }, {}, "'%-12 degrees' is taken for an option; put %-%- before a text" },
      { 2, { "mira", "--file", "-" }, {}, "give one with %-%-name" },
      { 2, { "mira", "x", "--file", "y" }, {}, "give the text as %-%-caption" },
      { 2, { "mira", "x", "--caption", "y" }, {}, "belong to %-%-file" },
      { 2, { "mira", "x", "--html", "--markdown" }, {}, "can not be used together" },
      { 2, { "mira", "--timeout", "soon" }, {}, "'%-%-timeout' must be a number of seconds, got 'soon'" },
      { 2, { "mira", "--quite" }, {}, "unknown option '%-%-quite', did you mean '%-%-quiet'%?; see trueconf send" },
    } do
      local expected, arguments, more, pattern = table.unpack(case)
      local code, _, errors = send(arguments, more)
      assert.equal(expected, code, errors)
      assert.matches("^trueconf send: [^\n]*" .. pattern .. "[^\n]*\n$", errors)
      assert.is_nil(errors:find("4711", 1, true) or errors:find("wr0ng", 1, true))
    end
  end, nil, 200))                       -- many processes, and a sanitizer is slow to start

  it("tells programs what went wrong before anything was sent", with_bridge(function(_, send)
    local code, output = send { "mira", "x", "--json", "--url", "ws://localhost:" .. system.free_port() }
    assert.equal(3, code)
    assert.same({ {}, "REFUSED" }, { assert(json.decode(output)).messages, json.decode(output).error.name })
  end))

  it("says that it may have been sent when the answer does not come", with_bridge(function(server, send)
    server:fault { silence = { sendMessage = 1 } }
    local code, _, errors = send { "mira", "hello", "--timeout", "1" }
    assert.equal(5, code)
    assert.matches("TIMEOUT", errors)
  end))

  it("gets its token once with a file for it", with_bridge(function(server, send)
    local directory <close> = system.directory()
    local kept = { "mira", "hello", "--token-file", directory:file "token" }
    assert.equal(0, (send { table.unpack(kept) }))
    server:fault { token_status = 503 }
    assert.equal(0, (send { table.unpack(kept) }))
    assert.equal(3, (send { "mira", "hello" }))
  end))
end)
