-- SPDX-License-Identifier: MIT
-- The visible length of a text, by which it is limited (protocol 10.4). It is counted alike in
-- every mode, and as it is written: an entity or an escaped sign counts with all its characters.

local scan = require "trueconf.text.scan"

local SIMPLE_TAGS = { b = true, i = true, u = true, s = true, a = true }
local TAGS = { b = true, i = true, u = true, s = true, a = true, br = true, quote = true }

local visible

local function rendered(label, target, full)
  local seen = visible(label, full)
  if target then seen = seen .. " " .. target end
  return seen:gsub("^%s+", ""):match "^.*%S" or ""
end

-- Each reader returns the visible text of the element at an index, and the index after it.
local readers = {}

local function anchor(content, at, ahead, full)
  if not content:find("^<[aA]%s", at) then return nil end
  local open_end = ahead.angle(at)
  local close = open_end and ahead.anchor_end(open_end + 1)
  if not close then return nil end
  local target = scan.href(content:sub(at + 2, open_end - 1))
  return rendered(content:sub(open_end + 1, close - 1), target, full), close + 4
end

readers["<"] = function(content, at, ahead, full)
  local seen, stop = anchor(content, at, ahead, full)
  if seen then return seen, stop end
  local after, name = scan.tag(content, at, ahead)
  if after and (full and SIMPLE_TAGS or TAGS)[name] then return "", after end
  return "<", at + 1
end

readers["["] = function(content, at, ahead, full)
  local label_end, target_end = scan.link(content, at, ahead)
  if not label_end then return "[", at + 1 end
  return rendered(content:sub(at + 1, label_end - 1), content:sub(label_end + 2, target_end - 1), full), target_end + 1
end

readers[">"] = function(content, at, _, full)
  local first = at == 1 or content:byte(at - 1) == 0x0a
  return first and not full and "" or ">", at + 1
end

local function marker(content, at)
  local sign = content:match("^__", at) or content:sub(at, at)
  return scan.inside_word(content, at, #sign) and sign or "", at + #sign
end

readers["*"], readers["_"], readers["~"] = marker, marker, marker

-- A link's label may hold a link of the other kind and nothing deeper, so the recursion is bounded.
function visible(content, full)
  local out, at, ahead = {}, 1, scan.ahead(content)
  while true do
    local index = content:find("[<%[%*_~>]", at)
    out[#out + 1] = content:sub(at, (index or 0) - 1)
    if not index then return table.concat(out) end
    out[#out + 1], at = readers[content:sub(index, index)](content, index, ahead, full)
  end
end

---Servers before 5.5.6 have clients that count some tags in full.
---@param server? string version
---@return boolean
local function counts_in_full(server)
  local major, minor, patch = (server or ""):match "^(%d+)%.(%d+)%.?(%d*)"
  if not major then return false end
  return tonumber(major) * 10000 + tonumber(minor) * 100 + (tonumber(patch) or 0) < 50506
end

---@param content string
---@param server? string version
---@return integer
local function visible_length(content, server)
  if content:find "[<%[%*_~>]" then content = visible(content, counts_in_full(server)) end
  return scan.length(content)
end

return { of = visible_length, counts_in_full = counts_in_full }
