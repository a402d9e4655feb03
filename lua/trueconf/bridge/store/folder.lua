-- SPDX-License-Identifier: MIT
-- The data folder of a Bridge, which only its owner may read: the key that signs tokens, the store, and the files in
-- `files`.

local core = require "trueconf.core"
local disk_store = require "trueconf.bridge.store.disk"

local KEY_FILE = "signing.key"
local KEY_BYTES = 32

local data_folder = {}

local function damaged(path, what)
  return core.error("IO", ("%s is damaged: %s"):format(path, what))
end

---The key of the folder, made when it is missing.
---@param folder string
---@return string? key
---@return trueconf.Error? err IO
function data_folder.signing_key(folder)
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

---Open the store of a data folder; both are made when they are missing.
---@param folder string
---@param options { history_limit: integer, unread_limit: integer }
---@return trueconf.bridge.Store?
---@return trueconf.Error? err IO: others may write to it, damaged, in use, ...; UNSUPPORTED: lua-dbi is missing
function data_folder.open(folder, options)
  local ok, err = core.private_folder(folder)
  if not ok then return nil, err end
  local key, store
  key, err = data_folder.signing_key(folder)
  if not key then return nil, err end
  store, err = disk_store.open(folder, options)
  if not store then return nil, err end
  store.signing_key = key
  return store
end

return data_folder
