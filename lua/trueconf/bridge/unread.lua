-- SPDX-License-Identifier: MIT
-- The unread messages of one account: an ordered set. Adding, removing and asking cost the
-- same however long it is, because every message in it is an element of a doubly linked list.

local Unread = {}
Unread.__index = Unread

---@class trueconf.bridge.Unread
---@field count integer
---@field private elements table<string, table> by message id
---@field private chats table<string, { count: integer, ids: table<string, true> }> by chat id
---@field private oldest table?
---@field private newest table?

---@return trueconf.bridge.Unread
local function new()
  return setmetatable({ count = 0, elements = {}, chats = {} }, Unread)
end

function Unread:note(message)
  local chat = self.chats[message.chat_id] or { count = 0, ids = {} }
  chat.count = chat.count + 1
  chat.ids[message.id] = true
  self.chats[message.chat_id] = chat
end

function Unread:unnote(message)
  local chat = self.chats[message.chat_id]
  chat.count = chat.count - 1
  chat.ids[message.id] = nil
  if chat.count == 0 then self.chats[message.chat_id] = nil end
end

---Add a message at the end; a message that is in already stays where it is.
---@param message trueconf.bridge.Message
function Unread:add(message)
  if self.elements[message.id] then return end
  local element = { message = message, older = self.newest }
  if self.newest then self.newest.newer = element else self.oldest = element end
  self.newest = element
  self.elements[message.id] = element
  self.count = self.count + 1
  self:note(message)
end

---@return trueconf.bridge.Message? oldest
function Unread:first()
  return self.oldest and self.oldest.message
end

---@param message_id string
---@return boolean removed false if it was not in the set
function Unread:remove(message_id)
  local element = self.elements[message_id]
  if not element then return false end
  local older, newer = element.older, element.newer
  if older then older.newer = newer else self.oldest = newer end
  if newer then newer.older = older else self.newest = older end
  self.elements[message_id] = nil
  self.count = self.count - 1
  self:unnote(element.message)
  return true
end

---Remove all messages of a chat.
---@param chat_id string
function Unread:remove_chat(chat_id)
  local chat = self.chats[chat_id]
  if not chat then return end
  -- A key that is there may be cleared while going through a table.
  for message_id in pairs(chat.ids) do self:remove(message_id) end
end

---@param chat_id string
---@return integer count messages of this chat
function Unread:count_of(chat_id)
  local chat = self.chats[chat_id]
  return chat and chat.count or 0
end

---@param message_id string
---@return boolean
function Unread:has(message_id)
  return self.elements[message_id] ~= nil
end

---The newest messages, in ascending order.
---@param limit? integer at most so many; nil: all
---@return trueconf.bridge.Message[]
function Unread:list(limit)
  local wanted = math.min(limit or self.count, self.count)
  local list, element = {}, self.newest
  for index = wanted, 1, -1 do
    list[index] = element.message
    element = element.older
  end
  return list
end

return { new = new }
