-- SPDX-License-Identifier: MIT
-- Runs rows over real sockets: raw_peer.py is the other side, byte by byte, and the end is one of ours. Many rows are
-- under way at once.

local ends = require "spec.conformance.ends"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local judge = require "spec.conformance.judge"
local steps = require "spec.conformance.steps"
local system = require "spec.support.system"
local tables = require "spec.conformance.tables"

local DEADLINE = 4                      -- seconds that a row waits for one thing
local END_DEADLINE = 2                  -- seconds in which a connection must end that has nothing to wait for
local LIMIT = 60                        -- seconds for all rows of a table
local AT_ONCE = 32                      -- rows at one end: the deadline of one is not for the work of all others

local runner = { LIMIT = LIMIT }

local function job_of(kind, rows, at)
  local list = {}
  for place, row in ipairs(rows) do
    local id = ("%d"):format(place)
    list[place] = {
      id = id, steps = steps[kind](row, at), source = at.role == "server" and ends.source(id) or nil,
      heads = row.heads,
    }
  end
  return {
    port = at.port, tls = at.tls ~= nil, cert = at.tls and at.tls.cert_file, key = at.tls and at.tls.key_file,
    deadline = DEADLINE, end_deadline = END_DEADLINE, at_once = at.at_once or AT_ONCE, rows = list,
  }
end

-- Let clients of ours go to the peer for each row, and wait until all are back.
local function visit(rows, at, port)
  local last, calls = 0, {}
  local function visit_some()
    while last < #rows do
      last = last + 1
      at:visit(("%d"):format(last), port, rows[last].options)
    end
    return true
  end
  for place = 1, AT_ONCE do calls[place] = system.begin(visit_some) end
  for _, call in ipairs(calls) do assert(call:wait(LIMIT)) end
end

---@class spec.conformance.Run the rows of a table at one end
---@field kind string
---@field rows table[]
---@field at spec.conformance.End
---@field directory table with the job of the peer
local Run = {}
Run.__index = Run

-- All that keeps the loop from turning is done here, before a deadline runs.
local function prepare(loaded, name)
  local self = setmetatable({ kind = loaded.kind, rows = tables.rows(loaded, name) }, Run)
  self.at, self.directory = ends[name:match "^%l+"](name), system.directory()
  system.write(self.directory:file "job", assert(json.encode(job_of(self.kind, self.rows, self.at))))
  return self
end

-- The report of the peer about each row.
function Run:exchange()
  local path, out = self.directory:file "job", self.directory:file "out"
  local peer <close> = system.launch(("/usr/bin/python3 spec/support/python/raw_peer.py %s %s"):format(path, out))
  local function file_of(suffix)
    return helper.eventually(function()
      local text = system.read(out .. suffix)
      assert(text or not peer:status() or peer:status() == 0, peer:log())
      return text
    end, LIMIT)
  end
  if self.at.role == "client" then visit(self.rows, self.at, math.tointeger(tonumber(file_of ".port"))) end
  return file_of ""
end

function Run:judge(text)
  local results, verdicts = assert(json.decode(text)), {}
  for place, row in ipairs(self.rows) do
    local id = ("%d"):format(place)
    verdicts[row] = judge[self.kind](row, self.at, results[id], self.at:seen_of(id)) or false
  end
  return verdicts
end

function Run:close()
  self.at:close()
  self.directory:__close()
end

---Run the rows of a table at all their ends, at the same time: mostly they wait.
---@async
---@param loaded spec.conformance.Table
---@return table<string, table<table, string|false>> verdicts by end and row what is wrong, false: it is kept
function runner.run(loaded)
  local runs, calls, verdicts = {}, {}, {}
  helper.finally(function()
    for _, run in pairs(runs) do run:close() end
  end, function()
    for _, name in ipairs(tables.ends(loaded)) do runs[name] = prepare(loaded, name) end
    for name, run in pairs(runs) do calls[name] = system.begin(function() return run:exchange() end) end
    for name, call in pairs(calls) do
      local text = assert(call:wait(LIMIT))
      verdicts[name] = runs[name]:judge(text)
    end
  end)
  return verdicts
end

return runner
