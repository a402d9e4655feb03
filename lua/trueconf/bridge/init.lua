-- SPDX-License-Identifier: MIT
-- Public. The Bridge: a local server that speaks the API of TrueConf Bridge, so that a bot can be written, run and
-- tested without a TrueConf Server. The C core listens; the rules are in the files beside this one. All data is in its
-- store.
--
--   local bridge = require "trueconf.bridge"
--   local server = assert(bridge.start { accounts = { herald = "4711" } })
--   local chat = server:person("mira"):chat_with "herald"
--   chat:say "hello"

require "trueconf.base.needs"

local core = require "trueconf.core"
local data_folder = require "trueconf.bridge.store.folder"
local server = require "trueconf.bridge.server"
local settings = require "trueconf.bridge.settings"

-- A data folder belongs to one server name.
local function check_server(store, server_name, folder)
  if not server_name or not store.server_name or server_name == store.server_name then return true end
  store:close()
  return nil, core.error("CONFIG", ("data: %s belongs to server '%s', not '%s'"):format(folder, store.server_name,
    server_name))
end

---Start a Bridge.
---@param options? trueconf.bridge.Options
---@return trueconf.bridge.Server? server
---@return trueconf.Error? err IO (address in use, no permission, an unusable data folder), TLS (bad
---certificate), CONFIG (a data folder of another server), UNSUPPORTED (a data folder needs lua-dbi)
local function start(options)
  local checked = settings.read(options, 2)
  local ok, err
  if checked.data then
    checked.state, err = data_folder.open(checked.data, checked)
    if not checked.state then return nil, err end
    ok, err = check_server(checked.state, checked.server_name, checked.data)
    if not ok then return nil, err end
  end
  local bridge = server.new(checked)
  ok, err = bridge:listen()
  if ok then return bridge end
  bridge.store:close()
  return nil, err
end

return { start = start }
