-- SPDX-License-Identifier: MIT
-- Accounts of a Bridge: their TrueConf IDs and passwords. Passwords are kept only as hashes of crypt(3), or not at all
-- when an LDAP directory checks them.

local core = require "trueconf.core"

local MAX_LOGIN = 255                   -- bytes

---@class trueconf.bridge.Account
---@field key string login as it is compared, see key()
---@field login string as it was given
---@field id string TrueConf ID: login@server
---@field display_name string
---@field disabled boolean
---@field password_hash string? of crypt(3); nil: the account cannot log in by a password kept here
---@field expired_through integer tokens with a serial up to this one are expired

---@class trueconf.bridge.Accounts
---@field private store trueconf.bridge.Store
---@field private server_name string
---@field private cost integer? of new hashes
---@field private nobody string a hash that no password fits, for accounts without one
---@field private directory trueconf.bridge.Directory? nil: the Bridge checks passwords itself
local Accounts = {}
Accounts.__index = Accounts

---@param store trueconf.bridge.Store
---@param server_name string?
---@param password_cost? integer 1 to 11
---@param directory? trueconf.bridge.Directory
---@return trueconf.bridge.Accounts
local function new(store, server_name, password_cost, directory)
  return setmetatable({
    store = store,
    server_name = server_name,
    cost = password_cost,
    nobody = core.crypt_salt(password_cost),
    directory = directory,
  }, Accounts)
end

-- Logins that a directory treats as equal are equal here: in any case and width of letters, with or without spaces and
-- invisible characters.
local key = core.spelling

local function is_login(text)
  return type(text) == "string" and #text <= MAX_LOGIN and text:find "^[^%s%c@/]+$" ~= nil and utf8.len(text) ~= nil
end

local FIELDS = { password = "string", password_hash = "string", display_name = "string", disabled = "boolean" }

local function field_complaint(login, field, value)
  if not FIELDS[field] then return ("account '%s' has an unknown field '%s'"):format(login, tostring(field)) end
  if type(value) ~= FIELDS[field] then
    return ("%s of account '%s' must be a %s, got %s"):format(field, login, FIELDS[field], type(value))
  end
  if field == "password_hash" and not value:find "^%$y%$[./%w]+%$[./%w]+%$[./%w]+$" then
    return ("password_hash of account '%s' must be a yescrypt hash, '$y$...'"):format(login)
  end
  if field == "password" and (#value > 511 or value:find "%z") then
    return ("password of account '%s' must be shorter than 512 bytes and without NUL"):format(login)
  end
end

---Check the description of an account.
---@param login any
---@param spec any a password or { password=, password_hash=, display_name=, disabled= }
---@return string? complaint nil: it is correct
local function complaint(login, spec)
  if not is_login(login) then
    return ("login must be text without '@', '/' and spaces, got %s"):format(tostring(login))
  end
  if type(spec) == "string" then return field_complaint(login, "password", spec) end
  if type(spec) ~= "table" then
    return ("account '%s' must be a password or a table, got %s"):format(login, type(spec))
  end
  for field, value in pairs(spec) do
    local wrong = field_complaint(login, field, value)
    if wrong then return wrong end
  end
end

---Create an account, or change the fields named in `spec` of an existing one. Does not wait: hashing a password blocks
---the loop; give `password_hash` to avoid that.
---@param login string
---@param spec string|trueconf.bridge.AccountSpec
---@return trueconf.bridge.Account
function Accounts:put(login, spec)
  if type(spec) == "string" then spec = { password = spec } end
  local own = key(login)
  local account = self.store:account(own) or {
    key = own,
    login = login,
    id = login .. "@" .. (self.server_name or ""),
    display_name = login,
    disabled = false,
    expired_through = 0,
  }
  if spec.password_hash then account.password_hash = spec.password_hash end
  if spec.password then account.password_hash = assert(core.crypt_hash_now(spec.password, self.cost)) end
  if spec.display_name then account.display_name = spec.display_name end
  if spec.disabled ~= nil then account.disabled = spec.disabled end
  self.store:put_account(account)
  return account
end

---@param login string the login alone, in any spelling
---@return trueconf.bridge.Account?
function Accounts:by_login(login)
  return self.store:account(key(login))
end

---Find an account by its TrueConf ID; an instance part after '/' is cut off.
---@param user_id string
---@return trueconf.bridge.Account?
function Accounts:by_id(user_id)
  local login, server = user_id:gsub("/.*$", ""):match "^([^@]+)@([^@]+)$"
  if not login or server:lower() ~= self.server_name:lower() then return nil end
  return self:by_login(login)
end

---The login in a user name.
---@param username string short, or with the name of this server
---@return string? login nil: a guest or an account of another server
function Accounts:login_of(username)
  local login, server = username:match "^([^@]*)@([^@]*)$"
  if login and server:lower() ~= self.server_name:lower() then return nil end
  login = login or username
  return is_login(login) and login or nil
end

---The key under which login_of() would be found, whether it exists or not.
---@param username string
---@return string?
function Accounts:key_of(username)
  local login = self:login_of(username)
  return login and key(login)
end

-- Against timing attacks, a refusal takes the same time whatever its reason.
function Accounts:check_password(login, password)
  local account = login and self:by_login(login)
  local hash = account and account.password_hash or self.nobody
  local right, err = core.crypt_verify(password, hash)
  if right == nil then return nil, err end
  return right and account or nil
end

function Accounts:ask_directory(login, password)
  if not login then return nil end
  local own, result = self.directory:login(login, password)
  if not own then return nil, result.name ~= "AUTH_FAILED" and result or nil end
  if not is_login(own) then return nil end
  local account = self:by_login(own)
  local name = result and core.is_utf8(result) and result or nil
  if account and (not name or name == account.display_name) then return account end
  return self:put(own, { display_name = name })
end

---Check a login, short or with the name of this server, and its password. Guests, accounts of other servers and
---disabled ones are refused, and all refusals look alike.
---@async
---@param username string
---@param password string
---@return trueconf.bridge.Account?
---@return trueconf.Error? err the directory does not answer; nil: refused
function Accounts:authenticate(username, password)
  local login = self:login_of(username)
  local check = self.directory and self.ask_directory or self.check_password
  local account, err = check(self, login, password)
  if account and not account.disabled then return account end
  return nil, err
end

return { new = new, complaint = complaint }
