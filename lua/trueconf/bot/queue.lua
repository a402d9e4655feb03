-- SPDX-License-Identifier: MIT
-- The messages of each chat, in order and one at a time. A message is enqueued when it
-- arrives, claimed for a handler when its chat is free, and acknowledged when that has
-- finished; ids are remembered, so that what the server delivers again is not handled
-- again. A plain data structure: no I/O, no coroutines. Only ids that are text are remembered: numbers
-- are those of a connection, and nothing comes twice under them.
--
-- Every operation but reap() takes constant time. A chat costs memory only while it has
-- messages, and its record is used again for the next chat.

local Error = require "trueconf.base.error"

local REMEMBERED = 10000                -- handled ids
local MAX_WAITING = 10000               -- messages in all chats; a server sends up to 1000 unread at once
local SPARE_CHATS = 64                  -- records kept for the next busy chats
local SPARE_PLACES = 64                 -- a record that has grown beyond this is not kept

-- A chat's record holds the ids and items that wait at [first .. last], alternating, and
-- what is claimed in `id` and `item`.
local function new_record()
  return { first = 1, last = 0 }
end

---@class trueconf.Queue
---@field private chats table<string, table> records of the chats with something to do
---@field private pending table<string, any> id -> item that is waiting, claimed or released
---@field private released table<any, table> item -> its chat, id and turn
---@field private handled table<string, boolean>
---@field private ring string[] the handled ids; the oldest is replaced at `ring_next`
local Queue = {}
Queue.__index = Queue

---@class (exact) trueconf.QueueOptions
---@field limit? integer handled ids that are remembered; default 10000
---@field max_waiting? integer messages that may wait, all chats together; default 10000
---@field on_remember? fun(id: string, forgotten: string?) an id was remembered, in place of another one

---@param options? trueconf.QueueOptions
---@return trueconf.Queue
local function new(options)
  options = options or {}
  return setmetatable({
    chats = {}, spare = {}, spares = 0,
    pending = {}, waiting = 0, claimed = 0,
    released = {}, turn = 0,
    handled = {}, ring = {}, ring_next = 1, limit = options.limit or REMEMBERED,
    max_waiting = options.max_waiting or MAX_WAITING, on_remember = options.on_remember,
  }, Queue)
end

function Queue:open_record(chat)
  local spares = self.spares
  local record = self.spare[spares]
  if record then
    self.spare[spares], self.spares = nil, spares - 1
  else
    record = new_record()
  end
  self.chats[chat] = record
  return record
end

-- Give the record of a chat that holds no claimed item away, unless others wait in it.
function Queue:close_record(chat, record)
  if record.first <= record.last then return end
  self.chats[chat] = nil
  if self.spares < SPARE_CHATS and not record.grown then
    self.spares = self.spares + 1
    self.spare[self.spares] = record
  end
end

---Remember an id as handled, in place of the oldest one if there are too many.
---@param id string
---@return string? forgotten
function Queue:remember(id)
  local place = self.ring_next
  local oldest = self.ring[place]
  if oldest then self.handled[oldest] = nil end
  self.ring[place], self.handled[id] = id, true
  self.ring_next = place < self.limit and place + 1 or 1
  return oldest
end

---Put a message at the end of its chat, unless it is known.
---@param chat string|integer
---@param id string|integer unique among all chats
---@param item table what claim() shall return; each message needs one of its own
---@return "queued"|"duplicate"|"handled"|nil what "handled": it was acknowledged here before
---@return any duplicate_or_err with "duplicate" the item that is under way under this id; with nil LIMIT
function Queue:enqueue(chat, id, item)
  if self.handled[id] then return "handled" end
  local known = self.pending[id]
  if known ~= nil then return "duplicate", known end
  if self.waiting >= self.max_waiting then
    return nil, Error.new("LIMIT", ("%d messages wait to be handled, no more are taken"):format(self.waiting))
  end
  local record = self.chats[chat] or self:open_record(chat)
  local last = record.last
  record[last + 1], record[last + 2], record.last = id, item, last + 2
  self.pending[id] = item
  self.waiting = self.waiting + 1
  return "queued"
end

---The next message of a chat that claim() would return.
---@param chat string|integer
---@return any item nil if none waits or another one is claimed
function Queue:peek(chat)
  local record = self.chats[chat]
  if not record or record.item ~= nil then return nil end
  return record[record.first + 1]
end

---Take the next message of a chat for a handler.
---@param chat string
---@return any item nil if none waits or another one is claimed
function Queue:claim(chat)
  local record = self.chats[chat]
  if not record or record.item ~= nil then return nil end
  local first = record.first
  local id, item = record[first], record[first + 1]
  record[first], record[first + 1], record.first = nil, nil, first + 2
  if record.first > record.last then
    record.grown = record.grown or record.last > SPARE_PLACES
    record.first, record.last = 1, 0
  end
  record.id, record.item = id, item
  self.waiting, self.claimed = self.waiting - 1, self.claimed + 1
  return item
end

-- Free the chat of its claimed item and return the id.
function Queue:free(chat, record)
  local id = record.id
  record.id, record.item = nil, nil
  self.claimed = self.claimed - 1
  self:close_record(chat, record)
  return id
end

---Note that a message has been handled, and free its chat if it still holds it.
---@param chat string
---@param item any claimed, or claimed and released
---@return boolean done false if the item is neither: it was acknowledged or put back
function Queue:ack(chat, item)
  local record = self.chats[chat]
  local id
  if record and record.item == item then
    id = self:free(chat, record)
  else
    local place = self.released[item]
    if not place or place.chat ~= chat then return false end
    self.released[item], id = nil, place.id
  end
  self.pending[id] = nil
  if type(id) == "string" then
    local forgotten = self:remember(id)
    if self.on_remember then self.on_remember(id, forgotten) end
  end
  return true
end

---Free the chat for its next message, while the item goes on being handled.
---@param chat string
---@param item any claimed
---@return boolean done
function Queue:release(chat, item)
  local record = self.chats[chat]
  if not record or item == nil or record.item ~= item then return false end
  self.turn = self.turn + 1
  self.released[item] = { chat = chat, id = self:free(chat, record), turn = self.turn }
  return true
end

-- Put an item back before all that waits in its chat. Places run down past 1 and up
-- again with claims, so nothing is moved.
function Queue:put_back(chat, id, item)
  local record = self.chats[chat] or self:open_record(chat)
  local first = record.first - 2
  record[first], record[first + 1], record.first = id, item, first
  self.waiting = self.waiting + 1
end

function Queue:reap_claimed(is_alive)
  local gone = {}
  for chat, record in pairs(self.chats) do
    if record.item ~= nil and not (is_alive and is_alive(record.item, chat)) then gone[#gone + 1] = chat end
  end
  for _, chat in ipairs(gone) do
    local record = self.chats[chat]
    local item = record.item
    self:put_back(chat, record.id, item)
    self:free(chat, record)
  end
  return #gone
end

function Queue:reap_released(is_alive)
  local gone = {}
  for item, place in pairs(self.released) do
    if not (is_alive and is_alive(item, place.chat)) then gone[#gone + 1] = item end
  end
  table.sort(gone, function(a, b) return self.released[a].turn > self.released[b].turn end)
  for _, item in ipairs(gone) do
    local place = self.released[item]
    self.released[item] = nil
    self:put_back(place.chat, place.id, item)
  end
  return #gone
end

---The chats in which messages wait.
---@return (string|integer)[]
function Queue:lanes()
  local lanes = {}
  for chat, record in pairs(self.chats) do
    if record.first <= record.last then lanes[#lanes + 1] = chat end
  end
  return lanes
end

---Put back what handlers have claimed or released and never acknowledged, in its old
---order before what waits in the chat.
---@param is_alive? fun(item: any, chat: string): boolean whether its handler is still there; none: all are gone
---@return integer count
function Queue:reap(is_alive)
  return self:reap_claimed(is_alive) + self:reap_released(is_alive)
end

---@return integer waiting not claimed yet
---@return integer claimed held by a handler, with the chat
---@return integer released held by a handler, without the chat
function Queue:counts()
  local released = 0
  for _ in pairs(self.released) do released = released + 1 end
  return self.waiting, self.claimed, released
end

return { new = new }
