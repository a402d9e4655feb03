-- SPDX-License-Identifier: MIT
-- A thousand bots in one process against one Bridge: all come up, each sends and receives, all stop.
-- The memory of an idle one is printed (VERBOSE=1 shows it).

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local COUNT = 1000
local FILES = 4096                      -- open files a process needs for that
local LIMIT = 60                        -- seconds for the clients, from their start to their end

-- Above these a change has made clients heavier; KiB of resident memory for one that is idle. A
-- busy machine adds a little to the usual 10 and 7.
local MOST = { bots = 16, sessions = 10 }

local function files_allowed()
  return (system.output("ulimit -Hn"))
end

-- A Bridge for many accounts in a process of its own, and its address.
local function start_bridge()
  local bridge = system.launch_lua("spec/support/many_bridge.lua " .. COUNT, { files = FILES })
  local url = helper.eventually(function()
    assert(not bridge:status(), bridge:log())
    return bridge:log():match "^(ws://%S+)\n"
  end)
  return bridge, url
end

-- The results of the clients, by name.
local function run_clients(kind, at_once, url)
  local script = ("spec/support/many_clients.lua %s %d %d %s"):format(kind, COUNT, at_once, url)
  local child <close> = system.launch_lua(script, { files = FILES })
  local status = child:wait(LIMIT)
  local log, reached = child:log(), {}
  assert(status == 0, log)
  for name, value in log:gmatch "(%S+) (%S+)\n" do reached[name] = tonumber(value) end
  return reached
end

local function with_bridge(body)
  return helper.async(function()
    local allowed = tonumber(files_allowed())
    if allowed and allowed < FILES then
      return pending(("a process may open only %d files here, %d are needed"):format(allowed, FILES))
    end
    local bridge <close>, url = start_bridge()
    body(url)
    assert.equal(0, bridge:kill "TERM")
  end, LIMIT + 30)
end

describe("a thousand clients in one process", function()
  it("come up at once, talk to each other, and stop", with_bridge(function(url)
    local reached = run_clients("bots", COUNT, url)
    assert.equal(COUNT, reached.ready)
    assert.equal(COUNT, reached.talked)
    assert.equal(COUNT, reached.stopped)
    assert.equal(0, reached.handles)
    print(("%d bots: ready after %.1f s, all had sent and received after %.1f s"):format(
      COUNT, reached.ready_after, reached.talked_after))
  end))

  for _, kind in ipairs { "bots", "sessions" } do
    it("take little memory when they are idle: " .. kind, with_bridge(function(url)
      local reached = run_clients(kind, 10, url)
      local each = reached.kib_per_client
      assert.equal(COUNT, reached.stopped)
      print(("resident memory of the client process per idle client, %s: %.1f KiB"):format(kind, each))
      -- A sanitizer has memory of its own.
      if not os.getenv "LD_PRELOAD" then
        assert(each <= MOST[kind], ("%.1f KiB, at most %d expected"):format(each, MOST[kind]))
      end
    end))
  end
end)
