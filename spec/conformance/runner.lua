-- SPDX-License-Identifier: MIT
-- Runs rows over real sockets: raw_peer.py is the other side, byte by byte, and the end is one of ours. All rows of a
-- table are under way at once.

local core = require "trueconf.core"
local ends = require "spec.conformance.ends"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local judge = require "spec.conformance.judge"
local steps = require "spec.conformance.steps"
local system = require "spec.support.system"

local DEADLINE = 3                      -- seconds that a row waits for one thing
local LIMIT = 60                        -- seconds for all rows of a table at one end
local AT_ONCE = 250

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
    deadline = DEADLINE, at_once = AT_ONCE, rows = list,
  }
end

-- Let a client of ours go to the peer for each row, and wait until all are back.
local function visit(rows, at, port)
  local left, over = #rows, core.waiter()
  for place, row in ipairs(rows) do
    core.spawn(function()
      at:visit(("%d"):format(place), port, row.options)
      left = left - 1
      if left == 0 then over:wake(true) end
    end)
  end
  assert(over:wait(LIMIT))
end

-- The report of the peer about each row.
local function exchange(kind, rows, at)
  local directory <close> = system.directory()
  local path, out = directory:file "job", directory:file "out"
  system.write(path, assert(json.encode(job_of(kind, rows, at))))
  local peer <close> = system.launch(("/usr/bin/python3 spec/support/python/raw_peer.py %s %s"):format(path, out))
  local function file_of(suffix)
    return helper.eventually(function()
      local text = system.read(out .. suffix)
      assert(text or not peer:status() or peer:status() == 0, peer:log())
      return text
    end, LIMIT)
  end
  if at.role == "client" then visit(rows, at, math.tointeger(tonumber(file_of ".port"))) end
  return assert(json.decode(file_of ""))
end

---Run rows at an end.
---@async
---@param kind "frames"|"request"|"response"|"http" of the rows
---@param rows table[]
---@param name string of the end: server, bridge or client, with "-tls" behind it or not
---@return table<table, string|false> of each row what is wrong with it, false: it is kept
function runner.run(kind, rows, name)
  local verdicts = {}
  local at = ends[name:match "^%l+"](name)
  at.bridge = name:find "^bridge" ~= nil
  helper.finally(function() at:close() end, function()
    local results = exchange(kind, rows, at)
    for place, row in ipairs(rows) do
      local id = ("%d"):format(place)
      verdicts[row] = judge[kind](row, at, results[id], at:seen_of(id)) or false
    end
  end)
  return verdicts
end

return runner
