-- SPDX-License-Identifier: MIT
-- Starts the servers of http_fixture.py, with certificates made for this run.

local fixture = {}

local Fixture = {}
Fixture.__index = Fixture

-- Other programs are not for the sanitizer that may be preloaded here.
local ALONE = "unset LD_PRELOAD;"

-- The output of a command; raises if it failed.
local function output(command, ...)
  local pipe = assert(io.popen(("{ %s; } 2>/dev/null"):format(command:format(...))))
  local text = pipe:read "a"
  assert(pipe:close(), command)
  return (text:gsub("%s+$", ""))
end

-- Make the certificate NAME.pem, signed by the authority in ca.pem unless `authority` is false.
local function certify(directory, name, host, days)
  output(ALONE .. [[sign=$PWD/spec/support/sign.sh && cd '%s' &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key -out %s.csr \
      -subj '/CN=%s' -addext 'subjectAltName=DNS:%s' &&
    $sign %s.csr ca %d %s.crt &&
    cat %s.key %s.crt >%s.pem]], directory, name, name, host, host, name, days, name, name, name, name)
end

local function make_certificates(directory)
  output(ALONE .. [[cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout ca.key -out ca.pem -days 2 -subj '/CN=Authority of the specs']], directory)
  certify(directory, "good", "localhost", 2)
  certify(directory, "other", "elsewhere.test", 2)
  certify(directory, "expired", "localhost", -1)
end

---The pin of a certificate's public key, as curl spells it.
function Fixture:pin(name)
  return "sha256//" .. output(ALONE .. [[openssl x509 -in '%s/%s.pem' -noout -pubkey |
    openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64 -A]], self.directory, name)
end

---@param port string name of a port
---@param path? string
function Fixture:url(port, path)
  local tls = port == "good" or port == "other" or port == "expired"
  return ("%s:%d%s"):format(tls and "https://localhost" or "http://127.0.0.1", self[port], path or "/")
end

---A path in a directory that goes with the fixture.
function Fixture:file(name)
  return self.directory .. "/" .. name
end

---Write a file and return its path.
function Fixture:write(name, data)
  local file = assert(io.open(self:file(name), "wb"))
  assert(file:write(data))
  assert(file:close())
  return self:file(name)
end

---The names in the directory that match a pattern.
function Fixture:list(pattern)
  local names = {}
  for name in output(ALONE .. "ls -A '%s'", self.directory):gmatch "[^\n]+" do
    if name:match(pattern) then names[#names + 1] = name end
  end
  return names
end

-- Run a script in a process of its own, with a shell's `prefix` before the interpreter; returns what it printed.
function Fixture:run(prefix, script)
  local path = self:write("script.lua", ("package.cpath = %q\n%s"):format(package.cpath, script))
  return output("%s '%s' '%s'", prefix, os.getenv "LUA" or "lua5.4", path)
end

---Make a request in a process of its own, with a shell's `prefix` before the interpreter, and return
---the status, or the error's text.
---@param prefix string
---@param request table<string, string>
function Fixture:in_process(prefix, request)
  local fields = {}
  for key, value in pairs(request) do fields[#fields + 1] = ("%s = %q"):format(key, value) end
  return self:run(prefix, ([[
    local response, err = require "trueconf.core".http { %s }
    print(response and response.status or err)]]):format(table.concat(fields, ", ")))
end

-- Shared by the scripts that run with invented names.
local AMONG_NAMES = [[
  local core = require "trueconf.core"
  local directory, port = os.getenv "NAMES", "%d"

  local function read(path)
    local file <close> = assert(io.open(path))
    return file:read "a"
  end

  -- The names that were looked up so far.
  local function lookups() return (read(directory .. "/lookups"):gsub("\n$", ""):gsub("\n", " ")) end
  local function threads() return tonumber(read("/proc/self/status"):match "Threads:%%s*(%%d+)") end

  -- Lets the name slow.test be found, after a while if there is nothing else to wait for.
  local function open_gate(seconds)
    os.execute(("(sleep %%s; touch '%%s/gate') &"):format(seconds or 0, directory))
  end

  local function get(host, options)
    local request = { url = ("http://%%s:%%s/echo"):format(host, port) }
    for key, value in pairs(options or {}) do request[key] = value end
    local response, err = core.http(request)
    return response and response.status or err.name .. ": " .. err.message
  end

  -- Starts a request; `state.answer` will hold what came of it.
  local function start(...)
    local state = {}
    core.spawn(function(...) state.answer = get(...) end, ...)
    return state
  end

  local function step_until(condition) while not condition() do core.step() end end
]]

---Run a script in a process in which names.c invents the names; returns what it printed.
---@param script string
---@param environment? string variables for a shell
function Fixture:among_names(script, environment)
  local library = self:file "names.so"
  if not io.open(library) then
    output(ALONE .. "${CC:-cc} -std=gnu11 -shared -fPIC -o '%s' spec/support/c/names.c -ldl", library)
  end
  os.remove(self:file "gate")
  self:write("lookups", "")
  local prefix = ("%s NAMES='%s' LD_PRELOAD=\"${LD_PRELOAD:+$LD_PRELOAD:}%s\" %s"):format(environment or "",
    self.directory, library, os.getenv "WRAP" or "")
  return self:run(prefix, AMONG_NAMES:format(self.http) .. script)
end

function Fixture:stop()
  output(ALONE .. "kill %d; rm -rf '%s'", self.pid, self.directory)
  self.pipe:close()
end

function fixture.start()
  local self = setmetatable({ directory = output(ALONE .. "mktemp -d") }, Fixture)
  local arguments = {}
  make_certificates(self.directory)
  for index, name in ipairs { "good", "other", "expired" } do
    arguments[index] = ("%s='%s/%s.pem'"):format(name, self.directory, name)
  end
  local command = ALONE .. "exec /usr/bin/python3 spec/support/python/http_fixture.py " .. table.concat(arguments, " ")
  self.pipe = assert(io.popen(command))
  for name, value in assert(self.pipe:read "l", "the fixture did not start"):gmatch "(%w+)=(%d+)" do
    self[name] = math.tointeger(value)
  end
  return self
end

return fixture
