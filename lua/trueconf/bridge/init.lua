-- SPDX-License-Identifier: MIT
-- The Bridge: a local server that speaks the API of TrueConf Bridge, so that a bot can be
-- written, run and tested without a TrueConf Server. The C core listens; the rules are in the
-- files beside this one. Everything it remembers is in its store.
--
--   local bridge = require "trueconf.bridge"
--   local server = assert(bridge.start { accounts = { herald = "4711" } })
--   local chat = server:person("mira"):chat_with "herald"
--   chat:say "hello"

local server = require "trueconf.bridge.server"
local settings = require "trueconf.bridge.settings"

---Start a Bridge.
---@param options? trueconf.bridge.Options
---@return trueconf.bridge.Server? server
---@return trueconf.Error? err IO (address in use, no permission), TLS (bad certificate)
local function start(options)
  local bridge = server.new(settings.read(options, 2))
  local ok, err = bridge:listen()
  if not ok then return nil, err end
  return bridge
end

return { start = start }
