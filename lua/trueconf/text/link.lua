-- SPDX-License-Identifier: MIT
-- Addresses that links may have. A server refuses a whole message for one link with another address (protocol 10.1).

local link = {}

---Beginnings that the address of a link may have.
link.SCHEMES = { "http", "https", "mailto", "trueconf" }

local ALLOWED = {}
for _, scheme in ipairs(link.SCHEMES) do ALLOWED[scheme] = true end

---True if a server accepts a link to this address.
---@param target string
---@return boolean
function link.is_allowed(target)
  local scheme = target:match "^(%a[%w+.-]*):."
  return scheme ~= nil and ALLOWED[scheme:lower()] == true
end

local function byte_of(digits)
  return string.char(tonumber(digits, 16))
end

---The ID in the address of a user; nil: it is no such address. An instance, an action or a query may follow the ID.
---@param target string
---@return string?
function link.user_of(target)
  local id = target:match "^[tT][rR][uU][eE][cC][oO][nN][fF]:([^/&?]+)"
  local decoded = id and id:gsub("%%(%x%x)", byte_of)
  return decoded and utf8.len(decoded) and not decoded:find "%c" and decoded or id
end

local function encoded(sign)
  return ("%%%02X"):format(sign:byte())
end

---The address of a user. Characters that would end the ID there are percent-encoded.
---@param user_id string
---@return string
function link.to_user(user_id)
  return "trueconf:" .. user_id:gsub("[%%&?]", encoded)
end

---The login in an ID, shown in place of a name of invisible characters.
---@param user_id string
---@return string
function link.login_of(user_id)
  return user_id:match "^[^@/]+" or user_id
end

---An address as browsers read it: without spaces around it and without control characters.
---@param target string
---@return string
function link.tidy(target)
  return (target:match "^%s*(.-)%s*$":gsub("%c", encoded))
end

return link
