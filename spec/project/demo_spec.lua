-- SPDX-License-Identifier: MIT
-- The demo, run as `make demo` does: to its end, with the lines it promises, and with a bot that
-- does not do what it should.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 60                        -- seconds; the demo takes about eight

-- Run the demo of a directory; returns what it printed, its status, and whether its bot still runs.
local function run_demo(script)
  local temporary <close> = system.directory()
  local child <close> = system.launch_lua(script, {
    environment = {
      TMPDIR = temporary.path, TRUECONF_TOKEN = "not for this bot", TRUECONF_URL = "ws://127.0.0.1:1",
      -- The shell that the demo uses leaks.
      ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0",
    },
  })
  local status = child:wait(LIMIT)
  return child:log(), status, system.output("ls '%s'", temporary.path)
end

-- The examples in a directory of their own, with another text for the bot.
local function with_bot(text, fn)
  local directory <close> = system.directory()
  system.output("cp examples/demo.lua '%s'", directory.path)
  system.write(directory:file "order.lua", text)
  return fn(directory:file "demo.lua")
end

-- The first of the wanted lines that is missing in its place.
local function missing(wanted, output)
  local place = 1
  for line in output:gmatch "[^\n]+" do
    if wanted[place] and line:find(wanted[place], 1, true) then place = place + 1 end
  end
  return wanted[place]
end

describe("the demo", function()
  it("runs to its end and shows every line it promises", helper.async(function()
    local output, status, left = run_demo "examples/demo.lua"
    assert.equal(0, status, output)
    assert.is_nil(missing(system.lines "examples/demo.expect", output))
    assert.is_nil(missing({
      "Boris: Good morning!", "herald: Hello Boris.", "Boris: huge", "herald: There is small", "Boris: blue",
      "herald: One medium blue", "(read: blue)", "Boris: Are you still there?", "herald: Hello Boris.",
    }, output))
    assert.equal("", left)
  end, LIMIT))

  it("fits into 80 columns and has no colours where there is no terminal", helper.async(function()
    local output = run_demo "examples/demo.lua"
    for line in output:gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    assert.is_nil(output:find "\27")
  end, LIMIT))

  it("says why its bot did not come up", helper.async(function()
    with_bot("error('out of T-shirts')", function(script)
      local output, status, left = run_demo(script)
      assert.equal(1, status)
      assert.matches("demo: the bot did not come up; it says:\n.*out of T%-shirts", output)
      assert.equal("", left)
    end)
  end, LIMIT))

  it("fails when an answer is not the expected one", helper.async(function()
    local order = system.read "examples/order.lua"
    with_bot(order:gsub("And the colour%?", "What colour?"), function(script)
      local output, status, left = run_demo(script)
      assert.equal(1, status)
      assert.matches("herald: What colour%?\n.*demo: Anna expected the answer 'And the colour%?'", output)
      assert.equal("", left)
    end)
  end, LIMIT))
end)
