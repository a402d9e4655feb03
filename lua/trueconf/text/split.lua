-- SPDX-License-Identifier: MIT
-- Splits long texts into parts (protocol 10.4), each within the limit and well-formed. Marks and tags that are open at
-- a cut are closed there and opened again in the next part; no visible text is lost.

local core = require "trueconf.core"
local escape = require "trueconf.text.escape"
local length = require "trueconf.text.length"
local scan = require "trueconf.text.scan"
local tokens = require "trueconf.text.tokens"

-- Kinds of places for a cut, the best first. INSIDE is within a grapheme cluster, and only used when the cluster does
-- not fit into a part.
local LINE, SENTENCE, WORD, ANY, INSIDE = 1, 2, 3, 4, 5

local Splitter = {}
Splitter.__index = Splitter

-- Characters -----------------------------------------------------------------------------------

local HIDDEN = { open = true, close = true, quote = true, drop = true }

-- The visible part of a token.
local function seen_of(list, index, mode)
  local kind, raw = list.kind[index], list.raw[index]
  if HIDDEN[kind] then return "" end
  if kind == "line" then return "\n" end
  if kind ~= "atom" then return raw end
  if mode == "html" then return raw:byte() == 0x3c and "" or escape.entity(raw:sub(2, -2)) or raw end
  return mode == "markdown" and raw:byte() == 0x5c and raw:sub(2) or raw
end

-- The beginnings of grapheme clusters in the visible text of all tokens, and the beginning of each token there. A
-- cluster may lie in several tokens: "*" and a keycap, letters with marks between them.
local function clusters(list, mode)
  local seen, from, at = {}, {}, 1
  for index = 1, list.count do
    seen[index], from[index] = seen_of(list, index, mode), at
    at = at + #seen[index]
  end
  from[list.count + 1] = at
  return { marks = core.grapheme_starts(table.concat(seen)), from = from }
end

local function new(list, mode, limit)
  list.starts = list.starts or clusters(list, mode)
  return setmetatable({
    list = list, mode = mode, limit = limit, index = 1, offset = 1, -- where the next part begins
    active = {}, quoted = false,        -- indexes of the opening tokens that are open there
    cuts = { {}, {}, {}, {}, {} },
    hard = false,                       -- cut anywhere, even within a word
  }, Splitter)
end

-- Links --------------------------------------------------------------------------------------

-- The longest visible length of the text from one token to another.
local function cost_between(list, from, to)
  local sum = 0
  for index = from, to do
    sum = sum + (list.cost[index] or scan.length(list.raw[index]))
  end
  return sum
end

-- Makes text of a link whose target leaves no room for a label: label, space, target.
local function spell_out(list, index, mode)
  local mate, target = list.mate[index], list.target[index]
  list.kind[index], list.target[index] = "drop", nil
  if not mate then return end
  list.kind[mate], list.cost[mate] = "text", nil
  list.raw[mate] = " " .. (mode == "markdown" and escape.text(target, mode) or target)
end

-- A link that fits into a part is not cut.
local function settle_links(list, mode, limit)
  for index = 1, list.count do
    if list.kind[index] == "open" and list.target[index] then
      local mate = list.mate[index]
      list.fits[index] = mate ~= nil and cost_between(list, index, mate) <= limit
      if not list.fits[index] and list.cost[index] > limit // 2 then spell_out(list, index, mode) end
    end
  end
end

-- A token that cannot be cut must leave room for more than itself. A longer unknown tag is dropped, as it is not shown
-- anyway; other tokens become text.
local function settle_atoms(list, mode, limit)
  for index = 1, list.count do
    if list.kind[index] == "atom" and list.cost[index] > limit // 2 then
      local hidden = mode == "html" and list.raw[index]:byte() == 0x3c
      list.kind[index], list.cost[index] = hidden and "drop" or "text", hidden and 0 or nil
    end
  end
end

-- Parts --------------------------------------------------------------------------------------

function Splitter:push(piece)
  self.out[#self.out + 1] = piece
end

function Splitter:open(index)
  self.active[#self.active + 1] = index
end

function Splitter:close(index)
  local opening = self.list.mate[index]
  for depth = #self.active, 1, -1 do
    if self.active[depth] == opening then
      table.remove(self.active, depth)
      return true
    end
  end
  return false
end

-- White space a part begins with stays outside of marks: "** a**" would not be bold.
function Splitter:leading_space()
  local list = self.list
  while self.active[1] and self.used < self.limit - 1 do
    local kind, raw = list.kind[self.index], list.raw[self.index]
    if kind ~= "line" and kind ~= "text" then return end
    local space = raw:sub(self.offset, self.offset + self.limit - self.used - 2):match "^%s+"
    if not space then return end
    self:push(space)
    self.used, self.offset, self.quoted = self.used + #space, self.offset + #space, self.quoted and kind == "text"
    if self.offset <= #raw then return end
    self.index, self.offset = self.index + 1, 1
  end
end

-- A ">" that was inside a line must not begin a quote now.
function Splitter:guard_sign()
  if self.mode ~= "markdown" or self.quoted or self.active[1] then return end
  if self.list.kind[self.index] == "text" and self.list.raw[self.index]:byte(self.offset) == 0x3e then
    self:push "\\"
    self.used = self.used + 1
  end
end

function Splitter:begin_part()
  local list = self.list
  self.out, self.used, self.inside = {}, 0, nil
  for _, cut in ipairs(self.cuts) do cut.index = nil end
  for _, index in ipairs(self.active) do self.used = self.used + list.cost[index] end
  if list.kind[self.index] == "quote" then self.quoted, self.index = true, self.index + 1 end
  if self.quoted then self:push ">" end
  if self.mode == "markdown" then self:leading_space() end
  for _, index in ipairs(self.active) do self:push(list.raw[index]) end
  self:guard_sign()
  self.base = self.used
end

-- True if an offset of a token is inside a grapheme cluster.
function Splitter:inside_character(index, offset)
  local starts, raw = self.list.starts, self.list.raw[index]
  local from, after = starts.from[index], starts.from[index + 1]
  if not after or offset > 1 and raw and after - from ~= #raw then return false end -- a tag that has become text
  return starts.marks:byte(from + offset - 1) == 0
end

-- Note a possible end of the part: here, after `tail` of the token at index.
function Splitter:mark(class, index, offset, used, tail)
  if self:inside_character(index, offset) then class = INSIDE end
  if self.hard and class < ANY then return end
  if self.inside and self.list.fits[self.inside] then return end
  if class < ANY and used - self.base < (self.limit - self.base) // 2 then return end
  local cut = self.cuts[class]
  cut.index, cut.offset, cut.tail, cut.count, cut.quoted = index, offset, tail, #self.out, self.quoted
  cut.active = { table.unpack(self.active) }
end

local TEXT_CUTS = {
  html = { [SENTENCE] = "^.*[.,!?;:]%s+()", [WORD] = "^.*%s()" },
  markdown = { [SENTENCE] = "^.*[.,!?;:]%s+()", [WORD] = "^.*%s()" },
  text = { [LINE] = "^.*\n()", [SENTENCE] = "^.*[.,!?;:]%s+()", [WORD] = "^.*%s()" },
}

-- The last index before `stop` and after `offset` where a grapheme cluster begins; nil: none does.
function Splitter:character_before(index, stop, offset)
  while stop > offset and self:inside_character(index, stop) do stop = stop - 1 end
  return stop > offset and stop or nil
end

-- Take as much of a text as fits. Returns true if that was all of it.
function Splitter:take_text(index)
  local raw, offset = self.list.raw[index], self.offset
  local room = self.limit - self.used
  local stop = room > 0 and (utf8.offset(raw, room + 1, offset) or #raw + 1) or offset
  local piece = raw:sub(offset, stop - 1)
  for class, pattern in pairs(TEXT_CUTS[self.mode]) do
    local at = piece:match(pattern)
    if at then
      local tail = piece:sub(1, at - 1)
      self:mark(class, index, offset + at - 1, self.used + scan.length(tail), tail)
    end
  end
  local whole = self:character_before(index, stop, offset)
  for _, at in ipairs { stop, whole ~= stop and whole or nil } do
    local tail = raw:sub(offset, at - 1)
    if tail ~= "" then self:mark(ANY, index, at, self.used + scan.length(tail), tail) end
  end
  self:push(piece)
  self.used = self.used + scan.length(piece)
  return stop > #raw
end

local takers = {}

function takers.text(self, index)
  return self:take_text(index)
end

function takers.atom(self, index)
  local used = self.used + self.list.cost[index]
  if used > self.limit then return false end
  self.used = used
  self:push(self.list.raw[index])
  self:mark(ANY, index + 1, 1, used, "")
  return true
end

takers.sign = takers.atom

function takers.line(self, index)
  if not takers.atom(self, index) then return false end
  self.quoted = false
  self:mark(LINE, index + 1, 1, self.used, "")
  return true
end

function takers.quote(self)
  self.quoted = true
  self:push ">"
  return true
end

function takers.open(self, index)
  self.used = self.used + self.list.cost[index]
  if self.list.target[index] then self.inside = index end
  self:open(index)
  self:push(self.list.raw[index])
  return self.used <= self.limit
end

function takers.close(self, index)
  if not self:close(index) then return true end
  self:push(self.list.raw[index])
  if self.inside == self.list.mate[index] then
    self.inside = nil
    self:mark(ANY, index + 1, 1, self.used, "")
  end
  return true
end

function takers.drop()
  return true
end

-- Take tokens while they fit. Returns true at the end of the text.
function Splitter:fill()
  local list, index = self.list, self.index
  while index <= list.count do
    if not takers[list.kind[index]](self, index) then return false end
    index, self.offset = index + 1, 1
  end
  self.index = index
  return true
end

-- The best end of the part: the best place in its second half, else the last possible one.
function Splitter:best_cut()
  for class = LINE, INSIDE do
    if self.cuts[class].index then return self.cuts[class] end
  end
end

-- Go back to a cut.
function Splitter:rewind(cut)
  for index = #self.out, cut.count + 1, -1 do self.out[index] = nil end
  self:push(cut.tail)
  self.index, self.offset, self.active, self.quoted = cut.index, cut.offset, cut.active, cut.quoted
  local list = self.list
  if self.offset > 1 and self.offset > #list.raw[self.index] then self.index, self.offset = self.index + 1, 1 end
  while self.offset == 1 and (list.kind[self.index] == "close" or list.kind[self.index] == "drop") do
    takers[list.kind[self.index]](self, self.index)
    self.index = self.index + 1
  end
end

-- The part as text, with open marks and tags closed. Spaces at its end stay outside of marks.
function Splitter:finish()
  local body, endings = table.concat(self.out), {}
  if not self.active[1] then return body end
  for index = #self.active, 1, -1 do endings[#endings + 1] = self.list.ending[self.active[index]] end
  local ending = table.concat(endings)
  if self.mode ~= "markdown" then return body .. ending end
  local last = body:match "^.*%S()" or 1
  return body:sub(1, last - 1) .. ending .. body:sub(last)
end

-- Nothing fits: relax one rule, so that the next attempt gets further.
function Splitter:give_way()
  local list = self.list
  if self.inside and list.fits[self.inside] then
    list.fits[self.inside] = false
  elseif self.start.active[1] then
    self.start.active = {}
  else
    local index = self.start.index
    while list.kind[index] ~= "atom" and list.kind[index] ~= "sign" and index < list.count do
      if list.kind[index] == "open" then list.kind[index] = "drop" end
      index = index + 1
    end
    list.kind[index], list.cost[index] = "text", nil
  end
end

-- A part from here on; nil: nothing of it fits.
function Splitter:attempt()
  self:begin_part()
  if self:fill() then return self:finish() end
  local cut = self:best_cut()
  if not cut then return nil end
  self:rewind(cut)
  return self:finish()
end

function Splitter:part()
  while true do
    self.start = {
      index = self.index, offset = self.offset, active = { table.unpack(self.active) }, quoted = self.quoted,
    }
    local part = self:attempt()
    if part then return part end
    self:give_way()
    local start = self.start
    self.index, self.offset, self.active, self.quoted = start.index, start.offset, start.active, start.quoted
  end
end

-- For the rare text whose length is not the sum of its tokens, such as one with tags in a link of the other mode: if
-- every character counts, no part can be too long.
local function count_all(list)
  for index = 1, list.count do
    if list.kind[index] == "open" then
      list.cost[index] = scan.length(list.raw[index]) + scan.length(list.ending[index])
    elseif list.kind[index] ~= "text" then
      list.cost[index] = list.kind[index] == "close" and 0 or scan.length(list.raw[index])
    end
  end
end

local NEWER_TAGS = { br = true, quote = true }

---Count the tags in full that older servers count (see length.counts_in_full).
---@param list table tokens
local function count_newer(list)
  for index = 1, list.count do
    local kind, raw = list.kind[index], list.raw[index]
    local tag = kind ~= "text" and raw:match "^</?(%a+)"
    if kind == "quote" or tag and NEWER_TAGS[tag:lower()] then
      -- An end counts with its beginning.
      list.cost[index] = kind == "close" and 0 or scan.length(raw) + scan.length(list.ending[index] or "")
    end
  end
end

local function splitter_of(content, mode, limit, strict)
  local list = tokens.of(content, mode)
  if strict then count_all(list) end
  settle_links(list, mode, limit)
  settle_atoms(list, mode, limit)
  return new(list, mode, limit)
end

---The longest beginning of a text that fits by the costs of its tokens, cut anywhere.
---@param list table tokens; they may be used again
---@param mode string
---@param limit integer
---@return string? head nil: nothing fits
local function head(list, mode, limit)
  local self = new(list, mode, limit)
  self.hard = true
  return self:attempt()
end

---The first part of a text of which every character counts, marks and tags too.
---@param content string
---@param mode string
---@param limit integer
---@return string
local function first_part(content, mode, limit)
  local self = splitter_of(content, mode, limit, true)
  self.hard = true
  return self:part()
end

local function parts_of(content, mode, limit, strict)
  local self, parts = splitter_of(content, mode, limit, strict), {}
  local list = self.list
  while self.index <= list.count do parts[#parts + 1] = self:part() end
  return parts
end

---@param content string
---@param mode string
---@param limit integer
---@return string[]
local function split(content, mode, limit)
  if content == "" then return {} end
  if length.of(content) <= limit then return { content } end
  local parts = {}
  for _, part in ipairs(parts_of(content, mode, limit)) do
    if length.of(part) <= limit then
      parts[#parts + 1] = part
    else
      for _, piece in ipairs(parts_of(part, mode, limit, true)) do parts[#parts + 1] = piece end
    end
  end
  return parts
end

return { split = split, head = head, first_part = first_part, count_newer = count_newer }
