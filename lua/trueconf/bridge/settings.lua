-- SPDX-License-Identifier: MIT
-- The options of a Bridge at its start.

local log = require "trueconf.log"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local upload_limits = require "trueconf.bridge.files.limits"
local accounts = require "trueconf.bridge.accounts"
local directory = require "trueconf.bridge.accounts.ldap"

local DAY = 86400
local MEBIBYTE = 1024 * 1024

---@class trueconf.bridge.AccountSpec
---@field password? string
---@field password_hash? string in place of `password`, "$y$..."
---@field display_name? string default the login
---@field disabled? boolean

---@class (exact) trueconf.bridge.OAuthApplication
---@field scopes? string[] such as "version:read", which is enough; without any the exchange is refused

---@class trueconf.bridge.Options
---@field host? string default "127.0.0.1"
---@field port? integer default 0: any free one
---@field server_name? string name after the '@' of a TrueConf ID; default "localhost"
---@field accounts? table<string, string|trueconf.bridge.AccountSpec> by login; `ldap` with a
---trueconf.bridge.DirectoryOptions means that a directory checks the passwords
---@field data? string folder for the data that outlives the Bridge: accounts (also those of `trueconf bridge user`),
---chats, messages, files, the key that signs tokens. Made when it is missing; needs lua-dbi. Default: all data is in
---memory
---@field password_cost? integer 1 to 11, of hashing passwords by yescrypt, doubling with each step; default 5
---@field login_failures? integer failed logins of one account in `login_window` after which it gets 429 (rate limit);
---0: any number; default 10
---@field address_failures? integer the same for one address; default 100
---@field login_window? number seconds; default 60
---@field server_info? boolean answer `GET /api/v4/server` and `/vsstatus`, as the web server beside a real Bridge
---does; false: 404, as the Bridge itself; default true
---@field state? trueconf.bridge.Store result of state() of a stopped Bridge
---@field tls? { cert_file: string, key_file: string }
---@field max_connections? integer WebSocket connections; above that the oldest unauthorized one is closed, else the
---upgrade is answered 503; default 128
---@field max_http_connections? integer HTTP connections; above that the longest idle one is closed, else the slowest;
---default 1024
---@field address_connections? integer HTTP connections, and WebSocket connections that have not authorized, of one
---address; 0: any number; default 256, and any number from loopback
---@field account_connections? integer WebSocket connections of one account; the next one is closed with 1008; 0: any
---number; default 64
---@field auth_timeout? number seconds in which a connection has to authorize, else it is closed with 1008; 0: any time;
---default 30
---@field max_frame? integer bytes; default 1 MiB
---@field max_body? integer bytes; default 1 MiB
---@field max_unsent? integer bytes; default 16 MiB
---@field ping_interval? number seconds; 0: none; default 5
---@field max_missed_pongs? integer default 3
---@field ack_timeout? number seconds after which a connection that does not ack a notification is closed with 1008;
---0: never, which is the default, because the behaviour of servers is not published
---@field token_lifetime? number seconds; default 30 days
---@field expires_in? integer lifetime in the token response; default 31536000, as servers say
---@field token_status? 200|201 HTTP status of the token response; default 201
---@field bad_password_status? 400|401 HTTP status of `invalid_grant`; default 400
---@field password_login? boolean default true; false: 403 `auth_method_disabled`, which leaves the OAuth2 exchange
---@field oauth_applications? table<string, trueconf.bridge.OAuthApplication> by client id, for the OAuth2 exchange of
---servers from 5.5.3 on; default: none
---@field echo? "all"|"others" "all": the acting connection gets the notification of its own action, too; default "all"
---@field strict? boolean close the connection on odd input; default false
---@field version? "5.5.0"|"5.5.2"|"5.5.3"|"5.5.4"|"5.5.6" version of the played server; default "5.5.6"
---@field legacy_silence? boolean no answer at all where error 399 is due; default: as servers before 5.5.6 do
---@field redelivery_limit? integer unread messages delivered after `auth`, the oldest ones; the next ones come after
---the next `auth`; default 1000
---@field history_limit? integer messages kept of each chat; default 10000
---@field unread_limit? integer unread messages kept of each account; default 10000
---@field edit_window? number seconds in which a message may be edited; 0: always, which is the default: administrators
---set a window (48 hours unless they change it), but the apps enforce it, not the server
---@field upload_limits? trueconf.bridge.UploadLimits sent after `auth`; default: none
---@field command_ids? boolean give clicks a `commandId`, so that they can be answered; default false, as 5.5.6 does
---@field long_text? "cut"|"refuse" treatment of more than 4096 visible characters: cut silently, as servers do, or
---answer 399; default "cut"
---@field control? { key: string|true } answer the control endpoint under /control/, to clients on loopback with the key
---of 16 to 128 visible characters; true: make a key, which control_key() returns
---@field log? trueconf.Log|trueconf.LogOptions|string errors of the Bridge itself; at level "debug" refused
---requests too

local VERSIONS = {}
for index, row in ipairs(protocol.versions.MATRIX) do VERSIONS[index] = row.version end

local SCHEMA = {
  host = { type = "string", default = "127.0.0.1", check = options.is_filled },
  port = { type = "integer", default = 0, min = 0, max = 65535 },
  server_name = { type = "string", check = options.is_filled },
  accounts = { type = "table" },
  data = { type = "string", check = options.is_filled },
  password_cost = { type = "integer", default = 5, min = 1, max = 11 },
  login_failures = { type = "integer", default = 10, min = 0 },
  address_failures = { type = "integer", default = 100, min = 0 },
  login_window = { type = "number", default = 60, min = 1 },
  server_info = { type = "boolean", default = true },
  state = { type = "table", check = function(state)
    return type(state.set_server_name) == "function", "must be what state() of a stopped Bridge has returned"
  end },
  tls = { type = "table" },
  max_connections = { type = "integer", default = 128, min = 1, max = MEBIBYTE },
  max_http_connections = { type = "integer", default = 1024, min = 1, max = MEBIBYTE },
  address_connections = { type = "integer", min = 0, max = MEBIBYTE },
  account_connections = { type = "integer", default = 64, min = 0, max = MEBIBYTE },
  auth_timeout = { type = "number", default = 30, min = 0, max = 86400 },
  max_frame = { type = "integer", default = MEBIBYTE, min = 1, max = 1024 * MEBIBYTE },
  max_body = { type = "integer", default = MEBIBYTE, min = 1, max = 1024 * MEBIBYTE },
  max_unsent = { type = "integer", default = 16 * MEBIBYTE, min = 1, max = 1024 * MEBIBYTE },
  ping_interval = { type = "number", default = 5, min = 0, max = 86400 },
  max_missed_pongs = { type = "integer", default = 3, min = 1, max = 1000 },
  ack_timeout = { type = "number", default = 0, min = 0 },
  token_lifetime = { type = "number", default = 30 * DAY },
  expires_in = { type = "integer", default = 365 * DAY },
  token_status = { type = "integer", default = 201, enum = { 200, 201 } },
  bad_password_status = { type = "integer", default = 400, enum = { 400, 401 } },
  password_login = { type = "boolean", default = true },
  oauth_applications = { type = "table", default = {} },
  echo = { type = "string", default = "all", enum = { "all", "others" } },
  strict = { type = "boolean", default = false },
  version = { type = "string", default = protocol.versions.NEWEST, enum = VERSIONS },
  legacy_silence = { type = "boolean" },
  redelivery_limit = { type = "integer", default = 1000, min = 0 },
  history_limit = { type = "integer", default = 10000, min = 1 },
  unread_limit = { type = "integer", default = 10000, min = 1 },
  edit_window = { type = "number", default = 0, min = 0 },
  upload_limits = { type = "table", default = {} },
  command_ids = { type = "boolean", default = false },
  long_text = { type = "string", default = "cut", enum = { "cut", "refuse" } },
  control = { type = "table" },
  log = { type = "table|string", check = log.is_log },
}

local function check_state(state, server_name, folder, level)
  if not state then return end
  if folder then error("state: it cannot be given beside `data`", level + 1) end
  if state.in_use then error("state: the Bridge it belongs to is still running", level + 1) end
  if server_name and server_name ~= state.server_name then
    error(("state: it belongs to server '%s', not '%s'"):format(state.server_name, server_name), level + 1)
  end
end

local TLS_SCHEMA = {
  cert_file = { type = "string", required = true },
  key_file = { type = "string", required = true },
}

local function is_key(key)
  return key == true or type(key) == "string" and key:find "^[!-~]+$" ~= nil and #key >= 16 and #key <= 128,
    "must be true or 16 to 128 visible characters without spaces"
end

local CONTROL_SCHEMA = { key = { type = "string|boolean", required = true, check = is_key } }

local APPLICATION_SCHEMA = { scopes = { type = "table", check = options.is_list_of_strings } }

local function check_applications(applications, level)
  for client_id, application in pairs(applications) do
    if type(client_id) ~= "string" or client_id == "" then
      error("oauth_applications: client ids must be strings, and not empty", level + 1)
    end
    local what = ("bridge.start: oauth_applications: '%s'"):format(client_id)
    options.check(APPLICATION_SCHEMA, application, level + 1, what)
  end
end

-- Moves the directory out of the accounts, to the option that accounts.lua reads.
local function check_accounts(read_options, level)
  local described = read_options.accounts or {}
  read_options.accounts = described
  if type(described.ldap) == "table" and described.ldap.url ~= nil then
    read_options.directory = directory.new(directory.read(described.ldap, level + 1))
    described.ldap = nil
  end
  for login, spec in pairs(described) do
    local complaint = accounts.complaint(login, spec)
    if complaint then error("accounts: " .. complaint, level + 1) end
    if read_options.directory and (type(spec) == "string" or spec.password or spec.password_hash) then
      error(("accounts: account '%s' cannot have a password beside a directory"):format(login), level + 1)
    end
  end
end

---Check the options of a Bridge and fill in the defaults.
---@param given trueconf.bridge.Options
---@param level integer of the caller to blame
---@return table
local function read(given, level)
  local read_options = options.check(SCHEMA, given, level + 1, "bridge.start")
  if read_options.tls then options.check(TLS_SCHEMA, read_options.tls, level + 1, "bridge.start: tls") end
  if read_options.control then
    options.check(CONTROL_SCHEMA, read_options.control, level + 1, "bridge.start: control")
  end
  check_accounts(read_options, level + 1)
  check_applications(read_options.oauth_applications, level + 1)
  upload_limits.check(read_options.upload_limits, level + 1, "bridge.start: upload_limits")
  if read_options.legacy_silence == nil then
    local code = protocol.code_at(protocol.codes.WRONG_PAYLOAD_FORMAT, read_options.version)
    read_options.legacy_silence = code == nil
  end
  check_state(read_options.state, read_options.server_name, read_options.data, level + 1)
  return read_options
end

return { read = read, SCHEMA = SCHEMA }
