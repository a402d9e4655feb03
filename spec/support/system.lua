-- SPDX-License-Identifier: MIT
-- Shared by the specs of the whole system: a Bridge that can be restarted on its port, bots that reconnect fast, and
-- child processes that can be killed.

local core = require "trueconf.core"
local trueconf = require "trueconf"
local bridge = require "trueconf.bridge"
local helper = require "spec.support.helper"

local system = {}

-- Ports below those the system gives to outgoing connections: what listens there can be stopped
-- and started again without another process taking the port meanwhile.
local FIRST_PORT, PORTS = 20000, 12000
local CHILD_LIFE = 110                  -- seconds after which a child that was forgotten is killed

-- Files and commands ---------------------------------------------------------------------

---Run a shell command and return what it printed; raises if it fails. Other programs are not for
---the sanitizer that may be preloaded here.
---@param command string a format
---@param ... any
---@return string
function system.output(command, ...)
  local pipe = assert(io.popen(("unset LD_PRELOAD; { %s; } 2>&1"):format(command:format(...))))
  local text = pipe:read "a"
  if not pipe:close() then error(("%s: %s"):format(command:format(...), text), 2) end
  return (text:gsub("%s+$", ""))
end

local Directory = {}
Directory.__index = Directory

---A directory of its own; closing it removes it.
function system.directory()
  return setmetatable({ path = system.output "mktemp -d" }, Directory)
end

function Directory:__close()
  system.output("rm -rf '%s'", self.path)
end

---@param name string
---@return string path
function Directory:file(name)
  return self.path .. "/" .. name
end

---@param path string
---@return string? text nil: there is no such file
function system.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

---@param path string
---@param text string
---@return string path
function system.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

---The whole lines of a file that another process appends to; none if it is not there yet.
---@param path string
---@return string[]
function system.lines(path)
  local lines = {}
  for line in (system.read(path) or ""):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

-- The Bridge -----------------------------------------------------------------------------

---A port nobody listens on, and that no outgoing connection gets.
---@return integer
function system.free_port()
  local high, low = core.random(2):byte(1, 2)
  for try = 0, 999 do
    local port = FIRST_PORT + (high * 256 + low + try) % PORTS
    local listener = core.listen { port = port }
    if listener then
      listener:close(true)
      return port
    end
  end
  error("no port is free", 2)
end

---Start a Bridge on a port where it can be started again.
---@async
---@param options? trueconf.bridge.Options
---@return trueconf.bridge.Server
function system.start_bridge(options)
  local given = {
    port = system.free_port(), accounts = { herald = "4711", mira = "x" }, password_cost = 1, log = { level = "off" },
  }
  for name, value in pairs(options or {}) do given[name] = value end
  return assert(bridge.start(given))
end

---Start a Bridge on the port of one that was stopped, with its memory.
---@async
---@param stopped trueconf.bridge.Server
---@param options? trueconf.bridge.Options what is different now; state = false: it remembers nothing
---@return trueconf.bridge.Server
function system.start_again(stopped, options)
  local given = { state = stopped:state(), accounts = stopped.options.accounts, port = stopped.options.port }
  for name, value in pairs(options or {}) do given[name] = value or nil end
  return system.start_bridge(given)
end

-- Bots -----------------------------------------------------------------------------------

-- Waits after a lost connection are short, or a spec would sleep through most of its time.
local HASTE = { backoff_min = 0.02, backoff_max = 0.1, backoff_jitter = 0.01, call_timeout = 20, log = "off" }

---Options for a bot that comes back fast.
---@param server trueconf.bridge.Server
---@param options? trueconf.BotOptions
---@return trueconf.BotOptions
function system.bot_options(server, options)
  local given = { url = server:url(), username = "herald", password = "4711" }
  for name, value in pairs(HASTE) do given[name] = value end
  for name, value in pairs(options or {}) do given[name] = value or nil end
  return given
end

---A bot that comes back fast; not started.
---@param server trueconf.bridge.Server
---@param options? trueconf.BotOptions
---@return trueconf.Bot
function system.bot(server, options)
  return trueconf.bot(system.bot_options(server, options))
end

---A call in a coroutine of its own. `outcomes` lists what it settled with, once for each time.
---@param fn fun(): any, any
---@return { outcomes: table[], wait: fun(self, timeout: number?): any, any }
function system.begin(fn)
  local call = { outcomes = {}, over = core.waiter() }
  function call:wait(timeout) return self.over:wait(timeout or 20) end
  core.spawn(function()
    local result, err = fn()
    call.outcomes[#call.outcomes + 1] = { result, err }
    call.over:wake(result, err)
  end)
  return call
end

-- Other processes --------------------------------------------------------------------------

---@class trueconf.spec.Child
---@field pid string
---@field directory table
local Child = {}
Child.__index = Child

-- A watching process reaps the child and notes its end: a zombie would still look alive.
local LAUNCH = [[
unset LD_PRELOAD
%s
{ timeout -s KILL %d sh -c 'echo $$ >%s/pid.new; mv %s/pid.new %s/pid; exec %s >%s/log 2>&1 </dev/null'
  echo $? >%s/status; } >/dev/null 2>&1 &]]

---Start a program in a process of its own.
---@async
---@param command string
---@param options? { environment: table<string, string>?, files: integer?, ignores: string?, life: integer? } files: how
---many it may open; ignores: a signal; life: seconds after which it is killed
---@return trueconf.spec.Child
function system.launch(command, options)
  options = options or {}
  local box = system.directory()
  local environment = { "env" }
  for name, value in pairs(options.environment or {}) do
    environment[#environment + 1] = ('%s="%s"'):format(name, value)
  end
  local limit = options.files and ("ulimit -n %d || exit"):format(options.files) or ":"
  if options.ignores then limit = ("trap '' %s; %s"):format(options.ignores, limit) end
  local program, path = table.concat(environment, " ") .. " " .. command, box.path
  assert(os.execute(LAUNCH:format(limit, options.life or CHILD_LIFE, path, path, path, program, path, path)))
  local child = setmetatable({ directory = box }, Child)
  child.pid = helper.eventually(function() return system.lines(path .. "/pid")[1] end)
  return child
end

---Start a Lua script in a process of its own, under what this one runs under.
---@async
---@param script string path and arguments
---@param options? { environment: table<string, string>?, files: integer?, ignores: string? }
---@return trueconf.spec.Child
function system.launch_lua(script, options)
  options = options or {}
  local environment = { LD_PRELOAD = os.getenv "LD_PRELOAD" }
  for name, value in pairs(options.environment or {}) do environment[name] = value end
  local command = (os.getenv "LUA" or "lua5.4") .. " " .. script
  return system.launch(command, { environment = environment, files = options.files, ignores = options.ignores })
end

---Paths of a search path, from any directory.
---@param path string
---@return string
function system.absolute(path)
  return (path:gsub("[^;]+", function(place)
    return place:find "^/" and place or system.output "pwd" .. "/" .. place
  end))
end

---Run a Lua script to its end, in a directory and under what this process runs under, and return what it printed.
---@param directory string
---@param script string path and arguments
---@param environment? string such as "NAME=value"
---@return string
function system.run_lua(directory, script, environment)
  return system.output("cd '%s'; LD_PRELOAD='%s' LUA_PATH='%s' LUA_CPATH='%s' %s %s %s || true", directory,
    os.getenv "LD_PRELOAD" or "", system.absolute(package.path), system.absolute(package.cpath), environment or "",
    os.getenv "LUA" or "lua5.4", script)
end

---@return string output what it printed
function Child:log()
  return system.read(self.directory:file "log") or ""
end

---@return integer? status nil: it runs
function Child:status()
  return tonumber(system.lines(self.directory:file "status")[1])
end

---Wait for the end.
---@async
---@param deadline? number
---@return integer status
function Child:wait(deadline)
  return helper.eventually(function() return self:status() end, deadline)
end

---Send a signal and wait for the end.
---@async
---@param signal? string default KILL
---@return integer status
function Child:kill(signal)
  if not self:status() then os.execute(("kill -%s %s 2>/dev/null"):format(signal or "KILL", self.pid)) end
  return self:wait()
end

-- The watching shell notes the end in the directory, so the directory must stay until then.
function Child:__close()
  if not self:status() then os.execute(("kill -KILL %s 2>/dev/null"):format(self.pid)) end
  for _ = 1, 500 do
    if self:status() then break end
    os.execute "sleep 0.01"
  end
  self.directory:__close()
end

return system
