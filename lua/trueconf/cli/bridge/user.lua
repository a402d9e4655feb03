-- SPDX-License-Identifier: MIT
-- trueconf bridge user: keeps the accounts in the data folder of a Bridge.

local core = require "trueconf.core"
local accounts = require "trueconf.bridge.accounts"
local data_folder = require "trueconf.bridge.store.folder"
local printable = require "trueconf.base.printable"
local settings = require "trueconf.bridge.settings"

local function fail(code, message)
  io.stderr:write("trueconf bridge user: ", printable.lines(tostring(message)), "\n")
  return code
end

-- The shell turns the echo of the terminal on again in any case, and the password is never an argument of a process.
local ASK = [[
state=$(stty -g) && trap 'stty "$state"; echo >&2' EXIT && trap 'exit 130' INT TERM HUP
printf 'Password for %s: ' "$LOGIN" >&2; stty -echo; IFS= read -r line && printf '%s' "$line"
]]

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function ask_terminal(login)
  local shell <close> = assert(io.popen("LOGIN=" .. quoted(login) .. " sh -c " .. quoted(ASK)))
  return shell:read "a"
end

local function read_password(login)
  local is_terminal = os.execute "test -t 0"
  return is_terminal and ask_terminal(login) or not is_terminal and io.read "l" or ""
end

local USES = {
  add = "Add an account, or give it another password.", remove = "Remove an account.", list = "List the accounts.",
}

local commands = {}

function commands.add(store, login)
  local complaint = accounts.complaint(login, {})
  if complaint then return fail(2, complaint) end
  local password = read_password(login)
  if password == "" then return fail(1, "the password is empty; nothing was changed") end
  local hash, err = core.crypt_hash(password)
  if not hash then return fail(1, err.message) end
  accounts.new(store, store.server_name):put(login, { password_hash = hash, disabled = false })
  return true
end

function commands.remove(store, login)
  local account = store:account(login:lower())
  if not account then return fail(1, ("there is no account '%s'"):format(login)) end
  -- An account in chats is disabled, not removed: other people must still see who wrote there.
  if store:chats_of(account.key, 1, 1)[1] then
    account.password_hash, account.disabled = nil, true
    store:put_account(account)
    print(("%s takes part in chats: the account is disabled and its password removed"):format(account.login))
  else
    store:remove_account(account.key)
  end
  return true
end

function commands.list(store)
  for _, account in ipairs(store:account_list()) do
    print(printable.line(account.login) .. (account.disabled and " (disabled)" or ""))
  end
  return true
end

-- Returns a command's exit code, or true, or nil and an error.
local function run(command, folder, login)
  local store, err = data_folder.open(folder, settings.read({}, 2))
  if not store then return nil, err end
  local result = command(store, login)
  store.on_failure = function(failure) result, err = nil, failure end
  store:close()
  return result, err
end

local HELP = "Add, remove and list the accounts in the data folder of a server, --data DIR. The password is asked for "
  .. "at a terminal, else read from the first line of the input; only its hash is kept. No server may use the folder "
  .. "meanwhile."

-- Of the flags of `trueconf bridge` only --data has a meaning here.
local MEANT = { command = true, bridge = true, user = true, user_command = true, login = true, data = true }

local function meaningless(given)
  for name in pairs(given) do
    if not MEANT[name] and not commands[name] then return name end
  end
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):command_target "user_command"
    for _, name in ipairs { "add", "remove" } do
      command:command(name, USES[name]):argument("login", "Login of the account.")
    end
    command:command("list", USES.list)
  end,
  run = function(given)
    local other = meaningless(given)
    if other then return fail(2, ("--%s has no meaning here"):format((other:gsub("_", "-")))) end
    if not given.data then return fail(2, "--data DIR is missing: it names the folder that keeps the accounts") end
    local result, err = run(commands[given.user_command], given.data, given.login)
    if result == nil then return fail(1, err.message) end
    return result == true and 0 or result
  end,
}
