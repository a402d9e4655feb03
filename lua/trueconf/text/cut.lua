-- SPDX-License-Identifier: MIT
-- Cuts a text that is too long as servers do (protocol 10.4): at the visible length, even within a word. Marks, tags,
-- entities and characters stay whole; open marks and tags are closed. The cut may be in the label of a link, but not in
-- its target.

local length = require "trueconf.text.length"
local split = require "trueconf.text.split"
local tokens = require "trueconf.text.tokens"

-- The cost of a token is its longest visible length, so the budget of costs that fills the limit may be larger than the
-- limit: search for it, at most this many times.
local MAX_LOOKS = 12

local function longest_head(list, mode, limit, server)
  local best, room, least, most = nil, limit, 0, nil
  for _ = 1, MAX_LOOKS do
    local head = split.head(list, mode, room)
    if not head then break end
    local seen = length.of(head, server)
    if seen <= limit then best, least = head, room else most = room end
    if seen == limit then break end
    room = most and (least + most) // 2 or room + limit - seen
    if room == least then break end
  end
  return best
end

---@param content string
---@param mode string
---@param limit integer
---@param server? string version
---@return string
local function cut(content, mode, limit, server)
  if length.of(content, server) <= limit then return content end
  local list = tokens.of(content, mode)
  if length.counts_in_full(server) then split.count_newer(list) end
  -- If nothing fits or the costs are wrong, cut as split() does and count every character.
  return longest_head(list, mode, limit, server) or split.first_part(content, mode, limit)
end

return { cut = cut }
