-- SPDX-License-Identifier: MIT
-- The ends that rows are run at: a listener of the core, alone and behind nginx, a Bridge, and clients. Each
-- notes by row what its Lua side gets to see.

local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"

local MAX_FRAME = 1 << 20
local PATIENCE = 20                     -- seconds for a client to see the end of its connection
local CONNECT = 5                       -- seconds for its handshake
local FILE = "0123456789abcdef"         -- what may be downloaded from a Bridge

---@class spec.conformance.End
---@field name string
---@field role "server"|"client"
---@field port integer? of a server
---@field path string of its WebSocket
---@field tls table? cert_file and key_file; nil: plain
---@field file string? path of a file that may be downloaded, at a Bridge
---@field tag string? what its entity tag has between the quotes
---@field at_once integer? connections that it takes
---@field blind boolean? its Lua side does not see the rows
---@field seen table<string, table> by the id of the row
---@field close fun(self)
local End = {}
End.__index = End

local ends = { MAX_FRAME = MAX_FRAME }

---The address from which a row comes, so that a server knows it by its peer.
---@param id string number of the row
---@return string
function ends.source(id)
  local number = math.tointeger(tonumber(id))
  return ("127.1.%d.%d"):format(number // 250, number % 250 + 1)
end

function End:of(peer)
  local seen = self.seen[peer]
  if not seen then
    seen = { messages = {}, handled = {}, hosts = {} }
    self.seen[peer] = seen
  end
  return seen
end

---The bytes and events of a row that the Lua side has seen.
---@param id string
function End:seen_of(id)
  return self:of(self.role == "server" and ends.source(id) or id)
end

local function make(name, role, fields)
  local made = setmetatable({ name = name, role = role, path = "/ws", seen = {} }, End)
  if name:find "tls$" then
    made.certificates = certificates.make()
    made.tls = made.certificates:server "good"
  end
  for key, value in pairs(fields or {}) do made[key] = value end
  return made
end

-- A listener ---------------------------------------------------------------------------------------

local function answer(request)
  local status = math.tointeger(tonumber(request.path:match "^/status/(%d+)$"))
  request:respond(status or 200, {}, ("%s %s %s"):format(request.method, request.path, request.body))
end

function ends.server(name)
  local made = make(name, "server")
  local listener = assert(core.listen {
    tls = made.tls, websocket_paths = { made.path }, max_frame = MAX_FRAME, ping_interval = 0, max_connections = 1000,
    max_body = 1 << 16,
    on_http = function(request)
      local seen = made:of(request.peer)
      if request.path ~= "/probe" then
        table.insert(seen.handled, ("%s %s %s"):format(request.method, request.path, request.body))
        table.insert(seen.hosts, request.headers.host or "")
      end
      answer(request)
    end,
    on_open = function(connection) made:of(connection:peer()).open = true end,
    on_frame = function(connection, data) table.insert(made:of(connection:peer()).messages, data) end,
    on_close = function(connection, code, reason)
      local seen = made:of(connection:peer())
      seen.code, seen.reason = code, reason
    end,
  })
  made.port = listener:port()
  made.stop = function() listener:close(true) end
  return made
end

-- A Bridge -----------------------------------------------------------------------------------------

function ends.bridge(name)
  local server = system.start_bridge { ping_interval = 0, auth_timeout = 0, max_connections = 1000,
    max_frame = MAX_FRAME }
  local message = assert(server:person("mira"):chat_with("herald"):send_file("file.txt", FILE))
  local file = message:file_info()
  local made = make(name, "server", { path = "/websocket/chat_bot/", port = server:port(), blind = true })
  made.file, made.tag = file.url:match "^%w+://[^/]+(.*)$", file.file_id
  made.stop = function() server:stop(true) end
  return made
end

-- nginx with the shipped configuration, in front of a listener.
function ends.nginx(name)
  local behind, directory = ends.server "server", system.directory()
  local proxy = nginx.start(directory, behind.port)
  local made = make(name, "server", { port = proxy.port, tls = {}, blind = true, at_once = 40 })
  made.stop = function()
    proxy:stop()
    directory:__close()
    behind:close()
  end
  return made
end

-- Clients ------------------------------------------------------------------------------------------

function ends.client(name)
  return make(name, "client", { stop = function() end })
end

---Connect a client to the peer and note what comes, until the end.
---@async
---@param id string
---@param port integer
---@param options table? further ones of core.socket
function End:visit(id, port, options)
  local seen = self:of(id)
  local given = { url = ("%s://localhost:%d/%s"):format(self.tls and "wss" or "ws", port, id), ping_interval = 0,
    max_frame = MAX_FRAME, connect_timeout = CONNECT, tls = self.tls and { ca_file = self.certificates.ca_file } }
  for key, value in pairs(options or {}) do given[key] = value end
  local socket, err = core.socket(given)
  seen.refused = err
  if not socket then return end
  seen.open, seen.protocol = true, socket:protocol()
  local data
  repeat
    data, err = socket:receive(PATIENCE)
    table.insert(seen.messages, data)
  until not data
  seen.code, seen.reason = err.code, err.message
  socket:drop()
end

function End:close()
  self.stop()
  if self.certificates then self.certificates:remove() end
end

return ends
