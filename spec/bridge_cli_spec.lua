-- SPDX-License-Identifier: MIT
-- The trueconf command, run as a process of its own.

local flags = require "trueconf.cli.flags"

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
