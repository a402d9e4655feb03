-- SPDX-License-Identifier: MIT
-- JSON texts as they come, and texts that are broken somewhere. The same seed gives the same texts.

local Texts = {}
Texts.__index = Texts

local WORDS = {
  "", "a", "chatId", "messageId", "payload", "Привет, мир", "naïve", "日本語", "😀",
  "plain text of some length, with spaces",
  "1234567", "12345678", "123456789", "\\\"", "\\\\", "\\/\\b\\f\\n\\r\\t", "\\u0041", "\\u00e9", "\\ud83d\\ude00",
  "\\ud800", "\\udc00x", "\\ud800\\u0041", "\\u0000", "x\\u0000y",
}

local NUMBERS = {
  "0", "-0", "1", "-1", "42", "1.0", "0.5", "-1.25e-3", "1e3", "12E+2", "1732428000123", "9007199254740993",
  "9223372036854775807", "-9223372036854775808", "9223372036854775808", "999999999999999999", "1e300", "1e16",
  "0.1234567890123456789", "100000000000000000000", "-0.0", "0e9",
}

-- Bytes and pieces that break a text, or change it.
local BREAKS = {
  "", "\0", "\n", "\t", " ", "\"", "\\", "\\x", "\\u12", "\\ud800", "{", "}", "[", "]", ",", ":", "1.", "01", "+1",
  ".5", "1e", "1e400", "-", "nan", "Infinity", "0x10", "tru", "null", "nul", "\x80", "\xff", "\xc0\xaf", "\xed\xa0\x80",
  "\xf0\x9f", "\xe2\x82", "/**/", "'", "\u{2028}", "\u{feff}", "\x1f", "\x7f",
}

---@param seed integer
local function new(seed)
  return setmetatable({ state = seed }, Texts)
end

-- 0..n-1
function Texts:below(n)
  self.state = self.state * 6364136223846793005 + 1442695040888963407
  return (self.state >> 33) % n
end

function Texts:pick(list)
  return list[self:below(#list) + 1]
end

function Texts:space()
  return self:below(8) == 0 and self:pick { " ", "\t", "\r\n", "  " } or ""
end

function Texts:string()
  local parts = {}
  for place = 1, self:below(4) do parts[place] = self:pick(WORDS) end
  return '"' .. table.concat(parts, self:below(3) == 0 and " " or "") .. '"'
end

function Texts:members(depth, make)
  local parts, count = {}, self:below(40) == 0 and self:below(80) or self:below(6)
  for place = 1, count do parts[place] = self:space() .. make(self, depth) .. self:space() end
  return table.concat(parts, ",")
end

function Texts:member(depth)
  return self:string() .. self:space() .. ":" .. self:value(depth)
end

---A JSON value.
---@param depth? integer how deep it may still nest
function Texts:value(depth)
  depth = depth or 5
  local kind = self:below(depth > 0 and 9 or 5)
  local text
  if kind == 0 then text = self:pick { "true", "false", "null" }
  elseif kind < 3 then text = self:string()
  elseif kind < 5 then text = self:pick(NUMBERS)
  elseif kind < 7 then text = "[" .. self:members(depth - 1, self.value) .. self:space() .. "]"
  else text = "{" .. self:members(depth - 1, self.member) .. self:space() .. "}" end
  return self:space() .. text .. self:space()
end

---The text with one change.
function Texts:broken(text)
  local at = self:below(#text + 1)
  local kind = self:below(4)
  if kind == 0 then return text:sub(1, at) end
  if kind == 1 then return text:sub(1, at) .. text:sub(at + 2) end
  if kind == 2 then return text:sub(1, at) .. self:pick(BREAKS) .. text:sub(at + 1) end
  return text:sub(1, at) .. self:pick(BREAKS) .. text:sub(at + 2)
end

---A text, broken in one of two cases.
function Texts:next()
  local text = self:value()
  for _ = 1, self:below(2) * (1 + self:below(2)) do text = self:broken(text) end
  return text
end

return { new = new }
