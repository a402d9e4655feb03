-- SPDX-License-Identifier: MIT
-- Interpreters that are not Lua 5.4 are told so: lua/trueconf/base/needs.lua and bin/trueconf.

local system = require "spec.support.system"

local INTERPRETERS = { ["lua5.1"] = "Lua 5.1", ["lua5.3"] = "Lua 5.3", luajit = "LuaJIT 2.%d[%w.-]*" }

local function run(command)
  return system.output("env -u LUA_INIT LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH= %s 2>&1; echo $?", command)
end

-- The public files: what lies at the top, as far as the documentation has it required.
local DOORS = {
  "trueconf", "trueconf.bridge", "trueconf.dialog", "trueconf.duration", "trueconf.filter", "trueconf.log",
  "trueconf.middleware", "trueconf.store", "trueconf.testing", "trueconf.text",
}

describe("another Lua", function()
  for interpreter, name in pairs(INTERPRETERS) do
    it(("is told what is needed: %s"):format(interpreter), function()
      for _, door in ipairs(DOORS) do
        local output = run(("%s -e 'require \"%s\"'"):format(interpreter, door))
        assert.matches("^" .. interpreter .. ": trueconf needs Lua 5.4; this is " .. name .. "\n", output, door)
        assert.matches("\n1$", output)
      end
      assert.matches("^trueconf needs Lua 5.4; this is " .. name .. "\n1$", run(interpreter .. " bin/trueconf version"))
    end)
  end

  it("is not what runs here", function()
    assert.is_true(require "trueconf.base.needs")
  end)

  -- A file that the pages require, and that does not begin with the check, would end in a syntax error there.
  it("is told at each door that the pages name", function()
    local doors = {}
    for _, door in ipairs(DOORS) do doors[door] = true end
    local named = system.output("grep -ohE 'require *\\(?[\"'\\'']trueconf[a-z._]*' README.md docs/*.md | sort -u")
    for module in named:gmatch "(trueconf[%l._]*)" do assert.is_true(doors[module], module) end
  end)
end)
