-- SPDX-License-Identifier: MIT
-- Public. trueconf: chat bots on TrueConf Server.
--
--   local trueconf = require "trueconf"
--   local bot = trueconf.bot { username = "herald", password = "4711" }
--   bot:on_message(function(msg) msg:reply("You said: " .. msg.text) end)
--   bot:run()
--

require "trueconf.base.needs"

local bot = require "trueconf.bot"
local client = require "trueconf.client"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local misuse = require "trueconf.base.misuse"
local log = require "trueconf.log"
local router = require "trueconf.bot.router"
local cancel_token = require "trueconf.files.cancel_token"

local trueconf = {
  _VERSION = core._VERSION,
  Error = Error,
  spawn = core.spawn,
  sleep = core.sleep,
  timer = core.timer,
  signal = core.signal,
  waiter = core.waiter,
  now = core.now,
  monotonic = core.monotonic,
  run = core.run,
  stop = core.stop,
  -- For a foreign event loop: call step() when fd() is readable or timeout() seconds are over.
  fd = core.fd,
  timeout = core.timeout,
  step = core.step,
}

-- Modules that only some programs need are loaded on first use.
local LAZY = {
  text = "trueconf.text", duration = "trueconf.duration", filter = "trueconf.filter",
  middleware = "trueconf.middleware", store = "trueconf.store", dialog = "trueconf.dialog",
}

setmetatable(trueconf, {
  __index = function(self, key)
    local value = LAZY[key] and require(LAZY[key])
    if not value then
      local names = {}
      for _, part in ipairs { self, LAZY } do
        for name in pairs(part) do names[name] = true end
      end
      misuse.refuse_near("trueconf", key, names, 2)
    end
    self[key] = value
    return value
  end,
})

-- Report the error of a coroutine that dies.
core.on_error(function(err, traceback, what)
  log.new():error("error in %s: %s", what, traceback ~= "" and traceback or tostring(err))
end)

---Make a bot. Settings come from the options, then the environment (TRUECONF_URL,
---TRUECONF_USERNAME, TRUECONF_PASSWORD, TRUECONF_TOKEN, TRUECONF_CA_FILE), then a config
---file; with no server named it is the local Bridge.
---@param options? trueconf.BotOptions
---@return trueconf.Bot
function trueconf.bot(options)
  return (bot.new(options, 2)) -- no tail call: a mistake is reported at the caller's line
end

---Make a cancel token. Given as the option `cancel` of `send_file` or `download`, it cancels them while they run.
---@return trueconf.CancelToken
function trueconf.cancel_token()
  return cancel_token.new()
end

---Make a client: a connection with calls, without handlers.
---@param options? trueconf.ClientOptions
---@return trueconf.Client
function trueconf.client(options)
  return (client.open(options, 2))
end

---Make a router: handlers that belong together, to be mounted in a bot or in another router.
---@return trueconf.Router
function trueconf.router()
  return router.open()
end

return trueconf
