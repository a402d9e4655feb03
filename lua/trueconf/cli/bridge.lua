-- SPDX-License-Identifier: MIT
-- trueconf bridge: runs a Bridge until SIGINT or SIGTERM.

local core = require "trueconf.core"
local accounts = require "trueconf.bridge.accounts"
local bridge = require "trueconf.bridge"
local faults = require "trueconf.bridge.faults"
local flags = require "trueconf.cli.flags"

local USAGE = [[
Usage: trueconf bridge [OPTION...]
       trueconf bridge user add|remove LOGIN --data DIR
       trueconf bridge user list --data DIR

Run a local chat server that speaks the API of TrueConf Bridge, until SIGINT or SIGTERM.

  --host HOST                address to listen on (127.0.0.1)
  --port PORT                port to listen on, 0 for any free one (4309)
  --server-name NAME         what follows the '@' of a TrueConf ID (localhost)
  --accounts FILE            accounts, one to a line: login = password
  --account LOGIN:PASSWORD   one account; may be repeated. Other users of this machine
                             can see it in the list of processes: prefer --accounts
  --data DIR                 folder for what must outlive the server, so far the key that tokens
                             are signed with and the accounts of `trueconf bridge user`;
                             made when it is missing
  --fault NAME=VALUE         make something go wrong on purpose; may be repeated: drop=0.01,
                             delay=0.2, silent, silence.getChats=1, ... docs/reference.md lists them
  --seed NUMBER              of what is left to chance: the same one repeats a run
  --control                  answer the control endpoint under /control/, to programs on this
                             machine that have its key, which is printed to the standard error
  --control-key FILE         the same with the key in the first line of a file
  --help                     print this text

`user` keeps accounts in the folder, with hashes of their passwords. A password is asked for
at a terminal, else read as the first line of the input. A server reads them when it starts.

Example:
  trueconf bridge --port 4309 --account herald:4711 --account mira:x
]]

local FLAGS = {
  host = { value = true },
  port = { value = true, integer = true },
  ["server-name"] = { value = true },
  accounts = { value = true, many = true },
  account = { value = true, many = true },
  data = { value = true },
  fault = { value = true, many = true },
  seed = { value = true, integer = true },
  control = {},
  ["control-key"] = { value = true },
  help = {},
}

local function fail(code, message)
  io.stderr:write("trueconf bridge: ", message, "\n")
  return code
end

-- Accounts: the messages below never repeat what could be a password. ---------------------

local function add_account(found, login, password, where)
  if accounts.complaint(login, password) then
    return ("%s: the login must be text without '@', '/' and spaces"):format(where)
  end
  if found[login] then return ("%s: account '%s' was given before"):format(where, login) end
  found[login] = password
end

local function read_line(found, line, where)
  if line:find "^%s*$" or line:find "^%s*#" then return end
  local login, password = line:match "^%s*(.-)%s*=%s*(.-)%s*$"
  if not login or password == "" then return where .. ": expected login = password" end
  return add_account(found, login, password, where)
end

---Read the lines of a file of accounts.
---@param path string
---@param found table<string, string> gets them
---@return string? complaint
local function read_accounts_file(path, found)
  local file, err = io.open(path)
  if not file then return "cannot read " .. err end
  local number = 0
  for line in file:lines() do
    number = number + 1
    local complaint = read_line(found, line, ("%s:%d"):format(path, number))
    if complaint then
      file:close()
      return complaint
    end
  end
  file:close()
end

local function read_account_flag(text, found)
  local login, password = text:match "^([^:]*):(.+)$"
  if not login then return "--account: expected LOGIN:PASSWORD" end
  return add_account(found, login, password, "--account")
end

---@param given table values of the flags
---@return table<string, string>? accounts
---@return string? complaint
local function read_accounts(given)
  local found = {}
  for _, path in ipairs(given.accounts or {}) do
    local complaint = read_accounts_file(path, found)
    if complaint then return nil, complaint end
  end
  for _, text in ipairs(given.account or {}) do
    local complaint = read_account_flag(text, found)
    if complaint then return nil, complaint end
  end
  return found
end

-- Running -----------------------------------------------------------------------------------

-- The first signal stops the server, the second one the program.
local function stop_on_signals(server)
  local signals, stopping = {}, false
  local function on_signal()
    if stopping then return core.stop() end
    stopping = true
    server:stop()
    for _, signal in ipairs(signals) do signal:close() end
  end
  for _, name in ipairs { "SIGINT", "SIGTERM" } do signals[#signals + 1] = core.signal(name, on_signal) end
end

-- Errors of the data folder name their file.
local function reason(options, err)
  if options.data and err.message:find(options.data, 1, true) then return err.message end
  return ("cannot listen on %s, port %d: %s"):format(options.host, options.port, err.message)
end

local function read_faults(given)
  local found, complaint = faults.parse(given.fault or {})
  if not found then return nil, "--fault: " .. complaint end
  found.seed = given.seed or found.seed
  return found
end

-- The key of the control endpoint: that of a file, true for one to be made, or nil and a complaint.
local function read_key(given)
  local path = given["control-key"]
  if not path then return given.control end
  local file, err = io.open(path)
  if not file then return nil, "--control-key: cannot read " .. err end
  local key = file:read "l" or ""
  file:close()
  if #key < 16 or #key > 128 or not key:find "^[!-~]+$" then
    return nil, "--control-key: " .. path .. ": expected a key of 16 to 128 visible characters in the first line"
  end
  return key
end

-- Only a key that was made is printed.
local function announce(server)
  if server.options.control and server.options.control.key == true then
    io.stderr:write("control key: ", server:control_key(), "\n")
  end
  io.stdout:setvbuf "line"
  print("listening on " .. server:url())
end

local function serve(options, mishaps)
  if options.port > 65535 then return fail(2, "--port must be at most 65535") end
  local server, err = bridge.start(options)
  if not server then return fail(1, reason(options, err)) end
  server:fault(mishaps)
  stop_on_signals(server)
  if not next(server.options.accounts) then fail(0, "there are no accounts; add some with --accounts or --account") end
  announce(server)
  core.run()
  print "stopped"
  return 0
end

---@param args string[]
---@return integer exit_code
local function main(args)
  if args[1] == "user" then return require("trueconf.cli.users").main(table.move(args, 2, #args, 1, {})) end
  local given, complaint = flags.parse(args, FLAGS)
  if not given then return fail(2, complaint .. "; see trueconf bridge --help") end
  if given.help then
    io.stdout:write(USAGE)
    return 0
  end
  local found, mishaps, key
  found, complaint = read_accounts(given)
  if not found then return fail(2, complaint) end
  mishaps, complaint = read_faults(given)
  if not mishaps then return fail(2, complaint) end
  key, complaint = read_key(given)
  if complaint then return fail(2, complaint) end
  return serve({
    host = given.host or "127.0.0.1",
    port = given.port or 4309,
    server_name = given["server-name"],
    data = given.data,
    accounts = found,
    control = key and { key = key },
  }, mishaps)
end

return { main = main, read_accounts = read_accounts }
