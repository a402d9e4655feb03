-- SPDX-License-Identifier: MIT
-- What a bot keeps: collections of tables, in memory or in a SQLite file. Both behave the same; what is
-- in a file outlives the process. Values are kept as JSON text: what was put in is not changed by what
-- becomes of the table afterwards, and what has not changed is not written again.

local core = require "trueconf.core"
local json = require "trueconf.json"
local options = require "trueconf.options"
local sqlite = require "trueconf.sqlite"

local SCHEMA = {
  name = "this bot's store", application_id = 0x5443426f, versions = { [[
    CREATE TABLE items (collection TEXT, id TEXT, place REAL, value TEXT,
      PRIMARY KEY (collection, id)) WITHOUT ROWID;
    CREATE INDEX items_by_place ON items (collection, place)
  ]] },
}

---@class trueconf.StoreItem
---@field id string
---@field value table

---Collections of tables, each under an id.
---@class trueconf.Store
---@field is_durable boolean what is in it outlives the process
---@field on_failure fun(err: trueconf.Error)? what was put in lately could not be written
local Store = {}
Store.__index = Store

local function text_of(value)
  local text, err = json.encode(value)
  if not text then error(err.message, 3) end
  return text
end

-- In memory --------------------------------------------------------------------------------

local Memory = setmetatable({}, { __index = Store })
Memory.__index = Memory

function Memory:collection(name)
  local items = self.collections[name] or {}
  self.collections[name] = items
  return items
end

---@param collection string
---@param id string
---@return table? value a copy
function Memory:get(collection, id)
  local item = self:collection(collection)[id]
  return item and json.decode(item.text)
end

---Keep a value; one with a new id goes behind the others.
---@param collection string
---@param id string
---@param value table what JSON can say
function Memory:put(collection, id, value)
  local items, text = self:collection(collection), text_of(value)
  local item = items[id]
  if item then
    item.text = text
  else
    self.place = self.place + 1
    items[id] = { id = id, text = text, place = self.place }
  end
end

---@param collection string
---@param id string
function Memory:remove(collection, id)
  self:collection(collection)[id] = nil
end

local function by_place(a, b)
  return a.place < b.place
end

---@param collection string
---@return trueconf.StoreItem[] items in the order they came
function Memory:list(collection)
  local list = {}
  for _, item in pairs(self:collection(collection)) do list[#list + 1] = item end
  table.sort(list, by_place)
  for place, item in ipairs(list) do list[place] = { id = item.id, value = json.decode(item.text) } end
  return list
end

---Make sure that what was put in is kept.
---@return true? ok
---@return trueconf.Error? err IO: what this turn of the loop has put in and removed is not
function Memory:commit() return true end

---End it; a bot closes only the store that it has opened by itself.
function Memory:close() end

---A store in memory.
---@return trueconf.Store
local function memory()
  return setmetatable({ is_durable = false, collections = {}, place = 0 }, Memory)
end

-- In a file --------------------------------------------------------------------------------

local File = setmetatable({}, { __index = Store })
File.__index = File

function File:text(collection, id)
  return self.db:value("SELECT value FROM items WHERE collection = ? AND id = ?", collection, id)
end

function File:get(collection, id)
  local text = self:text(collection, id)
  return text and json.decode(text)
end

function File:put(collection, id, value)
  local text, before = text_of(value), self:text(collection, id)
  if text == before then return end
  if before then
    self.db:write("UPDATE items SET value = ? WHERE collection = ? AND id = ?", text, collection, id)
  else
    self.place = self.place + 1
    self.db:write("INSERT INTO items VALUES (?, ?, ?, ?)", collection, id, self.place, text)
  end
end

function File:remove(collection, id)
  self.db:write("DELETE FROM items WHERE collection = ? AND id = ?", collection, id)
end

function File:list(collection)
  local list = self.db:rows("SELECT id, value FROM items WHERE collection = ? ORDER BY place", collection)
  for place, row in ipairs(list) do list[place] = { id = row[1], value = json.decode(row[2]) } end
  return list
end

function File:commit()
  return self.db:settle()
end

function File:close()
  self.db:close()
end

---A store in a SQLite file, which is made when it is missing. What is put in during a turn of the loop is
---written at its end, before anything leaves that was sent in it.
---@param path string
---@return trueconf.Store? store
---@return trueconf.Error? err IO: damaged, in use by another process, of a newer version, not to be written;
---UNSUPPORTED: lua-dbi is missing
local function open(path)
  if type(path) ~= "string" then options.refuse("store", "a path", path, 2) end
  local db, err = sqlite.open(path, SCHEMA)
  if not db then return nil, err end
  local self = setmetatable({ is_durable = true, db = db }, File)
  self.place = db:value "SELECT max(place) FROM items" or 0
  db.on_settled = function(failure)
    if failure and self.on_failure then core.spawn(self.on_failure, failure) end
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
