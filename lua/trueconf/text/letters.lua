-- SPDX-License-Identifier: MIT
-- Which characters are letters or digits, by Unicode 14.0: the categories L and N, as far as a
-- person writes with them (Python's str.isalnum, by which lengths are counted).

-- Distances, to base 36, from one border to the next: at the first one (U+0080) begin other
-- signs, at the second (U+00AA) letters, and so on by turns. Unassigned ones go with those before.
local BORDERS = [[
  3k 16 1 7 2 1 1 3 2 1 3 1 n 1 v 1 cq 4 c e 5 7 1 1 1 3l 5 1 8 1 5 2 1 1 32 1 3v 8 5s 6 15 1z z 19 17 l a 4 2 1 2r 1
  1 f 2 7 f 2 1 g 1 1 u t 2h b 1m 9 2 4 3 3 m 4 1 9 1 3 1 n p 7 14 1 7 g 16 1m 1i 3 1 i 1 7 a 4 a 1 g 4 1j 1 1 g 9 5 6
  4 c 2 6 2 1 8 1j t n 2 3 g 1j 1 1 i i 4 a 9 1 b 1j 1 1 u 6 4 a 1 h 1 1n i 7 f d i 1j 1 1 q a 4 h 1 7 1 1 4 1j 1 1 v
  5 4 q 4 1j 2 1 g 1 5 3 1 a 4 j 1 7 4 1x s c f 1c 1 2 c 7 9 a 13 1c 1 2 9 b 8 1d v k c 1d n 5 37 17 k b 6 6 4 4 3 1 3
  2 7 3 4 d c 1 1 a 6 2j 1 gx c 13 g 2o 1 h8 2 h 1 q 5 23 3 10 d j e i e i e 1g z 1 4 1 3 w g 39 2 y 1 3a 12 48 y n 9
  1h 17 w 7 1 2l 1b h l 15 u d 1k q 10 s 1q 2 1s 15 4 1 6 1 2 3 5i 1s cd 1 1 3 b 3 d 3 d 5 b 37 a 5 b 6 g 2q 1 4 1 2 a
  1 1 3 5 6 1 1 1 1 1 1 4 1 b 2 4 5 5 4 1 1 1m k6 1o 26 m hi u vg 6d 6 4 3 7 4 1 2 34 g 2o 27 1 d1 3 p 9 7 5 2 5 4 2g
  4 3 1 2i 1 44 2 4 a w 1c g w a u 8 1 f w a 13 f 8w 534 1s h3k 1s 1a 2 7h 3 2n g v 2 28 13 9 2 2v 2 3b 1 3 1 4 1 n d
  6 a 1g e 1e s g i 6 3 1 1 2 1 12 a n p w 4 1b s f 2 5 1 1v n 3 1 8 4 c 4 n 3 1 3 1e 1 1 3 2 2 5 2 1 1 s 2 b 7 3 c 2i
  1 e 6 37 d aa8 4xs f2 1 a 1 3s x a3 i 3j x c 38 3z h a 7 q 6 q b 3e w 74 7 1c 9 1l h 2 6s 2o 1 45 a v 1 1c 1 bi 1 kn
  1 v 2 4m 1 v 1t 3l f 14 8 g g v 1 20 1 s 6 5 g 1l 7 2h g aj c aj 5 46 b 4 r i 1a 28 3 1h q u 1 2 2 a 4 19 w 1c 3 10
  f a 4 1 2 18 3 a 3 1c e 4 b b 1 1 4 23 2c 15 7 1b h g 5 1i 2 1 i 7 6 5 4e 1h i 4 5 a 5 29 k 2 1 6g 15 4 10 1c k s w
  17 d 1 7 2l j c 4 6k 38 40 f 1 1 1 e 3l g 1 1 1 s 1 a 14 7 1 l 1 b 1a j 1 i an h 1 f w 2 w 32 1d l 1 9 1m e 9n 59 11
  17 vk g 29d f ts 34g 7la 2 3k g 1c g 4 c nb 2x 27 1 1 1u 27 1 1 s f4s 4ec w 2o o1 1 p 1 v 1 p 1 v 1 p 1 v 1 p 1 v 1
  p 1 1o 1ds 74 74 1c 7 o 8x u i 18 4 f yp 6o 1c 1w 7 j lv 1n 1 3 1 3h 1 ch eo d 25f gvm9
]]

local borders

local function read_borders()
  local list, last = {}, 0
  for distance in BORDERS:gmatch "%w+" do
    last = last + tonumber(distance, 36)
    list[#list + 1] = last
  end
  return list
end

---@param code integer a code point past ASCII
---@return boolean
local function is_letter(code)
  borders = borders or read_borders()
  local low, high = 0, #borders
  while low < high do
    local middle = (low + high + 1) // 2
    if borders[middle] <= code then low = middle else high = middle - 1 end
  end
  return low % 2 == 0 and low > 0
end

-- Capitals past ASCII in the scripts that commands are written in: first, last, distance to the
-- small letter.
local CAPITALS = {
  { 0xC0, 0xD6, 32 }, { 0xD8, 0xDE, 32 }, { 0x391, 0x3A9, 32 }, { 0x400, 0x40F, 80 }, { 0x410, 0x42F, 32 },
}

local function small(character)
  local code = utf8.codepoint(character)
  for _, range in ipairs(CAPITALS) do
    if code >= range[1] and code <= range[2] then return utf8.char(code + range[3]) end
  end
end

---A text in small letters, as far as it is Latin, Greek or Cyrillic.
---@param text string UTF-8
---@return string
local function lower(text)
  text = text:lower()
  return text:find "[\xC3\xCE\xD0]" and text:gsub("[\xC3\xCE\xCF\xD0][\x80-\xBF]", small) or text
end

return { is_letter = is_letter, lower = lower }
