-- SPDX-License-Identifier: MIT
-- The flags of `trueconf bridge`. With an underscore in place of each hyphen, the name of a flag is the name of an
-- option of bridge.start(), which checks the value. A flag that begins with no- makes its option false, a flag without
-- a value makes it true.

local UNITS = { [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30 }

local function whole(text)
  local value = text:find "^-?%d+$" and math.tointeger(tonumber(text))
  if value then return value end
  return nil, "a whole number"
end

local function seconds(text)
  local value = tonumber(text)
  if value then return value end
  return nil, "a number of seconds"
end

local function bytes(text)
  local digits, unit = text:match "^(%d+)([KMG]?)$"
  local value = digits and math.tointeger(tonumber(digits))
  if value and value <= math.maxinteger >> 30 then return value * UNITS[unit] end
  return nil, "a number of bytes, such as 2000, 64K or 10M"
end

local LEVELS = { debug = true, info = true, warn = true, error = true, off = true }

local function log_level(text)
  if LEVELS[text] then return text end
  return nil, "one of debug, info, warn, error, off"
end

---@class trueconf.cli.BridgeFlag
---@field name string without "--"
---@field value string|false|nil name of its value in the help
---@field meaning string
---@field convert? fun(text: string): any?, string? the value of a text, or nil and what was expected
---@field many? boolean may be given again

local function flag(name, value, meaning, convert)
  return { name = name, value = value, meaning = meaning, convert = convert }
end

local function many(name, value, meaning)
  return { name = name, value = value, meaning = meaning, many = true }
end

---@type { title: string, [integer]: trueconf.cli.BridgeFlag }[]
local GROUPS = {
  { title = "Server",
    flag("host", "HOST", "Address to listen on (127.0.0.1)."),
    flag("port", "PORT", "Port to listen on, 0 for any free one (4309).", whole),
    flag("server-name", "NAME", "Name that follows the '@' of a TrueConf ID (localhost)."),
    flag("data", "DIR", "Folder that keeps accounts, chats and files; it is made when it is missing."),
    flag("tls-cert", "FILE", "PEM file of a certificate; with one the server speaks wss and https."),
    flag("tls-key", "FILE", "PEM file of the key of the certificate."),
    flag("log", "LEVEL", "How much the server logs: debug, info, warn, error or off (info).", log_level),
  },
  { title = "Accounts",
    many("accounts", "FILE", "File of accounts, a line for each: login = password; readable for its owner alone. May "
      .. "be repeated."),
    many("account", "LOGIN:PASSWORD", "One account. May be repeated. Other users of this machine can see "
      .. "the password in the list of processes; --accounts hides it."),
    flag("login-failures", "COUNT", "Failed logins of an account after which it gets 429; 0: no limit (10).", whole),
    flag("address-failures", "COUNT", "Failed logins of an address after which it gets 429; 0: no limit (100).", whole),
    flag("login-window", "SECONDS", "Time in which failed logins are counted (60).", seconds),
    flag("password-cost", "STEP", "Cost of the password hash, from 1 to 11 (5).", whole),
  },
  { title = "Accounts in an LDAP directory",
    flag("ldap-url", "URL", "Address of the directory that checks passwords: ldap://, ldaps:// or ldapi://."),
    flag("ldap-bind-dn", "DN", "DN of a user, with %s in place of the login: uid=%s,ou=people,dc=acme,dc=test."),
    flag("ldap-start-tls", false, "Turn a connection to ldap:// into TLS first."),
    flag("ldap-ca-file", "FILE", "PEM file of trusted authorities, in place of those of the system."),
    flag("ldap-timeout", "SECONDS", "Longest time for one login (5).", seconds),
    flag("ldap-display-name", "NAME", "Attribute that holds the display name."),
    flag("ldap-allow-plaintext", false, "Send passwords unencrypted to another machine."),
  },
  { title = "Behaviour of the played server",
    flag("version", "VERSION", "Version that the server behaves like: 5.5.0, 5.5.2, 5.5.3, 5.5.4 or 5.5.6 (5.5.6)."),
    flag("token-status", "STATUS", "HTTP status of an answer with a token, 200 or 201 (201).", whole),
    flag("bad-password-status", "STATUS", "HTTP status of the answer to a wrong password, 400 or 401 (400).", whole),
    flag("token-lifetime", "SECONDS", "Time for which an access token is valid (30 days).", seconds),
    flag("expires-in", "SECONDS", "Lifetime that the answer with a token names (31536000).", whole),
    flag("no-password-login", false, "Answer every password login with 403, as a server that forbids it."),
    many("oauth-application", "ID=SCOPES", "An application of the OAuth2 exchange, with its scopes after commas: "
      .. "tools=version:read. May be repeated."),
    flag("no-server-info", false, "Do not serve /api/v4/server and /vsstatus, where a server tells its version."),
    flag("echo", "WHOM", "Connections that get the notification of a request: all, or only others than its own (all)."),
    flag("command-ids", false, "Give clicks an id, so that bots can answer them."),
    flag("legacy-silence", false, "Give no answer where error 399 is due, as servers before 5.5.6 do."),
    flag("no-legacy-silence", false, "Answer with error 399 in every version."),
    flag("strict", false, "Close a connection that breaks the protocol."),
    flag("long-text", "WAY", "Way to treat texts that are too long: cut or refuse (cut)."),
    flag("edit-window", "SECONDS", "Time in which a message may be edited, such as 172800; 0: always (0).", seconds),
    flag("ping-interval", "SECONDS", "Time between two pings of a connection; 0 sends none (5).", seconds),
    flag("max-missed-pongs", "COUNT", "Unanswered pings after which a connection is dropped (3).", whole),
    flag("ack-timeout", "SECONDS", "Time in which a connection must acknowledge; 0: any time (0).", seconds),
  },
  { title = "Limits",
    flag("upload-max-size", "BYTES", "Largest file that may be uploaded.", bytes),
    many("upload-allow", "EXTENSION", "Allow only files with this extension. May be repeated."),
    many("upload-block", "EXTENSION", "Refuse files with this extension. May be repeated."),
    flag("history-limit", "COUNT", "Messages kept of each chat (10000).", whole),
    flag("unread-limit", "COUNT", "Unread messages kept of each account (10000).", whole),
    flag("redelivery-limit", "COUNT", "Unread messages delivered to a new connection (1000).", whole),
    flag("max-connections", "COUNT", "Most WebSocket connections at a time (128).", whole),
    flag("max-http-connections", "COUNT", "Most HTTP connections at a time (1024).", whole),
    flag("address-connections", "COUNT", "Most HTTP connections of one address, and most WebSocket connections that "
      .. "have not authorized; 0: any number (256, and any number from loopback).", whole),
    flag("account-connections", "COUNT", "Most WebSocket connections of one account; 0: any number (64).", whole),
    flag("auth-timeout", "SECONDS", "Time in which a WebSocket connection must authorize; 0: any time (30).", seconds),
    flag("max-frame", "BYTES", "Largest WebSocket message that is read (1M).", bytes),
    flag("max-body", "BYTES", "Largest HTTP request that is read, other than a file (1M).", bytes),
    flag("max-unsent", "BYTES", "Most unsent data for a client that does not read (16M).", bytes),
  },
  { title = "Control",
    many("fault", "NAME=VALUE", "Make something go wrong on purpose: drop=0.01, delay=0.2, silent, "
      .. "silence.getChats=1, ... docs/reference.md lists them. May be repeated."),
    flag("seed", "NUMBER", "Seed of random faults; the same seed repeats a run.", whole),
    flag("control", false, "Serve the control endpoint under /control/ to programs on loopback that have its "
      .. "key; the key is printed to the standard error."),
    flag("control-key-file", "FILE", "Serve the control endpoint with the key in the first line of this file, which "
      .. "must be readable for its owner alone; it is made, with a new key, when it is missing."),
  },
}

local flags = { GROUPS = GROUPS }

-- The option that a flag sets, and the value it sets when the flag takes none.
local function target_of(described)
  local name = described.name:gsub("-", "_")
  local positive = name:match "^no_(.*)$"
  return positive or name, positive == nil
end

local function converter(described)
  return function(text)
    local value, expected = described.convert(text)
    if value ~= nil then return value end
    return nil, ("option '--%s' must be %s, got '%s'"):format(described.name, expected, text:sub(1, 64))
  end
end

local function add(command, described)
  local target, value = target_of(described)
  local option = command:option("--" .. described.name, described.meaning):target(target)
  if not described.value then
    return option:args(0):action(function(result) result[target] = value end)
  end
  option:argname(described.value)
  if described.convert then option:convert(converter(described)) end
  if described.many then return option:count("*"):init(nil) end
  return option:overwrite(false)
end

-- Flags that exclude each other.
local EITHER = { { "upload-allow", "upload-block" }, { "legacy-silence", "no-legacy-silence" } }

---Add all flags, in their groups.
---@param command table of argparse
function flags.add(command)
  local by_name = {}
  for _, group in ipairs(GROUPS) do
    local options = {}
    for index, described in ipairs(group) do
      options[index] = add(command, described)
      by_name[described.name] = options[index]
    end
    command:group(group.title, table.unpack(options))
  end
  for _, pair in ipairs(EITHER) do command:mutex(by_name[pair[1]], by_name[pair[2]]) end
end

-- From flags to options -----------------------------------------------------------------------

-- Flags that are not the option of the same name.
local OTHERS = { accounts = true, account = true, fault = true, seed = true, control = true, log = true }
local PREFIXES = { "^ldap_", "^tls_", "^upload_", "^control_", "^oauth_" }

local function is_plain(name)
  if OTHERS[name] then return false end
  for _, prefix in ipairs(PREFIXES) do
    if name:find(prefix) then return false end
  end
  return true
end

-- The given flags whose names begin with a prefix, without that prefix; nil: none.
local function part(given, prefix)
  local found = {}
  for name, value in pairs(given) do
    local rest = type(name) == "string" and name:match("^" .. prefix .. "_(.*)$")
    if rest then found[rest] = value end
  end
  return next(found) and found or nil
end

local function upload_limits(given)
  local wanted = part(given, "upload")
  if not wanted then return nil end
  local mode = wanted.allow and "allow" or wanted.block and "block"
  return { max_size = wanted.max_size, extensions = mode and { mode = mode, list = wanted[mode] } }
end

local function tls(given)
  local wanted = part(given, "tls")
  return wanted and { cert_file = wanted.cert, key_file = wanted.key }
end

local function applications(given)
  local found = {}
  for _, text in ipairs(given.oauth_application or {}) do
    local id, list = text:match "^([^=]*)=?(.*)$"
    found[id] = { scopes = {} }
    for scope in list:gmatch "[^,]+" do table.insert(found[id].scopes, scope) end
  end
  return next(found) and found or nil
end

---The options of bridge.start(), except for the options that are read from files.
---@param given table<string, any> what argparse gives
---@return trueconf.bridge.Options
function flags.options(given)
  local options = {}
  for _, group in ipairs(GROUPS) do
    for _, described in ipairs(group) do
      local name = target_of(described)
      if is_plain(name) then options[name] = given[name] end
    end
  end
  options.host, options.port = options.host or "127.0.0.1", options.port or 4309
  options.upload_limits, options.tls = upload_limits(given), tls(given)
  options.oauth_applications = applications(given)
  options.log = given.log and { level = given.log }
  return options
end

---The LDAP directory that checks passwords, if one is given.
---@param given table<string, any>
---@return trueconf.bridge.DirectoryOptions?
function flags.directory(given)
  return part(given, "ldap")
end

-- The flags of the options of each part.
local SPELLED = {
  ["accounts: ldap"] = "--ldap-%s", ["bridge.start: upload_limits"] = "--upload-%s",
  ["bridge.start: tls"] = "--tls-%s", ["bridge.start"] = "--%s",
}
local RENAMED = { cert_file = "cert", key_file = "key" }

---A complaint about options, in the words of the flags.
---@param complaint string
---@return string
function flags.reworded(complaint)
  local text = complaint:gsub("^[^ ]+:%d+: ", "")
  local where, name, rest = text:match "^(.-): option '([%w_]+)' (.*)$"
  local spelled = SPELLED[where]
  if not spelled then return (text:gsub("^bridge.start: ", "")) end
  return spelled:format(((RENAMED[name] or name):gsub("_", "-"))) .. " " .. rest
end

return flags
