-- A client: one account's standing connection and the calls that go over it. The core
-- keeps the connection; this file turns tables into frames and back.
-- SPDX-License-Identifier: MIT

local config = require "trueconf.config"
local core = require "trueconf.core"
local Error = require "trueconf.error"
local json = require "trueconf.json"
local log = require "trueconf.log"
local options = require "trueconf.options"
local protocol = require "trueconf.protocol"
local url = require "trueconf.url"

local READS = protocol.READS

---Options of the connection; trueconf.bot takes them too.
---@class trueconf.ClientOptions
---@field url? string ws://, wss://, http:// or https://, port 4309 or 443 by default; none: the local Bridge
---@field username? string
---@field password? string
---@field token? string|fun():string?,any a ready token, or a function that waits and returns one
---@field token_file? string keep the token here between runs, mode 0600
---@field ca_file? string PEM file of the authority that signed the server's certificate
---@field tls? trueconf.core.TlsOptions
---@field proxy? string http://[user:password@]host:port
---@field allow_plaintext? boolean let password and token go unencrypted to another machine
---@field receive_unread? boolean ask for what came while the bot was away; default true
---@field receive_system? boolean also receive system messages; default false
---@field log? trueconf.Log|string a logger or a level
local SCHEMA = {
  url = { type = "string", check = url.parse },
  username = { type = "string" },
  password = { type = "string" },
  token = { type = "string|function" },
  token_file = { type = "string" },
  ca_file = { type = "string" },
  tls = { type = "table" },
  proxy = { type = "string" },
  allow_plaintext = { type = "boolean" },
  receive_unread = { type = "boolean", default = true },
  receive_system = { type = "boolean", default = false },
  connect_timeout = { type = "number", min = 0.001 },
  token_timeout = { type = "number", min = 0.001 },
  auth_timeout = { type = "number", min = 0.001 },
  close_timeout = { type = "number", min = 0 },
  call_timeout = { type = "number", min = 0.001 },
  ping_interval = { type = "number", min = 0 },
  pong_timeout = { type = "number", min = 0.001 },
  backoff_min = { type = "number", min = 0.001 },
  backoff_max = { type = "number", min = 0.001 },
  backoff_jitter = { type = "number", min = 0 },
  max_denials = { type = "integer", min = 1 },
  window = { type = "integer", min = 1, max = 65536 },
  queue = { type = "integer", min = 0 },
  max_frame = { type = "integer", min = 125 },
  max_unsent = { type = "integer", min = 4096 },
  on_trace = { type = "function" },
  log = { type = "table|string" },
}

-- Options the core's session takes under the same name.
local FOR_SESSION = {
  "token_file", "proxy", "allow_plaintext", "receive_unread", "receive_system", "connect_timeout", "token_timeout",
  "auth_timeout", "close_timeout", "call_timeout", "ping_interval", "pong_timeout", "backoff_min", "backoff_max",
  "backoff_jitter", "max_denials", "window", "queue", "max_frame", "max_unsent", "on_trace",
}

---@class trueconf.Client
---@field session trueconf.core.Session
---@field log trueconf.Log
local Client = {}
Client.__index = Client

-- What the core needs, from checked options and resolved settings.
local function session_options(given, settings)
  local endpoints = url.endpoints(assert(url.parse(settings.url)))
  local session = { url = endpoints.socket, token_url = endpoints.token }
  for _, name in ipairs(FOR_SESSION) do session[name] = given[name] end
  session.tls = given.tls or {}
  session.tls.ca_file = session.tls.ca_file or settings.ca_file
  session.username, session.password = settings.username, settings.password
  if type(settings.token) == "function" then
    session.token_source = settings.token
  else
    session.token = settings.token
  end
  return session
end

local function check_credentials(settings, level)
  if settings.token then return end
  for _, name in ipairs { "username", "password" } do
    if not settings[name] then
      error(("no %s: set the option '%s', the environment variable TRUECONF_%s, or a config file"):format(
        name, name, name:upper()), level + 1)
    end
  end
end

local function make_log(given)
  if type(given) == "string" then return log.new { level = given } end
  return given or log.new()
end

-- A flood of the same oddity is held down: the 1st, 10th, 100th, ... of a kind is logged.
local function log_oddity(self, kind, count, text)
  if 10 ^ math.floor(math.log(count, 10) + 1e-9) == count then
    self.log:warn("%s: ignored %s (%d so far): %s", self.url, kind, count, text)
  end
end

-- The core's message begins with its own place in the source; say it at the caller's.
local function make_session(given, level)
  local ok, session = pcall(core.session, given)
  if not ok then error(tostring(session):gsub("^[^:]+:%d+: ", ""), level + 1) end
  return session
end

---@param given? trueconf.ClientOptions
---@param callbacks? { on_state: function?, on_request: function? } for the layer above
---@param level? integer the stack level to blame for a mistake; default 2
---@return trueconf.Client
local function new(given, callbacks, level)
  level = (level or 2) + 1
  given = options.check(SCHEMA, given or {}, level, "trueconf.client")
  local settings, sources = config.resolve(given)
  if not settings then error(tostring(sources), level) end
  check_credentials(settings, level)
  local self = setmetatable({ log = make_log(given.log), url = settings.url }, Client)
  local session = session_options(given, settings)
  for name, callback in pairs(callbacks or {}) do session[name] = callback end
  self.oddity_logger = function(kind, count, text) log_oddity(self, kind, count, text) end
  session.on_oddity = self.oddity_logger
  self.session = make_session(session, level)
  return self
end

---Start connecting; returns at once. See wait_ready.
function Client:start()
  self.session:start()
end

---Close the connection; calls in flight settle with CLOSED.
---@async
function Client:stop()
  self.session:stop()
end

---@return trueconf.State
function Client:state()
  return self.session:state()
end

---Wait until the connection is authorized.
---@async
---@param timeout? number seconds
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED, or why the session failed
function Client:wait_ready(timeout)
  return self.session:wait_ready(timeout)
end

---The TrueConf ID of this account, without the part that names the connection; nil before
---the first authorization.
---@return string?
function Client:user_id()
  local id = self.session:user_id()
  return id and id:match "^[^/]*"
end

---@class (exact) trueconf.CallOptions
---@field timeout? number seconds; default the option call_timeout
---@field read? boolean repeat the request by itself after a lost connection; known for reading methods

---Call any method with any payload.
---@async
---@param method string the wire's name, as in "sendMessage"
---@param payload? table
---@param opts? trueconf.CallOptions
---@return table? result the payload of the response
---@return trueconf.Error? err a server code by name, TIMEOUT, DISCONNECTED, CLOSED, LIMIT; `outcome` tells whether
---the request was carried out
function Client:call(method, payload, opts)
  local body, mistake = json.encode(payload or {})
  if not body then return nil, mistake end
  local read = READS[method] or false
  if opts and opts.read ~= nil then read = opts.read end
  local answer, err = self.session:request(method, body, opts and opts.timeout, read)
  if not answer then return nil, err end
  if answer == "{}" then return {} end
  return json.decode(answer)
end

---@class (exact) trueconf.SendOptions
---@field parse_mode? "text"|"markdown"|"html" default "text"
---@field reply_to? string id of the message this one answers
---@field timeout? number seconds

---@class trueconf.Sent
---@field id string
---@field chat_id string
---@field timestamp integer milliseconds

local SEND_SCHEMA = {
  parse_mode = { type = "string", enum = protocol.PARSE_MODES },
  reply_to = { type = "string" },
  timeout = { type = "number", min = 0.001 },
}

-- What a sent message answers to: the wire's names and ours, without a second table.
local sent_names = { id = "messageId", chat_id = "chatId" }
local sent_meta = {
  __name = "trueconf.Sent",
  __index = function(self, key)
    local name = sent_names[key]
    return name and rawget(self, name)
  end,
}

local function bad_argument(name, expected, value)
  error(("bad argument '%s': %s expected, got a %s"):format(name, expected, type(value)), 3)
end

---Send a text message (protocol 6.1, sendMessage).
---@async
---@param chat_id string
---@param text string
---@param opts? trueconf.SendOptions
---@param reply_to? string the same as opts.reply_to
---@return trueconf.Sent? sent
---@return trueconf.Error? err
function Client:send_message(chat_id, text, opts, reply_to)
  if type(chat_id) ~= "string" then bad_argument("chat_id", "a string", chat_id) end
  if type(text) ~= "string" then bad_argument("text", "a string", text) end
  local parse_mode, timeout = "text", nil
  if opts then
    opts = options.check(SEND_SCHEMA, opts, 2, "send_message")
    parse_mode, reply_to, timeout = opts.parse_mode or "text", opts.reply_to or reply_to, opts.timeout
  end
  local body, mistake = json.encode {
    chatId = chat_id, replyMessageId = reply_to, content = { text = text, parseMode = parse_mode },
  }
  if not body then return nil, mistake end
  local answer, err = self.session:request("sendMessage", body, timeout)
  if not answer then return nil, err end
  local sent, damage = json.decode(answer)
  if not sent then return nil, damage end
  return setmetatable(sent, sent_meta)
end

---The personal chat with a user; the same one each time (protocol 6.2, createP2PChat).
---@async
---@param user_id string login@server
---@return string? chat_id
---@return trueconf.Error? err
function Client:create_p2p_chat(user_id)
  local result, err = self:call("createP2PChat", { userId = user_id })
  if not result then return nil, err end
  return result.chatId
end

---@async
---@param user_id string login@server
---@return string? name
---@return trueconf.Error? err
function Client:get_user_display_name(user_id)
  local result, err = self:call("getUserDisplayName", { userId = user_id })
  if not result then return nil, err end
  return result.displayName
end

return { new = new, Client = Client, SCHEMA = SCHEMA, Error = Error }
