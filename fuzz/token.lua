-- SPDX-License-Identifier: MIT
-- Tokens: base64url both ways, and when a token ends, whatever the server has answered.
local core = require "trueconf.core"

return function(text)
  assert(core.base64url_decode(core.base64url_encode(text)) == text)
  local decoded = core.base64url_decode(text)
  if decoded then assert(core.base64url_decode(core.base64url_encode(decoded)) == decoded) end
  local answer, token = text:match "^([^\n]*)\n(.*)$"
  local expiry = core.token_expiry(answer or text, token or text)
  assert(expiry == nil or type(expiry) == "number")
end
