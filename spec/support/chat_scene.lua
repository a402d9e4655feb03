-- SPDX-License-Identifier: MIT
-- Shared by the specs about files: a Bridge with a bot that is ready and its chat with mira.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

---Wrap the body of a case.
---@param body fun(at: { server: trueconf.bridge.Server, bot: trueconf.Bot, chat_id: string, directory: table })
---@param options? table of the Bridge
---@param bot_options? table
---@return fun()
return function(body, options, bot_options)
  return helper.async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge(options)
    local bot = system.bot(server, bot_options)
    bot:start()
    assert(bot:wait_ready(10))
    local chat_id = assert(bot:create_p2p_chat "mira@localhost")
    local ok, err = xpcall(body, function(err) return type(err) == "string" and debug.traceback(err) or err end, {
      server = server, bot = bot, chat_id = chat_id, directory = directory,
    })
    bot:stop()
    server:stop()
    if not ok then error(err, 0) end
  end)
end
