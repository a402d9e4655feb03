-- SPDX-License-Identifier: MIT
-- Reads marked-up text from left to right, in linear time for every text: each search ahead (for the end of a tag or of
-- a link) is made once and its result kept.

local core = require "trueconf.core"

local scan = {}

---A function that gives the next index of a pattern at or after an index. The indexes asked for
---must not go back.
---@param content string
---@param pattern string
---@return fun(at: integer): integer?
function scan.finder(content, pattern)
  local found = 0
  return function(at)
    if found and found < at then found = content:find(pattern, at) end
    return found
  end
end

---The finders for the searches ahead in a text.
---@param content string
---@return table
function scan.ahead(content)
  return {
    angle = scan.finder(content, ">"), bracket = scan.finder(content, "]"), paren = scan.finder(content, "%)"),
    anchor_end = scan.finder(content, "</[aA]>"),
  }
end

---Number of characters; bytes that are not UTF-8 count if they begin a character.
---@param content string
---@return integer
function scan.length(content)
  return utf8.len(content) or select(2, content:gsub("[^\x80-\xbf]", ""))
end

local function is_word(content, at)
  local byte = content:byte(at)
  if not byte then return false end
  if byte < 0x80 then return content:find("^%w", at) ~= nil end
  return utf8.len(content, at, at) == 1 and core.is_letter(utf8.codepoint(content, at))
end

local function word_before(content, at)
  local byte = content:byte(at - 1)
  if at == 1 or not byte then return false end
  if byte < 0x80 then return is_word(content, at - 1) end
  local start = utf8.offset(content, -1, at)
  return start ~= nil and is_word(content, start)
end

---True if the text of this length at an index has a letter or digit on both sides.
---@param content string
---@param at integer
---@param size integer
---@return boolean
function scan.inside_word(content, at, size)
  return word_before(content, at) and is_word(content, at + size)
end

---The index after the tag that begins here; nil: none begins here.
---@param content string
---@param at integer
---@param ahead table
---@return integer? after
---@return string? name in lower case
---@return boolean? closing
function scan.tag(content, at, ahead)
  local slash, name, stop = content:match("^<(/?)(%a+)()", at)
  if not name then return nil end
  local last
  if content:find("^/?>", stop) then
    last = content:find(">", stop, true)
  elseif content:find("^%s", stop) then
    last = ahead.angle(stop)
  end
  return last and last + 1, name:lower(), slash == "/"
end

---The target in a tag's attributes.
---@param tag string
---@return string? href as it is written there
function scan.href(tag)
  return tag:match "[hH][rR][eE][fF]%s*=%s*[\"']([^\"']+)[\"']"
end

---The ends of the label and the target of the markdown link that begins here; nil: none begins here.
---@param content string
---@param at integer
---@param ahead table
---@return integer? label_end index of the closing bracket
---@return integer? target_end index of the closing parenthesis
function scan.link(content, at, ahead)
  local label_end = ahead.bracket(at + 1)
  if not label_end or label_end == at + 1 or content:byte(label_end + 1) ~= 0x28 then return nil end
  local target_end = ahead.paren(label_end + 2)
  if not target_end or target_end == label_end + 2 then return nil end
  return label_end, target_end
end

return scan
