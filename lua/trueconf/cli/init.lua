-- SPDX-License-Identifier: MIT
-- The trueconf command: finds the command that was named and hands it the other arguments.
-- Exit codes: 0 done, 1 failed, 2 used wrongly.

local USAGE = [[
Usage: trueconf COMMAND [OPTION...]

Commands:
  bridge    run a local chat server that speaks the API of TrueConf Bridge
  version   print the version
  help      print this text; trueconf COMMAND --help explains a command
]]

-- A command is loaded when it is used: `help` and `version` must work in a broken installation.
local commands = {}

function commands.bridge(args)
  return require("trueconf.cli.bridge").main(args)
end

function commands.version()
  print("trueconf " .. require("trueconf.core")._VERSION)
  return 0
end

function commands.help()
  io.stdout:write(USAGE)
  return 0
end

local ALIASES = { ["--help"] = "help", ["-h"] = "help", ["--version"] = "version" }

---Run the command named by the first argument.
---@param args string[]
---@return integer exit_code
local function main(args)
  local name = args[1]
  if not name then
    io.stderr:write(USAGE)
    return 2
  end
  local command = commands[ALIASES[name] or name]
  if not command then
    io.stderr:write(("trueconf: unknown command '%s'; trueconf help lists them\n"):format(name))
    return 2
  end
  return command(table.move(args, 2, #args, 1, {}))
end

return { main = main }
