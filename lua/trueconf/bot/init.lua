-- SPDX-License-Identifier: MIT
-- A bot: handlers for what comes in, on top of a client. Messages of one chat are handled
-- in order and one at a time, chats run beside each other, and a message is acknowledged
-- when its handler has finished: a crash loses none.

local clicks = require "trueconf.bot.clicks"
local client = require "trueconf.client"
local core = require "trueconf.core"
local delivery = require "trueconf.bot.persistence"
local dialogs = require "trueconf.bot.dialog"
local Error = require "trueconf.base.error"
local handlers = require "trueconf.bot.dispatch"
local intake = require "trueconf.bot.receive"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local questions = require "trueconf.bot.dialog.question"
local queue = require "trueconf.bot.queue"
local router = require "trueconf.bot.router"
local hooks = require "trueconf.base.hooks"
local stop_signals = require "trueconf.base.stop_signals"
local stores = require "trueconf.store"
local works = require "trueconf.bot.handler_run"

---@class trueconf.BotOptions: trueconf.ClientOptions
---@field ack? "after"|"before"|"manual" when a message is acknowledged: after its handler has finished or has begun
---to wait for its next message (default), before it runs, or only by msg:ack()
---@field order? "chat"|"none" "none": every message at once, also those of one chat; default "chat"
---@field remember? integer ids of handled messages that are kept, so that a repeat is not handled; 0: none
---@field store? string|trueconf.Store where it keeps what must outlive it: a store, or the path of a SQLite file, and
---then the token too, in PATH.token, unless `token_file` says otherwise; default in memory
---@field tries? integer how often a handler that fails is tried before its message is set aside; default 1
---@field max_waiting? integer messages that may wait for their handlers; default 10000
---@field max_handlers? integer handlers at work at the same time, without those that wait for a person; default 500
---@field handler_timeout? number seconds a handler may be at work, not counting what it waits for a person; then it is
---closed, after a warning at half of it; 0: no limit; default 600
---@field busy_timeout? number seconds a handler may compute without waiting, while nothing else can run; then it is
---closed; 0: no limit; default 30; the same for all bots of a process, the last one that is started decides
---@field command_prefix? string what commands begin with; default "/"
---@field help? boolean answer /help with the commands, unless there is a handler for it; default true
---@field ask_timeout? number seconds msg:ask waits unless told otherwise; default 3600
---@field ask_defaults? table what msg:ask does unless told otherwise: its options but for choices, types, validation
---@field late_click? string|false what somebody is told in a personal chat who clicks a choice of a question that is
---over, or was asked before the bot was started again; false: nothing; default "This question is over."
---@field double_click? number seconds in which further clicks on the same button are one with the first; 0: each click
---counts; default 0.5
---@field max_dialogs? integer dialogs that may wait for somebody; one more ends the oldest; default 10000
---@field stop_timeout? number seconds stop() gives to handlers at work; default 10
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
---@field data table what handlers share; nothing of it is touched by the bot
---@field private inbox trueconf.Queue
---@field private ready_at number monotonic seconds; 0: it was never connected
local Bot = setmetatable({}, { __index = client.Client })
Bot.__index = Bot
Bot.__name = "trueconf.Bot"
Bot.retries = 4
Bot.ready_at = 0

for _, part in ipairs { router.Router, intake, handlers, dialogs, clicks, delivery } do
  for name, method in pairs(part) do
    if not name:find "^__" then Bot[name] = method end
  end
end

-- A process may hold thousands of bots: each keeps only those options that are not the usual ones.
local KEPT = {
  ack = "ack_when", tries = "tries", ask_timeout = "ask_timeout", stop_timeout = "stop_timeout",
  ask_defaults = "ask_defaults", late_click = "late_click", double_click = "double_click",
  max_dialogs = "max_dialogs", max_handlers = "max_handlers",
  handler_timeout = "handler_timeout", busy_timeout = "busy_timeout", command_prefix = "command_prefix", help = "help",
}
for name, field in pairs(KEPT) do Bot[field] = OWN[name].default end

-- Registration ----------------------------------------------------------------------------

---Handle what the server tells and this version of the module does not know.
---@param handler fun(method: string, payload: table) gets everything as it is on the wire
function Bot:on_unknown(handler)
  self:set_hook("unknown", handler, "on_unknown", 2)
end

---Be told of every change of the connection's state.
---@param handler fun(new: trueconf.State, old: trueconf.State, err: trueconf.Error?)
function Bot:on_state(handler)
  self:set_hook("state", handler, "on_state", 2)
end

---Be told when a handler raises an error or is ended; else it goes to the log.
---@param handler fun(err: any, traceback: string, msg: trueconf.Message|table|nil, place: string?) with the message or
---event, and where the handler was registered
function Bot:on_error(handler)
  self:set_hook("error", handler, "on_error", 2)
end

---Put a function around all calls of the bot's, outermost first; see client:use_call().
---@param layer trueconf.CallMiddleware
function Bot:use_call(layer)
  if type(layer) ~= "function" then options.refuse("use_call", "a function", layer, 2) end
  table.insert(router.own_part(self.draft or self.routes, "calls"), layer)
  self.call_layers = self.routes.calls
end

local function set_routes(self, routes)
  self.routes, self.call_layers = routes, routes.calls
end

---Exchange all that is registered with the bot, at once: handlers, middleware, on_error and the rest.
---The connection, messages that wait and handlers at work stay; those finish with what they began
---with. If `register` fails, everything stays as it was.
---@param register fun(bot: trueconf.Bot) registers everything anew
---@return true? ok
---@return any err what `register` has raised
function Bot:replace_handlers(register)
  local draft = router.new_routes()
  self.draft = draft
  local ok, err = xpcall(register, works.with_traceback, self)
  self.draft = nil
  if not ok then return nil, err.err end
  set_routes(self, draft)
  return true
end

-- Help ------------------------------------------------------------------------------------

local function answer_help(self, walk)
  local msg = walk.event
  local name = msg.command.text:match "^%S+"
  name = name and core.fold(name:gsub("^" .. self.command_prefix:gsub("%p", "%%%0"), ""))
  local text = router.help(self, walk, name)
  if text then assert(msg:reply(text)) end
  return text ~= nil
end

-- What no handler took: the help is there unless a handler is for it.
function Bot:fall_back(walk, routes)
  local wants_help = self.help and walk.method == router.MESSAGE and walk.event.command
    and walk.event.command.name == "help"
  if wants_help and router.is_meant(walk) and answer_help(self, walk) then return true end
  if walk.method == router.CLICK and self:take_late_click(walk.event) then return true end
  return router.Router.fall_back(self, walk, routes)
end

-- Running ---------------------------------------------------------------------------------

-- The doctor is named when the way to the server does not work, not when a connection that worked is lost.
local function log_state(self, new, old, err, pause)
  if new == "failed" then
    self.log:error("%s: gave up: %s", self.url, err)
  elseif new == "backoff" then
    self.log:warn("%s: %s; %s, trying again in %.0f s%s", self.url,
      old == "ready" and "connection lost" or "no connection", err or "no reason told", pause,
      old ~= "ready" and " (trueconf doctor looks for the cause)" or "")
  elseif new == "ready" then
    self.log:info("%s: ready as %s", self.url, self:user_id())
  else
    self.log:debug("%s: %s -> %s", self.url, old, new)
  end
end

function Bot:state_changed(new, old, err, pause)
  if new == "ready" then
    self.ready_at = core.monotonic()
    self:begin_lanes()
  end
  log_state(self, new, old, err, pause)
  local hook = self.routes.hooks.state
  if hook then
    local ok, failure = xpcall(hook.run, works.with_traceback, new, old, err)
    if not ok then self:report(failure, nil, hook.place) end
  end
  if new == "failed" then self.ended:wake(nil, err) end
  if new == "closed" then self.ended:wake(true) end
end

---Connect and begin to handle messages; returns at once.
function Bot:start()
  self:reopen_store()
  self.stopping, self.stopped, self.ended = false, false, core.waiter()
  core.busy_limit(self.busy_timeout)
  works.unwatch(self)
  self.session:start()
  if self.outbox_box then self.outbox_box:start() end
  self:begin_lanes()
end

-- Wait until the handlers at work have finished; the one that calls is not waited for.
local function wait_for_handlers(self, deadline)
  self.idle_at = self.works[coroutine.running()] and 1 or 0
  if self.working <= self.idle_at then return end
  self.idle = core.waiter()
  self.idle:wait(deadline)
  self.idle = nil
end

---Nothing of the bot is at work any more.
---@private
function Bot:settle_down()
  works.unwatch(self)
  self:close_store()
end

---Take no more messages, let handlers finish, send what waits to be sent, and close the
---connection. What was not handled stays unread at the server; what was posted and is not sent stays in
---the store, if that is a file.
---@async
---@param deadline? number seconds for the handlers and for posted messages that no file keeps; default the option
---stop_timeout
function Bot:stop(deadline)
  local ends = core.monotonic() + (deadline or self.stop_timeout)
  self.stopping = true
  self:stop_retries()
  self:end_dialogs()
  wait_for_handlers(self, math.max(0, ends - core.monotonic()))
  if self.outbox_box then self.outbox_box:stop(ends - core.monotonic()) end
  if self.store then self.store:commit() end -- for which the last acks wait
  client.Client.stop(self)
  self.stopped = true
  if self.working == 0 then self:settle_down() end
end

local function watch_signals(self)
  local function end_now(name) self.ended:wake(nil, Error.new("CANCELLED", ("stopped by %s"):format(name))) end
  return stop_signals.watch(function(name)
    if self.stopping then end_now(name) else self:stop() end
  end, end_now)
end

local function run(self)
  if self:state() == "idle" or self:state() == "closed" or self:state() == "failed" then self:start() end
  local _ <close> = not hooks.settings and watch_signals(self) or nil
  local ok, err = self.ended:wait()
  return ok, err
end

---Run until the bot is stopped, by stop(), SIGINT or SIGTERM, or gives up.
---@async
---@return true? ok
---@return trueconf.Error? err why it gave up
function Bot:run()
  return (hooks.run or run)(self, run)
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
  local own = {}
  for name in pairs(OWN) do own[name], given[name] = given[name], nil end
  if next(own.ask_defaults) then own.ask_defaults = questions.check_defaults(own.ask_defaults, level) end
  if type(own.store) == "string" then given.token_file = given.token_file or own.store .. ".token" end
  local self
  self = client.new(given, {
    on_request = function(method, payload, id, epoch) self:on_request(method, payload, id, epoch) end,
    on_state = function(state, old, err, pause) self:state_changed(state, old, err, pause) end,
  }, level)
  self.ordered, self.remembers = own.order == "chat", own.remember > 0
  for name, field in pairs(KEPT) do
    if own[name] ~= Bot[field] then self[field] = own[name] end
  end
  self.inbox = queue.new { limit = math.max(own.remember, 1), max_waiting = own.max_waiting }
  self.data = {}
  self.working, self.at_work, self.idle_at = 0, 0, 0
  works.register(self)
  set_routes(self, router.new_routes())
  setmetatable(self, Bot):open_store(own.store, level)
  return self
end

-- The others are for the bot itself, and called for each message.
misuse.guard(Bot, "bot", {
  "ack", "aside", "chat", "dialogs", "forget_aside", "forget_unsent", "on_error", "on_state", "on_unknown", "outbox",
  "post", "post_again", "replace_handlers", "replay", "run", "start", "stop", "unsent", "use_call", "with_session",
})
misuse.refuse_handlers(client.Client, Bot, "the bot")

return { new = new }
