-- SPDX-License-Identifier: MIT
-- trueconf completion: writes the script by which a shell completes commands and flags.

local SHELLS = { "bash", "zsh", "fish" }

local EXAMPLES = [[
Examples:
  trueconf completion bash >~/.local/share/bash-completion/completions/trueconf
  trueconf completion zsh >"${fpath[1]}/_trueconf"
  trueconf completion fish >~/.config/fish/completions/trueconf.fish
  eval "$(trueconf completion bash)"]]

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description "Write to the standard output the script by which a shell completes commands and flags."
    command:epilog(EXAMPLES)
    command:argument("shell", "bash, zsh or fish."):choices(SHELLS)
  end,
  run = function(given, whole_parser)
    local parser = whole_parser()
    io.write((parser["get_" .. given.shell .. "_complete"](parser)))
    return 0
  end,
}
