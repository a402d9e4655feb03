-- SPDX-License-Identifier: MIT
-- Text for terminals and logs. Text from the network can hold escape sequences (C0 and C1 controls), marks that change
-- the direction of the text around them, and characters that end a line: they are shown as escapes.

local core = require "trueconf.core"

local printable = {}

local NAMES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function control(sign)
  return NAMES[sign] or ("\\x%02x"):format(sign:byte())
end

local function character(sign)
  return ("\\u{%x}"):format(utf8.codepoint(sign))
end

local function in_json(sign)
  return ("\\u%04x"):format(utf8.codepoint(sign))
end

-- C1 controls; the separators of lines and paragraphs, and marks of direction that hold until another one ends them.
local BEYOND_ASCII = { "\xC2[\x80-\x9F]", "\xE2\x80[\xA8-\xAE]", "\xE2\x81[\xA6-\xA9]" }

local function replaced(text, controls, show_control, show_character)
  if not text:find "[%c\x80-\xFF]" then return text end
  text = core.mend_utf8(text):gsub(controls, show_control)
  for _, pattern in ipairs(BEYOND_ASCII) do text = text:gsub(pattern, show_character) end
  return text
end

---A text as one line.
---@param text string any bytes
---@return string
function printable.line(text)
  return replaced(text, "%c", control, character)
end

---A text of several lines: line breaks and tabs stay.
---@param text string any bytes
---@return string
function printable.lines(text)
  return replaced(text, "[^%C\n\t]", control, character)
end

---JSON text as one line of the same meaning.
---@param text string JSON
---@return string
function printable.json(text)
  text = text:gsub("[\t\r\n]", " ")     -- they stand outside of strings
  return replaced(text, "%c", in_json, in_json)
end

return printable
