-- SPDX-License-Identifier: MIT
-- trueconf chat: a person at a terminal, or a script, talks to bots at a Bridge.

local consoles = require "trueconf.cli.chat.console"
local control = require "trueconf.cli.chat.control"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local script = require "trueconf.cli.run.script"
local sessions = require "trueconf.cli.chat.session"
local stop_signals = require "trueconf.base.stop_signals"

local USAGE = [==[
Usage: trueconf chat --bridge FILE [OPTION...] [ARGUMENT...]
       trueconf chat [--url URL] [--key-file FILE] --as LOGIN [--with LOGIN]]==]
local HELP = "Talk to bots at a Bridge as one of its people. With --bridge FILE, a Bridge and the bot in that file run "
  .. "in this process, and the bot is reloaded whenever the file changes. Without --bridge, the chat uses the control "
  .. "endpoint of a running Bridge (trueconf bridge --control). In the chat, /? lists the commands. Lines may come "
  .. "from a pipe: each is sent when the one before has been answered."
local EXAMPLES = [[
Examples:
  trueconf chat --bridge bot.lua
  trueconf chat --key-file key --as mira --with herald
  printf '/order\nlarge\n/wait on its way\n' | trueconf chat --bridge bot.lua --as mira
Exit codes: 0 done, 1 a line was refused or /wait timed out, 2 wrong usage, 3 no Bridge.]]

local DEFAULT_URL = "ws://127.0.0.1:4309"
local DEFAULT_PATIENCE = 3              -- seconds

local function seconds(text)
  local value = tonumber(text)
  if value and value > 0 and value < 1e6 then return value end
  return nil, ("option '--wait' must be a number of seconds, got '%s'"):format(text:sub(1, 64))
end

local function describe(command)
  command:description(HELP):usage(USAGE):epilog(EXAMPLES)
  command:argument("arguments", "Argument of the bot's file, which gets it in `arg` and `...`.")
    :argname("ARGUMENT"):args "*"
  command:option("--bridge", "Run the bot in this file, with a Bridge of its own."):argname "FILE"
  command:option("--url", ("Address of a running Bridge (%s)."):format(DEFAULT_URL)):argname "URL"
  command:option("--key-file", "File with the key of its control endpoint (TRUECONF_CONTROL_KEY)."):argname "FILE"
  command:option("--as", "Login of the person you play; with --bridge the default is your own name."):argname "LOGIN"
  command:option("--with", "Login of the other side; with --bridge the default is the bot."):argname "LOGIN"
  command:option("--wait", ("Time that a script, or /wait, waits for an answer (%d)."):format(DEFAULT_PATIENCE))
    :argname("SECONDS"):convert(seconds)
end

local function complain(message, code)
  return exit_codes.complain("chat", message, code)
end

-- Finding the Bridge --------------------------------------------------------------------------------

local function read_key(given)
  if not given.key_file then
    local key = os.getenv "TRUECONF_CONTROL_KEY"
    if key and key ~= "" then return key end
    return nil, "the key of the Bridge's control endpoint is missing: --key-file FILE or TRUECONF_CONTROL_KEY; "
      .. "or try a bot with --bridge FILE"
  end
  local text, err = core.read_private(given.key_file)
  if not text then return nil, "--key-file: " .. (err and err.message or "there is no file " .. given.key_file) end
  return text:match "^[^\r\n]*"
end

-- The user's name, in characters that a login may have.
local function own_name()
  local name = (os.getenv "USER" or ""):lower():gsub("[^%w_.-]", "")
  return name ~= "" and name or "me"
end

-- Address, key, and the Bridge if it runs here; or nil, a complaint and the exit code.
local function find_bridge(given, console)
  if not given.bridge then
    local key, wrong = read_key(given)
    if not key then return nil, wrong, exit_codes.MISUSE end
    return { url = (given.url or DEFAULT_URL):gsub("^http", "ws"):gsub("/+$", ""), key = key }
  end
  local there, complaint = script.is_there(given.bridge)
  if not there then return nil, "--bridge: " .. complaint, exit_codes.MISUSE end
  local log = { level = "warn", sink = function(level, text)
    if console.interactive then console:show(level .. " ", "yellow", text) else io.stderr:write(text, "\n") end
  end }
  local host, wrong = require("trueconf.cli.chat.host").start(given.bridge, given.arguments, log)
  if not host then return nil, wrong, exit_codes.REFUSED end
  return { url = host.server:url(), key = host.server:control_key(), host = host }
end

-- Talking -------------------------------------------------------------------------------------------

local function talk(session, given, target)
  local who, whom = given.as or own_name(), given.with or target.host and target.host.bot
  if not session:be(who) then return exit_codes.REFUSED end
  if whom and not session:with(whom) then return exit_codes.REFUSED end
  if session.console.interactive then session.console:show("", "dim", "/? explains, Ctrl-D ends") end
  session:run()
  return session.failed and not session.console.interactive and exit_codes.REFUSED or exit_codes.DONE
end

-- The reason why the control endpoint does not answer.
local function reason(err)
  if err.name == "HTTP" and err.code == 404 then return "it has no control endpoint; was it started with --control?" end
  return tostring(err)
end

-- The life of the command, in a coroutine.
local function chat(given, target, console, over)
  local whom = given.with or target.host and target.host.bot
  local session = sessions.new(console, {
    patience = given.wait or DEFAULT_PATIENCE, may_create = target.host ~= nil, other = whom,
  })
  local err
  local function on_event(event) session:on_event(event) end
  session.control, err = control.open(target.url, target.key, on_event, function(lost)
    over:wake(exit_codes.UNREACHABLE, ("the connection to the Bridge was lost: %s"):format(lost))
  end)
  if not session.control then
    return over:wake(exit_codes.UNREACHABLE, ("cannot talk to the Bridge at %s: %s"):format(target.url, reason(err)))
  end
  local code = talk(session, given, target)
  session.control:close()
  over:wake(code)
end

-- The complaint about flags that do not fit together. Without --bridge, --as must name the person.
local function misuse(given)
  if given.bridge and (given.url or given.key_file) then return "--bridge runs a Bridge of its own" end
  local first = given.arguments[1]
  if not given.bridge and first then
    return ("unexpected '%s': "):format(first) .. (first:find "%.lua$" and "did you mean --bridge " .. first .. "?"
      or "arguments are for the bot of --bridge FILE")
  end
  if not given.bridge and not given.as then
    return "--as LOGIN is missing: it names the person you play; or try a bot with --bridge FILE"
  end
end

local function run(given)
  local wrong = misuse(given)
  if wrong then return complain(wrong, exit_codes.MISUSE) end
  local console, over, host = consoles.new(), core.waiter(), nil
  local worker = core.spawn(function()
    local _ <close> = setmetatable({}, {
      __close = function() over:wake(exit_codes.REFUSED, "it failed; see above") end,
    })
    local target, complaint, code = find_bridge(given, console)
    if not target then return over:wake(code, complaint) end
    host = target.host
    chat(given, target, console, over)
  end)
  stop_signals.watch(function() over:wake(exit_codes.DONE) end, function() os.exit(exit_codes.REFUSED) end)
  local code, complaint = over:wait()
  core.cancel(worker)
  if host then host:stop() end
  if console.interactive then print() end
  return complaint and complain(complaint, code) or code
end

---@type trueconf.cli.Command
return { describe = describe, run = run }
