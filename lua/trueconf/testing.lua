-- SPDX-License-Identifier: MIT
-- Public. A test kit for authors of bots. The bot runs in the process of the test, at a Bridge in the same process,
-- under virtual time and with seeded random numbers, so that a test is fast and runs the same way each time.
--
--   local t = require("trueconf.testing").start { bot = "bot.lua" }
--   local anna = t:user "anna"
--   anna:says "/order"
--   t:expect(anna):hears "Which size?"
--   t:advance "2h"
--   t:expect(anna):hears "Are you still there?"
--   t:stop()
--
-- Works with any test framework, and without one: a failed expectation is an error.

require "trueconf.base.needs"

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local duration = require "trueconf.duration"
local expect = require "trueconf.testing.expect"
local failure = require "trueconf.testing.failure"
local golden = require "trueconf.testing.golden"
local launch = require "trueconf.testing.launch"
local log = require "trueconf.log"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local transcript = require "trueconf.testing.transcript"
local user = require "trueconf.testing.user"
local world = require "trueconf.testing.world"

local PASSWORD = "secret of a test"
local READY_WITHIN = 60                 -- seconds of virtual time until a bot is connected
local INSTANT = 1e-6                    -- seconds; shorter spans count as none
local BETWEEN_CLICKS = 1                -- seconds between two clicks of a person on the same button
local STOP_WITHIN = 120                 -- seconds of virtual time until a bot has stopped
local LAST_ENTRIES = 15                 -- of the transcript, in the text of a failure
local LAST_LOG_LINES = 10
local MOST_ERRORS = 100                 -- errors of handlers that are kept

---@class (exact) trueconf.testing.Options
---@field bot string|function|table path of the bot's script; or the name of a module; or a function that gets the
---options for trueconf.bot and returns the bot; or a table with such a function as `new`
---@field args? string[] arguments of the script
---@field login? string login of a bot that names none; default "bot"
---@field accounts? table<string, string|trueconf.bridge.AccountSpec> of the Bridge, by login
---@field bridge? trueconf.bridge.Options further options of the Bridge
---@field seed? integer seed of all random numbers; default 1
---@field now? integer the time at the beginning, UNIX milliseconds; default 2026-01-01, 00:00 UTC
---@field patience? integer seconds of real time after which a single step is given up; default 60
---@field log? trueconf.LogLevel|"off" lines of the bot's log from this level on go to the standard error; default "off"
local SCHEMA = {
  bot = { type = "string|function|table", required = true },
  args = { type = "table", default = {}, check = options.is_list_of_strings },
  login = { type = "string", default = "bot" },
  accounts = { type = "table", default = {} },
  bridge = { type = "table", default = {} },
  seed = { type = "integer", default = 1 },
  now = { type = "integer", min = 0 },
  patience = { type = "integer", min = 1, default = 60 },
  log = { type = "string", default = "off", check = log.is_log },
}

---@class trueconf.testing.Group
---@field id string of the chat
---@field title string

---@class trueconf.testing.Kit
---@field bridge trueconf.bridge.Server
---@field bots trueconf.Bot[] the bots and clients that were made, in order
---@field private engines (trueconf.Engine|trueconf.Client)[] their engines and clients
---@field private options table
---@field private world trueconf.testing.World
---@field private script trueconf.testing.Transcript
---@field private users table<string, trueconf.testing.User>
---@field private logins table<string, boolean> of bots, in lower case
---@field private errors { err: any, traceback: string, what: string }[] of handlers, not reported yet
---@field private log_lines string[]
---@field private groups integer
local Kit = {}
Kit.__index = Kit
Kit.__name = "trueconf.testing.Kit"

local running                           -- the kit that has not been stopped yet

-- Time --------------------------------------------------------------------------------------

-- Run the loop until fn() is true.
function Kit:drive(fn)
  local began = world.real_time()
  while not fn() do
    core.step()
    if world.real_time() - began > self.options.patience then
      self.stuck = true
      self:fail("bot and Bridge did not come to rest within %d s of real time", self.options.patience)
    end
  end
end

-- Run until nothing is left to do, then move the clock to the next timer, by `seconds` at most.
function Kit:step(seconds)
  local over = false
  core.spawn(function()
    core.advance(seconds, true)
    over = true
  end)
  self:drive(function() return over end)
end

---Run until nothing is left to do at this moment. All other functions do so by themselves.
function Kit:settle()
  self:step(0)
end

-- Move the clock until fn() is true, by `seconds` at most.
function Kit:run_until(seconds, fn)
  local target = core.monotonic() + seconds
  self:settle()
  while not fn() do
    local left = target - core.monotonic()
    if left < INSTANT then return false end
    self:step(left)
  end
  return true
end

-- The same for an expectation of a test. An error in the bot ends the wait.
function Kit:wait_for(seconds, fn)
  self:run_until(seconds, function() return fn() or self.errors[1] ~= nil end)
  if not fn() then self:raise_errors() end
end

-- A duration in seconds.
function Kit:seconds(span)
  if type(span) == "number" and span >= 0 and span < math.huge then return span end
  local seconds = duration.parse(span)
  if not seconds then failure.raise("expected seconds or a time such as 90s, 2h30m or 1d, got %s", span) end
  return seconds
end

local function never() return false end

---Move the clock. Timers of the bot and of the Bridge fire in order; the clock stands still while frames are on their
---way between them.
---@param span number|string seconds, or a text such as "90s", "2h30m" or "1d"
function Kit:advance(span)
  self:begin()
  self:wait_for(self:seconds(span), never)
end

-- Wait a moment before a person clicks the same button again, or it would be a double click.
function Kit:let_click(button)
  if self.last_clicked == button then self:run_until(BETWEEN_CLICKS, never) end
  self.last_clicked = button
end

---@return integer now the virtual time, UNIX milliseconds
function Kit:now()
  return core.now()
end

-- Failing -----------------------------------------------------------------------------------

local function last_of(list, most)
  return table.concat(list, "\n  ", math.max(1, #list - most + 1))
end

---Fail, and show the conversation so far.
---@param text string
---@param ... any values for a format
function Kit:fail(text, ...)
  local parts = { text:format(...) }
  local said = self.script:text(LAST_ENTRIES)
  parts[2] = said ~= "" and "What was said:\n  " .. said:gsub("\n$", ""):gsub("\n", "\n  ") or "Nothing was said."
  if self.log_lines[1] then parts[3] = "The bot's log:\n  " .. last_of(self.log_lines, LAST_LOG_LINES) end
  failure.raise("%s", table.concat(parts, "\n"))
end

function Kit:note_error(err, traceback, what)
  if #self.errors >= MOST_ERRORS then return end
  self.errors[#self.errors + 1] = { err = err, traceback = traceback ~= "" and traceback or tostring(err), what = what }
end

-- An error in the bot fails the test, unless it was expected.
function Kit:raise_errors()
  local first = table.remove(self.errors, 1)
  if first then self:fail("an error in the bot, in %s: %s", first.what, first.traceback) end
end

-- Every function of a test begins with this check.
function Kit:begin()
  if not self.world then failure.raise("this test has been stopped") end
  self:raise_errors()
end

---Expect an error of a handler of the bot, which then does not fail the test.
---@param wanted? trueconf.testing.Text its message; a plain text is a part of it
---@param given? { within: number|string } time in which it must come; default 10 s
---@return any err
function Kit:expect_error(wanted, given)
  if type(wanted) == "string" then wanted = { contains = wanted } end
  if wanted ~= nil then expect.check(wanted) end
  self:run_until(self:seconds(given and given.within or 10), function() return self.errors[1] ~= nil end)
  local found = table.remove(self.errors, 1)
  if not found then self:fail("an error in the bot was expected, but there was none") end
  if wanted ~= nil and not expect.fits(wanted, tostring(found.err), found.err) then
    self:fail("an error in the bot should be %s, but is %s", expect.shown(wanted), found.traceback)
  end
  return found.err
end

-- The bot -----------------------------------------------------------------------------------

-- The log goes into the text of a failure, and from the level `log` on to the standard error.
function Kit:make_log()
  local shown = log.new { level = self.options.log }
  return log.new { level = "debug", sink = function(level, text)
    shown[level](shown, text)
    if level ~= "warn" and level ~= "error" then return end
    self.log_lines[#self.log_lines + 1] = level .. ": " .. text:match "^[^\n]*"
    if #self.log_lines > LAST_LOG_LINES then table.remove(self.log_lines, 1) end
  end }
end

-- Options that replace those of the bot, so that it connects to this Bridge.
function Kit:settings(given)
  local login = given.username or self.options.login
  self.bridge:add_account(login, { password = PASSWORD })
  self.logins[login:lower()] = true
  given.url, given.username, given.password = self.bridge:url(), login, PASSWORD
  for _, name in ipairs { "token", "token_file", "proxy", "tls", "ca_file", "headers" } do given[name] = nil end
  if given.ping_interval == nil then given.ping_interval = 0 end -- the virtual clock would stop at every ping
  given.log = self.log
  return given
end

---@return string
function Kit:bot_login()
  local first = self.engines[1]
  local id = first and first:user_id()
  return id and id:match "^[^@]*" or self.options.login
end

-- True if all started bots are ready, or one of them has failed.
local function are_ready(bots)
  local ready = #bots > 0
  for _, bot in ipairs(bots) do
    if bot:state() == "failed" then return true end
    ready = ready and (bot:state() == "ready" or bot:state() == "idle")
  end
  return ready
end

function Kit:run_bot(fn)
  local ok, failed = xpcall(launch.run, function(err)
    return { err = err, traceback = debug.traceback(tostring(err), 2) }
  end, fn, { url = self.bridge:url(), username = self.options.login, password = PASSWORD }, self.engines)
  self.script_over = true
  if not ok then self:note_error(failed.err, failed.traceback, "its script") end
end

function Kit:start_bot()
  local fn, complaint = launch.read(self.options.bot, self.options.args)
  if not fn then failure.raise("the bot cannot be started: %s", complaint) end
  self.bots, self.engines, self.script_over = {}, {}, false
  core.spawn(self.run_bot, self, fn)
  self:wait_for(READY_WITHIN, function() return are_ready(self.engines) or self.script_over and not self.bots[1] end)
  self:raise_errors()
  if not self.bots[1] then self:fail "the bot's script has made no bot" end
  for _, bot in ipairs(self.engines) do
    if bot:state() ~= "ready" then self:fail("the bot is not ready, but %s", bot:state()) end
  end
  self:settle()
end

-- Stop all bots and clients of the script gracefully.
function Kit:stop_bot()
  local over = false
  core.spawn(function()
    for _, bot in ipairs(self.engines) do
      if bot:state() ~= "idle" then bot:stop() end
    end
    over = true
  end)
  self:run_until(STOP_WITHIN, function() return over end)
  self.world:part()
  self:settle()
end

---Stop the bot gracefully and start it anew, as after an update; the Bridge and the people stay.
function Kit:restart()
  self:begin()
  self:stop_bot()
  self:start_bot()
end

-- People ------------------------------------------------------------------------------------

---A person, with an account that is made if there is none.
---@param login string
---@return trueconf.testing.User
function Kit:user(login)
  self:begin()
  local key = type(login) == "string" and login:lower() or login
  if self.logins[key] then failure.raise("%s is a bot", login) end
  if not self.users[key] then self.users[key] = user.new(self, login) end
  return self.users[key]
end

---A group with the bot in it.
---@param logins string[] the first one is its owner; `title` names the group
---@return trueconf.testing.Group
function Kit:group(logins)
  self:begin()
  self.groups = self.groups + 1
  local title = logins.title or ("Group %d"):format(self.groups)
  local chat = self:user(logins[1]).person:create_group(title)
  for index = 2, #logins do assert(chat:add(self:user(logins[index]).login)) end
  assert(chat:add(self:bot_login()))
  self:note("the group %s: %s, %s", title, table.concat(logins, ", "), self:bot_login())
  self:settle()
  return { id = chat.id, title = title }
end

---Begin an expectation about a person: `t:expect(anna):hears "yes"`.
---@param who trueconf.testing.User|string
---@return trueconf.testing.Expectation
function Kit:expect(who)
  return expect.new(self, type(who) == "string" and self:user(who) or who)
end

-- Faults ------------------------------------------------------------------------------------

---Drop the connections of the bot, as a network does. The bot reconnects by itself after about a second.
function Kit:drop()
  self:begin()
  self:note "the connection is lost"
  for _, bot in ipairs(self.engines) do
    local id = bot:user_id()
    if id then self.bridge:drop(id:match "^[^@]*") end
  end
  self:settle()
end

---Make all access tokens expire: the server refuses them when the bot connects the next time.
function Kit:expire_token()
  self:begin()
  self:note "all tokens expire"
  self.bridge:expire_tokens()
end

-- The value of a fault as text, the same text each time for a table of rates.
local function shown(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for name, rate in pairs(value) do parts[#parts + 1] = ("%s %s"):format(name, rate) end
  table.sort(parts)
  return table.concat(parts, ", ")
end

---Set a fault of the Bridge; the reference lists the faults.
---@param name? string of the fault; nil: end all faults
---@param value? any of the fault; nil: true; false: end it
function Kit:fault(name, value)
  self:begin()
  if not name then
    self:note "all is well again"
    return self.bridge:fault()
  end
  if value == nil then value = true end
  local ok, err = pcall(self.bridge.fault, self.bridge, { [name] = value })
  if not ok then failure.raise("%s", tostring(err):gsub("^[^:]+:%d+: ", "")) end
  self:note("fault %s = %s", name, shown(value))
end

-- The transcript ----------------------------------------------------------------------------

---Add a line of the test's own to the transcript.
---@param text string
---@param ... any values for a format
function Kit:note(text, ...)
  self.script:add("-- " .. text, ...)
end

---@return string text the conversation so far, with authors and times in UTC
function Kit:transcript()
  return self.script:text()
end

---Compare the transcript with a file, and fail if they differ. With TRUECONF_GOLDEN=write in the environment, write the
---file instead.
---@param path string
function Kit:golden(path)
  self:begin()
  local complaint = golden.check(path, self.script:text())
  if complaint then failure.raise("%s", complaint) end
end

-- Begin and end -----------------------------------------------------------------------------

-- Write a notification into the transcript, and into the memory of each person who gets it.
function Kit:observe(notification, acting)
  self.script:observe(notification, acting)
  local message = notification.message
  if not message or not self.logins[message.author_key] then return end
  for _, key in ipairs(notification.recipients) do
    if self.users[key] then self.users[key]:receive(message) end
  end
end

local function bridge_options(given)
  local all = { ping_interval = 0, password_cost = 1, log = { level = "off" } }
  for name, value in pairs(given.bridge) do all[name] = value end
  all.accounts = all.accounts or {}
  for login, spec in pairs(given.accounts) do all.accounts[login] = spec end
  return all
end

local function hold_on_bots(self)
  return {
    settings = function(given) return self:settings(given) end,
    made = function(made)
      self.engines[#self.engines + 1], self.bots[#self.bots + 1] = made, made.face
    end,
    failed = function(failed, what) self:note_error(failed.err, failed.traceback, what) end,
  }
end

-- Undo everything that start() has changed in the process, in any state of the bot.
function Kit:leave()
  local left = self.world
  self.world, running = nil, nil
  left:leave()
end

local function begin(self)
  self.bridge = assert(bridge.start(bridge_options(self.options)))
  self.bridge:fault { seed = self.options.seed }
  self.script = transcript.new(self.bridge)
  self.bridge.publisher.observer = function(notification, acting) self:observe(notification, acting) end
  self:start_bot()
end

---Start a Bridge and a bot, and wait until the bot is ready.
---@param given trueconf.testing.Options
---@return trueconf.testing.Kit t stop it in the end, by stop() or as a variable with `<close>`
local function start(given)
  local checked = options.check(SCHEMA, given, 2, "trueconf.testing.start")
  if running then running:abandon() end -- left by a failed test
  local self = setmetatable({ options = checked, bots = {}, users = {}, logins = {}, errors = {}, groups = 0 }, Kit)
  self.engines, self.log_lines = {}, {}
  self.log = self:make_log()
  self.world = world.enter(checked, hold_on_bots(self), function(err, traceback, what)
    self:note_error(err, traceback, what)
  end)
  running = self
  local ok, err = pcall(begin, self)
  if not ok then
    self:leave()
    error(err, 0)
  end
  return self
end

-- Handlers, sockets, transfers and listeners that a stopped bot must not leave behind.
function Kit:leftovers()
  local left = {}
  for _, bot in ipairs(self.engines) do
    for _, thread in ipairs(bot.threads and bot:threads() or {}) do
      left[#left + 1] = debug.traceback(thread, "a handler that does not end")
    end
  end
  local stats = core.stats()
  for _, name in ipairs { "sockets", "transfers", "listeners" } do
    if stats[name] > 0 then left[#left + 1] = ("%d %s"):format(stats[name], name) end
  end
  return left
end

function Kit:stop_all()
  self:stop_bot()
  local stopped = false
  core.spawn(function()
    self.bridge:stop()
    stopped = true
  end)
  self:run_until(STOP_WITHIN, function() return stopped end)
  self:settle()
  local left = self:leftovers()
  self:raise_errors()
  if left[1] then self:fail("the bot has left behind:\n%s", table.concat(left, "\n")) end
end

---Stop bot and Bridge gracefully and go back to real time. Fails if a handler of the bot has raised an unexpected
---error, or a handler or connection is left. A second call does nothing.
function Kit:stop()
  if not self.world then return end
  local ok, err = true, nil
  if not self.stuck then ok, err = pcall(self.stop_all, self) end
  self:leave()
  if not ok then error(err, 0) end
  self:raise_errors()
end

-- Ends the kit of a failed test, without looking for leftovers.
function Kit:abandon()
  if not self.world then return end
  if not self.stuck then pcall(self.stop_all, self) end
  self:leave()
end

function Kit:__close(err)
  if err == nil then self:stop() else self:abandon() end
end

misuse.guard(Kit, "t", {
  "advance", "drop", "expect", "expect_error", "expire_token", "fail", "fault", "golden", "group", "note", "now",
  "restart", "settle", "stop", "transcript", "user",
})

return { start = start }
