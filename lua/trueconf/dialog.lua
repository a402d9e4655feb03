-- SPDX-License-Identifier: MIT
-- Public. For the handler that runs, wherever it is called from.
--
--   local dialog = require "trueconf.dialog"
--   dialog.leave()
--

require "trueconf.base.needs"

local works = require "trueconf.bot.handler_run"

local dialog = {}

---Let the chat of the running handler go on: what the handler was called with, or has got as an answer, counts as
---handled now, and the next message goes to the ordinary handlers while this one works on. It may ask again.
---@return boolean left false: it has let the chat go before
function dialog.leave()
  local work = works.running()
  if not work then error("dialog.leave() is for handlers", 2) end
  return work.engine.dialogs:leave()
end

return dialog
