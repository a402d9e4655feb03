-- SPDX-License-Identifier: MIT
-- The trueconf command, run as a process of its own.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local bridge = require "trueconf.bridge"
local helper = require "spec.support.helper"
local system = require "spec.support.system"
local accounts = require "trueconf.cli.bridge.accounts"
local flags = require "trueconf.cli.bridge.flags"
local settings = require "trueconf.bridge.settings"

local COMMAND = (os.getenv "LUA" or "lua5.4") .. " bin/trueconf "

-- Output of both kinds and exit code of a command that ends by itself.
local function run(arguments, environment)
  local pipe = assert(io.popen((environment or "") .. " " .. COMMAND .. arguments .. " 2>&1 </dev/null"))
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
    assert.matches("^Usage: trueconf .*\n   bridge +Run a local chat server", output)
    assert.equal(0, code)
    assert.equal(output, (run "--help"))
    assert.equal((run "help bridge"), (run "bridge --help"))
  end)

  it("prints its version", function()
    local output, code = run "version"
    assert.matches("^trueconf %d+%.%d+%.%d+\n$", output)
    assert.equal(0, code)
    assert.equal(output, (run "--version"))
  end)

  it("says what it lacks", function()
    local found, code = run("version", "LUA_PATH='lua/?.lua;lua/?/init.lua'")
    assert.matches("^trueconf: the command line needs argparse: install lua%-argparse", found)
    assert.equal(1, code)
  end)

  it("ends with 2 when it is used wrongly", function()
    for arguments, message in pairs {
      [""] = "^Usage: trueconf",
      ["serve"] = "^trueconf: unknown command 'serve'",
      ["bridg"] = "^trueconf: unknown command 'bridg', did you mean 'bridge'%?; see trueconf %-%-help\n$",
      ["bridge --prt 1"] = "unknown option '%-%-prt', did you mean '%-%-port'%?; see trueconf bridge %-%-help\n$",
      ["bridge now"] = "unknown command 'now'",
      ["bridge --port"] = "'%-%-port' requires an argument",
      ["bridge --port x"] = "'%-%-port' must be a whole number, got 'x'",
      ["bridge --port 70000"] = "%-%-port must be at most 65535, got 70000",
      ["bridge --port 0 --port 1"] = "'%-%-port' must be used at most 1 time",
      ["bridge --help=yes"] = "'%-%-help' does not take arguments",
      ["bridge --version 5.4"] = "%-%-version must be one of '5.5.0', ",
      ["bridge --token-status 300"] = "%-%-token%-status must be one of 200, 201",
      ["bridge --edit-window soon"] = "'%-%-edit%-window' must be a number of seconds, got 'soon'",
      ["bridge --upload-max-size 10MB"] = "'%-%-upload%-max%-size' must be a number of bytes, such as .*, got '10MB'",
      ["bridge --upload-max-size 0"] = "%-%-upload%-max%-size must be at least 1, got 0",
      ["bridge --upload-allow a --upload-block b"] = "'%-%-upload%-block' can not be used together",
      ["bridge --log loud"] = "'%-%-log' must be one of debug, info, warn, error, off, got 'loud'",
      ["bridge --tls-cert x"] = "%-%-tls%-key is required",
      ["bridge --ldap-start-tls"] = "%-%-ldap%-url is missing",
      ["bridge --ldap-url ldap://[::1] --ldap-bind-dn uid"] = "%-%-ldap%-bind%-dn must have %%s once",
      ["bridge --ldap-url ldap://a.test --ldap-bind-dn uid=%s"] = "passwords would go unencrypted",
      ["bridge --ldap-url ldap://[::1] --ldap-bind-dn uid=%s --account a:secret"] = "'a' cannot have a password",
      ["bridge --account herald"] = "%-%-account: expected LOGIN:PASSWORD",
      ["bridge --account a@b:secret"] = "%-%-account: the login must be text without",
      ["bridge --account a:1 --account a:2"] = "%-%-account: account 'a' was given before",
      ["bridge --fault flood=1"] = "%-%-fault: unknown fault 'flood'",
      ["bridge --fault drop=often"] = "%-%-fault: fault 'drop' must be a probability up to 1 .*, got 'often'",
      ["bridge --fault silence.getNothing=1"] = "%-%-fault: fault 'silence' must be",
      ["bridge --seed x"] = "%-%-seed' must be a whole number",
      ["bridge --control-key-file /no/such/file"] = "%-%-control%-key%-file: cannot write /no/such/file: No such file",
      ["bridge --control-key-file LICENSE"] = "%-%-control%-key%-file: will not use LICENSE: others may read it",
      ["bridge --accounts /no/such/file"] = "--accounts: there is no file /no/such/file",
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
      assert.matches("^trueconf bridge: cannot listen on 127%.0%.0%.1:" .. port .. ": Address already in use; is "
        .. "another Bridge running%? ", output)
      assert.equal(1, select(2, output:gsub("cannot listen", "")))
      assert.equal(1, code)
    end)
  end)

  it("takes no file of accounts that others may read", function()
    with_file("herald = 4711\n", function(path)
      os.execute("chmod 644 " .. path)
      local output, code = run("bridge --accounts " .. path)
      assert.equal(2, code)
      assert.is_truthy(output:find(("--accounts: will not use %s: others may read it"):format(path), 1, true), output)
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
      assert(os.execute("chmod 600 " .. path))
      local _, log = state_of("--control-key-file " .. path, "0123456789abcdef")
      assert.is_nil(log:find("0123456789abcdef", 1, true))
      assert.is_nil(log:find("control key", 1, true))
    end)
  end))

  it("refuses a key that can be guessed", function()
    with_file("short\n", function(path)
      assert(os.execute("chmod 600 " .. path))
      local output, code = run("bridge --control-key-file " .. path)
      assert.matches("expected a key of 16 to 128 visible characters in the first line\n$", output)
      assert.equal(2, code)
    end)
  end)

  it("keeps a key it has made where it was told to", helper.async(function()
    local directory <close> = system.directory()
    local path = directory:file "key"
    local child <close> = system.launch_lua("bin/trueconf bridge --port 0 --account a:1 --control-key-file " .. path)
    helper.eventually(function() return child:log():match "listening on" end)
    local key = system.read(path):match "^(%S+)\n$"
    assert.equal(32, #key)
    assert.equal("600", system.output("stat -c %%a '%s'", path))
    assert.is_nil(child:log():find(key, 1, true))
    assert.equal(0, child:kill "TERM")
    state_of("--control-key-file " .. path, key)
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
    local found, list = {}, user "list"
    local server = assert(bridge.start { data = folder, log = { level = "off" } })
    for login in list:gmatch "[^\n]+" do
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
    local bytes = system.read(folder .. "/bridge.db")
    assert.matches("%$y%$", bytes)
    assert.is_nil(bytes:find("secret", 1, true))
    assert.same({ "", 0 }, { user("add MIRA", "another") })
    assert.same({ herald = false, mira = true }, logins "another")
    assert.same({ "", 0 }, { user "remove Herald" })
    assert.same({ "mira\n", 0 }, { user "list" })
  end)

  it("disables who cannot go without leaving gaps in chats", function()
    user("add mira", "secret")
    local server = assert(bridge.start { data = folder, log = { level = "off" } })
    server:person("john"):chat_with("mira"):say "hello"
    server:stop()
    assert.same({ "mira takes part in chats: the account is disabled and its password removed\n", 0 },
      { user "remove mira" })
    assert.same({ "john\nmira (disabled)\n", 0 }, { user "list" })
    user("add mira", "again")
    server = assert(bridge.start { data = folder, log = { level = "off" } })
    assert.equal("hello", server:person("mira"):wait_message(1).text)
    assert.is_truthy(server.accounts:authenticate("mira", "again"))
    server:stop()
  end)

  it("leaves a folder alone that a Bridge works with", function()
    local server = assert(bridge.start { data = folder, log = { level = "off" } })
    local output, code = user("add mira", "secret")
    server:stop()
    assert.matches("bridge.db: another process has it open", output)
    assert.equal(1, code)
  end)

  it("says what is wrong", function()
    for arguments, expected in pairs {
      ["add a@b"] = { "login must be text without", 2 }, ["add mira"] = { "the password is empty", 1 },
      ["remove mira"] = { "there is no account 'mira'", 1 }, ["add"] = { "missing argument 'login'", 2 },
      ["rename mira"] = { "unknown command 'rename'", 2 }, [""] = { "a command is required", 2 },
      ["list --dta x"] = { "did you mean '%-%-data'", 2 }, ["add mira now"] = { "too many arguments", 2 },
      ["list --port 1"] = { "%-%-port has no meaning here", 2 },
    } do
      local output, code = user(arguments)
      assert.matches("trueconf bridge user.*: .*" .. expected[1], output)
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
    local output = system.output("timeout 20 /usr/bin/python3 '%s' %s %s bridge user add mira --data '%s'", script,
      preloaded, COMMAND, folder)
    assert.matches("^Password for mira: %s*0$", output)
    assert.same({ mira = true }, logins "typed secret")
  end)
end)

describe("accounts of the command line", function()
  it("come from files and flags, with any sign in the password", function()
    with_file("# bots\n\n  herald = 47=11 \nmira=x:y\n", function(path)
      assert.same({ herald = "47=11", mira = "x:y", john = "a:b" }, accounts.read({ path }, { "john:a:b" }))
    end)
  end)
end)

describe("flags of trueconf bridge", function()
  -- The options of a command line.
  local function given(arguments)
    local parser = require "argparse"("bridge")
    flags.add(parser)
    local list = {}
    for word in arguments:gmatch "%S+" do list[#list + 1] = word end
    local values = parser:parse(list)
    return flags.options(values), flags.directory(values), values
  end

  it("are there for every option of a Bridge", function()
    local known = {}
    for _, group in ipairs(flags.GROUPS) do
      for _, flag in ipairs(group) do known[flag.name:gsub("-", "_"):gsub("^no_", "")] = true end
    end
    -- These are more than one flag, or are for programs alone.
    local others = {
      tls = "tls_cert", upload_limits = "upload_max_size", oauth_applications = "oauth_application", state = "data",
    }
    for name in pairs(settings.SCHEMA) do assert.is_true(known[others[name] or name], name) end
  end)

  it("become options", function()
    local options, directory = given("--version 5.5.2 --long-text refuse --edit-window 1.5 --echo others --log debug "
      .. "--token-status 200 --bad-password-status 401 --ping-interval 2 --ack-timeout 3 --history-limit 4 "
      .. "--unread-limit 5 --no-password-login --no-legacy-silence --strict --max-frame 64K --upload-max-size 10M "
      .. "--oauth-application a=b:c,d --oauth-application e "
      .. "--upload-block exe --upload-block com --tls-cert c --tls-key k --port 0")
    assert.same({
      host = "127.0.0.1", port = 0, version = "5.5.2", long_text = "refuse", edit_window = 1.5, echo = "others",
      token_status = 200, bad_password_status = 401, ping_interval = 2, ack_timeout = 3, history_limit = 4,
      unread_limit = 5, password_login = false, legacy_silence = false, strict = true, max_frame = 65536,
      upload_limits = { max_size = 10 << 20, extensions = { mode = "block", list = { "exe", "com" } } },
      oauth_applications = { a = { scopes = { "b:c", "d" } }, e = { scopes = {} } },
      tls = { cert_file = "c", key_file = "k" }, log = { level = "debug" },
    }, options)
    assert.is_nil(directory)
    options, directory = given("--ldap-url ldaps://ldap.acme.test --ldap-bind-dn uid=%s,dc=acme --ldap-ca-file ca "
      .. "--ldap-timeout 2 --ldap-display-name cn --legacy-silence")
    assert.same({
      url = "ldaps://ldap.acme.test", bind_dn = "uid=%s,dc=acme", ca_file = "ca", timeout = 2, display_name = "cn",
    }, directory)
    assert.same({ host = "127.0.0.1", port = 4309, legacy_silence = true }, options)
  end)

  it("leave what is not given to the defaults of the Bridge", function()
    assert.same({ host = "127.0.0.1", port = 4309 }, (given ""))
  end)
end)
