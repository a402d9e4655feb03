-- SPDX-License-Identifier: MIT
-- The engine of a bot: receiving, dispatch, dialogs and persistence, each an object with its own fields. The engine
-- knows its link to the server by what it calls on it (`ack`, `drop`, `start`, ...) and by what the link calls here
-- (on_request, on_state), and its queue by its verbs.

local acks = require "trueconf.bot.acks"
local clicks = require "trueconf.bot.clicks"
local core = require "trueconf.core"
local dialogs = require "trueconf.bot.dialog"
local dispatch = require "trueconf.bot.dispatch"
local Error = require "trueconf.base.error"
local options = require "trueconf.base.options"
local persistence = require "trueconf.bot.persistence"
local queue = require "trueconf.bot.queue"
local receive = require "trueconf.bot.receive"
local router = require "trueconf.bot.router"
local hooks = require "trueconf.base.hooks"
local stop_signals = require "trueconf.base.stop_signals"
local handler_run = require "trueconf.bot.handler_run"

---@class trueconf.Engine
---@field face trueconf.Bot the object that the script holds
---@field client trueconf.Client the calls of the API
---@field link trueconf.core.Session
---@field options trueconf.BotOptions
---@field router trueconf.Router the registrations of the script
---@field queue trueconf.Queue
---@field acks trueconf.Acks
---@field receive trueconf.Receive
---@field dispatch trueconf.Dispatch
---@field dialogs trueconf.Dialogs
---@field clicks trueconf.Clicks
---@field persistence trueconf.Persistence
---@field ready_at number? monotonic seconds; nil: it was never connected
---@field stopping boolean?
---@field stopped boolean?
---@field ended trueconf.core.Waiter? run() waits on it
local Engine = {}

-- A process may hold thousands of bots: the parts are made on first use.
local parts = {
  clicks = clicks.new, dialogs = dialogs.new, dispatch = dispatch.new, persistence = persistence.new,
  receive = receive.new,
  acks = function(engine) return acks.new(engine.link) end,
  queue = function(engine)
    local given = engine.options
    local own = queue.new { limit = math.max(given.remember, 1), max_waiting = given.max_waiting }
    own.on_ready = function() engine.dispatch:begin_ready() end
    return own
  end,
}

local meta = { __index = function(self, key)
  local make = parts[key]
  if not make then return Engine[key] end
  local part = make(self)
  rawset(self, key, part)
  return part
end }

-- Registration ----------------------------------------------------------------------------

---Add middleware around all calls of the bot, outermost first; see client:use_call().
---@param layer trueconf.CallMiddleware
function Engine:use_call(layer)
  if type(layer) ~= "function" then options.refuse("use_call", "a function", layer, 2) end
  table.insert(router.own_part(self.router.draft or self.router.routes, "calls"), layer)
  self.client.call_layers = self.router.routes.calls
end

local function set_routes(self, routes)
  self.router.routes, self.client.call_layers = routes, routes.calls
end

---Hot reload: replace all registrations of the bot at once: handlers, middleware, on_error and the rest. The
---connection, waiting messages and running handlers stay; running handlers finish with the old code. If `register`
---fails, nothing changes.
---@param register fun(bot: trueconf.Bot) registers everything anew
---@return true? ok
---@return any err raised by `register`
function Engine:replace_handlers(register)
  local draft = router.new_routes()
  self.router.draft = draft
  local ok, err = xpcall(register, handler_run.with_traceback, self.face)
  self.router.draft = nil
  if not ok then return nil, err.err end
  set_routes(self, draft)
  return true
end

-- Help ------------------------------------------------------------------------------------

local function answer_help(self, context)
  local msg = context.event
  local name = msg.command.text:match "^%S+"
  name = name and core.fold(name:gsub("^" .. self.options.command_prefix:gsub("%p", "%%%0"), ""))
  local text = router.help(self.router, context, name)
  if text then assert(msg:reply(text)) end
  return text ~= nil
end

-- Handle an event that no handler took: answer /help, unless the script has a handler for it.
local function fall_back(own, context, routes)
  local self = context.engine
  local wants_help = self.options.help and context.method == router.MESSAGE and context.event.command
    and context.event.command.name == "help"
  if wants_help and router.is_meant(context) and answer_help(self, context) then return true end
  if context.method == router.CLICK and self.clicks:take_late(context.event) then return true end
  return router.fall_back(own, context, routes)
end

-- The link --------------------------------------------------------------------------------

---A request of the server, at the drain point: nothing here may wait.
---@private
---@param method string
---@param payload any
---@param id integer for its ack
---@param epoch integer of its connection
---@param why string? the payload is not JSON
function Engine:on_request(method, payload, id, epoch, why)
  self.receive:on_request(method, payload, id, epoch, why)
end

-- Name the doctor when connecting fails, not when a working connection is lost.
local function log_state(self, new, old, err, pause)
  local log, url = self.client.log, self.client.url
  if new == "failed" then
    log:error("%s: gave up: %s", url, err)
  elseif new == "backoff" then
    log:warn("%s: %s; %s, trying again in %.0f s%s", url,
      old == "ready" and "connection lost" or "no connection", err or "for no known reason", pause,
      old ~= "ready" and " (trueconf doctor looks for the cause)" or "")
  elseif new == "ready" then
    log:info("%s: ready as %s", url, self.client:user_id())
  else
    log:debug("%s: %s -> %s", url, old, new)
  end
end

---The link has changed its state.
---@private
---@param new trueconf.State
---@param old trueconf.State
---@param err trueconf.Error?
---@param pause number? seconds until the next try
function Engine:on_state(new, old, err, pause)
  if new == "ready" then
    self.ready_at = core.monotonic()
    if rawget(self, "queue") then self.dispatch:begin_ready() end
  end
  log_state(self, new, old, err, pause)
  local hook = self.router.routes.hooks.state
  if hook then
    local ok, failure = xpcall(hook.run, handler_run.with_traceback, new, old, err)
    if not ok then self.dispatch:report(failure, nil, hook.source) end
  end
  if new == "failed" then self.ended:wake(nil, err) end
  if new == "closed" then self.ended:wake(true) end
end

---@private
---@return trueconf.State
function Engine:state()
  return self.link:state()
end

---@private
---@return string?
function Engine:user_id()
  return self.client:user_id()
end

---@private
---@async
---@param timeout number?
function Engine:wait_ready(timeout)
  return self.link:wait_ready(timeout)
end

-- Running ---------------------------------------------------------------------------------

---Connect and begin to handle messages; returns at once.
---@private
function Engine:start()
  local kept = rawget(self, "persistence")
  if kept then kept:reopen() end
  self.stopping, self.stopped, self.ended = false, false, core.waiter()
  core.busy_limit(self.options.busy_timeout)
  handler_run.unwatch(self)
  self.link:start()
  if kept then kept:start() end
  if not rawget(self, "queue") then return end
  self.queue:hurry()                    -- what was put off while the bot stopped
  self.dispatch:begin_ready()
end

---The coroutines of its handlers.
---@private
---@return thread[]
function Engine:threads()
  return handler_run.threads(self)
end

---No handler of the bot runs any more.
---@private
function Engine:settle_down()
  handler_run.unwatch(self)
  local kept = rawget(self, "persistence")
  if kept then kept:close() end
end

---Graceful shutdown: take no more messages, let handlers finish, send waiting posts, and close the connection.
---Unhandled messages stay unread at the server; unsent posts stay in the store, if it is a file.
---@async
---@param deadline? number seconds for the handlers and for posted messages that no file keeps; default the option
---stop_timeout
function Engine:stop(deadline)
  local ends = core.monotonic() + (deadline or self.options.stop_timeout)
  local kept = rawget(self, "persistence")
  self.stopping = true
  if kept then kept:stop_writing() end
  if rawget(self, "queue") then self.queue:hurry() end
  if rawget(self, "dialogs") then self.dialogs:end_all() end
  self.dispatch:wait_until_idle(math.max(0, ends - core.monotonic()))
  kept = rawget(self, "persistence")
  if kept then kept:stop(ends - core.monotonic()) end
  self.client:stop()
  self.stopped = true
  if self.dispatch.working == 0 then self:settle_down() end
end

local function watch_signals(self)
  local function end_now(name) self.ended:wake(nil, Error.new("CANCELLED", ("stopped by %s"):format(name))) end
  return stop_signals.watch(function(name)
    if self.stopping then end_now(name) else self:stop() end
  end, end_now)
end

local function run(self)
  local state = self:state()
  if state == "idle" or state == "closed" or state == "failed" then self:start() end
  local _ <close> = not hooks.settings and watch_signals(self) or nil
  local ok, err = self.ended:wait()
  return ok, err
end

---Run until the bot is stopped, by stop(), SIGINT or SIGTERM, or gives up.
---@async
---@return true? ok
---@return trueconf.Error? err the reason why it gave up
function Engine:run()
  return (hooks.run or run)(self, run)
end

---@param client trueconf.Client
---@param given trueconf.BotOptions
---@return trueconf.Engine
local function new(client, given)
  local own = router.new(fall_back)
  local self = setmetatable({ client = client, link = client.session, options = given, router = own }, meta)
  client.engine, self.engine = self, self
  set_routes(self, own.routes)
  return self
end

return { new = new, Engine = Engine }
