-- SPDX-License-Identifier: MIT
-- Cleans html as servers do (protocol: modes of text): keeps supported tags with their own attributes, and removes all
-- other tags but not their text. A forbidden link makes the server refuse the message.

local escape = require "trueconf.text.escape"

local PLAIN = { b = true, i = true, s = true, u = true, br = true }
local SCHEMES = { http = true, https = true, mailto = true, trueconf = true }

local html = {}

-- The value of an attribute as it is written; nil: the tag has no attribute of this name.
local function attribute(tag, wanted)
  local at = tag:match "^<%a+()"
  while true do
    local name, after = tag:match("^[%s/]*([^%s=/>]+)%s*()", at)
    if not name then return nil end
    local quote, from = tag:match("^=%s*([\"']?)()", after)
    local value = ""
    if quote == "" then
      value, after = tag:match("^([^%s>]*)()", from)
    elseif quote then
      local last = tag:find(quote, from, true) or #tag
      value, after = tag:sub(from, last - 1), last + 1
    end
    if name:lower() == wanted then return value end
    at = after
  end
end

-- True for an address that apps open; characters that apps ignore in an address do not count.
local function is_allowed(target)
  local scheme = escape.entities(target):gsub("[%c%s]", ""):match "^(%a[%w+.-]*):"
  return scheme ~= nil and SCHEMES[scheme:lower()] == true
end

-- The replacement of a tag; false: the message is refused.
local function cleaned_tag(tag)
  local slash, name = tag:match "^<(/?)(%a+)%f[%s/>]"
  name = name and name:lower()
  if PLAIN[name] then return ("<%s%s>"):format(slash, name) end
  if name == "quote" then return slash == "/" and "</quote>" or '<quote class="reply">' end
  if name ~= "a" then return "" end
  local target = slash == "" and attribute(tag, "href")
  if not target then return ("<%sa>"):format(slash) end
  return is_allowed(target) and ('<a href="%s">'):format((target:gsub('"', "&quot;")))
end

---Clean a text.
---@param content string
---@return string? cleaned nil: it is refused
---@return string? complaint
function html.clean(content)
  local parts, from = {}, 1
  while true do
    local at = content:find("<[/!?%a]", from)
    parts[#parts + 1] = content:sub(from, (at or #content + 1) - 1)
    if not at then return table.concat(parts) end
    local tag = content:match("^<[/!?%a][^<>]*>", at)
    local cleaned = tag and cleaned_tag(tag) or not tag and "&lt;"
    if not cleaned then return nil, "content.text: links must lead to http, https, mailto or trueconf addresses" end
    parts[#parts + 1] = cleaned
    from = at + (tag and #tag or 1)
  end
end

return html
