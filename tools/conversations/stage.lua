-- SPDX-License-Identifier: MIT
-- Plays a conversation: a Bridge with two people, and a bot whose frames and HTTP requests are recorded. Clock and
-- random source are replaced, so that it runs the same way each time.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local events = require "trueconf.api.events"
local protocol = require "trueconf.protocol"
local trueconf = require "trueconf"
local url = require "trueconf.base.url"
local recorder = require "conversations.recorder"

local START = 1788000000000             -- UNIX milliseconds at which each conversation begins
local BOT, PASSWORD = "herald", "4711"
local SHOWN_PORT = ":4309"              -- in place of the ports that happened to be free
local MOST_TURNS = 1000                 -- until the last ack has come

---One act of a conversation, and what it caused.
---@class conversations.Step
---@field [1] string? description for people
---@field lua string? code of the bot's script; shown
---@field act string? code for somebody else; not shown
---@field as string? name of the result of `lua` or `act`
---@field fails string? name of the error it ends with
---@field only "frame"|"http"|nil show only these

---@class conversations.Stage
---@field happened { kind: "frame"|"http", text: string, direction: string? }[] since it was taken last
---@field told { name: string, value: table }[] events, in the same way
---@field private env table globals of the scripts
---@field private server trueconf.bridge.Server
---@field private bot trueconf.Bot
local Stage = {}
Stage.__index = Stage

-- The same for a conversation whatever is played before it.
local function seed_of(name)
  local seed = 0
  for place = 1, #name do seed = seed * 31 + name:byte(place) & 0xffffffff end
  return seed
end

---A text as it may be shown: without secrets, and the same each time.
---@param text string
---@return string
function Stage:clean(text)
  for _, port in ipairs { self.recorder.port, self.server:port() } do
    text = text:gsub("(127%.0%.0%.1):" .. port, "%1" .. SHOWN_PORT)
  end
  return (text:gsub("%?token=[%w._-]+", "?token=***"))
end

function Stage:note(kind, text, direction)
  table.insert(self.happened, { kind = kind, text = self:clean(text), direction = direction })
end

local function with(defaults, given)
  for name, value in pairs(given or {}) do defaults[name] = value or nil end
  return defaults
end

local function start_server(given)
  return assert(bridge.start(with({
    upload_limits = { max_size = 50000000, extensions = { mode = "block", list = { "exe", "bat" } } },
    server_name = "chat.acme.test", password_cost = 1, ping_interval = 0, log = { level = "off" },
    accounts = {
      [BOT] = PASSWORD, mira = { display_name = "Mira Vogel" }, john = { display_name = "John Moss" },
    },
  }, given)))
end

function Stage:make_bot(given)
  return trueconf.bot(with({
    url = self.server:url(), username = BOT, password = PASSWORD, server_version = protocol.versions.NEWEST,
    ping_interval = 0, backoff_jitter = 0, retries = 0, log = "off",
    on_trace = function(direction, frame) self:note("frame", frame, direction) end,
  }, given))
end

function Stage:hear(name)
  local variable = name == "message" and "msg" or "event"
  self.bot:on(name, function(event)
    self.env[variable] = event
    table.insert(self.told, { name = name, variable = variable, value = event })
  end)
end

-- Further tools for a conversation: HTTP requests by hand, a bot of its own, time.
function Stage:make_env()
  local recorded = ("http://127.0.0.1:%d"):format(self.recorder.port)
  local function post(task, name, data)
    local form = { { name = "file", filename = name, type = "text/plain", data = data } }
    return assert(core.http {
      url = recorded .. url.PATHS.files, headers = { ["Upload-Task-Id"] = task }, form = form,
    })
  end
  local function get(address, headers)
    return assert(core.http { url = address:gsub("^http://[^/]*", recorded), headers = headers })
  end
  local function upload(name, data)
    return post(assert(self.bot:upload_file(#data, name)), name, data).body:match '"temporalFileId":"([^"]*)"'
  end
  return setmetatable({
    bot = self.bot, server = self.server, mira = self.server:person "mira", john = self.server:person "john",
    post = post, get = get, upload = upload, wait = core.advance,
    make_bot = function(given) return self:make_bot(given) end,
  }, { __index = _G })
end

local function open(name, conversation)
  core.virtual_time(true, START, seed_of(name))
  local self = setmetatable({ happened = {}, told = {}, server = start_server(conversation.bridge) }, Stage)
  self.recorder = recorder.open(self.server:url():gsub("^ws", "http"), function(text) self:note("http", text) end)
  self.bot = self:make_bot(conversation.bot)
  self.env = self:make_env()
  for _, method in ipairs(protocol.notification_order) do self:hear(events.name_of(method)) end
  if not conversation.offline then
    self.bot:start()
    assert(self.bot:wait_ready(10))
    self:take()
  end
  return self
end

local function awaits_ack(server)
  for _, connection in pairs(server.open) do
    if next(connection.unacked) then return true end
  end
end

-- Wait until everything that was sent has come and was acknowledged; then a second goes by.
function Stage:settle()
  for _ = 1, MOST_TURNS do
    core.advance(0)
    if not awaits_ack(self.server) then return core.advance(1) end
  end
  error("a notification is not acknowledged", 0)
end

---Frames, requests and events since the last call.
---@return table happened
---@return table told
function Stage:take()
  self:settle()
  local happened, told = self.happened, self.told
  self.happened, self.told = {}, {}
  return happened, told
end

local function compile(code, env)
  return load("return " .. code, "=conversation", "t", env) or assert(load(code, "=conversation", "t", env))
end

---Carry out a step.
---@param step conversations.Step
---@return any result
---@return trueconf.Error? err
function Stage:perform(step)
  local code = step.lua or step.act
  local result, err = compile(code, self.env)()
  if (err and err.name) ~= step.fails then
    error(("%s: %s expected, got %s"):format(code, step.fails or "no error", err and tostring(err) or "none"), 0)
  end
  if step.as then self.env[step.as] = result end
  return result, err
end

function Stage:close()
  self.bot:stop()
  self.recorder.close()
  self.server:stop()
  core.close()
  core.virtual_time(false)
end

return { open = open }
