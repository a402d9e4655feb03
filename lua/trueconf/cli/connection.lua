-- SPDX-License-Identifier: MIT
-- Shared by the commands that talk to a server: the flags for server and account, and the connection. Precedence of
-- settings: flags, then the environment, then the config file. No flag takes a password or a token: other users of
-- the machine could read them in the list of processes.

local client = require "trueconf.client"
local config = require "trueconf.client.settings"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local web = require "trueconf.base.web"

local DEFAULT_TIMEOUT = 30              -- seconds
local LONGEST_PASSWORD = 4096           -- bytes

local connection = {}

local function header(text)
  local name, value = text:match "^([^:]+):[ \t]*(.-)[ \t]*$"
  if name then return { name = name, value = value } end
  return nil, "option '--header' must be 'Name: value'"
end

local function seconds(text)
  local value = tonumber(text)
  if value and value > 0 and value < math.huge then return value end
  return nil, ("option '--timeout' must be a number of seconds, got '%s'"):format(text:sub(1, 64))
end

-- Flags that are options of a client under the same name, with an underscore in place of each hyphen.
local FLAGS = {
  { "url", "URL", "Address of the server, ws://, wss://, http:// or https:// (TRUECONF_URL; the local Bridge)." },
  { "username", "LOGIN", "Login of the account (TRUECONF_USERNAME)." },
  { "token-file", "FILE", "Keep the token in this file between calls." },
  { "oauth-client-id", "ID", "Id of an OAuth application, for servers without login by password "
    .. "(TRUECONF_OAUTH_CLIENT_ID)." },
  { "web-url", "URL", "Web port of the server, if it is not that of --url (TRUECONF_WEB_URL)." },
  { "ca-file", "FILE", "PEM file of the authority that signed the server's certificate (TRUECONF_CA_FILE)." },
  { "proxy", "URL", "HTTP proxy, http://[USER:PASSWORD@]HOST:PORT; '' for none (https_proxy and its like)." },
}

---Add the flags to a command, below the command's own flags, which must have been added before.
---@param command table of argparse
---@param without? string a flag that has no meaning for it
function connection.describe(command, without)
  local added = {}
  command:group("Options", table.unpack(command._options))
  for _, described in ipairs(FLAGS) do
    local name, value, meaning = table.unpack(described)
    if name ~= without then
      added[#added + 1] = command:option("--" .. name, meaning):argname(value):overwrite(false)
    end
  end
  added[#added + 1] = command:option("--password-file",
    "File with the password in its first line; else it comes from TRUECONF_PASSWORD or the config file."):argname "FILE"
  added[#added + 1] = command:option("--header", "Further header for every request, such as 'Origin: "
    .. "https://chat.example.com'; may be repeated, and others of this machine can see it."):argname("HEADER")
    :count "*":convert(header)
  added[#added + 1] = command:flag("--allow-plaintext", "Send password and token unencrypted to another machine.")
  local meaning = ("Longest time for connecting, and for each request (%d)."):format(DEFAULT_TIMEOUT)
  added[#added + 1] = command:option("--timeout", meaning):argname("SECONDS"):convert(seconds)
  command:group("Connection", table.unpack(added))
end

-- Settings ----------------------------------------------------------------------------------

-- The first line of a file. No message holds a part of the file.
local function read_password(path)
  local text, err = core.read_private(path, LONGEST_PASSWORD)
  if not text then return nil, "--password-file: " .. (err and err.message or "there is no file " .. path) end
  local password = text:match "^[^\r\n]*"
  if password == "" then return nil, ("--password-file: %s has no password in its first line"):format(path) end
  return password
end

local SPELLED = { password = "--password-file", token = "--token-file", headers = "--header" }

-- A complaint about options, in the words of the flags.
local function reworded(complaint)
  local text = tostring(complaint):gsub("^[^ ]+:%d+: ", ""):gsub("^trueconf%.client: ", ""):gsub("^CONFIG: ", "")
  text = text:gsub(": the [%l_]*url must", " must")
  text = text:gsub("'allow_plaintext'", "--allow-plaintext"):gsub("the option ", "option ")
  return (text:gsub("option '([%w_]+)'", function(name)
    return SPELLED[name] or "--" .. name:gsub("_", "-")
  end))
end

-- The option `headers`, if the flag was given.
local function headers_of(given)
  if not given.header or not given.header[1] then return nil end
  local headers = {}
  for _, one in ipairs(given.header) do
    if headers[one.name] then return nil, ("--header has '%s' twice"):format(one.name) end
    headers[one.name] = one.value
  end
  local ok, expected = web.are_headers(headers)
  return ok and headers or nil, not ok and "--header " .. expected or nil
end

---Make the options of a client from the flags.
---@param given table<string, any>
---@return trueconf.ClientOptions? options
---@return string? complaint
function connection.options(given)
  local timeout = given.timeout or DEFAULT_TIMEOUT
  local options = {
    allow_plaintext = given.allow_plaintext, call_timeout = timeout, max_denials = 1,
    log = (os.getenv "TRUECONF_LOG" or "") == "" and "error" or nil,
  }
  for _, described in ipairs(FLAGS) do
    local name = described[1]:gsub("-", "_")
    options[name] = given[name]
  end
  local complaint
  options.headers, complaint = headers_of(given)
  if complaint then return nil, complaint end
  if not given.password_file then return options end
  local password
  password, complaint = read_password(given.password_file)
  options.password = password
  return password and options, complaint
end

---Resolve all settings: flags, environment and config file.
---@param options trueconf.ClientOptions
---@return trueconf.Settings? settings
---@return table<string, string>|string sources where each came from, or a complaint
function connection.settings(options)
  local settings, sources = config.resolve(options)
  if not settings then return nil, reworded(sources) end
  for name, source in pairs(sources) do sources[name] = reworded(source) end
  return settings, sources
end

---@param options trueconf.ClientOptions
---@param callbacks? { on_state: function?, on_request: function? }
---@return trueconf.Client? client
---@return string? complaint
function connection.client(options, callbacks)
  local ok, made = pcall(client.new, options, callbacks, 1)
  if ok then return made end
  return nil, reworded(made)
end

-- Connecting --------------------------------------------------------------------------------

---@class trueconf.cli.Callbacks the callbacks of a session, with the client as an additional first argument
---@field on_state fun(client: trueconf.Client, new: trueconf.State, old: trueconf.State, err: trueconf.Error?)
---@field on_request fun(client: trueconf.Client, method: string, payload: any, id: integer, epoch: integer)

---Make a client and connect it. A failure of the first attempt is returned, not tried again.
---@async
---@param options trueconf.ClientOptions
---@param callbacks? trueconf.cli.Callbacks
---@param timeout? number seconds
---@return trueconf.Client? client
---@return string|trueconf.Error? why a complaint about the settings, or an error
function connection.open(options, callbacks, timeout)
  local over = core.waiter()
  local made, complaint
  made, complaint = connection.client(options, {
    on_state = function(new, old, err)
      if new == "ready" then over:wake(true) end
      if new == "backoff" or new == "failed" then over:wake(nil, err) end
      if callbacks then callbacks.on_state(made, new, old, err) end
    end,
    on_request = callbacks and function(...) callbacks.on_request(made, ...) end,
  })
  if not made then return nil, complaint end
  made:start()
  local ok, err = over:wait(timeout or DEFAULT_TIMEOUT)
  if ok then return made end
  made:stop()
  return nil, err
end

---The same for a command: without a connection it prints the error and returns the exit code.
---@async
---@param command string
---@param given table<string, any> values of the flags
---@param callbacks? trueconf.cli.Callbacks
---@param more? trueconf.ClientOptions
---@return trueconf.Client? client
---@return integer? code
---@return trueconf.Error? err
function connection.of_command(command, given, callbacks, more)
  local options, why = connection.options(given)
  for name, value in pairs(options and more or {}) do options[name] = value end
  local made
  if options then made, why = connection.open(options, callbacks, given.timeout) end
  if made then return made end
  if type(why) == "string" then return nil, exit_codes.complain(command, why, exit_codes.MISUSE) end
  return nil, exit_codes.fail(command, why), why
end

return connection
