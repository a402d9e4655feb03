-- SPDX-License-Identifier: MIT
-- The standard input of a program beside its loop, and stamps of files.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

-- The output of a script after this shell command in a pipe.
local function printed_behind(command, script)
  local directory <close> = system.directory()
  local path = system.write(directory:file "script.lua", "local core = require 'trueconf.core'\n" .. script)
  return system.output("%s LD_PRELOAD='%s' LUA_PATH='%s' LUA_CPATH='%s' timeout 20 %s %s", command,
    os.getenv "LD_PRELOAD" or "", package.path, package.cpath, os.getenv "LUA" or "lua5.4", path)
end

-- The same when its input is a pipe that the command writes to.
local function piped(input, script)
  return printed_behind(("{ %s; } |"):format(input), script)
end

describe("core.readable", function()
  it("lets the loop go on until something comes, and sees the end", function()
    local directory <close> = system.directory()
    -- Each text is written once the script asks for it.
    local input = ("cd '%s'; for text in one two; do until [ -e $text ]; do sleep 0.05; done; printf $text; done")
      :format(directory.path)
    local printed = piped(input, ([[
      local turns, directory, asked = 0, "%s", { "one", "two" }
      local function ask()
        local text = table.remove(asked, 1)
        if text then io.open(directory .. "/" .. text, "w"):close() end
      end
      local function tick() turns = turns + 1; core.sleep(0.01); return tick() end
      local ticker = core.spawn(tick)
      core.spawn(function() core.sleep(0.3); ask() end)
      repeat
        core.readable(0)
        local text = core.read(0)
        io.write("[", tostring(text), "]")
        ask()
      until not text
      core.cancel(ticker)
      print(turns > 5)
    ]]):format(directory.path))
    assert.equal("[one][two][nil]true", printed)
  end)

  it("takes files too", function()
    local directory <close> = system.directory()
    local script = system.write(directory:file "script.lua", [[
      local core = require "trueconf.core"
      core.readable(0)
      print(core.read(0) == io.open("LICENSE"):read "a")
    ]])
    local printed = system.output("LD_PRELOAD='%s' LUA_PATH='%s' LUA_CPATH='%s' timeout 20 %s %s <LICENSE",
      os.getenv "LD_PRELOAD" or "", package.path, package.cpath, os.getenv "LUA" or "lua5.4", script)
    assert.equal("true", printed)
  end)

  it("can be given up, and keeps no program from ending", function()
    assert.equal("over", piped("sleep 5 2>/dev/null & true", [[
      local reader = core.spawn(function() core.readable(0) end)
      core.sleep(0.05)
      assert(core.cancel(reader))
      core.spawn(function() core.readable(0) end)
      core.sleep(0.05)
      core.close()
      print "over"
    ]]))
  end)

  it("leaves the input blocking for whoever has it next", function()
    assert.equal("blocking", piped("echo one", [[
      core.readable(0)
      local flags = io.open("/proc/self/fdinfo/0"):read("a"):match "flags:%s*(%d+)"
      print(tonumber(flags, 8) & 2048 == 0 and "blocking" or flags)
    ]]))
  end)

  it("says so when it cannot wait", function()
    assert.equal("nil\tIO\ttrue", printed_behind("ulimit -n 64;", [[
      core.sleep(0)
      local files = {}
      repeat files[#files + 1] = io.open "/dev/null" until not io.open "/dev/null"
      local ok, err = core.readable(0)
      print(ok, err.name, err.message:find("cannot wait for the input", 1, true) == 1)
    ]]))
  end)

  it("says what cannot be read", function()
    local text, err = core.read(99)
    assert.is_nil(text)
    assert.equal("IO", err.name)
  end)
end)

describe("a line that is edited", function()
  it("takes no key before it has begun, and none when it is over", function()
    assert.equal("refused\nrefused", printed_behind("", [[
      core.edit_end()
      print(pcall(core.edit_key) and "taken" or "refused")
      core.edit_begin ""
      core.edit_end()
      print(pcall(core.edit_key) and "taken" or "refused")
    ]]))
  end)
end)

describe("core.file_stamp", function()
  it("changes with the file, also when another takes its place", helper.async(function()
    local directory <close> = system.directory()
    local path = directory:file "bot.lua"
    assert.is_nil(core.file_stamp(path))
    system.write(path, "one")
    local first = core.file_stamp(path)
    assert.equal(first, core.file_stamp(path))
    system.write(path, "longer")
    local second = core.file_stamp(path)
    assert.not_equal(first, second)
    os.remove(path)
    system.output("printf longer >'%s'; touch -r '%s' '%s'; mv '%s' '%s'", path .. "~", directory.path, path .. "~",
      path .. "~", path)
    assert.not_equal(second, core.file_stamp(path))
  end))
end)
