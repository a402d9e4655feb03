-- SPDX-License-Identifier: MIT
-- The plain text of a message, as a person sees it (protocol 10.1).

local escape = require "trueconf.text.escape"
local tokens = require "trueconf.text.tokens"

local plain = {}

---@param content string
---@return string
function plain.html(content)
  if content:find "[<\n\r\t\f\v]" or content:find("  ", 1, true) then
    content = content:gsub("%s+", " "):gsub(" ?<[bB][rR]%f[%A][^<>]*> ?", "\n"):gsub("</?%a[^<>]*>", "")
  end
  if content:find("&", 1, true) then content = escape.entities(content) end
  return content
end

local HIDDEN = { open = true, close = true, quote = true }

---@param content string
---@return string
function plain.markdown(content)
  if not content:find "[*_~%[\\>]" then return content end
  local list, out = tokens.of(content, "markdown", true), {}
  for index = 1, list.count do
    local kind, raw = list.kind[index], list.raw[index]
    if kind == "atom" then raw = raw:sub(2) end
    if not HIDDEN[kind] then out[#out + 1] = raw end
  end
  return table.concat(out)
end

---@param content string
---@return string
function plain.text(content)
  return content
end

return plain
