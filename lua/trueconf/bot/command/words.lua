-- SPDX-License-Identifier: MIT
-- Splits the text after a command's name into words: "quoted words" stay together, also in the quotes that telephones
-- insert, and a mention is one word.

local MARKED = require "trueconf.text.mentions".MARKED

---@class (exact) trueconf.command.Word
---@field text string without its quotes
---@field from integer index of its first byte
---@field quoted boolean
---@field user_id string? of a mention

local words = {}

-- The closing quotes, by the opening quote.
local CLOSING = {
  ['"'] = '"', ["'"] = "'", ["“"] = "”", ["”"] = "”", ["„"] = "“”", ["«"] = "»", ["‘"] = "’", ["’"] = "’",
}

---True if a text begins with a quote.
---@param text string
---@return boolean
function words.opens_quote(text)
  return CLOSING[text:match("^" .. utf8.charpattern)] ~= nil
end

-- The first of some characters after an index; a backslash escapes the next character.
local function find_closing(text, at, closing)
  while at <= #text do
    local character = text:match("^" .. utf8.charpattern, at)
    if not character then return nil end
    if character == "\\" then
      at = at + 1
      character = text:match("^" .. utf8.charpattern, at) or ""
    elseif closing:find(character, 1, true) then
      return at, at + #character
    end
    at = at + #character
  end
end

local function unescaped(text)
  return (text:gsub('\\([\\"\'])', "%1"))
end

---The text with each mention as its label.
---@param text string
---@param mentioned { label: string }[]
---@return string
function words.readable(text, mentioned)
  return (text:gsub(MARKED, function(number)
    local mention = mentioned[tonumber(number)]
    return mention and mention.label or ""
  end))
end

local function mention_of(text, mentioned)
  local number = text:match("^@?" .. MARKED .. "[,;]?$")
  return number and mentioned[tonumber(number)]
end

local function word_at(text, at, mentioned)
  local opening = text:match("^" .. utf8.charpattern, at)
  local closing = CLOSING[opening]
  if closing then
    local stop, after = find_closing(text, at + #opening, closing)
    if not stop then return nil end
    local inner = unescaped(text:sub(at + #opening, stop - 1))
    return { text = words.readable(inner, mentioned), from = at, quoted = true }, after
  end
  local stop = text:find("%s", at) or #text + 1
  local plain = text:sub(at, stop - 1)
  local mention = mention_of(plain, mentioned)
  return {
    text = words.readable(plain, mentioned), from = at, quoted = false, user_id = mention and mention.id,
  }, stop
end

---Cut a text into words. A quote that is never closed reaches to the end.
---@param text string UTF-8
---@param mentioned { id: string, label: string }[]
---@return trueconf.command.Word[]
---@return boolean unclosed
function words.split(text, mentioned)
  local list, at, unclosed = {}, text:find "%S", false
  while at do
    local word, after = word_at(text, at, mentioned)
    if not word then
      local opening = text:match("^" .. utf8.charpattern, at)
      word, after = { text = words.readable(text:sub(at + #opening), mentioned), from = at, quoted = true }, #text + 1
      unclosed = true
    end
    list[#list + 1] = word
    at = text:find("%S", after)
  end
  return list, unclosed
end

return words
