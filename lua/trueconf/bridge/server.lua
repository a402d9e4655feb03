-- SPDX-License-Identifier: MIT
-- A running Bridge: connects the listener of the C core with the rules in the files beside this one. Tests and programs
-- hold this object.

local core = require "trueconf.core"
local log = require "trueconf.log"
local refuse = require("trueconf.base.options").refuse
local misuse = require "trueconf.base.misuse"
local sorted_keys = require "trueconf.base.sorted_keys"
local accounts = require "trueconf.bridge.accounts"
local chats = require "trueconf.bridge.chat.chats"
local clicks = require "trueconf.bridge.chat.clicks"
local connection = require "trueconf.bridge.connection"
local control = require "trueconf.bridge.control"
local publish = require "trueconf.bridge.publish"
local envelopes = require "trueconf.bridge.chat.envelopes"
local fault_injector = require "trueconf.bridge.fault_injector"
local faults = require "trueconf.bridge.faults"
local files = require "trueconf.bridge.files"
local http = require "trueconf.bridge.http"
local logins = require "trueconf.bridge.accounts.logins"
local messages = require "trueconf.bridge.chat.messages"
local notifications = require "trueconf.bridge.chat.notifications"
local oauth = require "trueconf.bridge.http.oauth"
local persons = require "trueconf.bridge.person"
local profile = require "trueconf.bridge.profile"
local observers = require "trueconf.bridge.observers"
local store = require "trueconf.bridge.store"
local tokens = require "trueconf.bridge.accounts.tokens"
local upload_limits = require "trueconf.bridge.files.limits"

local UNAVAILABLE = 503
-- The vendor's text on authorization spells the last two once.
local SOCKET_PATHS = {
  "/websocket/chat_bot/", "/websocket/chat_bot", "/weboscket/chat_bot/", "/weboscket/chat_bot",
}

---@class trueconf.bridge.Server
---@field options trueconf.bridge.Options
---@field faults trueconf.bridge.Faults
---@field fault_injector trueconf.bridge.FaultInjector
---@field control trueconf.bridge.Control?
---@field log trueconf.Log
---@field observers trueconf.bridge.Observers
---@field store trueconf.bridge.Store
---@field accounts trueconf.bridge.Accounts
---@field logins trueconf.bridge.Logins
---@field tokens trueconf.bridge.Tokens
---@field oauth trueconf.bridge.OAuth
---@field profile trueconf.bridge.Profile
---@field envelopes trueconf.bridge.Envelopes
---@field notifications trueconf.bridge.Notifications
---@field messages trueconf.bridge.Messages
---@field chats trueconf.bridge.Chats
---@field clicks trueconf.bridge.Clicks
---@field publisher trueconf.bridge.Publisher
---@field files trueconf.bridge.Files
---@field private listener trueconf.core.Listener?
---@field private open table<trueconf.core.Connection, trueconf.bridge.Connection>
---@field private people table<string, trueconf.bridge.Person>
---@field private held trueconf.core.Waiter[] of HTTP requests that are left without an answer
local Server = {}
Server.__index = Server

-- Start and stop -------------------------------------------------------------------------

-- In a fixed order, so that a run with a seeded random source can be repeated.
local function put_accounts(server, described)
  for _, login in ipairs(sorted_keys(described)) do server.accounts:put(login, described[login]) end
end

---A server with its accounts that does not listen yet.
---@param options table as settings.read() gives them
---@return trueconf.bridge.Server
local function new(options)
  local memory = options.state or store.new(options)
  memory:set_server_name(options.server_name or memory.server_name or "localhost")
  local server = setmetatable({ options = options, store = memory }, Server)
  memory.on_failure = function(err) server:on_store_failure(err) end
  server.faults, server.open, server.people, server.held = {}, {}, {}, {}
  server.fault_injector = fault_injector.new(server, server.faults)
  server.log = log.of(options.log)
  server.observers = observers.new(server.log)
  server.accounts = accounts.new(memory, memory.server_name, options.password_cost, options.directory)
  server.logins = logins.new(server.accounts, options)
  server.tokens = tokens.new(memory, options.token_lifetime)
  server.profile = profile.new(options.version)
  server.oauth = oauth.new(server)
  server.files = files.new(server)
  server.envelopes = envelopes.new(memory, server.profile, server.files)
  server.notifications = notifications.new(memory, server.envelopes)
  server.messages = messages.new(memory, server.envelopes, server.notifications, server.profile, options)
  server.chats = chats.new(memory, server.accounts, server.envelopes, server.notifications, server.messages)
  server.clicks = clicks.new(server.accounts, server.notifications, server.messages, options)
  server.publisher = publish.new(memory, server.notifications, server.profile, options)
  server.control = options.control and control.new(server, options.control.key)
  put_accounts(server, options.accounts)
  return server
end

local function socket_paths(server)
  local paths = table.move(SOCKET_PATHS, 1, #SOCKET_PATHS, 1, {})
  if server.control then paths[#paths + 1] = control.WEBSOCKET end
  return paths
end

local function listen_options(server)
  local options = server.options
  return {
    host = options.host,
    port = options.port,
    tls = options.tls,
    websocket_paths = socket_paths(server),
    subprotocol = "json.v1",
    any_subprotocol = not options.strict,
    guarded_path = server.control and control.PREFIX,
    max_connections = options.max_connections,
    admits = true,
    max_http_connections = options.max_http_connections,
    address_connections = options.address_connections,
    max_frame = options.max_frame,
    max_body = options.max_body,
    max_unsent = options.max_unsent,
    ping_interval = options.ping_interval,
    max_missed_pongs = options.max_missed_pongs,
    on_head = function(head) return server:on_head(head) end,
    on_http = function(request) http.handle(server, request) end,
    on_open = function(transport) server:on_open(transport) end,
    on_frame = function(transport, data, binary) server:on_frame(transport, data, binary) end,
    on_close = function(transport, code) server:on_close(transport, code) end,
  }
end

---Begin to listen.
---@return true? ok
---@return trueconf.Error? err IO (address in use, no permission), TLS (bad certificate)
function Server:listen()
  local listener, err = core.listen(listen_options(self))
  if not listener then return nil, err end
  self.listener = listener
  self.store.in_use = true
  return true
end

---Stop listening, close all connections with 1001, settle every wait with CLOSED.
---@async
---@param abrupt? boolean drop the connections without a close frame
function Server:stop(abrupt)
  local listener = self.listener
  if not listener then return end
  self.listener = nil
  self:let_go()
  if self.control then self.control:close() end
  for _, person in pairs(self.people) do person:close() end
  listener:close(abrupt)
  self.publisher:close()
  self.files:close()
  self.fault_injector:close()
  self.store:close()
  self.store.in_use = false
end

-- The changes of this turn were undone: drop the connections, so that no client gets an answer that says otherwise.
function Server:on_store_failure(err)
  self.log:error("bridge: the last changes are undone, the data cannot be written: %s", err.message)
  self:drop()
end

---All data of the Bridge, for the option `state` of the next one; stop this one before.
---@return trueconf.bridge.Store
function Server:state()
  return self.store
end

---@return string? key of the control endpoint
function Server:control_key()
  return self.control and self.control.key
end

---@return integer
function Server:port()
  return assert(self.listener, "the Bridge was stopped"):port()
end

---@return string url of the server, without a path: "ws://127.0.0.1:4309"
function Server:url()
  local host = self.options.host
  if host:find(":", 1, true) then host = "[" .. host .. "]" end
  return ("%s://%s:%d"):format(self.options.tls and "wss" or "ws", host, self:port())
end

-- Callbacks of the listener ----------------------------------------------------------------

function Server:on_head(head)
  if self.control and control.is_for(head) then return self.control:on_head(head) end
  return self.fault_injector:on_head(head) or self.fault_injector:hamper(self.files:on_head(head))
end

function Server:on_open(transport)
  if self.control and self.control:on_open(transport) then return end
  if self.faults.drop_at == "open" then return transport:drop() end
  local conn = connection.new(self, transport)
  self.open[transport] = conn
  self.fault_injector:touch(transport)
  self.observers:connection("open", conn, { peer = transport.peer and transport:peer() })
end

function Server:on_frame(transport, data, binary)
  local conn = self.open[transport]
  if not conn then return self.control and self.control:on_frame(transport, data) end
  self.fault_injector:touch(transport)
  self.observers:frame("in", conn, data)
  conn:on_frame(data, binary)
end

---A frame, or a part of it, was sent.
---@param transport trueconf.core.Connection
---@param text string
function Server:on_sent(transport, text)
  local conn = self.open[transport]
  if conn then self.observers:frame("out", conn, text) end
end

function Server:on_close(transport, code)
  local conn = self.open[transport]
  self.open[transport] = nil
  self.fault_injector:forget(transport)
  if not conn then return self.control and self.control:on_close(transport) end
  self.observers:connection("closed", conn, { code = code })
  conn:on_close()
  self.files.progress:forget(conn)
end

---Leave an HTTP request without an answer until the fault is over or the Bridge stops.
---@async
---@param request trueconf.core.Request
function Server:hold(request)
  local over = core.waiter()
  self.held[#self.held + 1] = over
  over:wait()
  request:drop()
end

function Server:let_go()
  local held = self.held
  self.held = {}
  for _, over in ipairs(held) do over:wake(true) end
end

---The answer to `auth` was sent to a connection.
---@param conn trueconf.bridge.Connection
---@param receive_unread boolean
function Server:on_authorized(conn, receive_unread)
  if self.faults.drop_at == "ready" then return conn:drop() end
  self.observers:connection("authorized", conn)
  self.publisher:attach(conn)
  if receive_unread then self.publisher:redeliver(conn) end
  self.publisher:tell(conn, self.notifications:upload_limits(self:upload_limits()))
end

---@return table limits as on the wire
function Server:upload_limits()
  return upload_limits.on_wire(self.options.upload_limits)
end

---Change the upload limits, and notify all connections.
---@param limits trueconf.bridge.UploadLimits
function Server:set_upload_limits(limits)
  upload_limits.check(limits, 2, "set_upload_limits")
  self.options.upload_limits = limits
  local told = self.notifications:upload_limits(self:upload_limits())
  for _, conn in pairs(self.open) do
    if conn.account then self.publisher:tell(conn, told) end
  end
end

---Give a simulated person an event that no connection gets.
---@param key string
---@param method string
---@param payload table
function Server:tell_person(key, method, payload)
  local person = self.people[key]
  if person then person:note(method, payload) end
end

-- Accounts and tokens ----------------------------------------------------------------------

local function account_of(server, login, level)
  local account = type(login) == "string" and server.accounts:by_login(login)
  if not account then error(("there is no account '%s'"):format(tostring(login)), level + 1) end
  return account
end

---Create an account, or change the named fields of one that exists.
---@param login string
---@param spec? string|trueconf.bridge.AccountSpec
function Server:add_account(login, spec)
  local complaint = accounts.complaint(login, spec or {})
  if complaint then error(complaint, 2) end
  self.accounts:put(login, spec or {})
end

---Disable an account: it gets no more tokens, and `auth` answers 202. Open connections stay.
---@param login string
function Server:disable(login)
  account_of(self, login, 2)
  self.accounts:put(login, { disabled = true })
end

---Make all tokens minted so far expired: `auth` answers 203.
---@param login? string only those of this account
function Server:expire_tokens(login)
  self.store:expire_tokens(login and account_of(self, login, 2) or nil)
end

---A ready token.
---@param login string
---@param opts? { expires_in: number? } seconds from now; negative: expired already
---@return string token
---@return integer expires_at UNIX seconds
function Server:mint_token(login, opts)
  return self.tokens:mint(account_of(self, login, 2), opts and opts.expires_in)
end

-- People and messages ------------------------------------------------------------------------

---The simulated person with this login; the account is created when it does not exist yet.
---@param login string
---@return trueconf.bridge.Person
function Server:person(login)
  local account = type(login) == "string" and self.accounts:by_login(login)
  if not account then
    local complaint = accounts.complaint(login, {})
    if complaint then error(complaint, 2) end
    account = self.accounts:put(login, {})
  end
  local person = self.people[account.key]
  if not person then
    person = persons.new(self, account)
    self.people[account.key] = person
  end
  return person
end

local function seen(server, records)
  for index, record in ipairs(records) do records[index] = persons.see(server, record) end
  return records
end

---@param chat_id string
---@return trueconf.bridge.PersonMessage[]? messages oldest first; nil: there is no such chat
function Server:history(chat_id)
  local chat = self.store:chat(chat_id)
  return chat and seen(self, self.store:history(chat))
end

---@param login string
---@return trueconf.bridge.PersonMessage[] messages oldest first
function Server:unread(login)
  return seen(self, self.store:unread_list(account_of(self, login, 2).key))
end

-- Connections and faults -----------------------------------------------------------------------

-- The open connections, all or those of one account.
local function connections_of(server, login)
  local key = login and account_of(server, login, 3).key
  local list = {}
  for _, conn in pairs(server.open) do
    if not key or conn.key == key then list[#list + 1] = conn end
  end
  table.sort(list, function(one, other) return one.id < other.id end) -- so that a run can be repeated
  return list
end

---@param login? string
---@return integer count open connections, of this account if it is named
function Server:connections(login)
  return #connections_of(self, login)
end

---Drop the TCP connections without a close frame.
---@param login? string only those of this account
function Server:drop(login)
  for _, conn in ipairs(connections_of(self, login)) do conn:drop() end
end

---Call fn(report) for every frame in and out, for connections that open and close, for faults that are set and that
---strike. Secrets are masked. A report has the fields of the events in docs/control.md, with `kind` in place of
---`event`. fn must not wait.
---@param fn fun(report: trueconf.bridge.Report)
---@return fun() stop
function Server:watch(fn)
  if type(fn) ~= "function" then refuse("watch", "a function", fn, 2) end
  return self.observers:watch(fn)
end

---Set faults; false ends a fault, no argument ends all.
---@param values? trueconf.bridge.Faults
function Server:fault(values)
  if values then
    faults.check(values, 2)
    for name, value in pairs(values) do self.faults[name] = value or nil end
    if values.seed ~= nil then self.fault_injector:start(values.seed or nil) end
  else
    for name in pairs(self.faults) do self.faults[name] = nil end
  end
  for transport in pairs(self.open) do self.fault_injector:touch(transport) end
  self.observers:faults(self.faults)
  if not self.faults.token_silent then self:let_go() end
  local refused = self.faults.refuse_upgrades
  if self.listener then self.listener:refuse_upgrades(refused == true and UNAVAILABLE or refused) end
end

misuse.guard(Server, "server", {
  "add_account", "connections", "control_key", "disable", "drop", "expire_tokens", "fault", "history", "mint_token",
  "person", "port", "set_upload_limits", "state", "stop", "unread", "url", "watch",
})

return { new = new }
