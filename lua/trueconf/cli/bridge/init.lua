-- SPDX-License-Identifier: MIT
-- trueconf bridge: runs a Bridge until SIGINT or SIGTERM.

local core = require "trueconf.core"
local bridge = require "trueconf.bridge"
local faults = require "trueconf.bridge.faults"
local settings = require "trueconf.bridge.settings"
local accounts = require "trueconf.cli.bridge.accounts"
local flags = require "trueconf.cli.bridge.flags"
local printable = require "trueconf.base.printable"
local stop_signals = require "trueconf.base.stop_signals"
local user = require "trueconf.cli.bridge.user"

local USAGE = [[
Usage: trueconf bridge [OPTION...]
       trueconf bridge user add|remove LOGIN --data DIR
       trueconf bridge user list --data DIR]]
local EXAMPLES = [[
Examples:
  trueconf bridge --account herald:4711 --account mira:x
  trueconf bridge --version 5.5.2 --accounts team --fault drop=0.01 --seed 7
  trueconf bridge --ldap-url ldaps://ldap.acme.test --ldap-bind-dn uid=%s,ou=people,dc=acme,dc=test
  trueconf bridge user add mira --data /var/lib/bridge]]

local function fail(code, message)
  io.stderr:write("trueconf bridge: ", printable.lines(tostring(message)), "\n")
  return code
end

-- Options -----------------------------------------------------------------------------------

local function read_faults(given)
  local found, complaint = faults.parse(given.fault or {})
  if not found then return nil, "--fault: " .. complaint end
  found.seed = given.seed or found.seed
  return found
end

-- The first line of a file that only its owner can read; the file is made when it is missing.
local function read_key_file(path)
  local text, err = core.read_private(path)
  if not text and not err then
    text = core.base64url_encode(core.random(24))
    local written
    written, err = core.write_private(path, text .. "\n", true)
    if written == false then text, err = core.read_private(path) end
  end
  if err then return nil, "--control-key-file: " .. err.message end
  local key = text:match "^[^\n]*"
  if #key >= 16 and #key <= 128 and key:find "^[!-~]+$" then return key end
  return nil, "--control-key-file: " .. path .. ": expected a key of 16 to 128 visible characters in the first line"
end

-- The key of the control endpoint, true to make one, nil for no endpoint; or nil and a complaint.
local function read_key(given)
  if given.control_key_file then return read_key_file(given.control_key_file) end
  return given.control
end

-- An LDAP directory replaces the passwords (settings.lua reads it from the accounts).
local function read_accounts(given)
  local found, complaint = accounts.read(given.accounts or {}, given.account or {})
  if not found then return nil, complaint end
  local directory = flags.directory(given)
  if directory and found.ldap then return nil, "--ldap-url and an account named 'ldap' exclude each other" end
  if directory and not directory.url then return nil, "--ldap-url is missing: the other --ldap flags need it" end
  found.ldap = directory or found.ldap
  return found
end

---Make the options of bridge.start().
---@param given table<string, any> values of the flags
---@return trueconf.bridge.Options? options
---@return string? complaint
local function read_options(given)
  local found, wrong_account = read_accounts(given)
  if not found then return nil, wrong_account end
  local key, wrong_key = read_key(given)
  if wrong_key then return nil, wrong_key end
  local options = flags.options(given)
  options.accounts, options.control = found, key and { key = key } or nil
  local ok, wrong = pcall(settings.read, options, 1)
  if not ok then return nil, flags.reworded(tostring(wrong)) end
  return options
end

-- Running -----------------------------------------------------------------------------------

local function stop_on_signals(server)
  local signals
  signals = stop_signals.watch(function()
    server:stop()
    signals:close()
  end, core.stop)
end

local IN_USE = "; is another Bridge running? --port 0 takes any free port"

local function reason(err)
  return err.message .. (err.message:find("already in use", 1, true) and IN_USE or "")
end

-- Prints the key only if it was made for this run and is in no file.
local function announce(server)
  if server.options.control and server.options.control.key == true then
    io.stderr:write("control key: ", server:control_key(), "\n")
  end
  io.stdout:setvbuf "line"
  print("listening on " .. server:url())
end

local function serve(options, mishaps)
  local server, err = bridge.start(options)
  if not server then return fail(1, reason(err)) end
  server:fault(mishaps)
  stop_on_signals(server)
  local checked = server.options
  if not next(checked.accounts) and not checked.directory then
    fail(0, "there are no accounts; add some with --accounts or --account")
  end
  announce(server)
  core.run()
  print "stopped"
  return 0
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description "Run a local chat server that speaks the API of TrueConf Bridge, until SIGINT or SIGTERM."
    command:usage(USAGE):epilog(EXAMPLES):require_command(false)
    flags.add(command)
    user.describe(command:command("user"):summary "Keep accounts in the data folder of a server.")
  end,
  run = function(given)
    if given.user then return user.run(given) end
    local options, mishaps, complaint
    options, complaint = read_options(given)
    if not options then return fail(2, complaint) end
    mishaps, complaint = read_faults(given)
    if not mishaps then return fail(2, complaint) end
    return serve(options, mishaps)
  end,
}
