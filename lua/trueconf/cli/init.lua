-- SPDX-License-Identifier: MIT
-- The trueconf command. Each of its commands is a file beside this one, which returns a `trueconf.cli.Command`; it is
-- loaded when it is used, so that help and version work in a broken installation too.
-- Exit codes: 0 done, 1 failed, 2 wrong usage.

---@class trueconf.cli.Command
---@field describe fun(command: table) adds options to a command of argparse
---@field run fun(given: table<string, any>, whole_parser: fun(): table): integer runs the command with the parsed
---arguments; `whole_parser` makes the parser of all commands; returns the exit code
---@field arrange? fun(args: string[]): string[] rearranges the command line before it is parsed

-- The commands in the order of the help, each with a short description.
local COMMANDS = {
  { "new", "Make a new bot: its file, a test, a service." },
  { "run", "Run a bot." },
  { "chat", "Talk to bots at a Bridge." },
  { "bridge", "Run a local chat server that speaks the API of TrueConf Bridge." },
  { "completion", "Write a script by which a shell completes commands and flags." },
  { "doctor", "Check the connection to a server, step by step." },
  { "send", "Send a message or a file." },
  { "tail", "Show messages and events as the server sends them." },
  { "token", "Get an access token, show when it expires." },
  { "version", "Print the version." },
}

-- luacheck: globals os.exit

-- Errors that the parser raises for main() alone: a mistake, and the end of a help or version request.
local Misuse, Explained = {}, {}

local BROKEN_PIPE = 32                  -- EPIPE

---@param name string
---@return trueconf.cli.Command
local function load_command(name)
  return require("trueconf.cli." .. name)
end

-- argparse writes its hint on a line of its own; we print each mistake as one line.
local function one_line(message)
  return (message:gsub("%.?\nDid you mean", ", did you mean"))
end

-- The words that lead to the command a parser is for: "trueconf bridge user".
local function words_of(parser)
  return parser:get_usage():match "^Usage: (%l[%l ]*%l)"
end

-- The parser takes a text such as "-12 degrees" for a series of short options.
local function hint(message, args)
  if not message:find "^unknown option" then return message end
  for _, argument in ipairs(args) do
    if argument:find "^%-[^%a%-]" or argument:find "^%-.*%s" then
      return ("'%s' is taken for an option; put -- before a text that begins with a hyphen"):format(argument:sub(1, 64))
    end
  end
  return message
end

local function new_parser(argparse)
  local parser = argparse("trueconf", "Chat bots on TrueConf Server, and a server to try them with.")
  parser:require_command(false):command_target("command"):help_max_width(100):help_description_margin(32)
  parser:epilog "trueconf COMMAND --help explains a command."
  parser:flag("--version", "Print the version."):target "print_version"
  parser:add_help_command()
  function parser.error(current, message)
    error(setmetatable({ words = words_of(current), message = one_line(message) }, Misuse), 0)
  end
  return parser
end

-- The command that is run, or whose help is shown; the files of the others are not loaded.
local function wanted_command(args)
  return args[1] == "help" and args[2] or args[1] or ""
end

-- Add the commands, with the flags of the wanted one; nil: with the flags of all.
local function add_commands(parser, wanted)
  for _, entry in ipairs(COMMANDS) do
    local name, summary = table.unpack(entry)
    local command = parser:command(name, summary):summary(summary)
    if not wanted or name == wanted then load_command(name).describe(command) end
  end
end

-- Let the command hide the arguments of its script from the parser.
local function arrange(args)
  for _, entry in ipairs(COMMANDS) do
    if entry[1] == args[1] then
      local own = load_command(args[1]).arrange
      return own and own(args) or args
    end
  end
  return args
end

local function complain(text)
  io.stderr:write(text, "\n")
  return 2
end

-- argparse prints its help and ends the process; we must check the output first.
local function parse_on(parser, args)
  local exit = os.exit
  os.exit = function() error(Explained, 0) end
  local ok, given = pcall(parser.parse, parser, args)
  os.exit = exit
  return ok, given
end

-- Returns the parsed arguments, or nil and the exit code.
local function parse(parser, args)
  local ok, given = parse_on(parser, args)
  if ok then return given end
  if given == Explained then return nil, 0 end
  if getmetatable(given) ~= Misuse then error(given, 0) end
  return nil, complain(("%s: %s; see %s --help"):format(given.words, hint(given.message, args), given.words))
end

-- The command has failed if its output could not be written. A closed pipe is no failure (trueconf doctor | head).
local function check_output(code)
  local found, core = pcall(require, "trueconf.core")
  if not found then return code end     -- a broken installation can still explain itself
  local ok, err = core.flush_output()
  if ok or err.code == BROKEN_PIPE then return code end
  complain(("trueconf: %s%s"):format(code == 0 and "done, but " or "", err.message))
  return code == 0 and 1 or code
end

---The parser with all commands and flags: completion and the man page are made from it.
---@return table parser of argparse
local function whole_parser()
  local parser = new_parser(require "argparse")
  add_commands(parser)
  return parser
end

local function run(args)
  local found, argparse = pcall(require, "argparse")
  if not found then
    complain "trueconf: the command line needs argparse: install lua-argparse (Debian) or argparse (LuaRocks)"
    return 1
  end
  local parser = new_parser(argparse)
  add_commands(parser, wanted_command(args))
  local given, code = parse(parser, arrange(args))
  if not given then return code end
  if given.print_version then return load_command("version").run(given) end
  if not given.command then return complain(parser:get_help()) end
  return load_command(given.command).run(given, whole_parser)
end

---Run the command named by the first argument.
---@param args string[]
---@return integer exit_code
local function main(args)
  return check_output(run(args))
end

return { main = main, whole_parser = whole_parser }
