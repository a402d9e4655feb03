-- SPDX-License-Identifier: MIT
-- trueconf run: runs the file of a bot.

local environment = require "trueconf.cli.run.environment"
local printable = require "trueconf.base.printable"
local script = require "trueconf.cli.run.script"
local hooks = require "trueconf.base.hooks"
local url = require "trueconf.base.url"

local USAGE = "Usage: trueconf run [OPTION...] FILE [ARGUMENT...]"
local HELP = "Run the file of a bot, which ends with bot:run() or returns the bot, until SIGINT or SIGTERM. Settings "
  .. "that the file leaves out come from the environment (TRUECONF_URL, TRUECONF_USERNAME, TRUECONF_PASSWORD, ...) "
  .. "or a config file; flags take precedence over all of them. Arguments after FILE are for the file."
local EXAMPLES = [[
Examples:
  trueconf run bot.lua
  trueconf run --env .env bot.lua --verbose
  trueconf run --watch --url ws://localhost:4309 bot.lua
Exit codes: 0 stopped, 1 the bot gave up or its file is wrong, 2 used wrongly.]]

local LEVELS = { debug = true, info = true, warn = true, error = true, off = true }

-- Flags with a value; `option` is the option of trueconf.bot{} that the flag sets.
local FLAGS = {
  { name = "url", value = "URL", option = "url", meaning = "Address of the server." },
  { name = "username", value = "NAME", option = "username", meaning = "Account of the bot." },
  { name = "ca-file", value = "FILE", option = "ca_file",
    meaning = "PEM file of the authority that signed the server's certificate." },
  { name = "log", value = "LEVEL", option = "log",
    meaning = "How much the bot logs: debug, info, warn, error or off." },
  { name = "env", value = "FILE", meaning = "File of environment variables, one NAME=value a line, readable for its "
    .. "owner alone. Variables that are already set keep their values." },
  { name = "config", value = "FILE", meaning = "Config file to use in place of ./trueconf.conf." },
}

local function fail(code, message)
  io.stderr:write("trueconf run: ", printable.lines(message), "\n")
  return code
end

-- The command line --------------------------------------------------------------------------------

local function takes_value(word)
  for _, flag in ipairs(FLAGS) do
    if word == "--" .. flag.name then return true end
  end
  return false
end

-- The parser must not see the arguments after FILE.
local function arrange(args)
  local index = 2
  while args[index] and args[index] ~= "--" do
    if not args[index]:find "^%-." then
      local arranged = table.move(args, 1, #args, 1, {})
      table.insert(arranged, index, "--")
      return arranged
    end
    index = index + (takes_value(args[index]) and 2 or 1)
  end
  return args
end

local function describe(command)
  command:description(HELP):usage(USAGE):epilog(EXAMPLES)
  command:argument("file", "File of the bot."):argname "FILE"
  command:argument("arguments", "Argument of the file, which gets it in `arg` and `...`."):argname("ARGUMENT"):args "*"
  command:flag("--watch", "Run the file again whenever it, or a module beside it, changes; the connection, messages "
    .. "and dialogs stay.")
  for _, flag in ipairs(FLAGS) do
    command:option("--" .. flag.name, flag.meaning):argname(flag.value):target((flag.name:gsub("-", "_")))
  end
end

---Apply the flags, and the variables of a file, to the bots of this process.
---@param given table<string, any>
---@return true? ok
---@return string? complaint
local function settle(given)
  if given.log and not LEVELS[given.log] then
    return nil, ("option '--log' must be one of debug, info, warn, error, off, got '%s'"):format(given.log:sub(1, 64))
  end
  local address, wrong = url.parse(given.url or "ws://localhost")
  if not address then return nil, "option '--url' " .. wrong end
  if given.config then environment.set("TRUECONF_CONFIG", given.config) end
  if given.env then
    local ok, complaint = environment.add(given.env)
    if not ok then return nil, "--env: " .. complaint end
  end
  local options = {}
  for _, flag in ipairs(FLAGS) do
    if flag.option then options[flag.option] = given[flag.option] end
  end
  hooks.flags = options
  return true
end

-- Running -----------------------------------------------------------------------------------------

local ENDINGS = "; a bot's file ends with bot:run() or returns the bot"

-- Note each bot that this process makes, and the error of a bot that gives up.
local function keep_account()
  local account = { bots = {} }
  hooks.made = function(client) table.insert(account.bots, client) end
  hooks.run = function(bot, run)
    local ok, err = run(bot)
    if not ok then account.failure = err end
    return ok, err
  end
  return account
end

-- The complaint about a file that makes no bot, or does not run it.
local function complaint_of(account, path)
  if not account.bots[1] then return path .. " has made no bot" .. ENDINGS end
  for _, bot in ipairs(account.bots) do
    if bot:state() ~= "idle" then return nil end
  end
  return path .. " has not run its bot" .. ENDINGS
end

local function run_once(path, args)
  local chunk, wrong = script.read(path)
  if not chunk then return fail(1, wrong) end
  local account = keep_account()
  local ok, made = script.run(chunk, path, args)
  if not ok then return fail(1, made) end
  if made and made:state() == "idle" then made:run() end
  if account.failure then return fail(1, tostring(account.failure)) end
  local complaint = complaint_of(account, path)
  return complaint and fail(1, complaint) or 0
end

---@type trueconf.cli.Command
return {
  arrange = arrange,
  describe = describe,
  run = function(given)
    local there, missing = script.is_there(given.file)
    if not there then return fail(2, missing) end
    local ok, complaint = settle(given)
    if not ok then return fail(2, complaint) end
    script.search_beside(given.file)
    if not given.watch then return run_once(given.file, given.arguments) end
    return require("trueconf.cli.run.watch").run(given.file, given.arguments)
  end,
}
