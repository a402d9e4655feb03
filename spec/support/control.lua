-- SPDX-License-Identifier: MIT
-- A Bridge under control, asked over HTTP and WebSocket.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local support = { KEY = "a-key-for-the-specs-alone", LIMIT = 10 } -- LIMIT: seconds any single step may take

---@param server trueconf.bridge.Server
---@param path string
---@return string url
function support.url(server, path)
  return server:url():gsub("^ws", "http") .. "/control/" .. path
end

---Ask over HTTP; a table becomes JSON.
---@async
---@return table answer
---@return integer status
---@return table<string, string> headers
function support.ask(server, method, path, body, key)
  local answer = assert(core.http {
    url = support.url(server, path), method = method, timeout = support.LIMIT,
    headers = { Authorization = key ~= false and "Bearer " .. (key or support.KEY) or nil },
    body = type(body) == "table" and json.encode(body) or body,
  })
  return assert(json.decode(answer.body)), answer.status, answer.headers
end

---A request that must go well.
---@async
function support.act(server, path, body)
  local answer, status = support.ask(server, "POST", path, body)
  assert(status == 200, answer.message)
  return answer
end

---A case with a Bridge under control.
---@param body fun(server: trueconf.bridge.Server)
---@param options? table
function support.served(body, options)
  return helper.async(function()
    local given = { control = { key = support.KEY } }
    for name, value in pairs(options or {}) do given[name] = value or nil end
    local server = system.start_bridge(given)
    local ok, err = xpcall(body, debug.traceback, server)
    server:stop(true)
    if not ok then error(err, 0) end
  end)
end

-- WebSocket ------------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

---A connection to the control endpoint.
---@async
---@param opts? { key: string|false|nil, subprotocol: string|false|nil } key: what the first frame shows; false: none
---@return table client
function support.connect(server, opts)
  opts = opts or {}
  local socket = assert(core.socket {
    url = server:url() .. "/control/socket", subprotocol = opts.subprotocol or false, connect_timeout = support.LIMIT,
    ping_interval = 0,
  })
  local client = setmetatable({ socket = socket, last_id = 0, events = {} }, Client)
  if opts.key == false then return client end
  client:send { key = opts.key or support.KEY }
  local ready = client:receive()
  assert(ready.event == "ready" and ready.version == server.options.version)
  return client
end

function Client:send(frame)
  assert(self.socket:send(type(frame) == "table" and json.encode(frame) or frame))
end

---@async
function Client:receive()
  return assert(json.decode(assert(self.socket:receive(support.LIMIT))))
end

---Ask, and take the answer; events that come meanwhile are kept.
---@async
---@return table answer the whole frame
function Client:ask(name, input)
  self.last_id = self.last_id + 1
  local frame = { id = self.last_id, act = name }
  for field, value in pairs(input or {}) do frame[field] = value end
  self:send(frame)
  while true do
    local answer = self:receive()
    if answer.id == self.last_id then return answer end
    table.insert(self.events, answer)
  end
end

---Ask what must go well.
---@async
function Client:act(name, input)
  local answer = self:ask(name, input)
  return answer.result or error(("%s: %s"):format(name, answer.message), 2)
end

---The next event of which this is true; others are passed over.
---@async
---@param fits fun(event: table): any
function Client:event(fits)
  while true do
    local event = table.remove(self.events, 1) or self:receive()
    if fits(event) then return event end
  end
end

---The error that the connection ends with.
---@async
function Client:close_of()
  while true do
    local data, err = self.socket:receive(support.LIMIT)
    if not data then return err end
  end
end

return support
