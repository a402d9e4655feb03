-- SPDX-License-Identifier: MIT
-- The difference of two texts, line by line, as people read it.

local CONTEXT = 2                       -- lines that are the same, shown around a difference
local MOST_CELLS = 4000000              -- of the table below; longer texts are not aligned
local MOST_LINES = 60
local UNENDED = " (without the end of the line)"

local function lines_of(text)
  local lines = {}
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. UNENDED .. "\n" end
  for line in text:gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

-- How many lines are the same at the beginning and, behind that, at the end.
local function same_ends(old, new)
  local most = math.min(#old, #new)
  local head, tail = 0, 0
  while head < most and old[head + 1] == new[head + 1] do head = head + 1 end
  while tail < most - head and old[#old - tail] == new[#new - tail] do tail = tail + 1 end
  return head, tail
end

-- lengths[i][j]: lines that old from i on and new from j on have in common, in order.
local function common_lengths(old, new)
  local lengths = { [#old + 1] = setmetatable({}, { __index = function() return 0 end }) }
  for i = #old, 1, -1 do
    local row, below = { [#new + 1] = 0 }, lengths[i + 1]
    for j = #new, 1, -1 do
      row[j] = old[i] == new[j] and below[j + 1] + 1 or math.max(below[j], row[j + 1])
    end
    lengths[i] = row
  end
  return lengths
end

-- The differing lines in the middle, each with its mark.
local function compare(old, new)
  local out, i, j = {}, 1, 1
  local lengths = #old * #new <= MOST_CELLS and common_lengths(old, new)
  while i <= #old or j <= #new do
    if lengths and i <= #old and j <= #new and old[i] == new[j] then
      out[#out + 1], i, j = "  " .. old[i], i + 1, j + 1
    elseif i <= #old and (j > #new or not lengths or lengths[i + 1][j] >= lengths[i][j + 1]) then
      out[#out + 1], i = "- " .. old[i], i + 1
    else
      out[#out + 1], j = "+ " .. new[j], j + 1
    end
  end
  return out
end

-- Leave out equal lines that are far from any difference.
local function shorten(lines)
  local near, out = {}, {}
  for index, line in ipairs(lines) do
    if line:sub(1, 1) ~= " " then
      for around = index - CONTEXT, index + CONTEXT do near[around] = true end
    end
  end
  for index, line in ipairs(lines) do
    if near[index] then
      out[#out + 1] = line
    elseif near[index - 1] then
      out[#out + 1] = "  ..."
    end
  end
  if #out <= MOST_LINES then return out end
  local left = #out - MOST_LINES
  return table.move(out, 1, MOST_LINES, 1, { [MOST_LINES + 1] = ("  (%d more lines)"):format(left) })
end

---@param old string
---@param new string
---@return string? lines "- " before lines of `old` alone, "+ " before lines of `new` alone; nil: the texts are equal
local function diff(old, new)
  if old == new then return nil end
  local before, after = lines_of(old), lines_of(new)
  local head, tail = same_ends(before, after)
  local lines = {}
  for index = math.max(1, head - CONTEXT + 1), head do lines[#lines + 1] = "  " .. before[index] end
  local changed = compare(table.move(before, head + 1, #before - tail, 1, {}),
    table.move(after, head + 1, #after - tail, 1, {}))
  table.move(changed, 1, #changed, #lines + 1, lines)
  for index = #before - tail + 1, math.min(#before, #before - tail + CONTEXT) do
    lines[#lines + 1] = "  " .. before[index]
  end
  return table.concat(shorten(lines), "\n")
end

return { diff = diff }
