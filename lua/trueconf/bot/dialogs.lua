-- Handlers that ask somebody and wait for the answer.
-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local Error = require "trueconf.error"
local protocol = require "trueconf.protocol"

---@class trueconf.Bot
---@field private asking table<string, table[]> who waits in which chat, oldest first
local Dialogs = {}

local function stopping_error()
  return Error.new("CLOSED", "the bot is stopping")
end

-- The handler that asked the author of a message for it, if one did, and its place in the list.
function Dialogs:find_asker(msg)
  local list = self.asking[msg.chat_id]
  if not list then return nil end
  local author = protocol.plain_id(msg.author)
  for place, asker in ipairs(list) do
    if asker.author == author then return asker, place end
  end
end

-- The same; it waits no more.
function Dialogs:take_asker(msg)
  local asker, place = self:find_asker(msg)
  if asker then self:forget_asker(msg.chat_id, asker, place) end
  return asker
end

-- The message belongs to the dialog of who asked for it.
function Dialogs:hand_over(msg, asker) -- luacheck: no self
  msg.dialog, asker.dialog.held = asker.dialog, msg
  asker.waiter:wake(msg)
end

function Dialogs:forget_asker(chat_id, asker, place)
  local list = self.asking[chat_id] or {}
  for i = place or 1, #list do
    if list[i] == asker then
      table.remove(list, i)
      break
    end
  end
  if #list == 0 then self.asking[chat_id] = nil end
end

-- Let go of the message a dialog holds, and wait for the next one of its author.
function Dialogs:wait_for_next(msg, dialog, timeout)
  local asker = { author = protocol.plain_id(msg.author), waiter = core.waiter(), dialog = dialog }
  local list = self.asking[msg.chat_id] or {}
  self.asking[msg.chat_id] = list
  list[#list + 1] = asker
  local held = dialog.held
  dialog.held = nil
  if held then self:finish(held) end
  local work = self.works[coroutine.running()]
  if work then work:pause() end
  local answer, err = asker.waiter:wait(timeout or self.ask_timeout)
  if work then work:go_on() end
  if not answer then self:forget_asker(msg.chat_id, asker) end
  return answer, err
end

---Send a question and wait for the next message of the author of `msg` in its chat; see
---msg:ask().
---@async
---@param msg trueconf.Message
---@param question string
---@param timeout? number seconds
---@return trueconf.Message? answer
---@return trueconf.Error? err
function Dialogs:ask(msg, question, timeout)
  if self.stopping then return nil, stopping_error() end
  local sent, err = self:send_message(msg.chat_id, question)
  if not sent then return nil, err end
  -- stop() has woken all who waited by then, and would wait in vain for this one.
  if self.stopping then return nil, stopping_error() end
  local dialog = msg.dialog or { held = msg }
  msg.dialog = dialog
  return self:wait_for_next(msg, dialog, timeout)
end

---Let all who wait for an answer know that the bot stops.
---@private
function Dialogs:wake_askers()
  local asking, chats = self.asking, {}
  self.asking = {}
  for chat_id in pairs(asking) do chats[#chats + 1] = chat_id end
  table.sort(chats) -- the same order each time, for tests under virtual time
  for _, chat_id in ipairs(chats) do
    for _, asker in ipairs(asking[chat_id]) do
      asker.waiter:wake(nil, stopping_error())
    end
  end
end

return Dialogs
