-- SPDX-License-Identifier: MIT
-- Access tokens: JSON Web Tokens of three parts, signed with HMAC-SHA256, that name the account
-- and the second in which they expire (protocol: token structure, lifetime, expiry).

local core = require "trueconf.core"
local json = require "trueconf.base.json"

local HEADER = core.base64url_encode('{"alg":"HS256","typ":"JWT"}')

---@class trueconf.bridge.Tokens
---@field private store trueconf.bridge.Store
---@field private lifetime integer seconds
local Tokens = {}
Tokens.__index = Tokens

---@param store trueconf.bridge.Store
---@param lifetime number seconds
---@return trueconf.bridge.Tokens
local function new(store, lifetime)
  return setmetatable({ store = store, lifetime = lifetime }, Tokens)
end

local function seconds_now()
  return core.now() // 1000
end

---Mint a token. Every token is different; older ones stay valid.
---@param account trueconf.bridge.Account
---@param expires_in? number seconds from now, may be negative; default the lifetime
---@return string token
---@return integer expires_at UNIX seconds
function Tokens:mint(account, expires_in)
  local now = seconds_now()
  local expires_at = math.floor(now + (expires_in or self.lifetime))
  local claims = json.encode { sub = account.id, iat = now, exp = expires_at, serial = self.store:next_serial() }
  local signed = HEADER .. "." .. core.base64url_encode(claims)
  local signature = core.base64url_encode(core.hmac_sha256(self.store.signing_key, signed))
  return signed .. "." .. signature, expires_at
end

-- The claims of a token that this Bridge has signed, nil for any other text.
local function claims_of(token, key)
  local signed, claims, signature = token:match "^([%w_-]+%.([%w_-]+))%.([%w_-]+)$"
  if not signed or signed:sub(1, #HEADER + 1) ~= HEADER .. "." then return nil end
  local given = core.base64url_decode(signature)
  if not given or not core.equal(given, core.hmac_sha256(key, signed)) then return nil end
  return json.decode(core.base64url_decode(claims))
end

---Find the account that a token was minted for.
---@param token string
---@param accounts trueconf.bridge.Accounts
---@return trueconf.bridge.Account? account
---@return "invalid"|"expired"|nil reason
function Tokens:verify(token, accounts)
  local claims = claims_of(token, self.store.signing_key)
  local account = claims and accounts:by_id(claims.sub)
  if not account then return nil, "invalid" end
  local revoked = math.max(self.store.expired_through, account.expired_through)
  if claims.exp <= seconds_now() or claims.serial <= revoked then return nil, "expired" end
  return account
end

return { new = new }
