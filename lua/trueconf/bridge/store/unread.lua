-- SPDX-License-Identifier: MIT
-- The unread messages of one account: an ordered set. Adding, removing and looking up take constant time, because every
-- message is an element of a doubly linked list.

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

---Add a message at the end; a message that is already in the set stays where it is.
---@param message trueconf.bridge.Message
---@param rowid? integer where it is written down
function Unread:add(message, rowid)
  if self.elements[message.id] then return end
  local element = { message = message, older = self.newest, rowid = rowid }
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
---@return integer? rowid where it is written down
---@return trueconf.bridge.Message? message
function Unread:remove(message_id)
  local element = self.elements[message_id]
  if not element then return false end
  local older, newer = element.older, element.newer
  if older then older.newer = newer else self.oldest = newer end
  if newer then newer.older = older else self.newest = older end
  self.elements[message_id] = nil
  self.count = self.count - 1
  self:unnote(element.message)
  return true, element.rowid, element.message
end

---The messages of a chat; each may be removed while going through them.
---@param chat_id string
---@return table<string, true> ids
function Unread:ids_of(chat_id)
  local chat = self.chats[chat_id]
  return chat and chat.ids or {}
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

---The oldest messages, in ascending order.
---@param limit? integer at most this many; nil: all
---@return trueconf.bridge.Message[]
function Unread:list(limit)
  local list, element = {}, self.oldest
  for index = 1, math.min(limit or self.count, self.count) do
    list[index] = element.message
    element = element.newer
  end
  return list
end

return { new = new }
