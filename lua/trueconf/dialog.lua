-- SPDX-License-Identifier: MIT
-- Public. Functions for the running handler, callable from any function that it calls.
--
--   local dialog = require "trueconf.dialog"
--   dialog.leave()
--

require "trueconf.base.needs"

local handler_run = require "trueconf.bot.handler_run"

local dialog = {}

---Release the queue of the chat: the message or answer that the running handler owns counts as handled now, and the
---ordinary handlers get the next messages while this handler works on. It may ask again.
---@return boolean left false: it had released the queue before
function dialog.leave()
  local run = handler_run.running()
  if not run then error("dialog.leave() is for handlers", 2) end
  return run.engine.dialogs:leave()
end

return dialog
