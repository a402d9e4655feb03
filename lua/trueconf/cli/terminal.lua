-- SPDX-License-Identifier: MIT
-- Colours and progress at a terminal, but not in files and pipes. Text from the network is cleaned before it reaches a
-- terminal: it could hold escape sequences.

local printable = require "trueconf.base.printable"

local terminal = {}

local INPUT, OUTPUT, ERRORS = 0, 1, 2
local known = {}

-- The shell inherits the three streams, and tests them.
local function is_terminal(number)
  if known[number] == nil then known[number] = os.execute("test -t " .. number) == true end
  return known[number]
end

function terminal.input() return is_terminal(INPUT) end
function terminal.output() return is_terminal(OUTPUT) end
function terminal.errors() return is_terminal(ERRORS) end

local COLOURS = { red = 31, green = 32, yellow = 33, blue = 34, bold = 1, dim = 2 }

-- True if the terminal knows escape sequences.
local function is_able()
  local kind = os.getenv "TERM"
  return kind ~= nil and kind ~= "dumb"
end

local function wants_colours()
  local no_color = os.getenv "NO_COLOR"
  return (no_color == nil or no_color == "") and is_able() and terminal.output()
end

---A function that colours text for the standard output: only at a terminal, and not if NO_COLOR is set (no-color.org).
---@return fun(colour: "red"|"green"|"yellow"|"blue"|"bold"|"dim", text: string): string
function terminal.painter()
  local wanted = wants_colours()
  return function(colour, text)
    return wanted and ("\27[%dm%s\27[0m"):format(COLOURS[colour], text) or text
  end
end

---Text as one line without control characters.
terminal.line = printable.line

local UNITS = { "bytes", "KiB", "MiB", "GiB", "TiB" }

---@param bytes integer
---@return string text such as "3.5 MiB"
function terminal.size(bytes)
  local unit = 1
  while bytes >= 1024 and unit < #UNITS do bytes, unit = bytes / 1024, unit + 1 end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(bytes, UNITS[unit])
end

local WIDTH = 30                        -- characters of a bar

---A progress bar on the standard error, drawn anew when the percentage changes.
---@param label string
---@return (fun(done: integer, total: integer))? report nil: the standard error is no terminal
---@return fun() finish removes the bar
function terminal.progress(label)
  if not is_able() or not terminal.errors() then return nil, function() end end
  local last
  local function report(done, total)
    local percent = total > 0 and done * 100 // total or 0
    if percent == last then return end
    last = percent
    local full = percent * WIDTH // 100
    io.stderr:write(("\r%s [%s%s] %3d%% of %s "):format(terminal.line(label), ("#"):rep(full), ("-"):rep(WIDTH - full),
      percent, terminal.size(total)))
  end
  return report, function()
    if last then io.stderr:write "\r\27[K" end
  end
end

return terminal
