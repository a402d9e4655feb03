-- SPDX-License-Identifier: MIT
-- Where a link may lead. A server refuses a whole message for one link that leads elsewhere (protocol 10.1).

local link = {}

---Beginnings that the address of a link may have.
link.SCHEMES = { "http", "https", "mailto", "trueconf" }

local ALLOWED = {}
for _, scheme in ipairs(link.SCHEMES) do ALLOWED[scheme] = true end

---Does a server take a link to this address?
---@param target string
---@return boolean
function link.is_allowed(target)
  local scheme = target:match "^(%a[%w+.-]*):."
  return scheme ~= nil and ALLOWED[scheme:lower()] == true
end

local function byte_of(digits)
  return string.char(tonumber(digits, 16))
end

---The ID of the user whom an address stands for, if it does; an instance, an action or a query may follow in it.
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

---The address that stands for a user. What would end the ID there is percent-encoded.
---@param user_id string
---@return string
function link.to_user(user_id)
  return "trueconf:" .. user_id:gsub("[%%&?]", encoded)
end

---The login in an ID, which stands for a name that shows nothing.
---@param user_id string
---@return string
function link.login_of(user_id)
  return user_id:match "^[^@/]+" or user_id
end

---An address without what browsers take off or out of it: spaces around it, control characters.
---@param target string
---@return string
function link.tidy(target)
  return (target:match "^%s*(.-)%s*$":gsub("%c", encoded))
end

return link
