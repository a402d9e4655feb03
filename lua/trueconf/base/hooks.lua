-- SPDX-License-Identifier: MIT
-- Hooks by which trueconf.testing and the command line control the bots of their process, so that a bot's script runs
-- there unchanged. Other programs set none.

local face = require "trueconf.base.face"

---@class trueconf.Hooks
---@field settings? fun(given: table): table options of a client in the place of those it was given; then neither the
---environment nor a config file is read, and signals are not watched
---@field flags? table<string, any> options of every client, in the place of those it was given
---@field making? fun(given: table): trueconf.Bot? a bot that is to be had in the place of a new one with these options
---@field made? fun(made: trueconf.Client|trueconf.Engine, settings: trueconf.Settings) a client or a bot was made: the
---object behind it; its field `face` is what the script holds
---@field run? fun(engine: trueconf.Engine, run: function): true?, trueconf.Error? in the place of bot:run(), which is
---given
---@field failed? fun(failure: { err: any, traceback: string }, what: string) a handler of a bot has raised an error
local hooks = setmetatable({}, { __index = {
  ---The object behind a bot, a client or a router, for testing and the command line.
  ---@param object any
  ---@return trueconf.Engine|trueconf.Client|trueconf.Router|nil
  behind = function(object)
    local inside = face.inside(object)
    return inside and (inside.engine or inside.client or inside.router)
  end,
} })

return hooks
