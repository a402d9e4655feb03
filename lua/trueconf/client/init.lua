-- SPDX-License-Identifier: MIT
-- A client: the connection of one account and the calls over it. The core keeps the connection; this file turns tables
-- into frames and back. A script holds only the face of a client.

local backoff = require "trueconf.base.backoff"
local config = require "trueconf.client.settings"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local face = require "trueconf.base.face"
local files = require "trueconf.files"
local json = require "trueconf.base.json"
local log = require "trueconf.log"
local message_request = require "trueconf.api.message_request"
local methods = require "trueconf.api.invoke"
local oauth = require "trueconf.client.oauth"
local options = require "trueconf.base.options"
local pages = require "trueconf.api.pages"
local protocol = require "trueconf.protocol"
local hooks = require "trueconf.base.hooks"
local sent_message = require "trueconf.api.sent_message"
local server_version = require "trueconf.api.server_version"
local typing = require "trueconf.api.typing"
local url = require "trueconf.base.url"
local web = require "trueconf.base.web"

local math_type = math.type

local READS = protocol.READS
local MOST_BYTES = 999999999999         -- the core takes sizes below 10^12

---Options of the connection; trueconf.bot takes them too.
---@class trueconf.ClientOptions
---@field url? string ws://, wss://, http:// or https://, port 4309 or 443 by default; none: the local Bridge
---@field username? string login of the bot's account
---@field password? string of the account; username and password, or a token
---@field token? string|fun():string?,any a ready token, or a function that waits and returns one
---@field oauth_client_id? string get the token by the OAuth2 exchange, with this id of an application that the
---administrator has made; for servers from 5.5.3 on without password login
---@field web_url? string address of the server's web port, if it is not that of `url`; used for OAuth and the version
---@field token_file? string keep the token here between runs, mode 0600; the log warns if it cannot be written
---@field ca_file? string PEM file of the authority that signed the server's certificate
---@field tls? trueconf.core.TlsOptions how certificates are checked
---@field proxy? string http://[user:password@]host:port for all connections, "" for none; default: the proxy of the
---environment (http_proxy, https_proxy, all_proxy, no_proxy)
---@field headers? table<string, string> further headers of every request and connection to the server, such as
---{ Origin = "https://chat.example.com" }; a User-Agent replaces ours. Log lines and errors do not hold the values
---@field allow_plaintext? boolean send password and token unencrypted to another machine; default: only to loopback
---@field receive_unread? boolean get the messages that came while the bot was away; default true
---@field receive_system? boolean also receive system messages; default false
---@field retries? integer repetitions of a request after a temporary failure of the server, or when the connection was
---lost before the request was sent; with backoff from 0.5 s, within the deadline; default 4 for bots, else 0
---@field server_version? string such as "5.5.4"; default: the server is asked once, where it answers
---@field log? trueconf.Log|trueconf.LogOptions|string a logger, the options of one, or a level
local SCHEMA = {
  url = { type = "string", check = url.parse },
  username = { type = "string", check = options.is_filled },
  password = { type = "string", check = options.is_filled },
  token = { type = "string|function", check = options.is_filled },
  oauth_client_id = { type = "string", check = options.is_filled },
  web_url = { type = "string", check = url.parse },
  token_file = { type = "string", check = options.is_filled },
  ca_file = { type = "string", check = options.is_filled },
  tls = { type = "table" },
  proxy = { type = "string", check = options.is_filled },
  headers = { type = "table", check = web.are_headers },
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
  max_denials = { type = "integer", min = 1, max = 1000000 },
  window = { type = "integer", min = 1, max = 65536 },
  queue = { type = "integer", min = 0, max = 1000000000 },
  max_frame = { type = "integer", min = 125, max = MOST_BYTES },
  max_unsent = { type = "integer", min = 4096, max = MOST_BYTES },
  on_trace = { type = "function" },
  retries = { type = "integer", min = 0 },
  server_version = { type = "string", check = server_version.is_version },
  log = { type = "table|string", check = log.is_log },
}

-- Options the core's session takes under the same name.
local FOR_SESSION = {
  "token_file", "proxy", "allow_plaintext", "receive_unread", "receive_system", "connect_timeout", "token_timeout",
  "auth_timeout", "close_timeout", "call_timeout", "ping_interval", "pong_timeout", "backoff_min", "backoff_max",
  "backoff_jitter", "max_denials", "window", "queue", "max_frame", "max_unsent", "on_trace",
}

---@class trueconf.Client
---@field log trueconf.Log
---@field url string
---@field package session trueconf.core.Session
---@field package web trueconf.Web
---@field package face table the object that the script holds; the client itself, if no script holds it
---@field package engine trueconf.Engine? of a bot
---@field private version string|false|nil of the server; false: the server does not tell it; nil: not asked yet
---@field private exchange trueconf.oauth.Exchange? source of the token, with OAuth
---@field private limits trueconf.UploadLimits? last ones from the server
---@field package noted_failures table<string, true>? kinds of failed sends that were logged as a warning
local Client = {}

-- For calls without middleware.
local NO_LAYERS = {}

local meta = { __index = Client }

---Mask the secrets in JSON text for the log: addresses of files hold some (protocol: download).
---@param frame string
---@return string
local function masked(frame)
  for _, name in ipairs { "downloadUrl", "avatarUrl" } do
    frame = frame:gsub('("' .. name .. '"%s*:%s*"[^"?]*%?)[^"]*', "%1***")
  end
  return frame
end

-- The core masks the token of `auth`.
local function without_secrets(on_trace)
  return on_trace and function(direction, frame) on_trace(direction, masked(frame)) end
end

-- Makes the options of the core's session from checked options and resolved settings.
local function session_options(given, settings, way, exchange)
  local session = {
    url = way.endpoints.socket, token_url = way.endpoints.token, tls = way.tls, headers = way.headers,
  }
  for _, name in ipairs(FOR_SESSION) do session[name] = given[name] end
  session.on_trace = without_secrets(given.on_trace)
  session.username = settings.username
  if exchange then
    session.token_source = function() return exchange:run() end
  elseif type(settings.token) == "function" then
    session.token_source = settings.token
  else
    session.token, session.password = settings.token, settings.password
  end
  return session
end

-- Makes the exchange that gets the token, with OAuth.
local function make_exchange(given, settings, way, level)
  if settings.token or not settings.oauth_client_id then return nil end
  local address = assert(url.parse(way.endpoints.oauth_token))
  if not address.tls and not address.loopback and not given.allow_plaintext then
    error(("the password would go to %s unencrypted; use https, or set 'allow_plaintext'"):format(address.host),
      level + 1)
  end
  return oauth.new {
    web = way, client_id = settings.oauth_client_id, username = settings.username, password = settings.password,
    connect_timeout = given.connect_timeout, timeout = given.token_timeout,
  }
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

-- A flood of the same anomaly is rate limited: the 1st, 10th, 100th, ... of a kind is logged.
local function log_anomaly(self, kind, count, text)
  if 10 ^ math.floor(math.log(count, 10) + 1e-9) == count then
    self.log:warn("%s: ignored %s (%d so far): %s", self.url, kind, count, text)
  end
end

local function log_unsaved(self, err)
  self.log:warn("%s: the token is not kept, so each start logs in again: %s", self.url, err)
end

-- The core's message begins with a source position of ours; raise it at the caller's line.
local function make_session(given, level)
  local ok, session = pcall(core.session, given)
  if not ok then error(tostring(session):gsub("^[^:]+:%d+: ", ""), level + 1) end
  return session
end

-- The token's file is replaced, so it must be a plain file. If it cannot be written for another reason, each start asks
-- the server for a token.
local function check_token_file(path, level)
  local target, err = core.file_target(path)
  if not target then error(("CONFIG: option 'token_file': %s"):format(err.message), level + 1) end
end

---Make a client without a face.
---@param given? trueconf.ClientOptions
---@param callbacks? { on_state: function?, on_request: function? } for the layer above
---@param level? integer the stack level to blame for a mistake; default 2
---@return trueconf.Client
---@return trueconf.Settings settings
local function new(given, callbacks, level)
  level = (level or 2) + 1
  given = options.check(SCHEMA, given or {}, level, "trueconf.client")
  if hooks.settings then given = hooks.settings(given) end
  for name, value in pairs(hooks.flags or {}) do given[name] = value end
  local elsewhere = hooks.settings and {} or nil
  local settings, sources = config.resolve(given, elsewhere, elsewhere)
  if not settings then error(tostring(sources), level) end
  check_credentials(settings, level)
  if given.token_file then check_token_file(given.token_file, level) end
  local self = setmetatable({ log = log.of(given.log), url = settings.url, call_layers = NO_LAYERS }, meta)
  self.client, self.face = self, self
  self.web, self.version = web.new(settings, given), given.server_version
  self.retries, self.patience = given.retries or 0, given.call_timeout
  self.exchange = make_exchange(given, settings, self.web, level)
  local session = session_options(given, settings, self.web, self.exchange)
  for name, callback in pairs(callbacks or {}) do session[name] = callback end
  self.anomaly_logger = function(kind, count, text) log_anomaly(self, kind, count, text) end
  session.on_anomaly = self.anomaly_logger
  session.on_unsaved = function(err) log_unsaved(self, err) end
  self.session = make_session(session, level)
  return self, settings
end

---Start connecting; returns at once. See wait_ready.
function Client:start()
  self.session:start()
end

---Close the connection; calls in flight settle with CLOSED.
---@async
function Client:stop()
  self.session:stop()
  if self.exchange then self.exchange:cancel() end
end

---@return trueconf.State
function Client:state()
  return self.session:state()
end

---Wait until the connection is authorized.
---@async
---@param timeout? number seconds
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED, or why the client gave up
function Client:wait_ready(timeout)
  if timeout ~= nil then options.argument("wait_ready", "timeout", timeout, "number", 2) end
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

local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8 -- seconds between tries
local PATIENCE = 30                     -- seconds, if neither call nor client have a deadline

-- True if the request was not carried out and may succeed later.
local function is_worth_repeating(err)
  return err.retryable and (err.outcome == "rejected" or err.outcome == "not_sent" and err.name == "DISCONNECTED")
end

local function repeat_request(self, err, method, body, timeout, read)
  local ends = core.monotonic() + (timeout or self.patience or PATIENCE)
  for tries = 1, self.retries do
    local pause = backoff.pause(tries, FIRST_PAUSE, LONGEST_PAUSE)
    if not is_worth_repeating(err) or core.monotonic() + pause >= ends then break end
    self.log:debug("%s: %s is repeated in %g s: %s", self.url, method, pause, err)
    core.sleep(backoff.jittered(pause))
    local answer
    answer, err = self.session:request(method, body, math.max(ends - core.monotonic(), 0.001), read)
    if answer then return answer end
  end
  return nil, err
end

-- One request, until it is settled.
local function transact(self, method, payload, timeout, read)
  local body, mistake = json.encode(payload)
  if not body then return nil, mistake end
  local answer, err = self.session:request(method, body, timeout, read)
  if not answer and self.retries > 0 then answer, err = repeat_request(self, err, method, body, timeout, read) end
  return answer, err
end

local function run_layer(self, layers, number, call)
  local layer, outcome = layers[number], "not_sent"
  if not layer then return transact(self, call.method, call.payload, call.timeout, call.read) end
  local answer, err = layer(call, function()
    outcome = "unknown"
    return run_layer(self, layers, number + 1, call)
  end)
  if type(answer) == "table" then return answer end
  if answer == nil and Error.is(err) then return nil, err end
  return nil, Error.new("CANCELLED", "a function of use_call has returned neither an answer nor an error, but "
    .. options.type_of(answer or err), { method = call.method, outcome = outcome })
end

-- Every request uses this function. Tail calls here and below keep the stack of the coroutine shallow, which is
-- cheaper.
local function request(self, method, payload, timeout, read)
  local layers = self.call_layers
  if not layers[1] then return transact(self, method, payload, timeout, read) end
  return run_layer(self, layers, 1, { method = method, payload = payload, timeout = timeout, read = read })
end

---@class trueconf.Call a request on its way out
---@field method string the wire's name, as in "sendMessage"
---@field payload table as it goes over the wire; it has been checked before
---@field timeout number? seconds
---@field read boolean? it is repeated by itself after a lost connection

---@alias trueconf.CallNext fun(): table?, trueconf.Error?
---@alias trueconf.CallMiddleware fun(call: trueconf.Call, next: trueconf.CallNext): table?, trueconf.Error?

---Add middleware around all calls, outermost first. It may change the call, time it, call next() once, again after a
---failure, or not at all. It returns the results of next(), another answer, or nil and an error.
---@param layer trueconf.CallMiddleware
function Client:use_call(layer)
  if type(layer) ~= "function" then options.refuse("use_call", "a function", layer, 2) end
  if self.call_layers == NO_LAYERS then self.call_layers = {} end
  table.insert(self.call_layers, layer)
end

local CALL_SCHEMA = { timeout = { type = "number", min = 0.001 }, read = { type = "boolean" } }

---Call any method with any payload.
---@async
---@param method string the wire's name, as in "sendMessage"
---@param payload? table
---@param opts? trueconf.CallOptions
---@return table? result the payload of the response
---@return trueconf.Error? err a server code by name, TIMEOUT, DISCONNECTED, CLOSED, LIMIT; `outcome` says whether the
---request was carried out
function Client:call(method, payload, opts)
  if type(method) ~= "string" then options.argument("call", "method", method, "string", 2) end
  if payload ~= nil and type(payload) ~= "table" then options.argument("call", "payload", payload, "table", 2) end
  local timeout, read = nil, READS[method] or false
  if opts then
    opts = options.check(CALL_SCHEMA, opts, 2, "call")
    timeout = opts.timeout
    if opts.read ~= nil then read = opts.read end
  end
  local answer, err = request(self, method, payload or {}, timeout, read)
  return answer, err
end

-- The server ------------------------------------------------------------------------------

-- The calls that wait while another one asks for the version; they also go on when that one is cancelled.
local Waiting = { __close = function(waiting)
  waiting.client.version_waiting = nil
  for _, waiter in ipairs(waiting) do waiter:wake(waiting.client.version or nil) end
end }

-- One call asks; further calls wait for the same answer.
local function ask_version(self)
  local waiting <close> = setmetatable({ client = self }, Waiting)
  self.version_waiting = waiting
  local version, why = server_version.ask(self.web)
  if not version then self.log:debug("%s: the version of the server is not known: %s", self.url, why) end
  self.version = version or false
end

---The version of the server: the option server_version, or the server's answer to the first question. Methods of a
---newer version are refused before they are sent.
---@async
---@return string? version nil: the server does not tell it, and no method is refused
function Client:server_version()
  if self.version_waiting then
    local waiter = core.waiter()
    table.insert(self.version_waiting, waiter)
    return (waiter:wait())
  end
  if self.version == nil then ask_version(self) end
  return self.version or nil
end

---The last upload limits from the server; get_file_upload_limits() asks for them.
---@return trueconf.UploadLimits? limits nil: none have come yet; servers send them from 5.5.3 on
function Client:upload_limits()
  return self.limits
end

-- Methods that are not made from the schema ---------------------------------------------------

---@class (exact) trueconf.SendOptions
---@field parse_mode? "text"|"markdown"|"html" default "text"
---@field reply_to? string id of the message this one answers
---@field buttons? trueconf.Button[][] rows of buttons; servers from 5.5.6
---@field timeout? number seconds

---@class (exact) trueconf.EditOptions
---@field parse_mode? "text"|"markdown"|"html" default "text"
---@field buttons? trueconf.Button[][] rows of buttons; servers from 5.5.6
---@field timeout? number seconds

local SEND = protocol.methods.sendMessage

local function is_usual(sent)
  return type(sent.messageId) == "string" and type(sent.chatId) == "string" and math_type(sent.timestamp) == "integer"
end

-- send_message() for code that passes on the arguments of a script; `level` 2 blames the caller.
local function send_message_at(self, level, chat_id, text, opts, reply_to)
  local payload, timeout = message_request.build(level + 1, chat_id, text, opts, reply_to)
  if not payload then return nil, methods.note_failure(self, SEND, timeout) end
  local sent, err = methods.check_version(self, SEND, payload)
  if sent then sent, err = request(self, "sendMessage", payload, timeout, false) end
  if sent and is_usual(sent) then
    return sent_message.new(self, sent)
  end
  if sent then sent, err = methods.read_answer(self, SEND, sent, payload) end
  if err then methods.note_failure(self, SEND, err) end
  return sent, err
end

---Send a text message (protocol 6.1, sendMessage). The arguments may also be given by name, all in one table.
---@async
---@param chat_id string
---@param text string|number of 1 to 4096 visible characters
---@param opts? trueconf.SendOptions
---@param reply_to? string the same as opts.reply_to
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err LIMIT for a text that is empty or too long; those of call()
function Client:send_message(chat_id, text, opts, reply_to)
  return send_message_at(self, 2, chat_id, text, opts, reply_to)
end

---The personal chat with a user; the same one each time (protocol 6.2, createP2PChat).
---@async
---@param user_id string login@server
---@return string? chat_id
---@return trueconf.Error? err
function Client:create_p2p_chat(user_id)
  local chat_id, err = methods.invoke(self, protocol.methods.createP2PChat, 3, user_id)
  return chat_id, err
end

---The name of a user as apps show it (protocol 6.4, getUserDisplayName).
---@async
---@param user_id string login@server
---@return string? name
---@return trueconf.Error? err
function Client:get_user_display_name(user_id)
  local name, err = methods.invoke(self, protocol.methods.getUserDisplayName, 3, user_id)
  return name, err
end

-- Activity --------------------------------------------------------------------------------

---Show in a chat that the bot is typing, until close() is called on the result, or a `<close>` variable with the result
---goes out of scope. Does not wait, and never fails: on a server without this method nothing is sent.
---@param chat_id string
---@param activity? "typing"|"choosing_sticker"|"uploading_file" default "typing"
---@return trueconf.Typing
function Client:keep_typing(chat_id, activity)
  return (typing.keep(self, chat_id, activity, 2))
end

methods.add_to(Client)
files.add_to(Client)
pages.add_to(Client)

-- The class of clients for scripts.
local Face = face.class "trueconf.Client"
face.add(Face, "bot", "client", Client)

---Make a client for a script.
---@param given? trueconf.ClientOptions
---@param level? integer the stack level to blame for a mistake; default 2
---@return trueconf.Client
local function open(given, level)
  local self, settings = new(given, nil, (level or 2) + 1)
  self.face = face.set(setmetatable({ log = self.log, url = self.url }, Face), self)
  if hooks.made then hooks.made(self, settings) end
  return self.face
end

return {
  new = new, open = open, send_message_at = send_message_at, Client = Client, Face = Face, SCHEMA = SCHEMA,
  masked = masked,
}
