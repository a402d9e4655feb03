-- SPDX-License-Identifier: MIT
-- A bot: handlers for messages and events, on top of a client. Messages of one chat are handled in order and one at a
-- time, different chats at the same time. A message is acknowledged when its handler has finished, so a crash loses
-- none.

local client = require "trueconf.client"
local dialogs = require "trueconf.bot.dialog"
local dispatch = require "trueconf.bot.dispatch"
local engines = require "trueconf.bot.engine"
local face = require "trueconf.base.face"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local persistence = require "trueconf.bot.persistence"
local questions = require "trueconf.bot.dialog.question"
local router = require "trueconf.bot.router"
local hooks = require "trueconf.base.hooks"
local stores = require "trueconf.store"

local RETRIES = 4                       -- of a request; see the option

---@class trueconf.BotOptions: trueconf.ClientOptions
---@field ack? "after"|"before"|"manual" when a message is acknowledged: after its handler has finished or has begun
---to wait for its next message (default), before it runs, or only by msg:ack()
---@field order? "chat"|"none" "none": every message at once, also those of one chat; default "chat"
---@field remember? integer ids of handled messages that are kept, so that a repeat is not handled; 0: none
---@field store? string|trueconf.Store for data that outlives the bot: a store, or the path of a SQLite file, and
---then the token is kept too, by default in PATH.token; default in memory
---@field tries? integer how often a handler that fails is tried before its message becomes a dead letter; default 1
---@field max_waiting? integer messages that may wait for their handlers; default 10000
---@field max_handlers? integer handlers that run at the same time, not counting those that wait for a person; default
---500
---@field handler_timeout? number seconds a handler may run, without the time it waits for a person; then it is closed,
---after a warning at half of the time; 0: no limit; default 600
---@field busy_timeout? number seconds a handler may compute without waiting, while nothing else can run; then it is
---closed; 0: no limit; default 30; one value for all bots of a process: that of the bot started last
---@field command_prefix? string first character of commands; default "/"
---@field help? boolean answer /help with the commands, unless there is a handler for it; default true
---@field ask_timeout? number seconds that msg:ask waits by default; default 3600
---@field ask_defaults? table defaults for the options of msg:ask, except choices, types and validation
---@field late_click? string|false answer, in personal chats, to a click on a question that is over or was asked before
---a restart of the bot; false: none; default "This question is over."
---@field double_click? number seconds in which further clicks on the same button are ignored; 0: each click counts;
---default 0.5
---@field max_dialogs? integer waiting dialogs; one more ends the oldest; default 10000
---@field stop_timeout? number seconds that stop() gives to running handlers; default 10
local OWN = {
  ack = { type = "string", enum = { "after", "before", "manual" }, default = "after" },
  order = { type = "string", enum = { "chat", "none" }, default = "chat" },
  remember = { type = "integer", min = 0, default = 10000 },
  store = { type = "string|table", check = function(store)
    if type(store) == "string" then return options.is_filled(store) end
    return stores.is_store(store), "must be a path or a store of trueconf.store"
  end },
  tries = { type = "integer", min = 1, default = 1 },
  max_waiting = { type = "integer", min = 1, default = 10000 },
  max_handlers = { type = "integer", min = 1, default = 500 },
  handler_timeout = { type = "number", min = 0, default = 600 },
  busy_timeout = { type = "number", min = 0, default = 30 },
  command_prefix = { type = "string", default = "/", check = function(prefix)
    return prefix:find "^[^%s%w]+$" ~= nil, "must be signs that are no letters, digits or spaces"
  end },
  help = { type = "boolean", default = true },
  ask_timeout = { type = "number", min = 0.001, default = 3600 },
  ask_defaults = { type = "table", default = {} },
  late_click = { type = "string|boolean", default = "This question is over.", check = function(words)
    return words ~= true and words ~= "", "must be a text, or false"
  end },
  double_click = { type = "number", min = 0, max = 60, default = 0.5 },
  max_dialogs = { type = "integer", min = 1, default = 10000 },
  stop_timeout = { type = "number", min = 0, default = 10 },
}

local SCHEMA = {}
for _, part in ipairs { client.SCHEMA, OWN } do
  for name, option in pairs(part) do SCHEMA[name] = option end
end

---@class trueconf.Bot: trueconf.Client, trueconf.Router
---@field data table shared by all handlers; the bot itself never touches it

-- Registration, on the router of a bot ----------------------------------------------------

local Bot = {}

---Handle notifications of the server that this version of the module does not know.
---@param handler fun(method: string, payload: table) gets the payload as it is on the wire
function Bot:on_unknown(handler)
  router.set_hook(self, "unknown", handler, "on_unknown", 2)
end

---Call a function at every change of the connection's state.
---@param handler fun(new: trueconf.State, old: trueconf.State, err: trueconf.Error?)
function Bot:on_state(handler)
  router.set_hook(self, "state", handler, "on_state", 2)
end

---Call a function when a handler raises an error or is closed; by default that is logged.
---@param handler fun(err: any, traceback: string, msg: trueconf.Message|table|nil, source: string?) with the message or
---event, and the line where the handler was registered
function Bot:on_error(handler)
  router.set_hook(self, "error", handler, "on_error", 2)
end

-- The class of bots for scripts.
local Face = face.class "trueconf.Bot"
face.add(Face, "bot", "client", client.Client)
face.add(Face, "bot", "router", router.Router)
face.add(Face, "bot", "router", Bot)
face.add(Face, "bot", "engine", engines.Engine, { "replace_handlers", "run", "start", "stop", "use_call" })
face.add(Face, "bot", "dispatch", dispatch.Dispatch, { "ack" })
face.add(Face, "bot", "dialogs", dialogs.Dialogs, { "chat", "dialogs" })
face.add(Face, "bot", "persistence", persistence.Persistence, {
  "dead_letters", "discard", "forget_unsent", "outbox", "post", "post_again", "requeue", "unsent", "with_session",
})
misuse.refuse_handlers(client.Face, Face, "the bot")
misuse.refuse_handlers(Face, Face, "the bot")

-- A process may hold thousands of bots: those with the usual options share them.
local USUAL = {}
for name, option in pairs(OWN) do USUAL[name] = option.default end

-- Takes the bot's own options out of the options of its client.
local function take_own(given, level)
  local own, differs = {}, next(given.ask_defaults) ~= nil
  if differs then given.ask_defaults = questions.check_defaults(given.ask_defaults, level + 1) end
  for name in pairs(OWN) do
    own[name], given[name] = given[name], nil
    differs = differs or own[name] ~= USUAL[name] and name ~= "ask_defaults"
  end
  if type(own.store) == "string" then given.token_file = given.token_file or own.store .. ".token" end
  return differs and own or USUAL
end

---Make a bot.
---@param given? trueconf.BotOptions
---@param level? integer
---@return trueconf.Bot
local function new(given, level)
  level = (level or 2) + 1
  given = options.check(SCHEMA, given or {}, level, "trueconf.bot")
  local living = hooks.making and hooks.making(given)
  if living then return living end
  local own = take_own(given, level)
  given.retries = given.retries or RETRIES
  local engine
  local account, settings = client.new(given, {
    on_request = function(...) engine:on_request(...) end,
    on_state = function(state, old, err, pause) engine:on_state(state, old, err, pause) end,
  }, level)
  engine = engines.new(account, own)
  engine.face = face.set(setmetatable({ log = account.log, url = account.url, data = {} }, Face), engine)
  account.face = engine.face
  if own.store then engine.persistence:open(own.store, level) end
  if hooks.made then hooks.made(engine, settings) end
  return engine.face
end

return { new = new }
