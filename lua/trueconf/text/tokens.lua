-- SPDX-License-Identifier: MIT
-- Cuts a text into its smallest pieces that are shown or removed as a whole.
--
-- A token has a kind, its source text (raw), and the most that it adds to the visible length (cost). The kinds:
--   text   characters of which each costs 1; the only one that can be cut
--   atom   an entity, an escaped sign, an unknown tag: shown, never cut
--   sign   a sign that is no mark here, though it may not be counted
--   line   a line break
--   quote  the ">" before a quoted line of markdown
--   open, close   a tag, a mark, or the two ends of a markdown link
--   drop   a tag that changes nothing: bold in bold, an end without a beginning
-- The lists are fields of one table each, since a hostile text has many tokens.

local escape = require "trueconf.text.escape"
local scan = require "trueconf.text.scan"

local MAX_ENTITY = 12                   -- bytes of the longest entity
local STYLES = { b = true, i = true, u = true, s = true, a = true, quote = true }

local Tokens = {}
Tokens.__index = Tokens

-- Text grows at its end until another token comes: joining it piece by piece would be slow.
function Tokens:flush()
  if not self.text_from then return end
  local index = self.count + 1
  self.count = index
  self.kind[index], self.raw[index] = "text", self.content:sub(self.text_from, self.text_to)
  self.text_from = nil
end

function Tokens:add(kind, raw, cost)
  self:flush()
  local index = self.count + 1
  self.count = index
  self.kind[index], self.raw[index], self.cost[index] = kind, raw, cost
  return index
end

function Tokens:add_text(from, to)
  if from > to then return end
  self.text_from, self.text_to = self.text_from or from, to
end

-- Html ---------------------------------------------------------------------------------------

-- A tag for writing it again after a cut, without the attributes that servers remove anyway.
local function plain_tag(raw, name)
  if name == "a" then return raw end
  if name == "quote" then return '<quote class="reply">' end
  return ("<%s>"):format(name)
end

local function open_tag(self, raw, name)
  local href = name == "a" and scan.href(raw)
  local index = self:add("open", plain_tag(raw, name), href and 1 + scan.length(href) or 0)
  self.name[index], self.ending[index], self.target[index] = name, ("</%s>"):format(name), href or nil
end

local function read_tag(self, at)
  local after, name, closing = scan.tag(self.content, at, self.ahead)
  if after and name == "br" then
    self:add("line", self.content:sub(at, after - 1), 0)
  elseif after and STYLES[name] and closing then
    self.name[self:add("close", ("</%s>"):format(name), 0)] = name
  elseif after and STYLES[name] then
    open_tag(self, self.content:sub(at, after - 1), name)
  else
    local raw = self.content:match("^</?%a[^<>]*>", at)
    if not raw then return self:add_text(at, at) end
    self:add("atom", raw, scan.length(raw))
    after = at + #raw
  end
  return after
end

local function read_entity(self, at)
  local raw = self.content:sub(at, at + MAX_ENTITY - 1):match "^&#?%w+;"
  if not raw then return self:add_text(at, at) end
  self:add("atom", raw, #raw)
  return at + #raw
end

-- Drop tags that change nothing, so that an open tag is known by its name.
local function pair_tags(self)
  local open, depth = {}, {}
  for index = 1, self.count do
    local name, kind = self.name[index], self.kind[index]
    if kind == "open" then
      depth[name] = (depth[name] or 0) + 1
      if depth[name] == 1 then open[name] = index else self.kind[index] = "drop" end
    elseif kind == "close" then
      local level = depth[name] or 0
      if level == 1 then self:pair(open[name], index) else self.kind[index] = "drop" end
      depth[name] = math.max(level - 1, 0)
    end
  end
end

-- Markdown -----------------------------------------------------------------------------------

local function read_escape(self, at)
  local raw = self.content:match("^\\" .. escape.MARKDOWN_SIGN, at)
  if not raw then return self:add_text(at, at) end
  self:add("atom", raw, 2)
  return at + 2
end

local function read_line(self, at)
  self:add("line", "\n", 1)
  return at + 1
end

local function read_quote(self, at)
  if at > 1 and self.content:byte(at - 1) ~= 0x0a then return self:add_text(at, at) end
  self:add("quote", ">", 0)
  return at + 1
end

local function read_marker(self, at)
  local sign = self.content:sub(at, at)
  local raw = self.content:sub(at + 1, at + 1) == sign and sign .. sign or sign
  local inside = scan.inside_word(self.content, at, #raw)
  local index = self:add("sign", raw, inside and raw ~= "**" and raw ~= "~~" and #raw or 0)
  if raw ~= "~" and self.cost[index] == 0 then
    self.name[index] = raw
    self.opens[index] = self.content:find("^%S", at + #raw) ~= nil
    self.closes[index] = at > 1 and self.content:find("^%S", at - 1) ~= nil
  end
  return at + #raw
end

local function is_escaped(content, at)
  local first = at
  while content:byte(first - 1) == 0x5c do first = first - 1 end
  return (at - first) % 2 == 1
end

-- Like scan.finder, for the closing bracket of a label, which is not escaped.
local function label_end_finder(content)
  local found = 0
  return function(at)
    while found and (found < at or is_escaped(content, found)) do
      found = content:find("]", math.max(at, found + 1), true)
    end
    return found
  end
end

-- Within a label no other link begins: `]` is the end of this one. One with an escaped bracket in
-- it is not counted as a link.
local function read_link(self, at)
  local label_end, target_end = scan.link(self.content, at, self.label_ahead)
  if not label_end or self.label_end then return self:add_text(at, at) end
  local target = self.content:sub(label_end + 2, target_end - 1)
  local counted = scan.link(self.content, at, self.ahead) == label_end
  local index = self:add("open", "[", (counted and 1 or 4) + scan.length(target))
  self.name[index], self.ending[index], self.target[index] = "[", ("](%s)"):format(target), target
  self.link, self.label_end, self.target_end = index, label_end, target_end
  return at + 1
end

local function read_link_end(self, at)
  if at ~= self.label_end then return self:add_text(at, at) end
  local index, after = self:add("close", self.ending[self.link], 0), self.target_end + 1
  self.name[index] = "["
  self:pair(self.link, index)
  self.link, self.label_end, self.target_end = nil, nil, nil
  return after
end

-- Pair the markers: each end takes the last beginning of its kind, and markers opened in between stay signs. Marks
-- begin and end on the same side of a link's label.
local function pair_markers(self)
  local stack, open, floor = {}, {}, 0
  local function unwind(height)
    while #stack > height do open[self.name[table.remove(stack)]] = nil end
  end
  for index = 1, self.count do
    local name = self.name[index]
    local began = open[name]
    if name == "[" then
      if self.kind[index] == "close" then unwind(floor) end
      floor = self.kind[index] == "open" and #stack or 0
    elseif began and began > floor and self.closes[index] and stack[began] < index - 1 then
      self.kind[stack[began]], self.kind[index] = "open", "close"
      self.ending[stack[began]] = name
      self:pair(stack[began], index)
      unwind(began - 1)
    elseif name and not began and self.opens[index] then
      stack[#stack + 1] = index
      open[name] = #stack
    end
  end
end

-- All modes ----------------------------------------------------------------------------------

-- Tags and signs are text outside the mode they belong to, but are counted as everywhere.
local function read_foreign_tag(self, at)
  local after, name = scan.tag(self.content, at, self.ahead)
  if not after or not (STYLES[name] or name == "br") then return self:add_text(at, at) end
  local raw = self.content:sub(at, after - 1)
  local href = name == "a" and scan.href(raw)
  self:add("atom", raw, href and 1 + scan.length(href) or 0)
  return after
end

local function read_sign(self, at)
  local raw = self.content:match("^__", at) or self.content:sub(at, at)
  self:add("sign", raw, scan.inside_word(self.content, at, #raw) and #raw or 0)
  return at + #raw
end

local MODES = {
  html = {
    special = "[<&*_~]", pair = pair_tags,
    ["<"] = read_tag, ["&"] = read_entity, ["*"] = read_sign, ["_"] = read_sign, ["~"] = read_sign,
  },
  markdown = {
    special = "[<>%[%]\\\n*_~]", pair = pair_markers,
    ["<"] = read_foreign_tag, [">"] = read_quote, ["["] = read_link, ["]"] = read_link_end, ["\\"] = read_escape,
    ["\n"] = read_line, ["*"] = read_marker, ["_"] = read_marker, ["~"] = read_marker,
  },
  -- Readers for the visible text, not for the counted one.
  shown_markdown = {
    special = "[>%[%]\\\n*_~]", pair = pair_markers,
    [">"] = read_quote, ["["] = read_link, ["]"] = read_link_end, ["\\"] = read_escape, ["\n"] = read_line,
    ["*"] = read_marker, ["_"] = read_marker, ["~"] = read_marker,
  },
  text = {
    special = "[<*_~]", pair = function() end,
    ["<"] = read_foreign_tag, ["*"] = read_sign, ["_"] = read_sign, ["~"] = read_sign,
  },
}

function Tokens:pair(opening, closing)
  self.mate[opening], self.mate[closing] = closing, opening
end

---@param content string
---@param mode string
---@param shown? boolean ignore pieces that are counted only for other modes: tags in markdown
---@return table
local function tokenize(content, mode, shown)
  local self = setmetatable({
    content = content, ahead = scan.ahead(content), label_ahead = scan.ahead(content),
    count = 0, kind = {}, raw = {}, cost = {}, name = {}, ending = {}, target = {}, mate = {}, opens = {}, closes = {},
    fits = {},
  }, Tokens)
  self.label_ahead.bracket = label_end_finder(content)
  local rules, at = MODES[shown and "shown_" .. mode or mode], 1
  while true do
    local index = content:find(rules.special, at)
    self:add_text(at, index and index - 1 or #content)
    if not index then break end
    at = rules[content:sub(index, index)](self, index) or index + 1
  end
  self:flush()
  rules.pair(self)
  return self
end

return { of = tokenize }
