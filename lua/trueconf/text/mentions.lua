-- SPDX-License-Identifier: MIT
-- Mentions, quotes and contacts in texts (protocol 10.2, 6.1, 8.5).

local escape = require "trueconf.text.escape"
local link = require "trueconf.text.link"
local plain = require "trueconf.text.plain"
local tokens = require "trueconf.text.tokens"

local mentions = {}

local HREF = "%f[%w%-][hH][rR][eE][fF]%s*=%s*([\"'])(.-)%1"

-- The target of an opening tag's attributes.
local function target_of(attributes)
  local _, href = attributes:match(HREF)
  return href and escape.entities(href)
end

local targets = {}

function targets.html(content)
  local list = {}
  for attributes in content:gmatch "<[aA]%s([^<>]*)>" do list[#list + 1] = target_of(attributes) end
  return list
end

function targets.markdown(content)
  local list, found = tokens.of(content, "markdown", true), {}
  for index = 1, list.count do
    if list.kind[index] == "open" then found[#found + 1] = list.target[index] end
  end
  return found
end

function targets.text()
  return {}
end

-- True if "@all" is there as a word of its own, not as a part of an address.
local function addresses_all(text)
  local at = 1
  while true do
    local from, to = text:find("@all", at, true)
    if not from then return false end
    local before, after = text:sub(from - 1, from - 1), text:match("^[%.%-]*(.?)", to + 1)
    if not (from > 1 and before:find "[%w_@%.%-\x80-\xff]") and not after:find "[%w_@\x80-\xff]" then return true end
    at = to + 1
  end
end

---@param content string
---@param mode string
---@return string[]
function mentions.of(content, mode)
  local found, seen = {}, {}
  for _, target in ipairs(content:find ":" and targets[mode](content) or {}) do
    local id = link.user_of(target)
    if id and not seen[id] then
      seen[id] = true
      found[#found + 1] = id
    end
  end
  if content:find("@all", 1, true) and addresses_all(plain[mode](content)) then found[#found + 1] = "@all" end
  return found
end

local strippers = {}

function strippers.html(content)
  local opening = content:match "^%s*<[qQ][uU][oO][tT][eE]%f[%A][^<>]*>()"
  local stop, after = content:match("()</[qQ][uU][oO][tT][eE]%s*>()", opening or #content + 1)
  if not stop then return content, nil end
  local at = content:match("^%s*()", after)
  while true do
    local next_at = content:match("^<[bB][rR]%f[%A][^<>]*>%s*()", at)
    if not next_at then return content:sub(at), content:sub(opening, stop - 1) end
    at = next_at
  end
end

function strippers.markdown(content)
  local lines, at = {}, 1
  while true do
    local line, after = content:match("^>([^\n]*)\n?()", at)
    if not line then break end
    lines[#lines + 1], at = line, after
  end
  if not lines[1] then return content, nil end
  return content:sub(content:match("^\n*()", at)), table.concat(lines, "\n")
end

function strippers.text(content)
  return content, nil
end

---@param content string
---@param mode string
---@return string answer
---@return string? quoted
function mentions.strip_quote(content, mode)
  return strippers[mode](content)
end

-- A mention at the beginning, and the spaces and punctuation after it.
local LEADING_LINK = "^%s*<[aA]%s([^<>]*)>[^<>]*</[aA]%s*>[%s,:]*()"

-- Returns the text after its leading mentions, and the IDs of those mentions.
local function without_mentions(content)
  local at, ids = 1, {}
  while true do
    local attributes, after = content:match(LEADING_LINK, at)
    local id = attributes and link.user_of(target_of(attributes) or "")
    if not id then return content:sub(at), ids end
    at, ids[#ids + 1] = after, id
  end
end

local function trimmed(content)
  return content:gsub("\u{a0}", " "):gsub("^%s+", ""):match "^.*%S" or ""
end

---@param content string
---@param mode string
---@return string
function mentions.command_text(content, mode)
  content = mentions.strip_quote(content, mode)
  if mode == "html" then content = without_mentions(content) end
  return trimmed(plain[mode](content))
end

-- Private characters mark a mention while the rest is made plain.
local OPEN, CLOSE = "\u{F0000}", "\u{F0001}"
local MARKS = "\xF3\xB0\x80[\x80\x81]"

---The pattern of a mention while a command is cut into words: its number between two marks.
mentions.MARKED = OPEN .. "(%d+)" .. CLOSE

---The text of a message as command_text() returns it, but with each mention as a mark with its number.
---@param content string
---@param mode string
---@return string words
---@return { id: string, label: string }[] mentioned by number
---@return string[] addressed IDs of the mentions it begins with
function mentions.command_words(content, mode)
  local mentioned, addressed = {}, {}
  content = mentions.strip_quote(content, mode):gsub(MARKS, "")
  if mode == "html" then
    content, addressed = without_mentions(content)
    content = content:gsub("<[aA]%s([^<>]*)>([^<>]*)</[aA]%s*>", function(attributes, label)
      local id = link.user_of(target_of(attributes) or "")
      if not id then return nil end
      mentioned[#mentioned + 1] = { id = id, label = plain.html(label) }
      return OPEN .. #mentioned .. CLOSE
    end)
  end
  return trimmed(plain[mode](content)), mentioned, addressed
end

---@param content string
---@param mode string
---@return string? user_id
---@return string? name
function mentions.contact(content, mode)
  if mode ~= "html" then return nil end
  local attributes, label = content:match "^%s*<[aA]%s([^<>]*)>([^<>]*)</[aA]%s*>%s*$"
  local target = attributes and target_of(attributes)
  if not target or not (target .. "&"):find("[?&]do=profile&") then return nil end
  local id = link.user_of(target)
  return id, id and plain.html(label)
end

return mentions
