-- SPDX-License-Identifier: MIT
-- Public. Texts of messages: format them, read them as plain text, measure, cut and split them. The apps of users write
-- html (protocol 10.1), so even a plain word may come with marks and entities around it.

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

---Writes html. `text.html(...)` joins its arguments: it escapes strings and numbers, and takes results of builders as
---they are, so that they can be nested.
---@class trueconf.TextBuilder
---@field bold fun(...: trueconf.TextPart): trueconf.Markup
---@field italic fun(...: trueconf.TextPart): trueconf.Markup
---@field strike fun(...: trueconf.TextPart): trueconf.Markup
---@field underline fun(...: trueconf.TextPart): trueconf.Markup html only
---@field link fun(target: string, ...: trueconf.TextPart): trueconf.Markup with the label after the target
---@field mention fun(user_id: string, name?: string): trueconf.Markup
---@field quote fun(quoted: trueconf.TextPart, ...: trueconf.TextPart): trueconf.Markup an answer that quotes a part
---@field join fun(parts: trueconf.TextPart[], separator?: trueconf.TextPart): trueconf.Markup
---@field raw fun(text: string): trueconf.Markup for text that is marked up already, which is not escaped
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

---Escape a text, so that a mode shows every character of it. In html line breaks become `<br>`, and spaces that would
---be lost become non-breaking spaces.
---@param content string
---@param mode trueconf.ParseMode
---@return string
function text.escape(content, mode)
  return escape.text(content, check(content, mode))
end

---Fold a text for comparison without regard to case: "Straße" and "STRASSE" have the same form, "Ёлка" and "ЁЛКА", "é"
---in one character or in two; the four letters I of Turkish are one. All kinds of spaces become a space, and invisible
---characters (variation selectors, soft hyphens, marks of direction) are left out. The form is the case folding of
---Unicode in the normal form NFC; do not show it to people.
---@param content string UTF-8; of other text ASCII alone is folded
---@return string
function text.fold(content)
  check(content)
  return core.fold(content)
end

---The plain text of a message, as a person sees it: without marks and tags; `<br>` becomes a new line, a run of white
---space in html one space, an entity its character.
---@param content string
---@param parse_mode? string an unknown one is like "text"
---@return string
function text.plain(content, parse_mode)
  if parse_mode == "html" then return plain.html(content) end
  if parse_mode == "markdown" then return plain.markdown(content) end
  return content
end

---The words of a message for matching: without the part it quotes, without the mentions it begins with, without marks,
---non-breaking spaces and spaces around it.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string
function text.command_text(content, parse_mode)
  return mentions.command_text(content, check(content, parse_mode))
end

---Remove the quote that a message begins with.
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

---The contact in a message that holds nothing else.
---@param content string
---@param parse_mode? trueconf.ParseMode
---@return string? user_id
---@return string? name
function text.contact(content, parse_mode)
  return mentions.contact(content, check(content, parse_mode))
end

---The number of characters that count against the limit of 4096. A link counts with its target, marks do not count, and
---all modes count alike.
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

---Cut a text that is too long as servers do: at the visible length, even within a word. Marks, tags, entities and
---characters are not cut; open marks and tags are closed. To send a long text, use split() instead.
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

---Split a long text into parts that can be sent one after the other. A part ends after a line break if there is one in
---its second half, else after a sentence or clause, else after a space. Marks, tags, links and characters are not cut;
---open marks and tags are closed and opened again in the next part.
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
