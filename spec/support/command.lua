-- SPDX-License-Identifier: MIT
-- The trueconf command as a process of its own, beside a server in this one.

local system = require "spec.support.system"

local command = {}

---@class trueconf.spec.Command
---@field child trueconf.spec.Child
---@field private directory table
local Command = {}
Command.__index = Command

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The environment of this process may hold settings, and so may the config files of whoever runs the specs.
local SCRIPT = [[
unset TRUECONF_URL TRUECONF_USERNAME TRUECONF_PASSWORD TRUECONF_TOKEN TRUECONF_CA_FILE TRUECONF_CONFIG NO_COLOR
XDG_CONFIG_HOME=/nonexistent; export XDG_CONFIG_HOME
%s
exec %s <%s >%s 2>%s
]]

local function exports(environment)
  local lines = {}
  for name, value in pairs(environment) do
    lines[#lines + 1] = ("%s=%s; export %s"):format(name, quoted(value), name)
  end
  return table.concat(lines, "\n")
end

---@class trueconf.spec.CommandOptions
---@field input? string what it reads from the standard input
---@field environment? table<string, string>
---@field wrap? string program it runs under, with its arguments

-- The settings of herald's at a server, for whom a command mostly works.
---@param url string
---@return table<string, string>
function command.herald(url)
  return { TRUECONF_URL = url, TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711" }
end

---Start it.
---@async
---@param arguments string[]
---@param options? trueconf.spec.CommandOptions
---@return trueconf.spec.Command
function command.start(arguments, options)
  options = options or {}
  local directory = system.directory()
  -- A sanitizer is for the command alone, not for what it runs under.
  local preload = "LD_PRELOAD=" .. quoted(os.getenv "LD_PRELOAD" or "")
  local words = { "env", preload, os.getenv "LUA" or "lua5.4", "bin/trueconf" }
  for _, argument in ipairs(arguments) do words[#words + 1] = quoted(argument) end
  local line = table.concat(words, " ")
  if options.wrap then line = options.wrap:format(quoted(line)) end
  system.write(directory:file "input", options.input or "")
  system.write(directory:file "script", SCRIPT:format(exports(options.environment or {}), line,
    directory:file "input", directory:file "output", directory:file "errors"))
  local child = system.launch("sh " .. directory:file "script")
  return setmetatable({ directory = directory, child = child }, Command)
end

---@return string text what it wrote to the standard output so far
function Command:output()
  return system.read(self.directory:file "output") or ""
end

---@return string text what it wrote to the standard error so far
function Command:errors()
  return system.read(self.directory:file "errors") or ""
end

function Command:__close()
  self.child:kill() -- whoever watches it notes its end in the directory
  self.child:__close()
  self.directory:__close()
end

---Run it to its end.
---@async
---@param arguments string[]
---@param options? trueconf.spec.CommandOptions
---@return integer code
---@return string output
---@return string errors
function command.run(arguments, options)
  local running <close> = command.start(arguments, options)
  local code = running.child:wait(20)
  return code, running:output(), running:errors()
end

return command
