-- SPDX-License-Identifier: MIT
-- Public. Texts of messages: written with marks, read without them, measured, split. The apps of users
-- write html (protocol 10.1), so even a plain word may come with marks and entities around it.

require "trueconf.base.needs"

local misuse = require "trueconf.base.misuse"
local core = require "trueconf.core"
local options = require "trueconf.base.options"
local builder = require "trueconf.text.builder"
local cut = require "trueconf.text.cut"
local escape = require "trueconf.text.escape"
local length = require "trueconf.text.length"
local mentions = require "trueconf.text.mentions"
local plain = require "trueconf.text.plain"
local split = require "trueconf.text.split"

---Writes html. `text.html(...)` joins what it is given: strings and numbers are escaped, what a
---builder made is taken as it is, and may be nested.
---@class trueconf.TextBuilder
---@field bold fun(...: trueconf.TextPart): trueconf.Markup
---@field italic fun(...: trueconf.TextPart): trueconf.Markup
---@field strike fun(...: trueconf.TextPart): trueconf.Markup
---@field underline fun(...: trueconf.TextPart): trueconf.Markup html only
---@field link fun(target: string, ...: trueconf.TextPart): trueconf.Markup with the label after the target
---@field mention fun(user_id: string, name?: string): trueconf.Markup
---@field quote fun(quoted: trueconf.TextPart, ...: trueconf.TextPart): trueconf.Markup an answer that quotes a part
---@field join fun(parts: trueconf.TextPart[], separator?: trueconf.TextPart): trueconf.Markup
---@field raw fun(text: string): trueconf.Markup what is marked up already, not escaped
---@overload fun(...: trueconf.TextPart): trueconf.Markup

---@alias trueconf.TextPart string|number|trueconf.Markup
---@alias trueconf.ParseMode "text"|"markdown"|"html"

local MAX_VISIBLE = 4096                -- characters of a message
local MIN_LIMIT = 32                    -- room for a link or an entity

local text = {
  ---@type trueconf.TextBuilder
  html = builder.make "html",
  ---@type trueconf.TextBuilder
  markdown = builder.make "markdown",
}

local function check(content, mode)
  if type(content) ~= "string" then error(("the text must be a string, got %s"):format(options.type_of(content)), 3) end
  if mode ~= nil and not escape.is_mode(mode) then
    error(('parse_mode must be "text", "markdown" or "html", got %s'):format(tostring(mode)), 3)
  end
  return mode or "text"
end

---A text written so that every character of it is shown in a mode. In html line breaks become
---`<br>`, and spaces that would be lost become hard ones.
---@param content string
---@param mode trueconf.ParseMode
---@return string
function text.escape(content, mode)
  return escape.text(content, check(content, mode))
end

---A text in the form in which texts are compared: two of them mean the same to a person who does not mind capitals if
---their forms are the same. "Straße" and "STRASSE" are, "Ёлка" and "ЁЛКА", "é" in one character or in two; the four
---letters I of Turkish are one. Spaces of all kinds are spaces, and signs that nobody sees (variation selectors, soft
---hyphens, marks of direction) are left out. It is the case folding of Unicode in the normal form NFC; not to be shown.
---@param content string UTF-8; of other text ASCII alone is folded
---@return string
function text.fold(content)
  check(content)
  return core.fold(content)
end

---What a person sees of a message: marks and tags are taken off, `<br>` is a new line, runs of
---white space in html are one space, entities are characters.
---@param content string
---@param parse_mode? string an unknown one is like "text"
---@return string
function text.plain(content, parse_mode)
  if parse_mode == "html" then return plain.html(content) end
  if parse_mode == "markdown" then return plain.markdown(content) end
  return content
end

---A message as words to be matched: without the part it quotes, without the mentions it begins
---with, without marks, hard spaces and spaces around it.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string
function text.command_text(content, parse_mode)
  return mentions.command_text(content, check(content, parse_mode))
end

---Take off the quote a message begins with.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string answer still marked up
---@return string? quoted still marked up; nil if there is no quote
function text.strip_quote(content, parse_mode)
  return mentions.strip_quote(content, check(content, parse_mode))
end

---A mention of a user: a link in html and markdown, in plain text the name.
---@param user_id string
---@param name? string default the ID up to "@"
---@param mode? trueconf.ParseMode
---@return string
function text.mention(user_id, name, mode)
  mode = check(user_id, mode)
  if mode == "text" then return builder.label_of(name, user_id) end
  return tostring(builder.mention(mode, user_id, name, 2))
end

---The IDs of the users a text mentions, each once, in order, without instances; at the end
---"@all" if it addresses everybody.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string[]
function text.mentions(content, parse_mode)
  return mentions.of(content, check(content, parse_mode))
end

---The contact that a message hands on, if that is all it is.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string? user_id
---@return string? name
function text.contact(content, parse_mode)
  return mentions.contact(content, check(content, parse_mode))
end

---The number of characters that count against the limit of 4096. A link counts with its target,
---marks do not count, and all modes are counted alike.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@param server? string version; before 5.5.6 `<br>`, quotes and a leading ">" count in full
---@return integer
function text.visible_length(content, parse_mode, server)
  check(content, parse_mode)
  return length.of(content, server)
end

local function check_limit(limit)
  if math.type(limit) == "integer" and limit >= MIN_LIMIT then return end
  error(("limit must be an integer of at least %d, got %s"):format(MIN_LIMIT, tostring(limit)), 3)
end

---The beginning of a text that is too long, as servers keep it: cut at the visible length, be it within a word. Marks,
---tags, entities and characters are not cut, what is open is closed. Who sends a long text rather splits it.
---@param content string
---@param limit? integer visible characters, at least 32; default 4096
---@param parse_mode? trueconf.ParseMode default "text"
---@param server? string version, as for visible_length
---@return string head the text itself if it is not too long
function text.cut(content, limit, parse_mode, server)
  local mode = check(content, parse_mode)
  limit = limit or MAX_VISIBLE
  check_limit(limit)
  if not utf8.len(content) then error("the text is not UTF-8", 2) end
  return cut.cut(content, mode, limit, server)
end

---@class (exact) trueconf.SplitOptions
---@field parse_mode? trueconf.ParseMode default "text"
---@field limit? integer visible characters of a part, at least 32; default 4096

---Split a long text into parts that can be sent one after the other. A part ends after a line
---break if there is one in its second half, else after a sentence or clause, else after a space.
---Marks, tags, links and characters are not cut; what is open is closed and opened again.
---@param content string
---@param opts? trueconf.SplitOptions
---@return string[] parts none for an empty text
function text.split(content, opts)
  opts = opts or {}
  for key in pairs(opts) do
    if key ~= "parse_mode" and key ~= "limit" then
      error(("unknown option '%s'; there are limit, parse_mode"):format(tostring(key)), 2)
    end
  end
  local mode, limit = check(content, opts.parse_mode), opts.limit or MAX_VISIBLE
  check_limit(limit)
  if not utf8.len(content) then error("the text is not UTF-8", 2) end
  return split.split(content, mode, limit)
end

return misuse.strict(text, "trueconf.text")
