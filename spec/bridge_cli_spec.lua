-- SPDX-License-Identifier: MIT
-- The trueconf command, run as a process of its own.

local core = require "trueconf.core"
local json = require "trueconf.json"
local bridge = require "trueconf.bridge"
local flags = require "trueconf.cli.flags"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local COMMAND = (os.getenv "LUA" or "lua5.4") .. " bin/trueconf "

-- Output of both kinds and exit code of a command that ends by itself.
local function run(arguments)
  local pipe = assert(io.popen(COMMAND .. arguments .. " 2>&1 </dev/null"))
  local output = pipe:read "a"
  local _, _, code = pipe:close()
  return output, code
end

local function with_file(text, fn)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local ok, err = pcall(fn, path)
  os.remove(path)
  if not ok then error(err, 0) end
end

-- Run `trueconf bridge` while fn(url) works, then end it with a signal; returns the rest of
-- its output and its exit code.
local function while_running(arguments, signal, fn)
  local shell = ("echo $$; exec %s bridge --port 0 %s 2>&1"):format(COMMAND, arguments)
  local pipe = assert(io.popen(shell))
  local pid, url = pipe:read "l", nil
  local ok, err = pcall(function()
    url = assert(pipe:read("l"):match "listening on (ws://127%.0%.0%.1:%d+)$")
    fn(url)
  end)
  os.execute(("kill -%s %s"):format(signal, pid))
  local rest = pipe:read "a"
  local _, _, code = pipe:close()
  if not ok then error(err, 0) end
  return rest, code
end

describe("trueconf", function()
  it("explains itself", function()
    local output, code = run "help"
    assert.matches("Usage: trueconf COMMAND", output)
    assert.equal(0, code)
    assert.equal(output, (run "--help"))
  end)

  it("prints its version", function()
    local output, code = run "version"
    assert.matches("^trueconf %d+%.%d+%.%d+\n$", output)
    assert.equal(0, code)
  end)

  it("ends with 2 when it is used wrongly", function()
    for arguments, message in pairs {
      [""] = "^Usage: trueconf",
      ["serve"] = "^trueconf: unknown command 'serve'",
      ["bridge --prt 1"] = "unknown flag '%-%-prt', did you mean '%-%-port'%?",
      ["bridge now"] = "unexpected argument 'now'",
      ["bridge --port"] = "%-%-port needs a value",
      ["bridge --port x"] = "%-%-port must be a whole number",
      ["bridge --port 70000"] = "%-%-port must be at most 65535",
      ["bridge --port 0 --port 1"] = "%-%-port was given twice",
      ["bridge --help=yes"] = "%-%-help takes no value",
      ["bridge --account herald"] = "%-%-account: expected LOGIN:PASSWORD",
      ["bridge --account a@b:secret"] = "%-%-account: the login must be text without",
      ["bridge --account a:1 --account a:2"] = "%-%-account: account 'a' was given before",
      ["bridge --fault flood=1"] = "%-%-fault: unknown fault 'flood'",
      ["bridge --fault drop=often"] = "%-%-fault: fault 'drop' must be a probability up to 1 .*, got 'often'",
      ["bridge --fault silence.getNothing=1"] = "%-%-fault: fault 'silence' must be",
      ["bridge --seed x"] = "%-%-seed must be a whole number",
      ["bridge --control-key /no/such/file"] = "%-%-control%-key: cannot read /no/such/file: No such file",
      ["bridge --control-key LICENSE"] = "%-%-control%-key: LICENSE: expected a key of 16 to 128 visible",
      ["bridge --accounts /no/such/file"] = "cannot read /no/such/file: No such file",
    } do
      local output, code = run(arguments)
      assert.equal(2, code, arguments)
      assert.matches(message, output)
      assert.is_nil(output:find("secret", 1, true))
      assert.is_nil(output:find("traceback", 1, true))
    end
  end)
end)

describe("trueconf bridge", function()
  it("explains itself", function()
    local output, code = run "bridge --help"
    assert.matches("Usage: trueconf bridge", output)
    assert.equal(0, code)
  end)

  it("runs until it is told to stop", function()
    for _, signal in ipairs { "INT", "TERM" } do
      local rest, code = while_running("--account herald:4711", signal, function() end)
      assert.equal("stopped\n", rest)
      assert.equal(0, code)
    end
  end)

  it("says so when the port is taken", function()
    while_running("--account herald:4711", "TERM", function(url)
      local port = url:match "%d+$"
      local output, code = run("bridge --account herald:4711 --port " .. port)
      assert.matches("cannot listen on 127%.0%.0%.1, port " .. port .. ": ", output)
      assert.equal(1, code)
    end)
  end)

  it("names the line of a file of accounts that is wrong, but no password", function()
    for text, message in pairs {
      ["herald = 4711\nsecret\n"] = ":2: expected login = password",
      ["# comment\n\nherald =\n"] = ":3: expected login = password",
      ["a@b = secret"] = ":1: the login must be text without",
      ["a = 1\na = secret"] = ":2: account 'a' was given before",
    } do
      with_file(text, function(path)
        local output, code = run("bridge --accounts " .. path)
        assert.equal(2, code)
        assert.is_truthy(output:find(path .. message, 1, true), output)
        assert.is_nil(output:find("secret", 1, true))
      end)
    end
  end)
end)

describe("trueconf bridge under control", function()
  -- The state of a Bridge that a process of its own runs, and what that printed.
  local function state_of(arguments, key)
    local child <close> = system.launch_lua("bin/trueconf bridge --port 0 --account herald:4711 " .. arguments)
    local url = helper.eventually(function() return child:log():match "listening on ws(://[%d.:]+)\n" end)
    key = key or child:log():match "control key: (%S+)\n"
    local answer = assert(core.http {
      url = "http" .. url .. "/control/state", headers = { Authorization = "Bearer " .. key },
    })
    assert.equal(0, child:kill "TERM")
    assert.equal(200, answer.status, answer.body)
    return assert(json.decode(answer.body)), child:log()
  end

  it("makes a key and tells it once, and begins with its faults", helper.async(function()
    local state, log = state_of "--control --fault drop=0.01 --fault delay=0.2 --fault silence.getChats=1 --seed 7"
    assert.same({ drop = 0.01, delay = 0.2, silence = { getChats = 1 }, seed = 7 }, state.faults)
    assert.equal(1, select(2, log:gsub("control key", "")))
  end))

  it("takes a key from a file, and does not print it", helper.async(function()
    with_file("0123456789abcdef\nmore\n", function(path)
      local _, log = state_of("--control-key " .. path, "0123456789abcdef")
      assert.is_nil(log:find("0123456789abcdef", 1, true))
      assert.is_nil(log:find("control key", 1, true))
    end)
  end))
end)

describe("trueconf bridge user", function()
  local directory, folder

  before_each(function()
    directory = system.directory()
    folder = directory:file "data"
  end)
  after_each(function() directory:__close() end)

  local function user(arguments, input)
    local pipe = assert(io.popen(("printf '%s' | %s bridge user %s --data %s 2>&1"):format(
      input or "", COMMAND, arguments, folder)))
    local output = pipe:read "a"
    return output, select(3, pipe:close())
  end

  local function logins(password)
    local server = assert(bridge.start { data = folder, log = { level = "off" } })
    local found = {}
    for login in user("list"):gmatch "[^\n]+" do
      found[login] = server.accounts:authenticate(login, password) ~= nil
    end
    server:stop()
    return found
  end

  it("adds, changes, lists and removes accounts, and keeps hashes alone", function()
    assert.same({ "", 0 }, { user("add mira", "secret one\\nmore") })
    assert.same({ "", 0 }, { user("add herald", "4711") })
    assert.same({ "herald\nmira\n", 0 }, { user "list" })
    assert.same({ herald = false, mira = true }, logins "secret one")
    local text = system.read(folder .. "/accounts")
    assert.matches("^herald %$y%$%S+\nmira %$y%$%S+\n$", text)
    assert.equal("600", system.output("stat -c %%a '%s/accounts'", folder))
    assert.same({ "", 0 }, { user("add MIRA", "another") })
    assert.same({ herald = false, mira = true }, logins "another")
    assert.same({ "", 0 }, { user "remove Herald" })
    assert.same({ "mira\n", 0 }, { user "list" })
  end)

  it("says what is wrong", function()
    for arguments, expected in pairs {
      ["add a@b"] = { "login must be text without", 2 }, ["add mira"] = { "the password is empty", 1 },
      ["remove mira"] = { "there is no account 'mira'", 1 }, ["add"] = { "expected add LOGIN", 2 },
      ["rename mira"] = { "expected add LOGIN", 2 }, [""] = { "expected add LOGIN", 2 },
      ["list --dta x"] = { "did you mean '%-%-data'", 2 }, ["add mira now"] = { "unexpected argument 'now'", 2 },
    } do
      local output, code = user(arguments)
      assert.matches("trueconf bridge user: .*" .. expected[1], output)
      assert.equal(expected[2], code, arguments)
      assert.is_nil(output:find("traceback", 1, true))
    end
    local output, code = run "bridge user list"
    assert.matches("%-%-data DIR is missing", output)
    assert.equal(2, code)
  end)

  it("asks at a terminal, without echo, and leaves the terminal as it was", function()
    local script = directory:file "typed.py"
    system.write(script, [[
import os, pty, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
out = b""
while b"Password for mira: " not in out:
    out += os.read(terminal, 1000)
while termios.tcgetattr(terminal)[3] & termios.ECHO:
    pass
os.write(terminal, b"typed secret\n")
try:
    while True:
        out += os.read(terminal, 1000)
except OSError:
    pass
print(out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
]])
    local preloaded = "env LD_PRELOAD=" .. (os.getenv "LD_PRELOAD" or "")       -- a sanitizer, which is not for python
    local output = system.output("timeout 20 python3 '%s' %s %s bridge user add mira --data '%s'", script, preloaded,
      COMMAND, folder)
    assert.matches("^Password for mira: %s*0$", output)
    assert.same({ mira = true }, logins "typed secret")
  end)
end)

describe("accounts of the command line", function()
  local read_accounts = require("trueconf.cli.bridge").read_accounts

  it("come from files and flags, with any sign in the password", function()
    with_file("# bots\n\n  herald = 47=11 \nmira=x:y\n", function(path)
      local given = assert(flags.parse({ "--accounts=" .. path, "--account", "john:a:b" }, {
        accounts = { value = true, many = true },
        account = { value = true, many = true },
      }))
      assert.same({ herald = "47=11", mira = "x:y", john = "a:b" }, read_accounts(given))
    end)
  end)
end)
