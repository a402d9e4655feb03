-- SPDX-License-Identifier: MIT
-- Accounts of a Bridge: who exists, under which TrueConf ID, with which password. Passwords are
-- kept only as a keyed hash, compared in constant time and never printed.

local core = require "trueconf.core"

---@class trueconf.bridge.Account
---@field key string login in lower case
---@field login string as it was given
---@field id string TrueConf ID: login@server
---@field display_name string
---@field disabled boolean
---@field salt string
---@field secret string? hash of the password; nil: nobody logs in by password
---@field expired_through integer tokens with a serial up to this one are expired

---@class trueconf.bridge.Accounts
---@field private store trueconf.bridge.Store
---@field private server_name string
local Accounts = {}
Accounts.__index = Accounts

---@param store trueconf.bridge.Store
---@param server_name string
---@return trueconf.bridge.Accounts
local function new(store, server_name)
  return setmetatable({ store = store, server_name = server_name, nobody = core.random(16) }, Accounts)
end

---Tell what is wrong with the description of an account.
---@param login any
---@param spec any a password or { password=, display_name=, disabled= }
---@return string? complaint nil: it is well
local function complaint(login, spec)
  if type(login) ~= "string" or not login:find "^[^%s%c@/]+$" or not utf8.len(login) then
    return ("login must be text without '@', '/' and spaces, got %s"):format(tostring(login))
  end
  if type(spec) == "string" then return nil end
  if type(spec) ~= "table" then
    return ("account '%s' must be a password or a table, got %s"):format(login, type(spec))
  end
  local types = { password = "string", display_name = "string", disabled = "boolean" }
  for field, value in pairs(spec) do
    if not types[field] then return ("account '%s' has an unknown field '%s'"):format(login, tostring(field)) end
    if type(value) ~= types[field] then
      return ("%s of account '%s' must be a %s, got %s"):format(field, login, types[field], type(value))
    end
  end
end

---Create an account, or change the fields named in `spec` of one that exists.
---@param login string
---@param spec string|{ password: string?, display_name: string?, disabled: boolean? }
---@return trueconf.bridge.Account
function Accounts:put(login, spec)
  if type(spec) == "string" then spec = { password = spec } end
  local key = login:lower()
  local account = self.store:account(key) or {
    key = key,
    login = login,
    id = login .. "@" .. self.server_name,
    display_name = login,
    disabled = false,
    salt = core.random(16),
    expired_through = 0,
  }
  if spec.password then account.secret = core.hmac_sha256(account.salt, spec.password) end
  if spec.display_name then account.display_name = spec.display_name end
  if spec.disabled ~= nil then account.disabled = spec.disabled end
  self.store:put_account(account)
  return account
end

---@param login string the login alone, in any case
---@return trueconf.bridge.Account?
function Accounts:by_login(login)
  return self.store:account(login:lower())
end

---Find an account by its TrueConf ID; an instance part after '/' is cut off.
---@param user_id string
---@return trueconf.bridge.Account?
function Accounts:by_id(user_id)
  local login, server = user_id:gsub("/.*$", ""):match "^([^@]+)@([^@]+)$"
  if not login or server:lower() ~= self.server_name:lower() then return nil end
  return self:by_login(login)
end

---Check a login, short or with the name of this server, and its password. Guests, accounts of
---other servers and disabled ones are refused, and all refusals look alike and take as long.
---@param username string
---@param password string
---@return trueconf.bridge.Account?
function Accounts:authenticate(username, password)
  local account
  if username:find("@", 1, true) then account = self:by_id(username) else account = self:by_login(username) end
  local salt = account and account.salt or self.nobody
  local secret = account and account.secret or self.nobody
  local right = core.equal(core.hmac_sha256(salt, password), secret)
  if right and account and account.secret and not account.disabled then return account end
end

return { new = new, complaint = complaint }
