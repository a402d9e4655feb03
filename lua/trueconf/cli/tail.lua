-- SPDX-License-Identifier: MIT
-- trueconf tail: shows the messages and events that the server sends to an account. It only watches: it acknowledges
-- no message, because an ack would mark the message as read by the bot of this account.

local client = require "trueconf.client"
local connection = require "trueconf.cli.connection"
local core = require "trueconf.core"
local events = require "trueconf.api.events"
local exit_codes = require "trueconf.cli.exit_codes"
local json = require "trueconf.base.json"
local message = require "trueconf.bot.message"
local printable = require "trueconf.base.printable"
local protocol = require "trueconf.protocol"
local stop_signals = require "trueconf.base.stop_signals"
local terminal = require "trueconf.cli.terminal"

local NAME = "tail"
local MESSAGE = "sendMessage"

local HELP = "Show the messages and events that the server sends to an account, one line each, until SIGINT or "
  .. "SIGTERM; after a lost connection it reconnects. It only watches: it acknowledges no message. Each message stays "
  .. "unread for the bot of the account, and its author sees no sign that it was read. Older unread messages are not "
  .. "shown. Other events are acknowledged, which tells the server only that they arrived. A server that closes "
  .. "connections without acks makes it reconnect."

local EXAMPLES = [[
Examples:
  trueconf tail
  trueconf tail --event message --chat 3f0c9a2e
  trueconf tail --json --event add_chat_participant | jq -r .payload.userId
  trueconf tail --json --event message --count 1 --timeout 5

]]

-- Lines ---------------------------------------------------------------------------------------

---@class trueconf.cli.Watched a message or event from the server
---@field client trueconf.Client
---@field event string
---@field method string
---@field chat_id string?
---@field payload table
---@field text string the payload as it came, without secrets

local function content_of(msg)
  if msg.text ~= "" then return msg.text end
  if msg.file then return ("[%s, %s]"):format(msg.file.name or "file", terminal.size(msg.file.size or 0)) end
  if msg.forwarded then return "[forwarded] " .. msg.forwarded.text end
  if msg.location then return ("[location] %s, %s"):format(msg.location.latitude, msg.location.longitude) end
  if msg.survey then return "[survey] " .. (msg.survey.title or "") end
  return ("[type %s]"):format(msg.type)
end

local function describe_message(watched)
  local msg = message.new(watched.client, { payload = watched.payload, chat_id = watched.chat_id or "" })
  return protocol.plain_id(msg.author) .. ": " .. content_of(msg)
end

-- The plain fields of an event; of an object in it the id.
local function describe_fields(watched)
  local parts = {}
  for name, value in pairs(watched.payload) do
    if type(value) == "table" then value = value.id end
    if name ~= "chatId" and value ~= nil then
      parts[#parts + 1] = ("%s=%s"):format(protocol.lua_name(name), tostring(value))
    end
  end
  table.sort(parts)
  return table.concat(parts, " ")
end

local function as_line(self, watched)
  local time = watched.payload.timestamp
  if math.type(time) ~= "integer" then time = core.now() end
  local describe = watched.method == MESSAGE and describe_message or describe_fields
  local date = self.paint("dim", os.date("%Y-%m-%d %H:%M:%S", time // 1000))
  local event = self.paint("blue", terminal.line(watched.event))
  local chat, what = terminal.line(watched.chat_id or "-"), terminal.line(describe(watched))
  return (("%s  %s  %s  %s"):format(date, event, chat, what):gsub(" +$", ""))
end

-- The payload is printed as it came, so that decoding and encoding lose nothing.
local function as_json(_, watched)
  local head = json.encode {
    time = core.now(), event = watched.event, method = watched.method, chat_id = watched.chat_id,
  }
  return printable.json(('%s,"payload":%s}'):format(head:sub(1, -2), watched.text))
end

-- Watching ------------------------------------------------------------------------------------

---@class trueconf.cli.Tail
---@field given table<string, any>
---@field client trueconf.Client
---@field format fun(self: trueconf.cli.Tail, watched: trueconf.cli.Watched): string
---@field paint fun(colour: string, text: string): string
---@field over trueconf.core.Waiter wakes with the exit code
---@field left number events still to be shown
---@field lost boolean

local function chat_of(payload)
  local chat = payload.chat
  local id = payload.chatId or type(chat) == "table" and chat.chatId
  return type(id) == "string" and id or nil
end

local function name_of(method)
  return events.is_known(method) and events.name_of(method) or method
end

local function includes(list, value)
  if #list == 0 then return true end
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

-- A closed pipe ends the command, and is no error (trueconf tail | head).
local function show(self, watched)
  if self.left <= 0 then return end
  self.left = self.left - 1
  local fits, line = pcall(self.format, self, watched)
  if not fits then line = as_json(self, watched) end -- a server may send anything
  local ok = io.write(line, "\n") and io.flush()
  if not ok or self.left <= 0 then self.over:wake(exit_codes.DONE) end
end

local function on_request(self, connected, method, _, id, epoch)
  if method ~= MESSAGE then connected.session:ack(id, epoch) end
  local text = client.masked(connected.session:payload_text())
  local decoded = json.receive(text)
  if type(decoded) ~= "table" then
    return exit_codes.note(NAME, ("left out a %s whose payload is no object"):format(terminal.line(method)))
  end
  local watched = {
    client = connected, event = name_of(method), method = method, chat_id = chat_of(decoded), payload = decoded,
    text = text,
  }
  if includes(self.given.event, watched.event) and includes(self.given.chat, watched.chat_id) then
    show(self, watched)
  end
end

local function on_state(self, new, err)
  if not self.client then return end    -- connection.open() reports a failure of the first attempt
  if new == "failed" then return self.over:wake(exit_codes.fail(NAME, err)) end
  if new == "backoff" and not self.lost then
    self.lost = true
    exit_codes.note(NAME, ("%s; trying again"):format(err or "the connection is lost"))
  elseif new == "ready" and self.lost then
    self.lost = false
    exit_codes.note(NAME, "connected again")
  end
end

-- Called before connecting: a script may wait for the first line of output and then send the signal.
local function watch_signals(self)
  stop_signals.watch(function()
    if not self.client then os.exit(exit_codes.DONE) end -- there is no connection to close yet
    self.over:wake(exit_codes.DONE)
  end, function() os.exit(exit_codes.DONE) end)
end

local function watch(self)
  if not self.given.quiet then exit_codes.note(NAME, "watching as " .. self.client:user_id()) end
  local code = self.over:wait()
  self.client:stop()
  return code
end

-- Flags ---------------------------------------------------------------------------------------

local function event(name)
  if events.method_of(name) then return name end
  return nil, "option '--event': " .. events.unknown_name(name):gsub("^on: ", "")
end

local function count(text)
  local value = text:find "^%d+$" and math.tointeger(tonumber(text))
  if value and value > 0 then return value end
  return nil, ("option '--count' must be a number above 0, got '%s'"):format(text:sub(1, 64))
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):epilog(EXAMPLES .. exit_codes.HELP)
    command:option("--event", "Show only events of this name: message, remove_message, ... May be repeated.")
      :argname "NAME":count "*":convert(event)
    command:option("--chat", "Show only what happens in this chat. May be repeated."):argname "ID":count "*"
    command:option("--count", "End after this many events."):argname "NUMBER":convert(count)
    command:flag("--system", "Show system messages, too.")
    command:flag("--json", "Print an object in each line: time, event, method, chat_id, and the payload as it came.")
    command:flag("-q --quiet", "Print nothing about the connection.")
    connection.describe(command)
  end,
  run = function(given)
    local self = {
      given = given, format = given.json and as_json or as_line, paint = terminal.painter(), over = core.waiter(),
      left = given.count or math.huge, lost = false,
    }
    watch_signals(self)
    local code
    self.client, code = connection.of_command(NAME, given, {
      on_request = function(...) on_request(self, ...) end,
      on_state = function(_, new, _, err) on_state(self, new, err) end,
    }, { receive_unread = false, receive_system = given.system, max_denials = 3 })
    if self.client then code = watch(self) end
    return code
  end,
}
