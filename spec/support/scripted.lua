-- SPDX-License-Identifier: MIT
-- Clients and bots against a faulty server that plays a script: what they send, and what they
-- make of any answer or notification.

local faulty = require "spec.support.faulty"
local json = require "trueconf.base.json"
local trueconf = require "trueconf"

local scripted = {}

local Scripted = {}
Scripted.__index = Scripted

function scripted.start()
  return setmetatable({ server = faulty.start(), count = 0 }, Scripted)
end

function Scripted:stop()
  self.server:stop()
end

local SOCKET, INFO = "/websocket/chat_bot/", "/api/v4/server"

-- A new address whose connections play these steps after `auth`, and what its /api/v4/server does.
function Scripted:address(steps, info)
  self.count = self.count + 1
  local name, script = "scripted" .. self.count, { { "accept" }, { "auth" } }
  for _, step in ipairs(steps) do script[#script + 1] = type(step) == "string" and { step } or step end
  self.server:set { [name .. SOCKET] = { script }, [name .. INFO] = { info or { { "respond", 404 } } } }
  return ("ws://127.0.0.1:%d/%s"):format(self.server.main, name), name
end

---A client, started and ready, of a server that plays `steps`.
---@async
---@param make function trueconf.client or trueconf.bot
---@param steps table[]
---@param given? table options; `info`: steps of /api/v4/server; `before`: called with it before it starts
---@return trueconf.Bot client
---@return string name
function Scripted:connect(make, steps, given)
  local options = { token = "t", log = "off", backoff_min = 0.01, backoff_jitter = 0, close_timeout = 1 }
  for key, value in pairs(given or {}) do options[key] = value end
  local info, before = options.info, options.before
  options.info, options.before = nil, nil
  local name
  options.url, name = self:address(steps, info)
  local client = make(options)
  if before then before(client) end
  client:start()
  assert(client:wait_ready(5))
  return client, name
end

---@async
function Scripted:client(steps, given)
  return self:connect(trueconf.client, steps, given)
end

---@async
function Scripted:bot(steps, given)
  return self:connect(trueconf.bot, steps, given)
end

---The frames a client has sent so far, without `auth`.
---@async
function Scripted:frames(name)
  local frames = {}
  for _, entry in ipairs(self.server:log(name .. SOCKET, "frame")) do
    if entry.frame.method ~= "auth" then frames[#frames + 1] = entry.frame end
  end
  return frames
end

---How often the version of the server was asked for.
---@async
function Scripted:version_requests(name)
  return #self.server:log(name .. INFO, "visit")
end

---A step that sends a notification.
function scripted.push(id, method, payload)
  return { "text", assert(json.encode { type = 1, id = id, method = method, payload = payload }) }
end

---Steps that answer one request.
function scripted.answer(place, payload)
  return { "take" }, { "answer", place, payload }
end

---Steps that answer one request after the other, and then none.
---@param payloads table[]
---@return table[] steps
function scripted.answers(payloads)
  local steps = {}
  for place, payload in ipairs(payloads) do
    steps[#steps + 1], steps[#steps + 2] = scripted.answer(place, payload)
  end
  steps[#steps + 1] = "silent"
  return steps
end

return scripted
