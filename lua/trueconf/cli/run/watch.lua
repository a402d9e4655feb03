-- SPDX-License-Identifier: MIT
-- Hot reload: runs the file of a bot again whenever it, or one of its modules, changes. All handlers are replaced at
-- once; the connection, waiting messages, running handlers and dialogs stay. While the file runs again, trueconf.bot{}
-- returns the existing bot, and bot:run() returns at once. A file with an error changes nothing.

local backgrounds = require "trueconf.cli.run.background"
local config = require "trueconf.client.settings"
local core = require "trueconf.core"
local log = require "trueconf.log"
local modules = require "trueconf.cli.run.modules"
local printable = require "trueconf.base.printable"
local script = require "trueconf.cli.run.script"
local hooks = require "trueconf.base.hooks"
local sorted_keys = require "trueconf.base.sorted_keys"
local stop_signals = require "trueconf.base.stop_signals"
local trueconf = require "trueconf"

local INTERVAL = 0.15                   -- seconds between two looks at the files

---@class trueconf.cli.Watched a client that the file has made
---@field client trueconf.Client|trueconf.Engine the client, or the engine of the bot
---@field given table? the options of a bot
---@field settings trueconf.Settings

---@class trueconf.cli.Watch
---@field path string
---@field args string[]
---@field clients trueconf.cli.Watched[]
---@field private modules trueconf.cli.Modules
---@field private background trueconf.cli.Background?
---@field private log trueconf.Log
local Watch = {}
Watch.__index = Watch

-- Existing bots -------------------------------------------------------------------------------------

-- Each run of the file makes new functions, so all functions count as equal.
local function same_token(one, other)
  return one == other or type(one) == "function" and type(other) == "function"
end

local function same_account(one, other)
  return one.url == other.url and one.username == other.username
    and (one.username ~= nil or same_token(one.token, other.token))
end

local function includes(list, client)
  for _, watched in ipairs(list) do
    if watched.client == client then return true end
  end
  return false
end

-- The existing bot of an account that this run of the file has not taken yet.
local function find(clients, settings, taken)
  for _, watched in ipairs(clients) do
    local fits = watched.given and same_account(watched.settings, settings)
    if fits and not includes(taken, watched.client) then return watched end
  end
end

local DEEPEST = 8                       -- levels of nested tables that are compared

local same_value

-- The names of the fields that differ.
local function differing(one, other, depth)
  local names = {}
  for _, fields in ipairs { one, other } do
    for name in pairs(fields) do
      if not same_value(one[name], other[name], depth) then names[name] = true end
    end
  end
  return names
end

-- Each run of the file makes new functions and objects, such as a logger or a store: they count as equal.
function same_value(one, other, depth)
  local kind = type(one)
  if kind ~= type(other) or kind ~= "function" and kind ~= "table" then return one == other end
  local plain = kind == "table" and not getmetatable(one) and not getmetatable(other)
  return not plain or depth == DEEPEST or not next(differing(one, other, depth + 1))
end

function Watch:adopt(watched, given)
  local names = sorted_keys(differing(watched.given, given, 1))
  if names[1] then
    self.log:warn("%s: a running bot keeps its options; to change %s, start it again", self.path,
      table.concat(names, ", "))
  end
  return watched
end

-- A copy of the options in the file, with the flags on top.
local function with_flags(given)
  local all = {}
  for _, options in ipairs { given, hooks.flags or {} } do
    for name, value in pairs(options) do all[name] = value end
  end
  return all
end

local function is_running(client)
  local state = client:state()
  return state ~= "idle" and state ~= "closed" and state ~= "failed"
end

local function run_bot(bot)
  if not is_running(bot) then bot:start() end
  return true
end

-- While the file runs, note each bot that it makes in `made`.
function Watch:hold(made)
  local given_last
  function hooks.making(given)
    given_last = with_flags(given)
    local settings = config.resolve(hooks.settings and hooks.settings(given_last) or given_last)
    local living = settings and find(self.clients, settings, made)
    if not living then return nil end
    table.insert(made, self:adopt(living, given_last))
    return living.client.face
  end
  function hooks.made(client, settings)
    table.insert(made, { client = client, given = given_last, settings = settings })
    given_last = nil
  end
end

local function let_go()
  hooks.making, hooks.made = nil, nil
end

-- Running the file ----------------------------------------------------------------------------------

local GIVEN_UP = ": it has blocked the loop, and was ended"

-- Runs the file in a coroutine of its own, so that the runtime can end it.
local function run_apart(self, background)
  local over = core.waiter()
  core.spawn(function()
    local _ <close> = setmetatable({}, { __close = function() over:wake(false, self.path .. GIVEN_UP) end })
    background:enter()
    local chunk, wrong = script.read(self.path, 0)
    if not chunk then return over:wake(false, wrong) end
    over:wake(script.run(chunk, self.path, self.args))
  end)
  return over:wait()
end

local NO_BOT = " has made no bot; a bot's file ends with bot:run() or returns the bot"

local function run_file(self, background, made)
  local ok, bot = run_apart(self, background)
  if not ok then error(bot, 0) end
  if not made[1] then error(self.path .. NO_BOT, 0) end
  if bot then run_bot(bot) end
end

-- Run the file while all existing bots collect their new handlers, which are dropped if the file fails.
local function run_with(clients, index, run)
  local watched = clients[index]
  if not watched then return run() end
  if not watched.given then return run_with(clients, index + 1, run) end
  local ok, err = watched.client:replace_handlers(function() run_with(clients, index + 1, run) end)
  if not ok then error(err, 0) end
end

-- Stop those clients that are not among others.
local function stop_others(clients, others)
  for _, watched in ipairs(clients) do
    if not includes(others, watched.client) then core.spawn(watched.client.stop, watched.client) end
  end
end

---Run the file, for the first time or again.
---@async
---@return boolean ok
---@return string? complaint
function Watch:load()
  local made, background, restore = {}, backgrounds.new(), self.modules:forget()
  self:hold(made)
  local ok, complaint = pcall(run_with, self.clients, 1, function() run_file(self, background, made) end)
  let_go()
  local ended = ok and self.background or not ok and background
  if ended then ended:close() end
  if ok then
    stop_others(self.clients, made)
    self.clients, self.background = made, background
    return true
  end
  restore()
  stop_others(made, self.clients)
  return false, complaint
end

-- The life of the command ---------------------------------------------------------------------------

-- True if all bots have ended; the second result says whether one has failed.
function Watch:ended()
  local failed = false
  for _, watched in ipairs(self.clients) do
    if is_running(watched.client) then return false end
    failed = failed or watched.client:state() == "failed"
  end
  return self.clients[1] ~= nil, failed
end

---Run the file again whenever it has changed, until its bots have come to an end.
---@async
---@return boolean failed a bot has given up
function Watch:follow()
  while true do
    core.sleep(INTERVAL)
    local ended, failed = self:ended()
    if ended then return failed end
    if self.modules:changed() then
      local ok, complaint = self:load()
      if ok then
        self.log:info("%s: reloaded", self.path)
      else
        self.log:error("%s; %s", complaint, self.clients[1] and "the old code keeps running" or "waiting for a change")
      end
    end
  end
end

---Stop all bots gracefully.
---@async
function Watch:stop()
  local waiters = {}
  for index, watched in ipairs(self.clients) do
    waiters[index] = core.waiter()
    core.spawn(function()
      watched.client:stop()
      waiters[index]:wake()
    end)
  end
  for _, waiter in ipairs(waiters) do waiter:wait() end
  if self.background then self.background:close() end
end

---@param path string
---@param args string[]
---@param logger? trueconf.Log
---@return trueconf.cli.Watch
local function new(path, args, logger)
  backgrounds.install()
  hooks.run = run_bot
  trueconf.run = function() end
  return setmetatable({
    path = path, args = args, clients = {}, modules = modules.new(path), log = logger or log.new(),
  }, Watch)
end

local function stop_on_signals(watch, over)
  stop_signals.watch(function()
    watch:stop()
    over:wake(0)
  end, function(name) over:wake(1, "stopped by " .. name) end)
end

---Run a bot until it ends or is stopped, and reload its file whenever it changes.
---@param path string
---@param args string[]
---@return integer exit_code
local function run(path, args)
  local watch, over = new(path, args), core.waiter()
  stop_on_signals(watch, over)
  core.spawn(function()
    local ok, complaint = watch:load()
    if not ok then watch.log:error("%s; waiting for a change", complaint) end
    over:wake(watch:follow() and 1 or 0)
  end)
  local code, complaint = over:wait()
  if complaint then io.stderr:write("trueconf run: ", printable.lines(complaint), "\n") end
  return code
end

return { new = new, run = run }
