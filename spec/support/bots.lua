-- SPDX-License-Identifier: MIT
-- A bot against a Bridge in the same process, for specs of what a bot does with what it gets.

local behind = require("trueconf.base.hooks").behind
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local message = require "trueconf.bot.message"
local system = require "spec.support.system"
local trueconf = require "trueconf"

local bots = {}

bots.LIMIT = 10                         -- seconds any single step may take

---Wrap the body of a case: a Bridge and a bot that `prepare` gives its handlers run meanwhile.
---@param prepare fun(bot: trueconf.Bot)
---@param body fun(case: table) gets bot, server, mira, chat (Mira's with the bot)
---@param options? table of the bot; `bridge`: those of the Bridge; `deadline`: seconds of the case
function bots.case(prepare, body, options)
  return helper.async(function()
    options = options or {}
    local server = system.start_bridge(options.bridge)
    local given = system.bot_options(server)
    for name, value in pairs(options) do
      if name ~= "bridge" and name ~= "deadline" then given[name] = value end
    end
    local bot = trueconf.bot(given)
    local case = { bot = bot, server = server, mira = server:person "mira" }
    prepare(bot, case)
    bot:start()
    assert(bot:wait_ready(bots.LIMIT))
    case.chat = case.mira:chat_with "herald"
    local ok, err = xpcall(body, debug.traceback, case)
    bot:stop(1)
    server:stop()
    if not ok then error(err, 0) end
  end, options and options.deadline)
end

---The same in virtual time: it goes on only while the body calls core.advance().
function bots.virtual_case(prepare, body, options)
  local given = { deadline = 1e7, ping_interval = 0, bridge = { ping_interval = 0 } }
  for name, value in pairs(options or {}) do given[name] = value end
  return function()
    core.virtual_time(true, nil, 7)
    local ok, err = pcall(bots.case(prepare, body, given))
    core.virtual_time(false)
    if not ok then error(err, 0) end
  end
end

---The next message that a person hears.
function bots.hear(person)
  return assert(person:wait_message(bots.LIMIT)).text
end

---Say something and return what is heard next.
function bots.ask(case, text, opts)
  assert(case.chat:say(text, opts))
  return bots.hear(case.mira)
end

---A log that keeps its lines.
---@return trueconf.Log log
---@return string[] lines
function bots.log(level)
  local lines = {}
  local log = require("trueconf.log").new {
    level = level or "warn", sink = function(_, text) lines[#lines + 1] = text end,
  }
  return log, lines
end

-- Messages without a server ----------------------------------------------------------------------

bots.ME, bots.USER, bots.CHAT = "herald@chat.acme.test", "mira@chat.acme.test", "c1"

-- The engine and client behind such a message, and its bot as well.
local stand_in = {}
stand_in.face = stand_in
function stand_in.user_id() return bots.ME end

---A message as a bot would get it.
---@param content table
---@param more? table fields of the payload; `kind`: the chat's type; `bot`: else a mere stand-in
---@return trueconf.Message
function bots.message(content, more)
  more = more or {}
  local payload = {
    messageId = "m1", chatId = bots.CHAT, timestamp = 5, author = { id = bots.USER, type = 1 },
    box = { id = 1, position = "0" }, type = 200, isEdited = false, content = content,
    chat = { chatId = bots.CHAT, chatTitle = "Ops", chatType = more.kind or 2 },
  }
  for key, value in pairs(more) do
    if key ~= "kind" and key ~= "bot" then payload[key] = value end
  end
  local bot = more.bot or stand_in
  return message.new(behind(bot) and behind(bot).client or bot, {
    key = bots.CHAT, id = payload.messageId, payload = payload, chat_id = bots.CHAT, tries = 0,
  })
end

---@param text string
---@param more? table
---@return trueconf.Message
function bots.html(text, more)
  return bots.message({ text = text, parseMode = "html" }, more)
end

return bots
