-- SPDX-License-Identifier: MIT
-- A client of a Bridge's control endpoint: acts over a WebSocket, and events as they come.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local random_hex = require "trueconf.base.random_hex"

local TIMEOUT = 30                      -- seconds for an act
local FILE_EXISTS = 17                  -- EEXIST

---@class trueconf.cli.Control
---@field private socket trueconf.core.Socket
---@field private base string address for HTTP
---@field private key string
---@field private waiting table<integer, trueconf.core.Waiter> for answers, by the id of the request
---@field private last_id integer
local Control = {}
Control.__index = Control

-- Connecting ----------------------------------------------------------------------------------------

local function receive_json(socket, timeout)
  local text, err = socket:receive(timeout)
  if not text then return nil, err end
  return json.receive(text)
end

-- Send the key, and wait until the Bridge accepts it.
local function enter(socket, key)
  socket:send(assert(json.encode { key = key }))
  local ready, err = receive_json(socket, TIMEOUT)
  if ready and ready.event == "ready" then return true end
  socket:close()
  return nil, err or core.error("PROTOCOL", "this is no control endpoint of a Bridge")
end

local function read_all(self, on_event, on_close)
  while true do
    local frame, err = receive_json(self.socket)
    if not frame then return on_close(err) end
    local waiter = self.waiting[frame.id or false]
    if waiter then
      waiter:wake(frame)
    elseif frame.event then
      on_event(frame)
    end
  end
end

---@async
---@param url string of the Bridge, ws:// or wss://
---@param key string
---@param on_event fun(event: table) must not wait for an act
---@param on_close fun(err: trueconf.Error)
---@return trueconf.cli.Control? control
---@return trueconf.Error? err
local function open(url, key, on_event, on_close)
  local socket, err = core.socket {
    url = url .. "/control/socket", subprotocol = "trueconf-control", connect_timeout = TIMEOUT,
  }
  if not socket then return nil, err end
  local ok
  ok, err = enter(socket, key)
  if not ok then return nil, err end
  local self = setmetatable({
    socket = socket, base = url:gsub("^ws", "http") .. "/control/", key = key, waiting = {}, last_id = 0,
  }, Control)
  self.reader = core.spawn(read_all, self, on_event, on_close)
  return self
end

-- Acts ----------------------------------------------------------------------------------------------

local function outcome(answer)
  if answer.error then return nil, core.error("PROTOCOL", answer.message or answer.error) end
  return answer.result or answer
end

---Carry out an act.
---@async
---@param name string
---@param fields table
---@return table? result
---@return trueconf.Error? err with the message of the Bridge
function Control:act(name, fields)
  self.last_id = self.last_id + 1
  local id, frame = self.last_id, { act = name }
  for field, value in pairs(fields) do frame[field] = value end
  frame.id = id
  local text, wrong = json.encode(frame)
  if not text then return nil, wrong end
  local sent, err = self.socket:send(text)
  if not sent then return nil, err end
  self.waiting[id] = core.waiter()
  local answer
  answer, err = self.waiting[id]:wait(TIMEOUT)
  self.waiting[id] = nil
  if not answer then return nil, err end
  return outcome(answer)
end

local function query_of(fields)
  local parts = {}
  for name, value in pairs(fields) do
    parts[#parts + 1] = name .. "=" .. value:gsub("[^%w._~-]", function(sign) return ("%%%02X"):format(sign:byte()) end)
  end
  return "?" .. table.concat(parts, "&")
end

local function request(self, name, fields, more)
  more.url, more.headers = self.base .. name .. query_of(fields), { Authorization = "Bearer " .. self.key }
  return core.http(more)
end

---Send a file of any size.
---@async
---@param fields table<string, string>
---@param path string
---@return table? result
---@return trueconf.Error? err
function Control:upload(fields, path)
  local answer, err = request(self, "send_file", fields, { form = { { name = "file", path = path,
    filename = path:match "[^/]*$" } } })
  if not answer then return nil, err end
  return outcome(json.receive(answer.body) or { error = "PROTOCOL" })
end

---Download the file of a message.
---@async
---@param fields table<string, string>
---@param path string a new file
---@return true? ok
---@return trueconf.Error? err
function Control:download(fields, path)
  local target, err = core.file_target(path)
  if not target then return nil, err end
  local part = ("%s.%s.part"):format(target, random_hex(6))
  local answer, ok
  answer, err = request(self, "download", fields, { save_to = part })
  if not answer then return nil, err end
  if answer.status ~= 200 then return nil, core.error("PROTOCOL", "the Bridge does not give the file") end
  ok, err = core.replace_file(part, target, true)
  if ok then return true end
  return nil, err.code == FILE_EXISTS and core.error("IO", path .. " exists already") or err
end

function Control:close()
  core.cancel(self.reader)
  self.socket:close()
end

return { open = open }
