-- SPDX-License-Identifier: MIT
-- Reads lines that a person types, and shows lines meanwhile: at a terminal above the line that is being typed. With an
-- interpreter that has readline, that line can be edited and earlier ones recalled; otherwise the terminal edits it.

local core = require "trueconf.core"
local terminal = require "trueconf.cli.terminal"

local INPUT = 0
local LONGEST_LINE = 65536              -- bytes

---@class trueconf.cli.Console
---@field interactive boolean input and output are a terminal
---@field private rest string input that was read after the last line
---@field private prompting boolean
---@field private paint fun(colour: string, text: string): string
local Console = {}
Console.__index = Console

---@return trueconf.cli.Console
local function new()
  local interactive = terminal.input() and terminal.output()
  io.stdout:setvbuf "full"
  return setmetatable({
    interactive = interactive, rest = "", prompting = false, paint = terminal.painter(),
  }, Console)
end

-- Reading -------------------------------------------------------------------------------------------

-- The next line without its end; nil: there are no more.
local function next_line(self)
  while true do
    local line, rest = self.rest:match "^([^\n]*)\n(.*)$"
    if line or #self.rest > LONGEST_LINE then
      line, self.rest = line or self.rest, rest or ""
      return (line:gsub("\r$", ""))
    end
    assert(core.readable(INPUT))
    local bytes = core.read(INPUT)
    if not bytes then
      line, self.rest = self.rest, ""
      return line ~= "" and line or nil
    end
    self.rest = self.rest .. bytes
  end
end

local Editing = { __close = core.edit_end }

-- The next line from the line editor, or false for no more; nil: there is no editor.
local function edited_line(prompt)
  if not core.edit_begin(prompt) then return nil end
  local _ <close> = setmetatable({}, Editing)
  local line
  repeat
    assert(core.readable(INPUT))
    line = core.edit_key()
  until line ~= nil
  return line
end

---The next line; nil: there are no more.
---@async
---@param prompt string
---@return string?
function Console:line(prompt)
  if not self.interactive then return next_line(self) end
  self.prompting = true
  local line = edited_line(prompt)
  if line == nil then
    io.write(prompt)
    io.flush()
    line = next_line(self)
  end
  self.prompting = false
  return line or nil
end

-- Showing -------------------------------------------------------------------------------------------

local function width()
  local pipe <close> = io.popen "stty size 2>/dev/null"
  local columns = pipe and tonumber((pipe:read "a"):match "%d+ (%d+)")
  return columns and columns > 20 and columns or 80
end

-- Pieces of a line that fit into the width.
local function pieces(line, most)
  local list = {}
  while utf8.len(line) and utf8.len(line) > most do
    local index = utf8.offset(line, most + 1)
    list[#list + 1], line = line:sub(1, index - 1), line:sub(index)
  end
  list[#list + 1] = line
  return list
end

-- Make space above the line that is being typed, write there, and go back: index, up, save, insert a line, restore,
-- down.
local ABOVE = "\27D\27[A\0277\27[L\r%s\0278\27[B"

---Show text, without its escape sequences.
---@param label string shown in the colour before the text; with "" the text itself is in the colour
---@param colour "red"|"green"|"yellow"|"blue"|"bold"|"dim"
---@param text string
function Console:show(label, colour, text)
  if label == "" then label, text = text, "" end
  local most = self.prompting and width() or math.maxinteger
  for line in (label .. text .. "\n"):gmatch "(.-)\n" do
    for _, piece in ipairs(pieces(terminal.line(line), most)) do
      local is_labelled = label ~= "" and piece:sub(1, #label) == label
      if is_labelled then piece = self.paint(colour, label) .. piece:sub(#label + 1) end
      label = ""
      io.write((self.prompting and ABOVE or "%s\n"):format(piece))
    end
  end
  io.flush()
end

return { new = new }
