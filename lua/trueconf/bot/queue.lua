-- SPDX-License-Identifier: MIT
-- The messages and events of a bot, ordered by key: items of one key, such as a chat, are handled one after the other.
-- take() lets items in, claim() hands out the next item of keys that are ready, settle() ends a claim together with the
-- changes of its handler. A key is in one state at a time: ready, claimed, or put off by later().
--
-- Items are plain data, and the bot knows a queue by its verbs alone, so a queue on another machine can replace this
-- one. This one keeps items in memory, because the server delivers unacknowledged messages again; its store remembers
-- the ids of settled items and takes the effects of a handler, in one transaction.
--
-- Every verb but reap() and hurry() takes constant time. A key costs memory only while it has items, and its record is
-- used again for the next key.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"

local HANDLED = "handled"               -- the collection of settled ids
local HANDLED_LIFE = 30 * 86400 * 1000  -- milliseconds; no server delivers older messages again
local REMEMBERED = 10000                -- settled ids
local MAX_WAITING = 10000               -- items of all keys; a server sends up to 1000 unread at once
local SPARE_RECORDS = 64                -- kept for the next busy keys
local SPARE_SLOTS = 64                  -- a record that has grown beyond this is not kept

---A message or event in the queue. A claim is the item itself, with the notes of the handler in further fields.
---@class trueconf.Item
---@field key string|integer items of one key are handled one after the other
---@field id string|integer unique; texts are remembered once they are settled, numbers belong to one connection
---@field payload table as it came
---@field chat_id string?
---@field method string? the notification; nil: a message
---@field tries integer how often its handler has failed
---@field letter string? the dead letter that it was, which goes when it is settled
---@field settled boolean? its handler goes on and holds the key

-- A key's record: the items that wait at [first .. last], the claim, and its state.
---@class trueconf.QueueRecord
---@field first integer
---@field last integer
---@field claim trueconf.Item? the item that a handler holds
---@field ready boolean? it stands in the ready list
---@field urgent boolean? at the front of it
---@field later trueconf.core.Timer|true|nil it is put off: until the timer fires, or until hurry()
---@field grown boolean? it is not kept for another key

---@class trueconf.Queue
---@field waiting integer items that wait, of all keys
---@field is_urgent? fun(item: trueconf.Item): boolean claimed even if there is no room; asked when a key gets
---ready, and again before it goes beyond the room
---@field on_ready? fun() called when a key that was put off has become ready
---@field limit integer settled ids that are remembered
---@field private keys table<string|integer, trueconf.QueueRecord> of the keys with something to do
---@field private ready trueconf.Fifo keys whose next item may be claimed
---@field private pending table<string|integer, true> ids that wait, are claimed or released
---@field private released table<trueconf.Item, integer> claims without their key, numbered
---@field private handled table<string, true>
---@field private ring string[] the handled ids; the oldest is replaced at `ring_next`
---@field private store trueconf.Store?
local Queue = {}
Queue.__index = Queue

---@class (exact) trueconf.QueueOptions
---@field limit? integer settled ids that are remembered; default 10000
---@field max_waiting? integer items that may wait, all keys together; default 10000

---@param options? trueconf.QueueOptions
---@return trueconf.Queue
local function new(options)
  options = options or {}
  return setmetatable({
    keys = {}, ready = fifo.new(), spare = {}, spares = 0, outcomes = {}, claims = {},
    pending = {}, waiting = 0, claimed = 0, released = {}, releases = 0, handled = {}, ring = {}, ring_next = 1,
    limit = options.limit or REMEMBERED, max_waiting = options.max_waiting or MAX_WAITING,
  }, Queue)
end

-- Ids that were settled ---------------------------------------------------------------------------

-- Remember an id in place of the oldest one, which is returned, if there are too many.
local function remember(self, id)
  local slot = self.ring_next
  local oldest = self.ring[slot]
  if oldest then self.handled[oldest] = nil end
  self.ring[slot], self.handled[id] = id, true
  self.ring_next = slot < self.limit and slot + 1 or 1
  return oldest
end

---Keep settled ids, and the effects of handlers, in a store. It may be a store that was used before.
---@param store trueconf.Store? nil: in none any more
---@param remembers boolean the ids too: what was settled before this process began is known
function Queue:use(store, remembers)
  self.store, self.remembers = store, remembers
  if not remembers then return end
  store:drop_oldest(HANDLED, self.limit)
  local oldest = core.now() - HANDLED_LIFE
  for _, kept in ipairs(store:list(HANDLED)) do
    local id = kept.id
    if kept.value.at < oldest then
      store:remove(HANDLED, id)
    elseif not self.handled[id] then
      remember(self, id)
    end
  end
end

local function note_settled(self, id)
  self.pending[id] = nil
  if type(id) ~= "string" then return end
  local forgotten = remember(self, id)
  if not self.remembers then return end
  self.store:put(HANDLED, id, { at = core.now() })
  if forgotten then self.store:remove(HANDLED, forgotten) end
end

-- The state of a key ------------------------------------------------------------------------------

local function open_record(self, key)
  local spares = self.spares
  local record = self.spare[spares]
  if record then
    self.spare[spares], self.spares = nil, spares - 1
  else
    record = { first = 1, last = 0 }
  end
  self.keys[key] = record
  return record
end

-- True if the next item of a key is urgent. If memory is too short to tell, it waits like the others.
local function is_urgent(self, record)
  if not self.is_urgent then return nil end
  local ok, urgent = pcall(self.is_urgent, record[record.first])
  return ok and urgent or nil
end

-- Put a key that is neither claimed nor put off into the ready list, or release its record if no item waits.
local function make_ready(self, key, record)
  if record.first <= record.last then
    if record.ready then return end
    record.ready = true
    record.urgent = is_urgent(self, record)
    if record.urgent then self.ready:push_front(key) else self.ready:push(key) end
    return
  end
  self.keys[key] = nil
  if self.spares < SPARE_RECORDS and not record.grown then
    self.spares = self.spares + 1
    self.spare[self.spares] = record
  end
end

-- Put an item back before all that wait under its key. Slots run down past 1 and up again with claims, so nothing is
-- moved.
local function put_back(self, item)
  local record = self.keys[item.key] or open_record(self, item.key)
  local first = record.first - 1
  record[first], record.first = item, first
  self.waiting = self.waiting + 1
  return record
end

-- End the claim of a key.
local function unclaim(self, record)
  record.claim = nil
  self.claimed = self.claimed - 1
end

-- The verbs ---------------------------------------------------------------------------------------

local function take_one(self, item)
  local id, key = item.id, item.key
  if self.handled[id] then return "handled" end
  if self.pending[id] then return "duplicate" end
  if self.waiting >= self.max_waiting then return "full" end
  local record = self.keys[key] or open_record(self, key)
  local last = record.last + 1
  record[last], record.last = item, last
  self.pending[id] = true
  self.waiting = self.waiting + 1
  if not record.claim and not record.later then make_ready(self, key, record) end
  return "queued"
end

---@alias trueconf.Outcome
---| "queued"    # it waits behind the others of its key
---| "duplicate" # an item with this id waits or is being handled
---| "handled"   # an item with this id was settled
---| "full"      # too many items wait

---Let items in, each at the end of its key, unless they are known.
---@param batch trueconf.Item[]
---@return trueconf.Outcome[] outcomes at the index of each item; the list is used again by the next call
function Queue:take(batch)
  local outcomes = self.outcomes
  for index = 1, #batch do outcomes[index] = take_one(self, batch[index]) end
  return outcomes
end

local function claim_next(self, record)
  local first = record.first
  local item = record[first]
  record[first], record.first = nil, first + 1
  if record.first > record.last then
    record.grown = record.grown or record.last > SPARE_SLOTS
    record.first, record.last = 1, 0
  end
  record.ready, record.urgent, record.claim = nil, nil, item
  self.waiting, self.claimed = self.waiting - 1, self.claimed + 1
  return item
end

-- True if the next key is still urgent; keys that are no longer urgent go behind the others.
local function is_next_urgent(self)
  local ready = self.ready
  while true do
    local key = ready:peek()
    local record = self.keys[key]
    if not record or not record.urgent then return false end
    if is_urgent(self, record) then return true end
    record.urgent = nil
    ready:push(ready:pop())
  end
end

---Claim the next item of ready keys; their other items wait until it is settled, released or put off. Never waits:
---claim again after each other verb, and when on_ready() is called.
---@param n integer items, at most
---@param urgent? integer so many more, if they are urgent
---@return trueconf.Item[] claims the list is used again by the next call
function Queue:claim(n, urgent)
  local claims, count, ready, most = self.claims, 0, self.ready, n + (urgent or 0)
  while count < most and (count < n and ready:peek() or count >= n and is_next_urgent(self)) do
    count = count + 1
    claims[count] = claim_next(self, self.keys[ready:pop()])
  end
  for index = #claims, count + 1, -1 do claims[index] = nil end
  return claims
end

---End a claim: its id is remembered, and its key is ready for the next item. The changes of the handler are written in
---the same transaction.
---@param claim trueconf.Item
---@param effects? trueconf.StoreChange[] sessions, dead letters, posts
---@param holds_key? boolean the handler goes on, and the key with it: release() gives it up
---@return boolean done false: it was settled or put back before, and nothing is written
function Queue:settle(claim, effects, holds_key)
  local key = claim.key
  local record = self.keys[key]
  local claimed = record and record.claim == claim
  if claim.settled or not claimed and not self.released[claim] then return false end
  if effects and self.store then self.store:apply(effects) end
  note_settled(self, claim.id)
  if not claimed then
    self.released[claim] = nil
  elseif holds_key then
    claim.settled = true
  else
    unclaim(self, record)
    make_ready(self, key, record)
  end
  return true
end

---Give up the key for its next item, while the claim goes on.
---@param claim trueconf.Item
---@return boolean done
function Queue:release(claim)
  local key = claim.key
  local record = self.keys[key]
  if not record or record.claim ~= claim then return false end
  if not claim.settled then
    self.releases = self.releases + 1
    self.released[claim] = self.releases
  end
  unclaim(self, record)
  make_ready(self, key, record)
  return true
end

local function due(self, key)
  local record = self.keys[key]
  record.later = nil
  make_ready(self, key, record)
end

---Put a claim back before the other items of its key, and put the key off.
---@param claim trueconf.Item
---@param seconds number math.huge: until hurry()
---@return boolean done
function Queue:later(claim, seconds)
  local key = claim.key
  local record = self.keys[key]
  if not record or record.claim ~= claim then return false end
  record.later = seconds == math.huge or core.timer(seconds, function()
    due(self, key)
    if self.on_ready then self.on_ready() end
  end)
  unclaim(self, record)
  put_back(self, claim)
  return true
end

---Make every key ready that is put off.
function Queue:hurry()
  for key, record in pairs(self.keys) do
    local timer = record.later
    if timer then
      if timer ~= true then timer:cancel() end
      due(self, key) -- which assigns no new key
    end
  end
end

local function reap_claimed(self, is_alive)
  local gone = {}
  for _, record in pairs(self.keys) do
    local claim = record.claim
    if claim and not (is_alive and is_alive(claim)) then gone[#gone + 1] = claim end
  end
  for _, claim in ipairs(gone) do
    local record = self.keys[claim.key]
    unclaim(self, record)
    if not claim.settled then put_back(self, claim) end
    make_ready(self, claim.key, record)
  end
  return #gone
end

local function reap_released(self, is_alive)
  local gone, released = {}, self.released
  for claim in pairs(released) do
    if not (is_alive and is_alive(claim)) then gone[#gone + 1] = claim end
  end
  table.sort(gone, function(a, b) return released[a] > released[b] end)
  for _, claim in ipairs(gone) do
    released[claim] = nil
    local record = put_back(self, claim)
    if not record.claim and not record.later then make_ready(self, claim.key, record) end
  end
  return #gone
end

---Put the claims back whose handlers are gone, in their old order before the other items of their keys.
---@param is_alive? fun(claim: trueconf.Item): boolean true if its handler still exists; nil: none does
---@return integer count
function Queue:reap(is_alive)
  return reap_claimed(self, is_alive) + reap_released(self, is_alive)
end

---@return integer waiting items that are not claimed
---@return integer claimed items that handlers hold, with their keys
---@return integer released items that handlers hold, without their keys
function Queue:counts()
  local released = 0
  for _ in pairs(self.released) do released = released + 1 end
  return self.waiting, self.claimed, released
end

return { new = new }
