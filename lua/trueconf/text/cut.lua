-- SPDX-License-Identifier: MIT
-- The beginning of a text that is too long, as servers keep it (protocol 10.4): a hard cut at the
-- visible length, wherever that is in a sentence or a word. Marks, tags, entities and characters
-- stay whole; what is open at the cut is closed. The label of a link may end there, its target not.

local length = require "trueconf.text.length"
local split = require "trueconf.text.split"
local tokens = require "trueconf.text.tokens"

-- Tokens cost what they add at most, so that the room to be filled may be more than the limit: it is searched for,
-- so many times.
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
  -- Where nothing fits or the costs are wrong, it is cut as for splitting, every character counted.
  return longest_head(list, mode, limit, server) or split.first_part(content, mode, limit)
end

return { cut = cut }
