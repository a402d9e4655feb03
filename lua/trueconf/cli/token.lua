-- SPDX-License-Identifier: MIT
-- trueconf token: gets an access token and prints when it expires. The token itself is printed only with --print, and
-- to a terminal only with --force.

local connection = require "trueconf.cli.connection"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local grant = require "trueconf.cli.grant"
local json = require "trueconf.base.json"
local printable = require "trueconf.base.printable"
local terminal = require "trueconf.cli.terminal"

local NAME = "token"

local HELP = "Get a new access token, and print for whom it is and when it expires. The token itself is printed only "
  .. "with --print. If a token is set (TRUECONF_TOKEN, or the config file), that one is described and no server is "
  .. "asked."

local EXAMPLES = [[
Examples:
  trueconf token
  trueconf token --save ~/.cache/herald.token
  trueconf token --show ~/.cache/herald.token
  TRUECONF_TOKEN=$(trueconf token --print) lua5.4 bot.lua

]]

---@class trueconf.cli.Token
---@field token string
---@field expires integer UNIX milliseconds
---@field username? string
---@field token_url string

-- Getting a token ---------------------------------------------------------------------------

---@return trueconf.cli.Token?
---@return integer? code
local function ask(given)
  local options, complaint = connection.options(given)
  local settings = options
  if options then settings, complaint = connection.settings(options) end
  local client
  if settings then client, complaint = connection.client(options) end -- checks the options
  if not client then return nil, exit_codes.complain(NAME, complaint, exit_codes.MISUSE) end
  local found = { token = settings.token, token_url = client.web.endpoints.token }
  if found.token then
    found.expires = core.token_expiry("", found.token) -- only the server knows whose it is
    return found
  end
  found.token, found.expires = grant.ask(client.web, settings, options.call_timeout)
  if not found.token then return nil, exit_codes.fail(NAME, found.expires) end
  found.username = settings.username
  return found
end

-- Reads the file that a session writes (option `token_file`).
---@return trueconf.cli.Token?
---@return integer? code
local function read(path)
  local text, err = core.read_private(path)
  local why = err and err.message or not text and path .. ": no such file"
  local kept = text and json.decode(text)
  if not why and not (type(kept) == "table" and type(kept.access_token) == "string"
      and type(kept.token_url) == "string" and math.type(kept.expires) == "integer") then
    why = path .. " holds no token"
  end
  if why then return nil, exit_codes.complain(NAME, "--show: " .. why, exit_codes.MISUSE) end
  return { token = kept.access_token, expires = kept.expires, username = kept.username, token_url = kept.token_url }
end

-- Showing it --------------------------------------------------------------------------------

local function save(found, path)
  local text = json.encode {
    token_url = found.token_url, username = found.username or "", expires = found.expires, access_token = found.token,
  }
  local _, err = core.write_private(path, text .. "\n")
  return err and exit_codes.complain(NAME, "--save: " .. err.message, exit_codes.REFUSED)
end

local UNITS = { { "day", 86400 }, { "hour", 3600 }, { "minute", 60 }, { "second", 1 } }

-- In the largest unit that fits: "29 days".
local function when(found)
  local left = (found.expires - core.now()) // 1000
  local date = os.date("!%Y-%m-%d %H:%M:%S UTC", found.expires // 1000)
  if left < 1 then return "expired on " .. date end
  for _, unit in ipairs(UNITS) do
    local name, seconds = table.unpack(unit)
    local count = left // seconds
    if count > 0 then return ("valid until %s, for %d %s%s"):format(date, count, name, count > 1 and "s" or "") end
  end
end

local function describe(found)
  local whose = found.username and found.username ~= "" and " for " .. found.username or ""
  local server = found.token_url:match "^%a+://[^/]+" or found.token_url
  return terminal.line(("token%s at %s: %s"):format(whose, server, when(found)))
end

local function as_json(found, with_token)
  return json.encode {
    username = found.username, token_url = found.token_url, expires = found.expires, token = with_token and found.token,
  }
end

local function tell(given, found)
  if given.json then
    print(printable.json(as_json(found, given.print or nil)))
  elseif given.print then
    print(found.token)
  else
    print(describe(found))
  end
  return found.expires > core.now() and exit_codes.DONE or exit_codes.REFUSED
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):epilog(EXAMPLES .. exit_codes.HELP)
    command:flag("--print", "Print the token, and nothing else.")
    command:flag("--force", "Print it even to a terminal.")
    command:mutex(
      command:option("--save", "Save the token in this file, readable for its owner alone; a bot's option "
        .. "token_file reads it from there."):argname "FILE",
      command:option("--show", "Describe the token in this file. The exit code is 1 if it has expired.")
        :argname "FILE")
    command:flag("--json", "Print an object; expires is in UNIX milliseconds.")
    connection.describe(command, "token-file")
  end,
  run = function(given)
    if given.print and not given.force and terminal.output() then
      return exit_codes.complain(NAME, "will not print a token to a terminal: redirect it, use --save FILE, or "
        .. "print it anyway with --force", exit_codes.MISUSE)
    end
    local found, code
    if given.show then found, code = read(given.show) else found, code = ask(given) end
    if not found then return code end
    return given.save and save(found, given.save) or tell(given, found)
  end,
}
