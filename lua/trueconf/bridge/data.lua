-- SPDX-License-Identifier: MIT
-- The data folder of a Bridge, which only its owner may read: the key that tokens are signed with, and the
-- accounts that `trueconf bridge user` keeps, one to a line: login, a space, hash of the password.

local core = require "trueconf.core"

local KEY_FILE, ACCOUNTS_FILE = "signing.key", "accounts"
local KEY_BYTES = 32

local data = {}

local function damaged(path, what)
  return core.error("IO", ("%s is damaged: %s"):format(path, what))
end

---The key of the folder, made when there is none.
---@param folder string
---@return string? key
---@return trueconf.Error? err IO
function data.signing_key(folder)
  local path = folder .. "/" .. KEY_FILE
  local text, err = core.read_private(path)
  if not text and not err then
    local written
    written, err = core.write_private(path, core.base64url_encode(core.random(KEY_BYTES)) .. "\n", true)
    if written ~= nil then text, err = core.read_private(path) end
  end
  if not text then return nil, err end
  local key = core.base64url_decode((text:gsub("%s+$", "")))
  if not key or #key ~= KEY_BYTES then return nil, damaged(path, "expected a key of 32 bytes in base64url") end
  return key
end

---The accounts of the folder.
---@param folder string
---@return table<string, string>? hashes by login
---@return trueconf.Error? err IO
function data.read_accounts(folder)
  local path = folder .. "/" .. ACCOUNTS_FILE
  local text, err = core.read_private(path)
  if err then return nil, err end
  local hashes, number = {}, 0
  for line in (text or ""):gmatch "[^\n]+" do
    number = number + 1
    local login, hash = line:match "^(%S+) (%$y%$%S+)$"
    if not login then return nil, damaged(path, ("line %d: expected login and hash"):format(number)) end
    hashes[login] = hash
  end
  return hashes
end

---Keep these accounts in the folder, in place of those before.
---@param folder string
---@param hashes table<string, string>
---@return true? ok
---@return trueconf.Error? err IO
function data.write_accounts(folder, hashes)
  local lines = {}
  for login, hash in pairs(hashes) do lines[#lines + 1] = login .. " " .. hash .. "\n" end
  table.sort(lines)
  return core.write_private(folder .. "/" .. ACCOUNTS_FILE, table.concat(lines))
end

---Open a data folder; it is made when there is none.
---@param folder string
---@return { signing_key: string, accounts: table<string, string> }?
---@return trueconf.Error? err IO
function data.open(folder)
  local ok, key, hashes, err
  ok, err = core.private_folder(folder)
  if not ok then return nil, err end
  key, err = data.signing_key(folder)
  if not key then return nil, err end
  hashes, err = data.read_accounts(folder)
  if not hashes then return nil, err end
  return { signing_key = key, accounts = hashes }
end

return data
