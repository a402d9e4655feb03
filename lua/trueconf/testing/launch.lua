-- SPDX-License-Identifier: MIT
-- Starts the bot of a test: an unchanged script, a module, or a function. It runs in a coroutine, because a script runs
-- as long as its bot.

local hooks = require "trueconf.base.hooks"

local launch = {}

-- A script gets globals of its own.
local function environment(path, args)
  return setmetatable({ arg = table.move(args, 1, #args, 1, { [0] = path }) }, { __index = _G })
end

-- A script that runs its bot until it is stopped, or returns the bot or a function that makes it.
local function script(path, args)
  local chunk, err = loadfile(path, "t", environment(path, args))
  if not chunk then return nil, err end
  return function() return chunk(table.unpack(args)) end
end

local function module(name, args)
  local path, err = package.searchpath(name, package.path)
  if not path then return nil, ("there is no module '%s':%s"):format(name, err) end
  return script(path, args)
end

---@param bot string|function|table path of a script, name of a module, or a function or table that makes the bot
---@param args string[] of a script
---@return function? fn runs it
---@return string? complaint
function launch.read(bot, args)
  if type(bot) == "table" then bot = bot.new end
  if type(bot) == "function" then return bot end
  if type(bot) ~= "string" then return nil, "a table must have the function `new`" end
  if bot:find "%.lua$" or bot:find "/" then return script(bot, args) end
  return module(bot, args)
end

-- Start a returned bot, unless it runs already.
local function start(bot, known)
  for _, other in ipairs(known) do
    if other == bot then return bot:state() == "idle" and bot:start() end
  end
  error("the bot was made before the test began, for another server: make it in a function", 0)
end

---Run a function from read(), in a coroutine.
---@async
---@param fn function
---@param options table for a function that makes the bot
---@param known (trueconf.Client|trueconf.Engine)[] of the bots and clients made since the test began
function launch.run(fn, options, known)
  local made = fn(options)
  if type(made) == "function" then made = made(options) end
  local bot = hooks.behind(made)
  if not bot and type(made) == "table" and type(made.new) == "function" then bot = hooks.behind(made.new(options)) end
  if bot then start(bot, known) end
end

return launch
