-- SPDX-License-Identifier: MIT
-- The texts of the trueconf command about itself: help, mistakes, completion, the man page.

local command = require "spec.support.command"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local cli = require "trueconf.cli"

-- The names of all commands but help.
local function names()
  local list = {}
  local commands = cli.whole_parser():get_help():match "Commands:\n(.-)\n\n"
  for name in commands:gmatch "\n   (%l+) " do list[#list + 1] = name end
  assert(#list > 4)
  return list
end

-- Commands whose help has no examples.
local PLAIN = { version = true }

describe("the command line", function()
  it("explains each command, with examples", helper.async(function()
    for _, name in ipairs(names()) do
      local code, output, errors = command.run { name, "--help" }
      assert.same({ 0, "" }, { code, errors }, name)
      assert.matches("^Usage: trueconf " .. name, output)
      if not PLAIN[name] then assert.matches("\nExamples?:\n  .*trueconf " .. name, output) end
    end
  end))

  -- The explanations of the flags and arguments in a help, each as one line.
  local function explanations(help)
    local list = {}
    for line in help:gmatch "[^\n]+" do
      local text = line:match "^   %S.-  +(%S.*)$" or line:match "^   %-%-%S+ %S+$" and ""
      if text then
        list[#list + 1] = text
      elseif line:find "^%s+%S" and line:match "^%s+()" > 30 and list[1] then
        list[#list] = (list[#list] .. " " .. line:match "^%s+(.-)%s*$"):match "^%s*(.*)$"
      end
    end
    return list
  end

  -- A beginning of something that can only be read with the name of the flag.
  local FRAGMENT = { Of = true, In = true, That = true, After = true, Between = true, For = true, Who = true,
    Whom = true, What = true }

  it("explains each flag in a sentence that can be read alone", helper.async(function()
    for _, name in ipairs(names()) do
      local list = explanations(select(2, command.run { name, "--help" }))
      assert.is_not_nil(list[1], name)
      for _, text in ipairs(list) do
        local shown = ("%s: %q"):format(name, text)
        if name ~= "completion" then assert.is_truthy(text:find "^[%u]", shown) end
        assert.is_truthy(text:find "%.$", shown)
        assert.is_falsy(FRAGMENT[text:match "^%a+"], shown)
        assert.is_falsy(text:find "^The same", shown)
      end
    end
  end))

  it("says in one line what is wrong with a flag, and what may be meant", helper.async(function()
    for _, name in ipairs(names()) do
      local code, output, errors = command.run { name, "--hepl" }
      assert.same({ 2, "" }, { code, output }, name)
      local line = "trueconf NAME: unknown option '--hepl', did you mean '--help'?; see trueconf NAME --help\n"
      assert.equal((line:gsub("NAME", name)), errors)
    end
  end))
end)

describe("completion", function()
  local directory
  setup(function() directory = system.directory() end)
  teardown(function() directory:__close() end)

  local function script_for(shell)
    local code, output, errors = command.run { "completion", shell }
    assert.same({ 0, "" }, { code, errors })
    return system.write(directory:file(shell), output)
  end

  it("works in bash", helper.async(function()
    local script = script_for "bash"
    local function complete(...)
      local words = table.concat({ "trueconf", ... }, " ")
      return system.output([[bash -c 'source "%s"; COMP_WORDS=(%s); COMP_CWORD=%d; _trueconf; echo "${COMPREPLY[@]}"']],
        script, words, select("#", ...))
    end
    assert.equal("send", complete "sen")
    assert.equal("--caption", complete("send", "--cap"))
    assert.equal("add", complete("bridge", "user", "a"))
  end))

  it("works in fish", helper.async(function()
    local script = script_for "fish"
    local function complete(words)
      local line = [[HOME='%s' fish --no-config -c 'source "%s"; complete -C "%s"']]
      return system.output(line, directory.path, script, words)
    end
    assert.matches("^send\tSend a message", complete "trueconf sen")
    assert.matches("^%-%-caption\t", complete "trueconf send --cap")
  end))

  it("is good zsh", helper.async(function()
    local script = script_for "zsh"
    assert.equal("", system.output("zsh -f -n '%s'", script))
    assert.matches("^#compdef trueconf\n", system.read(script))
  end))

  it("knows three shells", helper.async(function()
    local code, output, errors = command.run { "completion", "tcsh" }
    assert.same({ 2, "" }, { code, output })
    assert.matches("^trueconf completion: argument 'shell' must be one of 'bash', 'zsh', 'fish'; see", errors)
  end))
end)

describe("the man page", function()
  local page = assert(system.read "docs/trueconf.1")

  it("is laid out well", function()
    assert.equal("", system.output "groff -man -ww -z docs/trueconf.1")
  end)

  it("has all commands and their flags", function()
    local plain = page:gsub("\\", "")
    for _, name in ipairs(names()) do assert.matches("\n%.SS trueconf " .. name .. "\n", plain) end
    for _, flag in ipairs { "--host HOST", "--caption TEXT", "--ca-file FILE", "--event NAME", "--print" } do
      assert.is_truthy(plain:find(".B " .. flag .. "\n", 1, true), flag)
    end
  end)

  it("has all variables of the environment", function()
    for name in system.read("lua/trueconf/client/settings.lua"):gmatch '"(TRUECONF_[%u_]+)"' do
      assert.is_truthy(page:find(name, 1, true), name)
    end
  end)
end)
