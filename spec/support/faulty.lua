-- SPDX-License-Identifier: MIT
-- Starts faulty_server.py and talks to it: scripts of what goes wrong, and the log of what came.

local core = require "trueconf.core"
local json = require "trueconf.base.json"

local faulty = {}

local Faulty = {}
Faulty.__index = Faulty

-- Other programs are not for the sanitizer that may be preloaded here.
local ALONE = "unset LD_PRELOAD http_proxy https_proxy no_proxy;"

function faulty.start()
  local self = setmetatable({ scripts = 0 }, Faulty)
  self.pipe = assert(io.popen(ALONE .. "exec /usr/bin/python3 spec/support/python/faulty_server.py"))
  for name, value in assert(self.pipe:read "l", "the faulty server did not start"):gmatch "(%w+)=(%d+)" do
    self[name] = math.tointeger(value)
  end
  return self
end

function Faulty:stop()
  os.execute("kill " .. self.pid)
  self.pipe:close()
end

function Faulty:set(scripts)
  local url = ("http://127.0.0.1:%d/script"):format(self.main)
  local response = assert(core.http { url = url, body = assert(json.encode(scripts)) })
  assert(response.status == 200, response.body)
end

---A new name for these scripts; the n-th visitor runs the n-th one, all later ones the last.
---A script is a list of steps; a step is a name, or a list of a name and its arguments.
---@async
---@return string name
function Faulty:script(...)
  local lists = { ... }
  for index, list in ipairs(lists) do
    local steps = {}
    for place, step in ipairs(list) do steps[place] = type(step) == "string" and { step } or step end
    lists[index] = steps
  end
  self.scripts = self.scripts + 1
  local name = "s" .. self.scripts
  self:set { [name] = lists }
  return name
end

---@async
---@return string url ws:// address whose visitors run these scripts
---@return string name for the log
function Faulty:ws(...)
  local name = self:script(...)
  return ("ws://127.0.0.1:%d/%s"):format(self.main, name), name
end

---@async
---@return string url http:// address whose visitors run these scripts
---@return string name for the log
function Faulty:http(...)
  local name = self:script(...)
  return ("http://127.0.0.1:%d/%s"):format(self.main, name), name
end

---The events so far under a name: entries { what = "visit"|"frame"|"ping"|"pong"|"close"|"over"|"CONNECT", ... }.
---@async
---@param what? string only entries of this kind
function Faulty:log(name, what)
  local response = assert(core.http { url = ("http://127.0.0.1:%d/log?%s"):format(self.main, name) })
  local entries = {}
  for _, entry in ipairs(assert(json.decode(response.body)).entries) do
    if not what or entry.what == what then entries[#entries + 1] = entry end
  end
  return entries
end

local IMPATIENT = { token = "t", backoff_min = 0.01, backoff_jitter = 0, close_timeout = 1 }

---A session that does not wait long, and the record of its states: { { new=, old=, err=, pause= }, ... }.
---`false` for one of these options leaves it out.
---@return trueconf.core.Session session
---@return table[] record
function faulty.session(options)
  local record, given = {}, {}
  for _, source in ipairs { IMPATIENT, options } do
    for name, value in pairs(source) do given[name] = value end
  end
  for name in pairs(IMPATIENT) do given[name] = given[name] or nil end
  local told = given.on_state
  given.on_state = function(new, old, err, pause)
    record[#record + 1] = { new = new, old = old, err = err, pause = pause, at = core.monotonic() }
    if told then told(new, old, err, pause) end
  end
  record.session = core.session(given)
  return record.session, record
end

---The states of a record in one line. Each is recorded by a coroutine of its own: let them catch up.
---@async
function faulty.path(record)
  local names = {}
  while (record[#record] or { new = "idle" }).new ~= record.session:state() do core.sleep(0.001) end
  for place, entry in ipairs(record) do names[place] = entry.new end
  return table.concat(names, " ")
end

---The error that came with the n-th change to a state.
function faulty.reason(record, state, n)
  for _, entry in ipairs(record) do
    if entry.new == state then
      n = (n or 1) - 1
      if n == 0 then return entry.err end
    end
  end
end

return faulty
