-- SPDX-License-Identifier: MIT
-- Standard base64, with '+', '/' and '=' (RFC 4648, 4); the core has base64url for tokens (RFC 4648, 5).

local core = require "trueconf.core"

local TO_URL = { ["+"] = "-", ["/"] = "_", ["="] = "", ["\n"] = "", ["\r"] = "" }
local FROM_URL = { ["-"] = "+", ["_"] = "/" }

local base64 = {}

---@param bytes string
---@return string
function base64.encode(bytes)
  local text = core.base64url_encode(bytes):gsub("[-_]", FROM_URL)
  return text .. ("="):rep(-#text % 4)
end

---@param text string
---@return string? bytes nil: it is not base64
function base64.decode(text)
  return core.base64url_decode((text:gsub("[+/=\r\n]", TO_URL)))
end

return base64
