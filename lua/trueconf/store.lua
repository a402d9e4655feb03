-- SPDX-License-Identifier: MIT
-- Public. The store of a bot: collections of tables, in memory or in a SQLite file. Both behave the same; only the file
-- outlives the process. Values are kept as JSON text: later changes of a table do not change the stored value, and an
-- unchanged value is not written again.

require "trueconf.base.needs"

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local options = require "trueconf.base.options"
local sqlite = require "trueconf.base.sqlite"

local SCHEMA = {
  name = "this bot's store", application_id = 0x5443426f, versions = { [[
    CREATE TABLE items (collection TEXT, id TEXT, rowid REAL, value TEXT,
      PRIMARY KEY (collection, id)) WITHOUT ROWID;
    CREATE INDEX items_by_rowid ON items (collection, rowid)
  ]] },
}

---@class trueconf.StoreItem
---@field id string
---@field value table

---Collections of tables, each under an id.
---@class trueconf.Store
---@field is_durable boolean its data outlives the process
---@field on_failure fun(err: trueconf.Error)? called once when the file can no longer be written
---@field unwritten integer changes that are not in the file yet
---@field failing trueconf.Error? why the last try to write failed
local Store = {}
Store.__index = Store

local function text_of(value)
  local text, err = json.encode_exact(value)
  if not text then error(err.message, 3) end
  return text
end

-- In memory --------------------------------------------------------------------------------

local Memory = setmetatable({}, { __index = Store })
Memory.__index = Memory

function Memory:collection(name)
  local collection = self.collections[name] or { items = {}, count = 0 }
  self.collections[name] = collection
  return collection
end

---@param collection string
---@param id string
---@return table? value a copy
function Memory:get(collection, id)
  local item = self:collection(collection).items[id]
  return item and json.decode_exact(item.text)
end

---Store a value; one with a new id comes after all others.
---@param collection string
---@param id string
---@param value table of JSON values
---@return true? ok
---@return trueconf.Error? err LIMIT: the file cannot be written, and too many changes wait already
function Memory:put(collection, id, value)
  local kept, text = self:collection(collection), text_of(value)
  local item = kept.items[id]
  if item then
    item.text = text
  else
    self.rowid, kept.count = self.rowid + 1, kept.count + 1
    kept.items[id] = { id = id, text = text, rowid = self.rowid }
  end
  return true
end

---@param collection string
---@param id string
function Memory:remove(collection, id)
  local kept = self:collection(collection)
  if kept.items[id] then kept.items[id], kept.count = nil, kept.count - 1 end
end

local function by_rowid(a, b)
  return a.rowid < b.rowid
end

---The items as text, in the order they came.
---@private
function Memory:ordered(collection)
  local list = {}
  for _, item in pairs(self:collection(collection).items) do list[#list + 1] = item end
  table.sort(list, by_rowid)
  return list
end

---@param collection string
---@return trueconf.StoreItem[] items in the order they came
function Store:list(collection)
  local list = self:ordered(collection)
  for index, item in ipairs(list) do list[index] = { id = item.id, value = json.decode_exact(item.text) } end
  return list
end

---@param collection string
---@return integer items
function Memory:count(collection)
  return self:collection(collection).count
end

---Remove the oldest items of a collection, so that at most `keep` stay, without decoding a value.
---@param collection string
---@param keep integer items that stay, at most
---@return integer removed items
function Store:drop_oldest(collection, keep)
  local excess = self:count(collection) - keep
  if excess <= 0 then return 0 end
  local oldest = self:ordered(collection, excess)
  for index = 1, excess do self:remove(collection, oldest[index].id) end
  return excess
end

---A change of a store.
---@class trueconf.StoreChange
---@field collection string
---@field id string
---@field value table? nil: it is removed
---@field keep integer? the value goes behind the others of the collection, and the oldest go beyond so many

---Make changes that belong together, in order and in one transaction.
---@private
---@param changes trueconf.StoreChange[]
function Store:apply(changes)
  for _, change in ipairs(changes) do
    local collection, id, keep = change.collection, change.id, change.keep
    if not change.value or keep then self:remove(collection, id) end
    if change.value then self:put(collection, id, change.value) end
    if keep then self:drop_oldest(collection, keep) end
  end
end

---Write all changes to the file.
---@return true? ok
---@return trueconf.Error? err IO: they are not written; they stay in memory, and a later change tries again
function Memory:commit() return true end

---Call a function after each attempt to write, at once; it must not wait.
---@private
---@param owner table one function for each
---@param fn fun(err: trueconf.Error?)|nil nil: no more
function Memory:watch() end

---Close the store. A bot closes only a store that it has opened itself.
---@return true? ok
---@return trueconf.Error? err IO: the changes that were not written are lost
function Memory:close() return true end

---A store in memory.
---@return trueconf.Store
local function memory()
  return setmetatable({ is_durable = false, unwritten = 0, collections = {}, rowid = 0 }, Memory)
end

-- In a file --------------------------------------------------------------------------------

-- Changes are noted first, and written in one transaction at the end of the turn. A change that cannot be written stays
-- noted, so that get() and list() see it, and is tried again later.

---@class trueconf.UnwrittenChange
---@field text string|false new text of the value; false: it is removed
---@field rowid number? of a new value, after all others; nil: it keeps its rowid in the file
---@field is_fresh boolean? the file does not hold it yet

local MOST_UNWRITTEN = 100000           -- changes that are kept while the file cannot be written
local PROBE = 65536                     -- bytes that must fit after a failure
local RETRY = 1                         -- seconds after a failure in which a change does not try again

local File = setmetatable({}, { __index = Store })
File.__index = File

local function change_of(self, collection, id)
  local changes = self.changes[collection]
  return changes and changes[id]
end

local function note(self, collection, id, change)
  if self.closed then return end        -- changes after close() are dropped
  local changes = self.changes[collection] or {}
  self.changes[collection] = changes
  if not changes[id] then self.unwritten = self.unwritten + 1 end
  changes[id] = change
  core.before_flush(self.at_end_of_turn)
end

local function forget(self, collection, id)
  self.changes[collection][id] = nil
  self.unwritten = self.unwritten - 1
end

-- The text of a value, or false: it was removed, which is not in the file yet.
function File:text(collection, id)
  local change = change_of(self, collection, id)
  if change then return change.text end
  return self.db:value("SELECT value FROM items WHERE collection = ? AND id = ?", collection, id)
end

function File:get(collection, id)
  local text = self:text(collection, id)
  return text and json.decode_exact(text) or nil
end

local function next_rowid(self)
  self.rowid = self.rowid + 1
  return self.rowid
end

function File:put(collection, id, value)
  local text, before, change = text_of(value), self:text(collection, id), change_of(self, collection, id)
  if text == before then return true end
  if not change and self.unwritten >= MOST_UNWRITTEN then
    return nil, core.error("LIMIT", ("%s: %d changes wait to be written"):format(self.db.path, self.unwritten))
  end
  local rowid
  if before then rowid = change and change.rowid else rowid = next_rowid(self) end
  note(self, collection, id, { text = text, rowid = rowid, is_fresh = before == nil or change and change.is_fresh })
  return true
end

function File:remove(collection, id)
  if self.closed or not self:text(collection, id) then return end
  local change = change_of(self, collection, id)
  if change and change.is_fresh then return forget(self, collection, id) end
  note(self, collection, id, { text = false })
end

-- The items of the file, with the changes that are not in it yet. With a limit at least so many of the oldest come, if
-- there are so many: each change may take one of the file away.
function File:ordered(collection, limit)
  local changes, list, behind = self.changes[collection] or {}, {}, {}
  local rows = self.db:rows("SELECT id, value FROM items WHERE collection = ? ORDER BY rowid LIMIT ?", collection,
    limit and limit + self.unwritten or -1)
  for _, row in ipairs(rows) do
    local change = changes[row[1]]
    if not change then list[#list + 1] = { id = row[1], text = row[2] }
    elseif change.text and not change.rowid then list[#list + 1] = { id = row[1], text = change.text } end
  end
  for id, change in pairs(changes) do
    if change.rowid then behind[#behind + 1] = { id = id, text = change.text, rowid = change.rowid } end
  end
  table.sort(behind, by_rowid)
  return table.move(behind, 1, #behind, #list + 1, list)
end

function File:count(collection)
  local count = self.db:value("SELECT count(*) FROM items WHERE collection = ?", collection)
  for _, change in pairs(self.changes[collection] or {}) do
    if change.is_fresh then count = count + 1 elseif not change.text then count = count - 1 end
  end
  return count
end

local function write_change(db, collection, id, change)
  if not change.text then
    db:run("DELETE FROM items WHERE collection = ? AND id = ?", collection, id)
  elseif change.rowid then
    db:run("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", collection, id, change.rowid, change.text)
  else
    db:run("UPDATE items SET value = ? WHERE collection = ? AND id = ?", change.text, collection, id)
  end
end

-- After a failure, write only when there is space for more than this change: the next one would fail again.
local function probe(db)
  write_change(db, "", "probe", { text = ("x"):rep(PROBE), rowid = 0 })
  write_change(db, "", "probe", { text = false })
end

local function write_changes(self)
  if self.failing then probe(self.db) end
  for collection, changes in pairs(self.changes) do
    for id, change in pairs(changes) do write_change(self.db, collection, id, change) end
  end
end

function File:commit()
  if self.unwritten == 0 and not self.failing or self.closed then return true end
  local ok, err = self.db:transaction(self.write)
  if ok then self.changes, self.unwritten = {}, 0 end
  local begins_to_fail = err and not self.failing
  self.failing, self.retry_at = err, err and core.monotonic() + RETRY
  if begins_to_fail and self.on_failure then core.spawn(self.on_failure, err) end
  for _, watch in pairs(self.watchers) do watch(err) end
  return ok, err
end

function File:watch(owner, fn)
  self.watchers[owner] = fn
end

function File:close()
  if self.closed then return true end
  local ok, err = self:commit()
  self.closed, self.watchers = true, {}
  self.db:close()
  return ok, err
end

---A store in a SQLite file, which is made when it is missing. Changes of a turn of the loop are written at its end,
---before any frame of that turn is sent. While they cannot be written, because the disk is full, they are kept in
---memory.
---@param path string
---@return trueconf.Store? store
---@return trueconf.Error? err IO: damaged, in use by another process, of a newer version, not writable;
---UNSUPPORTED: lua-dbi is missing
local function open(path)
  if type(path) ~= "string" then options.refuse("store", "a path", path, 2) end
  local db, err = sqlite.open(path, SCHEMA)
  if not db then return nil, err end
  local self = setmetatable({ is_durable = true, db = db, changes = {}, unwritten = 0, watchers = {} }, File)
  self.rowid = db:value "SELECT max(rowid) FROM items" or 0
  self.write = function() write_changes(self) end
  self.at_end_of_turn = function()
    if not self.failing or core.monotonic() >= self.retry_at then self:commit() end
  end
  return self
end

---@param value any
---@return boolean
local function is_store(value)
  local meta = getmetatable(value)
  return meta == Memory or meta == File
end

return { memory = memory, open = open, is_store = is_store }
