-- SPDX-License-Identifier: MIT
-- A Bridge without sockets for specs of its rules: frames are handed to it as tables, and what
-- it sends is collected.

local data = require "trueconf.bridge.store.folder"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local server = require "trueconf.bridge.server"
local settings = require "trueconf.bridge.settings"

local support = {}

local Client = {}
Client.__index = Client

---@param options? trueconf.bridge.Options
---@return trueconf.bridge.Server server that does not listen
function support.server(options)
  options = options or {}
  options.server_name = options.server_name or not options.state and "chat.acme.test" or nil
  options.password_cost = options.password_cost or 1
  options.auth_timeout = options.auth_timeout or 0      -- a timer that runs would keep the clock from being replaced
  options.accounts = options.accounts or { herald = "4711", mira = "x" }
  local checked = settings.read(options, 2)
  if checked.data then checked.state = assert(data.open(checked.data, checked)) end
  return server.new(checked)
end

-- The three methods of trueconf.core.Connection a Bridge uses.
function Client:send(frame)
  self.sent[#self.sent + 1] = frame
  return true
end

function Client:close(code)
  self.closed = self.closed or code
end

function Client.admit() end

function Client:drop()
  self.dropped = true
end

-- An error must be one that the schema lists for the method.
local function must_be_listed(method, code, version)
  if not protocol.methods[method] then return end
  for _, name in ipairs(protocol.errors_of(method, version)) do
    if protocol.codes[name] == code then return end
  end
  error(("%s: the schema does not list its error %d"):format(method, code), 0)
end

-- The frames of a Bridge must fit the protocol.
local function must_fit(name, payload, direction, version)
  local ok, mistake = protocol.check(name, payload, direction, version)
  assert(ok, mistake and ("%s %s: %s"):format(direction, name, mistake.message))
end

---The frames sent since the last call, decoded.
function Client:take()
  local frames = {}
  for index, text in ipairs(self.sent) do
    local frame = assert(json.decode(text))
    if frame.method then must_fit(frame.method, frame.payload, "notification", self.bridge.options.version) end
    frames[index] = frame
  end
  self.sent = {}
  return frames
end

---Hand over a frame as it is.
function Client:raw(text, binary)
  self.bridge:on_frame(self, text, binary or false)
end

---Send a request and take what comes at once: the response first, then notifications. What
---was there before stays.
function Client:request(method, payload)
  self.last_id = self.last_id + 1
  local before = self.sent
  self.sent = {}
  self:raw(json.encode { type = 1, id = self.last_id, method = method, payload = payload })
  local frames = self:take()
  self.sent = before
  local response = table.remove(frames, 1)
  assert(response and response.type == 2 and response.id == self.last_id, "the response must come first")
  local code, version = response.payload.errorCode, self.bridge.options.version
  if code then must_be_listed(method, code, version) else must_fit(method, response.payload, "response", version) end
  return response.payload, frames
end

function Client:ack(id)
  self:raw(json.encode { type = 2, id = id })
end

---Write a text; the response and what came after it.
function Client:say(chat_id, text, more)
  local payload = { chatId = chat_id, content = { text = text, parseMode = "text" } }
  for name, value in pairs(more or {}) do payload[name] = value end
  return self:request("sendMessage", payload)
end

---Close the connection as the listener reports it.
function Client:gone()
  self.bridge:on_close(self)
end

---A connection that has not been authorized.
function support.connect(bridge)
  local client = setmetatable({ bridge = bridge, sent = {}, last_id = 0 }, Client)
  bridge:on_open(client)
  return client
end

---An authorized connection, and what came after the response to `auth`, without the upload
---limits, which always do and are acked here. The last value are those.
function support.login(bridge, login, payload)
  local client = support.connect(bridge)
  payload = payload or {}
  payload.token, payload.tokenType = bridge:mint_token(login), "JWT"
  local response, frames = client:request("auth", payload)
  assert(response.userId, "auth was refused")
  local limits = frames[#frames]
  if limits and limits.method == "getFileUploadLimits" then
    frames[#frames] = nil
    client:ack(limits.id)
  end
  return client, frames, response, limits
end

return support
