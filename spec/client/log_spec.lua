-- SPDX-License-Identifier: MIT
-- A client's log of what came and was no reason to fail.

local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local log = require "trueconf.log"
local system = require "spec.support.system"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

describe("a client", function()
  local server
  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  -- The warnings of a client that runs against these steps of the server.
  local function warnings(steps, done)
    local lines = {}
    local script = { "accept", "auth" }
    for _, step in ipairs(steps) do script[#script + 1] = step end
    script[#script + 1] = "silent"
    local client = trueconf.client {
      url = server:ws(script):match "^ws://[^/]+", token = "secret.token.1",
      log = log.new { level = "warn", sink = function(_, text) lines[#lines + 1] = text end },
    }
    -- The faulty server tells its visitors apart by the path, which a client's url has none of.
    behind(client).client.session = core.session {
      url = server:ws(script), token = "secret.token.1", on_anomaly = behind(client).client.anomaly_logger,
    }
    client:start()
    helper.eventually(function() return done(behind(client).client.session:stats()) end)
    client:stop()
    return lines
  end

  it("says what it ignored, and where it was seen", helper.async(function()
    local lines = warnings({ { "text", "this is no JSON" }, { "text", '{"type":2,"id":77}' } },
      function(stats) return stats.garbage == 1 and stats.unexpected == 1 end)
    assert.matches("ignored frame %(1 so far%): this is no JSON$", lines[1])
    assert.matches("ignored response to nobody %(1 so far%): id 77$", lines[2])
    assert.equal(2, #lines)
  end))

  it("holds down a flood of the same", helper.async(function()
    local steps = {}
    for i = 1, 120 do steps[i] = { "text", "garbage " .. i } end
    local lines = warnings(steps, function(stats) return stats.garbage == 120 end)
    assert.equal(3, #lines)
    assert.matches("%(1 so far%): garbage 1$", lines[1])
    assert.matches("%(10 so far%): garbage 10$", lines[2])
    assert.matches("%(100 so far%): garbage 100$", lines[3])
  end))

  it("takes no token file that is none, at the line of the script", function()
    local directory <close> = system.directory()
    local fifo = directory:file "fifo"
    system.output("mkfifo '%s'", fifo)
    for _, make in ipairs { trueconf.client, trueconf.bot } do
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, err = pcall(function() make { token = "x", token_file = fifo } return true end)
      assert.is_false(ok)
      local expected = "client/log_spec.lua:%d: CONFIG: option 'token_file': cannot write %s: it is a FIFO"
      assert.matches(expected:format(line, fifo), err, 1, true)
    end
    assert.equal("fifo", system.output("stat -c %%F '%s'", fifo))
  end)

  it("says that its token cannot be kept, why, and what comes of it", helper.async(function()
    local bridge, directory <close> = system.start_bridge(), system.directory()
    local path, lines = directory:file "missing" .. "/token", {}
    local client = trueconf.client {
      url = bridge:url(), username = "herald", password = "4711", token_file = path,
      log = log.new { level = "warn", sink = function(_, text) lines[#lines + 1] = text end },
    }
    client:start()
    assert(client:wait_ready(20))
    client:stop()
    assert.equal(1, #lines)
    assert.matches(("%s: the token is not kept, so each start logs in again: IO (2): cannot write %s: No such"):format(
      bridge:url(), path), lines[1], 1, true)
    bridge:stop()
  end))
end)
