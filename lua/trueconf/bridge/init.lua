-- SPDX-License-Identifier: MIT
-- The Bridge: a local server that speaks the API of TrueConf Bridge, so that a bot can be
-- written, run and tested without a TrueConf Server. The C core listens; the rules are in the
-- files beside this one. Everything it remembers is in its store.
--
--   local bridge = require "trueconf.bridge"
--   local server = assert(bridge.start { accounts = { herald = "4711" } })
--   local chat = server:person("mira"):chat_with "herald"
--   chat:say "hello"

local data = require "trueconf.bridge.data"
local server = require "trueconf.bridge.server"
local settings = require "trueconf.bridge.settings"

-- The accounts of a data folder, unless they are described anew.
local function add_accounts(described, hashes)
  local given = {}
  for login in pairs(described) do given[login:lower()] = true end
  for login, hash in pairs(hashes) do
    if not given[login:lower()] then described[login] = { password_hash = hash } end
  end
end

---Start a Bridge.
---@param options? trueconf.bridge.Options
---@return trueconf.bridge.Server? server
---@return trueconf.Error? err IO (address in use, no permission, a data folder that will not do), TLS (bad certificate)
local function start(options)
  local checked = settings.read(options, 2)
  local folder, bridge, ok, err
  if checked.data then
    folder, err = data.open(checked.data)
    if not folder then return nil, err end
    if not checked.directory then add_accounts(checked.accounts, folder.accounts) end
  end
  bridge = server.new(checked)
  if folder then bridge.store.signing_key = folder.signing_key end
  ok, err = bridge:listen()
  if not ok then return nil, err end
  return bridge
end

return { start = start }
