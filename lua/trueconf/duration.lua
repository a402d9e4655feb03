-- SPDX-License-Identifier: MIT
-- Public. Durations as people write them: "90s", "2h30m", "1d".

require "trueconf.base.needs"

local duration = {}

local SECONDS = { w = 604800, d = 86400, h = 3600, m = 60, s = 1 }
local UNITS = { "w", "d", "h", "m", "s" }
local LONGEST = 1e9                     -- seconds: 31 years

-- Numbers with their units; spaces may stand between. The units come from long to short, each once at most.
local function read(text)
  local total, index, last = 0, 1, math.huge
  while index <= #text do
    local number, unit, behind = text:match("^%s*(%d+%.?%d*)%s*(%a)()", index)
    local seconds = SECONDS[unit]
    if not seconds or seconds >= last then return nil end
    total, index, last = total + tonumber(number) * seconds, behind, seconds
  end
  return index > 1 and total or nil
end

---The seconds in "90s", "2h30m", "1d 12h" or "1w". Units are w, d, h, m and s, from long to short.
---@param text string
---@return number? seconds
---@return string? complaint
function duration.parse(text)
  local seconds = type(text) == "string" and read(text:gsub("%s+$", "")) or nil
  if not seconds then return nil, "expected a time such as 90s, 2h30m or 1d" end
  if seconds > LONGEST then return nil, ("expected at most %s"):format(duration.format(LONGEST)) end
  return math.tointeger(seconds) or seconds
end

---The reverse: 9000 is "2h30m". Fractions of a second are kept to the millisecond.
---@param seconds number
---@return string
function duration.format(seconds)
  local left, parts = math.floor(seconds * 1000 + 0.5), {}
  for _, unit in ipairs(UNITS) do
    local count = unit == "s" and left / 1000 or math.floor(left / (SECONDS[unit] * 1000))
    if count > 0 then
      parts[#parts + 1] = ("%s%s"):format(math.tointeger(count) or count, unit)
      left = left - count * SECONDS[unit] * 1000
    end
  end
  return parts[1] and table.concat(parts) or "0s"
end

return duration
