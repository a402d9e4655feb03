-- SPDX-License-Identifier: MIT
-- Escapes characters that would be read as marks, so that they are shown (protocol 10.1).

local escape = {}

local NBSP = "\u{a0}"
local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = NBSP }
local HTML_SIGNS = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Characters that a backslash escapes in markdown.
escape.MARKDOWN_SIGN = "[_*%[%]()~>#+%-=|{}.!\\`]"

local function code_point(digits, base)
  local code = tonumber(digits, base)
  if code and code > 0 and code <= 0x10ffff and not (code >= 0xd800 and code < 0xe000) then return utf8.char(code) end
end

---The character of the entity with this name; nil: the entity is unknown.
---@param name string without "&" and ";"
---@return string?
function escape.entity(name)
  local decimal, hex = name:match "^#(%d+)$", name:match "^#[xX](%x+)$"
  return decimal and code_point(decimal, 10) or hex and code_point(hex, 16) or ENTITIES[name]
end

---Replace entities by their characters.
---@param content string
---@return string
function escape.entities(content)
  return (content:gsub("&(#?%w+);", escape.entity))
end

local function hard_spaces(run)
  return NBSP:rep(#run)
end

-- Html collapses a run of spaces, and drops spaces beside a line break: write those as non-breaking spaces.
local function keep_spaces(text)
  text = text:gsub(" ( +)", function(rest) return " " .. hard_spaces(rest) end)
  text = text:gsub("( +)\n", function(run) return hard_spaces(run) .. "\n" end)
  return (text:gsub("\n( +)", function(run) return "\n" .. hard_spaces(run) end))
end

local modes = {}

function modes.html(text)
  text = text:gsub("[&<>]", HTML_SIGNS)
  if text:find "[\t-\r]" or text:find("  ", 1, true) then
    text = keep_spaces((text:gsub("\r\n?", "\n"):gsub("[\t\v\f]", " "))):gsub("\n", "<br>")
  end
  return text
end

function modes.markdown(text)
  return (text:gsub(escape.MARKDOWN_SIGN, "\\%0"))
end

function modes.text(text)
  return text
end

---@param text string
---@param mode string
---@return string
function escape.text(text, mode)
  return modes[mode](text)
end

---A value for an attribute in double quotes.
---@param value string
---@return string
function escape.attribute(value)
  return (value:gsub("[&<>\"']", HTML_SIGNS))
end

---A target for the parentheses of a markdown link; characters that would end it are percent-encoded.
---@param target string
---@return string
function escape.target(target)
  return (target:gsub("[%s%c()<>\\]", function(sign) return ("%%%02X"):format(sign:byte()) end))
end

---True if this is a parse mode.
---@param mode any
---@return boolean
function escape.is_mode(mode)
  return modes[mode] ~= nil
end

return escape
