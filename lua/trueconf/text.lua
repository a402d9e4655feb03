-- Texts of messages. The apps of users write html (protocol 10.1), so even a plain word
-- may come with marks and entities around it.
-- SPDX-License-Identifier: MIT

local text = {}

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = "\u{a0}" }

local function code_point(digits, base)
  local code = tonumber(digits, base)
  if code and code > 0 and code <= 0x10ffff and not (code >= 0xd800 and code < 0xe000) then return utf8.char(code) end
end

local function entity(name)
  local decimal, hex = name:match "^#(%d+)$", name:match "^#[xX](%x+)$"
  return decimal and code_point(decimal, 10) or hex and code_point(hex, 16) or ENTITIES[name]
end

---What a person sees of a message: tags are taken off, `<br>` is a new line, runs of white
---space are one space, entities are characters.
---@param content string
---@param parse_mode? string anything but "html" is returned as it is
---@return string
function text.plain(content, parse_mode)
  if parse_mode ~= "html" then return content end
  if content:find "[<\n\r\t]" or content:find "  " then
    content = content:gsub("%s+", " "):gsub(" ?<[bB][rR] ?/?> ?", "\n"):gsub("</?%a[^<>]*>", "")
  end
  if content:find("&", 1, true) then content = content:gsub("&(#?%w+);", entity) end
  return content
end

return text
