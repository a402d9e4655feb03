-- SPDX-License-Identifier: MIT
-- The waits of a bot, in the order they began, and by chat. Their number is bounded.
-- A plain data structure: no I/O, no coroutines.

---@class trueconf.Wait
---@field chat_id string
---@field from table<string, true>? ids, and logins of any server; nil: anyone
---@field filter trueconf.Predicate? for messages; it may ask the server
---@field is_cancel? fun(msg: trueconf.Message): any a word that ends the question, without regard to the filter
---@field is_other? fun(msg: trueconf.Message): any a message for the ordinary handlers
---@field clicks table<string, trueconf.dialog.Choice>? by command
---@field question string?
---@field author string? of the message that the dialog began with
---@field since integer UNIX milliseconds
---@field expires integer UNIX milliseconds
---@field began number monotonic seconds
---@field slept_until number? monotonic seconds; after sleep, when all messages of that time have arrived
---@field run trueconf.HandlerRun? the handler that waits
---@field waiter trueconf.core.Waiter
---@field item table? the message or click that has come
---@field open boolean

---@class trueconf.Waits
---@field count integer
---@field private first trueconf.Wait? the oldest
---@field private last trueconf.Wait?
---@field private with_clicks integer number of waits that a click can answer
---@field private chats table<string, trueconf.Wait[]>
local Waits = {}
Waits.__index = Waits

---@return trueconf.Waits
local function new()
  return setmetatable({ count = 0, with_clicks = 0, chats = {} }, Waits)
end

---@param wait trueconf.Wait
function Waits:add(wait)
  wait.open, wait.before = true, self.last
  if self.last then self.last.after = wait else self.first = wait end
  self.last, self.count = wait, self.count + 1
  if wait.clicks then self.with_clicks = self.with_clicks + 1 end
  local list = self.chats[wait.chat_id] or {}
  self.chats[wait.chat_id] = list
  list[#list + 1] = wait
end

function Waits:remove_from_chat(wait)
  local list = self.chats[wait.chat_id]
  for index, other in ipairs(list) do
    if other == wait then
      table.remove(list, index)
      break
    end
  end
  if not list[1] then self.chats[wait.chat_id] = nil end
end

---@param wait trueconf.Wait
function Waits:remove(wait)
  if not wait.open then return end
  wait.open = false
  local before, after = wait.before, wait.after
  if before then before.after = after else self.first = after end
  if after then after.before = before else self.last = before end
  wait.before, wait.after = nil, nil
  self.count = self.count - 1
  if wait.clicks then self.with_clicks = self.with_clicks - 1 end
  self:remove_from_chat(wait)
end

---@return trueconf.Wait?
function Waits:oldest()
  return self.first
end

---All waits, the oldest first.
---@return trueconf.Wait[]
function Waits:list()
  local list, wait = {}, self.first
  while wait do
    list[#list + 1], wait = wait, wait.after
  end
  return list
end

---The waits of a chat, the oldest first.
---@param chat_id any
---@return trueconf.Wait[] list a new one
function Waits:of(chat_id)
  local list = self.chats[chat_id]
  return list and table.move(list, 1, #list, 1, {}) or {}
end

---@param chat_id any
---@return boolean
function Waits:any(chat_id)
  return self.chats[chat_id] ~= nil
end

---True if a click could be an answer.
---@return boolean
function Waits:any_clicks()
  return self.with_clicks > 0
end

return { new = new }
