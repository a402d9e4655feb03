-- SPDX-License-Identifier: MIT
-- Runs a Bridge and a bot in the process of `trueconf chat`, so that one command tries a bot. The bot's file needs no
-- change: the bot gets address, account and password of this Bridge, whatever its file says.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local logs = require "trueconf.log"
local script = require "trueconf.cli.run.script"
local hooks = require "trueconf.base.hooks"
local watch = require "trueconf.cli.run.watch"

local READY_WITHIN = 10                 -- seconds

---@class trueconf.cli.Host
---@field server trueconf.bridge.Server
---@field bot string? login of the first bot
---@field private watch trueconf.cli.Watch
local Host = {}
Host.__index = Host

-- Options of a bot that could lead it to another server or account.
local ELSEWHERE = {
  "password", "oauth_client_id", "web_url", "token_file", "ca_file", "tls", "proxy", "headers",
  "allow_plaintext", "server_version",
}

local function settings_for(server, log)
  return function(given)
    local settings = {}
    for name, value in pairs(given) do settings[name] = value end
    for _, name in ipairs(ELSEWHERE) do settings[name] = nil end
    settings.username = given.username or os.getenv "TRUECONF_USERNAME" or "bot"
    if not server.accounts:by_login(settings.username) then server:add_account(settings.username) end
    settings.url, settings.token, settings.log = server:url(), server:mint_token(settings.username), given.log or log
    return settings
  end
end

---Start both.
---@async
---@param path string of the bot's file
---@param args string[]
---@param logging table options of trueconf.log
---@return trueconf.cli.Host? host
---@return string? complaint
local function start(path, args, logging)
  local log = logs.new(logging)
  local server, err = bridge.start { port = 0, control = { key = true }, log = logging }
  if not server then return nil, tostring(err) end
  hooks.settings = settings_for(server, log)
  script.search_beside(path)
  local self = setmetatable({ server = server, watch = watch.new(path, args, log) }, Host)
  local ok, complaint = self.watch:load()
  if ok then
    local first = self.watch.clients[1].client
    ok, complaint = first:wait_ready(READY_WITHIN)
    self.bot = first:user_id()
  end
  if not ok then
    self:stop()
    return nil, tostring(complaint)
  end
  self.bot = self.bot:match "^[^@]*"
  core.spawn(self.watch.follow, self.watch)
  return self
end

---@async
function Host:stop()
  self.watch:stop()
  self.server:stop()
end

return { start = start }
